# SPDX-License-Identifier: BSD-2-Clause
"""The commands that look after targets and interfaces, without the kernel module, and the names of aoetools."""
import re
import shutil
import subprocess
import time

from lab import MIB, PATIENCE, Result, Skip, sha256, test
from relay import Relay

NO_MODULE = "kernel module is not loaded"


def refused(lab, status, word, *args):
    """A command line that must not work, and the word that says why."""
    error = lab.aoectl(*args, status=status).err
    assert word in error, f"{args}: {error}"


def under_name(lab, name, *args, status=0):
    """Run the program under another name, in the initiator's namespace."""
    path = lab.dir / name
    if not path.exists():
        path.symlink_to(lab.aoectl_path)
    done = subprocess.run(["ip", "netns", "exec", lab.ns("i"), path, *map(str, args)], capture_output=True,
                          text=True, timeout=PATIENCE, check=False)
    assert done.returncode == status, f"{name} {args}: status {done.returncode}: {done.stdout} {done.stderr}"
    return Result(done.returncode, done.stdout, done.stderr)


def debian(lab, name, *args):
    """Run a tool of aoetools itself."""
    path = shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        raise Skip("aoetools is not installed")
    return subprocess.run(["ip", "netns", "exec", lab.ns("i"), path, *map(str, args)], capture_output=True,
                          text=True, timeout=PATIENCE, check=False)


@test
def every_command_has_help(lab):
    """--help works for each subcommand, and shows a usage line."""
    for command in ("stat", "interfaces", "flush", "revalidate", "watch", "sancheck", "bench", "version"):
        text = lab.aoectl(command, "--help").out
        assert f"Usage: aoectl {command}" in text, text
    for change in ("set", "add", "remove", "clear"):
        assert f"interfaces {change}" in lab.aoectl("interfaces", change, "--help").out


@test
def stat_without_the_module(lab):
    """stat asks the network: one line each, JSON with the module's names, and clear words for what is not there."""
    lab.wire(9000)
    lab.vblade(lab.disk(MIB, "a"), address="7.0")
    lab.vblade(lab.disk(2 * MIB, "b"), address="7.1")
    head, *lines = lab.aoectl("stat").out.splitlines()
    assert head.split()[:3] == ["TARGET", "STATE", "SIZE"], head
    assert [line.split()[:4] for line in lines] == [["7.0", "up", "1.0", "MiB"], ["7.1", "up", "2.0", "MiB"]], lines
    found = lab.aoectl("stat", "-i", "i0", "e7.1", "--libxo=json").json()
    assert found["source"] == "network", found
    target, = found["target"]
    assert target["address"] == "7.1" and target["size"] == 2 * MIB and target["path"][0]["interface"] == "i0", target
    refused(lab, 3, "target 9.9 does not answer on i0", "stat", "9.9")
    refused(lab, 2, "7.255", "stat", "7.255")
    refused(lab, 2, "--wait", "stat", "--wait=-1")
    refused(lab, 1, "nosuch0", "stat", "-i", "nosuch0")
    lab.link("i", "i0", "down")
    refused(lab, 1, "no Ethernet interface is up", "stat")


@test
def interfaces_without_the_module(lab):
    """interfaces lists what could be used; changes need the module and say so."""
    lab.wire(4200)
    lab.wire(1500)
    lab.link("i", "i1", "down")
    rows = {row["name"]: row for row in lab.aoectl("interfaces", "--libxo", "json").json()["interface"]}
    assert set(rows) == {"i0", "i1"}, rows
    assert rows["i0"]["state"] == "up" and rows["i0"]["mtu"] == 4200, rows
    assert rows["i1"]["state"] == "down", rows
    text = lab.aoectl("interfaces").out
    assert re.search(r"^i0 +up +4200 +[0-9a-f:]{17}$", text, re.M), text
    for change in (["set", "i0"], ["add", "i0"], ["remove", "i0"], ["clear"]):
        refused(lab, 1, NO_MODULE, "interfaces", *change)
    refused(lab, 2, "IF", "interfaces", "set")
    refused(lab, 2, "'i0'", "interfaces", "clear", "i0")
    refused(lab, 2, "'use'", "interfaces", "use", "i0")


