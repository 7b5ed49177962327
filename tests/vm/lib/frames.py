# SPDX-License-Identifier: BSD-2-Clause
"""AoE frames as bytes, written here a second time on purpose: tests of a parser must not share
its idea of the format. Offsets are those from the start of the Ethernet frame."""

import struct

ETHERTYPE = 0x88A2
BROADCAST = "ff:ff:ff:ff:ff:ff"
CMD_ATA, CMD_CONFIG, CMD_MASK, CMD_RESERVE = 0, 1, 2, 3
REQUEST, RESPONSE, ERROR = 0x10, 0x18, 0x1C


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def frame(dst, src, shelf, slot, command, arg=b"", verfl=RESPONSE, error=0, tag=0):
    return (mac(dst) + mac(src) + struct.pack(">HBBHBBI", ETHERTYPE, verfl, error, shelf, slot, command, tag) + arg)


def config_arg(text=b"", bufcnt=16, firmware=0x4019, sectors=2, version_command=0x10):
    return struct.pack(">HHBBH", bufcnt, firmware, sectors, version_command, len(text)) + text


def ata_arg(aflags=0, feature=0, count=0, command=0x40, lba=0, data=b""):
    return bytes([aflags, feature, count, command]) + lba.to_bytes(6, "little") + b"\0\0" + data


def identify_data(sectors, serial="forged", model="forged", firmware="0"):
    """512 bytes that a target could answer IDENTIFY with."""
    words = [0] * 256
    words[47], words[49], words[50] = 0x8000, 0x0200, 0x4000
    words[83], words[84], words[86], words[87], words[93] = 0x5400, 0x4000, 0x1400, 0x4000, 0x400B
    low = min(sectors, 0x0FFFFFFF)
    words[60], words[61] = low & 0xFFFF, low >> 16
    for i in range(4):
        words[100 + i] = (sectors >> (16 * i)) & 0xFFFF
    for first, length, text in ((10, 20, serial), (23, 8, firmware), (27, 40, model)):
        raw = text.encode().ljust(length)[:length]
        for i in range(0, length, 2):
            words[first + i // 2] = raw[i] << 8 | raw[i + 1]
    return struct.pack("<256H", *words)


class Aoe:
    """A frame taken apart; raises ValueError if it is no AoE frame."""

    def __init__(self, raw):
        if len(raw) < 24 or raw[12:14] != b"\x88\xa2":
            raise ValueError("not AoE")
        self.raw = raw
        self.dst, self.src = raw[0:6].hex(":"), raw[6:12].hex(":")
        self.verfl, self.error, self.shelf, self.slot, self.command, self.tag = struct.unpack(">BBHBBI", raw[14:24])
        self.arg = raw[24:]

    @property
    def response(self):
        return bool(self.verfl & 0x08)

    @property
    def ata_command(self):
        return self.arg[3] if self.command == CMD_ATA and len(self.arg) > 3 else None

    def __repr__(self):
        kind = "response" if self.response else "request"
        return (f"<{self.src} > {self.dst} {kind} {self.shelf}.{self.slot} command {self.command} "
                f"ata {self.ata_command} tag {self.tag:#x} length {len(self.raw)}>")


def measured_vectors(dst, src, shelf, slot):
    """The answers that a real vblade 25 was seen to give (8,192 sectors, MTU 1500, 16 buffers)."""
    def reply(command, arg, verfl=RESPONSE, error=0, pad=0):
        return frame(dst, src, shelf, slot, command, bytes.fromhex(arg), verfl, error).ljust(pad, b"\0")

    config = [("0010401902100000", 0x08, 0), ("0010401902100000", 0x28, 0), ("0010401902110000", RESPONSE, 0),
              ("001040190213000568656c6c6f", RESPONSE, 0), ("001040190213000568656c6c6f", ERROR, 4),
              ("0010401902140002796f", RESPONSE, 0), ("0010401902190000", ERROR, 2)]
    out = [reply(CMD_CONFIG, arg, verfl, error) for arg, verfl, error in config]
    ata = [("000000ec0000000000000000", ERROR, 2, 60), ("000000000000000000000000", RESPONSE, 0, 60),
           ("400400000000000000000000", RESPONSE, 0, 60), ("000401000000000000000000", RESPONSE, 0, 36),
           ("000400410000000000000000", RESPONSE, 0, 60), ("0000ff400000000000000000", RESPONSE, 0, 60),
           ("00040141004fc20000000000", RESPONSE, 0, 36), ("400003240000000000000000", ERROR, 2, 60),
           ("401001410000000000000000", RESPONSE, 0, 36), ("40100241ff1f000000000000", RESPONSE, 0, 36),
           ("410000400500000000000000", RESPONSE, 0, 60), ("410002340500000000000000", ERROR, 2, 60),
           ("411001410020000000000000", RESPONSE, 0, 60), ("410401410500000000000000", RESPONSE, 0, 60)]
    out += [reply(CMD_ATA, arg, verfl, error, pad) for arg, verfl, error, pad in ata]
    data = bytes.fromhex("000000400000000000000000")
    out.append(frame(dst, src, shelf, slot, CMD_ATA, data + identify_data(8192)))
    out.append(frame(dst, src, shelf, slot, CMD_ATA, data + bytes([0xA5]) * 512))
    out.append(frame(dst, src, shelf, slot, CMD_ATA, b"\x40" + data[1:] + bytes([0xA5]) * 1024))
    out += [reply(0x55, "0000", ERROR, 1, 60), reply(0xF0, "0000", ERROR, 1, 60)]
    out += [reply(CMD_MASK, "00000000"), reply(CMD_MASK, "00010200"), reply(CMD_MASK, "00050000", ERROR, 2),
            reply(CMD_MASK, "000100010000020000000009")]
    out += [reply(CMD_RESERVE, "0000"), reply(CMD_RESERVE, "0101020000000009"),
            reply(CMD_RESERVE, "0101020000000009", ERROR, 6), reply(CMD_RESERVE, "0700", ERROR, 2)]
    return out
