# SPDX-License-Identifier: BSD-2-Clause
"""AoE targets on the lab's switches: Debian's vblade, this project's aoe-target with its quirks, and others that are
found where the configuration says: ggaoed, another vblade."""

import hashlib
import os
import signal
import subprocess
import time

from .util import HarnessError, stop, wait_until


def make_disk(path, size, seed=None):
    """A backing file. With a seed its first MiB and its last 64 KiB have contents that can be told apart."""
    with open(path, "wb") as f:
        f.truncate(size)
        if seed is not None:
            f.write(pattern(seed, min(size, 1 << 20)))
            f.seek(max(0, size - 65536))
            f.write(pattern(seed + "/end", min(size, 65536)))
    return path


def pattern(seed, length):
    """Deterministic bytes that do not repeat."""
    return hashlib.shake_256(seed.encode()).digest(length)


def file_hash(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


class Server:
    """A target process. `dead` states are reached by real signals, as an operator or a crash would."""

    def __init__(self, lab, ifname, argv, log_path, file, address):
        self.lab, self.ifname, self._argv, self.log_path = lab, ifname, argv, log_path
        self.file, self.address = file, address
        self.process = None
        self.wanted = False

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.lab.argv(self._argv), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True)
        self.wanted = True
        wait_until(f"{self._argv[0]} on {self.ifname}", self._listening, 10, 0.05)
        return self

    def _listening(self):
        """Has the process bound its packet socket? Asked of the kernel, so nothing is on the wire."""
        return self._sockets() > 0

    def _sockets(self):
        """How many sockets for AoE frames it has bound."""
        if self.process.poll() is not None:
            with open(self.log_path, "r", errors="replace", encoding="utf-8") as f:
                raise HarnessError(f"{' '.join(self._argv)}: exit {self.process.returncode}: {f.read().strip()}")
        try:
            fds = f"/proc/{self.process.pid}/fd"
            mine = {os.readlink(os.path.join(fds, fd)) for fd in os.listdir(fds)}
            with open(f"/proc/{self.process.pid}/net/packet", encoding="ascii") as f:
                rows = [line.split() for line in f.readlines()[1:]]
        except OSError:
            return 0
        return sum(f"socket:[{r[8]}]" in mine and int(r[3], 16) == 0x88A2 for r in rows)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9."""
        self.wanted = False
        self.process.kill()
        self.process.wait()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def obituary(self):
        """How the process ended although nobody here ended it; None while all is well."""
        if self.wanted and not self.alive():
            return f"{os.path.basename(self._argv[0])} on {self.ifname} ended by itself, exit {self.process.returncode}"
        return None

    def stop(self):
        self.wanted = False
        if self.alive():
            self.resume()
        stop(self.process)

    def mac(self):
        return self.lab.mac(self.ifname)


def vblade(lab, ifname, file, workdir, shelf=7, slot=0, options=("-b", "128"), program="vblade"):
    argv = [program] + list(options) + [str(shelf), str(slot), ifname, file]
    log = os.path.join(workdir, f"vblade-{shelf}.{slot}-{ifname}.log")
    return Server(lab, ifname, argv, log, file, (shelf, slot))


class Ggaoed(Server):
    """ggaoed, one process for all interfaces that are named. Config string, masks and reservation outlive it."""

    def __init__(self, lab, ifnames, program, file, workdir, shelf=7, slot=0, settings=None):
        home = os.path.join(workdir, f"ggaoed-{shelf}.{slot}")
        os.makedirs(home, exist_ok=True)
        # Without rings of packets that it shares with the kernel: answers are padded to 60 bytes then.
        defaults = {"interfaces": ",".join(ifnames), "ring-buffer-size": 0, "queue-length": 128,
                    "pid-file": f"{home}/pid", "control-socket": f"{home}/socket", "state-directory": home,
                    **(settings or {})}
        self.socket = defaults["control-socket"]
        self.ifnames, self.asked_again = ifnames, 0.0
        with open(f"{home}/conf", "w", encoding="ascii") as f:
            f.write("[defaults]\n" + "".join(f"{key} = {value}\n" for key, value in defaults.items()))
            f.write(f"[disk{shelf}.{slot}]\npath = {file}\nshelf = {shelf}\nslot = {slot}\n")
        super().__init__(lab, ifnames[0], [program, "-n", "-c", f"{home}/conf"], f"{home}/log", file, (shelf, slot))

    def start(self):
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        return super().start()

    def _listening(self):
        """It overlooks the interfaces of an answer that its first buffer had no room for, and asks again, with a larger
        one, when it reads its configuration again. The socket is the last that it makes ready."""
        if self._sockets() == len(self.ifnames):
            return True
        if os.path.exists(self.socket) and time.monotonic() - self.asked_again > 0.2:
            self.reload()
            self.asked_again = time.monotonic()
        return False

    def reload(self):
        """It reads its configuration and the size of its disk anew."""
        self.process.send_signal(signal.SIGHUP)
