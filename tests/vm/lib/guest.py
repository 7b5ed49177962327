# SPDX-License-Identifier: BSD-2-Clause
"""A running FreeBSD, spoken to through a shell on its second serial line.

The first line is the console: the harness logs in there once, starts a shell on the second line,
and from then on only listens to the console. So the answers of commands and the words of the
kernel never mix. The shell's terminal is raw and without echo; every command gets a number, its
output is framed by markers with that number, and its exit code comes with the end marker."""

import re
import shlex

from .util import GuestHung, HarnessError, TestFailure, limit


def forever(command):
    """The command again and again, whatever comes of it, until a file says stop."""
    return f"while ! test -e /tmp/stop; do {command}; done"


class Result:
    def __init__(self, command, code, out):
        self.command, self.code, self.out = command, code, out

    def __repr__(self):
        return f"{self.command!r}: exit {self.code}: {self.out.strip()!r}"


class Guest:
    BOOT_LIMIT = 420
    #: Bytes of a command that are sent at once.
    PIECE = 120

    def __init__(self, machine):
        self.machine = machine
        self.serial = 0
        self.background = 0
        self.broken = None

    # -- getting to a shell ---------------------------------------------------------------

    #: A shell's prompt as the last thing on the console, with or without colour codes after it.
    PROMPT = rb"^[^\r\n]{0,60}[#$%] ?(\x1b\[[0-9;?]*[a-zA-Z])*\Z"

    def boot(self, start=0):
        """Gets to a shell on the console (login, single user, or one that is there already) and
        from it puts a shell on the control line."""
        con, vm = self.machine.console, self.machine
        ways = rb"(?P<login>login: ?\Z)|(?P<single>Enter full pathname of shell[^\n]*: ?\Z)|(?P<shell>" + \
            rb"^root@[^\r\n]{1,50}# ?(?:\x1b\[[0-9;?]*[a-zA-Z])*\Z|^# ?\Z)"
        at = self._console(ways, start, self.BOOT_LIMIT, "a login or a shell prompt")
        if not at["shell"]:
            start = con.mark()
            con.send("\n" if at["single"] else f"{vm.config.login}\n")
            at = self._console(rb"(?P<password>Password:)|" + self.PROMPT, start, 60, "a shell prompt")
            if at["password"]:
                start = con.mark()
                con.send(f"{vm.config.password}\n")
                self._console(self.PROMPT, start, 60, "a shell prompt")
        self._start_control_shell()

    def _console(self, pattern, start, timeout, what):
        con = self.machine.console
        found = con.expect(pattern, timeout, start, self.machine.check_alive)
        if not found:
            tail = con.since(max(0, con.mark() - 400)).decode(errors="replace")
            raise HarnessError(f"{what} did not come within {limit(timeout):g} s; the console ends: {tail!r}")
        return found

    def _start_control_shell(self):
        # The line is the shell's script, not its terminal: so it prints no prompt and edits nothing.
        script = ("trap '' HUP; exec 3<>/dev/cuau1; stty -f /dev/cuau1 raw -echo -ixon -ixoff; cd /; "
                  "PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin; export PATH; "
                  "printf CONTROL-%s READY >&3; exec /bin/sh /dev/cuau1 </dev/null >&3 2>&1")
        con, ctl = self.machine.console, self.machine.control
        start = ctl.mark()
        # root's .profile runs resizewin(1), which takes from the terminal what is typed while it waits for an answer.
        for _ in range(3):
            con.send(f"/bin/sh -c {shlex.quote(script)} &\n")
            if ctl.expect(rb"CONTROL-READY", 20, start, self.machine.check_alive):
                return
        raise HarnessError("no shell on the control line; " + con.since(max(0, con.mark() - 400)).decode(errors="replace"))

    # -- commands --------------------------------------------------------------------------

    def try_run(self, command, timeout=30):
        """Runs a shell command and returns its Result, whatever its exit code is."""
        if self.broken:
            raise GuestHung(f"the guest is not usable any more: {self.broken}")
        self.serial += 1
        tag = f"@{self.serial:06d}"
        ctl = self.machine.control
        start = ctl.mark()
        body = shlex.quote(command)
        if len(body) > self.PIECE:
            self._send_pieces(command, tag)
            body = '"$C"'
        ctl.send(f"printf '\\001B{tag}\\n'; ( eval {body} ) </dev/null 2>&1; printf '\\001E{tag} %d\\n' $?\n")
        frame = rb"\x01B" + tag.encode() + rb"\n(.*?)\x01E" + tag.encode() + rb" (\d+)\n"
        try:
            found = ctl.expect(frame, timeout, start, self.machine.check_alive)
        except HarnessError as e:
            self.broken = self.broken or str(e)
            raise
        if not found:
            self.broken = f"{command!r} hung"
            raise GuestHung(f"no end within {limit(timeout):g} s: {command}")
        return Result(command, int(found[2]), found[1].decode(errors="replace"))

    def _send_pieces(self, command, tag):
        """Puts a long command into the shell's variable C. The guest's UART driver has room for some
        hundred bytes, and drops what it has no room for; so each piece waits for the one before."""
        ctl = self.machine.control
        for at in range(0, len(command), self.PIECE):
            start = ctl.mark()
            piece = "'" + command[at:at + self.PIECE].replace("'", "'\\''") + "'"
            before = '"$C"' if at else ""
            ctl.send(f"C={before}{piece}; printf '\\001A{tag}\\n'\n")
            if not ctl.expect(rb"\x01A" + tag.encode() + rb"\n", 60, start, self.machine.check_alive):
                self.broken = "the control line does not answer"
                raise GuestHung(self.broken)

    def run(self, command, timeout=30):
        """Runs a command that must succeed; its output without the last newline."""
        done = self.try_run(command, timeout)
        if done.code != 0:
            raise TestFailure(f"in the guest: {done!r}")
        return done.out.rstrip("\n")

    def fails(self, command, words=None, timeout=30):
        """Runs a command that must be refused, with these words (a regex) in its answer."""
        done = self.try_run(command, timeout)
        if done.code == 0:
            raise TestFailure(f"in the guest, must have been refused: {done!r}")
        if words and not re.search(words, done.out):
            raise TestFailure(f"in the guest, refused for another reason than {words!r}: {done!r}")
        return done.out

    def spawn(self, command):
        """Starts a command in the background of the guest."""
        self.background += 1
        return Job(self, f"/tmp/job{self.background}", command)

    def sysctl(self, name):
        return self.run(f"sysctl -n {name}")

    def set_sysctl(self, name, value):
        self.run(f"sysctl {shlex.quote(f'{name}={value}')}")

    def exists(self, path):
        return self.try_run(f"test -e {shlex.quote(path)}").code == 0

    def wait_for(self, condition, timeout, what=None, step="0.1"):
        """Waits inside the guest for a shell condition, so that no time is lost on the serial line."""
        done = self.try_run(f"n=0; end=$(( $(date +%s) + {int(limit(timeout)) + 1} )); "
                            f"while ! {{ {condition}; }} >/dev/null 2>&1; do "
                            f"[ $(date +%s) -lt $end ] || exit 1; sleep {step}; done", timeout + 30)
        if done.code != 0:
            raise TestFailure(f"in the guest, waited {limit(timeout):g} s in vain: {what or condition}")

    # -- diagnosis ---------------------------------------------------------------------------

    def post_mortem(self):
        """When the control shell hangs: kernel stacks by way of the console's shell, into its log."""
        con = self.machine.console
        try:
            start = con.mark()
            con.send("\nprocstat -kka; echo PROCSTAT-DONE\n")
            con.expect(rb"PROCSTAT-DONE.*PROCSTAT-DONE", 30, start, self.machine.check_alive)
        except HarnessError:
            self._debugger_words()

    def _debugger_words(self):
        """In the kernel debugger: the words that a report needs."""
        con = self.machine.console
        if not re.search(rb"^db> ?", con.since(0), re.M):
            return
        for word in ("bt", "show pcpu", "show alllocks"):
            start = con.mark()
            try:
                con.send(word + "\r")
                con.expect(rb"db> ?$", 10, start)
            except HarnessError:
                return


class Job:
    """A command in the background of the guest; its output and exit code are files there."""

    def __init__(self, guest, path, command):
        self.guest, self.path, self.command = guest, path, command
        # The exit code appears under its final name in one step, when the command is over.
        guest.run(f"rm -f {path}.*; ( ( eval {shlex.quote(command)} ) >{path}.out 2>&1; echo $? >{path}.tmp; "
                  f"mv {path}.tmp {path}.rc ) </dev/null >/dev/null 2>&1 & echo $! >{path}.pid")

    def running(self):
        return not self.guest.exists(f"{self.path}.rc")

    def output(self):
        return self.guest.run(f"cat {self.path}.out")

    def wait(self, timeout):
        self.guest.wait_for(f"test -e {self.path}.rc", timeout, f"end of {self.command!r}", "0.2")
        return Result(self.command, int(self.guest.run(f"cat {self.path}.rc")), self.output())

    def succeed(self, timeout):
        done = self.wait(timeout)
        if done.code != 0:
            raise TestFailure(f"in the guest: {done!r}")
        return done.out
