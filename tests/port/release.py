# SPDX-License-Identifier: BSD-2-Clause
"""Tests of the release: the tarball, what says the same in several places, and installing without a ports tree."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tomllib

from framework import PORTS, ROOT, Skip, tree

SCRIPT = ROOT / "scripts/release"
# The licences of crates by the names that ports have; of a choice the first that is here is taken.
LICENCES = {"MIT": "MIT", "Zlib": "ZLIB", "BSD-2-Clause": "BSD2CLAUSE", "Apache-2.0": "APACHE20"}
LINKS = ("aoe-discover", "aoe-flush", "aoe-interfaces", "aoe-revalidate", "aoe-sancheck", "aoe-stat", "aoe-version", "aoecfg",
         "aoeping")


def run(*argv, cwd=ROOT, code=0, **env):
    """A command that has to end with a code; its output and its complaints."""
    done = subprocess.run([str(word) for word in argv], cwd=cwd, capture_output=True, text=True, check=False,
                          env={k: v for k, v in os.environ.items() if k != "SOURCE_DATE_EPOCH"} |
                          {k: str(v) for k, v in env.items()})
    assert code is None or done.returncode == code, f"{argv} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def need_git():
    """The tests of the tarball want the history."""
    if subprocess.run(["git", "rev-parse"], cwd=ROOT, capture_output=True, check=False).returncode != 0:
        raise Skip("not a git checkout")


def made(place):
    """A folder with the tarball of what is on the disk now."""
    need_git()
    if not (place / "dist").exists():
        run(SCRIPT, "dist", "--worktree", place / "dist")
    return place / "dist"


def project(place):
    """A repository of its own that has what is on the disk here."""
    need_git()
    copy = place / "one/checkout"
    copy.mkdir(parents=True)
    for name in run("git", "ls-files", "-z").split("\0")[:-1]:
        if not (ROOT / name).exists():
            continue
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    run("git", "init", "-q", cwd=copy)
    run("git", "add", "-A", "-f", cwd=copy)
    run("git", *who, "commit", "-q", "-m", "a release", cwd=copy, GIT_COMMITTER_DATE="2026-01-02T03:04:05Z")
    return copy


def version():
    """Cargo.toml's."""
    return tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["workspace"]["package"]["version"]


def conf():
    """The values of release.conf."""
    return dict(re.findall(r'^(AOE_\w+)="(.*)"$', (ROOT / "release.conf").read_text(encoding="ascii"), re.M))


def repeats_are_up_to_date(_place):
    """What scripts/release values writes is what it would write: ports, distinfo, files/aoe.in, SECURITY.md."""
    run(SCRIPT, "values", "--check")
    assert (ROOT / "port/aoe/files/aoe.in").read_bytes() == (ROOT / "rc.d/aoe").read_bytes()


def versions_agree(_place):
    """Cargo, its lock files, both ports, the change log, aoectl and the module."""
    want = version()
    for name in ("kmod/Cargo.toml", "fuzz/Cargo.toml"):
        got = tomllib.loads((ROOT / name).read_text(encoding="utf-8"))["package"]["version"]
        assert got == want or name.startswith("fuzz"), f"{name}: {got}"
    for name in ("Cargo.lock", "kmod/Cargo.lock", "fuzz/Cargo.lock"):
        for package in tomllib.loads((ROOT / name).read_text(encoding="utf-8"))["package"]:
            ours = package["name"].startswith("aoe") and package["name"] != "aoe-fuzz-targets" and "source" not in package
            assert not ours or package["version"] in (want, "0.0.0"), f"{name}: {package['name']} {package['version']}"
    for port in PORTS:
        makefile = (ROOT / "port" / port / "Makefile").read_text(encoding="ascii")
        assert f"\nDISTVERSION=\t{want}\n" in makefile, port
    first = re.search(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)[1]
    assert first == want, f"CHANGELOG.md begins with {first}"
    aoectl = os.environ.get("AOECTL") or pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/aoectl"
    if not os.environ.get("AOECTL"):
        run("cargo", "build", "--quiet", "--locked", "-p", "aoectl")
    assert run(aoectl, "--version") == f"aoectl {want}\n"
    assert re.search(rf"^aoectl:?\s+{re.escape(want)}$", run(aoectl, "version"), re.M), run(aoectl, "version")
    assert want.encode() in module().read_bytes(), f"{module()} is of another version: make kmod"


