# SPDX-License-Identifier: BSD-2-Clause
"""One serial line of the guest: a unix socket of qemu, read by a thread that forgets nothing."""

import re
import socket
import threading
import time

from .util import GuestDied, HarnessError, limit

#: The kernel is no longer going anywhere when one of these comes up on the console.
FATAL = re.compile(rb"^(panic: .*|db> ?|KDB: enter: .*|Fatal trap \d+.*|mountroot> ?)", re.M)


class SerialLine:
    def __init__(self, path, log_path, fatal=None):
        self.path = path
        self.log = open(log_path, "ab", buffering=0)
        self.data = bytearray()
        self.changed = threading.Condition()
        self.closed = False
        self.fatal = fatal
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def connect(self, alive, timeout=20):
        """qemu makes the socket; `alive` tells whether waiting for it still has a point."""
        end = time.monotonic() + limit(timeout)
        while True:
            try:
                self.sock.connect(self.path)
                break
            except (FileNotFoundError, ConnectionRefusedError):
                if not alive() or time.monotonic() > end:
                    raise HarnessError(f"qemu did not open {self.path}") from None
                time.sleep(0.05)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            try:
                piece = self.sock.recv(65536)
            except OSError:
                piece = b""
            with self.changed:
                if piece:
                    self.log.write(piece)
                    self.data += piece
                else:
                    self.closed = True
                self.changed.notify_all()
            if not piece:
                return

    def send(self, text):
        try:
            self.sock.sendall(text.encode() if isinstance(text, str) else text)
        except OSError as e:
            raise GuestDied(f"serial line is gone: {e}") from None

    def mark(self):
        """The place that later waits and scans start from."""
        with self.changed:
            return len(self.data)

    def since(self, start):
        with self.changed:
            return bytes(self.data[start:])

    def expect(self, pattern, timeout, start, dead=lambda: None):
        """Waits for a bytes regex at or after `start`; the match object, or None after the limit.

        `dead` is asked on every turn and raises when there is nothing left to wait for."""
        wanted = re.compile(pattern, re.M | re.S)
        end = time.monotonic() + limit(timeout)
        with self.changed:
            while True:
                found = wanted.search(self.data, start)
                if found:
                    return found
                dead()
                if self.closed:
                    raise GuestDied("qemu closed the serial line")
                left = end - time.monotonic()
                if left <= 0:
                    return None
                self.changed.wait(min(left, 0.5))

    def close(self):
        try:
            self.sock.close()
        finally:
            self.log.close()
