# SPDX-License-Identifier: BSD-2-Clause
"""The ports under the real framework, in the trees that AOE_PORTS_TREES names; and the stub compared with it, rule by rule.

On another system than FreeBSD, cargo builds aoectl for that system, and the module is a finished one, or is built by
bsd.kmod.mk for FreeBSD if AOE_PORTS_SRC names its sources. What needs pkg(8) or the kernel is not done here: stage-qa,
package, install, deinstall.
"""
import os
import pathlib
import re
import shutil
import subprocess

import lint
import release
from framework import PORTS, ROOT, Real, Skip, Stub, bmake, tree, trees

# Variables that must have the same words in both; what the framework adds that the stub says it has not is taken away.
VARIABLES = ("PKGNAME", "PKGBASE", "PORTVERSION", "DISTNAME", "DISTFILES", "CATEGORIES", "BUILD_DEPENDS", "RUN_DEPENDS",
             "KMODDIR", "SUB_FILES", "EXTRACT_SUFX", "CARGO_CRATES", "IGNORE", "STRIP_CMD:T", "BUILD_WRKSRC:S,${WRKDIR}/,,",
             "WRKSRC:S,${WRKDIR}/,,", "STAGEDIR:S,${WRKDIR}/,,", "WRKDIR:S,${.CURDIR}/,,:S,${WRKDIRPREFIX},,:T",
             "PLIST_SUB:MKMODDIR=*", "SUB_LIST:MPREFIX=*", "MAKE_ENV:MSYSDIR=*:S,${SRC_BASE},,", "MAKE_ENV:MKMODDIR=*",
             "MAKE_ENV:MNO_XREF=*", "PLIST_FILES:N*/share/licenses/*", "PREFIX", "SRC_BASE:T")
# How files are installed: the mode is what counts.
COMMANDS = ("INSTALL_KLD", "INSTALL_SCRIPT", "INSTALL_DATA", "INSTALL_MAN")
# What the two keywords of our lists do; the stub's install and deinstall do the same by other words.
KEYWORDS = {"sample": (r"pkg\.copy\(sample_file, target_file\)", r"pkg\.filecmp\(sample_file, target_file\) == 0",
                       r"os\.remove\(target_file\)", r"You may need to manually remove .* if it is no longer needed"),
            "kld": (r"post-install.*/usr/sbin/kldxref \$\{PKG_ROOTDIR\}\$\{kmoddir\}", r"post-deinstall.*kldxref")}


def plain(words):
    """Words of a value without what stands for the same: quotes, and the group of a distfile."""
    words = re.sub(r'"', "", words)
    return sorted(re.sub(r":_cargo_\d+$", "", word) for word in words.split())


def finished(framework, name, module):
    """A build that is done: the module where bsd.kmod.mk would have put it."""
    obj = pathlib.Path(framework.value(name, "WRKDIR")) / "obj"
    obj.mkdir()
    shutil.copy(module, obj / "aoe.ko")
    pathlib.Path(framework.value(name, "BUILD_COOKIE")).touch()


def succeed(framework, name, *words, **variables):
    """make, which has to."""
    done = framework.make(name, *words, **variables)
    assert done.returncode == 0, f"{framework.portsdir}: {name}: {words}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def plist(framework, name):
    """The lines of the list, without licences and what the framework resets."""
    lines = pathlib.Path(framework.value(name, "TMPPLIST")).read_text(encoding="ascii").splitlines()
    return sorted(line for line in lines if "/share/licenses/" not in line and line not in ("@owner", "@group", "@mode"))


def staged(framework, name):
    """The staged files, without licences."""
    found = tree(framework.value(name, "STAGEDIR"))
    return {path: mode for path, mode in found.items() if "/share/licenses/" not in path}