def module():
    """A module of this checkout."""
    if "AOE_KO" in os.environ:
        return pathlib.Path(os.environ["AOE_KO"])
    built = sorted((ROOT / "build/kmod").glob("headers-1500068-amd64/aoe.ko"))
    if not built:
        run("make", "kmod", "OSVERSION=1500068", "ARCH=amd64")
        built = sorted((ROOT / "build/kmod").glob("headers-1500068-amd64/aoe.ko"))
    return built[0]


def report_address_is_in_the_module(_place):
    """The kernel's "please report this" ends with AOE_REPORT, and the manual page says that it does."""
    # Two texts, which the kernel puts together.
    for text in ("internal error, its I/O fails; please report this to ", conf()["AOE_REPORT"]):
        assert text.encode() in module().read_bytes(), f"{module()} does not say \"{text}\" (or is old: make kmod)"
    assert 'internal error, its I/O fails; please report this to %s"' in (ROOT / "man/aoe.4").read_text(encoding="utf-8")
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert conf()["AOE_REPORT"] in text and conf()["AOE_SECURITY"] in text
    for name in ("README.md", "CONTRIBUTING.md", "INSTALL.md"):
        assert "SECURITY.md" in (ROOT / name).read_text(encoding="utf-8"), f"{name} does not lead to SECURITY.md"


def dist_is_the_same_bytes(place):
    """From two clones at two places, one of which has been worked in, with another umask, time zone and language."""
    one = project(place)
    two = place / "somewhere else/two"
    run("git", "clone", "-q", one, two)
    (two / "crates/aoe-wire/src/mine.rs").write_text("// not in git\n", encoding="ascii")
    (two / "kmod/aoe.o").write_text("not in git\n", encoding="ascii")
    run("make", "dist", cwd=one)
    run("sh", "-c", "umask 077; make dist", cwd=two, TZ="Pacific/Apia", LC_ALL="C", HOME=place)
    name = f"build/aoe-{version()}.tar.xz"
    first = (one / name).read_bytes()
    assert first == (two / name).read_bytes(), "two clones make two tarballs"
    run("make", "dist", cwd=one)
    assert first == (one / name).read_bytes(), "the second time it is another"


def dist_has_what_ships_and_no_more(place):
    """Names, modes, owners and times; nothing of tests, ports and of what was made; nothing that names what is not there."""
    one = project(place)
    run("make", "dist", cwd=one)
    tracked = set(run("git", "ls-files", "-z", cwd=one).split("\0"))
    with tarfile.open(one / f"build/aoe-{version()}.tar.xz") as tar:
        members = tar.getmembers()
        text = {member.name.split("/", 1)[1]: tar.extractfile(member).read().decode() for member in members}
    assert [member.name for member in members] == sorted(member.name for member in members)
    for member in members:
        top, name = member.name.split("/", 1)
        assert top == f"aoe-{version()}" and name in tracked, member.name
        assert member.isfile() and member.mtime == 1767323045, member.name
        assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", ""), member.name
        assert member.mode in (0o644, 0o755), member.name
        assert (member.mode == 0o755) == bool((one / name).stat().st_mode & 0o100), member.name
    for name in ("tests", "port", "fuzz", "docs", ".ci", "scripts/test", "scripts/release", "crates/aoe-sim", "crates/aoe-target",
                 "crates/aoe-model", "kmod/scripts/cross.sh", "develop.mk", "kmod/Cargo.toml"):
        assert not [path for path in text if path == name or path.startswith(f"{name}/")], f"{name} ships"
    for name in ("kmod/Makefile", "rc.d/aoe", "man/aoe.4", "man/aoectl.8", "LICENSE", "SECURITY.md", "INSTALL.md", "devd/aoe.conf"):
        assert text[name] == (one / name).read_text(encoding="utf-8"), name
    assert "proptest" not in "".join(text[name] for name in text if name.endswith((".toml", ".lock")))
    for name in ("INSTALL.md", "SECURITY.md"):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", text[name]):
            assert link in text or link == "README.md", f"{name} leads to {link}, which does not ship"
    # Whatever a script or makefile that ships runs has to ship.
    for name in ("Makefile", "scripts/install", "kmod/Makefile", "kmod/scripts/build.sh", "kmod/scripts/rust.sh"):
        for path in re.findall(r"\b((?:kmod/)?scripts/[\w.]+|rc\.d/aoe|devd/[\w.]+|man/\w+\.\d)", text[name]):
            if path.endswith("scripts/cross.sh"):
                # build.sh says in words that a release has it not.
                continue
            path = path if path in text or not name.startswith("kmod/") else f"kmod/{path}"
            assert path in text, f"{name} uses {path}, which does not ship"


