// SPDX-License-Identifier: BSD-2-Clause
//! Single questions to a target and their answers, without the engine.
//!
//! A question is sent again while it is not answered, all copies with the same tag. An answer counts if it is a
//! response to the same command with this tag, which is random and from the half that kernel initiators leave to
//! tools ([`Ports`] sees to that), and if it comes from the address that was asked. Its Ethernet address may be
//! another than the one that was asked: servers may answer from any port they have.

use crate::cli;
use crate::driver::Ports;
use crate::failure::Failure;
use anyhow::{Context, anyhow};
use aoe_core::{Links, NetifId};
use aoe_os::{MAX_FRAME_LEN, monotonic_nanos};
use aoe_wire::{
    AddrPattern, AoeError, AtaReply, AtaRequest, Command, ConfigReply, ConfigRequest, Header,
    MacAddr, MaskError, MaskReply, MaskRequest, Message, ReserveReply, ReserveRequest, TargetAddr,
    VERSION,
};
use clap::Args;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// How long the first copy of a question is waited for; each further one twice as long.
const FIRST_NS: u64 = 50_000_000;
/// The longest that one copy is waited for.
const LONGEST_NS: u64 = 800_000_000;
/// How long further servers are listened for once one has answered.
const MORE_NS: u64 = 150_000_000;
/// How long others are listened for when a target is not there, to name them.
const OTHERS_NS: u64 = 200_000_000;
/// Room for the longest question: a mask edit with 255 directives.
const QUESTION_ROOM: usize = 4096;
/// Length of an Ethernet header, which the MTU does not count.
const ETHER_HEADER: usize = aoe_os::ETHER_HEADER_LEN;
/// The tags that tools may choose: the upper bit is theirs anyway.
const TAG_MASK: u32 = 0x7fff_ffff;

/// How a target is reached.
#[derive(Debug, Args)]
pub(crate) struct Reach {
    /// Interface to ask on; several (repeated, or with commas) are all asked
    #[arg(
        short,
        long = "interface",
        value_name = "IF",
        required = true,
        value_delimiter = ','
    )]
    pub(crate) interfaces: Vec<String>,
    /// Ask only the server with this Ethernet address
    #[arg(long, value_name = "MAC", value_parser = station)]
    pub(crate) mac: Option<MacAddr>,
    /// How long to wait for an answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = some_seconds)]
    pub(crate) timeout: Duration,
}

/// Seconds, more than none.
pub(crate) fn some_seconds(text: &str) -> Result<Duration, String> {
    match cli::seconds(text)? {
        Duration::ZERO => Err("must be more than 0".to_owned()),
        time => Ok(time),
    }
}

/// The Ethernet address of one station.
pub(crate) fn station(text: &str) -> Result<MacAddr, String> {
    let mac: MacAddr = text.parse().map_err(|e| format!("{e}"))?;
    if mac.is_unicast() {
        Ok(mac)
    } else {
        Err("not the address of one station, but of a group or of none".to_owned())
    }
}

/// One target, or those that a pattern names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Targets(pub(crate) AddrPattern);

impl Targets {
    /// Whether it names one target only.
    pub(crate) fn is_one(self) -> bool {
        self.0.shelf.is_some() && self.0.slot.is_some()
    }
}

impl From<TargetAddr> for Targets {
    fn from(addr: TargetAddr) -> Self {
        Self(addr.into())
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == AddrPattern::ANY {
            f.write_str("all")
        } else {
            fmt::Display::fmt(&self.0, f)
        }
    }
}

