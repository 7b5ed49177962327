# SPDX-License-Identifier: BSD-2-Clause
"""A laboratory of network namespaces: an initiator's, a target's, and wires between them."""
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ETHER = HERE / "ether"
# No command of a test may take longer than this, in seconds.
PATIENCE = 180
MIB = 1 << 20
TESTS = []


def test(function):
    """Mark a function as a test; its docstring says what is expected."""
    TESTS.append(function)
    return function


class Skip(Exception):
    """The machine lacks something that the test needs."""


def sh(*command, **kwargs):
    """Run a command that has to succeed; return what it printed."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True,
                          timeout=PATIENCE, check=False, **kwargs)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: status {done.returncode}: "
                             f"{done.stderr.strip()}")
    return done.stdout


def sha256(path, offset=0, length=None):
    """The checksum of a file, or of a part of it."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        file.seek(offset)
        while length is None or length > 0:
            data = file.read(1 << 20 if length is None else min(length, 1 << 20))
            if not data:
                break
            digest.update(data)
            length = None if length is None else length - len(data)
    return digest.hexdigest()


class Result:
    """What a run of aoectl printed and how it ended."""

    def __init__(self, status, out, err):
        self.status = status
        self.out = out
        self.err = err

    def json(self):
        """The result as libxo's JSON, checked for its shape."""
        document = json.loads(self.out)
        assert document.get("__version") == "1", document
        return document["aoectl"]