def dist_refuses_what_is_not_committed(place):
    """A change of what ships is no release; one of a test may stay."""
    one = project(place)
    (one / "tests/port/run").write_text("# changed\n", encoding="ascii")
    run("make", "dist", cwd=one)
    (one / "rc.d/aoe").write_text("# changed\n", encoding="ascii")
    said = run(one / "scripts/release", "dist", cwd=one, code=1)
    assert "changed and not committed: rc.d/aoe" in said, said
    run("git", "checkout", "-q", "rc.d/aoe", cwd=one)
    (one / "kmod/c/notes.txt").write_text("a stray file\n", encoding="ascii")
    run("git", "add", "kmod/c/notes.txt", cwd=one)
    run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "stray", cwd=one)
    said = run(one / "scripts/release", "dist", cwd=one, code=1)
    assert "kmod/c/notes.txt: does it ship?" in said, said


def unpacked(place):
    """The release, unpacked."""
    with tarfile.open(made(place) / f"aoe-{version()}.tar.xz") as tar:
        tar.extractall(place / "release")
    return place / f"release/aoe-{version()}"


def dist_builds_offline(place):
    """Its Cargo.lock is exactly what its manifests want, and has no crate of the tests."""
    top = unpacked(place)
    # What the lock needs for other systems is fetched too, as the port does.
    run("cargo", "fetch", "--locked", cwd=top)
    said = json.loads(run("cargo", "metadata", "--locked", "--offline", "--format-version", "1", "--quiet", cwd=top))
    locked = tomllib.loads((top / "Cargo.lock").read_text(encoding="utf-8"))["package"]
    # A lock with a package too many would be written anew, which --locked refuses.
    assert {package["name"] for package in said["packages"]} == {package["name"] for package in locked}
    whole = tomllib.loads((ROOT / "Cargo.lock").read_text(encoding="utf-8"))["package"]
    pairs = {(package["name"], package["version"]) for package in whole}
    assert all((package["name"], package["version"]) in pairs for package in locked), "other versions than were tested"
    assert {package["name"] for package in locked if package["name"].startswith("aoe")} == \
        {"aoe-wire", "aoe-core", "aoe-os", "aoectl"}


def licences_are_those_of_the_crates(place):
    """LICENSE of net/aoe names what is linked into aoectl, and the files that it names are there."""
    top = unpacked(place)
    target = "x86_64-unknown-freebsd"
    said = json.loads(run("cargo", "metadata", "--locked", "--format-version", "1", "--quiet", "--filter-platform", target,
                          cwd=top))
    packages = {package["id"]: package for package in said["packages"]}
    nodes = {node["id"]: node for node in said["resolve"]["nodes"]}
    left, linked = [pid for pid, package in packages.items() if package["name"] == "aoectl"], set()
    while left:
        pid = left.pop()
        macro = any("proc-macro" in kind["kind"] for kind in packages[pid]["targets"])
        if pid in linked or macro:
            continue
        linked.add(pid)
        left += [dep["pkg"] for dep in nodes[pid]["deps"] if None in [kind["kind"] for kind in dep["dep_kinds"]]]
    need = set()
    for pid in linked:
        words = packages[pid]["license"]
        choice = [name for name in LICENCES if name in re.split(r"\W+OR\W+|/", words)]
        assert choice, f"{packages[pid]['name']}: {words}: tests/port/release.py knows no such licence"
        need.add(LICENCES[choice[0]])
    makefile = (ROOT / "port/aoe/Makefile").read_text(encoding="ascii")
    got = set(re.search(r"^LICENSE=\t(.*)$", makefile, re.M)[1].split())
    assert got == need, f"the port says {got}, its crates {need}"
    for name, crate, file in re.findall(r"^LICENSE_FILE_(\w+)=\t\$\{WRKSRC_crate_(\w+)\}/(\S+)$", makefile, re.M):
        package = next(package for package in packages.values() if package["name"] == crate)
        assert name in got and (pathlib.Path(package["manifest_path"]).parent / file).exists(), f"{crate} has no {file}"