impl std::str::FromStr for Targets {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = "want SHELF.SLOT (shelf 0-65534, slot 0-254), with * for all of either, or all";
        if text == "all" {
            return Ok(Self(AddrPattern::ANY));
        }
        let (shelf, slot) = text.split_once('.').ok_or(wrong)?;
        // The address parser judges the numbers; a wildcard is a number that it takes.
        let number = |part: &str| if part == "*" { "0" } else { part }.to_owned();
        let addr: TargetAddr = format!("{}.{}", number(shelf), number(slot))
            .parse()
            .map_err(|_| wrong)?;
        Ok(Self(AddrPattern {
            shelf: (shelf != "*").then_some(addr.shelf()),
            slot: (slot != "*").then_some(addr.slot()),
        }))
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question<'a> {
    Config(ConfigRequest<'a>),
    Mask(MaskRequest<'a>),
    Reserve(ReserveRequest<'a>),
    Ata(AtaRequest),
}

impl Question<'_> {
    pub(crate) fn command(&self) -> Command {
        match self {
            Self::Config(_) => Command::CONFIG,
            Self::Mask(_) => Command::MASK,
            Self::Reserve(_) => Command::RESERVE,
            Self::Ata(_) => Command::ATA,
        }
    }

    /// The frame that asks, padded to what Ethernet wants.
    fn frame(&self, header: Header) -> Result<Vec<u8>, Failure> {
        let message = match *self {
            Self::Config(request) => Message::ConfigRequest { header, request },
            Self::Mask(request) => Message::MaskRequest { header, request },
            Self::Reserve(request) => Message::ReserveRequest { header, request },
            Self::Ata(request) => Message::AtaRequest {
                header,
                request,
                data: &[],
            },
        };
        let mut frame = vec![0; QUESTION_ROOM];
        let len = message
            .emit(&mut frame)
            .map_err(|e| anyhow!("cannot build the request: {e}"))?;
        frame.truncate(len);
        Ok(frame)
    }
}

/// A config answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Config {
    pub(crate) buffers: u16,
    pub(crate) firmware: u16,
    pub(crate) sectors: u8,
    pub(crate) version: u8,
    pub(crate) string: Vec<u8>,
}

impl From<ConfigReply<'_>> for Config {
    fn from(reply: ConfigReply<'_>) -> Self {
        Self {
            buffers: reply.buffer_count,
            firmware: reply.firmware,
            sectors: reply.sector_count,
            version: reply.version,
            string: reply.string.to_vec(),
        }
    }
}

/// What a target answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    Config(Config),
    /// The mask list.
    Masks(Vec<MacAddr>),
    /// A mask edit stopped at the directive of this number, counted from 0.
    MaskFailed(MaskError, u8),
    /// The stations that a target is reserved for.
    Reserved(Vec<MacAddr>),
    /// Registers, and all that followed them.
    Ata(AtaReply, Vec<u8>),
    /// An error, and the argument that came with it.
    Error(AoeError, Vec<u8>),
}

impl Reply {
    fn read(frame: &[u8]) -> Option<(Header, Self)> {
        let message = Message::parse(frame)
            .inspect_err(|e| log::debug!("an answer is ignored: {e}"))
            .ok()?;
        let reply = match message {
            Message::ConfigReply { reply, .. } => Self::Config(reply.into()),
            Message::MaskReply { reply, .. } => match reply {
                MaskReply::List { list, .. } => Self::Masks(list.iter().map(|d| d.mac).collect()),
                MaskReply::Failed { error, index, .. } => Self::MaskFailed(error, index),
            },
            Message::ReserveReply { reply, .. } => Self::Reserved(reply.macs.iter().collect()),
            Message::AtaReply { reply, data, .. } => Self::Ata(reply, data.to_vec()),
            Message::Error {
                error, argument, ..
            } => Self::Error(error, argument.to_vec()),
            _ => return None,
        };
        Some((*message.header(), reply))
    }

    /// The config answer that came with an error.
    pub(crate) fn config_of_error(argument: &[u8]) -> Option<Config> {
        ConfigReply::parse(argument).ok().map(Config::from)
    }

    /// The reservation that came with an error.
    pub(crate) fn reserved_of_error(argument: &[u8]) -> Option<Vec<MacAddr>> {
        ReserveReply::parse(argument)
            .ok()
            .map(|reply| reply.macs.iter().collect())
    }
}

/// An answer, and where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) netif: NetifId,
    pub(crate) mac: MacAddr,
    pub(crate) addr: TargetAddr,
    pub(crate) tag: u32,
    pub(crate) at_ns: u64,
    pub(crate) command: Command,
    pub(crate) reply: Reply,
}

