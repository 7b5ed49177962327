# SPDX-License-Identifier: BSD-2-Clause
"""Times of requests by the module's own probes, which make them slower: the longest of all, and when the parts happen of
one that is alone on its way."""

from figures import number
from lib.util import HarnessError

#: With buffers of a size that the guest's memory has room for, and says nothing about.
DTRACE = "dtrace -q -x bufsize=64k -x aggsize=64k"
#: Times every request from its way into aoe.ko to its end. Nothing is taken out of the table, which DTrace would do
#: too late for so many: the addresses come again and again.
TIMED = """
aoe:::submit { at[arg0] = timestamp; }
aoe:::complete /at[arg0]/ { @longest = max((timestamp - at[arg0]) / 1000); @timed = count(); }
END { printa("%@d ", @longest); printa("%@d\\n", @timed); }
"""
#: Of so many of the requests at least the time has to be known.
TIMED_PART = 0.98
#: Of a request's parts.
SCRIPT = """
BEGIN { begun = timestamp; begun = 0; ended = begun; first_sent = begun; first_heard = begun; sent = 0; heard = 0; }
aoe:::submit /ended/ { @next = avg(timestamp - ended); }
aoe:::submit { begun = timestamp; sent = 0; heard = 0; }
aoe:::frame-sent { last_sent = timestamp; first_sent = sent++ ? first_sent : last_sent; }
aoe:::frame-received { last_heard = timestamp; first_heard = heard++ ? first_heard : last_heard; }
aoe:::complete /begun && sent && heard/ {
	ended = timestamp;
	@first_sent = avg(first_sent - begun); @first_heard = avg(first_heard - begun); @last_sent = avg(last_sent - begun);
	@last_heard = avg(last_heard - begun); @ended = avg(ended - begun); @frames = avg(sent); @requests = count();
	begun = 0;
}
tick-%ds { exit(0); }
END {
	printa("%%@d ", @requests); printa("%%@d ", @frames); printa("%%@d ", @first_sent); printa("%%@d ", @first_heard);
	printa("%%@d ", @last_sent); printa("%%@d ", @last_heard); printa("%%@d ", @ended); printa("%%@d\\n", @next);
}
"""


def stages(guest, seconds):
    """Means of what begins and ends while a load runs that has one request on its way at any time."""
    text = guest.run(f"{DTRACE} -n '{SCRIPT % int(seconds)}' 2>&1", seconds * 4 + 120)
    try:
        requests, frames, *times = map(int, text.split())
        first_sent, first_heard, last_sent, last_heard, ended, after = (number(t / 1000) for t in times)
    except ValueError as e:
        raise HarnessError(f"DTrace gave no times: {text.strip()[:300]}") from e
    return (f"{requests} of {frames} frames, us after submission: first frame {first_sent}, first answer {first_heard}, last frame "
            f"{last_sent}, last answer {last_heard}, end {ended}; next request {after} after the end")


def longest(guest, command, seconds):
    """The longest time that a request of this program spent in the module, in microseconds; None where there is no DTrace."""
    if guest.try_run("which dtrace").code != 0:
        return None
    guest.run("kldload -n dtraceall", 60)
    text = guest.run(f"{DTRACE} -x dynvarsize=32m -n '{TIMED}' -c '{command}' 2>&1", seconds * 4 + 300)
    try:
        # Its own remarks aside, of times that it had no room for above all.
        lines = [line.split() for line in text.split("\n") if line.strip() and not line.startswith("dtrace:")]
        program, dtrace = lines
        made, (most, timed) = float(program[4]), map(float, dtrace)
    except (ValueError, IndexError) as e:
        raise HarnessError(f"times of requests by DTrace: {text.strip()[:300]}") from e
    if timed < TIMED_PART * made:
        raise HarnessError(f"DTrace timed {timed:.0f} of {made:.0f} requests")
    return most
