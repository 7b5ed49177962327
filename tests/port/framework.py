# SPDX-License-Identifier: BSD-2-Clause
"""A ports framework to try the ports with: the stub, which is always there, or a real tree.

Trees are named by AOE_PORTS_TREES (folders, separated by colons). They are not changed: the ports are put into a tree of
links beside a copy of what `make port-release` edits. On systems other than FreeBSD the framework is told where the
commands are that it looks for in FreeBSD's places, and that the system is FreeBSD.
"""
import os
import pathlib
import re
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
STUB = HERE / "stub"
PORTS = ("aoe", "aoe-kmod")
SHA256 = """#!/bin/sh
[ "${1:-}" = -q ] && shift
if [ $# -eq 0 ]; then
	sha256sum | cut -d ' ' -f 1
else
	for file; do sha256sum "$file" | cut -d ' ' -f 1; done
fi
"""
# cargo.mk asks the kernel by a program whether it has COMPAT_FREEBSD11, which no other kernel can answer.
CC = """#!/bin/sh
case " $* " in
*/compat11_canary\\ *)
	cat > /dev/null
	cp /bin/true "$2"
	;;
*) exec {cc} "$@" ;;
esac
"""
# The folders of a file for mtree(8): mtree -... -f FILE ... -p FOLDER.
MTREE = """#!/usr/bin/env python3
import os, sys
words = sys.argv[1:]
file, place = words[words.index("-f") + 1], [words[words.index("-p") + 1]]
for line in open(file):
    name = (line.split("#")[0].split() or ["/set"])[0]
    if name == "..":
        place.pop()
    elif not name.startswith("/"):
        place.append(name)
        os.makedirs("/".join(place), exist_ok=True)
"""
# What the framework's scripts ask of commands in the way that only FreeBSD's have.
FIND = """#!/bin/sh
case " $* " in
*" -s "*)
	for word; do
		shift
		case $word in
		-s | -d) ;;
		*) set -- "$@" "$word" ;;
		esac
	done
	/usr/bin/find "$@" | sort -r
	;;
*) exec /usr/bin/find "$@" ;;
esac
"""
SED = """#!/bin/bash
[ "$1" = -i ] && [ "$2" = "" ] && set -- -i "${@:3}"
exec /bin/sed "$@"
"""
MKTEMP = """#!/bin/sh
[ "$1" = -t ] && set -- -t "$2.XXXXXX"
exec /bin/mktemp "$@"
"""
TAR = """#!/bin/sh
exec bsdtar "$@"
"""


class Skip(Exception):
    """The machine lacks something that the test needs."""


def bmake():
    """The make of FreeBSD."""
    for name in ("bmake", "make"):
        path = shutil.which(name)
        if path and (name == "bmake" or os.uname().sysname == "FreeBSD"):
            return path
    raise Skip("bmake is not installed")


def system_makefiles():
    """Where bmake's own sys.mk is: `-m` puts other places before it, and it must not get lost."""
    for place in ("/usr/share/bmake/mk-bmake", "/usr/share/mk"):
        if os.path.exists(f"{place}/sys.mk"):
            return ["-m", place]
    raise Skip("bmake has no sys.mk")


def trees():
    """The real trees that were given."""
    found = [pathlib.Path(word) for word in os.environ.get("AOE_PORTS_TREES", "").split(":") if word]
    if not found:
        raise Skip("no ports tree was given (AOE_PORTS_TREES): the real framework was not tried")
    for tree in found:
        assert (tree / "Mk/bsd.port.mk").exists(), f"AOE_PORTS_TREES: {tree} is not a ports tree"
    return found


def toolchain():
    """The compiler itself: rustup's stand-ins look for their settings where cargo.mk says that there is nothing."""
    rustc = shutil.which("rustc")
    if rustc is None:
        raise Skip("there is no rustc")
    root = subprocess.run([rustc, "--print", "sysroot"], capture_output=True, text=True, check=True).stdout.strip()
    found = {}
    for name, tool in (("CARGO", "cargo"), ("RUSTC", "rustc"), ("RUSTDOC", "rustdoc")):
        path = f"{root}/bin/{tool}"
        found[name] = path if os.path.exists(path) else shutil.which(tool)
    return found


class Framework:
    """What both have: bmake with variables."""

    def __init__(self, place, portsdir, distdir):
        self.place = pathlib.Path(place)
        self.portsdir = pathlib.Path(portsdir)
        self.distdir = pathlib.Path(distdir)
        # Where FreeBSD's makefiles are, if not where the stub's are.
        self.share = None

    def port(self, name):
        """The folder of a port."""
        raise NotImplementedError

    def given(self, name):
        """Variables that every call has."""
        return {"PORTSDIR": self.portsdir, "DISTDIR": self.distdir, "ARCH": "amd64", "OSVERSION": 1500068,
                "OPSYS": "FreeBSD", "SRC_BASE": self.place / "src", "WRKDIRPREFIX": self.place / "work"}

    def make(self, name, *words, environment=(), **variables):
        """bmake on a port; the CompletedProcess."""
        argv = [*self.argv(name, **variables), "-C", str(self.port(name)), *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False, env=self.environment() | dict(environment),
                              stdin=subprocess.DEVNULL)

    def argv(self, name, **variables):
        """The call of make, without what is to be made."""
        words = [bmake(), *(["-m", self.share] if self.share else ["-m", STUB / "share-mk", *system_makefiles()])]
        given = self.given(name) | variables
        words += [f"{key}={value}" for key, value in given.items() if value is not None]
        return [str(word) for word in words]

    def environment(self):
        """What make finds in its environment."""
        return {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "AOE_"))}

    def value(self, name, variable, **variables):
        """A variable of a port, in words; with modifiers if it has a colon."""
        done = self.make(name, "-V", f"${{{variable}}}" if ":" in variable else variable, **variables)
        assert done.returncode == 0 and not done.stderr, done.stderr
        return " ".join(done.stdout.split())

    def sources(self, version):
        """Kernel sources, as far as the ports look at them."""
        include = self.place / "src/sys/sys"
        include.mkdir(parents=True, exist_ok=True)
        (self.place / "src/sys/Makefile").touch()
        (include / "param.h").write_text(" * __FreeBSD_version numbers are documented elsewhere\n"
                                         f"#define __FreeBSD_version {version}\t/* Master */\n", encoding="ascii")


