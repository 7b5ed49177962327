#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Checks a built module.  usage: run.py ARCH FOLDER, where FOLDER holds aoe.ko and its objects.

Environment: OBJDUMP (default llvm-objdump, then objdump); AOE_STRICT=1 makes a failure of what is else
only noted, because it depends on how well the compiler optimises.
"""

import glob
import os
import re
import shutil
import sys

sys.dont_write_bytecode = True

import checks
import elf as elffile

# These run once, when the module is loaded, or in a thread that may sleep, and print text; core's
# printing of strings holds a panic that the optimiser cannot rule out.
MAY_PANIC = {"aoe_rs_module_load", "aoe_rs_target_work"}

HERE = os.path.dirname(os.path.abspath(__file__))
CRATE = os.path.join(HERE, "..", "..", "crates", "aoe-wire", "src")


def forgotten_parsers():
    """Public functions of aoe-wire that read bytes and that wire_entry.rs does not call."""
    with open(os.path.join(HERE, "wire_entry.rs"), encoding="utf-8") as file:
        called = set(re.findall(r"(\w+)::(parse|split)\(", file.read()))
    found = set()
    for path in glob.glob(os.path.join(CRATE, "**", "*.rs"), recursive=True):
        owner = None
        with open(path, encoding="utf-8") as file:
            for line in file:
                if match := re.match(r"impl(?:<[^>]*>)?\s+(?:\w+\s+for\s+)?(\w+)", line):
                    owner = match[1]
                elif match := re.match(r"\s*pub (?:const )?fn (parse|split)\b", line):
                    found.add((owner, match[1]))
    if not found:
        return [f"no parse functions found in {CRATE}"]
    return [f"{owner}::{function} is not in wire_entry.rs"
            for owner, function in sorted(found - called)]


def main(arch, folder):
    objdump = os.environ.get("OBJDUMP") or shutil.which("llvm-objdump") or "objdump"
    path = os.path.join(folder, "aoe.ko")
    # wire_check.o is made for the last check and is no part of the module.
    objects = sorted(set(glob.glob(os.path.join(folder, "aoe_*.o"))))
    rust = os.path.join(folder, "aoe_rust.o")
    module = elffile.read(path)
    failed = False

    def report(what, complaints, note="", counts=True):
        nonlocal failed
        failed |= bool(complaints) and counts
        print(f"check {'ok  ' if not complaints else 'FAIL' if counts else 'note'} {what}{note}")
        for complaint in complaints:
            print(f"    {complaint}")

    report("architecture", [] if module.machine == arch else [f"{module.machine}, not {arch}"])
    report("imported symbols", checks.imports(
        module, checks.read_import_list(os.path.join(HERE, "imported-symbols.txt"))))
    report("relocations", checks.relocations(module))
    report("registers", checks.registers(objdump, path, arch))
    if arch == "aarch64":
        report("x18, Rust half", checks.x18(objdump, rust, arch, may_read=False))
        report("x18, whole module", checks.x18(objdump, path, arch, may_read=True))
    complaints, largest = [], 0
    for name in objects:
        found, size = checks.frames(objdump, name)
        complaints += [f"{os.path.basename(name)}: {text}" for text in found]
        largest = max(largest, size)
    if rust not in objects or len(objects) < 2:
        complaints.append(f"the objects of the module are not in {folder}")
    report("stack frames", complaints, f" (largest {largest} of {checks.FRAME_LIMIT - 1} bytes)")
    complaints, entries = checks.panics(os.path.join(folder, "wire_check.o"), "aoe_check_")
    report("no panic from wire parsing", complaints + forgotten_parsers(),
           f" ({len(entries)} entry points)")
    complaints, entries = checks.panics(rust, "aoe_rs_", MAY_PANIC)
    report("no panic from frames, requests, timers and sysctls", complaints,
           f" ({len(entries)} entry points)", counts=os.environ.get("AOE_STRICT") == "1")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2]))
