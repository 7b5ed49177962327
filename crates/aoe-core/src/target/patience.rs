//! How much longer than usual a path is given before something on it is taken for lost.
//!
//! Loss is a guess. Each time one turns out wrong (the copy thought lost was answered after all), the
//! path is given twice the time; after sixteen right guesses in a row, half of it again. So it is after
//! many answers that none had to be guessed about: a wrong guess costs one frame, so one in a thousand
//! is cheaper than to wait long for each frame that is lost.

/// Where the doubling stops.
const MAX_FACTOR: u16 = 1024;
/// Right guesses in a row for which the patience is halved.
const RIGHT_GUESSES: u16 = 16;
/// Answers in a row for which it is halved.
const ANSWERS: u16 = 1024;

/// A factor that learns from wrong guesses.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Patience {
    factor: u16,
    right: u16,
    answers: u16,
}

impl Patience {
    pub(crate) const EMPTY: Self = Self {
        factor: 1,
        right: 0,
        answers: 0,
    };

    /// How many times the usual leeway.
    pub(crate) fn factor(self) -> u64 {
        u64::from(self.factor)
    }

    /// What was taken for lost was only late.
    pub(crate) fn note_wrong(&mut self) {
        self.factor = self.factor.saturating_mul(2).min(MAX_FACTOR);
        self.right = 0;
        self.answers = 0;
    }

    /// What was taken for lost was lost.
    pub(crate) fn note_right(&mut self) {
        self.right += 1;
        if self.right >= RIGHT_GUESSES {
            self.right = 0;
            self.shorten();
        }
    }

    /// Something was answered in time.
    pub(crate) fn note_answer(&mut self) {
        self.answers += 1;
        if self.answers >= ANSWERS {
            self.answers = 0;
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
        let mut patience = Patience::EMPTY;
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
        let mut patience = Patience::EMPTY;
        patience.note_wrong();
        patience.note_wrong();
        for _ in 0..2 * ANSWERS {
            patience.note_answer();
        }
        assert_eq!(patience.factor(), 1);
    }

    #[test]
    fn stays_within_its_bounds() {
        let mut patience = Patience::EMPTY;
        for _ in 0..300 {
            patience.note_wrong();
        }
        assert_eq!(patience.factor(), u64::from(MAX_FACTOR));
        for _ in 0..30_000 {
            patience.note_right();
        }
        assert_eq!(patience.factor(), 1);
    }
}
