# SPDX-License-Identifier: BSD-2-Clause
"""The project's own target, which has the quirks of others and refuses frames that break a rule."""
import subprocess

from lab import MIB, ROOT, copy_there_and_back, one_target, sha256, test


def model(lab, size, *options, mtu=9000, refusals=0):
    """Everything works with a target like this; it refuses frames that break the rules of the protocol."""
    lab.wire(mtu)
    disk = lab.disk(size)
    lab.model(disk, *options)
    copy_there_and_back(lab, size, disk)
    source = lab.dir / "source"
    result = lab.aoectl("write", "-i", "i0", "7.0", source, "--yes", "--libxo=json").json()
    refused = result["target"][0]["refusals"]
    assert refused == refusals, f"the target refused {refused} frames"


@test
def like_vblade(lab):
    """The project's own target, behaving like vblade."""
    model(lab, 16 * MIB, "--kind", "vblade")


@test
def like_ggaoed(lab):
    """A target like ggaoed: FLUSH is answered with its own opcode as the status."""
    model(lab, 16 * MIB, "--kind", "ggaoed")


@test
def like_kvblade(lab):
    """A target like kvblade: its answers carry other counts, many buffers, a serial number that all share."""
    model(lab, 16 * MIB, "--kind", "kvblade")


@test
def like_an_ideal_disk(lab):
    """A target with everything a disk can have."""
    model(lab, 16 * MIB, "--kind", "ideal")
    found = one_target(lab)
    assert found["flush"] and found["trim"], found


@test
def without_48_bit_commands(lab):
    """An old disk with 28-bit addresses."""
    model(lab, 4 * MIB, "--no-lba48")
    assert one_target(lab)["lba48"] is False


@test
def two_sectors_by_default(lab):
    """A target that says 0 sectors takes 2."""
    model(lab, 4 * MIB, "--advertise-sectors", "0", "--sectors", "2")


@test
def no_flush(lab):
    """A target without any flush command is written, and the operator told."""
    lab.wire()
    disk = lab.disk(MIB)
    lab.model(disk, "--no-flush")
    source = lab.random_file(MIB, "source")
    result = lab.aoectl("write", "-i", "i0", "7.0", source, "--yes", "--libxo=json")
    assert "cannot flush" in result.err and result.json()["transfer"]["flushed"] is False, result.err
    assert sha256(source) == sha256(disk)


@test
def flush_is_claimed_only(lab):
    """A target that announces FLUSH CACHE EXT and aborts it: the data are written all the same. The first no may have
    been misheard, the second is believed."""
    model(lab, 4 * MIB, "--claim-flush-ext", refusals=1)


@test
def large_physical_blocks(lab):
    """With blocks of 4 KiB no frame ends inside one, wherever the request begins."""
    lab.wire(9000)
    disk = lab.disk(4 * MIB)
    lab.model(disk, "--physical", "4096")
    assert one_target(lab)["physical_sector"] == 4096
    watch = lab.start("t", ROOT / "tests/interop/ether", "sniff", "t0", 60, stdout=subprocess.PIPE)
    assert watch.stdout.readline() == "ready\n"
    source = lab.random_file(MIB, "source")
    lab.aoectl("write", "-i", "i0", "7.0", source, "--yes", "--offset", "3s", "--block", "1m")
    assert sha256(source) == sha256(disk, 1536, MIB)
    ends = []
    for _ in range(60):
        frame = bytes.fromhex(watch.stdout.readline().strip())
        if frame[5] == 0 and frame[13] == 0x34:
            ends.append(int.from_bytes(frame[14:20], "little") + frame[12])
    assert len(ends) > 40 and all(end % 8 == 0 for end in ends), ends


@test
def slow_and_out_of_order(lab):
    """A target that works on eight frames at a time, in any order, over a wire with all troubles."""
    model(lab, 8 * MIB, "--workers", 8, "--shuffle", "--service", "0..2000", "--loss", 1, "--duplicate", 2,
          "--reorder", 5, "--delay", "0..500")


@test
def stalls(lab):
    """A target that does nothing for a second and a half, again and again, and then everything at once."""
    model(lab, 8 * MIB, "--stall", "300:1500")


@test
def bad_sector(lab):
    """A sector that cannot be read is an error at its place; everything before it can be read."""
    lab.wire()
    disk = lab.disk(MIB, fill=True)
    lab.model(disk, "--bad-sector", "1000")
    error = lab.aoectl("read", "-i", "i0", "7.0", "/dev/null", "--block", "1s", status=1).err
    assert f"at byte {1000 * 512}: the target reported an error" in error, error
    lab.aoectl("read", "-i", "i0", "7.0", "/dev/null", "--length", "1000s")


@test
def refuses_for_a_while(lab):
    """A target that cannot reach its disk for some frames is asked again."""
    model(lab, 4 * MIB, "--aoe-error", "3:5")


@test
def many_interfaces_of_one_target(lab):
    """One target with two Ethernet addresses, reached by one interface each."""
    lab.wire(9000)
    lab.wire(1500)
    disk = lab.disk(16 * MIB)
    lab.model(disk, interfaces=("t0", "t1"))
    copy_there_and_back(lab, 16 * MIB, disk, "i0,i1")
