# SPDX-License-Identifier: BSD-2-Clause
"""Other real targets, which the environment names: AOE_GGAOED a ggaoed, AOE_VBLADE a vblade beside the installed one.

Each of these tests is made for both. Without the program it is skipped, and says which variable is missing.
"""
import os
import random
import time

from lab import MIB, Skip, SlowWrite, copy_there_and_back, one_target, sha256, test
from questions import STRANGER, answer, bad, config_life, reserve_life
from relay import Relay


class Vblade:
    """Another vblade than the installed one."""

    name, variable = "newest_vblade", "AOE_VBLADE"
    model, firmware, buffers, serial = "Coraid EtherDrive vblade", 0x4019, 16, None
    #: Bytes of data that the engine puts in a frame at an MTU, and the sectors that the target says it takes.
    payloads = {1500: (2 * 512, 2), 4132: (8 * 512, 8), 9000: (16 * 512, 17), 65535: (120 * 512, 127)}
    persistent = False

    def __init__(self, lab):
        self.lab = lab
        self.program = os.path.abspath(os.environ[self.variable])

    def start(self, disk, interfaces=("t0",), address="7.0", buffers=None, read_only=False):
        """The process of each interface."""
        options = (["-b", str(buffers)] if buffers else []) + (["-r"] if read_only else [])
        return [self.lab.vblade(disk, interface, address, options, program=self.program) for interface in interfaces]


class Ggaoed(Vblade):
    """ggaoed 1.1, one process for all interfaces, with direct I/O as it is by default."""

    name, variable = "ggaoed", "AOE_GGAOED"
    # It sends its firmware version, 1, in the byte order of its host.
    model, firmware, buffers, serial = "GGs AoE target", 0x0100, 16, "disk"
    # It takes no MTU above 16384 for true.
    payloads = Vblade.payloads | {65535: (24 * 512, 31)}
    persistent = True

    def start(self, disk, interfaces=("t0",), address="7.0", buffers=None, read_only=False, **settings):
        if buffers:
            settings["queue-length"] = buffers
        if read_only:
            settings["read-only"] = "true"
        settings.setdefault("direct-io", "true")
        return [self.lab.ggaoed(self.program, disk, interfaces, address, **settings)]


def kill(processes):
    """kill -9, and wait for the end."""
    for process in processes:
        process.kill()
        process.wait()


def still_there(processes):
    """No target ended by itself."""
    assert all(process.poll() is None for process in processes), [process.returncode for process in processes]


def for_each(*kinds):
    """Decorator: makes a test of each kind of target."""
    def register(function):
        for kind in kinds:
            def one(lab, kind=kind):
                if kind.variable not in os.environ:
                    raise Skip(f"{kind.variable} is not given")
                function(lab, kind(lab))
            one.__name__ = f"{kind.name}_{function.__name__}"
            one.__doc__ = f"{kind.name.replace('_', ' ')}: {function.__doc__}"
            test(one)
        return function
    return register


of_both = for_each(Vblade, Ggaoed)


@of_both
def every_mtu(lab, target):
    """Found, described, and 64 MiB there and back at each MTU, in frames as large as it takes."""
    for mtu, (payload, sectors) in target.payloads.items():
        number = lab.wire(mtu)
        disk = lab.disk(64 * MIB)
        processes = target.start(disk, (f"t{number}",))
        interface = f"i{number}"
        found, = lab.aoectl("discover", interface, "--libxo", "json").json()["target"]
        assert (found["address"], found["state"], found["size"]) == ("7.0", "up", 64 * MIB), found
        assert found["model"] == target.model and found["flush"] and not found["trim"] and found["lba48"], found
        if target.serial:
            assert found["serial"] == target.serial, found
        path, = found["path"]
        assert path["buffers"] == target.buffers, path
        config = answer(lab, "config", "read", "-i", interface, "7.0")
        assert (config["firmware"], config["sector_count"]) == (target.firmware, sectors), config
        assert "131072 sectors" in lab.aoectl("identify", "-i", interface, "7.0").out
        copy_there_and_back(lab, 64 * MIB, disk, interface)
        result = lab.aoectl("read", "-i", interface, "7.0", "/dev/null", "--libxo=json").json()
        assert result["target"][0]["path"][0]["payload"] == payload, result
        still_there(processes)
        kill(processes)