/// A server at an address, as one of our interfaces reaches it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Peer {
    pub(crate) netif: NetifId,
    pub(crate) mac: MacAddr,
    pub(crate) addr: TargetAddr,
    pub(crate) config: Config,
}

/// The interfaces, and the next tag.
#[derive(Debug)]
pub(crate) struct Exchange {
    ports: Ports,
    tag: u32,
    buffer: Vec<u8>,
    only: Option<MacAddr>,
    timeout_ns: u64,
}

/// A length of time in nanoseconds.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Exchange {
    /// Opens the interfaces, and tells of those on which nothing can be asked.
    pub(crate) fn open(reach: &Reach) -> Result<Self, Failure> {
        let mut ports = Ports::open(&reach.interfaces)?;
        ports.refresh();
        let seed = aoe_os::random_seed().context("no random numbers for tags")?;
        let mut any_up = false;
        for (name, up) in ports.states() {
            any_up |= up;
            if !up {
                eprintln!("aoectl: interface {name} is down or has no link");
            }
        }
        if !any_up {
            return Err(Failure::NoAnswer("no interface to ask on".to_owned()));
        }
        Ok(Self {
            ports,
            // The upper half would do as well.
            tag: (seed as u32) & TAG_MASK,
            buffer: vec![0; MAX_FRAME_LEN],
            only: reach.mac,
            timeout_ns: nanos(reach.timeout),
        })
    }

    /// The interfaces.
    pub(crate) fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The server that is to be asked, if not all.
    pub(crate) fn only(&self) -> Option<MacAddr> {
        self.only
    }

    /// How long the operator wants to wait.
    pub(crate) fn timeout_ns(&self) -> u64 {
        self.timeout_ns
    }

    /// The interfaces that are up.
    pub(crate) fn netifs(&self) -> Vec<NetifId> {
        self.ports
            .ids()
            .filter(|id| self.ports.link(*id).is_some())
            .collect()
    }

    /// A server in words.
    pub(crate) fn place(&self, netif: NetifId, mac: MacAddr) -> String {
        format!("{mac} on {}", self.ports.name(netif))
    }

    /// The target and its server in words.
    pub(crate) fn who(&self, peer: &Peer) -> String {
        format!(
            "target {} ({})",
            peer.addr,
            self.place(peer.netif, peer.mac)
        )
    }

    /// A tag that no question of this process had. It is never 0, which stands for announcements.
    pub(crate) fn next_tag(&mut self) -> u32 {
        self.tag = self.tag.wrapping_add(1) & TAG_MASK;
        if self.tag == 0 {
            self.tag = 1;
        }
        self.tag
    }

    /// Sends one copy of a question. A copy that cannot be sent is lost, as on any wire, but one that no frame of
    /// this interface can hold is an error.
    pub(crate) fn send(
        &mut self,
        netif: NetifId,
        mac: MacAddr,
        to: AddrPattern,
        question: &Question<'_>,
        tag: u32,
    ) -> Result<(), Failure> {
        if self.ports.is_suspect() {
            self.ports.refresh();
        }
        let Some(link) = self.ports.link(netif) else {
            return Ok(());
        };
        let (shelf, slot) = to.to_wire();
        let mut frame = question.frame(Header {
            dst: mac,
            src: link.mac,
            version: VERSION,
            flags: 0,
            error: 0,
            shelf,
            slot,
            command: question.command(),
            tag,
        })?;
        if frame.len() - ETHER_HEADER > link.mtu as usize {
            return Err(Failure::Failed(anyhow!(
                "the request has {} bytes, but the MTU of {} is {}",
                frame.len() - ETHER_HEADER,
                self.ports.name(netif),
                link.mtu
            )));
        }
        log::trace!(
            "{} > {}",
            self.ports.name(netif),
            aoe_wire::FrameText(&frame)
        );
        // What went wrong is in the log; the question is sent again.
        let _ = self.ports.send(netif, &mut frame);
        Ok(())
    }

    /// The next answer to anything, if one comes before `until`.
    pub(crate) fn next_answer(&mut self, until: u64) -> Result<Option<Answer>, Failure> {
        loop {
            for netif in self.ports.ids() {
                while let Some(len) = self.ports.receive(netif, &mut self.buffer) {
                    let at_ns = monotonic_nanos();
                    let frame = self.buffer.get(..len).unwrap_or_default();
                    log::trace!(
                        "{} < {}",
                        self.ports.name(netif),
                        aoe_wire::FrameText(frame)
                    );
                    if let Some((header, reply)) = Reply::read(frame)
                        && let Some(addr) = header.addr()
                    {
                        return Ok(Some(Answer {
                            netif,
                            mac: header.src,
                            addr,
                            tag: header.tag,
                            at_ns,
                            command: header.command,
                            reply,
                        }));
                    }
                }
            }
            let left = until.saturating_sub(monotonic_nanos());
            if left == 0 || aoe_os::interrupted() {
                return Ok(None);
            }
            // An interface that has left would be ready for ever.
            if self.ports.is_suspect() {
                self.ports.refresh();
            }
            aoe_os::wait(self.ports.sockets(), Some(Duration::from_nanos(left)))
                .context("cannot wait for frames")?;
        }
    }

    /// Asks one server, for at most `patience` nanoseconds; `None` if it stays silent.
    pub(crate) fn try_ask(
        &mut self,
        peer: &Peer,
        question: &Question<'_>,
        patience: u64,
    ) -> Result<Option<Reply>, Failure> {
        let tag = self.next_tag();
        let end = monotonic_nanos().saturating_add(patience);
        let mut wait = FIRST_NS;
        while monotonic_nanos() < end && !aoe_os::interrupted() {
            self.send(peer.netif, peer.mac, peer.addr.into(), question, tag)?;
            let until = monotonic_nanos().saturating_add(wait).min(end);
            while let Some(answer) = self.next_answer(until)? {
                let fits = answer.tag == tag
                    && answer.addr == peer.addr
                    && answer.command == question.command();
                if fits {
                    return Ok(Some(answer.reply));
                }
            }
            wait = (wait * 2).min(LONGEST_NS);
        }
        Ok(None)
    }

    /// Asks one server. Silence is a failure.
    pub(crate) fn ask(&mut self, peer: &Peer, question: &Question<'_>) -> Result<Reply, Failure> {
        match self.try_ask(peer, question, self.timeout_ns)? {
            Some(reply) => Ok(reply),
            None => Err(Failure::NoAnswer(format!(
                "{} does not answer {} requests",
                self.who(peer),
                question.command()
            ))),
        }
    }

    /// Puts a config question to all servers of these targets, and gathers the answers: for one target until all its
    /// servers had time to answer, else for `patience` nanoseconds. Errors are answers too.
    pub(crate) fn gather(
        &mut self,
        to: Targets,
        request: ConfigRequest<'_>,
        patience: u64,
    ) -> Result<Vec<Answer>, Failure> {
        let question = Question::Config(request);
        let tag = self.next_tag();
        let begin = monotonic_nanos();
        let mut end = begin.saturating_add(patience);
        let mut wait = FIRST_NS;
        let mut next = begin;
        let mut answers: Vec<Answer> = Vec::new();
        loop {
            let now = monotonic_nanos();
            if now >= end || aoe_os::interrupted() {
                break;
            }
            // Of several servers some may have missed the question, so it is repeated also when one has answered.
            if now >= next {
                for netif in self.netifs() {
                    let mac = self.only.unwrap_or(MacAddr::BROADCAST);
                    self.send(netif, mac, to.0, &question, tag)?;
                }
                next = now.saturating_add(wait);
                wait = (wait * 2).min(LONGEST_NS);
            }
            while let Some(answer) = self.next_answer(next.min(end))? {
                let fits = answer.tag == tag
                    && answer.command == Command::CONFIG
                    && to.0.matches(answer.addr)
                    // Others may hear what is sent to one: on a hub, or listening to everything.
                    && self.only.is_none_or(|only| only == answer.mac);
                let known = answers
                    .iter()
                    .any(|a| (a.netif, a.mac, a.addr) == (answer.netif, answer.mac, answer.addr));
                if fits && !known {
                    if to.is_one() {
                        end = end.min(answer.at_ns.saturating_add(MORE_NS));
                    }
                    answers.push(answer);
                }
            }
        }
        answers.sort_by_key(|a| (a.addr, a.netif.0, a.mac));
        Ok(answers)
    }

    /// The servers of these targets that answer a config question; one that only says errors is none.
    pub(crate) fn gather_peers(
        &mut self,
        to: Targets,
        request: ConfigRequest<'_>,
        patience: u64,
    ) -> Result<Vec<Peer>, Failure> {
        let answers = self.gather(to, request, patience)?;
        let mut refused = None;
        let mut peers = Vec::new();
        for answer in answers {
            match answer.reply {
                Reply::Config(config) => peers.push(Peer {
                    netif: answer.netif,
                    mac: answer.mac,
                    addr: answer.addr,
                    config,
                }),
                Reply::Error(error, _) => {
                    let place = self.place(answer.netif, answer.mac);
                    refused = Some(refusal(&format!("target {} ({place})", answer.addr), error));
                }
                _ => {}
            }
        }
        match refused {
            Some(refused) if peers.is_empty() => Err(refused),
            _ => Ok(peers),
        }
    }

    /// Finds the servers of these targets, and tells if one target has several.
    pub(crate) fn find(&mut self, to: Targets) -> Result<Vec<Peer>, Failure> {
        let peers = self.gather_peers(to, ConfigRequest::READ, self.timeout_ns)?;
        if peers.is_empty() {
            return Err(self.not_found(to)?);
        }
        let addrs: BTreeSet<TargetAddr> = peers.iter().map(|p| p.addr).collect();
        for addr in addrs {
            let places: Vec<(NetifId, MacAddr)> = peers
                .iter()
                .filter(|p| p.addr == addr)
                .map(|p| (p.netif, p.mac))
                .collect();
            self.tell_of_several(addr, &places);
        }
        Ok(peers)
    }

    /// Says so if these servers of one address are several stations: of one target, or of two that should not have
    /// the same address.
    pub(crate) fn tell_of_several(&self, addr: TargetAddr, places: &[(NetifId, MacAddr)]) {
        let macs: BTreeSet<MacAddr> = places.iter().map(|(_, mac)| *mac).collect();
        if macs.len() > 1 {
            let places: Vec<String> = places
                .iter()
                .map(|(id, mac)| self.place(*id, *mac))
                .collect();
            eprintln!(
                "aoectl: target {addr} has {} Ethernet addresses: {}",
                macs.len(),
                places.join(", ")
            );
        }
    }

    /// What is known about why no server was found.
    pub(crate) fn not_found(&mut self, to: Targets) -> Result<Failure, Failure> {
        let names: Vec<&str> = self.ports.states().map(|(name, _)| name).collect();
        let names = names.join(", ");
        if to.0 == AddrPattern::ANY {
            return Ok(Failure::NoAnswer(format!("no target answers on {names}")));
        }
        let at = match self.only {
            Some(mac) => format!(" at {mac}"),
            None => String::new(),
        };
        let kind = if to.is_one() { "target" } else { "no target" };
        let verb = if to.is_one() {
            "does not answer"
        } else {
            "answers"
        };
        let mut text = format!("{kind} {to}{at} {verb} on {names}");
        self.only = None;
        let all = Targets(AddrPattern::ANY);
        let others = self.gather(all, ConfigRequest::READ, OTHERS_NS)?;
        let others: BTreeSet<TargetAddr> = others.iter().map(|a| a.addr).collect();
        if !others.is_empty() {
            let list: Vec<String> = others.iter().take(8).map(ToString::to_string).collect();
            text.push_str(&format!("; others do: {}", list.join(", ")));
        }
        Ok(Failure::NoAnswer(text))
    }
}

