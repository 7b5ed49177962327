#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Records what a real target answers, for tests/recorded.rs to compare the model with.

    sudo unshare -n -u python3 record.py vblade > vblade25.txt
    sudo unshare -n -u env AOE_GGAOED=.../ggaoed python3 record.py ggaoed > ggaoed11.txt

Each line is a request in hex, " > ", and the answer in hex or "-" for silence. The first line has an
empty request: it is the advertisement. Needs root (in its own network and host name namespace), iproute2
and the target, which AOE_VBLADE or AOE_GGAOED name if it is not in the path. The state of the target runs
on from line to line, so the order matters.
"""
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

ME = bytes.fromhex("020000000001")
TARGET = bytes.fromhex("020000000073")
WILD = (0xFFFF, 0xFF)
# The command codes of random frames. ggaoed 1.1 looks 4 up behind the end of its table, and may do anything then.
UNKNOWN = {"vblade": (3, 4, 0x80, 0xFE), "ggaoed": (3, 5, 0x80, 0xFE)}


def run(*argv):
    subprocess.run(argv, check=True)


def header(cmd, tag, addr=(7, 3), ver=0x10, err=0, dst=TARGET, src=ME):
    return dst + src + b"\x88\xa2" + struct.pack(">BBHBBI", ver, err, addr[0], addr[1], cmd, tag)


def pad(frame):
    return frame + bytes(max(0, 60 - len(frame)))


class Lab:
    def __init__(self, kind, random_frames):
        self.kind = kind
        self.rng = random.Random(25)
        self.tag = 0x01020304
        self.random_frames = random_frames
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88A2))
        self.sock.bind(("aoe-a", 0))

    def answer(self, wait):
        end = time.monotonic() + wait
        while True:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                return None
            data, where = self.sock.recvfrom(70000)
            if where[2] != socket.PACKET_OUTGOING:
                return data

    def ask(self, frame, wait=0.06):
        self.sock.send(frame)
        reply = self.answer(wait)
        print(frame.hex(), ">", reply.hex() if reply else "-")

    def next_tag(self):
        self.tag = (self.tag + 0x11) & 0xFFFFFFFF
        return self.tag

    def ata(self, command, count, lba=0, aflags=0, feature=0, data=b"", rest=b"\0\0", raw=False, **kw):
        frame = header(0, self.next_tag(), **kw) + struct.pack(">BBBB", aflags, feature, count, command)
        frame += lba.to_bytes(6, "little") + rest + data
        self.ask(frame if raw else pad(frame))

    def config(self, ccmd, string=b"", length=None, raw=False, **kw):
        frame = header(1, self.next_tag(), **kw)
        frame += struct.pack(">HHBBH", 0, 0, 0, ccmd, len(string) if length is None else length) + string
        self.ask(frame if raw else pad(frame))

    def other(self, cmd, arg, raw=False, **kw):
        frame = header(cmd, self.next_tag(), **kw) + arg
        self.ask(frame if raw else pad(frame))

    def vectors(self):
        self.config(0, addr=WILD, dst=b"\xff" * 6)
        self.config(0, addr=(8, 3))
        self.config(0, addr=(7, 0xFF))
        self.config(0, ver=0x20)
        self.config(0, raw=True)
        self.config(1)
        self.config(1, b"x")
        self.config(3, b"hello")
        self.config(3, b"hello")
        self.config(3, b"other")
        self.config(1, b"hello")
        self.config(2, b"hel")
        self.config(2)
        self.config(2, b"hex")
        self.config(4, b"yo")
        self.config(9)
        self.config(4, b"a" * 1025)
        self.config(4, b"a" * 1024)
        self.config(4, b"abc", length=40)
        self.config(4, b"abc", length=40, raw=True)
        self.config(0, length=2000)
        self.config(4)
        for count in (1, 0, 2):
            self.ata(0xEC, count, 0xA0000000)
        self.ata(0xE7, 0)
        self.ata(0x42, 0)
        self.ata(0xE7, 0, aflags=0x40)
        self.ata(0xE7, 1)
        for command in (0xEA, 0xE5, 0xEF, 0x06, 0xB0, 0xC8, 0x25, 0x40, 0x00, 0x2F):
            self.ata(command, 0)
        self.ata(0xB0, 1, 0xC24F00, feature=0xD0)
        self.ata(0xE5, 1)
        self.ata(0xE5, 255)
        self.ata(0x20, 1)
        for count in (2, 3, 0):
            self.ata(0x24, count, aflags=0x40)
        self.ata(0x24, 1, 1 << 40, aflags=0x40)
        self.ata(0x24, 2, 8191, aflags=0x40)
        self.ata(0x24, 1, 8191, aflags=0x40)
        self.ata(0x24, 1, 8192, aflags=0x40)
        block = bytes(range(256)) * 2
        self.ata(0x34, 1, 5, aflags=0x41, data=block)
        self.ata(0x24, 2, 4, aflags=0x40)
        self.ata(0x34, 2, 5, aflags=0x41, data=block)
        self.ata(0x34, 1, 8192, aflags=0x41, data=block)
        self.ata(0x34, 1, 6, aflags=0x40, data=block)
        self.ata(0x30, 1, 7, aflags=0x01, data=block)
        self.ata(0x20, 1, 0xF0000007)
        self.ata(0x24, 1, 7, aflags=0x12, rest=b"\xab\xcd")
        self.ata(0x24, 1, 7, aflags=0x40, err=9, ver=0x14)
        for cmd in (0x55, 0xF0):
            self.other(cmd, b"", ver=0x10)
            self.other(cmd, b"\1\2\3", raw=True)
        self.other(0, b"", raw=True)
        self.other(0, bytes(11), raw=True)
        self.other(1, bytes(7), raw=True)
        self.other(2, bytes(3), raw=True)
        self.other(3, bytes(1), raw=True)
        self.access()

    def access(self):
        mac9, mac8 = bytes.fromhex("020000000009"), bytes.fromhex("020000000008")
        self.other(2, bytes(4))
        self.other(2, bytes([0, 1, 0, 1, 0, 7]) + mac9)
        self.other(2, bytes([0, 5, 0, 0]))
        self.other(2, bytes([0, 1, 0, 2, 0, 1]) + ME + bytes([0, 1]) + mac9)
        self.other(2, bytes([0, 0, 0, 0]))
        # Nothing is deleted: vblade 25 is killed by its own buffer check ("buffer overflow detected").
        self.other(2, bytes([0, 0, 9, 9]))
        self.other(2, bytes([0, 1, 0, 1, 0, 0]) + mac8)
        self.other(3, bytes(2))
        self.other(3, bytes([1, 1]) + mac9)
        for command, aflags in ((0x24, 0x40), (0xE7, 0), (0xEC, 0), (0xE5, 0), (0x99, 0)):
            self.ata(command, 1 if command in (0x24, 0xEC) else 0, aflags=aflags)
        self.config(0)
        self.other(3, bytes([0, 0]))
        self.other(3, bytes([0, 5]))
        self.other(3, bytes([1, 1]) + ME)
        self.other(3, bytes([2, 2]) + ME + mac9)
        self.other(3, bytes([1, 1]) + ME)
        self.other(3, bytes([7, 0]))
        self.other(3, bytes([7, 3]))
        self.other(3, bytes([1, 40]) + ME, raw=True)
        self.other(3, bytes([2, 0]))
        self.other(3, bytes([0, 0]))

    def random_frame(self):
        rng = self.rng
        kind = rng.random()
        if kind < 0.7:
            command = rng.choice((0x20, 0x24, 0x30, 0x34, 0xE7, 0xE5, 0xEC, 0xEA, rng.randrange(256)))
            data = rng.randbytes(512 * rng.choice((0, 0, 1, 2)))
            lba = rng.choice((rng.randrange(32), rng.randrange(8185, 8200), rng.getrandbits(48)))
            self.ata(command, rng.choice((0, 1, 1, 2, 3, 255)), lba, rng.choice((0, 1, 0x40, 0x41, 0x52)),
                     rng.randrange(256), data, raw=rng.random() < 0.3,
                     err=rng.choice((0, 0, 0, 7)), ver=rng.choice((0x10, 0x10, 0x10, 0x14, 0x23, 0x00)))
        elif kind < 0.9:
            self.config(rng.choice((0, 1, 2, 3, 4, 5, 0x14)), rng.choice((b"", b"a", b"ab", b"abc", b"x" * 60)),
                        length=rng.choice((None, None, None, 1, 30)), raw=rng.random() < 0.3)
        else:
            self.other(rng.choice(UNKNOWN[self.kind]), bytes([rng.choice((0, 5)), rng.randrange(3)])
                       + rng.randbytes(rng.randrange(40)), raw=rng.random() < 0.5)


def command(kind, directory, disk):
    """The command line that serves a file as 7.3 on aoe-b in the foreground."""
    if kind == "vblade":
        return [os.environ.get("AOE_VBLADE", "vblade"), "7", "3", "aoe-b", disk]
    config = os.path.join(directory, "ggaoed.conf")
    with open(config, "w", encoding="ascii") as file:
        file.write(f"""[defaults]
