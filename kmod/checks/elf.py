# SPDX-License-Identifier: BSD-2-Clause
"""Just enough of ELF to look at a kernel module: sections, symbols, relocations.

FreeBSD's base system and Debian's LLVM have different readelfs; reading the file ourselves gives
both the same answers.
"""

import bisect
import struct
from dataclasses import dataclass, field

MACHINES = {62: "amd64", 183: "aarch64"}
SHT_SYMTAB, SHT_RELA, SHT_REL = 2, 4, 9
SHF_ALLOC, SHF_EXECINSTR = 2, 4
SHN_UNDEF, SHN_LORESERVE = 0, 0xFF00
STT_FUNC, STT_SECTION, STT_FILE = 2, 3, 4
STB_LOCAL = 0

RELOCATIONS = {
    "amd64": {
        0: "R_X86_64_NONE", 1: "R_X86_64_64", 2: "R_X86_64_PC32", 3: "R_X86_64_GOT32",
        4: "R_X86_64_PLT32", 5: "R_X86_64_COPY", 6: "R_X86_64_GLOB_DAT", 7: "R_X86_64_JUMP_SLOT",
        8: "R_X86_64_RELATIVE", 9: "R_X86_64_GOTPCREL", 10: "R_X86_64_32", 11: "R_X86_64_32S",
        12: "R_X86_64_16", 13: "R_X86_64_PC16", 14: "R_X86_64_8", 15: "R_X86_64_PC8",
        19: "R_X86_64_TLSGD", 20: "R_X86_64_TLSLD", 22: "R_X86_64_GOTTPOFF",
        23: "R_X86_64_TPOFF32", 24: "R_X86_64_PC64", 37: "R_X86_64_IRELATIVE",
        41: "R_X86_64_GOTPCRELX", 42: "R_X86_64_REX_GOTPCRELX",
    },
    "aarch64": {
        0: "R_AARCH64_NONE", 257: "R_AARCH64_ABS64", 258: "R_AARCH64_ABS32",
        261: "R_AARCH64_PREL32", 275: "R_AARCH64_ADR_PREL_PG_HI21",
        277: "R_AARCH64_ADD_ABS_LO12_NC", 282: "R_AARCH64_JUMP26", 283: "R_AARCH64_CALL26",
        311: "R_AARCH64_ADR_GOT_PAGE", 312: "R_AARCH64_LD64_GOT_LO12_NC",
        1024: "R_AARCH64_COPY", 1025: "R_AARCH64_GLOB_DAT", 1026: "R_AARCH64_JUMP_SLOT",
        1027: "R_AARCH64_RELATIVE", 1030: "R_AARCH64_TLS_TPREL64", 1031: "R_AARCH64_TLSDESC",
        1032: "R_AARCH64_IRELATIVE",
    },
}


@dataclass
class Section:
    index: int
    name: str
    kind: int
    flags: int
    address: int
    data: bytes
    link: int
    info: int


@dataclass
class Symbol:
    name: str
    kind: int
    binding: int
    section: int
    value: int
    size: int

    @property
    def undefined(self):
        return self.section == SHN_UNDEF


@dataclass
class Relocation:
    section: int  # what is relocated; 0 in a shared object
    offset: int
    kind: str
    symbol: Symbol
    addend: int


@dataclass
class Elf:
    path: str
    machine: str = ""
    relocatable: bool = False
    sections: list = field(default_factory=list)
    symbols: list = field(default_factory=list)
    relocations: list = field(default_factory=list)

    def section(self, name):
        return [s for s in self.sections if s.name == name]

    def functions(self):
        """Every function that has code here."""
        return [s for s in self.symbols if s.kind == STT_FUNC and not s.undefined]


def _text(table, offset):
    return table[offset:table.index(b"\0", offset)].decode()


