# SPDX-License-Identifier: BSD-2-Clause
"""Small things that every part of the harness needs: errors, processes, waiting."""

import os
import subprocess
import time


class HarnessError(Exception):
    """The rig itself did not do what it must (no guest, no tool, no namespace)."""


class TestFailure(Exception):
    """What the test looked at is not what it must be."""


class TestSkipped(Exception):
    """The test needs something that this guest or this machine does not have."""


class GuestHung(HarnessError):
    """A command in the guest did not come back within its time limit."""


class GuestDied(HarnessError):
    """The guest panicked, stopped in its debugger, or qemu ended."""


#: Every time limit is multiplied by this, for hosts that are slower or busier.
SLOW = float(os.environ.get("AOE_VM_SLOW", "1"))


def limit(seconds):
    return seconds * SLOW


def run(argv, timeout=30, check=True, text=True, **kw):
    """Runs a host command to its end and returns the CompletedProcess."""
    kw.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run(argv, timeout=limit(timeout), text=text,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kw)
    if check and done.returncode != 0:
        raise HarnessError(f"{' '.join(map(str, argv))}: exit {done.returncode}: "
                           f"{done.stdout.strip() if text else done.stdout!r}")
    return done


def wait_until(what, check, timeout, step=0.1):
    """Asks `check` until it gives something true; that is the answer.

    The time limit makes a TestFailure that says what never came."""
    end = time.monotonic() + limit(timeout)
    while True:
        got = check()
        if got:
            return got
        if time.monotonic() > end:
            raise TestFailure(f"waited {limit(timeout):g} s in vain: {what}")
        time.sleep(step)


def need(condition, message):
    """The assertion of the tests: always on, always with words."""
    if not condition:
        raise TestFailure(message)


def same(got, expected, what):
    need(got == expected, f"{what}: got {got!r}, expected {expected!r}")


def stop(process, grace=5):
    """Ends a child that this harness started, politely first."""
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(grace)


def sysfile(path, value=None):
    if value is None:
        with open(path, encoding="ascii") as f:
            return f.read().strip()
    with open(path, "w", encoding="ascii") as f:
        f.write(value)
    return value
