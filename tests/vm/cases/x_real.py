# SPDX-License-Identifier: BSD-2-Clause
"""Other real targets than Debian's vblade: ggaoed, which works on many requests at a time and in any order, and the
newest vblade. Each test is made for both; without the program it is skipped (--ggaoed, --vblade)."""

import time

from cases.c_files import compare, disk_size, fill_and_check, fsck_clean, set_mtu, whole_afterwards
from lib.case import MIB, Group
from lib.frames import CMD_CONFIG, CMD_MASK, CMD_RESERVE, ERROR, REQUEST, RESPONSE, frame, mac
from lib.target import file_hash
from lib.util import need, same, wait_until

G = Group("real", nics=("em", "vtnet"), memory=1024, tree=True)
EBUSY = "Device busy"


class NewestVblade:
    name, model, firmware = "newest_vblade", "Coraid EtherDrive vblade", "V25"

    @staticmethod
    def serve(t, segs=(0,), file=None, size=64 * MIB, **kw):
        """One process for each interface, all with one file."""
        file = file or t.disk("7.0.img", size)
        return [t.newest_vblade(seg=seg, file=file, **kw) for seg in segs]


class Ggaoed:
    name, model, firmware = "ggaoed", "GGs AoE target", "1.1"

    @staticmethod
    def serve(t, **kw):
        return [t.ggaoed(**kw)]


def of_both(**options):
    """Decorator: makes a test with each of the two."""
    def register(function):
        for kind in (Ggaoed, NewestVblade):
            def one(t, kind=kind):
                function(t, kind)
            one.__name__ = f"{kind.name}_{function.__name__}"
            one.__doc__ = function.__doc__
            G.test(one, **options)
        return function
    return register


def files(t, kind, seg, ifname, mtu):
    """newfs, a tree copied, fsck, compared, and compared again by a module that starts afresh."""
    t.lab.segments[seg].port(0)
    set_mtu(t, seg, ifname, mtu)
    server, = kind.serve(t, segs=(seg,), size=disk_size(t))
    t.load(ifname)
    disk = t.wait_disk()
    fill_and_check(t, disk)
    same(t.leaf("path.0.payload"), "1024" if mtu == 1500 else "8192", f"payload at MTU {mtu}")
    same(t.leaf("errors"), "0", "errors")
    t.unload()
    before = file_hash(server.file)
    t.load(ifname)
    t.wait_disk()
    t.guest.run(f"mount -r {disk} /mnt/a")
    compare(t, "/mnt/a")
    t.guest.run("umount /mnt/a")
    same(file_hash(server.file), before, "sum of the backing file after reads")
    need(server.alive(), "the target ended")


@of_both(limit=1500)
def files_mtu_1500(t, kind):
    files(t, kind, 0, "em0", 1500)


@of_both(limit=1500)
def files_mtu_9000(t, kind):
    files(t, kind, 1, "vtnet0", 9000)


@of_both()
def tells_what_it_is(t, kind):
    """Name, size to the sector, and what it can do; a BIO_DELETE that it did not offer is not sent."""
    size = 40 * MIB + 512 * 3
    kind.serve(t, size=size)
    t.load("em0")
    disk = t.wait_disk()
    info = t.guest.run(f"diskinfo -v {disk}")
    need(kind.model in info and f"\t{size} " in info.replace("\t ", "\t"), f"diskinfo -v:\n{info}")
    for leaf, value in (("model", kind.model), ("firmware", kind.firmware), ("size", str(size)), ("state", "up")):
        same(t.leaf(leaf), value, leaf)
    sniffer = t.sniff(0)
    t.guest.try_run(f"trim -f -l 1m {disk}")
    t.guest.run(f"dd if={disk} of=/dev/null bs=512 count=1 iseek={size // 512 - 1}")
    commands = {raw[27] for raw in sniffer.seen(to_guest=False) if raw[19] == 0 and not raw[14] & 8}
    need(commands <= {0x24, 0xE5, 0xE7, 0xEA, 0xEC} and 0x24 in commands, f"ATA commands: {commands}")
    same(t.leaf("errors"), "0", "errors")


@of_both(limit=1500)
def killed_under_a_copy(t, kind):
    """kill -9 in the middle of a copy, twice, and back; every file is whole in the end."""
    server, = kind.serve(t, segs=(1,), size=disk_size(t))
    t.load("vtnet0")
    disk = t.wait_disk()
    t.guest.run(f"newfs -U {disk} && mkdir -p /mnt/a && mount {disk} /mnt/a", 120)
    job = t.guest.spawn("tar xf /dev/vtbd2 -C /mnt/a && sync")
    for files_there, pause in ((20, 2), (60, 6)):
        t.guest.wait_for(f"test $(find /mnt/a -type f | wc -l) -gt {files_there}", 180, "some files are written")
        need(job.running(), "the copy was over before the target was killed")
        server.kill()
        time.sleep(pause)
        need(job.running(), "the copy ended although the target is dead")
        server.start()
        t.wait_state("up", timeout=30)
    job.succeed(900)
    whole_afterwards(t, disk)
    need("g_vfs_done" not in t.console(), "the console tells of an I/O error")


