// SPDX-License-Identifier: BSD-2-Clause
//! Raw Ethernet by bpf(4).

use crate::interface::{Interface, interfaces, padded_name};
use crate::{ETHER_HEADER_LEN, ETHERTYPE, check, poll};
use aoe_wire::MacAddr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::ptr;
use std::time::Duration;

// The requests of net/bpf.h that the libc crate does not name.
const BIOCSBLEN: libc::c_ulong = 0xc004_4266;
const BIOCGDLT: libc::c_ulong = 0x4004_426a;
const BIOCSETIF: libc::c_ulong = 0x8020_426c;
const BIOCIMMEDIATE: libc::c_ulong = 0x8004_4270;
const BIOCSHDRCMPLT: libc::c_ulong = 0x8004_4275;
const BIOCSDIRECTION: libc::c_ulong = 0x8004_4277;
const BPF_D_IN: libc::c_uint = 0;
const DLT_EN10MB: libc::c_uint = 1;
/// Interface types of net/if_types.h that carry Ethernet frames.
const ETHERNET_TYPES: [u8; 4] = [
    0x06, /* ether */
    0x87, /* vlan */
    0xa1, /* lagg */
    0xd1, /* bridge */
];
/// `LINK_STATE_DOWN` of net/if.h.
const LINK_STATE_DOWN: u8 = 1;
/// What is asked for as the kernel's buffer; it gives at most `net.bpf.maxbufsize`.
const RECEIVE_BUFFER: libc::c_uint = 512 << 10;
/// Longest frame that bpf(4) takes: one cluster of 16 KiB (`bpf_movein`).
const MAX_WRITE: u32 = 16 << 10;
/// How long [`RawSocket::send`] waits for room in a full transmit queue.
const SEND_PATIENCE: Duration = Duration::from_millis(20);

/// One interface, opened for frames of EtherType 0x88A2.
#[derive(Debug)]
pub struct RawSocket {
    bpf: File,
    ifname: String,
    mac: MacAddr,
    /// What the last read brought: any number of frames, each behind a header of its own.
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are valid.
    filled: usize,
    /// Bytes of `buffer` that were handed out.
    taken: usize,
}

