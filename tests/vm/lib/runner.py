# SPDX-License-Identifier: BSD-2-Clause
"""Boots guests, runs tests in them, counts."""

import os
import shutil
import signal
import sys
import tempfile
import time
import traceback

from . import netlab
from .case import ALL, Context, Rig
from .config import Config, parser
from .guest import Guest
from .qemu import Machine, check_tools
from .tree import Tree
from .util import GuestDied, GuestHung, HarnessError, TestFailure, TestSkipped, limit


class Stopped(BaseException):
    """The run was told to end."""


class Runner:
    def __init__(self, config, workdir):
        self.config, self.workdir = config, workdir
        self.rig = None
        self.rig_for = None
        self.boots = 0
        self.tree = None
        self.passed, self.failed, self.skipped = [], [], []
        self.tools = None

    # -- guests -----------------------------------------------------------------------------

    def boot(self, group, name=None, before=None, **machine_options):
        """A fresh guest with the interfaces that the group asks for. `before` is called with the machine,
        whose lab is there, before it is started."""
        self.boots += 1
        lab = netlab.Lab()
        machine = None
        try:
            for _ in group.nics:
                lab.add_segment()
            disks = [(self.tools, "tools")]
            if group.tree:
                self.tree = self.tree or Tree(self.workdir, self.config.quick)
                disks.append((self.tree.tar, "tree"))
            where = os.path.join(self.workdir, f"vm{self.boots}-{name or group.name}")
            machine = Machine(self.config, lab, where, group.nics, disks, memory=group.memory)
            for key, value in machine_options.items():
                setattr(machine, key, value)
            if before:
                before(machine)
            machine.start()
            guest = Guest(machine)
            guest.boot()
            tools = "vtbd1" if machine.local_root else "vtbd0"
            guest.run(f"mkdir -p /aoevm && tar xpf /dev/{tools} -C /aoevm", 60)
            for i, kind in enumerate(group.nics):
                number = list(group.nics[:i]).count(kind)
                guest.run(f"ifconfig {kind}{number} up")
            return Rig(self.config, lab, machine, guest, self.tree)
        except BaseException:
            if machine is not None:
                machine.close()
            lab.close()
            raise

    def drop_rig(self):
        if self.rig is not None:
            self.rig.close()
            self.rig = self.rig_for = None

    def rig_of(self, test):
        if test.own_vm or self.rig_for is not test.group:
            self.drop_rig()
        if self.rig is None:
            begin = time.monotonic()
            special = {}
            if test.machine:
                os.makedirs(self.directory(test), exist_ok=True)
                special = test.machine(self.config, self.directory(test))
            self.rig = self.boot(test.group, **special)
            self.rig_for = test.group
            print(f"      guest for {test.group.name} booted ({time.monotonic() - begin:.0f} s)", flush=True)
        return self.rig

    # -- tests ------------------------------------------------------------------------------

    def directory(self, test):
        return os.path.join(self.workdir, test.name)

    def run_test(self, test):
        begin = time.monotonic()
        words = None
        try:
            context = Context(self.rig_of(test), self.directory(test), self.say)
            context.runner, context.test_group = self, test.group
        except TestSkipped as e:
            context, words = None, e
        except HarnessError as e:
            context, words = None, f"no guest: {e}"
        if context is not None:
            try:
                words = self.judge(test, context)
            except BaseException:
                # Told to end in the middle of a test: its targets are processes of their own.
                context.stack.close()
                raise
            if words is None or isinstance(words, TestSkipped):
                shutil.rmtree(context.dir, ignore_errors=True)
        took = time.monotonic() - begin
        if isinstance(words, TestSkipped):
            self.skipped.append(test.name)
            print(f"skip  {test.name}  {took:.1f} s  {words}", flush=True)
        elif words is None:
            self.passed.append(test.name)
            print(f"ok    {test.name}  {took:.1f} s", flush=True)
        else:
            self.failed.append(test.name)
            where = f"  [{context.machine.workdir}]" if context else ""
            print(f"FAIL  {test.name}  {took:.1f} s{where}\n      {words}", flush=True)
        if test.own_vm or context is None or context.spoiled:
            self.drop_rig()

    def judge(self, test, context):
        """Body, then the way back, then the console: the first that complains is the verdict."""
        verdict = self.guarded(lambda: self.body(test, context))
        deaths = [d for d in (server.obituary() for server in context.servers) if d]
        if isinstance(verdict, (GuestDied, GuestHung)):
            context.guest.post_mortem()
            end = None
        elif test.own_vm:
            end = self.guarded(context.stack.close)
        else:
            end = self.guarded(context.finish)
        console = self.guarded(context.check_console)
        self.guarded(context.stack.close)
        # After a mere wrong answer the guest is as good as before; after the rest it is not.
        context.spoiled = bool(end or console) or isinstance(verdict, HarnessError) or test.own_vm
        problems = deaths + [p for p in (verdict, end and f"cleaning up: {end}", console) if p]
        if not problems:
            return None
        if isinstance(verdict, TestSkipped) and len(problems) == 1:
            return verdict
        return "; ".join(str(p) for p in problems)

    def body(self, test, context):
        """The test, under a clock that no wait inside it can outlast."""
        def alarm(_signal, _frame):
            raise TestFailure(f"the test took longer than {limit(test.limit):g} s")
        old = signal.signal(signal.SIGALRM, alarm)
        signal.alarm(int(limit(test.limit)))
        try:
            test.function(context)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, old)

    @staticmethod
    def guarded(work):
        try:
            work()
        except (TestFailure, TestSkipped, HarnessError) as e:
            return e
        except Exception:  # noqa: BLE001 - a mistake in a test is that test's failure, with its place
            return TestFailure(traceback.format_exc())
        return None

    def say(self, words):
        if self.config.verbose:
            print(f"      {words}", flush=True)

    def run(self, tests):
        self.tools = self.config.tools_tar(os.path.join(self.workdir, "tools.tar"))
        try:
            for test in tests:
                self.run_test(test)
        except (Stopped, KeyboardInterrupt):
            print("stopped", flush=True)
            self.failed.append("(stopped)")
        finally:
            self.drop_rig()
        print(f"{len(self.passed)} passed, {len(self.failed)} failed, {len(self.skipped)} skipped", flush=True)
        return 1 if self.failed else 0


def chosen(options):
    out = []
    for group in ALL:
        for test in group.tests:
            if options.only and not any(p in test.name for p in options.only):
                continue
            if not any(p in test.name for p in options.skip):
                out.append(test)
    return out


def _stop(_signal, _frame):
    raise Stopped()


def main(argv):
    options = parser().parse_args(argv)
    tests = chosen(options)
    if options.list:
        print("\n".join(t.name for t in tests))
        return 0
    if not tests:
        print("no test has such a name", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _stop)
    config = Config(options)
    workdir = options.work or tempfile.mkdtemp(prefix="aoe-vm-")
    os.makedirs(workdir, exist_ok=True)
    try:
        check_tools()
        config.check()
        netlab.sweep()
    except HarnessError as e:
        print(f"tests/vm/run: {e}", file=sys.stderr)
        return 2
    print(f"      logs and disks in {workdir}", flush=True)
    code = Runner(config, workdir).run(tests)
    if code == 0 and not options.work:
        shutil.rmtree(workdir, ignore_errors=True)
    return code