@of_both(limit=900)
def raw_writer_through_a_kill(t, kind):
    """A raw writer through kill -9 and back: the backing file ends up as the source."""
    size = 32 * MIB
    server, = kind.serve(t, size=size)
    t.load("em0")
    t.wait_disk()
    want = t.guest.run(f"dd if=/dev/vtbd2 bs=1m count={size // MIB} 2>/dev/null | sha256 -q", 120)
    job = t.guest.spawn(f"dd if=/dev/vtbd2 of=/dev/aoe7.0 bs=256k count={size // (256 * 1024)}")
    for pause in (1, 5):
        time.sleep(1)
        server.kill()
        time.sleep(pause)
        server.start()
        t.wait_state("up", timeout=30)
    job.succeed(300)
    t.unload()
    same(file_hash(server.file), want, "sum of the backing file")


@of_both(limit=900)
def two_paths(t, kind):
    """Both interfaces carry requests; one cable is pulled under a copy, which goes on by the other."""
    size = 32 * MIB
    servers = kind.serve(t, segs=(0, 1), size=size)
    t.load("em0 vtnet0")
    disk = t.wait_disk()
    wait_until("both paths are up", lambda: t.guest.sysctl("net.aoe.devices").count("=up") == 2, 20)
    t.guest.run(f"dd if={disk} of=/dev/null bs=1m", 120)
    for path in (0, 1):
        need(int(t.leaf(f"path.{path}.sent")) > 100, f"path {path} sent {t.leaf(f'path.{path}.sent')} frames")
    want = t.guest.run(f"dd if=/dev/vtbd2 bs=1m count={size // MIB} 2>/dev/null | sha256 -q", 120)
    job = t.guest.spawn(f"dd if=/dev/vtbd2 of={disk} bs=256k count={size // (256 * 1024)}")
    t.defer("ifconfig em0 up")
    t.guest.run("ifconfig em0 down")
    job.succeed(300)
    t.unload()
    same(file_hash(servers[0].file), want, "sum of the backing file")


class Station:
    """Another machine on the first switch, which knows commands that the module does not send."""

    def __init__(self, t):
        self.injector, self.tag = t.injector(seg=0), 0
        self.mac = self.injector.mac

    def ask(self, server, command, arg):
        """Sends a request to 7.0 until it is answered; a reply."""
        for _ in range(20):
            self.tag += 1
            raw = frame(server.mac(), self.mac, 7, 0, command, arg, verfl=REQUEST, tag=self.tag)
            self.injector.send(raw.ljust(60, b"\0"))
            end = time.monotonic() + 0.5
            while (reply := self.injector.receive(max(0, end - time.monotonic()))) is not None:
                if reply.response and reply.tag == self.tag:
                    return reply
        return None

    def reserve(self, server, how, *macs):
        """Set (1) or force (2) a reservation."""
        return self.ask(server, CMD_RESERVE, bytes([how, len(macs)]) + b"".join(map(mac, macs)))

    def mask(self, server, *directives):
        """Add (1) or delete (2) stations."""
        arg = bytes([0, 1, 0, len(directives)])
        return self.ask(server, CMD_MASK, arg + b"".join(bytes([0, what]) + mac(who) for what, who in directives))


@of_both(limit=600)
def reserved_by_another(t, kind):
    """While another station holds a reservation, reads and writes fail with EBUSY and change nothing, and the console
    names the cause; when it is over, or when this station is in the list too, they work."""
    server, = kind.serve(t, seed="reserved")
    t.load("em0")
    disk = t.wait_disk()
    guest, station = t.machine.mac(0), Station(t)
    before = file_hash(server.file)
    read = f"dd if={disk} of=/dev/null bs=4k count=1 iseek=7"
    write = f"dd if=/dev/zero of={disk} bs=4k count=1"
    same(station.reserve(server, 1, station.mac).verfl, RESPONSE, "answer to a reservation")
    t.guest.fails(read, EBUSY, 60)
    t.guest.fails(write, EBUSY, 60)
    t.wait_console(r"7\.0.*is reserved by another host")
    same(file_hash(server.file), before, "sum of the backing file")
    # Both are in the list; ggaoed wants it to rise by the last bytes.
    both = sorted((station.mac, guest), key=lambda text: mac(text)[::-1])
    same(station.reserve(server, 2, *both).verfl, RESPONSE, "answer to a reservation for two")
    t.guest.run(read)
    t.guest.run(write)
    same(station.reserve(server, 2, station.mac).verfl, RESPONSE, "answer to a reservation")
    t.guest.fails(read, EBUSY, 60)
    reply = station.reserve(server, 1)
    # ggaoed refuses the holder, too.
    same(reply.verfl, ERROR if kind is Ggaoed else RESPONSE, "answer to a release")
    same(station.reserve(server, 2).verfl, RESPONSE, "answer to a forced release")
    t.guest.run(read)
    t.guest.run(write)
    same(t.leaf("state"), "up", "state")


