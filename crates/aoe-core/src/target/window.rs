//! The congestion window of one path, in frames.
//!
//! What overruns on a storage LAN is the target's buffer, and that is bounded by its advertised buffer
//! count already. So the window answers to loss in proportion: two lost frames cost it one, a windowful of
//! answers earns one. Where a share p of all frames is lost it settles at 2/p frames; a windowful lost at
//! once halves it. What it once had it earns back by any answers; beyond that it grows only while it is
//! full, since a window that is not says nothing about what the path can take.

use crate::limits::{INITIAL_WINDOW, MAX_WINDOW, MIN_WINDOW};

#[derive(Copy, Clone, Debug)]
pub(crate) struct Window {
    size: u16,
    /// Below it every answer widens the window, above it a windowful of answers does.
    threshold: u16,
    /// The widest it was.
    reached: u16,
    /// Answers since the window was last widened.
    answers: u16,
    /// Frames that the target buffers, as far as that is believed.
    buffers: u16,
    /// A lost frame that was not paid for yet.
    owing: bool,
}

impl Window {
    pub(crate) const EMPTY: Self = Self {
        size: INITIAL_WINDOW,
        threshold: MAX_WINDOW,
        reached: INITIAL_WINDOW,
        answers: 0,
        buffers: 1,
        owing: false,
    };

    /// The target says that it buffers so many frames (0 counts as 1).
    pub(crate) fn set_buffers(&mut self, count: u16) {
        self.buffers = count.clamp(1, MAX_WINDOW);
    }

    /// Frames that may be in flight to the target, by whatever paths.
    pub(crate) const fn buffers(&self) -> u16 {
        self.buffers
    }

    /// Frames that may be in flight on this path.
    pub(crate) fn limit(&self) -> u16 {
        self.size.min(self.buffers)
    }

    /// A frame was answered while `outstanding` were in flight, this one counted.
    pub(crate) fn on_answer(&mut self, outstanding: u16) {
        let full = outstanding >= self.size;
        if self.size >= MAX_WINDOW || (!full && self.size >= self.reached) {
            return;
        }
        self.answers = self.answers.saturating_add(1);
        if self.size < self.threshold || self.answers >= self.size {
            self.size += 1;
            self.reached = self.reached.max(self.size);
            self.answers = 0;
        }
    }

    /// A frame was lost.
    pub(crate) fn on_loss(&mut self) {
        if self.owing {
            self.size = (self.size - 1).max(MIN_WINDOW);
        }
        self.owing = !self.owing;
        self.threshold = self.size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// To a target that buffers as many frames as are ever sent.
    fn wide() -> Window {
        let mut window = Window::EMPTY;
        window.set_buffers(MAX_WINDOW);
        window
    }

    fn limit(window: &mut Window, buffers: u16) -> u16 {
        window.set_buffers(buffers);
        window.limit()
    }

    #[test]
    fn two_losses_cost_one_frame_and_a_windowful_lost_half_of_it() {
        let mut window = wide();
        window.on_loss();
        window.on_loss();
        assert_eq!(window.limit(), INITIAL_WINDOW - 1);
        let mut window = wide();
        for _ in 0..INITIAL_WINDOW {
            window.on_loss();
        }
        assert_eq!(window.limit(), INITIAL_WINDOW / 2);
    }

    #[test]
    fn at_two_percent_loss_it_settles_near_a_hundred() {
        let mut window = wide();
        for n in 0..200_000u32 {
            if n % 50 == 0 {
                window.on_loss();
            } else {
                window.on_answer(window.limit());
            }
        }
        let size = window.limit();
        assert!((80..=120).contains(&size), "{size}");
    }

    #[test]
    fn what_random_loss_took_is_earned_back_by_a_window_that_is_seldom_full() {
        let mut window = wide();
        for _ in 0..200 {
            window.on_answer(MAX_WINDOW);
        }
        for n in 0..200_000u32 {
            if n % 50 == 0 {
                window.on_loss();
            } else {
                window.on_answer(16);
            }
        }
        let size = window.limit();
        assert!((80..=120).contains(&size), "{size}");
    }

    #[test]
    fn never_below_two_nor_above_the_buffer_count() {
        let mut window = wide();
        for _ in 0..100 {
            window.on_loss();
        }
        assert_eq!(limit(&mut window, 16), MIN_WINDOW);
        assert_eq!(limit(&mut window, 0), 1);
        assert_eq!(limit(&mut window, 1), 1);
        for _ in 0..100_000 {
            window.on_answer(MAX_WINDOW);
        }
        assert_eq!(limit(&mut window, 1024), MAX_WINDOW);
        assert_eq!(limit(&mut window, 16), 16);
    }

    #[test]
    fn an_idle_window_does_not_grow() {
        let mut window = wide();
        for _ in 0..1000 {
            window.on_answer(1);
        }
        assert_eq!(window.limit(), INITIAL_WINDOW);
    }
}
