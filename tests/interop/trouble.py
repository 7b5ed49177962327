# SPDX-License-Identifier: BSD-2-Clause
"""Targets that die, links that go, wires that lose: nothing is lost and nothing hangs."""
import os
import random
import shutil
import signal
import subprocess
import threading
import time

from lab import MIB, ROOT, Skip, SlowWrite, copy_there_and_back, one_target, sha256, test


@test
def path_lost_in_the_middle(lab):
    """One of two paths is cut in the middle of a write; nothing is lost."""
    lab.wire(9000, switch=True)
    lab.wire(9000, switch=True)
    disk = lab.disk(64 * MIB)
    lab.vblade(disk, "t0")
    lab.vblade(disk, "t1")
    write = SlowWrite(lab, 64 * MIB, "-i", "i0,i1")
    write.feed(20 * MIB)
    lab.link("i", "i1", "down")
    write.feed_rest()
    write.end()
    assert sha256(write.source) == sha256(disk)


@test
def target_killed_in_the_middle(lab):
    """kill -9 in the middle of a write, started again after three seconds: the write goes on."""
    lab.wire()
    disk = lab.disk(64 * MIB)
    blade = lab.vblade(disk)
    write = SlowWrite(lab, 64 * MIB, "-i", "i0")
    write.feed(20 * MIB)
    blade.send_signal(signal.SIGKILL)
    blade.wait()
    write.feed_rest()
    time.sleep(3)
    assert write.child.poll() is None, "it did not wait"
    lab.vblade(disk)
    begin = time.monotonic()
    _, err = write.end()
    took = time.monotonic() - begin
    assert "does not answer" in err and "answers again" in err, err
    assert sha256(write.source) == sha256(disk)
    assert took < 30, f"it took {took:.1f} s after the restart"


@test
def killed_again_and_again(lab):
    """The target is killed and started six times during a write over a wire that loses frames."""
    lab.bad_wire(1500, loss=1, duplicate=1, reorder=2, seed=3)
    disk = lab.disk(64 * MIB)
    blade = lab.vblade(disk)
    write = SlowWrite(lab, 64 * MIB, "-i", "i0", "--block", "5s", "--depth", 200)
    chance = random.Random(3)
    for _ in range(6):
        write.feed(chance.randrange(1, 8 * MIB))
        blade.kill()
        blade.wait()
        time.sleep(chance.random())
        blade = lab.vblade(disk)
    write.feed_rest()
    write.end()
    assert sha256(write.source) == sha256(disk)


@test
def target_dies_for_good(lab):
    """A target that stays silent ends the write after --dead seconds, with status 3."""
    lab.wire()
    disk = lab.disk(64 * MIB)
    blade = lab.vblade(disk)
    write = SlowWrite(lab, 64 * MIB, "-i", "i0", "--dead", 3)
    write.feed(10 * MIB)
    blade.kill()
    blade.wait()
    begin = time.monotonic()
    write.feed_rest()
    _, err = write.end(status=3)
    took = time.monotonic() - begin
    assert "silent for 3 s" in err, err
    assert 2 < took < 8, f"it took {took:.1f} s"


@test
def link_down_and_up(lab):
    """The interface goes down in the middle of a write and comes back."""
    lab.wire(9000, switch=True)
    disk = lab.disk(64 * MIB)
    lab.vblade(disk)
    write = SlowWrite(lab, 64 * MIB, "-i", "i0")
    write.feed(20 * MIB)
    lab.link("i", "i0", "down")
    write.feed_rest()
    time.sleep(2)
    assert write.child.poll() is None, "it did not wait"
    lab.link("i", "i0", "up")
    write.end()
    assert sha256(write.source) == sha256(disk)


@test
def mtu_lowered_in_the_middle(lab):
    """The initiator's MTU shrinks in the middle of a write; smaller frames follow."""
    lab.wire(9000)
    disk = lab.disk(64 * MIB)
    lab.vblade(disk)
    write = SlowWrite(lab, 64 * MIB, "-i", "i0")
    write.feed(20 * MIB)
    lab.link("i", "i0", "mtu", 1500)
    write.feed_rest()
    write.end()
    assert sha256(write.source) == sha256(disk)


@test
def smaller_after_restart(lab):
    """A target that comes back too small in the middle of a write: an error, not a hang."""
    lab.wire()
    disk = lab.disk(64 * MIB)
    blade = lab.vblade(disk)
    write = SlowWrite(lab, 64 * MIB, "-i", "i0")
    write.feed(20 * MIB)
    blade.kill()
    blade.wait()
    os.truncate(disk, 10 * MIB)
    lab.vblade(disk)
    write.feed_rest()
    _, err = write.end(status=1)
    assert "target 7.0" in err, err


