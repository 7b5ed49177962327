//! The states of a target and the table of moves between them.
//!
//! ```text
//!              identified            no path for a while        dead_secs passed
//!   Probing ───────────────▶ Up ◀──────────────────────▶ Down ───────────────▶ Dead
//!      │                     │  ▲    a path is proven     │                     │
//!      │                     │  └──────────────────────────┼─────────────────────┘
//!      └──────────────┬──────┴────────────────────────────┴──────────▶ Removed
//! ```
//!
//! What is not in the table is not done: [`State::may_become`] is asked on every move.

use core::fmt;

/// The state of a target.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// It announced itself and was not identified yet. There is no disk.
    Probing,
    /// It answers; I/O flows.
    Up,
    /// It does not answer; I/O is held.
    Down,
    /// It did not answer for `dead_secs`; I/O fails at once.
    Dead,
    /// The disk is being taken away; I/O fails for good.
    Removed,
}

impl State {
    /// The table of moves.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Probing | Self::Down | Self::Dead, Self::Up)
                | (Self::Up, Self::Down)
                | (Self::Down, Self::Dead)
                | (
                    Self::Probing | Self::Up | Self::Down | Self::Dead,
                    Self::Removed
                )
        )
    }

    /// Its name, as shown to people and in `net.aoe.target.*.state`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Probing => "probing",
            Self::Up => "up",
            Self::Down => "down",
            Self::Dead => "dead",
            Self::Removed => "removed",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::State::{self, Dead, Down, Probing, Removed, Up};

    #[test]
    fn the_table_is_the_drawing() {
        let all = [Probing, Up, Down, Dead, Removed];
        let drawn = [
            (Probing, Up),
            (Up, Down),
            (Down, Up),
            (Down, Dead),
            (Dead, Up),
            (Probing, Removed),
            (Up, Removed),
            (Down, Removed),
            (Dead, Removed),
        ];
        for from in all {
            for to in all {
                let expected = drawn.contains(&(from, to));
                assert_eq!(State::may_become(from, to), expected, "{from} -> {to}");
            }
        }
    }
}
