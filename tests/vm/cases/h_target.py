# SPDX-License-Identifier: BSD-2-Clause
"""Targets that vblade cannot be: TRIM, other flushes, 28 bits, 4 KiB blocks, loss, reordering, errors.
Served by this project's own aoe-target, which also counts and refuses requests that break a rule."""

import hashlib
import re
import time

from cases.c_files import disk_size, set_mtu, whole_afterwards
from lib.case import MIB, Group
from lib.guest import forever
from lib.target import file_hash, pattern
from lib.util import need, same

G = Group("target", nics=("em", "vtnet"), memory=1024, tree=True)


def attached(t, *options, size=64 * MIB, **kw):
    server = t.aoe_target(seg=1, size=size, seed="target", options=options, **kw)
    t.load("vtnet0")
    t.wait_disk()
    return server


def write_from_tree(t, count, unit="64k"):
    t.guest.run(f"dd if=/dev/vtbd2 of=/dev/aoe7.0 bs={unit} count={count}", 300)
    return t.guest.run(f"dd if=/dev/vtbd2 bs={unit} count={count} 2>/dev/null | sha256 -q", 120)


def sum_of_disk(t, count, unit="64k"):
    return t.guest.run(f"dd if=/dev/aoe7.0 bs={unit} count={count} 2>/dev/null | sha256 -q", 300)


@G.test
def trim(t):
    """BIO_DELETE becomes DATA SET MANAGEMENT: the middle reads as zeros, its neighbours stay."""
    server = attached(t, "--trim-blocks", "8")
    need("Yes" in t.guest.run("diskinfo -v /dev/aoe7.0 | grep TRIM"), "diskinfo does not see TRIM")
    write_from_tree(t, 512)
    t.guest.run("trim -f -o 1m -l 8m /dev/aoe7.0", 60)
    need(int(t.leaf("trims")) > 0, "no TRIM is counted")
    zeros = t.guest.run("dd if=/dev/aoe7.0 bs=1m iseek=1 count=8 2>/dev/null | tr -d '\\000' | wc -c")
    same(zeros.strip(), "0", "bytes in the trimmed range that are not zero")
    t.guest.run("cmp -n 1048576 /dev/vtbd2 /dev/aoe7.0")
    with open(server.file, "rb") as f:
        f.seek(MIB)
        same(f.read(8 * MIB).count(0), 8 * MIB, "zeros in the backing file")
        need(f.read(64) != bytes(64), "the TRIM went past its end")


@G.test(limit=900)
def trim_by_the_filesystem(t):
    server = attached(t, "--trim-blocks", "8", size=disk_size(t))
    t.guest.run("newfs -U -t /dev/aoe7.0 && mkdir -p /mnt/a && mount /dev/aoe7.0 /mnt/a", 120)
    t.guest.run("tar xf /dev/vtbd2 -C /mnt/a", 600)
    t.guest.run("cp -R /mnt/a/d1 /mnt/a/copy && sync && rm -r /mnt/a/copy && sync && sleep 3", 300)
    need(int(t.leaf("trims")) > 0, "removing files sent no TRIM")
    whole_afterwards(t, "/dev/aoe7.0")
    need(server.alive(), "the target ended")


@G.test
def trim_claimed_but_aborted(t):
    """A target that says TRIM and cannot: it is turned off, the disk lives on."""
    attached(t, "--claim-trim")
    t.guest.try_run("trim -f -o 1m -l 1m /dev/aoe7.0", 60)
    want = write_from_tree(t, 64)
    same(sum_of_disk(t, 64), want, "sum after a refused TRIM")
    same(t.leaf("state"), "up", "state")


def flushes(t, *options):
    """The ATA opcodes of flushes on the wire, and how many the module counts. diskinfo -S writes
    blocks and asks the disk to flush after each; UFS itself never does."""
    sniffer = t.sniff(1)
    attached(t, *options)
    t.guest.try_run("timeout 5 diskinfo -wS /dev/aoe7.0", 60)
    need(int(t.leaf("writes")) > 0, "diskinfo wrote nothing")
    seen = {f[27] for f in sniffer.seen(to_guest=False) if f[19] == 0 and f[14] == 0x10}
    same(t.leaf("errors"), "0", "errors")
    return seen & {0xE7, 0xEA}, int(t.leaf("flushes"))


