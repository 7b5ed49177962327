# SPDX-License-Identifier: BSD-2-Clause
"""What programs that look at ports say of ours. Each warning that stays is listed with the reason."""
import os
import re
import shutil
import subprocess
import sys
import venv

from framework import PORTS, ROOT, Real, Skip, Stub, trees

PNU = "pnu-portstreelint==1.4.2"
PNU_KNOWN = {"Empty www-site": "the project has no home page until whoever publishes it sets AOE_WWW in release.conf",
             "Diverging categories between Index and Makefile": "USES=kmod adds kld, as for every module"}
# What portlint says of each port and why it stays so.
PORTLINT_KNOWN = {
    r"new ports should not be maintained by ports@FreeBSD\.org": "AOE_MAINTAINER in release.conf is for who publishes to set",
    r"WWW should exist and immediately follow COMMENT": "so is AOE_WWW",
    r"no MASTER_SITES found": "so is AOE_MASTER_SITES",
    r"use of DISTFILES with single file discouraged": "USES=cargo adds the crates, and then there is no default",
    r"DISTFILES/DISTNAME affects WRKSRC": "it has the default's value",
    r'"IGNORE" has to appear earlier': "it depends on SRC_BASE, which bsd.port.options.mk sets",
    r'(pkg-message|Makefile): possible use of absolute pathname "/(dev/aoed70|boot/modules)': "a device and the kernel's own folder",
    r"Consider to set DEVELOPER=yes": "advice about the machine and not about the port"}
# Why a port is not built: which, with which variables, in which words. PLACE is the test's folder.
REASONS = [("aoe-kmod", {"OSVERSION": 1304000, "SRC_BASE": "PLACE/src"}, "requires FreeBSD 14.0 or later"),
           ("aoe-kmod", {"SRC_BASE": "PLACE/nothing"}, "requires kernel source files in SRC_BASE="),
           ("aoe-kmod", {"OSVERSION": 1402000}, "requires kernel sources of this release, 1402000: those in SRC_BASE="),
           ("aoe-kmod", {"OSVERSION": 1501000}, "requires kernel sources of this release, 1501000: those in SRC_BASE="),
           ("aoe-kmod", {"CC": "gcc13"}, "requires clang, and CC is gcc13"),
           ("aoe-kmod", {"ARCH": "i386"}, "is only for aarch64 amd64"),
           ("aoe", {"OSVERSION": 1304000}, "requires FreeBSD 14.0 or later"),
           ("aoe", {"ARCH": "i386"}, "is only for aarch64 amd64")]


def portstreelint(place):
    """The lint of whole ports trees, on a tree that has the ports in it.

    It runs on FreeBSD only, because it asks the system for the name of the tree's index; here it is told one."""
    home = ROOT / "build/portstreelint"
    python = home / "bin/python3"
    if not (home / "ready").exists():
        try:
            venv.create(home, with_pip=True, clear=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", PNU], check=True, capture_output=True)
        except (subprocess.CalledProcessError, OSError) as error:
            raise Skip(f"{PNU} could not be installed: {error}") from None
        (home / "ready").touch()
    stub = Stub(place, place)
    ports = place / "ports"
    index = ""
    for name in PORTS:
        shutil.copytree(ROOT / "port" / name, ports / "net" / name, ignore=shutil.ignore_patterns("work"))
        index += stub.make(name, "describe").stdout
    (ports / "INDEX-15").write_text(index, encoding="ascii")
    program = ("import sys, logging; sys.platform = 'freebsd15'; import portstreelint.main; "
               "m = sys.modules['portstreelint.main']; m.parameters['Checks']['Vulnerabilities'] = False; m.main()")
    done = subprocess.run([python, "-c", program, "--nocfg", "--info", "--tree", ports], capture_output=True, text=True,
                          check=False, env=os.environ | {"HOME": str(place)})
    said = done.stdout + done.stderr
    assert done.returncode == 0 and re.search(r"Loaded 2 ports", said), said
    found = {match[1].strip() for match in re.finditer(r"(?:ERROR|WARNING): ?(.*?) for port aoe", said)}
    assert found and found <= set(PNU_KNOWN), said


def portlint(place):
    """portlint of each tree that has it, or the installed one, in the strictest way."""
    installed = shutil.which("portlint")
    tried = False
    for tree in trees():
        program = installed or tree / "ports-mgmt/portlint/src/portlint.pl"
        if not os.path.exists(program):
            continue
        tried = True
        real = Real(place, tree, place / "dist")
        (real.place / "bin").mkdir(exist_ok=True)
        for name in PORTS:
            # portlint calls make by its name, and asks only for variables.
            call = " ".join(f"'{word}'" for word in real.argv(name))
            (real.place / "bin/make").write_text(f'#!/bin/sh\nexec {call} "$@"\n', encoding="ascii")
            (real.place / "bin/make").chmod(0o755)
            env = real.environment() | {"PORTSDIR": str(real.portsdir), "PATH": f"{real.place}/bin:{os.environ['PATH']}"}
            done = subprocess.run(["perl", program, "-AC"], cwd=real.port(name), capture_output=True, text=True, check=False,
                                  env=env)
            said = re.findall(r"^(?:FATAL|WARN): (.*)$", done.stdout + done.stderr, re.M)
            unknown = [line for line in said if not any(re.search(known, line) for known in PORTLINT_KNOWN)]
            assert not unknown, f"{tree.name} {name}:\n" + "\n".join(unknown)
            assert re.search(r"^0 fatal errors and \d+ warnings? found", done.stdout, re.M) or "looks fine" in done.stdout, \
                done.stdout + done.stderr
    if not tried:
        raise Skip("neither is portlint installed nor has a tree its sources")


def portfmt(_place):
    """portfmt and portclippy have nothing to change."""
    programs = [os.environ.get("PORTFMT") or shutil.which("portfmt"),
                os.environ.get("PORTCLIPPY") or shutil.which("portclippy")]
    if None in programs:
        raise Skip("portfmt and portclippy are not installed (PORTFMT and PORTCLIPPY name them)")
    for name in PORTS:
        makefile = ROOT / "port" / name / "Makefile"
        for argv in ([programs[0], "-D", makefile], [programs[1], makefile]):
            done = subprocess.run(argv, capture_output=True, text=True, check=False, env=os.environ | {"NO_COLOR": "1"})
            assert not done.stdout and not done.stderr, f"{argv[0]} {name}:\n{done.stdout}{done.stderr}"


if __name__ == "__main__":
    sys.exit("run tests/port/run portlint portfmt portstreelint, or make -C port check")
