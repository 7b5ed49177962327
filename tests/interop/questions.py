# SPDX-License-Identifier: BSD-2-Clause
"""ping, config, mask, reserve and smart: single questions to a target."""
import re
import signal
import subprocess
import time

from lab import ETHER, MIB, PATIENCE, sh, test

STRANGER = "02:00:00:00:00:09"
SUBCOMMANDS = {
    "ping": [], "config": ["read", "test", "prefix", "set", "fset"], "mask": ["read", "add", "delete"],
    "reserve": ["read", "set", "fset", "release"], "smart": [],
}


def answer(lab, *args, status=0):
    """The only answer that is printed."""
    answers = lab.aoectl(*args, "--libxo", "json", status=status).json()["answer"]
    assert len(answers) == 1, answers
    return answers[0]


def bad(lab, status, words, *args, stdin=None):
    """A command that fails with this status, says these words, and prints no panic."""
    result = lab.aoectl(*args, status=status, stdin=stdin)
    for word in words:
        assert word in result.err, f"{word!r} is not in: {result.err}"
    assert "panicked" not in result.err, result.err
    return result


@test
def help_of_questions(lab):
    """--help of every command and subcommand explains itself; nonsense in its place is refused."""
    for command, more in SUBCOMMANDS.items():
        for words in [[command]] + [[command, what] for what in more]:
            text = lab.aoectl(*words, "--help").out
            assert f"Usage: aoectl {' '.join(words)}" in text, text
            assert "--libxo" in text, text
            if len(words) == 2 or not more:
                assert "-i, --interface" in text and "SHELF.SLOT" in text, text
            bad(lab, 2, ["Usage"], *words, "--nonsense")
        bad(lab, 2, ["Usage"], command)


@test
def questions_name_what_is_wrong(lab):
    """The same mistakes with every command: no target, no interface, no such interface, nobody there, link down."""
    lab.wire()
    lab.vblade(lab.disk(MIB), address="8.1")
    commands = [["ping", "-c", "1"], ["smart"]]
    commands += [[command, what] for command, more in SUBCOMMANDS.items() for what in more]
    extra = {"test": ["x"], "prefix": ["x"], "set": ["x"], "fset": ["x"]}
    for words in commands:
        rest = extra.get(words[-1], []) if words[0] == "config" else []
        if words[0] == "mask" and words[1] != "read":
            rest = [lab.mac("i", "i0")]
        bad(lab, 2, ["--interface"], *words, "8.1", *rest)
        bad(lab, 2, ["SHELF.SLOT", "8.256"], *words, "-i", "i0", "8.256", *rest)
        bad(lab, 2, ["--timeout"], *words, "-i", "i0", "--timeout", "0", "8.1", *rest)
        bad(lab, 2, ["--mac"], *words, "-i", "i0", "--mac", "ff:ff:ff:ff:ff:ff", "8.1", *rest)
        bad(lab, 1, ["nosuch0"], *words, "-i", "nosuch0", "8.1", *rest)
        bad(lab, 3, ["target 7.0 does not answer on i0", "others do: 8.1"],
            *words, "-i", "i0", "--timeout", "0.2", "7.0", *rest)
    lab.link("i", "i0", "down")
    for words in (["ping"], ["smart"], ["config", "read"]):
        bad(lab, 3, ["i0 is down"], *words, "-i", "i0", "8.1")


