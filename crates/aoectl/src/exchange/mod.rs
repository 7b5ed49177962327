// SPDX-License-Identifier: BSD-2-Clause
//! Single questions to a target and their answers, without the engine.
//!
//! A question is sent again while it is not answered, all copies with the same tag. An answer counts if it is a
//! response to the same command with this tag, which is random and from the half that kernel initiators leave to
//! tools ([`Ports`] sees to that), and if it comes from the address that was asked. Its Ethernet address may be
//! another than the one that was asked: servers may answer from any port they have.

mod message;
mod reach;

pub(crate) use message::{Config, Question, Reply, in_words, out_of_place, refusal};
pub(crate) use reach::{Reach, ReachOne, Targets, some_seconds, station};

use crate::driver::Ports;
use crate::failure::Failure;
use anyhow::{Context, anyhow};
use aoe_core::{Links, NetifId};
use aoe_os::{MAX_FRAME_LEN, monotonic_nanos};
use aoe_wire::{AddrPattern, Command, ConfigRequest, Header, MacAddr, TargetAddr, VERSION};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long the first copy of a question is waited for; each further one twice as long.
const FIRST_NS: u64 = 50_000_000;
/// The longest that one copy is waited for.
const LONGEST_NS: u64 = 800_000_000;
/// How long further servers are listened for once one has answered.
pub(crate) const MORE_NS: u64 = 150_000_000;
/// How long others are listened for when a target is not there, to name them.
const OTHERS_NS: u64 = 200_000_000;
/// Length of an Ethernet header, which the MTU does not count.
const ETHER_HEADER: usize = aoe_os::ETHER_HEADER_LEN;
/// The tags that tools may choose: the upper bit is theirs anyway.
const TAG_MASK: u32 = 0x7fff_ffff;

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
    /// Frames are filled with zeros up to this length.
    frame_len: usize,
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
            frame_len: 0,
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

    /// Fills what is sent from now on with zeros up to this length, headers included, to see whether it gets through.
    pub(crate) fn set_frame_len(&mut self, len: usize) {
        self.frame_len = len;
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
        frame.resize(frame.len().max(self.frame_len), 0);
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

    /// Sends one copy of a question to each of these places, and no second one, and gathers all answers for `listen`
    /// nanoseconds, those to each copy by themselves.
    pub(crate) fn ask_once(
        &mut self,
        places: &[(NetifId, MacAddr, AddrPattern)],
        question: &Question<'_>,
        listen: u64,
    ) -> Result<Vec<Vec<Answer>>, Failure> {
        let mut asked = Vec::new();
        for (netif, mac, to) in places {
            let tag = self.next_tag();
            self.send(*netif, *mac, *to, question, tag)?;
            asked.push((tag, *to, Vec::new()));
        }
        let end = monotonic_nanos().saturating_add(listen);
        while let Some(answer) = self.next_answer(end)? {
            let place = asked
                .iter_mut()
                .find(|(tag, to, _)| answer.tag == *tag && to.matches(answer.addr));
            if let Some((.., answers)) = place
                && answer.command == question.command()
            {
                answers.push(answer);
            }
        }
        Ok(asked.into_iter().map(|(.., answers)| answers).collect())
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
                Reply::Error(error) => {
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