def port_release_makes_a_tree_ready(place):
    """Both ports with the tarball's and the crates' checksums, the files, a line each in net/Makefile, an entry in UPDATING,
    and no word in MOVED that they are gone. A second time changes nothing."""
    ports, dist = place / "ports", place / "distfiles"
    (ports / "Mk").mkdir(parents=True)
    (ports / "Mk/bsd.port.mk").touch()
    (ports / "net/aoe").mkdir(parents=True)
    (ports / "net/aoe/old").touch()
    (ports / "net/Makefile").write_text("    COMMENT = Networking tools\n\n    SUBDIR += aluminum\n    SUBDIR += aoeui\n"
                                        "\n.include <bsd.port.subdir.mk>\n", encoding="ascii")
    (ports / "UPDATING").write_text("Some words.\n\n20250101:\n  AFFECTS: users of net/other\n", encoding="ascii")
    (ports / "MOVED").write_text("net/aoe||2023-08-15|Has expired\nnet/aoeui||2023-08-15|Stays\n", encoding="ascii")
    run(SCRIPT, "port", "--worktree", ports, dist)
    before = {path: path.read_bytes() for path in sorted(ports.rglob("*")) if path.is_file()}
    lines = re.findall(r"SUBDIR \+= (\S+)", (ports / "net/Makefile").read_text(encoding="ascii"))
    assert lines == ["aluminum", "aoe", "aoe-kmod", "aoeui"], lines
    assert (ports / "MOVED").read_text(encoding="ascii") == "net/aoeui||2023-08-15|Stays\n"
    assert re.search(r"Some words\.\n\n\d{8}:\n  AFFECTS: users of net/aoe\n.*\n\n20250101:",
                     (ports / "UPDATING").read_text(encoding="ascii"), re.S)
    assert not (ports / "net/aoe/old").exists()
    tarball = f"aoe-{version()}.tar.xz"
    for port in PORTS:
        info = (ports / "net" / port / "distinfo").read_text(encoding="ascii")
        assert len(re.findall(r"^TIMESTAMP", info, re.M)) == 1
        sums = dict(re.findall(r"^SHA256 \((\S+)\) = (\w+)$", info, re.M))
        sizes = dict(re.findall(r"^SIZE \((\S+)\) = (\d+)$", info, re.M))
        assert sums.keys() == sizes.keys() and tarball in sums
        assert len(sums) == 1 or port == "aoe"
        for name, want in sums.items():
            got = run("sha256sum", dist / name).split()[0] if shutil.which("sha256sum") else \
                run("sha256", "-q", dist / name).strip()
            assert got == want and (dist / name).stat().st_size == int(sizes[name]), name
    run(SCRIPT, "port", "--worktree", ports, dist)
    assert before == {path: path.read_bytes() for path in sorted(ports.rglob("*")) if path.is_file()}
    for argv, words in (((ports,), "both have to be given"), ((place, dist), "is not a ports tree")):
        said = run(SCRIPT, "port", *argv, code=1)
        assert words in said, said


def values_go_everywhere(place):
    """What release.conf says goes into both ports and SECURITY.md, and out of them again; nonsense is refused."""
    one = project(place)
    text = (one / "release.conf").read_text(encoding="ascii")
    given = {"AOE_MASTER_SITES": "https://example.org/a/ https://example.net/b/", "AOE_WWW": "https://example.org/aoe/",
             "AOE_MAINTAINER": "me@example.org", "AOE_REPORT": "https://example.org/issues", "AOE_SECURITY": "s@example.org"}
    new = text
    for name, value in given.items():
        new = re.sub(rf'(?m)^{name}=.*$', f'{name}="{value}"', new)
    (one / "release.conf").write_text(new, encoding="ascii")
    said = run(one / "scripts/release", "values", "--check", cwd=one, code=1)
    assert "not up to date" in said and "SECURITY.md" in said, said
    run("make", "release-values", cwd=one)
    run(one / "scripts/release", "values", "--check", cwd=one)
    for port in PORTS:
        makefile = (one / "port" / port / "Makefile").read_text(encoding="ascii")
        for line in (f"MASTER_SITES=\t{given['AOE_MASTER_SITES']}", f"MAINTAINER=\t{given['AOE_MAINTAINER']}",
                     f"WWW=\t\t{given['AOE_WWW']}"):
            assert f"\n{line}\n" in makefile, f"{port}: {line}"
    assert "https://example.org/issues" in (one / "SECURITY.md").read_text(encoding="utf-8")
    (one / "release.conf").write_text(text, encoding="ascii")
    run("make", "release-values", cwd=one)
    assert run("git", "status", "--porcelain", cwd=one) == ""
    for line, words in (('AOE_REPORT=""', "AOE_REPORT is empty"), ('AOE_WWW="$(id)"', 'is not NAME="value"'),
                        ('AOE_MASTER_SITES="https://example.org/a"', "has no slash"), ('AOE_OTHER="x"', "missing or unknown")):
        name = line.split("=")[0]
        bad = re.sub(rf"(?m)^{name}=.*$", lambda _, word=line: word, text) if name in text else text + line + "\n"
        (one / "release.conf").write_text(bad, encoding="ascii")
        said = run(one / "scripts/release", "values", "--check", cwd=one, code=1)
        assert words in said, said