@test
def ping_answers(lab):
    """A target that is there: as many lines as asked for, figures that fit them, status 0."""
    lab.wire()
    lab.vblade(lab.disk(MIB))
    mac = lab.mac("t", "t0")
    for more in ([], ["--identify"], ["--mac", mac], ["--identify", "--mac", mac]):
        begin = time.monotonic()
        text = lab.aoectl("ping", "-i", "i0", "-c", 5, "--interval", "0.1", "7.0", *more).out.splitlines()
        assert time.monotonic() - begin < 2, "it waits for more than the last answer"
        assert len(text) == 8, text
        for seq, line in enumerate(text[:5], 1):
            assert re.fullmatch(rf"7\.0 \({mac} on i0\): seq {seq} time [0-9.]+ [um]s", line), line
        assert text[6] == "5 sent, 5 answered, 0% lost", text
        assert re.fullmatch(r"round trip min/avg/max [0-9.]+ [um]s / [0-9.]+ [um]s / [0-9.]+ [um]s", text[7]), text
    text = lab.aoectl("ping", "-i", "i0", "-q", "-c", 1, "7.0").out.splitlines()
    assert len(text) == 3, text
    figures, = lab.aoectl("ping", "-i", "i0", "-c", 3, "--interval", "0.05", "7.0", "--libxo", "json").json()["ping"]
    assert (figures["address"], figures["interface"], figures["mac"]) == ("7.0", "i0", mac), figures
    assert (figures["sent"], figures["received"], figures["lost"], figures["loss_percent"]) == (3, 3, 0, 0), figures
    assert 0 < figures["rtt_min_ns"] <= figures["rtt_avg_ns"] <= figures["rtt_max_ns"] < 10**9, figures


@test
def ping_mistakes(lab):
    """Numbers that make no sense are refused by name."""
    for words in (["--interval", "0"], ["--interval", "x"], ["--count", "-1"], ["--count", "many"]):
        bad(lab, 2, [words[0]], "ping", "-i", "i0", "7.0", f"{words[0]}={words[1]}")


@test
def ping_of_an_unreachable_disk(lab):
    """A server that answers while its disk does not: status 1, and the error in the words of the specification."""
    lab.wire()
    lab.model(lab.disk(MIB), "--aoe-error", "3", "--fail-identify")
    lab.aoectl("ping", "-i", "i0", "-c", 1, "7.0")
    result = bad(lab, 1, ["answers with errors only"], "ping", "-i", "i0", "-c", 2, "--interval", "0.05",
                 "--identify", "7.0")
    assert result.out.count("error 3: device unavailable") == 2 and "2 errors" in result.out, result.out
    bad(lab, 1, ["error 3: device unavailable"], "smart", "-i", "i0", "7.0")


@test
def ping_counts_what_the_wire_does(lab):
    """Loss, repeats and late answers are told as what they are."""
    lab.bad_wire(loss=20, seed=5)
    lab.vblade(lab.disk(MIB))
    run = ["ping", "-q", "-i", "i0", "-c", 200, "--interval", "0.005", "--timeout", "0.3", "7.0", "--libxo", "json"]
    figures, = lab.aoectl(*run).json()["ping"]
    # Two directions: 36 % are lost in the mean, here with a deviation of 3.4.
    assert figures["sent"] == 200 and figures["lost"] + figures["received"] == 200, figures
    assert 20 <= figures["loss_percent"] <= 52, figures
    assert abs(figures["loss_percent"] - figures["lost"] / 2) < 0.1, figures
    lab.bad_wire(duplicate=100)
    lab.vblade(lab.disk(MIB, "two"), "t1", "7.1")
    figures, = lab.aoectl("ping", "-i", "i1", "-c", 5, "--interval", "0.05", "7.1", "--libxo", "json").json()["ping"]
    # Every question arrives twice, and so does every answer.
    assert (figures["sent"], figures["received"]) == (5, 5) and figures["duplicates"] >= 12, figures
    lab.wire()
    lab.model(lab.disk(MIB, "three"), "--slot", "2", "--delay", "60000", interfaces=("t2",))
    run = ["ping", "-i", "i2", "-c", 3, "--interval", "0.3", "--timeout", "0.02", "7.2", "--libxo", "json"]
    result = lab.aoectl(*run, status=3)
    figures, = result.json()["ping"]
    assert (figures["sent"], figures["received"]) == (3, 0) and figures["late"] >= 2, figures


