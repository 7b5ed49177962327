// SPDX-License-Identifier: BSD-2-Clause
//! An operator who has seen enough.

use std::io;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: libc::c_int) {
    // All that a handler may do, and all that is needed.
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Lets the first `SIGINT` or `SIGTERM` be told by [`interrupted`] instead of ending the process, so that it can say
/// what it has seen so far. Waiting for frames ends early then. A second one ends the process.
///
/// # Errors
///
/// Those of sigaction(2).
pub fn catch_interrupts() -> io::Result<()> {
    // SAFETY: a sigaction is numbers, pointers and a set; all zeros is a valid value of each.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    let handler: extern "C" fn(libc::c_int) = note;
    action.sa_sigaction = handler as libc::sighandler_t;
    // No SA_RESTART: a wait is to end.
    action.sa_flags = libc::SA_RESETHAND;
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: `action` is a living sigaction with an empty mask, whose handler only stores to an atomic, which
        // is safe in a signal handler; the old action is not asked for.
        crate::check(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) })?;
    }
    Ok(())
}

/// Whether a signal has come since [`catch_interrupts`].
#[must_use]
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_is_told() {
        catch_interrupts().unwrap();
        assert!(!interrupted());
        // SAFETY: raise(3) takes no pointers, and the handler is the one above.
        assert_eq!(unsafe { libc::raise(libc::SIGTERM) }, 0);
        assert!(interrupted());
    }
}