def stub_is_like_the_framework(place):
    """Variables, staged files with their modes, lists, checks of the list, keywords and the line of the index: what the
    stub has, every tree has."""
    files = {"AOE_STUB_KO": release.module().resolve(), "AOE_STUB_AOECTL": pathlib.Path("/bin/true").resolve()}
    stub = Stub(place, release.made(place))
    for number, folder in enumerate(trees()):
        real = Real(place / str(number), folder, place / "dist")
        real.sources(1500068)
        for name in PORTS:
            where = f"{folder.name}: {name}"
            for variable in VARIABLES:
                mine, theirs = plain(stub.value(name, variable, **files)), plain(real.value(name, variable))
                if variable == "PKGNAME" and mine != theirs:
                    # Newer trees put the release into the version of a module's package.
                    theirs = [word.removesuffix(".1500068") for word in theirs]
                assert mine == theirs, f"{where}: {variable}: the stub has {mine}, the framework {theirs}"
            for command in COMMANDS:
                modes = [re.search(r"-m (\d+)", each.value(name, command))[1].lstrip("0") for each in (stub, real)]
                assert modes[0] == modes[1], f"{where}: {command}: {modes}"
        # cargo's part of the framework's is another test's, and takes minutes: what it installs is put there.
        cargo = place / f"cargo{number}"
        cargo.write_text("#!/bin/sh\n[ \"$1\" = install ] || exit 0\nwhile [ \"$1\" != --root ]; do shift; done\n"
                         "mkdir -p \"$2/bin\"\ncp /bin/true \"$2/bin/aoectl\"\nchmod 755 \"$2/bin/aoectl\"\n", encoding="ascii")
        cargo.chmod(0o755)
        succeed(real, "aoe-kmod", "configure")
        finished(real, "aoe-kmod", files["AOE_STUB_KO"])
        for name in PORTS:
            succeed(real, name, "stage", CARGO=cargo)
            succeed(stub, name, "check-plist", **files)
            assert staged(stub, name) == staged(real, name), staged(stub, name).items() ^ staged(real, name).items()
            assert plist(stub, name) == plist(real, name), f"{plist(stub, name)} {plist(real, name)}"
        rc = [pathlib.Path(each.value("aoe", "STAGEDIR")) / "usr/local/etc/rc.d/aoe" for each in (stub, real)]
        assert rc[0].read_bytes() == rc[1].read_bytes()
        for keyword, patterns in KEYWORDS.items():
            text = (folder / f"Keywords/{keyword}.ucl").read_text(encoding="utf-8")
            for pattern in patterns:
                assert re.search(pattern, text, re.S), f"{folder.name}: Keywords/{keyword}.ucl has no longer {pattern}"
        mtree = (folder / "Templates/BSD.local.dist").read_text(encoding="utf-8").split()
        for part in re.search(r"_AOE_STUB_DIRS=\t(.*)", (stub.portsdir / "Mk/bsd.port.mk").read_text())[1].split():
            assert set(part.split("/")) <= set(mtree), f"{folder.name}: BSD.local.dist makes no {part}"
        # What is too much and too little in a list is said in the same words.
        for each in (stub, real):
            changed = place / "pkg-plist"
            changed.write_text((ROOT / "port/aoe/pkg-plist").read_text(encoding="ascii").replace("sbin/aoecfg", "sbin/nonesuch"),
                               encoding="ascii")
            extra = files if each is stub else {"CARGO": cargo}
            if each is real:
                shutil.rmtree(each.value("aoe", "STAGEDIR"))
                pathlib.Path(each.value("aoe", "STAGE_COOKIE")).unlink()
            done = each.make("aoe", "check-plist", PLIST=changed, **extra)
            said = done.stdout + done.stderr
            assert done.returncode != 0, said
            assert re.search(r"Error: Missing: .*sbin/nonesuch", said) and re.search(r"Error: Orphaned: .*sbin/aoecfg", said), said