@test
def ping_of_a_target_that_dies(lab):
    """Killed in the middle: what was lost is counted; interrupted, it tells what it has seen."""
    lab.wire()
    blade = lab.vblade(lab.disk(MIB))
    child = lab.start("i", lab.aoectl_path, "ping", "-i", "i0", "-c", "0", "--interval", "0.05", "--timeout", "0.1",
                      "7.0", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for _ in range(5):
        assert "seq" in child.stdout.readline()
    blade.kill()
    blade.wait()
    time.sleep(0.5)
    # ip exec replaced itself by aoectl.
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0, (child.returncode, out, err)
    found = re.search(r"(\d+) sent, (\d+) answered, ([0-9.]+)% lost", out)
    assert found, out
    sent, answered = int(found[1]), int(found[2])
    assert answered >= 5 and sent - answered >= 5, out


@test
def questions_have_the_tags_of_tools(lab):
    """Requests carry tags that kernel initiators do not use, from a random base, and none twice."""
    lab.wire()
    lab.vblade(lab.disk(MIB))
    tags = []
    for _ in range(2):
        watch = lab.start("t", ETHER, "sniff", "t0", 5, stdout=subprocess.PIPE)
        assert watch.stdout.readline() == "ready\n"
        lab.aoectl("ping", "-i", "i0", "-c", 5, "--interval", "0.02", "7.0")
        tags += [int(watch.stdout.readline().strip()[12:20], 16) for _ in range(5)]
    assert all(tag & 0x80000000 for tag in tags), tags
    assert len(set(tags)) == 10, tags


@test
def questions_amid_noise(lab):
    """Forged and damaged answers, with other tags, change nothing."""
    lab.wire()
    lab.vblade(lab.disk(MIB))
    lab.aoectl("config", "set", "-i", "i0", "7.0", "the truth")
    noise = lab.start("t", ETHER, "noise", "t0", "7.0", stdout=subprocess.PIPE)
    assert noise.stdout.readline() == "ready\n"
    mac = lab.mac("t", "t0")
    for _ in range(10):
        found = answer(lab, "config", "read", "-i", "i0", "7.0")
        assert (found["config"], found["mac"]) == ("the truth", mac), found
        assert answer(lab, "reserve", "read", "-i", "i0", "7.0")["reserved"] == []


@test
def several_stations(lab):
    """Two servers of one address are both named, both asked, and one can be chosen."""
    lab.wire()
    second = lab.second_station()
    # The other way round vblade would hear, and carry out, what is sent to the second station.
    lab.vblade(lab.disk(MIB), second)
    lab.model(lab.disk(MIB, "two"))
    macs = [lab.mac("t", second), lab.mac("t", "t0")]
    result = lab.aoectl("config", "read", "-i", "i0", "7.0", "--libxo", "json")
    assert "target 7.0 has 2 Ethernet addresses" in result.err, result.err
    assert all(mac in result.err for mac in macs), result.err
    assert {a["mac"]: a["firmware"] for a in result.json()["answer"]} == {macs[0]: 0x4019, macs[1]: 1}, result.out
    for mac in macs:
        found = answer(lab, "config", "fset", "-i", "i0", "--mac", mac, "7.0", mac)
        assert (found["mac"], found["config"]) == (mac, mac), found
    bad(lab, 1, ["--raw", "several strings"], "config", "read", "--raw", "-i", "i0", "7.0")
    bad(lab, 4, ["1 of 2 servers"], "config", "test", "-i", "i0", "7.0", macs[0])
    bad(lab, 3, [f"7.0 at {STRANGER} does not answer"], "config", "read", "-i", "i0", "--mac", STRANGER,
        "--timeout", "0.2", "7.0")
    for more in ([], ["--identify"]):
        result = lab.aoectl("ping", "-i", "i0", "-c", 3, "--interval", "0.05", "7.0", "--libxo", "json", *more)
        assert "2 Ethernet addresses" in result.err, result.err
        figures = {line["mac"]: (line["sent"], line["received"]) for line in result.json()["ping"]}
        assert figures == {mac: (3, 3) for mac in macs}, figures
        assert "2 Ethernet addresses" in lab.aoectl("ping", "-i", "i0", "-c", 1, "7.0", *more).err


def config_life(lab):
    """The life of a config string."""
    assert answer(lab, "config", "read", "-i", "i0", "7.0")["config"] == ""
    found = answer(lab, "config", "set", "-i", "i0", "7.0", "owner: us")
    assert found["config"] == "owner: us" and found["config_hex"] == b"owner: us".hex(), found
    lab.aoectl("config", "set", "-i", "i0", "7.0", "owner: us")
    bad(lab, 1, ["error 4: config string present", "owner: us"], "config", "set", "-i", "i0", "7.0", "owner: them")
    assert answer(lab, "config", "test", "-i", "i0", "7.0", "owner: us")["match"] is True
    bad(lab, 4, ['"owner: us" is not "owner"'], "config", "test", "-i", "i0", "7.0", "owner")
    assert answer(lab, "config", "prefix", "-i", "i0", "7.0", "owner")["match"] is True
    assert answer(lab, "config", "prefix", "-i", "i0", "7.0", "")["match"] is True
    bad(lab, 4, ["does not begin with"], "config", "prefix", "-i", "i0", "7.0", "owner: us too")
    assert answer(lab, "config", "test", "-i", "i0", "7.0", "x", status=4)["match"] is False
    assert answer(lab, "config", "fset", "-i", "i0", "7.0", "them")["config"] == "them"
    assert answer(lab, "config", "read", "-i", "i0", "7.0")["config"] == "them"
    assert answer(lab, "config", "fset", "-i", "i0", "7.0", "")["config"] == ""
    lab.aoectl("config", "test", "-i", "i0", "7.0", "")


@test
def config_of_vblade(lab):
    """read, set, test, prefix and fset with vblade."""
    lab.wire()
    lab.vblade(lab.disk(MIB))
    config_life(lab)
    found = answer(lab, "config", "read", "-i", "i0", "7.0")
    wanted = {"address": "7.0", "interface": "i0", "mac": lab.mac("t", "t0"), "config": "", "config_hex": "",
              "firmware": 0x4019, "buffers": 16, "sector_count": 2, "version": 1}
    assert found == wanted, found
    text = lab.aoectl("config", "read", "-i", "i0", "7.0").out.splitlines()
    assert len(text) == 2 and "0x4019" in text[1], text


@test
def config_like_ggaoed(lab):
    """The same with a target like ggaoed."""
    lab.wire()
    lab.model(lab.disk(MIB), "--kind", "ggaoed")
    config_life(lab)


@test
def config_like_kvblade(lab):
    """The same with a target like kvblade, which does not repeat the subcommand in its answers."""
    lab.wire()
    lab.model(lab.disk(MIB), "--kind", "kvblade")
    config_life(lab)


@test
def config_strings_of_all_kinds(lab):
    """Any bytes, from the command line, a file or the standard input, and the same bytes back."""
    lab.wire()
    lab.vblade(lab.disk(MIB))
    full = lab.random_file(1024, "full")
    lab.aoectl("config", "set", "-i", "i0", "7.0", f"@{full}")
    raw = subprocess.run(["ip", "netns", "exec", lab.ns("i"), lab.aoectl_path, "config", "read", "--raw", "-i", "i0",
                          "7.0"], capture_output=True, timeout=PATIENCE, check=True)
    assert raw.stdout == full.read_bytes()
    lab.aoectl("config", "test", "-i", "i0", "7.0", f"@{full}")
    found = answer(lab, "config", "read", "-i", "i0", "7.0")
    assert found["config_hex"] == full.read_bytes().hex(), found
    found = answer(lab, "config", "fset", "-i", "i0", "7.0", "--hex", "1b5b 324A00")
    assert (found["config"], found["config_hex"]) == ("\\x1b[2J\\x00", "1b5b324a00"), found
    assert "\x1b" not in lab.aoectl("config", "read", "-i", "i0", "7.0").out
    lab.aoectl("config", "fset", "-i", "i0", "7.0", "@-", stdin="from a pipe\n")
    assert answer(lab, "config", "read", "-i", "i0", "7.0")["config_hex"] == b"from a pipe\n".hex()
    assert answer(lab, "config", "fset", "-i", "i0", "7.0", "@@home")["config"] == "@home"
    long = lab.random_file(1025, "long")
    bad(lab, 2, ["STRING", "1024"], "config", "fset", "-i", "i0", "7.0", f"@{long}")
    bad(lab, 2, ["STRING", "1024"], "config", "test", "-i", "i0", "7.0", "x" * 1025)
    bad(lab, 2, ["STRING", "hexadecimal"], "config", "fset", "-i", "i0", "7.0", "--hex", "abc")
    bad(lab, 1, ["STRING", "missing"], "config", "fset", "-i", "i0", "7.0", f"@{lab.dir}/missing")
    bad(lab, 2, ["STRING"], "config", "fset", "-i", "i0", "7.0")
    bad(lab, 2, ["SHELF.SLOT", "all"], "config", "set", "-i", "i0", "all", "x")
    assert answer(lab, "config", "read", "-i", "i0", "7.0")["config"] == "@home"
    lab.link("i", "i0", "mtu", 500)
    bad(lab, 1, ["MTU of i0 is 500"], "config", "fset", "-i", "i0", "7.0", f"@{full}")


@test
def config_of_many(lab):
    """Patterns ask all targets that they name."""
    lab.wire()
    for number, address in enumerate(["1.0", "1.1", "2.0"]):
        lab.vblade(lab.disk(MIB, f"disk{number}"), address=address)
        lab.aoectl("config", "set", "-i", "i0", address, f"string {address}")

    def names(*args, **kwargs):
        answers = lab.aoectl("config", *args, "--libxo", "json", "--timeout", "0.5", **kwargs).json()["answer"]
        return [a["address"] for a in answers if a.get("match", True)]
    assert names("read", "-i", "i0", "all") == ["1.0", "1.1", "2.0"]
    assert names("read", "-i", "i0", "1.*") == ["1.0", "1.1"]
    assert names("read", "-i", "i0", "*.0") == ["1.0", "2.0"]
    assert names("test", "-i", "i0", "all", "string 1.1") == ["1.1"]
    assert names("prefix", "-i", "i0", "*.*", "string 1") == ["1.0", "1.1"]
    assert names("test", "-i", "i0", "all", "x", status=4) == []
    bad(lab, 3, ["no target 9.* answers on i0", "1.0, 1.1, 2.0"], "config", "read", "-i", "i0", "9.*",
        "--timeout", "0.2")


@test
def config_over_a_bad_wire(lab):
    """Loss, repeats and reordering delay an answer, but do not change it."""
    lab.bad_wire(loss=30, duplicate=20, reorder=20, seed=11)
    lab.vblade(lab.disk(MIB))
    for number in range(20):
        found = answer(lab, "config", "fset", "-i", "i0", "--timeout", "10", "7.0", f"number {number}")
        assert found["config"] == f"number {number}", found
        assert answer(lab, "config", "read", "-i", "i0", "--timeout", "10", "7.0")["config"] == f"number {number}"
    answer(lab, "reserve", "set", "-i", "i0", "--timeout", "10", "7.0")
    answer(lab, "reserve", "release", "-i", "i0", "--timeout", "10", "7.0")


@test
def mask_of_a_good_target(lab):
    """Addresses are added and deleted, and who is not in the list is not heard."""
    lab.wire()
    lab.model(lab.disk(MIB), "--max-masks", "3")
    own = lab.mac("i", "i0")
    assert answer(lab, "mask", "read", "-i", "i0", "7.0")["mask"] == []
    assert lab.aoectl("mask", "read", "-i", "i0", "7.0").out.split()[-1] == "all"
    assert answer(lab, "mask", "add", "-i", "i0", "7.0", own, STRANGER)["mask"] == [own, STRANGER]
    assert answer(lab, "mask", "add", "-i", "i0", "7.0", own)["mask"] == [own, STRANGER]
    bad(lab, 1, ["directive 2 (02:00:00:00:00:11)", "mask error 3: mask list full", "before it are done"],
        "mask", "add", "-i", "i0", "7.0", "02:00:00:00:00:10,02:00:00:00:00:11")
    assert answer(lab, "mask", "read", "-i", "i0", "7.0")["mask"] == [own, STRANGER, "02:00:00:00:00:10"]
    found = answer(lab, "mask", "delete", "-i", "i0", "7.0", STRANGER, "02:00:00:00:00:10")
    assert found["mask"] == [own], found
    bad(lab, 1, [STRANGER, "not in the mask list"], "mask", "delete", "-i", "i0", "7.0", STRANGER)
    assert answer(lab, "mask", "delete", "-i", "i0", "7.0", own)["mask"] == []
    bad(lab, 2, ["MAC", "02:00"], "mask", "add", "-i", "i0", "7.0", "02:00")
    bad(lab, 2, ["MAC", "group"], "mask", "add", "-i", "i0", "7.0", "01:00:5e:00:00:01")
    bad(lab, 2, ["MAC"], "mask", "add", "-i", "i0", "7.0")
    many = ",".join(f"02:00:00:00:01:{n:02x}" for n in range(256))
    bad(lab, 2, ["MAC", "256", "255"], "mask", "add", "-i", "i0", "7.0", many)


@test
def mask_that_locks_out(lab):
    """A list without this machine is refused, unless it is really wanted; then the target is silent."""
    lab.wire()
    lab.model(lab.disk(MIB))
    own = lab.mac("i", "i0")
    bad(lab, 2, ["MAC", own, "--yes"], "mask", "add", "-i", "i0", "7.0", STRANGER)
    answer(lab, "mask", "add", "-i", "i0", "7.0", own, STRANGER)
    bad(lab, 2, ["MAC", own, "--yes"], "mask", "delete", "-i", "i0", "7.0", own)
    assert answer(lab, "mask", "delete", "-i", "i0", "--yes", "7.0", own)["mask"] == [STRANGER]
    bad(lab, 3, ["does not answer"], "mask", "read", "-i", "i0", "--timeout", "0.3", "7.0")
    bad(lab, 3, ["does not answer"], "ping", "-i", "i0", "-c", 1, "--timeout", "0.3", "7.0")


@test
def mask_of_vblade(lab):
    """vblade 25 takes two addresses and cannot delete: both is said beforehand, and seen when asked for."""
    lab.wire()
    blade = lab.vblade(lab.disk(MIB))
    own = lab.mac("i", "i0")
    assert answer(lab, "mask", "add", "-i", "i0", "7.0", own)["mask"] == [own]
    bad(lab, 2, ["vblade 25", "deleted", "--yes"], "mask", "delete", "-i", "i0", "7.0", own)
    assert answer(lab, "mask", "add", "-i", "i0", "7.0", STRANGER)["mask"] == [own, STRANGER]
    third = "02:00:00:00:00:10"
    bad(lab, 2, ["vblade 25", "more than two", "--yes"], "mask", "add", "-i", "i0", "7.0", third)
    assert blade.poll() is None
    bad(lab, 1, ["its list is not what it should be now", third], "mask", "add", "-i", "i0", "--yes", "7.0", third)


@test
def mask_that_kills(lab):
    """A target that dies of a deletion (vblade 25 with one address): status 3, and no claim about its list."""
    lab.wire()
    blade = lab.vblade(lab.disk(MIB))
    own = lab.mac("i", "i0")
    answer(lab, "mask", "add", "-i", "i0", "7.0", own)
    bad(lab, 3, ["whether its list was changed is not known"], "mask", "delete", "-i", "i0", "--yes",
        "--timeout", "0.5", "7.0", own)
    assert blade.wait(timeout=5) != 0


@test
def old_targets_know_no_lists(lab):
    """A target of an older protocol is silent on mask and reserve: status 3, and the command is named."""
    lab.wire()
    lab.model(lab.disk(MIB), "--kind", "kvblade")
    for words in (["mask", "read"], ["reserve", "read"], ["reserve", "set"], ["reserve", "release"]):
        bad(lab, 3, [f"does not answer {words[0]} requests"], *words, "-i", "i0", "--timeout", "0.3", "7.0")


def reserve_life(lab):
    """The life of a reservation."""
    own = lab.mac("i", "i0")
    assert answer(lab, "reserve", "read", "-i", "i0", "7.0")["reserved"] == []
    assert lab.aoectl("reserve", "read", "-i", "i0", "7.0").out.split()[-1] == "nobody"
    assert answer(lab, "reserve", "set", "-i", "i0", "7.0")["reserved"] == [own]
    assert set(answer(lab, "reserve", "set", "-i", "i0", "7.0", own, STRANGER)["reserved"]) == {own, STRANGER}
    lab.aoectl("read", "-i", "i0", "7.0", "/dev/null", "--length", "4k")
    assert answer(lab, "reserve", "release", "-i", "i0", "7.0")["reserved"] == []
    bad(lab, 2, ["MAC", "--yes"], "reserve", "fset", "-i", "i0", "7.0", STRANGER)
    assert answer(lab, "reserve", "fset", "-i", "i0", "--yes", "7.0", STRANGER)["reserved"] == [STRANGER]
    for words in (["set"], ["release"]):
        bad(lab, 1, ["error 6: target is reserved", f"for {STRANGER}"], "reserve", *words, "-i", "i0", "7.0")
    bad(lab, 1, ["reserved"], "read", "-i", "i0", "7.0", "/dev/null", "--length", "4k")
    assert answer(lab, "reserve", "fset", "-i", "i0", "7.0")["reserved"] == [own]
    assert answer(lab, "reserve", "fset", "-i", "i0", "--yes", "7.0", STRANGER)["reserved"] == [STRANGER]
    assert answer(lab, "reserve", "release", "--force", "-i", "i0", "7.0")["reserved"] == []
    bad(lab, 2, ["MAC", "xx"], "reserve", "set", "-i", "i0", "7.0", "xx")
    many = ",".join(f"02:00:00:00:01:{n:02x}" for n in range(256))
    bad(lab, 2, ["MAC", "256", "255"], "reserve", "set", "-i", "i0", "7.0", many)


@test
def reserve_of_vblade(lab):
    """read, set, fset and release with vblade."""
    lab.wire()
    lab.vblade(lab.disk(MIB))
    reserve_life(lab)


@test
def reserve_of_an_ideal_disk(lab):
    """The same with the project's own target."""
    lab.wire()
    lab.model(lab.disk(MIB))
    reserve_life(lab)


@test
def reserve_for_all_interfaces(lab):
    """Every interface that is named is put into the list, and both paths can be used."""
    lab.wire()
    lab.wire()
    disk = lab.disk(MIB)
    lab.model(disk, interfaces=("t0", "t1"))
    own = {lab.mac("i", "i0"), lab.mac("i", "i1")}
    answers = lab.aoectl("reserve", "set", "-i", "i0,i1", "7.0", "--libxo", "json").json()["answer"]
    assert [a["interface"] for a in answers] == ["i0", "i1"], answers
    assert all(set(a["reserved"]) == own for a in answers), answers
    lab.aoectl("read", "-i", "i0,i1", "7.0", "/dev/null")


@test
def smart_of_a_good_disk(lab):
    """Health, attributes, thresholds, logs and tests of a disk that has SMART."""
    lab.wire()
    lab.model(lab.disk(MIB))
    found = answer(lab, "smart", "-i", "i0", "7.0")
    assert (found["supported"], found["enabled"], found["healthy"], found["checksum_ok"]) == (True,) * 4, found
    attributes = {a["id"]: a for a in found["attribute"]}
    assert sorted(attributes) == [1, 5, 9, 12, 194, 197], attributes
    moved = attributes[5]
    assert (moved["value"], moved["threshold"], moved["raw"], moved["state"]) == (100, 36, 0, "ok"), moved
    assert attributes[9]["raw"] == 1234 and attributes[194]["name"] == "temperature", attributes
    text = lab.aoectl("smart", "-i", "i0", "7.0").out
    assert "healthy" in text and "reallocated sectors" in text, text
    for test_name in ("offline", "short", "extended", "abort"):
        lab.aoectl("smart", "-i", "i0", "7.0", "--test", test_name)
    log = subprocess.run(["ip", "netns", "exec", lab.ns("i"), lab.aoectl_path, "smart", "-i", "i0", "7.0", "--log", "6"],
                         capture_output=True, timeout=PATIENCE, check=True).stdout
    assert len(log) == 512 and log[0] == 1 and sum(log) % 256 == 0, log
    sector = lab.random_file(512, "sector")
    run = f"ip netns exec {lab.ns('i')} {lab.aoectl_path} smart -i i0 7.0 --log 0x80"
    sh("sh", "-c", f"{run} --write < {sector} && {run} | cmp - {sector}")
    bad(lab, 2, ["--write", "less than 512"], "smart", "-i", "i0", "7.0", "--log", "128", "--write", stdin="short")
    bad(lab, 2, ["--log"], "smart", "-i", "i0", "7.0", "--write")
    bad(lab, 1, ["SMART WRITE LOG", "aborted"], "smart", "-i", "i0", "7.0", "--log", "6", "--write", stdin="x" * 512)
    bad(lab, 1, ["SMART READ LOG", "command aborted"], "smart", "-i", "i0", "7.0", "--log", "9")
    bad(lab, 1, ["SMART EXECUTE OFF-LINE IMMEDIATE", "aborted"], "smart", "-i", "i0", "7.0", "--test", "conveyance")
    bad(lab, 2, ["--log", "256"], "smart", "-i", "i0", "7.0", "--log", "256")
    bad(lab, 2, ["--test", "long"], "smart", "-i", "i0", "7.0", "--test", "long")
    bad(lab, 2, ["--enable", "--disable"], "smart", "-i", "i0", "7.0", "--enable", "--disable")
    lab.aoectl("smart", "-i", "i0", "7.0", "--disable")
    bad(lab, 1, ["SMART RETURN STATUS", "turned off", "--enable"], "smart", "-i", "i0", "7.0")
    lab.aoectl("smart", "-i", "i0", "7.0", "--enable")
    lab.aoectl("smart", "-i", "i0", "7.0")


@test
def smart_of_a_failing_disk(lab):
    """A disk that expects to fail: status 1, and the attribute that says why."""
    lab.wire()
    lab.model(lab.disk(MIB), "--smart", "failing")
    found = answer(lab, "smart", "-i", "i0", "7.0", status=1)
    assert found["healthy"] is False, found
    states = {a["id"]: a["state"] for a in found["attribute"]}
    assert states == {1: "ok", 5: "failing", 9: "ok", 12: "ok", 194: "ok", 197: "ok"}, states
    result = bad(lab, 1, ["7.0", "expects to fail"], "smart", "-i", "i0", "7.0")
    assert "4711" in result.out, result.out


@test
def smart_where_there_is_none(lab):
    """vblade has no SMART, and a disk may have it turned off: status 1, and which of the two it is."""
    lab.wire()
    lab.vblade(lab.disk(MIB))
    for more in ([], ["--enable"], ["--test", "short"], ["--log", "1"]):
        result = bad(lab, 1, ["target 7.0", "command aborted", "does not announce SMART"],
                     "smart", "-i", "i0", "7.0", *more)
        assert result.out == "", result.out
    lab.model(lab.disk(MIB, "off"), "--slot", "1", "--kind", "vblade", "--smart", "off")
    bad(lab, 1, ["target 7.1", "turned off"], "smart", "-i", "i0", "7.1")
    lab.aoectl("smart", "-i", "i0", "7.1", "--enable")
    assert answer(lab, "smart", "-i", "i0", "7.1")["healthy"] is True
    lab.aoectl("reserve", "fset", "-i", "i0", "--yes", "7.1", STRANGER)
    bad(lab, 1, ["error 6: target is reserved"], "smart", "-i", "i0", "7.1")


@test
def questions_without_privilege(lab):
    """An ordinary user is told what is missing."""
    lab.wire()
    command = lab.dir / "aoectl"
    command.write_bytes(open(lab.aoectl_path, "rb").read())
    command.chmod(0o755)
    lab.dir.chmod(0o755)
    for words in (["ping"], ["config", "read"], ["mask", "read"], ["reserve", "read"], ["smart"]):
        done = subprocess.run(["ip", "netns", "exec", lab.ns("i"), "setpriv", "--reuid", "65534", "--clear-groups",
                               command, *words, "-i", "i0", "7.0"],
                              capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 1 and "i0" in done.stderr and "root" in done.stderr, done
