// SPDX-License-Identifier: BSD-2-Clause
//! Progress on the standard error, when that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::time::Duration;

/// How often the bar is drawn, per second.
const REFRESH_HZ: u8 = 8;

/// A bar that grows with the bytes that are done, and a place for messages that does not disturb it.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar for `total` bytes, or a spinner when nobody knows how many there will be.
    pub(crate) fn new(what: &str, total: Option<u64>) -> Self {
        let target = if stderr().is_terminal() {
            ProgressDrawTarget::stderr_with_hz(REFRESH_HZ)
        } else {
            ProgressDrawTarget::hidden()
        };
        let template = match total {
            Some(_) => "{prefix} {bar:32} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            None => "{prefix} {spinner} {bytes} {bytes_per_sec}",
        };
        let bar = ProgressBar::with_draw_target(total, target);
        // A template that does not parse would be a slip in the lines above; the plain bar does as well.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar }
    }

    /// So many bytes are done.
    pub(crate) fn set(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    /// Tells the operator something while the work goes on.
    pub(crate) fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("aoectl: {text}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