impl RawSocket {
    /// Opens the interface `ifname`.
    ///
    /// # Errors
    ///
    /// Those of the system calls (`PermissionDenied` without the right to open `/dev/bpf`), and `InvalidInput`
    /// for a name that cannot be or an interface that is not Ethernet.
    pub fn open(ifname: &str) -> io::Result<Self> {
        let name = padded_name(ifname)?;
        let bpf = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/bpf")?;
        let mut socket = Self {
            bpf,
            ifname: ifname.to_owned(),
            mac: MacAddr([0; 6]),
            buffer: Vec::new(),
            filled: 0,
            taken: 0,
        };
        let size = socket.number(BIOCSBLEN, RECEIVE_BUFFER)?;
        // A read must ask for exactly the kernel's size.
        socket.buffer = vec![0; usize::try_from(size).map_err(io::Error::other)?];
        socket.filter()?;
        socket.number(BIOCSDIRECTION, BPF_D_IN)?;
        socket.number(BIOCSHDRCMPLT, 1)?;
        socket.number(BIOCIMMEDIATE, 1)?;
        // SAFETY: an ifreq is integers, addresses and pointers; all zeros is a valid value of each.
        let mut ifreq: libc::ifreq = unsafe { mem::zeroed() };
        ifreq.ifr_name = name;
        // SAFETY: BIOCSETIF reads one ifreq.
        check(unsafe { libc::ioctl(socket.bpf.as_raw_fd(), BIOCSETIF, &raw mut ifreq) })?;
        if socket.number(BIOCGDLT, 0)? != DLT_EN10MB {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not an Ethernet interface",
            ));
        }
        socket.mac = socket.interface()?.mac;
        Ok(socket)
    }

    /// The name it was opened by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.ifname
    }

    /// Sends one whole frame, Ethernet header included.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the transmit queue stays full (the frame is lost, as it may be on any wire),
    /// `NetworkDown` when the interface is down, `InvalidInput`-like errors for a frame beyond the MTU.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let mut waited = false;
        loop {
            let error = match (&self.bpf).write(frame) {
                Ok(_) => return Ok(()),
                Err(e) => e,
            };
            let full = matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS));
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                _ if full && !waited => {
                    waited = true;
                    poll::wait_writable(&self.bpf, SEND_PATIENCE)?;
                }
                _ if full => return Err(io::ErrorKind::WouldBlock.into()),
                _ => return Err(error),
            }
        }
    }

    /// Receives one frame if one comes within `timeout` (`None`: wait for ever). Its length is returned; of a
    /// frame longer than `buf` only the beginning is stored.
    ///
    /// # Errors
    ///
    /// Those of read(2) on bpf(4), `ENXIO` when the interface has left.
    pub fn recv(&mut self, buf: &mut [u8], timeout: Option<Duration>) -> io::Result<Option<usize>> {
        if let Some(len) = self.try_recv(buf)? {
            return Ok(Some(len));
        }
        if !poll::wait([&*self], timeout)? {
            return Ok(None);
        }
        self.try_recv(buf)
    }

    /// Receives one frame if one is there.
    ///
    /// # Errors
    ///
    /// Those of read(2) on bpf(4).
    pub fn try_recv(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            if !self.has_buffered() && !self.refill()? {
                return Ok(None);
            }
            let rest = self.buffer.get(self.taken..self.filled).unwrap_or_default();
            let Some((frame, used)) = first_record(rest) else {
                // What is no record cannot be skipped by its length.
                self.taken = self.filled;
                continue;
            };
            self.taken = self.taken.saturating_add(used).min(self.filled);
            if !is_for(frame, self.mac) {
                continue;
            }
            let len = frame.len().min(buf.len());
            if let (Some(to), Some(from)) = (buf.get_mut(..len), frame.get(..len)) {
                to.copy_from_slice(from);
            }
            return Ok(Some(len));
        }
    }

    /// Whether a frame is there that poll(2) does not know of.
    pub(crate) fn has_buffered(&self) -> bool {
        self.taken < self.filled
    }

    /// Reads what the kernel has; false when there is nothing.
    fn refill(&mut self) -> io::Result<bool> {
        self.taken = 0;
        self.filled = 0;
        match self.bpf.read(&mut self.buffer) {
            Ok(len) => {
                self.filled = len;
                Ok(len > 0)
            }
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(false)
            }
            Err(e) => Err(e),
        }
    }

    /// The interface as it is now.
    ///
    /// # Errors
    ///
    /// Those of getifaddrs(3), `NotFound` when it has left.
    pub fn interface(&self) -> io::Result<Interface> {
        interfaces()?
            .into_iter()
            .find(|i| i.name == self.ifname)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such Ethernet interface"))
    }

    /// Its own address.
    ///
    /// # Errors
    ///
    /// As [`RawSocket::interface`].
    pub fn mac(&self) -> io::Result<MacAddr> {
        Ok(self.interface()?.mac)
    }

    /// Bytes that fit behind the Ethernet header.
    ///
    /// # Errors
    ///
    /// As [`RawSocket::interface`].
    pub fn mtu(&self) -> io::Result<u32> {
        Ok(self.interface()?.mtu)
    }

    /// Whether it is up and has a link.
    ///
    /// # Errors
    ///
    /// As [`RawSocket::interface`].
    pub fn is_up(&self) -> io::Result<bool> {
        Ok(self.interface()?.is_up)
    }

    /// Passes a number to one of bpf's requests and returns what it left there.
    fn number(&self, request: libc::c_ulong, mut value: libc::c_uint) -> io::Result<libc::c_uint> {
        // SAFETY: every request that is passed here reads or writes one unsigned int.
        check(unsafe { libc::ioctl(self.bpf.as_raw_fd(), request, &raw mut value) })?;
        Ok(value)
    }

    /// Lets AoE through and nothing else. A frame with a VLAN tag has another EtherType here.
    fn filter(&self) -> io::Result<()> {
        const LOAD_HALF: libc::c_ushort = 0x28;
        const JUMP_IF_EQUAL: libc::c_ushort = 0x15;
        const RETURN: libc::c_ushort = 0x06;
        let instruction = |code, jt, jf, k| libc::bpf_insn { code, jt, jf, k };
        let mut program = [
            instruction(LOAD_HALF, 0, 0, 12),
            instruction(JUMP_IF_EQUAL, 0, 1, u32::from(ETHERTYPE)),
            instruction(RETURN, 0, 0, u32::MAX),
            instruction(RETURN, 0, 0, 0),
        ];
        let program = libc::bpf_program {
            bf_len: program.len() as libc::c_uint,
            bf_insns: program.as_mut_ptr(),
        };
        // SAFETY: BIOCSETF reads one bpf_program and the instructions that it points to, which live on.
        check(unsafe {
            libc::ioctl(
                self.bpf.as_raw_fd(),
                libc::BIOCSETF,
                ptr::from_ref(&program),
            )
        })?;
        Ok(())
    }
}