@test
def the_module_is_missed(lab):
    """What works with the module only says so, after it has looked at its arguments."""
    for command in (["flush"], ["flush", "--all"], ["flush", "7.0"], ["revalidate", "7.0"], ["revalidate", "--all"],
                    ["watch"], ["watch", "--count", "2", "7.0"], ["discover", "--module"]):
        refused(lab, 1, NO_MODULE, *command)
    refused(lab, 2, "--all", "flush", "--all", "7.0")
    refused(lab, 2, "7.x", "flush", "7.x")
    refused(lab, 2, "--down", "flush", "--down")
    refused(lab, 2, "SHELF.SLOT", "revalidate")
    refused(lab, 2, "65535.0", "revalidate", "65535.0")
    refused(lab, 2, "--all", "revalidate", "--all", "7.0")
    refused(lab, 2, "--interval", "watch", "--interval", "0")
    refused(lab, 2, "--count", "watch", "--count=-1")
    refused(lab, 2, "'em0'", "watch", "em0")
    refused(lab, 2, "--module", "discover", "--module", "i0")


@test
def version_says_what_works_together(lab):
    """The tool's own version, that there is no module, and the protocol's."""
    number = lab.aoectl("--version").out.split()[1]
    version = lab.aoectl("version", "--libxo", "json").json()["version"]
    assert version == {"aoectl": number, "module": None, "protocol": 1, "revision": 11}, version
    assert "not loaded" in lab.aoectl("version").out
    refused(lab, 2, "'7.0'", "version", "7.0")
    refused(lab, 2, "--module", "version", "--module")
    refused(lab, 2, "--libxo", "version", "--libxo", "xml")


def sancheck(lab, *args):
    """What it found, and all of its advice on one target as one text."""
    found = lab.aoectl("sancheck", *args, "--libxo=json").json()
    target, = found["target"]
    return found, target, "; ".join(target["advice"])


@test
def sancheck_of_a_sound_network(lab):
    """All that both ends agree on passes; there is no advice; Debian's tool sees the same."""
    for mtu, payload in ((1500, 1024), (9000, 17 * 512), (65535, 127 * 512)):
        number = lab.wire(mtu)
        blade = lab.vblade(lab.disk(MIB), f"t{number}")
        found, target, advice = sancheck(lab, f"i{number}")
        assert target["address"] == "7.0" and target["payload"] == payload, target
        path, = target["path"]
        assert path["to_target"] == path["from_target"] == path["offered"] == payload, path
        assert advice == "" and found["advice"] == [], found
        assert found["interface"][0]["mtu"] == mtu and found["interface"][0]["room"] >= payload, found
        text = lab.aoectl("sancheck", "-v", f"i{number}").out
        assert f"payload {payload}" in text and "16 buffers" in text and "Coraid" in text, text
        if mtu == 9000:
            # It looks at 32 interfaces only, and at payloads up to its own limit.
            row = re.search(r"^e7\.0\s+(\d+)\s+(\d+)\s+(\S+)", debian(lab, "aoe-sancheck").stdout, re.M)
            assert row and row.groups() == ("1", str(payload), "i1"), row and row.groups()
        blade.kill()
        blade.wait()


@test
def sancheck_finds_lost_frames(lab):
    """A switch that drops large frames is found, in the direction that it does it, with what does pass."""
    relay = Relay(lab, 9000)
    disk = lab.disk(MIB, fill=True)
    before = sha256(disk)
    lab.vblade(disk)
    for way, limited, free in (("to-target", "to_target", "from_target"), ("to-initiator", "from_target", "to_target")):
        relay.say(f"set {way} longest=4132")
        _, target, advice = sancheck(lab, "i0")
        path, = target["path"]
        assert path[limited] == 8 * 512 and path[free] == 17 * 512, path
        words = {"to_target": "to the target", "from_target": "from the target"}
        assert f"only 4096 bytes of data pass {words[limited]}" in advice, advice
        assert words[free] not in advice and target["payload"] == 4096, advice
        relay.say("clear")
    relay.say("set to-target longest=100")
    _, target, advice = sancheck(lab, "i0")
    assert "not even a frame with 512 bytes of data passes to the target" in advice, advice
    relay.say("clear")
    relay.say("set both loss=5%")
    sizes = [sancheck(lab, "i0")[1]["payload"] for _ in range(3)]
    assert max(sizes) == 17 * 512, sizes
    assert sha256(disk) == before, "looking at the network changed the disk"


