// SPDX-License-Identifier: BSD-2-Clause
//! Raw Ethernet by packet(7).

use crate::interface::{Interface, padded_name};
use crate::{ETHERTYPE, check, poll};
use aoe_wire::MacAddr;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

/// `PACKET_IGNORE_OUTGOING` of `linux/if_packet.h`, since Linux 4.20.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
/// Bytes of frames that may wait to be received: a full window of the largest frames from several targets.
const RECEIVE_BUFFER: libc::c_int = 16 << 20;
/// Bytes of frames that may wait to be sent.
const SEND_BUFFER: libc::c_int = 4 << 20;
/// How long [`RawSocket::send`] waits for room in a full transmit queue.
const SEND_PATIENCE: Duration = Duration::from_millis(20);

/// One interface, opened for frames of EtherType 0x88A2.
#[derive(Debug)]
pub struct RawSocket {
    fd: OwnedFd,
    name: [libc::c_char; libc::IFNAMSIZ],
    ifname: String,
}

impl RawSocket {
    /// Opens the interface `ifname`.
    ///
    /// # Errors
    ///
    /// Those of the system calls (`PermissionDenied` without `CAP_NET_RAW`), and `InvalidInput` for a name that
    /// cannot be or an interface that is not Ethernet.
    pub fn open(ifname: &str) -> io::Result<Self> {
        let name = padded_name(ifname)?;
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // With protocol 0 the socket receives nothing until it is bound, hence never a frame of another
        // interface or one that the filter would have refused.
        // SAFETY: no pointers are passed.
        let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
        // SAFETY: the descriptor was just made and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let socket = Self {
            fd,
            name,
            ifname: ifname.to_owned(),
        };
        let hardware = socket.ask(libc::SIOCGIFHWADDR)?;
        // SAFETY: SIOCGIFHWADDR filled this member of the union.
        let family = unsafe { hardware.ifr_ifru.ifru_hwaddr.sa_family };
        if family != libc::ARPHRD_ETHER {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not an Ethernet interface",
            ));
        }
        socket.filter()?;
        socket.set(libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1).ok();
        // The forced size needs more privilege than the other; a small buffer only costs speed.
        socket
            .set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER)
            .or_else(|_| socket.set(libc::SOL_SOCKET, libc::SO_RCVBUF, RECEIVE_BUFFER))?;
        socket
            .set(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, SEND_BUFFER)
            .or_else(|_| socket.set(libc::SOL_SOCKET, libc::SO_SNDBUF, SEND_BUFFER))?;
        socket.bind()?;
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
            // SAFETY: the pointer and the length are those of one living slice.
            let sent = unsafe {
                libc::send(
                    self.fd.as_raw_fd(),
                    frame.as_ptr().cast(),
                    frame.len(),
                    libc::MSG_DONTWAIT,
                )
            };
            if sent >= 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            let full = matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS));
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                _ if full && !waited => {
                    waited = true;
                    poll::wait_writable(&self.fd, SEND_PATIENCE)?;
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
    /// Those of recv(2); `NetworkDown` is told once when the interface goes down.
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
    /// Those of recv(2).
    pub fn try_recv(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        // SAFETY: the pointer and the length are those of one slice that is borrowed mutably.
        let len = unsafe {
            libc::recv(
                self.fd.as_raw_fd(),
                buf.as_mut_ptr().cast(),
                buf.len(),
                libc::MSG_DONTWAIT,
            )
        };
        match usize::try_from(len) {
            Ok(len) => Ok(Some(len)),
            Err(_) => match io::Error::last_os_error() {
                e if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
                {
                    Ok(None)
                }
                e => Err(e),
            },
        }
    }

    /// Whether a frame is there that poll(2) does not know of.
    pub(crate) fn has_buffered(&self) -> bool {
        false
    }

    /// The interface as it is now.
    ///
    /// # Errors
    ///
    /// Those of the ioctls, `ENODEV` when it has left.
    pub fn interface(&self) -> io::Result<Interface> {
        Ok(Interface {
            name: self.ifname.clone(),
            mac: self.mac()?,
            mtu: self.mtu()?,
            is_up: self.is_up()?,
        })
    }

    /// Its own address.
    ///
    /// # Errors
    ///
    /// Those of the ioctl, `ENODEV` when it has left.
    pub fn mac(&self) -> io::Result<MacAddr> {
        let answer = self.ask(libc::SIOCGIFHWADDR)?;
        // SAFETY: SIOCGIFHWADDR filled this member of the union.
        let data = unsafe { answer.ifr_ifru.ifru_hwaddr.sa_data };
        let mut mac = [0; 6];
        for (to, from) in mac.iter_mut().zip(data) {
            [*to] = from.to_ne_bytes();
        }
        Ok(MacAddr(mac))
    }

    /// Bytes that fit behind the Ethernet header.
    ///
    /// # Errors
    ///
    /// Those of the ioctl, `ENODEV` when it has left.
    pub fn mtu(&self) -> io::Result<u32> {
        let answer = self.ask(libc::SIOCGIFMTU)?;
        // SAFETY: SIOCGIFMTU filled this member of the union.
        let mtu = unsafe { answer.ifr_ifru.ifru_mtu };
        Ok(u32::try_from(mtu).unwrap_or(0))
    }

    /// Whether it is up and has a link.
    ///
    /// # Errors
    ///
    /// Those of the ioctl, `ENODEV` when it has left.
    pub fn is_up(&self) -> io::Result<bool> {
        let answer = self.ask(libc::SIOCGIFFLAGS)?;
        // SAFETY: SIOCGIFFLAGS filled this member of the union.
        let flags = libc::c_int::from(unsafe { answer.ifr_ifru.ifru_flags });
        Ok(flags & libc::IFF_UP != 0 && flags & libc::IFF_RUNNING != 0)
    }

    fn ask(&self, request: libc::c_ulong) -> io::Result<libc::ifreq> {
        // SAFETY: an ifreq is integers and addresses; all zeros is a valid value of each.
        let mut ifreq: libc::ifreq = unsafe { mem::zeroed() };
        ifreq.ifr_name = self.name;
        // SAFETY: the interface ioctls used here read and write one ifreq.
        check(unsafe { libc::ioctl(self.fd.as_raw_fd(), request as _, &raw mut ifreq) })?;
        Ok(ifreq)
    }

    fn set(&self, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
        set_option(&self.fd, level, option, &value)
    }

    /// Refuses, in the kernel, what the host sent itself and what is not meant for it: a frame for another MAC
    /// (the interface may be promiscuous for somebody else) or for a VLAN that no interface here belongs to.
    fn filter(&self) -> io::Result<()> {
        // A negative offset in two's complement is how the kernel is asked for what is not in the frame.
        let packet_type = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE) as u32;
        let statement = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter {
            // The codes are small constants.
            code: code as u16,
            jt,
            jf,
            k,
        };
        let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        let mut program = [
            statement(
                libc::BPF_LD | libc::BPF_B | libc::BPF_ABS,
                0,
                0,
                packet_type,
            ),
            statement(equal, 2, 0, u32::from(libc::PACKET_OTHERHOST)),
            statement(equal, 1, 0, u32::from(libc::PACKET_OUTGOING)),
            statement(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
            statement(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        ];
        let program = libc::sock_fprog {
            len: program.len() as libc::c_ushort,
            filter: program.as_mut_ptr(),
        };
        set_option(&self.fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
    }

    fn bind(&self) -> io::Result<()> {
        let answer = self.ask(libc::SIOCGIFINDEX)?;
        // SAFETY: SIOCGIFINDEX filled this member of the union.
        let index = unsafe { answer.ifr_ifru.ifru_ifindex };
        // SAFETY: a sockaddr_ll is integers and bytes; all zeros is a valid value of each.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        // The constant is 17.
        address.sll_family = libc::AF_PACKET as libc::sa_family_t;
        address.sll_protocol = ETHERTYPE.to_be();
        address.sll_ifindex = index;
        let len = libc::socklen_t::try_from(size_of_val(&address)).map_err(io::Error::other)?;
        // SAFETY: the pointer and the length are those of one living sockaddr_ll.
        check(unsafe { libc::bind(self.fd.as_raw_fd(), ptr::from_ref(&address).cast(), len) })?;
        Ok(())
    }
}

impl AsRawFd for RawSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// The interface that an entry of getifaddrs(3) describes, if it is the link-level entry of an Ethernet interface.
///
/// # Safety
///
/// `entry` must be an entry of a living list of getifaddrs(3), with an address.
pub(crate) unsafe fn link_level(entry: &libc::ifaddrs, name: &str) -> Option<Interface> {
    // SAFETY: the caller says that the address is there; every address begins with its family.
    let family = unsafe { (*entry.ifa_addr).sa_family };
    if libc::c_int::from(family) != libc::AF_PACKET {
        return None;
    }
    // SAFETY: an address of this family is a sockaddr_ll, which getifaddrs allocated at its full length and
    // alignment.
    let address = unsafe { &*entry.ifa_addr.cast::<libc::sockaddr_ll>() };
    if address.sll_hatype != libc::ARPHRD_ETHER || address.sll_halen != 6 {
        return None;
    }
    let mut mac = [0; 6];
    mac.copy_from_slice(address.sll_addr.get(..6)?);
    let both = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_uint;
    Some(Interface {
        name: name.to_owned(),
        mac: MacAddr(mac),
        mtu: mtu_of(name).ok()?,
        is_up: entry.ifa_flags & both == both,
    })
}

/// The MTU by name, through a socket of any kind.
fn mtu_of(name: &str) -> io::Result<u32> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers are passed.
    let fd = check(unsafe { libc::socket(libc::AF_UNIX, kind, 0) })?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let socket = RawSocket {
        fd,
        name: padded_name(name)?,
        ifname: String::new(),
    };
    socket.mtu()
}

/// Sets a socket option to a value of its type.
pub(crate) fn set_option<T>(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the pointer and the length are those of one living value; the kernel only reads it.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            ptr::from_ref(value).cast(),
            len,
        )
    })?;
    Ok(())
}