impl AsRawFd for RawSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.bpf.as_raw_fd()
    }
}

/// The frame of the first record, and the length of the record with its padding.
fn first_record(bytes: &[u8]) -> Option<(&[u8], usize)> {
    if bytes.len() < size_of::<libc::bpf_hdr>() {
        return None;
    }
    // SAFETY: the header is integers, the bytes are at least as many, and the read needs no alignment.
    let header: libc::bpf_hdr = unsafe { ptr::read_unaligned(bytes.as_ptr().cast()) };
    let start = usize::from(header.bh_hdrlen);
    let end = start.checked_add(usize::try_from(header.bh_caplen).ok()?)?;
    let frame = bytes.get(start..end)?;
    if start < size_of::<u32>() {
        return None;
    }
    // Records begin at multiples of a C long.
    Some((
        frame,
        end.checked_next_multiple_of(size_of::<libc::c_long>())?,
    ))
}

/// Whether a frame is meant for this host: another program may have made the interface promiscuous.
fn is_for(frame: &[u8], mac: MacAddr) -> bool {
    let group = frame.first().is_some_and(|first| first & 1 == 1);
    frame.len() >= ETHER_HEADER_LEN && (group || frame.get(..6).is_some_and(|to| to == mac.0))
}

/// The interface that an entry of getifaddrs(3) describes, if it is the link-level entry of an Ethernet interface.
///
/// # Safety
///
/// `entry` must be an entry of a living list of getifaddrs(3), with an address.
pub(crate) unsafe fn link_level(entry: &libc::ifaddrs, name: &str) -> Option<Interface> {
    // SAFETY: the caller says that the address is there; every address begins with its length and family.
    let family = unsafe { (*entry.ifa_addr).sa_family };
    if libc::c_int::from(family) != libc::AF_LINK || entry.ifa_data.is_null() {
        return None;
    }
    // SAFETY: an address of this family is a sockaddr_dl, which getifaddrs placed at the alignment of a long. The
    // name and the address lie in its first 54 bytes for names of up to 15 bytes, and the kernel
    // allocates at least the whole structure for it.
    let address = unsafe { &*entry.ifa_addr.cast::<libc::sockaddr_dl>() };
    if !ETHERNET_TYPES.contains(&address.sdl_type) || address.sdl_alen != 6 {
        return None;
    }
    let start = usize::from(address.sdl_nlen);
    let mut mac = [0; 6];
    for (to, from) in mac.iter_mut().zip(address.sdl_data.get(start..start + 6)?) {
        [*to] = from.to_ne_bytes();
    }
    // SAFETY: for this family `ifa_data` points to the interface's if_data, which lives as long as the list.
    let data = unsafe { &*entry.ifa_data.cast::<libc::if_data>() };
    let both = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_uint;
    Some(Interface {
        name: name.to_owned(),
        mac: MacAddr(mac),
        mtu: data.ifi_mtu.min(MAX_WRITE - ETHER_HEADER_LEN as u32),
        is_up: entry.ifa_flags & both == both && data.ifi_link_state != LINK_STATE_DOWN,
    })
}
