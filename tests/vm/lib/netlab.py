# SPDX-License-Identifier: BSD-2-Clause
"""Ethernet for one guest: a network namespace with one switch for each guest interface.

    guest em0 == tap0 --+
                        | seg0 (Linux bridge) -- s0p0b ===veth=== s0p0 (a server, injector ...)
                        +                     -- s0p1b ===veth=== s0p1

With a relay between, which makes the faults:

    guest em0 == tap0 == (aoe-relay) == r0 ===veth=== r0b -- seg0 ...

Nothing outside the namespace is touched, and the namespace takes everything in it along when it
goes. Its name carries our process id, so that runs can coexist and a later run can sweep up after
a run that was killed."""

import ctypes
import os
import re
import select
import socket
import struct
import threading

from .util import HarnessError, run

PREFIX = "aoevm"
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def sweep():
    """Removes namespaces of runs that are no longer alive."""
    for line in run(["ip", "netns", "list"]).stdout.splitlines():
        found = re.match(rf"({PREFIX}-(\d+)-\d+)\b", line)
        if found and not os.path.exists(f"/proc/{found[2]}"):
            run(["ip", "netns", "del", found[1]], check=False)


class Lab:
    """The namespace. `segments[i]` is the switch of the guest's i-th interface."""

    _count = 0
    _guard = threading.Lock()

    def __init__(self):
        with Lab._guard:
            Lab._count += 1
            self.name = f"{PREFIX}-{os.getpid()}-{Lab._count}"
        run(["ip", "netns", "add", self.name])
        self.segments = []
        try:
            self.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")
            self.ip("link set lo up")
        except HarnessError:
            self.close()
            raise

    def close(self):
        run(["ip", "netns", "del", self.name], check=False)

    def ip(self, words, check=True):
        return run(["ip", "-n", self.name] + words.split(), check=check).stdout

    def sh(self, script):
        return run(self.argv(["sh", "-c", script])).stdout

    def argv(self, argv):
        """What to execute so that `argv` runs inside the namespace (same process id)."""
        return ["ip", "netns", "exec", self.name] + argv

    def add_segment(self, mtu=1500):
        seg = Segment(self, len(self.segments), mtu)
        self.segments.append(seg)
        return seg

    def mac(self, ifname):
        found = re.search(r"link/ether ([0-9a-f:]{17})", self.ip(f"link show dev {ifname}"))
        if not found:
            raise HarnessError(f"no Ethernet address on {ifname}")
        return found[1]

    def packet_socket(self, ifname, ethertype):
        """A raw socket inside the namespace, bound to one interface.

        setns() moves only the calling thread, so a thread of its own makes the socket and ends."""
        box = {}

        def work():
            try:
                with open(f"/run/netns/{self.name}", "rb") as ns:
                    if _libc.setns(ns.fileno(), CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), "setns")
                s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
                s.bind((ifname, ethertype))
                box["socket"] = s
            except OSError as e:
                box["error"] = e

        t = threading.Thread(target=work)
        t.start()
        t.join()
        if "error" in box:
            raise HarnessError(f"raw socket on {ifname}: {box['error']}")
        return box["socket"]


