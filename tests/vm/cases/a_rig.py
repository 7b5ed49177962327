# SPDX-License-Identifier: BSD-2-Clause
"""The rig itself: without these the other verdicts mean nothing."""

from lib.case import Group
from lib.frames import BROADCAST, CMD_CONFIG, REQUEST, config_arg, frame
from lib.util import need, same

G = Group("rig")


@G.test
def shell_tells_output_and_exit_code(t):
    same(t.guest.run("echo hello; echo two"), "hello\ntwo", "output")
    same(t.guest.try_run("exit 7").code, 7, "exit code")
    same(t.guest.try_run("fi").code != 0, True, "a syntax error is an error of the command only")
    same(t.guest.run("printf '%s' \"a'b\""), "a'b", "quoting")
    same(len(t.guest.run("jot -b 0123456789abcdef 4000")), 4000 * 17 - 1, "long output")
    for tail in ("/a", "a", "'q'", " z", "=", ";:"):
        # Long commands go over the line in pieces, whatever the last one looks like.
        word = "x" * (2 * t.guest.PIECE - len("echo ''")) + tail.replace("'", "")
        same(t.guest.run(f"echo '{word}'"), word, f"a long command that ends in {tail!r}")
    job = t.guest.spawn("sleep 1; echo done; exit 3")
    need(job.running(), "a job runs in the background")
    done = job.wait(20)
    same((done.code, done.out.strip()), (3, "done"), "job")


@G.test
def scanner_sees_what_the_console_says(t):
    t.guest.run("echo 'lock order reversal: (made up by the test)' > /dev/console")
    t.wait_console("made up by the test")
    found = t.rig.scanner.complaints()
    same(len(found), 1, "complaints")
    t.guest.run("echo 'nothing special' > /dev/console")
    t.wait_console("nothing special")
    same(t.rig.scanner.complaints(), [], "complaints after harmless words")


@G.test
def frames_reach_the_guest_and_vblade(t):
    """vblade answers the injector, and the sniffer on the guest's tap sees the broadcast."""
    vb = t.vblade(seg=0, shelf=7, slot=0)
    sniffer = t.sniff(0)
    injector = t.injector(0)
    injector.send(frame(BROADCAST, injector.mac, 0xFFFF, 0xFF, CMD_CONFIG, config_arg(bufcnt=0, firmware=0, sectors=0,
                        version_command=0), REQUEST, tag=0x1234))
    answer = injector.receive(5)
    need(answer is not None and answer.response and (answer.shelf, answer.slot) == (7, 0), f"answer {answer}")
    same((answer.tag, answer.src), (0x1234, vb.mac()), "tag and sender")
    same(len(sniffer.seen(to_guest=True)), 1, "broadcasts that went to the guest")
    vb.kill()
    injector.send(frame(BROADCAST, injector.mac, 0xFFFF, 0xFF, CMD_CONFIG, config_arg(version_command=0), REQUEST))
    same(injector.receive(1), None, "answer of a killed vblade")