def scripts_and_messages_are_in_the_package(place):
    """What create-manifest hands to pkg(8): pkg-install whole, as the script for both ends of the installation, and every
    pkg-message whole. That pkg(8) calls the script with PRE-INSTALL and POST-INSTALL, as the stub does, is not shown here."""
    for number, folder in enumerate(trees()):
        real = Real(place / str(number), folder, place / "dist")
        for name in PORTS:
            # No package is there to depend on.
            succeed(real, name, "create-manifest", PKG_BIN="/bin/true")
            # Newer trees name it after the package.
            metadir, = pathlib.Path(real.value(name, "WRKDIR")).glob(".metadir*")
            port = real.port(name)
            scripts = sorted(path.name for path in metadir.iterdir() if path.name not in ("+DESC", "+DISPLAY", "+MANIFEST"))
            assert scripts == (["+INSTALL"] if (port / "pkg-install").exists() else []), f"{folder.name}: {name}: {scripts}"
            if scripts:
                assert (metadir / "+INSTALL").read_bytes() == (port / "pkg-install").read_bytes()
            display = (metadir / "+DISPLAY").read_text(encoding="utf-8")
            message = (port / "pkg-message").read_text(encoding="ascii").splitlines()
            assert message[0] == "[" and message[-1] == "]", message
            assert "\n".join(message[1:-1]) in display, f"{folder.name}: {name}: {display}"
            assert (metadir / "+DESC").read_text(encoding="utf-8").startswith((port / "pkg-descr").read_text(encoding="ascii"))


def reasons_are_told_by_the_framework(place):
    """Each reason not to build is IGNORE for the framework too, and ends `make install` before anything is fetched; and a
    make that is asked for another variable reads no file."""
    for number, folder in enumerate(trees()):
        here = place / str(number)
        real = Real(here, folder, place / "dist")
        for name in PORTS:
            assert real.value(name, "IGNORE") == "", f"{folder.name}: {name}: {real.value(name, 'IGNORE')}"
        for name, variables, words in lint.REASONS:
            variables = {key: str(value).replace("PLACE", str(real.place)) for key, value in variables.items()}
            got = real.value(name, "IGNORE", **variables)
            assert words in got, f"{folder.name}: {name} {variables}: IGNORE is \"{got}\""
            done = real.make(name, "install", **variables)
            said = done.stdout + done.stderr
            assert done.returncode != 0 and words in said and "Extracting" not in said, f"{folder.name}: {variables}: {said}"
        for sources, count in ((real.place / "src", 0), (real.place / "nothing", 1)):
            said = succeed(real, "aoe", "pre-everything", SRC_BASE=sources)
            assert said.count("there are none in SRC_BASE=") == count, said
        marked = {"SED": f"echo x >> {place}/forks; sed"}
        for words, count in ((("-V", "PKGNAME"), 0), (("-V", "IGNORE"), 1)):
            (place / "forks").write_text("", encoding="ascii")
            succeed(real, "aoe-kmod", *words, **marked)
            got = (place / "forks").read_text(encoding="ascii").count("x")
            assert got == count, f"{folder.name}: {words}: param.h was read {got} times"


def framework_builds_and_stages(place):
    """checksum, extract, patch, configure, build, stage and check-plist of both ports by the real framework, offline; cargo.mk
    builds and installs aoectl, for this system if it is not FreeBSD."""
    for number, folder in enumerate(trees()):
        real = Real(place / str(number), folder, place / "dist")
        env = {"CARGO_NET_OFFLINE": "true"}
        # Newer frameworks start everything with an environment of their own: nothing may depend on the caller's.
        empty = {"SETENV": f"/usr/bin/env -i PATH={real.environment()['PATH']}"}
        for name in PORTS:
            said = succeed(real, name, "checksum")
            assert f"SHA256 Checksum OK for aoe-{release.version()}.tar.xz" in said, said
            succeed(real, name, "configure", environment=env, **empty)
        finished(real, "aoe-kmod", release.module())
        succeed(real, "aoe", "build", environment=env, **empty)
        for name in PORTS:
            succeed(real, name, "stage", environment=env, **empty)
            if shutil.which("bsdtar"):
                assert "No pkg-plist issues found" in succeed(real, name, "check-plist"), name
        stage = pathlib.Path(real.value("aoe", "STAGEDIR"))
        aoectl = stage / "usr/local/sbin/aoectl"
        assert release.run(aoectl, "--version") == f"aoectl {release.version()}\n"
        sections = subprocess.run(["readelf", "-S", aoectl], capture_output=True, text=True, check=False).stdout
        assert ".text" in sections and ".debug_info" not in sections, "aoectl is not stripped"
        licences = sorted(path.name for path in stage.glob("usr/local/share/licenses/*/*"))
        assert licences == ["BSD2CLAUSE", "LICENSE", "MIT", "ZLIB", "catalog.mk"], licences
        # A distfile that is not what distinfo says.
        with open(place / f"dist/aoe-{release.version()}.tar.xz", "ab") as file:
            file.write(b"x")
        done = real.make("aoe-kmod", "clean", "extract")
        assert done.returncode != 0 and "Checksum mismatch" in done.stdout + done.stderr, done.stdout + done.stderr


