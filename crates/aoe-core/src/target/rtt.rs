//! Round-trip estimation per path (RFC 6298), in nanoseconds.

use crate::Instant;
use crate::limits::{INITIAL_RTO_NS, MAX_RTO_NS, RTT_FLOOR_NS};

/// The shortest round trip of late: what the path takes when nothing queues on it. Kept as the minimum
/// of two spans of time, of which the older is dropped when the newer is over.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Floor {
    older: u64,
    newer: u64,
    /// When the newer span is over.
    until: Instant,
}

impl Floor {
    pub(crate) const EMPTY: Self = Self {
        older: u64::MAX,
        newer: u64::MAX,
        until: Instant::from_nanos(0).after(RTT_FLOOR_NS),
    };

    pub(crate) fn sample(&mut self, now: Instant, rtt: u64) {
        if now >= self.until {
            self.older = self.newer;
            self.newer = u64::MAX;
            self.until = now.after(RTT_FLOOR_NS);
        }
        self.newer = self.newer.min(rtt);
    }

    /// 0 before the first sample.
    pub(crate) fn get(&self) -> u64 {
        match self.older.min(self.newer) {
            u64::MAX => 0,
            rtt => rtt,
        }
    }
}

/// Smoothed round-trip time and its mean deviation.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Rtt {
    /// Smoothed round-trip time; 0 before the first sample.
    srtt: u64,
    var: u64,
}

impl Rtt {
    pub(crate) const EMPTY: Self = Self { srtt: 0, var: 0 };

    pub(crate) const fn srtt(&self) -> u64 {
        self.srtt
    }

    /// Takes a sample. Gains are 1/8 and 1/4; a sample of 0 counts as one nanosecond, so that 0 can
    /// mean "never measured".
    pub(crate) fn sample(&mut self, rtt: u64) {
        let rtt = rtt.clamp(1, MAX_RTO_NS * 8);
        if self.srtt == 0 {
            self.srtt = rtt;
            self.var = rtt / 2;
            return;
        }
        let error = self.srtt.abs_diff(rtt);
        self.var = self.var - self.var / 4 + error / 4;
        // At least 1 remains: an eighth of less than 8 is 0.
        self.srtt = self.srtt - self.srtt / 8 + rtt / 8;
    }

    /// By when nearly every answer is there; `None` before the first sample.
    pub(crate) fn expected(&self) -> Option<u64> {
        (self.srtt != 0).then(|| self.srtt + 4 * self.var)
    }

    /// The time-out for a frame just sent, at least `floor`, doubled `backoff` times.
    pub(crate) fn rto(&self, floor: u64, backoff: u8) -> u64 {
        let base = self
            .expected()
            .map_or(INITIAL_RTO_NS, |expected| expected.max(floor));
        base.saturating_mul(1 << backoff.min(16)).min(MAX_RTO_NS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MIN_RTO_NS;
    use crate::time::{MS, SEC, US};

    #[test]
    fn starts_from_the_first_sample() {
        let mut rtt = Rtt::EMPTY;
        assert_eq!(rtt.rto(MIN_RTO_NS, 0), INITIAL_RTO_NS);
        rtt.sample(8 * MS);
        assert_eq!(rtt.srtt(), 8 * MS);
        assert_eq!(rtt.rto(MIN_RTO_NS, 0), 8 * MS + 4 * (4 * MS));
    }

    #[test]
    fn the_floor_forgets_what_is_long_ago() {
        let mut floor = Floor::EMPTY;
        assert_eq!(floor.get(), 0);
        let at = |span: u64| Instant::from_nanos(RTT_FLOOR_NS * span + 1);
        floor.sample(at(1), 200 * US);
        floor.sample(at(1), 900 * US);
        assert_eq!(floor.get(), 200 * US);
        floor.sample(at(2), 700 * US);
        assert_eq!(floor.get(), 200 * US);
        floor.sample(at(3), 800 * US);
        assert_eq!(floor.get(), 700 * US);
    }

    #[test]
    fn settles_on_a_steady_round_trip_within_a_few_dozen_samples() {
        let mut rtt = Rtt::EMPTY;
        rtt.sample(100 * MS);
        for _ in 0..60 {
            rtt.sample(200 * US);
        }
        assert!(rtt.srtt() < 300 * US, "{}", rtt.srtt());
        assert_eq!(rtt.rto(MIN_RTO_NS, 0), MIN_RTO_NS);
    }

    #[test]
    fn backs_off_to_the_ceiling_and_never_overflows() {
        let mut rtt = Rtt::EMPTY;
        rtt.sample(1);
        assert_eq!(rtt.rto(MIN_RTO_NS, 0), MIN_RTO_NS);
        assert_eq!(rtt.rto(MIN_RTO_NS, 1), 2 * MIN_RTO_NS);
        assert_eq!(rtt.rto(MIN_RTO_NS, 255), SEC);
        for _ in 0..100 {
            rtt.sample(u64::MAX);
        }
        assert_eq!(rtt.rto(MIN_RTO_NS, 255), SEC);
    }
}
