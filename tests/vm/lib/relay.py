# SPDX-License-Identifier: BSD-2-Clause
"""The bad wire: aoe-relay between a guest's cable and everything on the other side of it."""

import json
import os
import socket
import subprocess
import tempfile
import time

from .util import HarnessError, limit, stop


class RelayRefused(HarnessError):
    """The relay did not take a command."""


class Relay:
    """A running relay. `ways`: "both", "to-target" or "to-initiator"; its own help text names the faults."""

    def __init__(self, lab, initiator, target, program, workdir, seed=1):
        self.initiator, self.target = initiator, target
        # A path of its own, because that of a socket must be short.
        self.where = tempfile.mkdtemp(prefix="aoe-relay-")
        self.path = os.path.join(self.where, "control")
        self.log_path = os.path.join(workdir, f"relay-{initiator}.log")
        self.process, self.sock = None, None
        argv = [program, "--initiator", initiator, "--target", target, "--control", self.path, "--seed", str(seed)]
        self._argv = lab.argv(argv)
        self.wanted = False

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        try:
            # A wire does not wait for its turn; on a busy host the relay would.
            os.sched_setscheduler(self.process.pid, os.SCHED_RR, os.sched_param(1))
        except OSError:
            pass
        self.wanted = True
        end = time.monotonic() + limit(10)
        while self.sock is None:
            if self.process.poll() is not None or time.monotonic() > end:
                with open(self.log_path, "r", errors="replace", encoding="utf-8") as f:
                    raise HarnessError(f"{' '.join(self._argv)}: does not run: {f.read().strip()}")
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(self.path)
                self.sock = sock
            except OSError:
                sock.close()
                time.sleep(0.02)
        self.sock.settimeout(limit(10))
        self.lines = self.sock.makefile("r", encoding="utf-8")
        return self

    def command(self, line):
        """Says a line; the answer, as a dictionary."""
        try:
            self.sock.sendall((line + "\n").encode())
            answer = json.loads(self.lines.readline() or '{"ok": false, "error": "it has ended"}')
        except OSError as e:
            raise HarnessError(f"aoe-relay, {line!r}: {e}") from None
        if not answer["ok"]:
            raise RelayRefused(f"aoe-relay, {line!r}: {answer['error']}")
        return answer

    def set(self, way, *faults):
        return self.command(f"set {way} {' '.join(faults)}")

    def clear(self):
        return self.command("clear")

    def status(self):
        return self.command("status")

    def reset(self):
        """Counting begins again; what was counted until now."""
        return self.command("reset")

    def count(self, what):
        """One of the counters, both ways together."""
        status = self.status()
        return status["to-target"][what] + status["to-initiator"][what]

    def obituary(self):
        if self.wanted and self.process.poll() is not None:
            return f"aoe-relay on {self.initiator} ended by itself, exit {self.process.returncode}"
        return None

    def stop(self):
        self.wanted = False
        if self.sock is not None:
            self.lines.close()
            self.sock.close()
            self.sock = None
        stop(self.process)
        for name in os.listdir(self.where):
            os.unlink(os.path.join(self.where, name))
        os.rmdir(self.where)