@of_both
def odd_places(lab, target):
    """Requests that begin and end anywhere, of all depths, leave exactly the right bytes."""
    lab.wire(9000)
    disk = lab.disk(4 * MIB, fill=True)
    shadow = bytearray(disk.read_bytes())
    processes = target.start(disk)
    chance = random.Random(20)
    for number in range(24):
        sectors = chance.choice([1, 2, 7, 8, 9, 31, 33, 255, 257, 1000])
        start = chance.randrange(0, 8192 - sectors) * 512
        piece = lab.random_file(sectors * 512, "piece")
        lab.aoectl("write", "-i", "i0", "7.0", piece, "--yes", "--offset", start,
                   "--block", chance.choice(["1s", "3s", "17s", "128k"]), "--depth", chance.choice([1, 5, 64, 256]))
        shadow[start:start + sectors * 512] = piece.read_bytes()
        lab.aoectl("verify", "-i", "i0", "7.0", piece, "--offset", start, "--block", chance.choice(["1s", "5s", "64k"]))
        assert sha256(disk, start, sectors * 512) == sha256(piece), f"piece {number} at {start}"
    still_there(processes)
    assert disk.read_bytes() == shadow, "bytes outside of the requests were changed"


@of_both
def the_end_of_the_disk(lab, target):
    """The last sector can be written; a command beyond it is refused by the target itself."""
    lab.wire()
    disk = lab.disk(MIB)
    target.start(disk)
    one = lab.random_file(512, "one")
    lab.aoectl("write", "-i", "i0", "7.0", one, "--yes", "--offset", MIB - 512)
    assert sha256(disk, MIB - 512, 512) == sha256(one)
    # READ EXT of two sectors, the second of which does not exist: IDNF.
    reply, = lab.exchange("i0", "1000" + "000700" + "00" + "80000001" + "40000224" + "ff0700000000" + "0000")
    assert reply.startswith("1800") and reply[22:24] == "10" and reply[26:28] == "41", reply


@of_both
def two_paths(lab, target):
    """Two interfaces to one disk are both used; one is cut in the middle of a write, and nothing is lost."""
    lab.wire(9000, switch=True)
    lab.wire(1500, switch=True)
    disk = lab.disk(32 * MIB)
    processes = target.start(disk, ("t0", "t1"))
    copy_there_and_back(lab, 32 * MIB, disk, "i0,i1")
    result = lab.aoectl("read", "-i", "i0,i1", "7.0", "/dev/null", "--libxo=json").json()
    paths = {path["interface"]: path["payload"] for path in result["target"][0]["path"]}
    assert paths == {"i0": 16 * 512, "i1": 2 * 512}, paths
    write = SlowWrite(lab, 32 * MIB, "-i", "i0,i1")
    write.feed(8 * MIB)
    lab.link("i", "i0", "down")
    write.feed_rest()
    write.end()
    assert sha256(write.source) == sha256(disk)
    still_there(processes)


@of_both
def few_buffers(lab, target):
    """A target that says it takes one message at a time is given no more."""
    lab.wire()
    disk = lab.disk(4 * MIB)
    target.start(disk, buffers=1)
    copy_there_and_back(lab, 4 * MIB, disk)
    assert one_target(lab)["path"][0]["buffers"] == 1


