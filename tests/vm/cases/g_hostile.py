# SPDX-License-Identifier: BSD-2-Clause
"""Frames that nobody should send, and a second target that claims an address that is taken."""

import hashlib
import random
import re
import time

from lib.case import MIB, Group
from lib.frames import (BROADCAST, CMD_ATA, CMD_CONFIG, ERROR, ETHERTYPE, Aoe, ata_arg, config_arg, frame, mac,
                        measured_vectors)
from lib.target import file_hash, pattern
from lib.util import need, same

G = Group("hostile", nics=("em", "vtnet"), memory=1024)


class Watch:
    """A disk under a steady reader, and everything that hostile frames must leave as it is."""

    def __init__(self, t, seg=0, ifname="em0"):
        self.t = t
        self.server = t.vblade(seg=seg, size=16 * MIB, seed="hostile")
        self.before = file_hash(self.server.file)
        t.load(ifname)
        t.wait_disk()
        self.guest_mac = t.machine.mac(seg)
        self.injector = t.injector(seg)
        # The switch must not learn the target's address at the injector's port when it is forged.
        t.lab.sh(f"bridge link set dev s{seg}p9b learning off")
        self.state = self.look()
        t.guest.run("rm -f /tmp/stop")
        self.reader = t.guest.spawn("n=0; while ! test -e /tmp/stop; do dd if=/dev/aoe7.0 bs=64k 2>/dev/null | sha256 -q; done "
                                    "| sort | uniq -c")

    def look(self):
        """What may not change: disks, their size and names, targets and paths."""
        g = self.t.guest
        names = g.run("ls /dev | grep aoe; ls /dev/etherd")
        table = sorted(set(re.findall(r"^(\d+\.\d+)\s", g.sysctl("net.aoe.devices"), re.M)))
        leaves = [self.t.leaf(leaf) for leaf in ("state", "size", "model", "serial", "firmware")]
        paths = sorted(set(re.findall(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", g.run("sysctl net.aoe.target"))))
        need(names and table and paths, "there is nothing to compare with")
        return names, table, leaves, paths

    def close(self, counted_at_least):
        self.t.guest.run("touch /tmp/stop")
        sums = self.reader.succeed(60)
        want = self.t.guest.run("dd if=/dev/aoe7.0 bs=64k 2>/dev/null | sha256 -q")
        need(re.fullmatch(rf"\s*\d+ {want}\s*", sums), f"the reader saw other data, too: {sums}")
        same(self.look(), self.state, "disks, targets and paths after the frames")
        after = dropped(self.t)
        rise = sum(after.values()) - sum(self.counted.values())
        self.t.say(f"{rise} counted: { {k: v - self.counted.get(k, 0) for k, v in after.items() if v != self.counted.get(k, 0)} }")
        need(rise >= counted_at_least, f"{counted_at_least} hostile frames were sent, the counters rose by {rise}")
        same(file_hash(self.server.file), self.before, "the backing file")
        need(self.server.alive(), "vblade ended")

    def begin(self):
        self.counted = dropped(self.t)
        return self


def dropped(t):
    """Received frames that were of no use, by reason."""
    out = {}
    for line in t.guest.run("sysctl net.aoe.drops net.aoe.refused").splitlines():
        name, _, value = line.partition(": ")
        out[name.removeprefix("net.aoe.")] = int(value)
    return out


def pour(t, injector, frames):
    """Sends with pauses, so that the guest's receive ring is never what throws frames away."""
    n = 0
    for raw in frames:
        injector.send(raw)
        n += 1
        if n % 32 == 0:
            time.sleep(0.02)
    t.guest.run("sleep 1", 30)
    return n


@G.test(limit=600)
def random_bytes(t):
    w = Watch(t).begin()
    rng = random.Random(7)
    count = 500 if t.config.quick else 3000
    head = mac(w.guest_mac) + mac(w.injector.mac) + ETHERTYPE.to_bytes(2, "big")

    def frames():
        for _ in range(count):
            body = rng.randbytes(rng.randrange(0, 1486))
            # Without a response bit in byte 14 most would be thrown away at the first look.
            if body and rng.random() < 0.8:
                body = bytes([rng.choice((0x18, 0x1C, 0x08))]) + body[1:]
            if len(body) > 6 and rng.random() < 0.8:
                body = body[:2] + b"\0\7\0" + bytes([rng.choice((0, 1, 2, 3, 0xF0))]) + body[6:]
            yield head + body

    sent = pour(t, w.injector, frames())
    w.close(sent // 2)


def vectors_from(t, w, source):
    out = measured_vectors(w.guest_mac, source, 7, 0)
    out += measured_vectors(w.guest_mac, source, 9, 3)
    return out


@G.test(limit=900)
def truncated_at_every_length(t):
    """On vtnet, which hands up frames as short as they come (e1000 pads them to 60 bytes)."""
    w = Watch(t, 1, "vtnet0").begin()
    sent = 0
    for source in (w.injector.mac, w.server.mac()):
        for raw in vectors_from(t, w, source):
            if raw[16:18] == b"\0\x09" and t.config.quick:
                continue
            # Not the announcements that are long enough to be one: they name a new target, rightly.
            top = min(len(raw), 80 if t.config.quick else 600)
            lengths = [n for n in range(14, top) if not (raw[19] == CMD_CONFIG and n >= 32)]
            sent += pour(t, w.injector, (raw[:n] for n in lengths))
    need(dropped(t)["drops.short"] > w.counted["drops.short"] + 100, "short frames are not counted as such")
    w.close(sent // 4)


@G.test(limit=900)
def each_header_byte_altered(t):
    """From a stranger, and with the sender address of the real target."""
    w = Watch(t).begin()
    sent = 0
    flips = (0x01, 0x80, 0xFF) if t.config.quick else (0x01, 0x02, 0x08, 0x10, 0x40, 0x80, 0xFF)
    for source in (w.injector.mac, w.server.mac()):
        def altered():
            for raw in measured_vectors(w.guest_mac, source, 7, 0):
                for at in range(14, 24):
                    for flip in flips:
                        bad = raw[:at] + bytes([raw[at] ^ flip]) + raw[at + 1:]
                        if not announces(bad):
                            yield bad
        sent += pour(t, w.injector, altered())
    w.close(sent // 4)


def announces(raw):
    """A well-formed configuration answer: news of a target, not an attack on the parser. What the
    module makes of those has tests of its own (conflict, phantom)."""
    return raw[19] == CMD_CONFIG and raw[14] & 0x0C == 0x08 and len(raw) >= 32


@G.test(limit=300)
def phantom_target_makes_no_disk(t):
    """Announcements of addresses where nobody answers IDENTIFY: no disk, and no growth without bound."""
    w = Watch(t)
    for n in range(300):
        w.injector.send(frame(BROADCAST, w.injector.mac, 100 + n, n % 250, CMD_CONFIG, config_arg(), 0x08))
        if n % 32 == 0:
            time.sleep(0.02)
    t.guest.run("sleep 3", 30)
    same(t.guest.run("ls /dev | grep -c '^aoe[0-9]*[.][0-9]*$'"), "1", "disks")
    same(t.leaf("state"), "up", "state of the real target")
    same(file_hash(w.server.file), w.before, "the backing file")
    t.guest.run("touch /tmp/stop")
    w.reader.succeed(60)


def outstanding_read(t, sniffer):
    """Makes the guest read while the target is stopped; the request as it passed the wire."""
    sniffer.clear()
    job = t.guest.spawn("dd if=/dev/aoe7.0 bs=512 count=1 iseek=77 2>/dev/null | sha256 -q")
    end = time.monotonic() + 10
    while time.monotonic() < end:
        for raw in sniffer.seen(to_guest=False):
            asked = Aoe(raw)
            if not asked.response and asked.ata_command in (0x20, 0x24) and raw[28] == 77:
                return job, asked
        time.sleep(0.05)
    need(False, "the guest sent no read")


@G.test(limit=300)
def answers_with_the_right_tag_but_wrong(t):
    """Someone who sees the wire knows the tag. A stranger's answer, one for another address, a short
    one, an error flag with no sense, a request: none may complete the read."""

    w = Watch(t)
    t.guest.run("touch /tmp/stop")
    w.reader.succeed(60)
    sniffer = t.sniff(0)
    want = hashlib.sha256(pattern("hostile", MIB)[77 * 512:78 * 512]).hexdigest()
    lie = b"L" * 512
    for name, forge in FORGERIES.items():
        w.server.pause()
        job, asked = outstanding_read(t, sniffer)
        for _ in range(3):
            w.injector.send(forge(w, asked, lie))
        t.guest.run("sleep 0.5")
        need(job.running(), f"a forged answer completed the read: {name}")
        w.server.resume()
        same(job.succeed(30).strip(), want, f"data read after a forged answer: {name}")
    same(file_hash(w.server.file), w.before, "the backing file")


FORGERIES = {
    "stranger": lambda w, a, lie: frame(w.guest_mac, w.injector.mac, 7, 0, CMD_ATA, ata_arg(0x40, data=lie), tag=a.tag),
    "other slot": lambda w, a, lie: frame(w.guest_mac, w.server.mac(), 7, 1, CMD_ATA, ata_arg(0x40, data=lie), tag=a.tag),
    "other shelf": lambda w, a, lie: frame(w.guest_mac, w.server.mac(), 8, 0, CMD_ATA, ata_arg(0x40, data=lie), tag=a.tag),
    "one byte short": lambda w, a, lie: frame(w.guest_mac, w.server.mac(), 7, 0, CMD_ATA, ata_arg(0x40, data=lie[:511]),
                                              tag=a.tag),
    "no data": lambda w, a, lie: frame(w.guest_mac, w.server.mac(), 7, 0, CMD_ATA, ata_arg(0x40), tag=a.tag),
    "a request": lambda w, a, lie: frame(w.guest_mac, w.server.mac(), 7, 0, CMD_ATA, ata_arg(0x40, data=lie), verfl=0x10,
                                         tag=a.tag),
    "other command": lambda w, a, lie: frame(w.guest_mac, w.server.mac(), 7, 0, CMD_CONFIG, config_arg(b"x" * 512),
                                             verfl=ERROR, error=2, tag=a.tag),
    "old tag": lambda w, a, lie: frame(w.guest_mac, w.server.mac(), 7, 0, CMD_ATA, ata_arg(0x40, data=lie),
                                       tag=a.tag ^ 0x00010000),
    "tag of user space": lambda w, a, lie: frame(w.guest_mac, w.server.mac(), 7, 0, CMD_ATA, ata_arg(0x40, data=lie),
                                                 tag=a.tag | 0x80000000),
}


def conflict(t, second):
    """The checks that both conflict tests share; `second` starts the impostor and returns it."""
    first = t.vblade(seg=0, port=0, size=64 * MIB, seed="first", file=t.disk("first.img", 64 * MIB, "first"))
    t.load("em0")
    t.wait_disk()
    impostor = second()
    before = file_hash(impostor.file)
    t.wait_console(rf"aoe7\.0: another disk .*{impostor.mac()}", 20)
    need(impostor.mac() in t.leaf("conflict"), f"the leaf conflict says {t.leaf('conflict')!r}")
    need(int(t.leaf("conflicts")) > 0, "conflicts are not counted")
    need("conflict" in t.guest.sysctl("net.aoe.devices"), "the table does not show the conflict")
    t.guest.run("dd if=/dev/vtbd1 of=/dev/aoe7.0 bs=64k count=128 conv=sync", 60)
    t.guest.run("dd if=/dev/aoe7.0 of=/dev/null bs=64k", 60)
    same(file_hash(impostor.file), before, "the second disk")
    first.kill()
    job = t.guest.spawn("dd if=/dev/vtbd1 of=/dev/aoe7.0 bs=64k count=16 conv=sync")
    t.guest.run("sleep 6", 30)
    need(job.running(), "a write went somewhere while the first target was dead")
    same(file_hash(impostor.file), before, "the second disk after the first target died")
    first.start()
    job.succeed(60)
    same(file_hash(impostor.file), before, "the second disk at the end")
    same(t.leaf("size"), str(64 * MIB), "size")


@G.test(limit=300)
def second_disk_of_other_size_is_a_conflict(t):
    conflict(t, lambda: t.vblade(seg=0, port=1, file=t.disk("second.img", 48 * MIB, "second")))


@G.test(limit=300)
def second_disk_of_other_serial_is_a_conflict(t):
    conflict(t, lambda: t.aoe_target(seg=0, port=1, file=t.disk("second.img", 64 * MIB, "second"),
                                     options=("--serial", "IMPOSTOR")))


@G.test(limit=300)
def conflict_on_the_second_interface(t):
    first = t.vblade(seg=0, size=64 * MIB, file=t.disk("first.img", 64 * MIB, "first"))
    second = t.vblade(seg=1, size=32 * MIB, file=t.disk("second.img", 32 * MIB, "second"))
    before = file_hash(second.file)
    t.load("em0")
    t.wait_disk()
    t.guest.set_sysctl("net.aoe.iflist", "em0 vtnet0")
    t.wait_console(r"aoe7\.0: another disk .* on vtnet0", 20)
    t.guest.run("dd if=/dev/vtbd1 of=/dev/aoe7.0 bs=64k count=128 conv=sync", 60)
    same(file_hash(second.file), before, "the second disk")
    need(first.alive(), "vblade ended")
