# SPDX-License-Identifier: BSD-2-Clause
"""The checks of aoe.ko.  Each returns a list of complaints; an empty list is a pass."""

import re
import subprocess

import elf as elffile

# A frame may take this much: a kernel stack is four pages, and a disk request may come in deep
# below a filesystem.
FRAME_LIMIT = 1024

# What sys/amd64/amd64/elf_machdep.c does for a relocatable module, and what
# sys/arm64/arm64/elf_machdep.c does for a shared one.
RELOCATIONS = {
    "amd64": {"R_X86_64_64", "R_X86_64_PC32", "R_X86_64_PLT32", "R_X86_64_32S"},
    "aarch64": {"R_AARCH64_ABS64", "R_AARCH64_GLOB_DAT", "R_AARCH64_JUMP_SLOT",
                "R_AARCH64_RELATIVE"},
}


def imports(module, allowed):
    """Nothing is imported that the committed list does not name."""
    wanted = {s.name for s in module.symbols if s.undefined and s.name}
    return [f"imports {name}, which is not in imported-symbols.txt"
            for name in sorted(wanted - allowed)]


def read_import_list(path):
    with open(path, encoding="utf-8") as file:
        lines = (line.split("#")[0].strip() for line in file)
        return {line for line in lines if line}


def relocations(module):
    """Only relocations that the kernel's linker knows: any other makes kldload refuse."""
    complaints = {}
    if not module.relocations:
        return ["has no relocations at all: not a module"]
    for relocation in module.relocations:
        if module.relocatable:
            section = module.sections[relocation.section]
            if not section.flags & elffile.SHF_ALLOC:
                continue
        if relocation.kind not in RELOCATIONS[module.machine]:
            name = relocation.symbol.name if relocation.symbol else ""
            complaints.setdefault(relocation.kind, name)
    return [f"relocation {kind} ({name or 'no symbol'}) is unknown to the kernel's linker"
            for kind, name in sorted(complaints.items())]


INSTRUCTION = re.compile(r"^\s*[0-9a-f]+:\s+(\S+)\s*(.*)$")
FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")


def disassemble(objdump, path):
    """(function, mnemonic, operands) of every instruction in the file."""
    out = subprocess.run(
        [objdump, "-d", "--no-show-raw-insn", path], check=True, capture_output=True, text=True)
    function = "?"
    for line in out.stdout.splitlines():
        if found := FUNCTION.match(line):
            function = found[1]
        elif found := INSTRUCTION.match(line):
            # What stands in <> names a place; a remark begins with // or a # that stands apart.
            operands = re.sub(r"<[^>]*>|//.*|(\s{2,}|\t)#.*", "", found[2])
            yield function, found[1], operands.strip()


AMD64_REGISTER = re.compile(r"%(xmm|ymm|zmm|mm[0-7]|st\b|k[0-7]\b|bnd)")
# Every x87 mnemonic begins with f; the rest touch the same state without naming a register.
AMD64_MNEMONIC = re.compile(r"^(f(?!s$)|emms|ldmxcsr|stmxcsr|v?zero|xsave|xrstor|v[a-z]+[ps][sd]$)")
ARM64_REGISTER = re.compile(r"\b[vzqdshb]\d{1,2}\b|\bp\d{1,2}/")


def registers(objdump, path, machine):
    """No SSE, x87, floating-point or vector register: the kernel does not save them."""
    complaints = {}
    count = 0
    for function, mnemonic, operands in disassemble(objdump, path):
        count += 1
        if machine == "amd64":
            bad = AMD64_REGISTER.search(operands) or AMD64_MNEMONIC.match(mnemonic)
        else:
            bad = ARM64_REGISTER.search(operands)
        if bad:
            complaints.setdefault(function, f"{mnemonic} {operands}")
    if count == 0:
        return ["holds no instructions"]
    return [f"{function}: floating-point or vector register: {text}"
            for function, text in sorted(complaints.items())]


X18 = re.compile(r"\b[xw]18\b")
# C may read the per-CPU pointer, as curthread does: as the base of a plain load or store, or as
# the source of a move or an addition.
X18_READ = re.compile(
    r"^(?:(?:ld|st)\w+ (?!.*\b[xw]18\b.*\[)[^\[]*\[x18(?:, #?\w+)?\]$"
    r"|(?:mov|add|sub) x(?!18\b)\w+, x18\b(?!.*\b[xw]18\b.*\b[xw]18\b).*)")


def x18(objdump, path, machine, may_read):
    """x18 is the kernel's: never written, and in Rust code not even read."""
    if machine != "aarch64":
        return []
    complaints = {}
    for function, mnemonic, operands in disassemble(objdump, path):
        if not X18.search(operands):
            continue
        if not (may_read and X18_READ.match(f"{mnemonic} {operands}")):
            complaints.setdefault(function, f"{mnemonic} {operands}")
    return [f"{function}: use of x18: {text}" for function, text in sorted(complaints.items())]


STACK_TAKEN = {
    "amd64": re.compile(r"^subq? \$(0x[0-9a-f]+|\d+), %rsp$"),
    "aarch64": re.compile(r"^sub sp, sp, #(0x[0-9a-f]+|\d+)(?:, lsl #(12))?$"),
}


def frames(objdump, path):
    """Every frame is smaller than FRAME_LIMIT, by the compiler's notes and by the code."""
    file = elffile.read(path)
    sizes = elffile.stack_sizes(file)
    complaints = [f"{name}: a frame of {size} bytes"
                  for name, size in sorted(sizes.items()) if size >= FRAME_LIMIT]
    # The compiler notes no size for a function whose frame has no fixed one.
    complaints += [f"{s.name}: its frame has no known size"
                   for s in file.functions() if s.name not in sizes]
    pattern = STACK_TAKEN[file.machine]
    for function, mnemonic, operands in disassemble(objdump, path):
        if found := pattern.match(f"{mnemonic} {operands}"):
            taken = int(found[1], 0)
            if file.machine == "aarch64" and found[2]:
                taken <<= 12
            if taken >= FRAME_LIMIT:
                complaints.append(f"{function}: takes {taken} bytes of stack at once")
    return complaints, max(sizes.values(), default=0)


PANIC = re.compile(r"panicking|aoe_check_panicked|rust_begin_unwind|_fail$|unwrap_failed")


def panics(path, entry_prefix, without=()):
    """No way from a function named entry_prefix* to a panic, through calls or tables."""
    file = elffile.read(path)
    graph = elffile.Graph(file)
    entries = sorted(s.name for s in file.functions()
                     if s.name.startswith(entry_prefix) and s.name not in without)
    if not entries:
        return [f"no function named {entry_prefix}*"], []
    complaints = []
    for entry in entries:
        came_from = graph.walk(entry)
        ends = sorted(name for name in came_from if PANIC.search(name))
        if ends:
            way = " -> ".join(elffile.path(came_from, ends[0]))
            complaints.append(f"a panic can be reached: {way}")
    return complaints, entries