@of_both
def killed_in_the_middle(lab, target):
    """kill -9 in the middle of a write, started again after three seconds: the write goes on by itself."""
    lab.wire()
    disk = lab.disk(64 * MIB)
    processes = target.start(disk)
    write = SlowWrite(lab, 64 * MIB, "-i", "i0")
    write.feed(20 * MIB)
    kill(processes)
    write.feed_rest()
    time.sleep(3)
    assert write.child.poll() is None, "it did not wait"
    target.start(disk)
    begin = time.monotonic()
    _, err = write.end()
    assert "does not answer" in err and "answers again" in err, err
    assert sha256(write.source) == sha256(disk)
    assert time.monotonic() - begin < 30


@of_both
def killed_again_and_again(lab, target):
    """Six times during a write in small pieces, over a wire that loses, repeats and reorders."""
    lab.bad_wire(1500, loss=1, duplicate=1, reorder=2, seed=3)
    # Of a target that may do things out of order the engine remembers lost copies of writes for 15 s, some 380 of them.
    size = 12 * MIB
    disk = lab.disk(size)
    processes = target.start(disk)
    write = SlowWrite(lab, size, "-i", "i0", "--block", "5s", "--depth", 200)
    chance = random.Random(3)
    for _ in range(6):
        write.feed(chance.randrange(1, 2 * MIB))
        kill(processes)
        time.sleep(chance.random())
        processes = target.start(disk)
    write.feed_rest()
    write.end()
    assert sha256(write.source) == sha256(disk)


@of_both
def every_fault_of_a_wire(lab, target):
    """Loss, repetition, delay and overtaking at once: what arrives is right."""
    relay = Relay(lab, 9000)
    disk = lab.disk(24 * MIB)
    processes = target.start(disk)
    relay.say("set both loss=2% duplicate=2% delay=20us..300us reorder=2% reorder-delay=1ms..10ms")
    copy_there_and_back(lab, 24 * MIB, disk, extra=("--block", "20k", "--depth", 40))
    assert relay.both("lost") > 50
    still_there(processes)


@of_both
def one_place_again_and_again(lab, target):
    """Overlapping writes over a wire that reorders, to a target that may do things out of order: the last one wins."""
    lab.bad_wire(1500, loss=3, duplicate=3, reorder=10, seed=5)
    disk = lab.disk(MIB)
    target.start(disk)
    for number in range(12):
        piece = lab.random_file(64 * 512, "piece")
        lab.aoectl("write", "-i", "i0", "7.0", piece, "--yes", "--offset", 512 * (number % 3), "--block", "3s",
                   "--depth", 64)
        assert sha256(piece) == sha256(disk, 512 * (number % 3), 64 * 512), f"write {number}"


@of_both
def flushed_and_not_trimmed(lab, target):
    """A write is flushed and the flush believed; a TRIM that nobody offered is aborted and changes nothing."""
    lab.wire()
    disk = lab.disk(MIB, fill=True)
    target.start(disk)
    source = lab.random_file(MIB, "source")
    result = lab.aoectl("write", "-i", "i0", "7.0", source, "--yes", "--libxo=json")
    assert result.json()["transfer"]["flushed"] is True and "flush" not in result.err, result
    # DATA SET MANAGEMENT / TRIM of eight sectors.
    ranges = ((8 << 48) | 16).to_bytes(8, "little").hex().ljust(1024, "0")
    reply, = lab.exchange("i0", "1000" + "000700" + "00" + "80000001" + "41010106" + "000000000000" + "0000" + ranges)
    assert reply.startswith("1800") and reply[22:24] == "04" and reply[26:28] == "41", reply
    assert sha256(source) == sha256(disk)
    bad(lab, 1, ["SMART RETURN STATUS", "does not announce SMART"], "smart", "-i", "i0", "7.0")