@G.test
def flush_ext_where_there_is_one(t):
    opcodes, count = flushes(t)
    same(opcodes, {0xEA}, "flush commands on the wire")
    need(count > 0, "flushes are not counted")


@G.test
def flush_where_there_is_no_ext(t):
    opcodes, count = flushes(t, "--no-flush-ext")
    same(opcodes, {0xE7}, "flush commands on the wire")
    need(count > 0, "flushes are not counted")


@G.test
def flush_ext_claimed_but_aborted(t):
    """The claim is tried once, then the plain command is used; nobody above hears of it."""
    opcodes, _ = flushes(t, "--claim-flush-ext")
    same(opcodes, {0xEA, 0xE7}, "flush commands on the wire")


@G.test
def no_flush_at_all(t):
    opcodes, _ = flushes(t, "--no-flush")
    same(opcodes, set(), "flush commands on the wire")


@G.test
def flush_of_vblade_ggaoed_and_kvblade(t):
    """Each answers FLUSH in its own wrong way."""
    for kind in ("vblade", "ggaoed", "kvblade"):
        flushes(t, "--kind", kind)
        want = write_from_tree(t, 64)
        same(sum_of_disk(t, 64), want, f"sum on {kind}")
        t.finish()


@G.test
def target_without_48_bits(t):
    sniffer = t.sniff(1)
    attached(t, "--no-lba48")
    want = write_from_tree(t, 128)
    same(sum_of_disk(t, 128), want, "sum")
    t.guest.run("dd if=/dev/aoe7.0 of=/dev/null bs=64k iseek=1000")
    opcodes = {f[27] for f in sniffer.seen(to_guest=False) if f[19] == 0 and f[14] == 0x10}
    need(opcodes <= {0x20, 0x30, 0xEC, 0xE7}, f"commands on the wire: {sorted(map(hex, opcodes))}")


@G.test
def physical_blocks_of_4k(t):
    """Stripe size as GEOM shows it; no frame cuts a block where a whole one fits."""
    t.lab.segments[1].port(0)
    t.lab.segments[1].set_mtu(9000)
    t.guest.run("ifconfig vtnet0 mtu 9000 up")
    attached(t, "--physical", "4096")
    need(re.search(r"^\s*4096\s+# stripesize", t.guest.run("diskinfo -v /dev/aoe7.0"), re.M), "stripe size")
    sniffer = t.sniff(1)
    want = write_from_tree(t, 32)
    same(sum_of_disk(t, 32), want, "sum")
    writes = [f for f in sniffer.seen(to_guest=False) if f[19] == 0 and f[14] == 0x10 and f[27] in (0x30, 0x34)]
    need(writes, "no write was seen")
    for f in writes:
        need(f[26] % 8 == 0 and f[28] % 8 == 0, f"a write of {f[26]} sectors at {f[28]} cuts a 4 KiB block")


@G.test(limit=900)
def odd_number_of_sectors_per_frame(t):
    """17 at MTU 9000 on a target that takes 17; and single sectors."""
    attached(t, "--sectors", "1")
    want = write_from_tree(t, 32)
    same(sum_of_disk(t, 32), want, "sum with single sectors")


@G.test(limit=900)
def lossy_reordering_wire(t):
    """2 % lost in each direction, some doubled, some overtaken: slower, never wrong."""
    server = attached(t, "--loss", "2", "--duplicate", "2", "--reorder", "5", "--seed", "11", size=32 * MIB)
    count = 128 if t.config.quick else 448
    want = write_from_tree(t, count)
    same(sum_of_disk(t, count), want, "sum as read back")
    same(t.leaf("errors"), "0", "errors")
    need(int(t.leaf("retransmits")) > 0, "nothing was lost, so nothing was tried")
    t.unload()
    same(file_hash_of(server.file, count * 65536), want, "sum of the backing file")