class Stub(Framework):
    """The stub, on the ports where they are."""

    def __init__(self, place, distdir):
        super().__init__(place, STUB, distdir)
        self.sources(1500068)

    def port(self, name):
        return ROOT / "port" / name


class Real(Framework):
    """A real tree, made ready by `make port-release`."""

    def __init__(self, place, tree, distdir):
        place = pathlib.Path(place) / re.sub(r"[^\w.-]", "_", tree.name)
        super().__init__(place, place / "ports", distdir)
        self.portsdir.mkdir(parents=True)
        (self.portsdir / "net").mkdir()
        for path in tree.iterdir():
            if path.name in ("UPDATING", "MOVED"):
                shutil.copy(path, self.portsdir / path.name)
            elif path.name != "net":
                (self.portsdir / path.name).symlink_to(path.resolve())
        if (tree / "net/Makefile").exists():
            shutil.copy(tree / "net/Makefile", self.portsdir / "net/Makefile")
        else:
            (self.portsdir / "net/Makefile").write_text("    COMMENT = Networking tools\n\n    SUBDIR += 3proxy\n"
                                                        "    SUBDIR += zebedee\n\n.include <bsd.port.subdir.mk>\n")
        done = subprocess.run([ROOT / "scripts/release", "port", "--worktree", self.portsdir, distdir], capture_output=True,
                              text=True, check=False)
        assert done.returncode == 0, done.stderr
        self.commands = {} if os.uname().sysname == "FreeBSD" else self.linux_commands(tree)
        self.sources(1500068)

    def port(self, name):
        return self.portsdir / "net" / name

    def linux_commands(self, tree):
        """Where this system has the commands that bsd.commands.mk looks for elsewhere; and what only FreeBSD has."""
        found = {}
        text = (tree / "Mk/bsd.commands.mk").read_text(encoding="utf-8")
        for name, path in re.findall(r"^(\w+)\?=\s+(/\S+)$", text, re.M):
            here = shutil.which(os.path.basename(path))
            if not os.path.exists(path) and here:
                found[name] = here
        tools = self.place / "bin"
        tools.mkdir()
        for name, script in (("sha256", SHA256), ("canary-cc", CC.replace("{cc}", shutil.which("cc"))), ("mtree", MTREE),
                             ("find", FIND), ("sed", SED), ("mktemp", MKTEMP), ("tar", TAR)):
            (tools / name).write_text(script, encoding="ascii")
            (tools / name).chmod(0o755)
        # The folders of FreeBSD's own that a port may use without listing them.
        scripts = self.place / "Scripts"
        shutil.copytree(tree / "Mk/Scripts", scripts)
        mtree = self.place / "mtree"
        mtree.mkdir()
        for name in ("BSD.root.dist", "BSD.usr.dist", "BSD.var.dist"):
            lines = ["#", "/set type=dir uname=root gname=wheel mode=0755", "."]
            lines += ["boot", "modules", "..", ".."] if name == "BSD.root.dist" else []
            (mtree / name).write_text("\n".join([*lines, "..", ""]), encoding="ascii")
        script = scripts / "check-stagedir.sh"
        text = script.read_text(encoding="utf-8").replace("/etc/mtree/", f"{mtree}/").replace("/bin/sh ", "/bin/bash ")
        script.write_text(text, encoding="utf-8")
        found["SCRIPTSDIR"] = scripts
        # Its scripts use `set -o pipefail`, which sh is not bound to have.
        found |= {"SHA256": tools / "sha256", "SH": shutil.which("bash"), "FETCH_CMD": "false", "FMT_80": "cat",
                  "CC": tools / "canary-cc", "MTREE_CMD": tools / "mtree",
                  "CARGO_BUILD_TARGET": f"{os.uname().machine}-unknown-linux-gnu"}
        return found

    def environment(self):
        env = super().environment()
        if self.commands:
            env["PATH"] = f"{self.place}/bin:{env['PATH']}"
        return env | {"LC_ALL": "C"}

    def argv(self, name, **variables):
        version = int(variables.get("OSVERSION", 1500068))
        return super().argv(name, _OSRELEASE=f"{version // 100000}.{version // 1000 % 100}-RELEASE", **variables)

    def given(self, name):
        fixed = {"UID": os.getuid(), "BATCH": "yes", "NO_DEPENDS": "yes",
                 "LOCALBASE": "/usr/local", "INDEXFILE": "INDEX-15"}
        return super().given(name) | fixed | toolchain() | self.commands


def tree(place):
    """Files below a directory: their mode, or where a link leads."""
    found = {}
    for path in sorted(pathlib.Path(place).rglob("*")):
        name = f"/{path.relative_to(place)}"
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = path.stat().st_mode & 0o7777
    return found