def conflicting(lab, size, hostname):
    """Two disks at one address: the one that answers first is used, the other reported and never written."""
    lab.wire()
    lab.wire()
    mine = lab.disk(4 * MIB, "mine")
    other = lab.disk(size, "other", fill=True)
    before = sha256(other)
    lab.vblade(mine, "t0")
    write = SlowWrite(lab, 4 * MIB, "-i", "i0,i1")
    write.feed(MIB)
    lab.vblade(other, "t1", hostname=hostname)
    time.sleep(1.5)
    write.feed_rest()
    _, err = write.end()
    assert "another disk answers" in err, err
    assert sha256(write.source) == sha256(mine), "the right disk was not written"
    assert sha256(other) == before, "the other disk was written"
    result = lab.aoectl("discover", "i0", "i1", "--libxo=json").json()["target"]
    assert len(result) == 1 and " on i" in result[0]["conflict"], result
    assert "another disk" in lab.aoectl("discover", "i0", "i1").err


@test
def conflict_by_size(lab):
    """A disk of another size at the same address, from the same host."""
    conflicting(lab, 8 * MIB, None)


@test
def conflict_by_serial(lab):
    """A disk of the same size at the same address, from another host."""
    conflicting(lab, 4 * MIB, "elsewhere")


def twins(lab, size=4 * MIB, fill=False, hostname=None, other_size=None):
    """Two disks at one address on two wires, both unwritten so far; the second is not to be written."""
    lab.wire()
    lab.wire()
    mine = lab.disk(size, "mine", fill=fill)
    other = lab.disk(other_size or size, "other")
    if other_size is None:
        shutil.copyfile(mine, other)
    lab.vblade(mine, "t0")
    lab.vblade(other, "t1", hostname=hostname)
    source = lab.random_file(MIB, "source")
    return mine, other, source


def refused_write(lab, disks, words, command, *args):
    """A command that writes is refused with status 1 and these words, and changes nothing."""
    before = [sha256(disk) for disk in disks]
    done = lab.aoectl(command, "-i", "i0,i1", *args, status=1)
    for word in words:
        assert word in done.err, done.err
    assert [sha256(disk) for disk in disks] == before, "something was written"


@test
def twins_of_different_size_are_not_written(lab):
    """write and bench --write name both disks and do nothing; --mac and --serial choose, read says it."""
    mine, other, source = twins(lab, other_size=8 * MIB, hostname="elsewhere")
    macs = [lab.mac("t", name) for name in ("t0", "t1")]
    words = ["different disks answer at this address", *macs, "nothing was written"]
    for _ in range(3):
        refused_write(lab, (mine, other), words, "write", "7.0", source, "--yes")
    refused_write(lab, (mine, other), words, "bench", "7.0", "--write", "--yes", "--seconds", 1)
    said = lab.aoectl("read", "-i", "i0,i1", "7.0", "/dev/null", "--length", "4k").err
    assert "different disks answer at this address" in said and all(mac in said for mac in macs), said
    before = sha256(other)
    lab.aoectl("write", "-i", "i0,i1", "--mac", macs[0], "7.0", source, "--yes")
    assert sha256(mine, 0, MIB) == sha256(source) and sha256(other) == before
    before = sha256(mine)
    lab.aoectl("write", "-i", "i0,i1", "--serial", "7.0:elsewhere", "7.0", source, "--yes", "--offset", MIB)
    assert sha256(other, MIB, MIB) == sha256(source) and sha256(mine) == before
    done = lab.aoectl("write", "-i", "i0,i1", "--serial", "nobody", "7.0", source, "--yes", status=3)
    assert "nobody" in done.err and "7.0:elsewhere" in done.err, done.err
    done = lab.aoectl("write", "-i", "i0,i1", "--mac", "02:00:00:00:00:77", "7.0", source, "--yes", status=3)
    assert "02:00:00:00:00:77" in done.err, done.err


@test
def twins_with_other_data_are_not_written(lab):
    """Disks that call themselves alike and differ in what is on them."""
    mine, other, source = twins(lab)
    with open(other, "r+b") as file:
        file.seek(34 * 512)
        file.write(b"another label")
    refused_write(lab, (mine, other), ["different disks answer", "nothing was written"], "write", "7.0", source, "--yes")


def equal_twins(lab, fill):
    """A cloned server: same name, same size, same data. Only what is written tells the two apart."""
    mine, other, source = twins(lab, fill=fill)
    words = ["two disks that look alike answer", "nothing was changed", lab.mac("t", "t0"), lab.mac("t", "t1")]
    for offset in (0, MIB, 3 * MIB):
        refused_write(lab, (mine, other), words, "write", "7.0", source, "--yes", "--offset", offset)
    refused_write(lab, (mine, other), words, "bench", "7.0", "--write", "--yes", "--seconds", 1)
    before = sha256(mine)
    lab.aoectl("write", "-i", "i0,i1", "--mac", lab.mac("t", "t1"), "7.0", source, "--yes")
    assert sha256(other, 0, MIB) == sha256(source), "the chosen one was not written"
    assert sha256(mine) == before, "the other one was written"