class Lab:
    """Namespaces, wires, targets and files of one test; all gone afterwards."""

    serial = 0

    def __init__(self, aoectl, target):
        Lab.serial += 1
        self.aoectl_path = aoectl
        self.target_path = target
        self.prefix = f"aoe{os.getpid()}x{Lab.serial}"
        self.children = []
        self.logs = []
        self.namespaces = []
        self.wires = 0
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="aoe-interop-"))

    def __enter__(self):
        try:
            for which in "itw":
                self.namespaces.append(self.ns(which))
                sh("ip", "netns", "add", self.ns(which))
                sh("ip", "-n", self.ns(which), "link", "set", "lo", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()
        for name in self.namespaces:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    def ended(self):
        """What each vblade said that ended without being killed."""
        said = []
        for child, log in self.logs:
            if (child.poll() or 0) > 0:
                with open(log, encoding="utf-8", errors="replace") as file:
                    said.append(f"; a vblade ended with status {child.returncode}: {file.read().strip()[-200:]}")
        return "".join(said)

    def ns(self, which):
        """The name of a namespace: i(nitiator), t(arget) or w(ire)."""
        return f"{self.prefix}{which}"

    def start(self, which, *command, **kwargs):
        """Start a program in a namespace; it is killed at the end of the test."""
        command = ["ip", "netns", "exec", self.ns(which), *map(str, command)]
        child = subprocess.Popen(command, text=True, **kwargs)
        self.children.append(child)
        return child

    def link(self, which, name, *what):
        """Change an interface."""
        sh("ip", "-n", self.ns(which), "link", "set", name, *what)

    def pair(self, ns_a, a, ns_b, b, mtu):
        """A veth pair between two namespaces, up."""
        sh("ip", "link", "add", a, "mtu", mtu, "netns", self.ns(ns_a), "type", "veth",
           "peer", "name", b, "mtu", mtu, "netns", self.ns(ns_b))
        for which, name in ((ns_a, a), (ns_b, b)):
            # Not a protocol of ours, and it would be noise in the counters.
            subprocess.run(["ip", "netns", "exec", self.ns(which), "sysctl", "-qw",
                            f"net.ipv6.conf.{name}.disable_ipv6=1"],
                           stderr=subprocess.DEVNULL, check=False)
            self.link(which, name, "up")

    def wire(self, mtu=1500, switch=False):
        """A wire from i<N> at the initiator to t<N> at the target; N is returned. With a switch in it, the target
        keeps its link while the initiator has none: a vblade ends when its interface does not take an answer."""
        if not switch:
            number = self.wires
            self.wires += 1
            self.pair("i", f"i{number}", "t", f"t{number}", mtu)
            return number
        number = self.cut_wire(mtu)
        sh("ip", "-n", self.ns("w"), "link", "add", f"br{number}", "type", "bridge")
        for port in (f"wi{number}", f"wt{number}"):
            self.link("w", port, "master", f"br{number}")
        self.link("w", f"br{number}", "mtu", mtu, "up")
        return number

    def cut_wire(self, mtu):
        """A wire with its two ends apart, wi<N> and wt<N>, for what is to be between them; N is returned."""
        number = self.wires
        self.wires += 1
        self.pair("i", f"i{number}", "w", f"wi{number}", mtu)
        self.pair("w", f"wt{number}", "t", f"t{number}", mtu)
        return number

    def bad_wire(self, mtu=1500, **trouble):
        """The same, with a process in the middle that loses, duplicates and reorders frames."""
        number = self.cut_wire(mtu)
        options = [f"--{key}={value}" for key, value in trouble.items()]
        child = self.start("w", ETHER, "wire", f"wi{number}", f"wt{number}", *options,
                           stdout=subprocess.PIPE)
        assert child.stdout.readline() == "ready\n", "the wire did not start"
        return child

    def disk(self, size, name="disk", fill=False):
        """A file to export, of zeros or random."""
        path = self.dir / name
        if fill:
            self.random_file(size, name)
        else:
            with open(path, "wb") as file:
                file.truncate(size)
        return path

    def random_file(self, size, name):
        """A file of random bytes."""
        path = self.dir / name
        with open(path, "wb") as file:
            left = size
            while left > 0:
                piece = os.urandom(min(left, 1 << 20))
                file.write(piece)
                left -= len(piece)
        return path

    def vblade(self, disk, interface="t0", address="7.0", options=(), hostname=None, program="vblade"):
        """Export a file by a real vblade; wait until it says so."""
        shelf, slot = address.split(".")
        command = [program, *options, shelf, slot, interface, disk]
        if hostname:
            command = ["unshare", "-u", "sh", "-c", 'hostname "$0"; exec "$@"', hostname, *command]
        log = open(self.dir / f"vblade-{len(self.children)}.log", "w+", encoding="utf-8")
        child = self.start("t", *command, stdout=log, stderr=subprocess.STDOUT)
        self.logs.append((child, log.name))
        time.sleep(0.05)
        assert child.poll() is None, f"vblade ended: {open(log.name, encoding='utf-8').read()}"
        return child

    def ggaoed(self, program, disk, interfaces=("t0",), address="7.0", name="disk", **settings):
        """Export a file by a real ggaoed. What it keeps is in a directory by the name of the disk, also when it is
        started again. It tells of a start when it has opened all its interfaces."""
        shelf, slot = address.split(".")
        home = self.dir / f"ggaoed-{name}"
        home.mkdir(exist_ok=True)
        # Without rings of packets that it shares with the kernel: answers are padded to 60 bytes then.
        settings = {"ring-buffer-size": 0, "direct-io": "false", "interfaces": ",".join(interfaces),
                    "pid-file": home / "pid", "control-socket": home / "socket", "state-directory": home, **settings}
        device = {key: settings.pop(key) for key in ("queue-length", "read-only", "accept", "deny") if key in settings}
        device |= {"path": disk, "shelf": shelf, "slot": slot}
        with open(home / "conf", "w", encoding="utf-8") as file:
            for section, values in (("defaults", settings), (name, device)):
                file.write(f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items()))
        (home / "socket").unlink(missing_ok=True)
        log = open(self.dir / f"ggaoed-{len(self.children)}.log", "w+", encoding="utf-8")
        child = self.start("t", program, "-n", "-c", home / "conf", stdout=log, stderr=subprocess.STDOUT)
        end = time.monotonic() + 10
        while self.packet_sockets(child) < len(interfaces):
            assert child.poll() is None, f"ggaoed ended: {open(log.name, encoding='utf-8').read()}"
            assert time.monotonic() < end, "ggaoed does not listen"
            # It overlooks the links of an answer that its first buffer had no room for, and asks again, with a
            # larger one, when it reads its configuration again. The socket is the last that it makes ready.
            if (home / "socket").exists():
                child.send_signal(signal.SIGHUP)
            time.sleep(0.05)
        return child

    @staticmethod
    def packet_sockets(child):
        """How many sockets for AoE frames a process has."""
        try:
            fds = pathlib.Path(f"/proc/{child.pid}/fd")
            mine = {os.readlink(fd) for fd in fds.iterdir()}
            rows = [line.split() for line in pathlib.Path(f"/proc/{child.pid}/net/packet").read_text().splitlines()[1:]]
        except OSError:
            return 0
        return sum(f"socket:[{row[8]}]" in mine and int(row[3], 16) == 0x88A2 for row in rows)

    def model(self, disk, *options, interfaces=("t0",)):
        """Export a file by the project's own target, which has the quirks of others and is strict."""
        log = open(self.dir / f"model-{len(self.children)}.log", "w+", encoding="utf-8")
        child = self.start("t", self.target_path, *interfaces, disk, *options,
                           stdout=log, stderr=subprocess.STDOUT)
        time.sleep(0.1)
        assert child.poll() is None, f"aoe-target ended: {open(log.name, encoding='utf-8').read()}"
        return child

    def aoectl(self, *args, status=0, stdin=None, timeout=PATIENCE):
        """Run aoectl in the initiator's namespace, and see it end as expected."""
        command = ["ip", "netns", "exec", self.ns("i"), self.aoectl_path, *map(str, args)]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True,
                              timeout=timeout, check=False)
        if done.returncode != status:
            raise AssertionError(f"aoectl {' '.join(map(str, args))}: status {done.returncode}, "
                                 f"not {status}: {done.stdout.strip()} {done.stderr.strip()}")
        return Result(done.returncode, done.stdout, done.stderr)

    def foreign(self, *command, status=0, stdin=None):
        """Run somebody else's tool in the initiator's namespace; return what it printed on both channels."""
        if shutil.which(command[0]) is None:
            raise Skip(f"{command[0]} is not installed")
        done = subprocess.run(["ip", "netns", "exec", self.ns("i"), *map(str, command)], input=stdin, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, check=False)
        assert done.returncode == status, f"{command}: status {done.returncode}, not {status}: {done.stdout}"
        return done.stdout

    def mac(self, which, name):
        """The Ethernet address of an interface."""
        return json.loads(sh("ip", "-n", self.ns(which), "-j", "link", "show", name))[0]["address"]

    def second_station(self, name="t0"):
        """Another interface of the target on the same wire, with an address of its own."""
        try:
            sh("ip", "-n", self.ns("t"), "link", "add", f"{name}b", "link", name, "type", "macvlan",
               "mode", "bridge")
        except AssertionError as error:
            raise Skip("no macvlan interfaces here") from error
        self.link("t", f"{name}b", "up")
        return f"{name}b"

    def exchange(self, interface, request):
        """Send an AoE message (hex, from byte 14 of the frame on); return the answers."""
        out = sh("ip", "netns", "exec", self.ns("i"), ETHER, "exchange", interface, request)
        return out.split()


