#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Proves that the compiler refuses to use a target that nothing keeps: plants one such use after the other
into a copy of the module's Rust half, and sees each refused for the right reason.

Environment: AOE_BINDINGS, the bindings of a build.
"""

import os
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

KMOD = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

#: What is planted, where, and the compiler's reason; None: it must be taken.
PLANTED = (
    ("the last thing that is done with a target", "disk.rs", None,
     "pub(crate) fn planted(target: LastCall) { target.lock(|guard| guard.ask_work()); }"),
    ("a target beyond the last lock", "disk.rs", "E0521",
     "pub(crate) fn planted(target: LastCall) {"
     " let mut kept = None; target.lock(|guard| kept = Some(guard.cell())); drop(kept.map(Cell::addr)); }"),
    ("a request to the work thread without the lock", "disk.rs", "E0599",
     "pub(crate) fn planted(cell: &Cell) { cell.lock().disk = Disk::Left; cell.ask_work(); }"),
    ("a request to the work thread by a guard that is gone", "disk.rs", "E0382",
     "pub(crate) fn planted(cell: &Cell) { let guard = cell.lock(); drop(guard); guard.ask_work(); }"),
    ("a target after its end", "entry.rs", "E0505",
     "unsafe fn planted(rs: *mut c_void) -> aoe_wire::TargetAddr { unsafe {"
     " let thread = WorkThread::entered(); let cell = thread.target(rs);"
     " if let Some(ended) = work::run(cell, &thread) { ended.destroy(thread); } cell.addr() } }"),
    ("a target beyond the net epoch", "entry.rs", "E0515",
     "unsafe fn planted<'a>(rs: *mut c_void) -> &'a Cell {"
     " let epoch = unsafe { Epoch::entered() }; unsafe { epoch.target(rs) } }"),
    ("a target beyond the call that is waited for", "entry.rs", "E0515",
     "unsafe fn planted<'a>(rs: *mut c_void) -> &'a Cell {"
     " let call = unsafe { Awaited::call() }; unsafe { call.target(rs) } }"),
    ("a target beyond the configuration lock", "module.rs", "E0521",
     "fn planted(config: &Guard<Config>) {"
     " let mut kept = None; cell::for_each(config, |cell| kept = Some(cell)); drop(kept.map(Cell::addr)); }"),
)


def compiled(folder, target):
    """The compiler's complaints about the crate in a folder."""
    done = subprocess.run(["cargo", "check", "--quiet", "--locked", "--target-dir", target, "--manifest-path",
                           os.path.join(folder, "kmod", "Cargo.toml")], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def main():
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "kmod")
        shutil.copytree(KMOD, copy, ignore=shutil.ignore_patterns("target"))
        for name in ("Cargo.toml", "crates", "sysctl-docs"):
            os.symlink(os.path.join(os.path.dirname(KMOD), name), os.path.join(folder, name))
        for what, place, reason, source in PLANTED:
            path = os.path.join(copy, "src", place)
            with open(path, encoding="utf-8") as file:
                before = file.read()
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"{before}\n{source}\n")
            code, said = compiled(folder, os.path.join(folder, "target"))
            with open(path, "w", encoding="utf-8") as file:
                file.write(before)
            reasons = {line.split("[")[1].split("]")[0] for line in said.splitlines() if line.startswith("error[")}
            good = code == 0 if reason is None else reasons == {reason}
            failures += not good
            print(f"refused {'ok  ' if good else 'FAIL'} {what}")
            if not good:
                print(f"    expected {reason}, found {sorted(reasons) or said}")
    print(f"refused: {failures} failures" if failures else "refused: every use of a target that nothing keeps is")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
