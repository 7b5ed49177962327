# SPDX-License-Identifier: BSD-2-Clause
"""Two servers or two disks at one address, as sancheck sees them without writing; and what only looks like that."""
import os
import shutil
import threading
import time

from lab import MIB, sha256, test
from manage import under_name

# Where GPT has the end of its table, and the first partition begins.
DATA_PLACE = 34 * 512


def segment(lab, hub=False, one_mac=False):
    """One segment with i0 and two ports for targets, t0 and t1: of a switch, or of a hub, which sends every frame to
    all. The two may have one Ethernet address."""
    number = lab.wire(switch=True)
    assert number == 0, number
    lab.wires += 1
    lab.pair("w", "wt1", "t", "t1", 1500)
    lab.link("w", "wt1", "master", "br0")
    if hub:
        lab.link("w", "br0", "type", "bridge", "ageing_time", "0")
    if one_mac:
        share_mac(lab)
    # A bridge takes a moment to send by a new port.
    time.sleep(0.2)


def share_mac(lab):
    """t1 gets the Ethernet address of t0."""
    lab.link("t", "t1", "down")
    lab.link("t", "t1", "address", lab.mac("t", "t0"))
    lab.link("t", "t1", "up")
    assert lab.mac("t", "t0") == lab.mac("t", "t1")


def clones(lab, size=None, data=None):
    """A server and its clone: same name, same disk, but for another size of the second, or a few bytes of it."""
    mine, other = lab.disk(4 * MIB, "mine", fill=True), lab.dir / "other"
    shutil.copyfile(mine, other)
    if size:
        os.truncate(other, size)
    if data:
        with open(other, "r+b") as file:
            file.seek(DATA_PLACE)
            file.write(data)
    lab.vblade(mine, "t0")
    lab.vblade(other, "t1")
    return mine, other


def check(lab, *interfaces, disks=(), status=0):
    """What sancheck found at 7.0: the kinds of duplicates, their text, what it cannot tell, its advice."""
    before = [sha256(disk) for disk in disks]
    done = lab.aoectl("sancheck", *interfaces, "--libxo=json", status=status)
    assert [sha256(disk) for disk in disks] == before, "looking at the network changed a disk"
    target, = done.json()["target"]
    kinds = [finding["kind"] for finding in target["finding"]]
    assert bool(kinds) == (status == 4) == ("duplicates were found at 7.0" in done.err), (status, target, done.err)
    text = "; ".join(finding["text"] for finding in target["finding"])
    return kinds, text, "; ".join(target["unknown"]), "; ".join(target["advice"])


def places(lab, interfaces):
    """The two stations in words."""
    return [f"{lab.mac('t', f't{number}')} on {interfaces[number % len(interfaces)]}" for number in range(2)]


def clones_are_told_apart(lab, interfaces, disks, kind, words):
    """Both are named, in JSON and text, and the exit status tells."""
    kinds, text, unknown, _ = check(lab, *interfaces, disks=disks, status=4)
    assert kinds == [kind] and unknown == "", (kinds, text, unknown)
    for word in ("different disks answer at this address", *words, *places(lab, interfaces)):
        assert word in text, (word, text)
    out = lab.aoectl("sancheck", *interfaces, status=4).out
    assert f"DUPLICATE: {text}" in out, out


def clones_look_alike(lab, interfaces, disks):
    """Nothing differs, as with two paths of one disk: that is said, and is no error."""
    kinds, _, unknown, _ = check(lab, *interfaces, disks=disks)
    assert kinds == [], kinds
    for word in ("cannot tell whether one disk or equal copies", "only a write tells", *places(lab, interfaces)):
        assert word in unknown, (word, unknown)


@test
def sancheck_clones_of_other_size_on_one_segment(lab):
    """Two servers at one address and one switch, with disks of different sizes."""
    segment(lab)
    disks = clones(lab, size=8 * MIB)
    clones_are_told_apart(lab, ["i0"], disks, "disks", ["4.0 MiB", "8.0 MiB"])
    result = under_name(lab, "aoe-sancheck", "-v", status=4)
    assert "DUPLICATE: different disks" in result.out and "8.0 MiB" in result.out, result.out
    assert "duplicates were found at 7.0" in result.err, result.err


