# SPDX-License-Identifier: BSD-2-Clause
"""What is run, and with what: options, environment, and the tar that goes into the guest."""

import argparse
import os
import subprocess
import tarfile

from .kernelfile import packaged_version
from .util import HarnessError

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOP = os.path.dirname(os.path.dirname(HERE))
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "aoe-vm")

#: For a kernel that qemu starts itself; what loader.conf would say otherwise.
BOOT_ENV = {"boot_serial": "YES", "boot_multicons": "YES", "console": "comconsole",
            "vfs.root.mountfrom": "ufs:/dev/vtbd0", "autoboot_delay": "0"}


def parser():
    env = os.environ.get
    p = argparse.ArgumentParser(prog="tests/vm/run", description="Acceptance tests of aoe.ko in a FreeBSD guest.")
    p.add_argument("--kernel", default=env("AOE_VM_KERNEL"), metavar="FILE",
                   help="kernel that qemu starts itself (AOE_VM_KERNEL); 'none': the root image boots by its own loader")
    p.add_argument("--root", default=env("AOE_VM_ROOT"), metavar="FILE", help="root disk image (AOE_VM_ROOT)")
    p.add_argument("--module", default=env("AOE_VM_KO"), metavar="FILE",
                   help="aoe.ko to test (AOE_VM_KO); without it 'make kmod' builds one; 'none': only the rig")
    p.add_argument("--target-program", default=env("AOE_VM_TARGET"), metavar="FILE",
                   help="the aoe-target program (AOE_VM_TARGET); without it cargo builds one")
    p.add_argument("--relay-program", default=env("AOE_VM_RELAY"), metavar="FILE",
                   help="the aoe-relay program (AOE_VM_RELAY); without it cargo builds one")
    p.add_argument("--ggaoed", default=env("AOE_GGAOED"), metavar="FILE",
                   help="a ggaoed (AOE_GGAOED); without it the tests with it are skipped")
    p.add_argument("--vblade", default=env("AOE_VBLADE"), metavar="FILE",
                   help="another vblade than the installed one (AOE_VBLADE); without it the tests with it are skipped")
    p.add_argument("--aoectl", default=env("AOE_VM_AOECTL"), metavar="FILE",
                   help="an aoectl for FreeBSD, as scripts/build-freebsd makes it (AOE_VM_AOECTL); without it the tests "
                        "that need one are skipped")
    p.add_argument("--loader-disk", default=env("AOE_VM_LOADER_DISK"), metavar="FILE",
                   help="disk image with a boot loader, for the test of preloading (AOE_VM_LOADER_DISK)")
    p.add_argument("--firmware", default=env("AOE_VM_FIRMWARE"), metavar="FILE",
                   help="UEFI firmware for a root image that boots by its own loader (AOE_VM_FIRMWARE)")
    p.add_argument("--boot-env", action="append", default=[], metavar="NAME=VALUE",
                   help="kernel environment for --kernel, added to the usual one (AOE_VM_BOOT_ENV, by commas)")
    p.add_argument("--accel", default=env("AOE_VM_ACCEL", "tcg"), help="qemu accelerator (AOE_VM_ACCEL)")
    p.add_argument("--cpu", default=env("AOE_VM_CPU"), help="qemu CPU model (AOE_VM_CPU)")
    p.add_argument("--login", default=env("AOE_VM_LOGIN", "root"), help="account on the console")
    p.add_argument("--password", default=env("AOE_VM_PASSWORD", ""), help="its password, if it is asked for")
    p.add_argument("--work", default=env("AOE_VM_WORK"), metavar="DIR", help="directory for disks and logs; kept")
    p.add_argument("--only", action="append", default=[], metavar="PATTERN",
                   help="run the tests whose group.name contains this (may be repeated)")
    p.add_argument("--skip", action="append", default=[], metavar="PATTERN", help="leave these out")
    p.add_argument("--list", action="store_true", help="print the names of the tests and end")
    p.add_argument("--quick", action="store_true", help="small amounts of data, few repetitions")
    p.add_argument("--hour", action="store_true", default=bool(env("AOE_VM_HOUR")),
                   help="the growth watch looks at idling and at load for an hour each (AOE_VM_HOUR)")
    p.add_argument("--verbose", action="store_true", help="say what each test does")
    return p