@of_both
def read_only(lab, target):
    """A read-only export can be read; a write fails, says why, and changes nothing."""
    lab.wire()
    disk = lab.disk(MIB, fill=True)
    before = sha256(disk)
    target.start(disk, read_only=True)
    back = lab.dir / "back"
    lab.aoectl("read", "-i", "i0", "7.0", back)
    assert sha256(back) == before == sha256(disk)
    error = lab.aoectl("write", "-i", "i0", "7.0", lab.random_file(4096, "new"), "--yes", status=1).err
    assert "refuses writes" in error and sha256(disk) == before, error


@of_both
def pinged(lab, target):
    """ping and ping --identify are answered, and a target that was killed is missed."""
    lab.wire()
    processes = target.start(lab.disk(MIB))
    for more in ([], ["--identify"]):
        figures, = lab.aoectl("ping", "-i", "i0", "-c", 5, "--interval", "0.02", "7.0", "--libxo", "json",
                              *more).json()["ping"]
        assert (figures["sent"], figures["received"], figures["errors"]) == (5, 5, 0), figures
    kill(processes)
    lab.aoectl("ping", "-i", "i0", "-c", 1, "--timeout", "0.5", "7.0", status=3)


@of_both
def network_checked(lab, target):
    """sancheck finds what passes, and a switch that drops large frames."""
    relay = Relay(lab, 9000)
    disk = lab.disk(MIB, fill=True)
    before = sha256(disk)
    target.start(disk)

    def check():
        found, = lab.aoectl("sancheck", "i0", "--libxo=json").json()["target"]
        return found, found["path"][0], "; ".join(found["advice"])
    found, path, advice = check()
    assert path["to_target"] == path["from_target"] == path["offered"] == found["payload"] == 17 * 512, path
    assert advice == "", advice
    for way, limited, words in (("to-target", "to_target", "to the target"),
                                ("to-initiator", "from_target", "from the target")):
        relay.say(f"set {way} longest=4132")
        found, path, advice = check()
        assert path[limited] == 8 * 512 and f"only 4096 bytes of data pass {words}" in advice, (path, advice)
        relay.say("clear")
    assert sha256(disk) == before, "looking at the network changed the disk"


@of_both
def measured(lab, target):
    """bench keeps more requests in flight than the target has buffers, without an error."""
    lab.wire(9000)
    target.start(lab.disk(16 * MIB))
    runs = lab.aoectl("bench", "-i", "i0", "7.0", "--seconds", "0.5", "--depth", 64, "--write", "--yes",
                      "--libxo=json").json()["bench"]
    assert len(runs) == 4 and all(run["requests"] > 0 for run in runs), runs


@of_both
def grown(lab, target):
    """Started again over a larger file it is seen with its new size, and the new part can be used."""
    lab.wire()
    disk = lab.disk(MIB)
    processes = target.start(disk)
    assert one_target(lab)["size"] == MIB
    kill(processes)
    os.truncate(disk, 2 * MIB)
    target.start(disk)
    assert one_target(lab)["size"] == 2 * MIB
    copy_there_and_back(lab, 2 * MIB, disk)


@of_both
def shrunk(lab, target):
    """Sectors that are gone from under the target are an error, not a hang."""
    lab.wire()
    disk = lab.disk(4 * MIB, fill=True)
    processes = target.start(disk)
    os.truncate(disk, MIB)
    lab.aoectl("read", "-i", "i0", "7.0", "/dev/null", "--length", MIB)
    begin = time.monotonic()
    error = lab.aoectl("read", "-i", "i0", "7.0", "/dev/null", status=1).err
    assert "reported an error" in error and time.monotonic() - begin < 20, error
    still_there(processes)


@of_both
def config_string(lab, target):
    """read, set, test, prefix and fset; a refused set tells what is there, and a set of nothing is not taken for done."""
    lab.wire()
    processes = target.start(lab.disk(MIB))
    config_life(lab)
    answer(lab, "config", "set", "-i", "i0", "7.0", "in the way")
    bad(lab, 1, ["error 4: config string present (\"in the way\")"], "config", "set", "-i", "i0", "7.0", "")
    kill(processes)
    target.start(lab.dir / "disk")
    kept = "in the way" if target.persistent else ""
    assert answer(lab, "config", "read", "-i", "i0", "7.0")["config"] == kept