@test
def sancheck_clones_with_other_data_on_one_segment(lab):
    """The same with disks that call themselves alike and differ in one sector."""
    segment(lab)
    disks = clones(lab, data=b"another label")
    clones_are_told_apart(lab, ["i0"], disks, "data", ["sector 34"])


@test
def sancheck_equal_clones_on_one_segment(lab):
    """The same with equal disks, which cannot be told from one disk."""
    segment(lab)
    clones_look_alike(lab, ["i0"], clones(lab))


@test
def sancheck_clones_of_other_size_on_two_segments(lab):
    """Two servers at one address, each seen by an interface of its own."""
    lab.wire()
    lab.wire()
    disks = clones(lab, size=8 * MIB)
    clones_are_told_apart(lab, ["i0", "i1"], disks, "disks", ["4.0 MiB", "8.0 MiB"])


@test
def sancheck_clones_with_one_mac_on_two_segments(lab):
    """They have one Ethernet address, too: the interfaces tell them apart."""
    lab.wire()
    lab.wire()
    share_mac(lab)
    disks = clones(lab, data=b"another label")
    clones_are_told_apart(lab, ["i0", "i1"], disks, "data", ["sector 34"])


@test
def sancheck_equal_clones_on_two_segments(lab):
    """Equal disks on two segments."""
    lab.wire()
    lab.wire()
    clones_look_alike(lab, ["i0", "i1"], clones(lab))


@test
def sancheck_other_config_strings(lab):
    """Two servers with equal disks, one of which a host has claimed."""
    segment(lab)
    disks = clones(lab)
    lab.aoectl("config", "set", "-i", "i0", "--mac", lab.mac("t", "t1"), "7.0", "host a")
    kinds, text, unknown, _ = check(lab, "i0", disks=disks, status=4)
    assert kinds == ["config"] and '"host a"' in text and '""' in text, text
    assert all(place in text for place in places(lab, ["i0"])), text
    assert "cannot tell whether one disk or equal copies" in unknown, unknown
    lab.aoectl("config", "set", "-i", "i0", "--mac", lab.mac("t", "t0"), "7.0", "host a")
    check(lab, "i0", disks=disks)


def two_servers_with_one_mac(lab, hub, kind, words, **differences):
    """Two servers behind one Ethernet address, on one segment."""
    segment(lab, hub=hub, one_mac=True)
    disks = clones(lab, **differences)
    kinds, text, _, _ = check(lab, "i0", disks=disks, status=4)
    assert kinds == [kind], (kinds, text)
    for word in (*words, lab.mac("t", "t0")):
        assert word in text, (word, text)
    assert f"DUPLICATE: {text}"[:60] in lab.aoectl("sancheck", "i0", status=4).out


@test
def sancheck_one_mac_with_two_sizes(lab):
    """On a hub both answer each question, and say what they are."""
    two_servers_with_one_mac(lab, True, "one_mac", ["two servers answer from", "4.0 MiB", "8.0 MiB"], size=8 * MIB)


@test
def sancheck_one_mac_with_two_data(lab):
    """On a hub one read has two answers."""
    two_servers_with_one_mac(lab, True, "one_mac", ["two different answers to one read of sector 34"], data=b"other")


@test
def sancheck_one_mac_with_equal_disks(lab):
    """On a hub every question is answered twice, and alike."""
    two_servers_with_one_mac(lab, True, "doubled", ["questions that were sent once", "two servers have this Ethernet address"])


@test
def sancheck_one_mac_behind_a_switch(lab):
    """A switch sends frames for one to where it heard the address last. A question to everybody finds both."""
    two_servers_with_one_mac(lab, False, "doubled", ["questions that were sent once"])


@test
def sancheck_one_mac_with_two_config_strings(lab):
    """One question has two different answers."""
    segment(lab, hub=True, one_mac=True)
    disks = clones(lab)
    lab.link("t", "t1", "down")
    lab.aoectl("config", "set", "-i", "i0", "7.0", "host a")
    lab.link("t", "t1", "up")
    lab.children[-1].kill()
    lab.children[-1].wait()
    lab.vblade(disks[1], "t1")
    kinds, text, _, _ = check(lab, "i0", disks=disks, status=4)
    assert kinds == ["one_mac"] and "one config question has two different answers" in text, text


