# SPDX-License-Identifier: BSD-2-Clause
"""What the operator sees: pipes, mistakes, differences, names, and who else is on the wire."""
import shutil
import subprocess

from lab import MIB, PATIENCE, ROOT, one_target, sh, sha256, test


@test
def beside_a_kernel_initiator(lab):
    """Requests carry tags of the tools' half, which kernel initiators do not use."""
    lab.wire()
    lab.vblade(lab.disk(MIB))
    watch = lab.start("t", ROOT / "tests/interop/ether", "sniff", "t0", 20, stdout=subprocess.PIPE)
    assert watch.stdout.readline() == "ready\n"
    lab.aoectl("read", "-i", "i0", "7.0", "/dev/null", "--length", "32k")
    for _ in range(20):
        frame = watch.stdout.readline().strip()
        assert int(frame[12:14], 16) & 0x80, f"tag without the mark: {frame}"


@test
def names_are_those_of_the_module(lab):
    """What JSON says of a target and a path has the names of the module's sysctl nodes."""
    table = (ROOT / "sysctl-docs/net.aoe.tsv").read_text().splitlines()[1:]
    nodes = {line.split("\t")[0]: line.split("\t")[4] for line in table}
    above = "net.aoe.target.<shelf>.<slot>."
    below = {node[len(above):]: access for node, access in nodes.items() if node.startswith(above)}
    paths = {leaf[len("path.<n>."):] for leaf in below if leaf.startswith("path.<n>.")}
    # What is written and never read is no value.
    leaves = {leaf for leaf, access in below.items() if "path" not in leaf and access == "ro"}
    lab.wire()
    lab.vblade(lab.disk(MIB))
    target = one_target(lab)
    assert set(target["path"][0]) == paths, set(target["path"][0]) ^ paths
    assert leaves <= set(target), leaves - set(target)
    more = {"address", "path", "sectors", "physical_sector", "rotation", "lba48", "flush", "trim"}
    assert set(target) <= leaves | more, set(target) - leaves - more


@test
def verify_finds_the_difference(lab):
    """One wrong byte: status 4, its place, and the number of sectors."""
    lab.wire()
    disk = lab.disk(2 * MIB, fill=True)
    copy = lab.dir / "copy"
    shutil.copy(disk, copy)
    lab.vblade(disk)
    lab.aoectl("verify", "-i", "i0", "7.0", copy)
    for place in (MIB + 77, MIB + 99, MIB + 4096):
        with open(copy, "r+b") as file:
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ 1]))
    result = lab.aoectl("verify", "-i", "i0", "7.0", copy, "--libxo=json", status=4)
    assert f"first at byte {MIB + 77}; 2 of 4096 sectors differ" in result.err, result.err
    transfer = result.json()["transfer"]
    assert transfer["equal"] is False and transfer["first_difference"] == MIB + 77, transfer


@test
def pipes(lab):
    """Standard input and output work; a closed pipe ends a read quietly; figures never mix with data."""
    lab.wire(9000)
    disk = lab.disk(4 * MIB)
    lab.vblade(disk)
    source = lab.random_file(4 * MIB, "source")
    quoted = f"ip netns exec {lab.ns('i')} {lab.aoectl_path}"
    sh("sh", "-c", f"cat {source} | {quoted} write -i i0 7.0 - --yes")
    assert sha256(source) == sha256(disk)
    sh("sh", "-c", f"{quoted} read -i i0 7.0 - > {lab.dir}/back 2>{lab.dir}/figures")
    assert sha256(source) == sha256(lab.dir / "back")
    assert "MB/s" in (lab.dir / "figures").read_text()
    sh("sh", "-c", f"cat {source} | {quoted} verify -i i0 7.0 -")
    done = subprocess.run(["sh", "-c", f"{quoted} read -i i0 7.0 - | head -c 100 | wc -c"],
                          capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.stdout.strip() == "100" and done.stderr == "", done


@test
def partial_last_sector(lab):
    """A file that ends inside a sector is refused, or padded with zeros when asked for."""
    lab.wire()
    disk = lab.disk(MIB, fill=True)
    lab.vblade(disk)
    before = disk.read_bytes()
    file = lab.random_file(1000, "file")
    error = lab.aoectl("write", "-i", "i0", "7.0", file, "--yes", status=2).err
    assert "not a multiple of 512" in error, error
    assert disk.read_bytes() == before
    lab.aoectl("write", "-i", "i0", "7.0", file, "--yes", "--pad")
    assert disk.read_bytes() == file.read_bytes() + bytes(24) + before[1024:]
    lab.aoectl("verify", "-i", "i0", "7.0", file)


@test
def mistakes(lab):
    """What cannot be done is said with the name of what is wrong, and changes nothing."""
    lab.wire()
    disk = lab.disk(MIB, fill=True)
    before = sha256(disk)
    lab.vblade(disk)
    file = lab.random_file(4096, "file")
    error = lab.aoectl("write", "-i", "i0", "7.0", file, status=2).err
    assert "--yes" in error and "7.0" in error, error
    error = lab.aoectl("write", "-i", "nosuch0", "7.0", file, "--yes", status=1).err
    assert "nosuch0" in error, error
    error = lab.aoectl("discover", "lo", status=1).err
    assert "lo" in error and "Ethernet" in error, error
    error = lab.aoectl("read", "-i", "i0,i0", "7.0", "/dev/null", status=1).err
    assert "twice" in error, error
    error = lab.aoectl("write", "-i", "i0", "7.0", lab.dir / "missing", "--yes", status=1).err
    assert "missing" in error, error
    error = lab.aoectl("write", "-i", "i0", "7.0", file, "--yes", "--length", 8192, status=2).err
    assert "4096" in error and "8192" in error, error
    lab.aoectl("write", "-i", "i0", "7.x", file, "--yes", status=2)
    lab.link("i", "i0", "down")
    error = lab.aoectl("discover", "i0", status=3).err
    assert "i0 is down" in error, error
    assert sha256(disk) == before


@test
def without_privilege(lab):
    """An ordinary user is told what is missing."""
    lab.wire()
    shutil.copy(lab.aoectl_path, lab.dir / "aoectl")
    lab.dir.chmod(0o755)
    done = subprocess.run(["ip", "netns", "exec", lab.ns("i"), "setpriv", "--reuid", "65534", "--clear-groups",
                           lab.dir / "aoectl", "discover", "i0"],
                          capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1, done
    assert "i0" in done.stderr and "root" in done.stderr, done