@test
def sancheck_gives_advice(lab):
    """MTUs that do not fit, unequal numbers of interfaces, dead links, and reservations."""
    lab.wire(9000)
    lab.wire(1500)
    lab.wire(1500)
    disk = lab.disk(MIB)
    one = lab.vblade(disk, "t0")
    lab.link("i", "i0", "mtu", 1500)
    _, target, advice = sancheck(lab, "i0")
    assert "MTU must be 8740" in advice and target["payload"] == 1024, advice
    lab.link("i", "i0", "mtu", 9000)
    other = lab.vblade(disk, "t1")
    found, target, advice = sancheck(lab)
    assert "different MTUs (1500, 9000)" in advice and target["interfaces"] == 2, advice
    assert any("no target answers on i2" in line for line in found["advice"]), found["advice"]
    lab.link("t", "t2", "down")
    found, _, _ = sancheck(lab, "i0", "i2")
    assert any("i2 is down" in line for line in found["advice"]), found["advice"]
    other.kill()
    other.wait()
    lab.vblade(lab.disk(2 * MIB, "other"), "t1", hostname="elsewhere")
    one.kill()
    one.wait()
    lab.aoectl("reserve", "set", "--yes", "-i", "i1", "7.0", "02:00:00:00:00:09")
    _, target, advice = sancheck(lab, "i1")
    assert "reserved" in advice and target["path"][0]["from_target"] is None, advice
    assert target["path"][0]["to_target"] == 1024, target


@test
def sancheck_of_nothing(lab):
    """Nobody there, wrong names, wrong addresses."""
    lab.wire()
    refused(lab, 3, "no target answers on i0", "sancheck", "--wait", "0.2")
    lab.vblade(lab.disk(MIB))
    refused(lab, 3, "target 9.0 does not answer on i0; others do: 7.0", "sancheck", "-t", "9.0", "i0")
    refused(lab, 3, "target 9.0 does not answer on i0; others do: 7.0", "sancheck", "-t", "7.0,9.0", "i0")
    refused(lab, 1, "nosuch0", "sancheck", "nosuch0")
    refused(lab, 2, "7.0.1", "sancheck", "--target", "7.0.1")
    refused(lab, 2, "--wait", "sancheck", "--wait", "long")
    lab.link("i", "i0", "down")
    refused(lab, 3, "no interface to ask on", "sancheck", "i0")


@test
def a_disk_smaller_than_a_frame(lab):
    """sancheck and bench of a disk of three sectors."""
    lab.wire(9000)
    lab.vblade(lab.disk(3 * 512))
    _, target, advice = sancheck(lab, "i0")
    assert target["path"][0]["from_target"] == 3 * 512 and advice == "", (target, advice)
    refused(lab, 2, "--block", "bench", "-i", "i0", "7.0", "--seconds", "0.1")
    run, = lab.aoectl("bench", "-i", "i0", "7.0", "--seconds", "0.1", "--pattern=random", "--random-block=512",
                      "--libxo=json").json()["bench"]
    assert run["requests"] > 0, run


@test
def bench_reads(lab):
    """Sequential and random reads by the engine, and of a file; nothing is written."""
    lab.wire(9000)
    disk = lab.disk(4 * MIB, fill=True)
    before = sha256(disk)
    lab.vblade(disk)
    result = lab.aoectl("bench", "-i", "i0", "7.0", "--seconds", "0.4", "--depth", "4", "--libxo", "json").json()
    assert "target 7.0 by i0" in result["subject"], result
    both = [(run["pattern"], run["operation"], run["block"], run["depth"]) for run in result["bench"]]
    assert both == [("sequential", "read", 131072, 4), ("random", "read", 4096, 4)], both
    for run in result["bench"]:
        assert run["requests"] > 0 and run["bytes"] == run["requests"] * run["block"], run
        assert 0.4 <= run["seconds"] < 5 and run["frames_sent"] >= run["requests"], run
        assert abs(run["iops"] - run["requests"] / run["seconds"]) < 1, run
        assert 0 < run["latency_median_ns"] <= run["latency_99_ns"] <= run["latency_max_ns"], run
    text = lab.aoectl("bench", "--device", disk, "--seconds", "0.2", "--pattern", "random").out
    assert re.search(r"^random +read +4\.0 KiB +16 ", text, re.M) and str(disk) in text, text
    assert sha256(disk) == before, "a read benchmark wrote"