@for_each(Vblade)
def reservation(lab, target):
    """read, set, fset and release."""
    lab.wire()
    target.start(lab.disk(MIB))
    reserve_life(lab)


@for_each(Ggaoed)
def reservation_life(lab, target):
    """Set, and overridden: it refuses its own holder, which aoectl says; it keeps reads and writes out, and no more."""
    lab.wire()
    disk = lab.disk(MIB, fill=True)
    processes = target.start(disk)
    own = lab.mac("i", "i0")
    assert answer(lab, "reserve", "read", "-i", "i0", "7.0")["reserved"] == []
    assert answer(lab, "reserve", "set", "-i", "i0", "7.0")["reserved"] == [own]
    lab.aoectl("verify", "-i", "i0", "7.0", disk)
    for words in (["release"], ["set", own, STRANGER]):
        at = 1 if words[0] == "set" else len(words)
        bad(lab, 1, ["error 6: target is reserved", f"{own} is this machine", "release --force"],
            "reserve", words[0], "-i", "i0", "7.0", *words[at:])
    assert answer(lab, "reserve", "release", "--force", "-i", "i0", "7.0")["reserved"] == []
    assert answer(lab, "reserve", "fset", "-i", "i0", "--yes", "7.0", STRANGER)["reserved"] == [STRANGER]
    bad(lab, 1, ["error 6: target is reserved", f"for {STRANGER}"], "reserve", "set", "-i", "i0", "7.0")
    before = sha256(disk)
    bad(lab, 1, ["reserved"], "read", "-i", "i0", "7.0", "/dev/null")
    bad(lab, 1, ["reserved"], "write", "-i", "i0", "7.0", lab.random_file(MIB, "source"), "--yes")
    assert sha256(disk) == before, "a write passed the reservation of another"
    assert "GGs AoE target" in lab.aoectl("identify", "-i", "i0", "7.0").out
    # A reservation outlives the process.
    kill(processes)
    target.start(disk)
    assert answer(lab, "reserve", "read", "-i", "i0", "7.0")["reserved"] == [STRANGER]
    bad(lab, 1, ["reserved"], "read", "-i", "i0", "7.0", "/dev/null")
    assert answer(lab, "reserve", "fset", "-i", "i0", "7.0")["reserved"] == [own]
    lab.aoectl("verify", "-i", "i0", "7.0", disk)


@of_both
def reservation_for_several(lab, target):
    """Every station of the list can read, in whatever order they were named."""
    lab.wire()
    disk = lab.disk(MIB, fill=True)
    target.start(disk)
    own = lab.mac("i", "i0")
    others = [f"{own[:-2]}{byte:02x}" for byte in (0, 0x7f, 0xff) if f"{byte:02x}" != own[-2:]]
    for macs in ([own, *others], [*reversed(others), own], [others[1], own, others[0], own]):
        found = answer(lab, "reserve", "fset", "-i", "i0", "7.0", *macs)
        assert set(found["reserved"]) == set(macs), found
        lab.aoectl("verify", "-i", "i0", "7.0", disk)


@for_each(Ggaoed)
def mask_list(lab, target):
    """Stations are added and deleted, and kept; who is not in the list is not heard, and finds no disk."""
    lab.wire()
    disk = lab.disk(MIB)
    processes = target.start(disk)
    own = lab.mac("i", "i0")
    more = [f"02:00:00:00:01:{number:02x}" for number in range(5)]
    assert answer(lab, "mask", "read", "-i", "i0", "7.0")["mask"] == []
    assert set(answer(lab, "mask", "add", "-i", "i0", "7.0", own, *more)["mask"]) == {own, *more}
    assert set(answer(lab, "mask", "delete", "-i", "i0", "7.0", *more[1:])["mask"]) == {own, more[0]}
    kill(processes)
    target.start(disk)
    assert set(answer(lab, "mask", "read", "-i", "i0", "7.0")["mask"]) == {own, more[0]}
    lab.aoectl("read", "-i", "i0", "7.0", "/dev/null")
    assert answer(lab, "mask", "delete", "-i", "i0", "--yes", "7.0", own)["mask"] == [more[0]]
    bad(lab, 3, ["no target answers on i0"], "discover", "i0")