interfaces = aoe-b
direct-io = false
ring-buffer-size = 0
pid-file = {directory}/pid
control-socket = {directory}/socket
state-directory = {directory}
[disk]
path = {disk}
shelf = 7
slot = 3
""")
    return [os.environ.get("AOE_GGAOED", "ggaoed"), "-n", "-c", config]


def main():
    kind, = sys.argv[1:]
    run("hostname", "target")
    run("ip", "link", "add", "aoe-a", "address", ME.hex(":"), "type", "veth",
        "peer", "name", "aoe-b", "address", TARGET.hex(":"))
    for link in ("aoe-a", "aoe-b"):
        with open(f"/proc/sys/net/ipv6/conf/{link}/disable_ipv6", "w", encoding="ascii") as knob:
            knob.write("1")
        run("ip", "link", "set", link, "up")
    lab = Lab(kind, int(os.environ.get("RANDOM_FRAMES", "250")))
    with tempfile.TemporaryDirectory() as directory:
        disk = os.path.join(directory, "disk.img")
        with open(disk, "wb") as file:
            file.truncate(8192 * 512)
        target = subprocess.Popen(command(kind, directory, disk), stdout=subprocess.DEVNULL, stderr=sys.stderr)
        try:
            advertisement = lab.answer(0.5 if kind == "ggaoed" else 3)
            while advertisement is None and target.poll() is None:
                # ggaoed 1.1 overlooks the links of an answer that its first buffer had no room for. It asks
                # again, with a larger one, when it reads its configuration again.
                target.send_signal(signal.SIGHUP)
                advertisement = lab.answer(0.5)
            print(" >", advertisement.hex())
            time.sleep(0.3)
            lab.vectors()
            for _ in range(lab.random_frames):
                lab.random_frame()
            if target.poll() is not None:
                sys.exit(f"{kind} ended by itself, exit {target.returncode}")
        finally:
            target.terminate()
            target.wait()


main()