def file_hash_of(path, length):

    with open(path, "rb") as f:
        return hashlib.sha256(f.read(length)).hexdigest()


@G.test(limit=900)
def headers_damaged_on_the_wire(t):
    """A flipped bit can make another request of a request, so nothing is promised but that the
    machine and the module live on and that reads come back right once the wire is well."""
    server = attached(t, "--corrupt", "1", "--seed", "3", size=32 * MIB)
    before = file_hash(server.file)
    for _ in range(8):
        t.guest.try_run("dd if=/dev/aoe7.0 of=/dev/null bs=64k count=64 conv=noerror 2>/dev/null", 120)
    server.stop()
    t.aoe_target(seg=1, file=server.file)
    t.guest.wait_for("dd if=/dev/aoe7.0 of=/dev/null bs=512 count=1", 60, "a read on the repaired wire", "0.5")
    same(sum_of_disk(t, 512), file_hash(server.file), "sum on the repaired wire")
    same(file_hash(server.file), before, "the backing file")


@G.test(limit=900)
def target_that_works_in_any_order(t):
    attached(t, "--workers", "8", "--shuffle", "--service", "50..3000", size=32 * MIB)
    want = write_from_tree(t, 128)
    same(sum_of_disk(t, 128), want, "sum")


@G.test
def read_only_target(t):
    """Not to be known in advance; the write fails, reading goes on, the target stays up."""
    server = attached(t, "--read-only")
    before = file_hash(server.file)
    t.guest.fails("dd if=/dev/zero of=/dev/aoe7.0 bs=64k count=4", "Input/output error|Read-only|not permitted")
    t.guest.run("dd if=/dev/aoe7.0 of=/dev/null bs=64k count=4")
    same(t.leaf("state"), "up", "state")
    same(file_hash(server.file), before, "the backing file")


@G.test
def bad_sector(t):
    """EIO for what covers it, data for its neighbours, and no end of the disk."""
    attached(t, "--bad-sector", "100")
    t.guest.fails("dd if=/dev/aoe7.0 of=/dev/null bs=512 iseek=100 count=1", "Input/output error", 60)
    t.guest.run("dd if=/dev/aoe7.0 of=/dev/null bs=512 iseek=99 count=1 && "
                "dd if=/dev/aoe7.0 of=/dev/null bs=512 iseek=101 count=1")
    same(t.leaf("state"), "up", "state")
    need(int(t.leaf("errors")) > 0, "the error is not counted")


def at_once(t, server, dd, count=20):
    """So many dd(1)s of a sector, one behind the other on the disk, while the target stands still; $i counts them."""
    before = int(t.leaf("joined"))
    server.pause()
    job = t.guest.spawn(f"for i in $(jot {count} 0); do {dd} 2>/tmp/said.$i & sleep 0.05; done; wait")
    t.guest.wait_for(f"test $(sysctl -n net.aoe.target.7.0.joined) -ge {before + count // 2}", 60)
    server.resume()
    job.succeed(120)


@G.test
def short_requests_share_a_frame(t):
    """Those that follow each other on the disk do when they have to wait, and one that fails fails alone."""
    t.lab.segments[1].port(0)
    set_mtu(t, 1, "vtnet0", 9000)
    server = attached(t, "--buffers", "1", "--bad-sector", "13")
    # GEOM has read that sector, too.
    errors = int(t.leaf("errors")) + 1
    frames = int(t.leaf("frames_sent")) - int(t.leaf("retransmits"))
    at_once(t, server, "dd if=/dev/aoe7.0 of=/tmp/read.$i bs=512 iseek=$i count=1")
    frames = int(t.leaf("frames_sent")) - int(t.leaf("retransmits")) - frames
    same(int(t.leaf("errors")), errors, "errors")
    need("Input/output error" in t.guest.run("cat /tmp/said.13"), "the sector that cannot be read was read")
    got = t.guest.run("for i in $(jot 20 0); do cat /tmp/read.$i; done | sha256 -q")
    data = pattern("target", 20 * 512)
    same(got, hashlib.sha256(data[:13 * 512] + data[14 * 512:]).hexdigest(), "sum of what was read")
    t.say(f"{t.leaf('joined')} of 20 reads went with another, {frames} frames for all")

    at_once(t, server, "dd if=/dev/vtbd2 of=/dev/aoe7.0 bs=512 iseek=$((40+i)) oseek=$((100+i)) count=1")
    same(t.guest.run("dd if=/dev/aoe7.0 bs=512 iseek=100 count=20 2>/dev/null | sha256 -q"),
         t.guest.run("dd if=/dev/vtbd2 bs=512 iseek=40 count=20 2>/dev/null | sha256 -q"), "sum of what was written")