@test
def bench_writes(lab):
    """Writes only with --write and --yes, and only where they may."""
    lab.wire(9000)
    disk = lab.disk(4 * MIB, fill=True)
    before = disk.read_bytes()
    lab.vblade(disk)
    options = ("-i", "i0", "7.0", "--seconds", "0.3", "--offset", "1m", "--length", "1m", "--write")
    refused(lab, 2, "say --yes", "bench", *options)
    assert disk.read_bytes() == before
    runs = lab.aoectl("bench", *options, "--yes", "--libxo=json").json()["bench"]
    assert [run["operation"] for run in runs] == ["read", "write"] * 2, runs
    after = disk.read_bytes()
    assert after[:MIB] == before[:MIB] and after[2 * MIB:] == before[2 * MIB:], "bytes outside were changed"
    assert after[MIB:2 * MIB] != before[MIB:2 * MIB], "nothing was written"
    refused(lab, 2, "say --yes", "bench", "--device", disk, "--write")
    lab.aoectl("bench", "--device", disk, "--seconds", "0.1", "--offset", "3m", "--write", "--yes")
    last = disk.read_bytes()
    assert last[:3 * MIB] == after[:3 * MIB] and last[3 * MIB:] != after[3 * MIB:], "the wrong place was written"


@test
def bench_of_nothing(lab):
    """Targets that are not there, ranges that are not on them, disks that the kernel does not have."""
    lab.wire()
    lab.vblade(lab.disk(MIB))
    refused(lab, 3, "7.1 does not answer", "bench", "-i", "i0", "7.1", "--timeout", "0.5")
    refused(lab, 3, "no disk of target 7.0", "bench", "7.0")
    refused(lab, 2, "--offset", "bench", "-i", "i0", "7.0", "--offset", "2m")
    refused(lab, 2, "--length", "bench", "-i", "i0", "7.0", "--length", "2m")
    refused(lab, 2, "--seconds", "bench", "-i", "i0", "7.0", "--seconds", "0")
    refused(lab, 2, "--depth", "bench", "-i", "i0", "7.0", "--depth", "0")
    refused(lab, 2, "SHELF.SLOT", "bench")
    refused(lab, 2, "--device", "bench", "--device", "/dev/null", "7.0")
    refused(lab, 1, "/nosuch", "bench", "--device", "/nosuch")
    refused(lab, 2, "only 0 to measure", "bench", "--device", "/dev/null")