def read(path):
    with open(path, "rb") as file:
        raw = file.read()
    if raw[:6] != b"\x7fELF\x02\x01":
        raise ValueError(f"{path}: not a 64-bit little-endian ELF file")
    kind, machine = struct.unpack_from("<HH", raw, 16)
    table, = struct.unpack_from("<Q", raw, 40)
    size, count, names = struct.unpack_from("<HHH", raw, 58)
    elf = Elf(path, MACHINES.get(machine, f"machine {machine}"), kind == 1)
    headers = [struct.unpack_from("<IIQQQQIIQQ", raw, table + i * size) for i in range(count)]
    name_table = b"" if not headers else raw[headers[names][4]:][:headers[names][5]]
    for index, (name, kind, flags, address, offset, length, link, info, _, _) in enumerate(headers):
        data = b"" if kind == 8 else raw[offset:offset + length]
        elf.sections.append(
            Section(index, _text(name_table, name), kind, flags, address, data, link, info))
    tables = {}
    for section in elf.sections:
        if section.kind in (SHT_SYMTAB, 11):
            tables[section.index] = _symbols(section, elf.sections[section.link].data)
    elf.symbols = next((tables[s.index] for s in elf.sections if s.kind == SHT_SYMTAB), [])
    for section in elf.sections:
        if section.kind == SHT_REL:
            raise ValueError(f"{path}: {section.name} has relocations without addends")
        if section.kind == SHT_RELA:
            _relocations(elf, section, tables.get(section.link, []))
    return elf


def _symbols(section, names):
    symbols = []
    for name, info, _, index, value, size in struct.iter_unpack("<IBBHQQ", section.data):
        symbols.append(Symbol(_text(names, name), info & 15, info >> 4, index, value, size))
    return symbols


def _relocations(elf, section, symbols):
    known = RELOCATIONS.get(elf.machine, {})
    for offset, info, addend in struct.iter_unpack("<QQq", section.data):
        kind = info & 0xFFFFFFFF
        symbol = symbols[info >> 32] if info >> 32 < len(symbols) else None
        elf.relocations.append(Relocation(
            section.info, offset, known.get(kind, f"type {kind}"), symbol, addend))


def uleb128(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def stack_sizes(elf):
    """{function name: bytes of its frame} as the compiler noted them in an object file."""
    by_place = {}
    for relocation in elf.relocations:
        by_place[relocation.section, relocation.offset] = relocation
    names = {(s.section, s.value): s.name for s in elf.functions()}
    sizes = {}
    for section in elf.section(".stack_sizes"):
        at = 0
        while at < len(section.data):
            relocation = by_place.get((section.index, at))
            size, at = uleb128(section.data, at + 8)
            if relocation is None:
                raise ValueError(f"{elf.path}: a stack size that belongs to no function")
            place = (relocation.symbol.section, relocation.symbol.value + relocation.addend)
            sizes[names.get(place, relocation.symbol.name)] = size
    return sizes


class Graph:
    """Who refers to whom in an object file: calls, and data that hold addresses of functions."""

    def __init__(self, elf):
        self.places = {}  # section -> sorted [(start, end, name)]
        for symbol in elf.symbols:
            if symbol.kind in (STT_SECTION, STT_FILE) or symbol.undefined \
                    or symbol.section >= SHN_LORESERVE or not symbol.name:
                continue
            self.places.setdefault(symbol.section, []).append(
                (symbol.value, symbol.value + max(symbol.size, 1), symbol.name))
        for places in self.places.values():
            places.sort()
        self.sections = {s.index: s for s in elf.sections}
        self.edges = {}
        for relocation in elf.relocations:
            section = self.sections[relocation.section]
            if not section.flags & SHF_ALLOC:
                continue
            source = self.name(relocation.section, relocation.offset)
            self.edges.setdefault(source, set()).add(self.target(relocation))

    def name(self, section, offset):
        """The symbol at a place; code and data without a symbol go by their section."""
        places = self.places.get(section, [])
        at = bisect.bisect_right(places, (offset, float("inf"), "")) - 1
        if at >= 0 and places[at][0] <= offset < places[at][1]:
            return places[at][2]
        return f"section {section} {self.sections[section].name}"

    def target(self, relocation):
        symbol = relocation.symbol
        if symbol.kind != STT_SECTION:
            return symbol.name
        # A call counts from the end of its operand, hence the 4 on amd64; the
        # start of a section is as good an answer where that is unclear.
        offset = relocation.addend
        if relocation.kind in ("R_X86_64_PC32", "R_X86_64_PLT32"):
            offset += 4
        return self.name(symbol.section, max(offset, 0))

    def walk(self, start):
        """{reached name: who led there}"""
        came_from = {start: None}
        todo = [start]
        while todo:
            name = todo.pop()
            for reached in sorted(self.edges.get(name, ())):
                if reached not in came_from:
                    came_from[reached] = name
                    todo.append(reached)
        return came_from


def path(came_from, end):
    names = []
    while end is not None:
        names.append(end)
        end = came_from[end]
    return names[::-1]
