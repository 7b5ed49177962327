# SPDX-License-Identifier: BSD-2-Clause
"""Wires by aoe-relay, whose faults are switched while aoectl works and whose counts say what really happened."""
import functools
import json
import os
import socket
import subprocess
import time

from lab import MIB, PATIENCE, ROOT, SlowWrite, copy_there_and_back, sha256, test


@functools.cache
def program():
    """The relay of this tree, or the one that the environment names."""
    if "AOE_RELAY" in os.environ:
        return os.path.abspath(os.environ["AOE_RELAY"])
    subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "aoe-relay"], cwd=ROOT, check=True)
    return os.path.join(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"), "release", "aoe-relay")


class Relay:
    """A wire from i<N> to t<N> with a relay in the middle."""

    def __init__(self, lab, mtu=1500):
        number = lab.wires
        lab.wires += 1
        lab.pair("i", f"i{number}", "w", f"wi{number}", mtu)
        lab.pair("w", f"wt{number}", "t", f"t{number}", mtu)
        path = lab.dir / f"relay{number}"
        self.child = lab.start("w", program(), "--initiator", f"wi{number}", "--target", f"wt{number}",
                               "--control", path, "--seed", 1, stdout=subprocess.PIPE)
        assert "seed 1" in self.child.stdout.readline(), "the relay did not start"
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        sock.connect(str(path))
        self.lines = sock.makefile("rw", encoding="utf-8")

    def raw(self, line):
        """Say something; the answer, whatever it is."""
        self.lines.write(line + "\n")
        self.lines.flush()
        return json.loads(self.lines.readline())

    def say(self, line):
        """Say something that it must take."""
        answer = self.raw(line)
        assert answer["ok"], f"{line}: {answer}"
        return answer

    def both(self, what):
        """A counter, both directions together."""
        answer = self.say("status")
        assert answer["own_lost"] == 0, f"the relay lost frames by itself: {answer}"
        return answer["to-target"][what] + answer["to-initiator"][what]


@test
def relay_is_a_good_wire_at_first(lab):
    """Without faults every frame that comes in goes out, none again, none lost."""
    relay = Relay(lab, 9000)
    disk = lab.disk(32 * MIB)
    lab.vblade(disk)
    copy_there_and_back(lab, 32 * MIB, disk)
    answer = relay.say("status")
    for way in ("to-target", "to-initiator"):
        counts = answer[way]
        assert counts["received"] > 4000, counts
        assert counts["forwarded"] == counts["received"] + counts["untouched"], counts
    assert relay.both("lost") == 0


@test
def relay_refuses_what_it_does_not_understand(lab):
    """A wrong line is answered with what is wrong, and changes nothing."""
    relay = Relay(lab)
    before = relay.say("status")["to-target"]["faults"]
    for line, words in (("set both loss=1%,", "chance"), ("set both loss=1% cut=perhaps", "time"), ("jump", "command"),
                        ("set to-target duplicate-delay=1ms", "no initiator"), ("set left loss=1%", "direction")):
        answer = relay.raw(line)
        assert not answer["ok"] and words in answer["error"], f"{line}: {answer}"
    assert relay.say("status")["to-target"]["faults"] == before


@test
def relay_with_every_fault(lab):
    """Loss, repetition, delay and overtaking at once, with small requests: what arrives is right."""
    relay = Relay(lab, 9000)
    disk = lab.disk(24 * MIB)
    lab.vblade(disk)
    relay.say("set both loss=2% duplicate=2% delay=20us..300us reorder=2% reorder-delay=1ms..10ms")
    copy_there_and_back(lab, 24 * MIB, disk, extra=("--block", "20k", "--depth", 40))
    for what in ("lost", "duplicated", "reordered", "delayed"):
        assert relay.both(what) > 50, f"{what}: {relay.both(what)}"


@test
def relay_cut_and_clogged(lab):
    """Nothing gets through for two seconds, then everything is held for one; the write goes on by itself."""
    relay = Relay(lab)
    disk = lab.disk(32 * MIB)
    lab.vblade(disk)
    write = SlowWrite(lab, 32 * MIB, "-i", "i0")
    write.feed(4 * MIB)
    relay.say("set both cut=2s")
    write.feed_rest()
    time.sleep(2.5)
    relay.say("set both clog=1s")
    write.end()
    assert relay.both("cut") > 0
    assert sha256(write.source) == sha256(disk)


@test
def relay_swallows_large_frames(lab):
    """A switch stops carrying large frames in the middle of a write, and nobody is told; small ones do it."""
    relay = Relay(lab, 9000)
    disk = lab.disk(32 * MIB)
    lab.vblade(disk)
    write = SlowWrite(lab, 32 * MIB, "-i", "i0")
    write.feed(8 * MIB)
    relay.say("set both longest=1514")
    begin = time.monotonic()
    write.feed_rest()
    write.end()
    took = time.monotonic() - begin
    assert relay.both("too_long") > 0
    assert sha256(write.source) == sha256(disk)
    assert took < 15, f"it took {took:.1f} s"
    lab.aoectl("verify", "-i", "i0", "7.0", write.source)


@test
def relay_damages_answers(lab):
    """Headers of answers are damaged, but for the tag; what aoectl reports as done is done, or it says that it failed."""
    relay = Relay(lab)
    disk = lab.disk(16 * MIB, fill=True)
    lab.vblade(disk)
    relay.say("set to-initiator corrupt=1% corrupt-bytes=no-tag")
    back = lab.dir / "back"
    for _ in range(10):
        # A damaged answer may say that the target failed; so may then aoectl.
        command = ["ip", "netns", "exec", lab.ns("i"), lab.aoectl_path, "read", "-i", "i0", "7.0", back,
                   "--length", "1m"]
        back.unlink(missing_ok=True)
        done = subprocess.run([str(c) for c in command], capture_output=True, timeout=PATIENCE, check=False)
        if done.returncode == 0:
            assert sha256(back) == sha256(disk, 0, MIB), "a read brought wrong bytes and no error"
    assert relay.both("corrupted") > 5
    relay.say("clear")
    lab.aoectl("verify", "-i", "i0", "7.0", disk)
