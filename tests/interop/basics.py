# SPDX-License-Identifier: BSD-2-Clause
"""Every size of frame, every address, one path and two, and what vblade can say no to."""
import os
import random
import time

from lab import MIB, copy_there_and_back, one_target, sha256, test


def with_mtu(lab, mtu, payload, frames):
    """One target on a wire of this MTU, 64 MiB there and back.

    `payload` is what a frame carries, `frames` how many a mebibyte takes in requests of 128 KiB."""
    lab.wire(mtu)
    disk = lab.disk(64 * MIB)
    lab.vblade(disk)
    found = one_target(lab)
    assert found["address"] == "7.0" and found["state"] == "up", found
    assert found["size"] == 64 * MIB and found["sectors"] == 131072, found
    assert found["model"] == "Coraid EtherDrive vblade", found
    path, = found["path"]
    assert path["interface"] == "i0" and path["state"] == "up" and path["buffers"] == 16, path
    text = lab.aoectl("identify", "-i", "i0", "7.0").out
    assert "131072 sectors" in text and "Coraid EtherDrive vblade" in text, text
    copy_there_and_back(lab, 64 * MIB, disk)
    result = lab.aoectl("read", "-i", "i0", "7.0", "/dev/null", "--length", "1m", "--libxo=json").json()
    assert result["transfer"]["bytes"] == MIB, result
    path, = result["target"][0]["path"]
    assert path["payload"] == payload, path
    assert path["sent"] - path["retransmitted"] == frames, path


@test
def mtu_1500(lab):
    """MTU 1500: two sectors a frame."""
    with_mtu(lab, 1500, 2 * 512, 1024)


@test
def mtu_4132(lab):
    """MTU 4132: eight sectors a frame."""
    with_mtu(lab, 4132, 8 * 512, 256)


@test
def mtu_9000(lab):
    """MTU 9000: seventeen sectors fit; frames of sixteen are whole blocks."""
    with_mtu(lab, 9000, 16 * 512, 128)


@test
def mtu_65535(lab):
    """MTU 65535: 127 sectors fit; frames of 120 are whole blocks."""
    with_mtu(lab, 65535, 120 * 512, 24)


@test
def odd_offsets(lab):
    """Requests that begin and end anywhere leave exactly the right bytes, and no others."""
    lab.wire(9000)
    disk = lab.disk(4 * MIB, fill=True)
    model = bytearray(disk.read_bytes())
    lab.vblade(disk)
    chance = random.Random(7)
    for number in range(24):
        sectors = chance.choice([1, 2, 7, 8, 9, 31, 33, 255, 257, 1000])
        start = chance.randrange(0, 8192 - sectors) * 512
        block = chance.choice(["1s", "3s", "8s", "17s", "128k"])
        piece = lab.random_file(sectors * 512, f"piece{number}")
        lab.aoectl("write", "-i", "i0", "7.0", piece, "--yes", "--offset", start,
                   "--block", block, "--depth", chance.choice([1, 5, 64]))
        model[start:start + sectors * 512] = piece.read_bytes()
        back = lab.dir / "piece"
        lab.aoectl("read", "-i", "i0", "7.0", back, "--offset", start, "--length", sectors * 512,
                   "--block", chance.choice(["1s", "5s", "64k"]))
        assert back.read_bytes() == piece.read_bytes(), f"piece {number} at {start}"
    assert disk.read_bytes() == model, "bytes outside of the requests were changed"


@test
def first_and_last_sector(lab):
    """The edges of the disk can be written and read, one past them not."""
    lab.wire()
    disk = lab.disk(MIB)
    lab.vblade(disk)
    one = lab.random_file(512, "one")
    last = MIB - 512
    for start in (0, last):
        lab.aoectl("write", "-i", "i0", "7.0", one, "--yes", "--offset", start)
        assert sha256(disk, start, 512) == sha256(one)
    for command in (["read"], ["write", "--yes"], ["verify"]):
        two = lab.random_file(1024, "two")
        error = lab.aoectl(*command, "-i", "i0", "7.0", two, "--offset", last, "--length", 1024,
                           status=2).err
        assert "has 1048576 bytes" in error, error
    assert sha256(disk, last, 512) == sha256(one), "a refused write wrote"


@test
def two_paths(lab):
    """Two interfaces to the same disk are both used."""
    lab.wire(9000)
    lab.wire(9000)
    disk = lab.disk(64 * MIB)
    lab.vblade(disk, "t0")
    lab.vblade(disk, "t1")
    copy_there_and_back(lab, 64 * MIB, disk, "i0,i1")
    # On a machine that is busy with other things a path may be silent for long enough to be given up for a
    # moment; it has to come back.
    for _ in range(10):
        result = lab.aoectl("read", "-i", "i0,i1", "7.0", "/dev/null", "--libxo=json").json()
        paths = {path["interface"]: path for path in result["target"][0]["path"]}
        assert set(paths) == {"i0", "i1"}, paths
        if all(path["state"] == "up" and path["sent"] > 1000 for path in paths.values()):
            return
    raise AssertionError(f"the paths are not both used: {paths}")