@test
def sancheck_a_station_that_answers_for_another(lab):
    """Two servers of one disk on a hub: each carries out what is sent to the other."""
    segment(lab, hub=True)
    disk = lab.disk(4 * MIB, fill=True)
    lab.link("t", "t0", "promisc", "on")
    lab.link("t", "t1", "promisc", "on")
    lab.vblade(disk, "t0")
    lab.vblade(disk, "t1")
    kinds, text, _, _ = check(lab, "i0", disks=[disk], status=4)
    assert kinds == ["overheard"] and all(lab.mac("t", name) in text for name in ("t0", "t1")), text


@test
def sancheck_one_server(lab):
    """Nothing is wrong with a target that has one server: no duplicate, and no doubt."""
    lab.wire()
    disk = lab.disk(4 * MIB, fill=True)
    lab.vblade(disk)
    assert check(lab, "i0", disks=[disk]) == ([], "", "", "")


@test
def sancheck_by_two_interfaces_on_one_hub(lab):
    """The answers to one interface are on the wire of the other one, too, which is not two answers."""
    segment(lab, hub=True)
    lab.pair("i", "i1", "w", "wi1", 1500)
    lab.link("w", "wi1", "master", "br0")
    for name in ("i0", "i1"):
        lab.link("i", name, "promisc", "on")
    time.sleep(0.2)
    disk = lab.disk(4 * MIB, fill=True)
    lab.vblade(disk)
    kinds, _, unknown, advice = check(lab, "i0", "i1", disks=[disk])
    assert kinds == [] and "cannot tell whether one disk" in unknown and "doubles" not in advice, (kinds, advice)


def by_two_paths(lab):
    """One file by two interfaces."""
    lab.wire()
    lab.wire()
    disk = lab.disk(4 * MIB, fill=True)
    lab.vblade(disk, "t0")
    lab.vblade(disk, "t1")
    return disk


@test
def sancheck_one_disk_by_two_paths(lab):
    """One file by two interfaces, also while it is written, is no duplicate; that it may be copies is said."""
    disk = by_two_paths(lab)
    clones_look_alike(lab, ["i0", "i1"], [disk])
    done = threading.Event()

    def writer():
        with open(disk, "r+b", buffering=0) as file:
            while not done.is_set():
                for place in (0, 1, 2, 16, 34):
                    file.seek(place * 512)
                    file.write(os.urandom(512))
    thread = threading.Thread(target=writer)
    thread.start()
    seen = []
    try:
        # On a busy machine nothing may be written just when the two are compared.
        while len(seen) < 15 and not any("is being written" in unknown for unknown in seen):
            kinds, _, unknown, _ = check(lab, "i0", "i1")
            assert kinds == [], unknown
            seen.append(unknown)
    finally:
        done.set()
        thread.join()
    assert "is being written" in seen[-1], seen


@test
def sancheck_of_one_that_cannot_be_read(lab):
    """A path that the target is reserved against is not compared, and that is said."""
    by_two_paths(lab)
    lab.aoectl("reserve", "set", "--yes", "-i", "i1", "7.0", "02:00:00:00:00:09")
    kinds, _, unknown, _ = check(lab, "i0", "i1")
    assert kinds == [] and f"cannot tell what is at {lab.mac('t', 't1')} on i1" in unknown, (kinds, unknown)


@test
def sancheck_on_a_wire_that_doubles_frames(lab):
    """Some frames twice is advice; all frames twice cannot be told from two servers, and is an error too."""
    lab.bad_wire(duplicate=5, seed=3)
    disk = lab.disk(4 * MIB)
    lab.vblade(disk)
    for _ in range(10):
        if "doubles frames" in check(lab, "i0")[3]:
            break
    else:
        raise AssertionError("no doubled frame was noticed")
    lab.bad_wire(duplicate=100)
    lab.vblade(disk, "t1")
    kinds, text, _, _ = check(lab, "i1", status=4)
    assert kinds == ["doubled"] and "doubles every frame" in text, text