@for_each(Ggaoed)
def a_full_mask_list(lab, target):
    """The list takes 255 stations; the next one is refused, and said to be."""
    lab.wire(9000)
    target.start(lab.disk(MIB))
    own = lab.mac("i", "i0")
    many = [f"02:00:00:00:01:{number:02x}" for number in range(254)]
    assert len(answer(lab, "mask", "add", "-i", "i0", "7.0", own, *many)["mask"]) == 255
    bad(lab, 1, [f"directive 1 ({STRANGER})", "mask error 3: mask list full"], "mask", "add", "-i", "i0", "7.0", STRANGER)


@for_each(Vblade)
def mask_list_of_two(lab, target):
    """It still has the faults of vblade 25, which aoectl knows it by: two stations, and none can be deleted."""
    lab.wire()
    target.start(lab.disk(MIB))
    own = lab.mac("i", "i0")
    assert answer(lab, "mask", "add", "-i", "i0", "7.0", own, STRANGER)["mask"] == [own, STRANGER]
    bad(lab, 2, ["vblade 25", "deleted", "--yes"], "mask", "delete", "-i", "i0", "7.0", own)


@for_each(Ggaoed)
def access_lists(lab, target):
    """A station that its configuration does not accept, or denies, finds nothing; one that it does finds the disk."""
    lab.wire()
    disk = lab.disk(MIB)
    own = lab.mac("i", "i0")
    for settings, heard in (({"accept": STRANGER}, False), ({"deny": own}, False), ({"accept": own}, True),
                            ({"deny": STRANGER}, True)):
        processes = target.start(disk, **settings)
        lab.aoectl("discover", "i0", status=0 if heard else 3)
        kill(processes)


@for_each(Ggaoed)
def ring_buffers(lab, target):
    """The same data by way of the rings of packets that ggaoed shares with the kernel; its short answers are not padded
    then."""
    for mtu in (1500, 9000):
        number = lab.wire(mtu)
        disk = lab.disk(32 * MIB)
        processes = target.start(disk, (f"t{number}",), **{"ring-buffer-size": 4096})
        copy_there_and_back(lab, 32 * MIB, disk, f"i{number}")
        reply, = lab.exchange(f"i{number}", "1000" + "000700" + "00" + "80000001" + "400000ea" + "000000000000" + "0000")
        assert len(reply) == 2 * (36 - 14) and reply.startswith("1800"), reply
        still_there(processes)
        kill(processes)


@of_both
def jumbo_comes_and_goes(lab, target):
    """The MTU of both ends is lowered in the middle of a write: smaller frames follow. vblade ends, and is started
    again."""
    lab.wire(9000)
    disk = lab.disk(64 * MIB)
    processes = target.start(disk)
    write = SlowWrite(lab, 64 * MIB, "-i", "i0")
    write.feed(20 * MIB)
    lab.link("i", "i0", "mtu", 1500)
    lab.link("t", "t0", "mtu", 1500)
    write.feed_rest()
    time.sleep(0.5)
    if processes[0].poll() is not None:
        assert not isinstance(target, Ggaoed), "ggaoed ended"
        target.start(disk)
    write.end()
    assert sha256(write.source) == sha256(disk)
    result = lab.aoectl("read", "-i", "i0", "7.0", "/dev/null", "--libxo=json").json()
    assert result["target"][0]["path"][0]["payload"] == 1024, result
