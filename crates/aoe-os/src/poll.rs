// SPDX-License-Identifier: BSD-2-Clause
//! Waiting for frames.

use crate::RawSocket;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::time::Duration;

/// Sleeps until a frame can be received from one of `sockets`, or `timeout` has passed.
///
/// `None` waits for ever. True means that a frame (or an error) is waiting; a signal ends the sleep early, with false.
///
/// # Errors
///
/// Those of ppoll(2).
pub fn wait<'a>(
    sockets: impl IntoIterator<Item = &'a RawSocket>,
    timeout: Option<Duration>,
) -> io::Result<bool> {
    let mut fds = Vec::new();
    for socket in sockets {
        if socket.has_buffered() {
            return Ok(true);
        }
        fds.push(libc::pollfd {
            fd: socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        });
    }
    poll(&mut fds, timeout)
}

/// What is waited for on a descriptor.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Interest {
    /// Something to read.
    Read,
    /// Something to read, or room to write.
    ReadWrite,
}

/// Sleeps until one of `fds` is as wanted, or `timeout` has passed (`None`: wait for ever).
///
/// The answer has a place for each descriptor: whether something is there to read, or an error to be told of.
/// A signal ends the sleep early.
///
/// # Errors
///
/// Those of ppoll(2).
pub fn wait_any(
    fds: &[(BorrowedFd<'_>, Interest)],
    timeout: Option<Duration>,
) -> io::Result<Vec<bool>> {
    let mut polled: Vec<_> = fds
        .iter()
        .map(|(fd, interest)| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: match interest {
                Interest::Read => libc::POLLIN,
                Interest::ReadWrite => libc::POLLIN | libc::POLLOUT,
            },
            revents: 0,
        })
        .collect();
    poll(&mut polled, timeout)?;
    Ok(polled
        .iter()
        .map(|fd| fd.revents & !libc::POLLOUT != 0)
        .collect())
}

/// Sleeps until `socket` takes another frame, or `timeout` has passed.
pub(crate) fn wait_writable(socket: &impl AsRawFd, timeout: Duration) -> io::Result<bool> {
    let mut fds = [libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    }];
    poll(&mut fds, Some(timeout))
}

fn poll(fds: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<bool> {
    let spec = timeout.map(|t| libc::timespec {
        tv_sec: libc::time_t::try_from(t.as_secs()).unwrap_or(libc::time_t::MAX),
        // Below a thousand million, so that it fits every C long.
        tv_nsec: t.subsec_nanos() as libc::c_long,
    });
    let spec = spec.as_ref().map_or(ptr::null(), ptr::from_ref);
    let count = libc::nfds_t::try_from(fds.len()).map_err(io::Error::other)?;
    // SAFETY: `fds` is a valid array of `count` pollfds for the length of the call, `spec` is null or points
    // to a timespec that outlives it, and a null signal mask is allowed.
    let ready = unsafe { libc::ppoll(fds.as_mut_ptr(), count, spec, ptr::null()) };
    match crate::check(ready) {
        Ok(n) => Ok(n > 0),
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(e) => Err(e),
    }
}
