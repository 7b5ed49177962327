# SPDX-License-Identifier: BSD-2-Clause
"""Beside Debian's aoetools: the same questions to the same target have the same answers.

Its programs throw away answers of less than 60 bytes, which virtual links do not pad; so here the wire pads, as
network cards do. What they cannot do right is said where it is left out.
"""
import re

from lab import MIB, test


def padded(lab):
    """A wire that pads frames as a network card does."""
    lab.bad_wire(pad=60)


def cfg(lab, *words, status=0):
    """aoecfg, about target 7.0."""
    return lab.foreign("aoecfg", *words, "7", "0", "i0", status=status)


def string(lab):
    """The config string as aoectl reads it."""
    found = lab.aoectl("config", "read", "-i", "i0", "7.0", "--libxo", "json").json()["answer"]
    assert len(found) == 1, found
    return found[0]["config"]


def hexdump(text):
    """The bytes of a hexadecimal dump."""
    lines = [line for line in text.splitlines() if re.fullmatch(r"([0-9a-f]{2} ?)+", line)]
    return bytes.fromhex("".join(lines))


@test
def aoecfg_and_config(lab):
    """What one sets the other reads, and both are refused the same."""
    padded(lab)
    lab.vblade(lab.disk(MIB))
    assert cfg(lab).strip() == string(lab) == ""
    cfg(lab, "-c", "set", "-s", "by aoecfg")
    assert cfg(lab).strip() == string(lab) == "by aoecfg"
    # Both are refused; only aoectl tells it by its status.
    assert cfg(lab, "-c", "set", "-s", "another").strip() == "*badcfg*"
    lab.aoectl("config", "set", "-i", "i0", "7.0", "another", status=1)
    assert cfg(lab).strip() == string(lab) == "by aoecfg"
    lab.aoectl("config", "fset", "-i", "i0", "7.0", "by aoectl")
    assert cfg(lab).strip() == string(lab) == "by aoectl"
    cfg(lab, "-c", "fset", "-s", "forced")
    assert cfg(lab).strip() == string(lab) == "forced"
    for command, text, fits in [("test", "forced", True), ("test", "force", False), ("prefix", "force", True),
                                ("prefix", "x", False)]:
        # It prints the string of who answers, and ends with 0 also when nobody does.
        printed = cfg(lab, "-t", "1", "-c", command, "-s", text).strip()
        assert (printed == "forced") == fits, (command, text, printed)
        lab.aoectl("config", command, "-i", "i0", "7.0", text, status=0 if fits else 4)


@test
def aoeping_and_ping(lab):
    """Both find the same server, with the same config answer and the same disk; both miss one that is not there."""
    padded(lab)
    lab.vblade(lab.disk(MIB), hostname="labhost")
    lab.aoectl("config", "set", "-i", "i0", "7.0", "text")
    text = lab.foreign("aoeping", "-v", "-s", "2", "7", "0", "i0")
    ping, = lab.aoectl("ping", "-i", "i0", "-c", "1", "7.0", "--libxo", "json").json()["ping"]
    assert f"with mac {ping['mac'].replace(':', '')}" in text, text
    config, = lab.aoectl("config", "read", "-i", "i0", "7.0", "--libxo", "json").json()["answer"]
    reply = hexdump(text)
    assert int.from_bytes(reply[24:26], "big") == config["buffers"], reply.hex()
    assert int.from_bytes(reply[26:28], "big") == config["firmware"], reply.hex()
    assert reply[28] == config["sector_count"] and reply[29] >> 4 == config["version"], reply.hex()
    assert reply[32:36].hex() == config["config_hex"], reply.hex()
    fields = dict(re.findall(r"^(\w+): (.*?) *$", lab.foreign("aoeping", "-s", "2", "-I", "7", "0", "i0"), re.M))
    disk, = lab.aoectl("identify", "-i", "i0", "7.0", "--libxo", "json").json()["target"]
    assert fields["serial_number"] == disk["serial"] == "7.0:labhost", (fields, disk)
    assert (fields["model"], fields["firmware_rev"]) == (disk["model"], disk["firmware"]), (fields, disk)
    lab.aoectl("ping", "-i", "i0", "-c", "1", "--timeout", "1", "7.9", status=3)
    # Its own alarm ends it: SIGALRM.
    lab.foreign("aoeping", "-s", "1", "7", "9", "i0", status=-14)


@test
def aoeping_and_smart(lab):
    """The pages that both read are the same; a target without SMART is told as such by both.

    SMART commands without data (return_status, enable, disable) are left out: aoeping sends them, but then ends
    with status 1 and prints nothing, whatever the answer."""
    padded(lab)
    # Its IDENTIFY leaves the obsolete bits out, which a strict target refuses.
    lab.model(lab.disk(MIB), "--lenient")
    page = hexdump(lab.foreign("aoeping", "-s", "2", "-S", "read_data", "7", "0", "i0").partition("SMART data:")[2])
    assert len(page) == 512, page.hex()
    found, = lab.aoectl("smart", "-i", "i0", "7.0", "--libxo", "json").json()["answer"]
    assert found["revision"] == int.from_bytes(page[:2], "little"), found
    entries = [page[at:at + 12] for at in range(2, 362, 12)]
    theirs = [(e[0], e[3], e[4], int.from_bytes(e[5:11], "little")) for e in entries if e[0]]
    ours = [(a["id"], a["value"], a["worst"], a["raw"]) for a in found["attribute"]]
    assert ours == theirs and len(ours) == 6, (ours, theirs)
    log = "".join(chr(33 + n % 90) for n in range(512))
    lab.foreign("aoeping", "-s", "2", "-S", "write_log:128", "7", "0", "i0", stdin=log)
    assert lab.aoectl("smart", "-i", "i0", "7.0", "--log", "128").out == log
    log = log[::-1]
    lab.aoectl("smart", "-i", "i0", "7.0", "--log", "128", "--write", stdin=log)
    theirs = lab.foreign("aoeping", "-s", "2", "-S", "read_log:128", "7", "0", "i0").partition("SMART data:")[2]
    assert hexdump(theirs) == log.encode(), theirs
    lab.vblade(lab.disk(MIB, "two"), address="7.1")
    text = lab.foreign("aoeping", "-s", "2", "-S", "read_data", "7", "1", "i0", status=1)
    assert "does not support SMART" in text, text
    assert "does not announce SMART" in lab.aoectl("smart", "-i", "i0", "7.1", status=1).err
