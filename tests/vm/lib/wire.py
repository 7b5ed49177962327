# SPDX-License-Identifier: BSD-2-Clause
"""Hands and eyes on the wire: a sender of arbitrary frames, a recorder of all AoE frames."""

import select
import threading
import time

from .frames import ETHERTYPE, Aoe

PACKET_OUTGOING = 4


class Injector:
    """Puts frames on an interface of the lab exactly as given."""

    def __init__(self, lab, ifname):
        self.sock = lab.packet_socket(ifname, ETHERTYPE)
        self.mac = lab.mac(ifname)
        self.sent = 0

    def send(self, raw):
        # The kernel takes no frame shorter than an Ethernet header.
        self.sock.send(raw)
        self.sent += 1

    def receive(self, timeout):
        """The next AoE frame that arrives, or None."""
        end = time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                return None
            raw, address = self.sock.recvfrom(65536)
            if address[2] != PACKET_OUTGOING and len(raw) >= 24:
                return Aoe(raw)

    def close(self):
        self.sock.close()


class Sniffer:
    """Records every AoE frame that passes an interface, in both directions.

    On a guest's tap, a frame that the guest sent arrives, one for the guest leaves. Only the
    headers are kept."""

    ALL = 0x0003

    def __init__(self, lab, ifname):
        self.sock = lab.packet_socket(ifname, self.ALL)
        self.frames = []
        self.guard = threading.Lock()
        self.stopping = False
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self):
        while not self.stopping:
            if not select.select([self.sock], [], [], 0.1)[0]:
                continue
            raw, address = self.sock.recvfrom(65536)
            if raw[12:14] == b"\x88\xa2" or raw[12:14] == b"\x81\x00" and raw[16:18] == b"\x88\xa2":
                with self.guard:
                    self.frames.append((time.monotonic(), address[2] == PACKET_OUTGOING, raw[:64]))

    def seen(self, to_guest=None):
        """The recorded frames: all, or only those to (True) or from (False) the guest."""
        with self.guard:
            return [raw for _, outgoing, raw in self.frames if to_guest is None or outgoing == to_guest]

    def clear(self):
        with self.guard:
            self.frames.clear()

    def close(self):
        self.stopping = True
        self.thread.join(2)
        self.sock.close()
