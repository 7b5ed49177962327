//! The congestion window of one path, in frames.
//!
//! What overruns on a storage LAN is the target's buffer, and that is bounded by its advertised
//! buffer count already. So a loss costs a third of the window once per round trip, never all of it.

use crate::limits::{INITIAL_WINDOW, MAX_WINDOW, MIN_WINDOW};

#[derive(Copy, Clone, Debug)]
pub(crate) struct Window {
    size: u16,
    /// Below it every answer widens the window, above it a windowful of answers does.
    threshold: u16,
    /// Answers since the window was last widened.
    answers: u16,
    /// Losses of frames sent before this sequence number belong to a loss already paid for.
    paid_until: u64,
}

impl Window {
    pub(crate) const EMPTY: Self = Self {
        size: INITIAL_WINDOW,
        threshold: MAX_WINDOW,
        answers: 0,
        paid_until: 0,
    };

    /// Frames that may be in flight to a target that buffers `buffer_count` (0 counts as 1).
    pub(crate) fn limit(&self, buffer_count: u16) -> u16 {
        self.size.min(buffer_count.clamp(1, MAX_WINDOW))
    }

    /// A frame was answered while `outstanding` were in flight, this one counted. A window that was
    /// not full says nothing about what the path can take, so it does not grow.
    pub(crate) fn on_answer(&mut self, outstanding: u16) {
        if outstanding < self.size || self.size >= MAX_WINDOW {
            return;
        }
        self.answers = self.answers.saturating_add(1);
        if self.size < self.threshold || self.answers >= self.size {
            self.size += 1;
            self.answers = 0;
        }
    }

    /// The frame with sequence number `seq` was lost; `next_seq` will be the next one sent.
    pub(crate) fn on_loss(&mut self, seq: u64, next_seq: u64) {
        if seq < self.paid_until {
            return;
        }
        self.paid_until = next_seq;
        self.size = (self.size - self.size / 3).max(MIN_WINDOW);
        self.threshold = self.size;
        self.answers = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_losses_in_one_round_trip_cost_once() {
        let mut window = Window::EMPTY;
        for seq in 10..20 {
            window.on_loss(seq, 30);
        }
        assert_eq!(window.limit(128), 11);
        window.on_loss(31, 40);
        assert_eq!(window.limit(128), 8);
    }

    #[test]
    fn never_below_two_nor_above_the_buffer_count() {
        let mut window = Window::EMPTY;
        for seq in 0..100 {
            window.on_loss(seq, seq + 1);
        }
        assert_eq!(window.limit(16), MIN_WINDOW);
        assert_eq!(window.limit(0), 1);
        assert_eq!(window.limit(1), 1);
        for _ in 0..100_000 {
            window.on_answer(MAX_WINDOW);
        }
        assert_eq!(window.limit(1024), MAX_WINDOW);
        assert_eq!(window.limit(16), 16);
    }

    #[test]
    fn an_idle_window_does_not_grow() {
        let mut window = Window::EMPTY;
        for _ in 0..1000 {
            window.on_answer(1);
        }
        assert_eq!(window.limit(128), INITIAL_WINDOW);
    }
}