class Config:
    def __init__(self, options):
        self.options = options
        self.accel, self.cpu = options.accel, options.cpu
        self.login, self.password = options.login, options.password
        self.quick, self.hour, self.verbose = options.quick, options.hour, options.verbose
        self.firmware, self.loader_disk = options.firmware, options.loader_disk
        self.kernel = self._place(options.kernel, "kernel")
        self.root = self._place(options.root, "root.img")
        self.boot_env = dict(BOOT_ENV)
        words = [w for w in os.environ.get("AOE_VM_BOOT_ENV", "").split(",") if w] + options.boot_env
        self.boot_env.update(w.split("=", 1) for w in words)
        self.module = self.root_format = None
        self.aoectl = os.path.abspath(options.aoectl) if options.aoectl else None
        self.programs = {"aoe-target": options.target_program, "aoe-relay": options.relay_program}
        self.ggaoed = os.path.abspath(options.ggaoed) if options.ggaoed else None
        self.vblade = os.path.abspath(options.vblade) if options.vblade else None

    @staticmethod
    def _place(given, name):
        if given == "none":
            return None
        if given is None:
            given = os.path.join(CACHE, name)
            if name == "kernel" and not os.path.exists(given):
                return None
        return os.path.abspath(given)

    def check(self):
        """Everything that can be missing, said before the first boot."""
        for what, path in (("root image", self.root), ("kernel", self.kernel), ("firmware", self.firmware),
                           ("aoectl", self.aoectl), ("ggaoed", self.ggaoed), ("vblade", self.vblade)):
            if path is not None and not os.path.exists(path):
                raise HarnessError(f"there is no {what} {path}; tests/vm/README.md says how to get one")
        with open(self.root, "rb") as f:
            self.root_format = "qcow2" if f.read(4) == b"QFI\xfb" else "raw"
        if self.options.module != "none":
            self.module = self._module()

    def _module(self):
        if self.options.module:
            return os.path.abspath(self.options.module)
        return self.build_module()

    def build_module(self, source=None):
        """aoe.ko for the guest's kernel, or another module from one C file."""
        name = os.path.splitext(os.path.basename(source))[0] if source else "aoe"
        out = os.path.join(TOP, "target", "vm", f"{name}.ko")
        os.makedirs(os.path.dirname(out), exist_ok=True)
        argv = ["make", "-C", TOP, "kmod", f"OUT={out}"] + ([f"C_MODULE={source}"] if source else [])
        for variable, env in (("SYSDIR", "AOE_VM_SYSDIR"), ("KERNBUILDDIR", "AOE_VM_KERNBUILDDIR"),
                              ("OSVERSION", "AOE_VM_OSVERSION")):
            if os.environ.get(env):
                argv.append(f"{variable}={os.environ[env]}")
        if self.kernel and not os.environ.get("AOE_VM_SYSDIR") and not os.environ.get("AOE_VM_OSVERSION"):
            argv.append(f"OSVERSION={packaged_version(self.kernel)}")
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=1800, check=False)
        if done.returncode != 0 or not os.path.exists(out):
            raise HarnessError(f"{' '.join(argv)} failed:\n{done.stdout[-4000:]}")
        return out

    def find_program(self, name):
        """One of this project's programs, built when it is first needed."""
        if self.programs[name] is None:
            self.programs[name] = self._build_program(name)
        return os.path.abspath(self.programs[name])

    @staticmethod
    def _build_program(name):
        target = os.environ.get("CARGO_TARGET_DIR", os.path.join(TOP, "target"))
        argv = ["cargo", "build", "--quiet", "--release", "--locked", "-p", name]
        done = subprocess.run(argv, cwd=TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=1800, check=False)
        path = os.path.join(target, "release", name)
        if done.returncode != 0 or not os.path.exists(path):
            raise HarnessError(f"{' '.join(argv)} failed:\n{done.stdout[-4000:]}")
        return path

    def tools_tar(self, path, more=None):
        """A raw tar on a disk: the module, aoectl, and `more` (name: file)."""
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            if self.module:
                tar.add(self.module, "aoe.ko", filter=_as_root)
            if self.aoectl:
                tar.add(self.aoectl, "aoectl", filter=_as_root)
            for name, file in (more or {}).items():
                tar.add(file, name, filter=_as_root)
        return path


def _as_root(info):
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    if info.isreg():
        info.mode = 0o755
    return info