def module_is_built_by_its_makefiles(place):
    """The module by bsd.kmod.mk, under the framework, from AOE_PORTS_SRC: everything that is made is outside of the sources;
    gcc is refused in words."""
    src = os.environ.get("AOE_PORTS_SRC")
    if not src:
        raise Skip("no FreeBSD sources were given (AOE_PORTS_SRC): bsd.kmod.mk was not tried")
    src = pathlib.Path(src).resolve()
    text = (src / "sys/sys/param.h").read_text(encoding="utf-8")
    version = int(re.search(r"^#define __FreeBSD_version (\d+)", text, re.M)[1])
    real = Real(place, trees()[0], place / "dist")
    env, share = {}, None
    given = {"SRC_BASE": src, "OSVERSION": version, "MAKE_CMD": bmake()}
    if os.uname().sysname != "FreeBSD":
        # kmod_syms.awk means what FreeBSD's awk reads; another one loops for ever.
        awk = shutil.which("original-awk")
        if awk is None:
            raise Skip("FreeBSD's awk is not here (Debian: original-awk): bsd.kmod.mk was not tried")
        (real.place / "bin/awk").symlink_to(awk)
        tools = dict(re.findall(r"^export (\w+)='(.*)'$", (ROOT / "build/tools/env").read_text(encoding="utf-8"), re.M))
        given |= {name: tools[name] for name in ("LD", "AR", "OBJCOPY", "RUSTC", "BINDGEN")}
        given |= {"CC": f"{tools['CC']} -target x86_64-unknown-freebsd{version // 100000}.{version // 1000 % 100}",
                  "MACHINE": "amd64", "MACHINE_ARCH": "amd64", "MACHINE_CPUARCH": "amd64"}
        env = {"NM": tools["NM"]}
        (real.place / "bin/xargs").write_text('#!/bin/sh\nif [ "$1" = -J ]; then\n\tcommand=$3\n\tshift 4\n'
                                              '\texec "$command" $(cat) "$@"\nfi\nexec /usr/bin/xargs "$@"\n', encoding="ascii")
        (real.place / "bin/xargs").chmod(0o755)
        share = src / "share/mk"
    real.share = share
    succeed(real, "aoe-kmod", "configure", **given)
    wrksrc = pathlib.Path(real.value("aoe-kmod", "WRKSRC", **given))
    before = tree(wrksrc)
    succeed(real, "aoe-kmod", "stage", environment=env, **given)
    assert tree(wrksrc) == before, f"the sources were written to: {sorted(set(tree(wrksrc)) ^ set(before))}"
    module = pathlib.Path(real.value("aoe-kmod", "STAGEDIR", **given)) / "boot/modules/aoe.ko"
    assert release.conf()["AOE_REPORT"].encode() in module.read_bytes()
    assert str(wrksrc).encode() not in module.read_bytes(), "the module tells where it was built"
    sections = subprocess.run(["readelf", "-S", module], capture_output=True, text=True, check=False).stdout
    assert ".text" in sections and ".debug_info" not in sections, "aoe.ko is not stripped"
    globals_ = subprocess.run(["nm", "-g", "--defined-only", module], capture_output=True, text=True, check=False).stdout
    assert not re.search(r" [A-Z] aoe_rs_", globals_), "names of the module can be seen by others"
    gcc = given | {"CC": "/usr/bin/gcc"}
    argv = [word for word in real.argv("aoe-kmod", **gcc) if not word.startswith(("WRKDIRPREFIX", "MAKE_CMD"))]
    done = subprocess.run([*argv, f"SYSDIR={src}/sys", "-C", wrksrc / "kmod", "all"], capture_output=True, text=True, check=False,
                          env=real.environment() | {"MAKEOBJDIR": str(place / "obj")})
    assert done.returncode != 0 and "is built by clang" in done.stdout + done.stderr, done.stdout + done.stderr