@of_both(limit=600)
def masked(t, kind):
    """A target that listens to others only is not found, and is once this station is in its list."""
    server, = kind.serve(t, seed="masked")
    guest, station = t.machine.mac(0), Station(t)
    same(station.mask(server, (1, station.mac)).verfl, RESPONSE, "answer to a mask")
    t.load("em0")
    t.guest.run("sleep 5", 30)
    same(t.guest.run("ls /dev | grep -c aoe || true"), "0", "aoe devices")
    same(station.mask(server, (1, guest)).verfl, RESPONSE, "answer to a mask")
    t.guest.set_sysctl("net.aoe.discover", "1")
    disk = t.wait_disk(timeout=60)
    t.guest.run(f"dd if={disk} of=/dev/null bs=1m", 60)


@G.test(limit=600)
def ggaoed_masks_under_load(t):
    """Taken from the list in the middle of its work, the guest waits; put back, it goes on and nothing is lost."""
    size = 32 * MIB
    server = t.ggaoed(size=size)
    t.load("em0")
    disk = t.wait_disk()
    guest, station = t.machine.mac(0), Station(t)
    want = t.guest.run(f"dd if=/dev/vtbd2 bs=1m count={size // MIB} 2>/dev/null | sha256 -q", 120)
    job = t.guest.spawn(f"dd if=/dev/vtbd2 of={disk} bs=256k count={size // (256 * 1024)}")
    time.sleep(0.5)
    station.mask(server, (1, station.mac))
    t.wait_state("down", timeout=30)
    need(job.running(), "the writer ended although the target does not listen")
    station.mask(server, (1, guest))
    t.wait_state("up", timeout=30)
    job.succeed(300)
    t.unload()
    same(file_hash(server.file), want, "sum of the backing file")


@G.test(limit=600)
def ggaoed_keeps_a_config_string(t):
    """Its string outlives the process, and the disk that comes back with it is the same disk."""
    server = t.ggaoed(seed="config")
    t.load("em0")
    disk = t.wait_disk()
    station = Station(t)
    station.ask(server, CMD_CONFIG, bytes([0, 0, 0, 0, 0, 4, 0, 5]) + b"owner")
    server.kill()
    # A read, since of a disk that nobody uses the module asks only now and then.
    job = t.guest.spawn(f"dd if={disk} of=/dev/null bs=1m")
    t.wait_state("down", timeout=30)
    server.start()
    t.wait_state("up", timeout=30)
    job.succeed(60)
    same(t.leaf("config"), "owner", "config string")


@G.test(limit=600)
def ggaoed_grows_while_it_runs(t):
    """It reads the size of its disk again when it is told to, and tells nobody; the module sees it when it asks."""
    size = 32 * MIB
    server = t.ggaoed(size=size)
    t.load("em0")
    disk = t.wait_disk()
    same(t.guest.run(f"diskinfo {disk} | awk '{{ print $3 }}'"), str(size), "size")
    with open(server.file, "r+b") as f:
        f.truncate(2 * size)
    server.reload()
    time.sleep(1)
    t.guest.set_sysctl("net.aoe.target.7.0.revalidate", "1")
    wait_until("the new size", lambda: t.leaf("size") == str(2 * size), 20)
    t.guest.wait_for(f"test $(diskinfo {disk} | awk '{{ print $3 }}') = {2 * size}", 20, "diskinfo has the new size")
    t.guest.run(f"dd if=/dev/vtbd2 of={disk} bs=1m count=4 oseek={2 * size // MIB - 4}", 60)
    same(t.leaf("errors"), "0", "errors")


@of_both(limit=900)
def loss_on_the_wire(t, kind):
    """newfs, a small tree and fsck over a wire that loses, repeats and reorders one frame in a hundred each."""
    kind.serve(t, size=64 * MIB)
    relay = t.relay(0)
    t.load("em0")
    # This wire holds nothing for longer. With 15 s every lost write of a place that is soon written again, as those of
    # directories are, would cost ggaoed as much.
    t.guest.set_sysctl("net.aoe.quarantine_secs", "3")
    disk = t.wait_disk()
    relay.set("both", "loss=1% duplicate=1% reorder=1% reorder-delay=1ms..5ms")
    t.guest.run(f"newfs -U {disk} && mkdir -p /mnt/a && mount {disk} /mnt/a", 240)
    t.guest.run("dd if=/dev/vtbd2 of=/mnt/a/big bs=64k count=128 && cp -R /etc /mnt/a/ && sync", 240)
    t.guest.run("umount /mnt/a", 240)
    fsck_clean(t, disk)
    t.guest.run(f"mount {disk} /mnt/a && diff -r /etc /mnt/a/etc && dd if=/dev/vtbd2 bs=64k count=128 | cmp - /mnt/a/big", 240)
    t.guest.run("umount /mnt/a", 60)
