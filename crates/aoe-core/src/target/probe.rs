//! The management message of a path: at most one at a time, repeated until it is answered.

use super::tag::Word;
use crate::Instant;

/// What is asked.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum ProbeKind {
    /// IDENTIFY DEVICE: which disk is it?
    Identify,
    /// Query Config, unicast: is it there, and what does it take?
    Config,
    /// SET FEATURES: switch the volatile write cache.
    WriteCache,
    /// Read one sector: does it carry out requests again? Its answer is not waited for.
    Trial,
}

/// The state of a path's management message.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Probe {
    pub(crate) kind: ProbeKind,
    /// When to send the next one; `None` while nothing is asked.
    pub(crate) due: Option<Instant>,
    /// One was sent and is not answered.
    pub(crate) waiting: bool,
    /// Sent in a row without an answer.
    pub(crate) tries: u8,
    /// What the tag of the last one that was sent has beside the slot.
    pub(crate) word: Word,
    pub(crate) sent_at: Instant,
    /// That of the last IDENTIFY that was answered: a second answer to it is a second disk.
    pub(crate) identified: Word,
    /// The digest of what was answered first.
    pub(crate) disk: u64,
    /// Its place in the order of sending.
    pub(crate) seq: u64,
    /// IDENTIFYs in a row that must be answered by one disk only, after two disks had answered one.
    pub(crate) quarrels: u8,
    /// The next frame on the path is followed by a question.
    pub(crate) ask_behind: bool,
    /// When to ask for the config after this one: its answer alone proves too little.
    again: Option<Instant>,
}

impl Probe {
    pub(crate) const EMPTY: Self = Self {
        kind: ProbeKind::Config,
        due: None,
        waiting: false,
        tries: 0,
        word: Word::NONE,
        sent_at: Instant::from_nanos(0),
        identified: Word::NONE,
        disk: 0,
        seq: 0,
        quarrels: 0,
        ask_behind: false,
        again: None,
    };

    /// Asks for `kind` at `when`, in place of what was asked before.
    pub(crate) fn ask(&mut self, kind: ProbeKind, when: Instant) {
        if self.kind != kind || !self.waiting {
            self.tries = 0;
        }
        self.kind = kind;
        self.due = Some(when);
        self.waiting = false;
    }

    /// The answer came, or it is of no interest any more.
    pub(crate) fn settle(&mut self) {
        self.due = self.again.take();
        if self.due.is_some() {
            self.kind = ProbeKind::Config;
        }
        self.waiting = false;
        self.tries = 0;
    }

    /// Sees to it that a config query is sent at `when` or later, after what is being asked now.
    pub(crate) fn ask_also(&mut self, when: Instant) {
        match self.due {
            None => self.ask(ProbeKind::Config, when),
            Some(due) if self.kind == ProbeKind::Config && !self.waiting => {
                self.due = Some(due.max(when));
            }
            Some(_) => self.again = Some(when),
        }
    }

    /// It is time to send the next one.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    pub(crate) const fn is_idle(&self) -> bool {
        self.due.is_none()
    }
}