/// The failure that an error answer is.
pub(crate) fn refusal(who: &str, error: AoeError) -> Failure {
    Failure::Failed(anyhow!("{who} refuses: {}", in_words(error)))
}

/// An error code with the words that the specification has for it.
pub(crate) fn in_words(error: AoeError) -> String {
    let words = match error {
        AoeError::UNKNOWN_COMMAND => "unrecognized command code",
        AoeError::BAD_ARGUMENT => "bad argument parameter",
        AoeError::DEVICE_UNAVAILABLE => "device unavailable",
        AoeError::CONFIG_PRESENT => "config string present",
        AoeError::UNSUPPORTED_VERSION => "unsupported version",
        AoeError::RESERVED => "target is reserved",
        _ => "not in the specification",
    };
    format!("error {}: {words}", error.0)
}

/// A reply of another kind than the question asks for, which a target should not send.
pub(crate) fn out_of_place(who: &str, reply: &Reply) -> Failure {
    match reply {
        Reply::Error(error, _) => refusal(who, *error),
        _ => Failure::Failed(anyhow!("{who} answers another question than was asked")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read() {
        let one: Targets = "e7.3".parse().unwrap();
        assert!(one.is_one());
        assert_eq!(one, TargetAddr::new(7, 3).unwrap().into());
        for (text, shown) in [
            ("7.*", "7.*"),
            ("*.3", "*.3"),
            ("*.*", "all"),
            ("all", "all"),
        ] {
            let targets: Targets = text.parse().unwrap();
            assert!(!targets.is_one());
            assert_eq!(targets.to_string(), shown);
        }
        for wrong in [
            "", "7", "7.255", "65535.0", "7.", ".*", "7.3.1", "**.1", "al",
        ] {
            assert!(wrong.parse::<Targets>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn stations_are_single() {
        assert_eq!(station("2:0:0:0:0:9"), Ok(MacAddr([2, 0, 0, 0, 0, 9])));
        for wrong in [
            "02:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "01:00:00:00:00:01",
            "0:0:0:0:0:0",
        ] {
            assert!(station(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_not_zero() {
        assert!(some_seconds("0").is_err());
        assert!(some_seconds("nan").is_err());
        assert_eq!(some_seconds("0.25"), Ok(Duration::from_millis(250)));
    }

    fn header(flags: u8, error: u8, command: Command) -> Header {
        Header {
            dst: MacAddr([2, 0, 0, 0, 0, 1]),
            src: MacAddr([2, 0, 0, 0, 0, 2]),
            version: 1,
            flags,
            error,
            shelf: 7,
            slot: 3,
            command,
            tag: 5,
        }
    }

    /// The answer as vblade 25 gives it to a refused set: the current string comes with the error.
    #[test]
    fn a_refused_set_tells_the_string() {
        let mut frame = [0; 64];
        let head = header(Header::RESPONSE | Header::ERROR, 4, Command::CONFIG);
        let argument = [0, 16, 0x40, 0x19, 2, 0x13, 0, 2, b'y', b'o'];
        let message = Message::Error {
            header: head,
            error: AoeError(4),
            argument: &argument,
        };
        let len = message.emit(&mut frame).unwrap();
        let (_, reply) = Reply::read(&frame[..len]).unwrap();
        let Reply::Error(AoeError::CONFIG_PRESENT, argument) = reply else {
            panic!("{reply:?}");
        };
        assert_eq!(Reply::config_of_error(&argument).unwrap().string, b"yo");
    }

    #[test]
    fn requests_are_no_answers() {
        let mut frame = [0; 64];
        let message = Message::ConfigRequest {
            header: header(0, 0, Command::CONFIG),
            request: ConfigRequest::READ,
        };
        let len = message.emit(&mut frame).unwrap();
        assert_eq!(Reply::read(&frame[..len]), None);
        assert_eq!(Reply::read(&frame[..10]), None);
    }

    #[test]
    fn errors_have_the_words_of_the_specification() {
        assert_eq!(in_words(AoeError(6)), "error 6: target is reserved");
        assert_eq!(in_words(AoeError(99)), "error 99: not in the specification");
    }
}
