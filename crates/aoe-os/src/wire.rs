// SPDX-License-Identifier: BSD-2-Clause
//! A whole Ethernet interface, many frames at a time: for a program that stands between two wires.

use crate::interface::padded_name;
use crate::sys::set_option;
use crate::{MAX_FRAME_LEN, check};
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

/// `PACKET_IGNORE_OUTGOING` of `linux/if_packet.h`, since Linux 4.20.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
/// Bytes of frames that may wait to be received. Frames are accounted with their overhead, which for small
/// ones is much more than their length.
const RECEIVE_BUFFER: libc::c_int = 64 << 20;
/// Bytes of frames that may wait to be sent.
const SEND_BUFFER: libc::c_int = 16 << 20;
/// Most frames that one system call takes or gives.
pub const BATCH: usize = 64;
/// Length of a VLAN tag, which the kernel takes out of a frame and tells beside it.
const TAG_LEN: usize = 4;
/// Where a VLAN tag stands in a frame.
const TAG_AT: usize = 12;
/// One frame's place in a batch.
const SLOT: usize = (TAG_LEN + MAX_FRAME_LEN).next_multiple_of(64);
/// Room for the one control message that comes with a frame; 64-bit words, for the alignment.
type Control = [u64; 8];

/// One interface, opened for every frame that comes in by it, for whomever it is meant.
///
/// Frames that the host sends by it are not received. VLAN tags are in the frames, as on the wire. A frame
/// whose checksum the sender has left to the hardware arrives without one; AoE has none.
#[derive(Debug)]
pub struct WireSocket {
    fd: OwnedFd,
    drops: u64,
}

impl WireSocket {
    /// Opens the interface `ifname`.
    ///
    /// What is sent goes straight to the driver, so that a frame which it refuses is told of, and no program
    /// that listens on the interface sees it; with `visible` it goes the usual way, where it is seen, and where
    /// a full queue may drop it silently.
    ///
    /// # Errors
    ///
    /// Those of the system calls: `PermissionDenied` without `CAP_NET_RAW`, `ENODEV` for an unknown name.
    pub fn open(ifname: &str, visible: bool) -> io::Result<Self> {
        let index = index_of(ifname)?;
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // Protocol 0: nothing is received before it is bound.
        // SAFETY: no pointers are passed.
        let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
        // SAFETY: the descriptor was just made and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let socket = Self { fd, drops: 0 };
        // Without this the two ends of a relay would send each other's frames for ever.
        socket.set(libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1)?;
        socket.set(libc::SOL_PACKET, libc::PACKET_AUXDATA, &1)?;
        if !visible {
            socket.set(libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, &1)?;
        }
        socket
            .set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &RECEIVE_BUFFER)
            .or_else(|_| socket.set(libc::SOL_SOCKET, libc::SO_RCVBUF, &RECEIVE_BUFFER))?;
        socket
            .set(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &SEND_BUFFER)
            .or_else(|_| socket.set(libc::SOL_SOCKET, libc::SO_SNDBUF, &SEND_BUFFER))?;
        socket.bind(index)?;
        let promiscuous = libc::packet_mreq {
            mr_ifindex: index,
            // The constant is 1.
            mr_type: libc::PACKET_MR_PROMISC as libc::c_ushort,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        socket.set(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &promiscuous)?;
        Ok(socket)
    }

    /// Takes the frames that are there, at most [`BATCH`], into `batch`; their number.
    ///
    /// # Errors
    ///
    /// Those of recvmmsg(2); `NetworkDown` is told once when the interface goes down.
    pub fn recv(&mut self, batch: &mut WireBatch) -> io::Result<usize> {
        batch.count = 0;
        // SAFETY: these are integers and pointers; all zeros is a valid value of each.
        let mut vectors: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        let places = batch.space.chunks_exact_mut(SLOT).zip(&mut batch.control);
        for ((vector, message), (place, control)) in
            vectors.iter_mut().zip(&mut messages).zip(places)
        {
            // The first bytes stay free for a tag.
            let Some(room) = place.get_mut(TAG_LEN..) else {
                continue;
            };
            vector.iov_base = room.as_mut_ptr().cast();
            vector.iov_len = room.len();
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_control = control.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = size_of::<Control>() as _;
        }
        // SAFETY: each message names one vector and one control buffer; vectors, buffers and what they name
        // belong to this function or to `batch`, which is borrowed mutably, and live until the call is over.
        let count = unsafe {
            libc::recvmmsg(
                self.fd.as_raw_fd(),
                messages.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        let count = match check(count) {
            Ok(count) => usize::try_from(count).unwrap_or(0),
            Err(error) if is_nothing(&error) => 0,
            Err(error) => return Err(error),
        };
        let places = batch.space.chunks_exact_mut(SLOT).zip(&mut batch.bounds);
        for (message, (place, bounds)) in messages.iter().take(count).zip(places) {
            let end = (TAG_LEN + message.msg_len as usize).min(SLOT);
            *bounds = (TAG_LEN, end);
            if let Some(tag) = tag_of(&message.msg_hdr)
                && end >= TAG_LEN + TAG_AT
            {
                place.copy_within(TAG_LEN..TAG_LEN + TAG_AT, 0);
                place[TAG_AT..TAG_AT + TAG_LEN].copy_from_slice(&tag);
                bounds.0 = 0;
            }
        }
        batch.count = count;
        Ok(count)
    }

    /// Sends whole frames, in order; how many the kernel has taken: at least one, unless `frames` is empty.
    ///
    /// # Errors
    ///
    /// Why it did not take the first one: `WouldBlock` when the socket is full, `ENOBUFS` when the driver had no
    /// room (the frame may be sent again), `NetworkDown`, `EMSGSIZE` for a frame beyond the MTU.
    pub fn send(&self, frames: &[&[u8]]) -> io::Result<usize> {
        // SAFETY: these are integers and pointers; all zeros is a valid value of each.
        let mut vectors: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        let mut count: libc::c_uint = 0;
        for ((vector, message), frame) in vectors.iter_mut().zip(&mut messages).zip(frames) {
            // The kernel only reads what is sent.
            vector.iov_base = frame.as_ptr().cast_mut().cast();
            vector.iov_len = frame.len();
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
            count += 1;
        }
        if count == 0 {
            return Ok(0);
        }
        // SAFETY: `count` messages were filled in, each with one vector that names one living slice.
        let sent = unsafe {
            libc::sendmmsg(
                self.fd.as_raw_fd(),
                messages.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT as _,
            )
        };
        Ok(usize::try_from(check(sent)?).unwrap_or(0))
    }

    /// Frames that came in and were dropped because nobody took them in time, since the socket was opened.
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2).
    pub fn drops(&mut self) -> io::Result<u64> {
        // SAFETY: the structure is two integers; zero is a valid value of each.
        let mut statistics: libc::tpacket_stats = unsafe { mem::zeroed() };
        let mut len = size_of_val(&statistics) as libc::socklen_t;
        // SAFETY: the pointers are those of living variables, and `len` is the size of the first.
        check(unsafe {
            libc::getsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                ptr::from_mut(&mut statistics).cast(),
                &raw mut len,
            )
        })?;
        // The kernel begins anew after each question.
        self.drops += u64::from(statistics.tp_drops);
        Ok(self.drops)
    }

