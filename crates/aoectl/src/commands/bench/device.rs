// SPDX-License-Identifier: BSD-2-Clause
//! Measuring with a disk of the kernel, or any file: as many threads as requests are wanted in flight.

use super::{Bench, Figures, Places, Run, noise, plan};
use crate::failure::Failure;
use anyhow::{Context, anyhow};
use aoe_wire::TargetAddr;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

/// What direct I/O wants the memory to be aligned to: more than any sector or page that there is here.
const ALIGNMENT: usize = 65_536;

/// The disk that the kernel has of a target.
pub(super) fn of_target(addr: TargetAddr) -> Result<PathBuf, Failure> {
    let names = [format!("/dev/aoe{addr}"), format!("/dev/etherd/e{addr}")];
    match names.iter().map(PathBuf::from).find(|path| path.exists()) {
        Some(path) => Ok(path),
        None => Err(Failure::NoAnswer(format!(
            "bench: the kernel has no disk of target {addr} (neither {}); -i IF measures without it",
            names.join(" nor ")
        ))),
    }
}

pub(super) fn measure(args: &Bench, path: &Path) -> Result<(String, Vec<Figures>), Failure> {
    let name = path.display().to_string();
    let mut file = open(path, args.write).with_context(|| format!("cannot open {name}"))?;
    let size = file
        .seek(SeekFrom::End(0))
        .with_context(|| format!("cannot tell the size of {name}"))?;
    let mut figures = Vec::new();
    for run in plan(args, &name, size)? {
        figures.push(one(&file, &name, run)?);
    }
    Ok((format!("{name} (the kernel's disk)"), figures))
}

/// Opens it so that the kernel's cache is not what is measured, where that can be asked for.
fn open(path: &Path, write: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(write);
    #[cfg(target_os = "linux")]
    {
        let direct = options.clone().custom_flags(libc::O_DIRECT).open(path);
        match direct {
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => {}
            other => return other,
        }
    }
    // Disks have no cache on FreeBSD.
    options.custom_flags(0).open(path)
}

/// Memory that begins where direct I/O wants it to.
struct Buffer {
    space: Vec<u8>,
    start: usize,
    len: usize,
}

impl Buffer {
    fn new(len: usize) -> Self {
        let space = vec![0; len + ALIGNMENT];
        let start = space.as_ptr().align_offset(ALIGNMENT);
        Self {
            // Where that cannot be known, any place will do that the kernel does not refuse.
            start: if start > ALIGNMENT { 0 } else { start },
            space,
            len,
        }
    }

    fn bytes(&mut self) -> &mut [u8] {
        let end = self.start + self.len;
        self.space.get_mut(self.start..end).unwrap_or_default()
    }
}

/// What the threads share.
struct Shared {
    places: Places,
    latencies: Vec<u64>,
    failed: Option<io::Error>,
}

fn one(file: &File, name: &str, run: Run) -> Result<Figures, Failure> {
    let seed = aoe_os::random_seed().unwrap_or_else(|_| aoe_os::monotonic_nanos());
    let len = usize::try_from(run.block).map_err(|e| anyhow!("--block: {e}"))?;
    let shared = Mutex::new(Shared {
        places: Places::new(run, seed),
        latencies: Vec::new(),
        failed: None,
    });
    let begin = Instant::now();
    let end = begin + run.duration;
    std::thread::scope(|scope| {
        for thread in 0..run.depth {
            let shared = &shared;
            scope.spawn(move || {
                let mut buffer = Buffer::new(len);
                let data = buffer.bytes();
                if run.write {
                    data.copy_from_slice(&noise(len, seed.wrapping_add(u64::from(thread) * 2)));
                }
                work(file, run, end, data, shared);
            });
        }
    });
    let elapsed = begin.elapsed();
    let shared = shared.into_inner().unwrap_or_else(|e| e.into_inner());
    if let Some(error) = shared.failed {
        let what = if run.write { "write to" } else { "read" };
        return Err(Failure::Failed(
            anyhow::Error::new(error).context(format!("bench: cannot {what} {name}")),
        ));
    }
    let mut latencies = shared.latencies;
    latencies.sort_unstable();
    Ok(Figures {
        run,
        elapsed,
        latencies,
        frames: None,
    })
}

/// One thread: a request after the other until the time is over or one fails.
fn work(file: &File, run: Run, end: Instant, data: &mut [u8], shared: &Mutex<Shared>) {
    let lock = || shared.lock().unwrap_or_else(|e| e.into_inner());
    let mut last = None;
    loop {
        let place = {
            let mut shared = lock();
            shared.latencies.extend(last);
            if shared.failed.is_some() {
                return;
            }
            shared.places.take()
        };
        let start = Instant::now();
        if start >= end {
            return;
        }
        let result = match run.write {
            true => file.write_all_at(data, place),
            false => file.read_exact_at(data, place),
        };
        if let Err(error) = result {
            lock().failed = Some(error);
            return;
        }
        last = Some(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned() {
        let mut buffer = Buffer::new(4096);
        assert_eq!(buffer.bytes().len(), 4096);
        assert_eq!(buffer.bytes().as_ptr().align_offset(ALIGNMENT), 0);
    }

    #[test]
    fn a_target_without_a_disk_is_named() {
        let addr = TargetAddr::new(65_534, 254).unwrap();
        let text = of_target(addr).unwrap_err().to_string();
        assert!(
            text.contains("65534.254") && text.contains("-i IF"),
            "{text}"
        );
    }
}