@test
def empty_twins_are_not_written(lab):
    """Equal servers, equal disks, nothing on them."""
    equal_twins(lab, False)


@test
def cloned_twins_are_not_written(lab):
    """Equal servers, equal disks, the same data on both."""
    equal_twins(lab, True)


@test
def one_disk_by_two_stations_is_written_by_both(lab):
    """Two servers of one file are two paths of one disk, which the proof shows; the sector that it changes is put back."""
    lab.wire(9000)
    lab.wire(9000)
    disk = lab.disk(64 * MIB, fill=True)
    lab.vblade(disk, "t0")
    lab.vblade(disk, "t1")
    before = sha256(disk, 0, 8 * MIB), sha256(disk, 40 * MIB)
    source = lab.random_file(32 * MIB, "source")
    result = lab.aoectl("write", "-i", "i0,i1", "7.0", source, "--yes", "--offset", 8 * MIB, "--libxo=json").json()
    sent = [path["sent"] for path in result["target"][0]["path"]]
    assert len(sent) == 2 and min(sent) > 100, sent
    assert sha256(disk, 8 * MIB, 32 * MIB) == sha256(source)
    assert (sha256(disk, 0, 8 * MIB), sha256(disk, 40 * MIB)) == before, "other parts of the disk were changed"


@test
def stations_silent_while_they_are_compared(lab):
    """All of them: they are looked for again, and written when they answer; else the status is 3 and nothing is."""
    wires = [lab.bad_wire(mute=seconds) for seconds in (2.5, 2.5, 60, 60)]
    source = lab.random_file(MIB, "source")
    disk = lab.disk(4 * MIB)
    lab.vblade(disk, "t0")
    lab.vblade(disk, "t1")
    begin = time.monotonic()
    lab.aoectl("write", "-i", "i0,i1", "7.0", source, "--yes", "--timeout", 10)
    took = time.monotonic() - begin
    assert took > 2, f"nobody was silent: {took:.1f} s"
    assert sha256(disk, 0, MIB) == sha256(source)
    lab.vblade(disk, "t2")
    lab.vblade(disk, "t3")
    before = sha256(disk)
    begin = time.monotonic()
    done = lab.aoectl("write", "-i", "i2,i3", "7.0", source, "--yes", "--offset", MIB, "--timeout", 4, status=3)
    took = time.monotonic() - begin
    assert "fell silent before they were compared; nothing was written" in done.err, done.err
    assert 4 < took < 15, f"it took {took:.1f} s"
    assert sha256(disk) == before, "something was written"
    for wire in wires:
        wire.terminate()
        # Each of 15 sectors is asked for some times in a second; the first silence ends the comparison.
        counts = wire.stdout.read().split()
        assert int(counts[counts.index("swallowed") - 1]) > 1, counts


def bad_wire(lab, mtu, size, **trouble):
    """Everything arrives over a wire that does this to frames."""
    child = lab.bad_wire(mtu, **trouble)
    disk = lab.disk(size)
    lab.vblade(disk)
    copy_there_and_back(lab, size, disk)
    child.terminate()
    counts = child.stdout.read()
    words = counts.split()
    done = dict(zip(words[1::2], words[0::2]))
    for key, name in (("loss", "lost"), ("duplicate", "duplicated"), ("reorder", "reordered")):
        if key in trouble:
            assert int(done[name]) > 20, f"the wire did nothing: {counts}"


@test
def loss(lab):
    """One frame in a hundred is lost in each direction."""
    bad_wire(lab, 1500, 8 * MIB, loss=1)


@test
def heavy_loss(lab):
    """One frame in seven is lost."""
    bad_wire(lab, 1500, 2 * MIB, loss=15)


@test
def duplication(lab):
    """One frame in twenty arrives twice."""
    bad_wire(lab, 1500, 8 * MIB, duplicate=5)


@test
def reordering(lab):
    """One frame in twenty arrives late."""
    bad_wire(lab, 1500, 8 * MIB, reorder=5)


@test
def everything_at_once(lab):
    """Loss, duplication and reordering with large frames."""
    bad_wire(lab, 9000, 16 * MIB, loss=2, duplicate=2, reorder=5, seed=11)