    fn set<T>(&self, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
        set_option(&self.fd, level, option, value)
    }

    fn bind(&self, index: libc::c_int) -> io::Result<()> {
        // SAFETY: a sockaddr_ll is integers and bytes; all zeros is a valid value of each.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        // The constants are 17 and 3.
        address.sll_family = libc::AF_PACKET as libc::sa_family_t;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = index;
        let len = libc::socklen_t::try_from(size_of_val(&address)).map_err(io::Error::other)?;
        // SAFETY: the pointer and the length are those of one living sockaddr_ll.
        check(unsafe { libc::bind(self.fd.as_raw_fd(), ptr::from_ref(&address).cast(), len) })?;
        Ok(())
    }
}

impl AsFd for WireSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Room for [`BATCH`] frames of any length, used again and again.
#[derive(Debug)]
pub struct WireBatch {
    space: Vec<u8>,
    control: Vec<Control>,
    bounds: Vec<(usize, usize)>,
    count: usize,
}

impl Default for WireBatch {
    fn default() -> Self {
        Self {
            // Zeros that nobody has written to are no memory.
            space: vec![0; BATCH * SLOT],
            control: vec![[0; 8]; BATCH],
            bounds: vec![(0, 0); BATCH],
            count: 0,
        }
    }
}

impl WireBatch {
    /// The frames that were received last.
    pub fn frames(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.space
            .chunks_exact_mut(SLOT)
            .zip(&self.bounds)
            .take(self.count)
            .filter_map(|(place, (start, end))| place.get_mut(*start..*end))
    }
}

/// Lets timeouts end when they are over, and not up to 50 microseconds later, in the calling thread.
///
/// # Errors
///
/// Those of prctl(2).
pub fn want_exact_timeouts() -> io::Result<()> {
    let nanoseconds: libc::c_ulong = 1;
    // SAFETY: this operation takes one number and no pointers.
    check(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, nanoseconds) })?;
    Ok(())
}

fn index_of(ifname: &str) -> io::Result<libc::c_int> {
    let name = padded_name(ifname)?;
    // SAFETY: the name is an array of characters that ends with zero.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(io::Error::last_os_error());
    }
    libc::c_int::try_from(index).map_err(io::Error::other)
}

/// The VLAN tag that the kernel took out of a received frame, as it was on the wire.
fn tag_of(message: &libc::msghdr) -> Option<[u8; TAG_LEN]> {
    // SAFETY: the message was filled in by the kernel, and the control buffer that it names is alive.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: a pointer that these functions give is null or names a whole header in the control buffer.
    while let Some(header) = unsafe { next.as_ref() } {
        if header.cmsg_level == libc::SOL_PACKET && header.cmsg_type == libc::PACKET_AUXDATA {
            // SAFETY: the kernel puts such a structure behind a header of this type, perhaps unaligned.
            let data: libc::tpacket_auxdata =
                unsafe { ptr::read_unaligned(libc::CMSG_DATA(next).cast()) };
            if data.tp_status & libc::TP_STATUS_VLAN_VALID == 0 {
                return None;
            }
            let known = data.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
            let kind = if known { data.tp_vlan_tpid } else { 0x8100 };
            let ([a, b], [c, d]) = (kind.to_be_bytes(), data.tp_vlan_tci.to_be_bytes());
            return Some([a, b, c, d]);
        }
        // SAFETY: both pointers belong to the message, as above.
        next = unsafe { libc::CMSG_NXTHDR(message, next) };
    }
    None
}

/// Whether an error only says that there is nothing to be had now.
fn is_nothing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