@G.test
def config_string_is_shown(t):
    attached(t, "--config", "owner=test machine")
    same(t.leaf("config"), "owner=test machine", "config string")
    same(t.leaf("serial"), "7.0", "serial")
    same(t.guest.run("dd if=/dev/aoe7.0 bs=512 count=1 2>/dev/null | od -An -tx1 | tr -d ' \\n'")[:64],
         pattern("target", 32).hex(), "first bytes")


@G.test
def one_buffer_only(t):
    attached(t, "--buffers", "1")
    want = write_from_tree(t, 16)
    same(sum_of_disk(t, 16), want, "sum")
    same(t.leaf("path.0.buffers"), "1", "buffers")


@G.test
def more_targets_than_one_on_an_interface(t):
    count = 6 if t.config.quick else 20
    for slot in range(count):
        t.vblade(seg=0, shelf=20, slot=slot, size=MIB + slot * 512)
    t.load("em0")
    for slot in range(count):
        t.wait_disk(20, slot)
    for slot in range(count):
        same(t.leaf("size", 20, slot), str(MIB + slot * 512), f"size of 20.{slot}")
    same(t.guest.run("ls /dev | grep -c '^aoe20[.]'"), str(count), "disks")


def reads_of(t, slots):
    return [int(t.leaf("reads", slot=slot)) for slot in slots]


def share(t, blocks, seconds):
    """The reads of each of these disks in that time, all read from their beginnings again and again at once, in blocks
    of its size."""
    t.guest.run("rm -f /tmp/stop")
    jobs = [t.guest.spawn(forever(f"dd if=/dev/aoe7.{slot} of=/dev/null bs={size} 2>/dev/null"))
            for slot, size in blocks.items()]
    time.sleep(2)
    before = reads_of(t, blocks)
    time.sleep(seconds)
    got = [after - b for after, b in zip(reads_of(t, blocks), before)]
    t.guest.run("touch /tmp/stop; pkill -x dd; true")
    for job in jobs:
        job.wait(120)
    t.guest.run("rm -f /tmp/stop")
    return got


@G.test
def targets_share_a_card(t):
    """Four that are read as fast as they go get about the same of it; the reads of a page that one makes beside
    three of those wait their turn and no longer."""
    for slot in range(4):
        t.vblade(seg=0, slot=slot)
    t.load("em0")
    for slot in range(4):
        t.wait_disk(slot=slot)
    got = share(t, {slot: "1m" for slot in range(4)}, 8)
    t.say(f"reads of 1 MiB, in 8 s: {got}")
    need(min(got) * 2 > max(got) > 0, f"shares are not alike: {got}")

    (alone,) = share(t, {3: "4k"}, 4)
    *streams, beside = share(t, {0: "1m", 1: "1m", 2: "1m", 3: "4k"}, 8)
    t.say(f"reads of 4 KiB: {alone / 4:.0f}/s alone, {beside / 8:.0f}/s beside streams of {streams} MiB in 8 s")
    need(min(streams) * 2 > max(streams) > 0, f"shares are not alike: {streams}")
    # Each may have to wait for what three windows hold, not for whole requests of the others.
    need(beside / 8 > sum(streams) / 3 / 8, "a page takes longer than a mebibyte of the others")
