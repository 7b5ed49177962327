//! How much longer than usual a path is given before something on it is taken for lost.
//!
//! Loss is a guess. Each time one turns out wrong (the copy thought lost was answered after all), the
//! path is given twice the time; after some right guesses in a row, half of it again. So it is after
//! many answers that none had to be guessed about: a wrong guess costs one frame, so a few in a thousand
//! are cheaper than to wait long for each frame that is lost.

use crate::limits::MAX_TAIL_FACTOR;

/// For answers that come in another order than frames were sent. To be wrong here makes the window
/// smaller too.
pub(crate) type Reordering = Patience<1024, 16, 1024>;
/// For silence. To be wrong here costs one frame, and to be right late keeps a request waiting.
pub(crate) type Silence = Patience<MAX_TAIL_FACTOR, 4, 256>;

/// A factor that learns from wrong guesses: doubled by each up to `MAX`, halved by so many `RIGHT` ones
/// in a row, and by so many `ANSWERS` in a row.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Patience<const MAX: u16, const RIGHT: u16, const ANSWERS: u16> {
    factor: u16,
    right: u16,
    /// Answers in a row that it still takes.
    answers_left: u16,
}

impl<const MAX: u16, const RIGHT: u16, const ANSWERS: u16> Patience<MAX, RIGHT, ANSWERS> {
    pub(crate) const EMPTY: Self = Self {
        factor: 1,
        right: 0,
        answers_left: ANSWERS,
    };

    /// How many times the usual leeway.
    pub(crate) fn factor(self) -> u64 {
        u64::from(self.factor)
    }

    /// What was taken for lost was only late.
    pub(crate) fn note_wrong(&mut self) {
        self.factor = self.factor.saturating_mul(2).min(MAX);
        self.right = 0;
        self.answers_left = ANSWERS;
    }

    /// What was taken for lost was lost.
    pub(crate) fn note_right(&mut self) {
        self.right += 1;
        if self.right >= RIGHT {
            self.right = 0;
            self.shorten();
        }
    }

    /// Something was answered in time.
    pub(crate) fn note_answer(&mut self) {
        self.answers_left -= 1;
        if self.answers_left == 0 {
            self.answers_left = ANSWERS;
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        self.factor = (self.factor / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_with_each_wrong_guess_and_halves_with_many_right_ones() {
        let mut patience = Reordering::EMPTY;
        for _ in 0..3 {
            patience.note_wrong();
        }
        assert_eq!(patience.factor(), 8);
        for _ in 0..15 {
            patience.note_right();
        }
        patience.note_wrong();
        assert_eq!(patience.factor(), 16, "a wrong guess counts anew");
        for _ in 0..16 {
            patience.note_right();
        }
        assert_eq!(patience.factor(), 8);
    }

    #[test]
    fn comes_down_where_nothing_is_lost() {
        let mut patience = Reordering::EMPTY;
        patience.note_wrong();
        patience.note_wrong();
        for _ in 0..2 * 1024 {
            patience.note_answer();
        }
        assert_eq!(patience.factor(), 1);
    }

    #[test]
    fn stays_within_its_bounds() {
        let mut patience = Reordering::EMPTY;
        for _ in 0..300 {
            patience.note_wrong();
        }
        assert_eq!(patience.factor(), 1024);
        for _ in 0..30_000 {
            patience.note_right();
        }
        assert_eq!(patience.factor(), 1);
    }
}