class Segment:
    """One switch: the guest's tap, and as many ports as servers want."""

    def __init__(self, lab, index, mtu):
        self.lab, self.index, self.mtu = lab, index, mtu
        self.bridge = f"seg{index}"
        self.tap = f"tap{index}"
        self.ports, self.taggers, self.inserted = [], [], []
        lab.ip(f"link add {self.bridge} mtu {mtu} type bridge stp_state 0 mcast_snooping 0")
        lab.ip(f"link set {self.bridge} up")
        lab.ip(f"tuntap add {self.tap} mode tap")
        lab.ip(f"link set {self.tap} mtu {mtu} master {self.bridge} up")

    def port(self, number=0):
        """Interface of server number `number` on this switch; made when first asked for."""
        name = f"s{self.index}p{number}"
        if name not in self.ports:
            self.lab.ip(f"link add {name} mtu {self.mtu} type veth peer name {name}b mtu {self.mtu}")
            self.lab.ip(f"link set {name}b master {self.bridge} up")
            self.lab.ip(f"link set {name} up")
            self.ports.append(name)
        return name

    def vlan_port(self, tag):
        """An interface whose frames carry this 802.1Q tag on the switch.

        The tag is put on and taken off here, because not every host's kernel has VLANs."""
        name = f"s{self.index}v{tag}"
        if name not in self.ports:
            self.lab.ip(f"link add {name} mtu {self.mtu} type veth peer name {name}b mtu {self.mtu}")
            self.lab.ip(f"link set {name}b up")
            self.lab.ip(f"link set {name} up")
            self.ports.append(name)
            self.taggers.append(Tagger(self.lab, name + "b", self, tag))
        return name

    def cut_open(self):
        """Takes the guest's cable out of the switch: the two loose ends, for a relay between them."""
        name = f"r{self.index}"
        if not self.inserted:
            self.lab.ip(f"link add {name} mtu {self.mtu} type veth peer name {name}b mtu {self.mtu}")
            self.inserted.append(name)
            self.lab.ip(f"link set {self.tap} nomaster up")
            self.lab.ip(f"link set {name}b master {self.bridge} up")
            self.lab.ip(f"link set {name} up")
        return self.tap, name

    def mend(self):
        """The cable is in the switch again."""
        for name in self.inserted:
            self.lab.ip(f"link del {name}", check=False)
        self.inserted = []
        self.lab.ip(f"link set {self.tap} master {self.bridge} up")

    def set_mtu(self, mtu):
        """All of the segment; a server that is running keeps the MTU that it saw when it began."""
        pairs = self.ports + self.inserted
        for name in [self.tap] + pairs + [p + "b" for p in pairs] + [self.bridge]:
            self.lab.ip(f"link set {name} mtu {mtu}")
        self.mtu = mtu

    def reset(self, mtu=1500):
        """Back to the state after boot: no ports, the first MTU, tap in the switch and up."""
        for t in self.taggers:
            t.close()
        self.taggers = []
        for p in self.ports:
            self.lab.ip(f"link del {p}", check=False)
        self.ports = []
        self.mend()
        self.set_mtu(mtu)


class Tagger:
    """Carries frames between an untagged interface and a switch where they are tagged."""

    SOL_PACKET, AUXDATA, VLAN_VALID, OUTGOING = 263, 8, 0x10, 4
    ALL = 0x0003

    def __init__(self, lab, plain, segment, tag):
        self.tag = tag
        self.plain = lab.packet_socket(plain, self.ALL)
        self.uplink = lab.packet_socket(segment.bridge, self.ALL)
        self.trunk = lab.packet_socket(segment.tap, self.ALL)
        self.trunk.setsockopt(self.SOL_PACKET, self.AUXDATA, 1)
        self.stopping = False
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self):
        while not self.stopping:
            for s in select.select([self.plain, self.trunk], [], [], 0.1)[0]:
                try:
                    self._to_switch() if s is self.plain else self._from_switch()
                except OSError:
                    # A frame too long, or an interface that is just going: lost, as on a wire.
                    continue

    def _to_switch(self):
        raw, address = self.plain.recvfrom(65536)
        if address[2] != self.OUTGOING:
            self.uplink.send(raw[:12] + struct.pack(">HH", 0x8100, self.tag) + raw[12:])

    def _from_switch(self):
        raw, extra, _, address = self.trunk.recvmsg(65536, 64)
        if address[2] == self.OUTGOING:
            return
        if raw[12:14] == b"\x81\x00" and int.from_bytes(raw[14:16], "big") & 0xFFF == self.tag:
            self.plain.send(raw[:12] + raw[16:])
            return
        # The kernel has taken the tag out of the frame and tells it beside.
        for level, kind, data in extra:
            if level == self.SOL_PACKET and kind == self.AUXDATA:
                status, tci = struct.unpack("I", data[:4])[0], struct.unpack("H", data[16:18])[0]
                if status & self.VLAN_VALID and tci & 0xFFF == self.tag:
                    self.plain.send(raw)

    def close(self):
        self.stopping = True
        self.thread.join(2)
        for s in (self.plain, self.uplink, self.trunk):
            s.close()