@test
def overlapping_writes_on_a_bad_wire(lab):
    """One place written again and again over a wire that reorders: the last write wins."""
    lab.bad_wire(1500, loss=3, duplicate=3, reorder=10, seed=5)
    disk = lab.disk(MIB)
    lab.vblade(disk)
    for number in range(12):
        piece = lab.random_file(64 * 512, "piece")
        lab.aoectl("write", "-i", "i0", "7.0", piece, "--yes", "--offset", 512 * (number % 3),
                   "--block", "3s", "--depth", 64)
        assert sha256(piece) == sha256(disk, 512 * (number % 3), 64 * 512), f"write {number}"


def noisy(lab, spoofed):
    """Reading and writing go on, and are right, whatever else is on the wire."""
    lab.wire()
    disk = lab.disk(16 * MIB)
    lab.vblade(disk)
    options = []
    if spoofed:
        options = ["--from", one_target(lab)["path"][0]["mac"]]
    child = lab.start("t", ROOT / "tests/interop/ether", "noise", "t0", "7.0", *options, stdout=subprocess.PIPE)
    assert child.stdout.readline() == "ready\n"
    copy_there_and_back(lab, 16 * MIB, disk)
    lab.aoectl("discover", "i0")
    child.terminate()
    sent = int(child.stdout.read())
    assert sent > 2000, f"only {sent} frames of noise"


@test
def noise_from_strangers(lab):
    """Nonsense from other Ethernet addresses does no harm."""
    noisy(lab, spoofed=False)


@test
def noise_in_the_name_of_the_target(lab):
    """Nonsense with the target's own Ethernet address may cost time, but no data."""
    noisy(lab, spoofed=True)


@test
def everything_breaks(lab):
    """Two bad paths, targets that are killed, links that go down, all at random while pieces are written.

    AOE_SOAK gives the time in seconds (10), AOE_SEED the seed, which is printed when it fails."""
    seed = int(os.environ.get("AOE_SEED", random.randrange(1 << 32)))
    chance = random.Random(seed)
    for number in range(2):
        lab.bad_wire(chance.choice([1500, 9000]), loss=chance.choice([0, 1, 5]), seed=seed + number,
                     duplicate=chance.choice([0, 3]), reorder=chance.choice([0, 5]))
    disk = lab.disk(16 * MIB, fill=True)
    model = bytearray(disk.read_bytes())
    blades = [lab.vblade(disk, f"t{number}") for number in range(2)]
    done = threading.Event()

    def chaos():
        mine = random.Random(seed + 7)
        while not done.is_set():
            which = mine.randrange(2)
            if mine.random() < 0.5:
                blades[which].kill()
                blades[which].wait()
                time.sleep(mine.random())
                blades[which] = lab.vblade(disk, f"t{which}")
            else:
                lab.link("i", f"i{which}", "down")
                time.sleep(mine.random())
                lab.link("i", f"i{which}", "up")
            time.sleep(mine.random())

    breaker = threading.Thread(target=chaos)
    breaker.start()
    try:
        end = time.monotonic() + float(os.environ.get("AOE_SOAK", "10"))
        pieces = 0
        while time.monotonic() < end:
            sectors = chance.choice([1, 9, 100, 4001, 16384])
            start = chance.randrange(0, 32768 - sectors) * 512
            piece = lab.random_file(sectors * 512, "piece")
            reach = ["-i", "i0,i1", "--timeout", 30]
            block = chance.choice(["1s", "8s", "33s", "1m"]) if sectors < 4096 else "64k"
            lab.aoectl("write", *reach, "7.0", piece, "--yes", "--offset", start, "--block", block,
                       "--depth", chance.choice([1, 16, 256]))
            model[start:start + sectors * 512] = piece.read_bytes()
            lab.aoectl("verify", *reach, "7.0", piece, "--offset", start)
            pieces += 1
        assert pieces >= 3, f"only {pieces} pieces (seed {seed})"
        assert disk.read_bytes() == model, f"the disk is wrong (AOE_SEED={seed})"
    except AssertionError as error:
        raise AssertionError(f"{error} (AOE_SEED={seed})") from error
    finally:
        done.set()
        breaker.join()


@test
def netem(lab):
    """The kernel's own trouble (tc netem): delay with jitter, loss, duplication, reordering."""
    lab.wire()
    for which, name in (("i", "i0"), ("t", "t0")):
        done = subprocess.run(["tc", "-n", lab.ns(which), "qdisc", "add", "dev", name, "root", "netem",
                               "delay", "1ms", "1ms", "loss", "1%", "duplicate", "1%"],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Skip(f"this kernel has no netem ({done.stderr.strip()}); "
                       "the tests of the bad wire do the same in a process")
    disk = lab.disk(4 * MIB)
    lab.vblade(disk)
    copy_there_and_back(lab, 4 * MIB, disk)