def copy_there_and_back(lab, size, disk, interfaces="i0", extra=()):
    """Write random bytes, read them back, compare three ways."""
    source = lab.random_file(size, "source")
    back = lab.dir / "back"
    lab.aoectl("write", "-i", interfaces, "7.0", source, "--yes", *extra)
    lab.aoectl("read", "-i", interfaces, "7.0", back, "--length", size, *extra)
    assert sha256(source) == sha256(back), "what was read is not what was written"
    assert sha256(source) == sha256(disk, 0, size), "the target's file is not what was written"
    lab.aoectl("verify", "-i", interfaces, "7.0", source, *extra)


def one_target(lab, **kwargs):
    """The only target that discover lists."""
    targets = lab.aoectl("discover", *kwargs.get("interfaces", ["i0"]), "--libxo", "json").json()["target"]
    assert len(targets) == 1, targets
    return targets[0]


class SlowWrite:
    """aoectl writing what is fed to it in two halves, so that something can happen in between."""

    def __init__(self, lab, size, *args):
        self.lab = lab
        self.source = lab.random_file(size, "source")
        self.size = size
        command = ["ip", "netns", "exec", lab.ns("i"), lab.aoectl_path, "write", "7.0", "-", "--yes",
                   *map(str, args)]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE)
        lab.children.append(self.child)
        self.file = open(self.source, "rb")

    def feed(self, size):
        """Give it so many bytes more. It takes them only as fast as the target does."""
        self.child.stdin.write(self.file.read(size))
        self.child.stdin.flush()

    def feed_rest(self):
        """Give it the rest without waiting for it."""
        # From here on the pipe belongs to the thread; communicate must not touch it.
        stdin, self.child.stdin = self.child.stdin, None

        def work():
            try:
                shutil.copyfileobj(self.file, stdin, 1 << 16)
                stdin.close()
            except BrokenPipeError:
                pass
        threading.Thread(target=work, daemon=True).start()

    def end(self, status=0):
        """See it end, and what it said."""
        out, err = self.child.communicate(timeout=PATIENCE)
        assert self.child.returncode == status, f"status {self.child.returncode}: {out!r} {err!r}"
        return out.decode(), err.decode()