@test
def bench_on_a_lossy_wire(lab):
    """Frames that are sent again are told of; a target that goes away ends the measurement with status 3."""
    relay = Relay(lab)
    lab.vblade(lab.disk(MIB))
    relay.say("set both loss=3%")
    run, = lab.aoectl("bench", "-i", "i0", "7.0", "--seconds", "2", "--pattern", "sequential", "--libxo=json").json()["bench"]
    assert run["retransmits"] > 0, run
    relay.say("clear")
    child = lab.start("i", lab.aoectl_path, "bench", "-i", "i0", "7.0", "--seconds", "3", "--pattern", "random",
                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(1.5)
    relay.say("set both cut=60s")
    _, error = child.communicate(timeout=PATIENCE)
    assert child.returncode == 3 and "7.0 has been silent for 10 s" in error, (child.returncode, error)


@test
def bench_of_a_target_that_says_no(lab):
    """A bad sector and a read-only disk are failures, not silence."""
    lab.wire()
    lab.model(lab.disk(MIB), "--bad-sector", "100")
    refused(lab, 1, "reported an error", "bench", "-i", "i0", "7.0", "--seconds", "5", "--pattern", "sequential")
    lab.vblade(lab.disk(MIB, "other"), address="7.1", options=["-r"])
    refused(lab, 1, "refuses writes", "bench", "-i", "i0", "7.1", "--seconds", "0.2", "--write", "--yes")


@test
def sancheck_of_other_targets(lab):
    """What passes to models of other servers is found as with vblade."""
    for kind in ("ggaoed", "kvblade"):
        number = lab.wire(9000)
        lab.model(lab.disk(MIB, kind), "--kind", kind, interfaces=(f"t{number}",))
        _, target, advice = sancheck(lab, f"i{number}")
        path, = target["path"]
        assert path["to_target"] == path["from_target"] == path["offered"] > 4096, (kind, path, advice)


@test
def the_names_of_aoetools(lab):
    """Called by another name it takes that tool's arguments and prints its lines."""
    lab.wire()
    disk = lab.disk(104857600)
    lab.vblade(disk)
    line = under_name(lab, "aoe-stat").out
    assert re.fullmatch(r" +e7\.0 +0\.104GB +i0 (\d+ +)?up +\n", line), line
    assert under_name(lab, "aoe-stat", "e7.0").out == line
    assert "7.0" in under_name(lab, "aoe-discover").out
    assert "7.0" in under_name(lab, "aoe-sancheck", "-v").out
    ours = under_name(lab, "aoe-version").out
    shape = [text.split(":")[0] for text in debian(lab, "aoe-version").stdout.splitlines()]
    assert [text.split(":")[0] for text in ours.splitlines()] == shape and "(none)" in ours, ours
    for name, *args in (("aoe-interfaces",), ("aoe-interfaces", "-c"), ("aoe-interfaces", "i0"), ("aoe-flush",),
                        ("aoe-flush", "-a"), ("aoe-revalidate", "e7.0")):
        error = under_name(lab, name, *args, status=1).err
        assert NO_MODULE in error, error
    for name, word, *args in (("aoe-stat", "sda", "sda"), ("aoe-stat", "-x", "-x"), ("aoe-stat", "e7", "e7"),
                              ("aoe-discover", "i0", "i0"), ("aoe-interfaces", "-c", "-c", "i0"),
                              ("aoe-flush", "e7", "e7"), ("aoe-flush", "-a", "-a", "e7.0"),
                              ("aoe-revalidate", "DEV"), ("aoe-revalidate", "sda", "sda"),
                              ("aoe-sancheck", "i0", "i0"), ("aoe-version", "--all", "--all")):
        error = under_name(lab, name, *args, status=2).err
        assert word in error, f"{name} {args}: {error}"


@test
def aoecfg_and_aoeping(lab):
    """The two with positional arguments."""
    lab.wire()
    lab.vblade(lab.disk(MIB))
    under_name(lab, "aoecfg", "-c", "set", "-s", "@ours: 1", "-t", 2, 7, 0, "i0")
    text = under_name(lab, "aoecfg", "-t", 1, 7, 0, "i0").out
    assert "@ours: 1" in text, text
    under_name(lab, "aoecfg", "-c", "prefix", "-s", "@ours", "-t", 1, 7, 0, "i0")
    assert "7.0" in under_name(lab, "aoecfg", "-t", 1, "i0").out
    under_name(lab, "aoecfg", "-c", "test", "-s", "other", "-t", 1, 7, 0, "i0", status=4)
    assert "7.0" in under_name(lab, "aoeping", "-s", 2, 7, 0, "i0").out
    assert "Coraid EtherDrive vblade" in under_name(lab, "aoeping", "-I", "-s", 2, 7, 0, "i0").out
    assert "does not answer" in under_name(lab, "aoeping", "-s", 1, 7, 1, "i0", status=3).err
    for name, word, *args in (("aoecfg", "CMD", "-c", "erase", 7, 0, "i0"), ("aoecfg", "SHELF", 70000, 0, "i0"),
                              ("aoecfg", "-s", "-c", "set", 7, 0, "i0"), ("aoeping", "NETIF", 7, 0),
                              ("aoeping", "SLOT", 7, 300, "i0"), ("aoeping", "-S", "-S", "erase", 7, 0, "i0"),
                              ("aoeping", "-t", "-t", 5, 7, 0, "i0")):
        error = under_name(lab, name, *args, status=2).err
        assert word in error, f"{name} {args}: {error}"