@test
def two_paths_with_different_mtu(lab):
    """Each path has frames of its own size."""
    lab.wire(1500)
    lab.wire(9000)
    disk = lab.disk(16 * MIB)
    lab.vblade(disk, "t0")
    lab.vblade(disk, "t1")
    copy_there_and_back(lab, 16 * MIB, disk, "i0,i1")
    result = lab.aoectl("read", "-i", "i0,i1", "7.0", "/dev/null", "--libxo=json").json()
    paths = {path["interface"]: path["payload"] for path in result["target"][0]["path"]}
    assert paths == {"i0": 2 * 512, "i1": 16 * 512}, paths


@test
def one_buffer(lab):
    """A target that takes one message at a time (-b 1)."""
    lab.wire()
    disk = lab.disk(8 * MIB)
    lab.vblade(disk, options=["-b", "1"])
    copy_there_and_back(lab, 8 * MIB, disk)


@test
def many_targets(lab):
    """Thirty targets on one wire are all found, in order."""
    lab.wire()
    wanted = [f"{shelf}.{slot}" for shelf in (1, 20, 300) for slot in range(10)]
    for number, address in enumerate(wanted):
        lab.vblade(lab.disk(MIB + number * 512, f"disk{number}"), address=address)
    found = lab.aoectl("discover", "i0", "--libxo", "json,pretty").json()["target"]
    assert [target["address"] for target in found] == wanted, found
    assert all(target["state"] == "up" for target in found), found
    text = lab.aoectl("discover").out.splitlines()
    assert len(text) == 31 and text[0].startswith("TARGET"), text


@test
def read_only_target(lab):
    """A read-only export can be read; a write fails, says why, and changes nothing."""
    lab.wire()
    disk = lab.disk(MIB, fill=True)
    before = sha256(disk)
    lab.vblade(disk, options=["-r"])
    back = lab.dir / "back"
    lab.aoectl("read", "-i", "i0", "7.0", back)
    assert sha256(back) == before
    error = lab.aoectl("write", "-i", "i0", "7.0", lab.random_file(4096, "new"), "--yes", status=1).err
    assert "refuses writes" in error, error
    assert sha256(disk) == before


@test
def reserved_target(lab):
    """A target that somebody else reserved is identified, but not read; released, it is."""
    lab.wire()
    disk = lab.disk(MIB, fill=True)
    lab.vblade(disk)
    answer, = lab.exchange("i0", "1000" + "0007" + "00" + "03" + "80000001" + "01" + "01" + "020000000009")
    assert answer.startswith("1800"), answer
    error = lab.aoectl("read", "-i", "i0", "7.0", "/dev/null", status=1).err
    assert "reserved" in error, error
    assert "Coraid" in lab.aoectl("identify", "-i", "i0", "7.0").out
    answer, = lab.exchange("i0", "1000" + "0007" + "00" + "03" + "80000002" + "02" + "00")
    assert answer.startswith("1800"), answer
    back = lab.dir / "back"
    lab.aoectl("read", "-i", "i0", "7.0", back)
    assert sha256(back) == sha256(disk)


@test
def masked_target(lab):
    """A target that talks to others only is not found: status 3, and an error that names it."""
    lab.wire()
    lab.vblade(lab.disk(MIB), options=["-m", "020000000009"])
    error = lab.aoectl("discover", "i0", status=3).err
    assert "no target answers on i0" in error, error
    error = lab.aoectl("identify", "-i", "i0", "7.0", "--timeout", 1, status=3).err
    assert "target 7.0 does not answer on i0" in error, error


@test
def wrong_address(lab):
    """Another address than the one that is there: status 3, and the one that is there is named."""
    lab.wire()
    lab.vblade(lab.disk(MIB), address="8.1")
    error = lab.aoectl("identify", "-i", "i0", "7.0", "--timeout", 1, status=3).err
    assert "others do: 8.1" in error, error


@test
def file_shrinks_under_the_target(lab):
    """Sectors that the target cannot read any more are an error, not a hang."""
    lab.wire()
    disk = lab.disk(4 * MIB, fill=True)
    lab.vblade(disk)
    os.truncate(disk, MIB)
    lab.aoectl("read", "-i", "i0", "7.0", "/dev/null", "--length", MIB)
    begin = time.monotonic()
    error = lab.aoectl("read", "-i", "i0", "7.0", "/dev/null", status=1).err
    assert "reported an error" in error, error
    assert time.monotonic() - begin < 20, "it took too long"


@test
def larger_after_restart(lab):
    """A target that has grown is seen with its new size, and the new part can be used."""
    lab.wire()
    disk = lab.disk(MIB)
    blade = lab.vblade(disk)
    assert one_target(lab)["size"] == MIB
    blade.kill()
    blade.wait()
    os.truncate(disk, 2 * MIB)
    lab.vblade(disk)
    assert one_target(lab)["size"] == 2 * MIB
    copy_there_and_back(lab, 2 * MIB, disk)