def make_install_and_deinstall(place):
    """`make install` of a release whose sources are not written to: aoectl on Linux; everything on FreeBSD, whose uname,
    make and kldxref are played here, since the module's own build is another test's."""
    top = unpacked(place)
    if os.uname().sysname == "FreeBSD":
        raise Skip("on FreeBSD `make install` itself is the test")
    run("cargo", "fetch", "--locked", cwd=top)
    before = tree(top)
    build, dest = place / "build", place / "dest"
    quick = {"CARGO_PROFILE_RELEASE_LTO": "off", "CARGO_PROFILE_RELEASE_OPT_LEVEL": 0, "CARGO_PROFILE_RELEASE_DEBUG": 0,
             "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": 16, "CARGO_NET_OFFLINE": "true"}
    words = (f"AOE_BUILD={build}", f"DESTDIR={dest}", "PREFIX=/opt/aoe")
    run("make", "install", *words, cwd=top, **quick)
    tools = {"/opt/aoe/sbin/aoectl": 0o555, "/opt/aoe/share/man/man8/aoectl.8": 0o444} | \
        {f"/opt/aoe/sbin/{name}": "aoectl" for name in LINKS}
    assert tree(dest) == tools, tree(dest).items() ^ tools.items()
    assert run(dest / "opt/aoe/sbin/aoectl", "--version") == f"aoectl {version()}\n"
    assert "the module is for FreeBSD" in run("make", "install-module", *words, cwd=top, code=2, **quick)
    assert "it builds the module on FreeBSD only" in run("make", "kmod", *words, cwd=top, code=2)
    run("make", "deinstall", *words, cwd=top)
    assert not tree(dest), tree(dest)
    shims = place / "bin"
    shims.mkdir()
    src = place / "src/sys/sys"
    src.mkdir(parents=True)
    (src / "param.h").write_text("#define __FreeBSD_version 1500068\n", encoding="ascii")
    for name, text in (("uname", 'case $1 in -p) echo amd64 ;; *) echo FreeBSD ;; esac'), ("kldxref", f"echo x > {place}/xref"),
                       ("make", 'for w; do case $w in MAKEOBJDIR=*) echo module > "${w#*=}/aoe.ko" ;; esac; done')):
        (shims / name).write_text(f"#!/bin/sh\n{text}\n", encoding="ascii")
        (shims / name).chmod(0o755)
    env = {"PATH": f"{shims}:{os.environ['PATH']}", "AOE_BUILD": build, "DESTDIR": dest, "PREFIX": "/opt/aoe",
           "SYSDIR": src.parent} | quick
    run("sh", "scripts/install", "install", cwd=top, **env)
    everything = tools | {"/boot/modules/aoe.ko": 0o555, "/opt/aoe/etc/rc.d/aoe": 0o555, "/opt/aoe/etc/devd/aoe.conf": 0o644,
                          "/opt/aoe/share/man/man4/aoe.4": 0o444}
    assert tree(dest) == everything, tree(dest).items() ^ everything.items()
    assert not (place / "xref").exists(), "the running system was told of what is in DESTDIR"
    (dest / "opt/aoe/etc/devd/aoe.conf").write_text("# mine\n", encoding="ascii")
    run("sh", "scripts/install", "install", cwd=top, **env)
    assert (dest / "opt/aoe/etc/devd/aoe.conf").read_text(encoding="ascii") == "# mine\n"
    assert "was changed and stays" in run("sh", "scripts/install", "deinstall", cwd=top, **env)
    assert set(tree(dest)) == {"/opt/aoe/etc/devd/aoe.conf"}
    assert tree(top) == before, f"the sources were written to: {tree(top).items() ^ before.items()}"
