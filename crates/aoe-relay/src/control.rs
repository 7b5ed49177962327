// SPDX-License-Identifier: BSD-2-Clause
//! The socket by which a relay is told what to do: a line in, a line of JSON out.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Connections at a time.
const MOST_CLIENTS: usize = 16;
/// Longest line.
const MOST_LINE: usize = 4096;

/// Somebody who is connected.
#[derive(Debug)]
struct Client {
    stream: UnixStream,
    typed: Vec<u8>,
}

/// The socket and who is connected to it.
#[derive(Debug)]
pub(crate) struct Control {
    listener: UnixListener,
    clients: Vec<Client>,
}

impl Control {
    /// Listens at `path`. A socket that an earlier relay left there is replaced, anything else is not.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let name = || path.display().to_string();
        if let Ok(there) = path.symlink_metadata() {
            if !there.file_type().is_socket() || UnixStream::connect(path).is_ok() {
                bail!("{}: is there already, and in use or no socket", name());
            }
            std::fs::remove_file(path).with_context(name)?;
        }
        let listener = UnixListener::bind(path).with_context(name)?;
        listener.set_nonblocking(true).with_context(name)?;
        Ok(Self {
            listener,
            clients: Vec::new(),
        })
    }

    /// What to wait for.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let clients = self.clients.iter().map(|client| client.stream.as_fd());
        std::iter::once(self.listener.as_fd()).chain(clients)
    }

    /// Answers what has been asked. `ready` has a place for each descriptor, in their order.
    pub(crate) fn serve(&mut self, ready: &[bool], mut answer: impl FnMut(&str) -> String) {
        let (new, ready) = ready.split_first().unwrap_or((&false, &[]));
        let mut ready = ready.iter();
        self.clients
            .retain_mut(|client| !ready.next().is_some_and(|r| *r) || client.serve(&mut answer));
        if !new {
            return;
        }
        if let Ok((stream, _)) = self.listener.accept()
            && self.clients.len() < MOST_CLIENTS
            && stream.set_nonblocking(true).is_ok()
        {
            self.clients.push(Client {
                stream,
                typed: Vec::new(),
            });
        }
    }
}

impl Client {
    /// Whether it stays.
    fn serve(&mut self, answer: &mut impl FnMut(&str) -> String) -> bool {
        let mut piece = [0; MOST_LINE];
        let len = match self.stream.read(&mut piece) {
            Ok(0) => return false,
            Ok(len) => len,
            Err(error) => {
                return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted);
            }
        };
        self.typed.extend(piece.iter().take(len));
        while let Some(end) = self.typed.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.typed.drain(..=end).collect();
            let mut out = answer(&String::from_utf8_lossy(&line));
            out.push('\n');
            // Nobody may hold up the wire: who does not read is put out.
            if self.stream.write_all(out.as_bytes()).is_err() {
                return false;
            }
        }
        self.typed.len() < MOST_LINE
    }
}
