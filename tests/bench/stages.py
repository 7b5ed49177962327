# SPDX-License-Identifier: BSD-2-Clause
"""When the parts of a request happen that is alone on its way, by the module's own probes, which make it slower."""

from figures import number
from lib.util import HarnessError
from systems import DTRACE

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
