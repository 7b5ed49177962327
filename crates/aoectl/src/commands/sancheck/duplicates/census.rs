// SPDX-License-Identifier: BSD-2-Clause
//! Questions that are sent once. One server answers such a question once, so a second answer is another server's, or
//! the work of a network that doubles frames.

use crate::commands::station::{is_same, places};
use crate::exchange::{Answer, Config, Exchange, Peer, Question, Reply};
use crate::failure::Failure;
use aoe_core::NetifId;
use aoe_wire::{
    AddrPattern, AtaFault, AtaRequest, ConfigRequest, Identify, MacAddr, SECTOR_SIZE, TargetAddr,
};
use std::collections::BTreeMap;

/// How many config questions everybody is asked.
const ROUNDS: usize = 6;
/// How many questions to one station are watched for answers of others, and how many of them must have one.
const WATCHED: usize = 3;
const WATCHED_ENOUGH: usize = 2;
/// How many questions must have been answered to speak of a rule.
const ENOUGH: u32 = 3;
/// How many stations are asked at a time.
const AT_A_TIME: usize = 64;
/// How long answers to one question are listened for, in nanoseconds.
const LISTEN_NS: u64 = 80_000_000;
/// How often a sector with two answers is asked for again.
const AGAIN: usize = 2;

/// Of the questions that were sent once: how many had an answer from one station, and so on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Repeats {
    pub(super) answered: u32,
    /// Those with more than one answer.
    pub(super) doubled: u32,
    /// Those with answers that are not the same.
    pub(super) differing: u32,
}

impl Repeats {
    fn note(&mut self, answers: &[&Config]) {
        let Some((first, others)) = answers.split_first() else {
            return;
        };
        self.answered += 1;
        self.doubled += u32::from(!others.is_empty());
        self.differing += u32::from(others.iter().any(|other| other != first));
    }

    /// Whether more than half of the questions had several answers. A network that doubles a frame now and then does
    /// not do that.
    pub(super) const fn is_rule(self) -> bool {
        self.answered >= ENOUGH && self.doubled * 2 > self.answered
    }
}

/// A station of a target.
type Key = (TargetAddr, NetifId, MacAddr);

const fn key(peer: &Peer) -> Key {
    (peer.addr, peer.netif, peer.mac)
}

/// What all stations answered to a few questions that were sent once.
#[derive(Debug, Default)]
pub(super) struct Census {
    repeats: BTreeMap<Key, Repeats>,
    /// Who else answers the questions to a station.
    others: BTreeMap<Key, MacAddr>,
}

impl Census {
    pub(super) fn take(exchange: &mut Exchange) -> Result<Self, Failure> {
        let mut census = Self::default();
        let everybody: Vec<_> = exchange
            .netifs()
            .into_iter()
            .map(|netif| (netif, MacAddr::BROADCAST, AddrPattern::ANY))
            .collect();
        for _ in 0..ROUNDS {
            let question = Question::Config(ConfigRequest::READ);
            for answers in exchange.ask_once(&everybody, &question, LISTEN_NS)? {
                census.note(&answers);
            }
        }
        Ok(census)
    }

    /// The answers to one question.
    fn note(&mut self, answers: &[Answer]) {
        let mut by_station: BTreeMap<_, Vec<&Config>> = BTreeMap::new();
        for answer in answers {
            if let Reply::Config(config) = &answer.reply {
                let key = (answer.addr, answer.netif, answer.mac);
                by_station.entry(key).or_default().push(config);
            }
        }
        for (key, configs) in by_station {
            self.repeats.entry(key).or_default().note(&configs);
        }
    }

    /// Watches whether questions to these stations are answered by others, too.
    pub(super) fn watch(
        &mut self,
        exchange: &mut Exchange,
        peers: &[&Peer],
    ) -> Result<(), Failure> {
        for some in peers.chunks(AT_A_TIME) {
            let places: Vec<_> = some
                .iter()
                .map(|peer| (peer.netif, peer.mac, AddrPattern::from(peer.addr)))
                .collect();
            let mut seen: Vec<Vec<MacAddr>> = vec![Vec::new(); some.len()];
            for _ in 0..WATCHED {
                let question = Question::Config(ConfigRequest::READ);
                let answers = exchange.ask_once(&places, &question, LISTEN_NS)?;
                for ((peer, answers), macs) in some.iter().zip(&answers).zip(&mut seen) {
                    macs.extend(second(answers, peer.mac));
                }
            }
            for (peer, macs) in some.iter().zip(&seen) {
                self.others.extend(often(macs).map(|mac| (key(peer), mac)));
            }
        }
        Ok(())
    }

    /// How often the station answered questions to everybody.
    pub(super) fn repeats(&self, peer: &Peer) -> Repeats {
        self.repeats.get(&key(peer)).copied().unwrap_or_default()
    }

    /// Another station that answers the questions to this one, beside it.
    pub(super) fn other(&self, peer: &Peer) -> Option<MacAddr> {
        self.others.get(&key(peer)).copied()
    }
}

/// All answers to one question to this station that is sent once.
fn ask(
    exchange: &mut Exchange,
    peer: &Peer,
    question: &Question<'_>,
) -> Result<Vec<Answer>, Failure> {
    let place = [(peer.netif, peer.mac, peer.addr.into())];
    let answers = exchange.ask_once(&place, question, LISTEN_NS)?;
    Ok(answers.into_iter().flatten().collect())
}

/// The station that was seen often enough.
fn often(macs: &[MacAddr]) -> Option<MacAddr> {
    let count = |mac| macs.iter().filter(|other| *other == mac).count();
    macs.iter()
        .find(|mac| count(*mac) >= WATCHED_ENOUGH)
        .copied()
}

/// The second station in the answers to a question to `asked`. A server with several ports may answer by another than
/// was asked, so that one answer from elsewhere says nothing.
fn second(answers: &[Answer], asked: MacAddr) -> Option<MacAddr> {
    let from_asked = answers.iter().any(|answer| answer.mac == asked);
    let other = answers.iter().find(|answer| answer.mac != asked)?.mac;
    let third = answers
        .iter()
        .any(|answer| answer.mac != asked && answer.mac != other);
    (from_asked || third).then_some(other)
}

/// The different disks that IDENTIFY shows behind one Ethernet address. A switch sends a frame to where it heard this
/// address last; a question to everybody before it may change where that is.
pub(super) fn identities(exchange: &mut Exchange, peer: &Peer) -> Result<Vec<Identify>, Failure> {
    let mut disks: Vec<Identify> = Vec::new();
    let everybody = [(peer.netif, MacAddr::BROADCAST, AddrPattern::from(peer.addr))];
    for _ in 0..WATCHED {
        let answers = ask(exchange, peer, &Question::Ata(AtaRequest::identify(), &[]))?;
        for table in answers.iter().filter_map(|answer| data(&answer.reply)) {
            if let Ok(disk) = Identify::parse(table)
                && !disks.iter().any(|known| is_same(known, &disk))
            {
                disks.push(disk);
            }
        }
        exchange.ask_once(
            &everybody,
            &Question::Config(ConfigRequest::READ),
            LISTEN_NS,
        )?;
    }
    Ok(disks)
}

/// A sector that is answered in two ways, each time that it is asked for.
pub(super) fn differing_sector(
    exchange: &mut Exchange,
    peer: &Peer,
    disk: &Identify,
) -> Result<Option<u64>, Failure> {
    'places: for lba in places(disk, 0) {
        for _ in 0..=AGAIN {
            let read = Question::Ata(AtaRequest::read(lba, 1, disk.lba48), &[]);
            let answers = ask(exchange, peer, &read)?;
            let mut sectors = answers.iter().filter_map(|answer| data(&answer.reply));
            let first = sectors.next();
            if sectors.all(|sector| Some(sector) == first) {
                continue 'places;
            }
        }
        return Ok(Some(lba));
    }
    Ok(None)
}

/// A sector of data, if that is the answer.
fn data(reply: &Reply) -> Option<&[u8; SECTOR_SIZE]> {
    match reply {
        Reply::Ata(reply, data) if reply.fault() == AtaFault::None => data.first_chunk(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aoe_wire::Command;

    fn answer(last: u8, string: &[u8]) -> Answer {
        Answer {
            netif: NetifId(0),
            mac: MacAddr([2, 0, 0, 0, 0, last]),
            addr: TargetAddr::new(7, 0).unwrap(),
            tag: 5,
            at_ns: 0,
            command: Command::CONFIG,
            reply: Reply::Config(Config {
                buffers: 16,
                firmware: 1,
                sectors: 2,
                version: 1,
                string: string.to_vec(),
            }),
        }
    }

    fn counts(questions: &[&[(u8, &[u8])]]) -> Repeats {
        let mut census = Census::default();
        for question in questions {
            let answers: Vec<Answer> = question.iter().map(|(m, s)| answer(*m, s)).collect();
            census.note(&answers);
        }
        let key = (
            TargetAddr::new(7, 0).unwrap(),
            NetifId(0),
            MacAddr([2, 0, 0, 0, 0, 1]),
        );
        census.repeats.get(&key).copied().unwrap_or_default()
    }

    #[test]
    fn answers_are_counted_for_each_station() {
        let once = counts(&[&[(1, b""), (2, b"")], &[(2, b""), (2, b"")], &[(1, b"")]]);
        assert_eq!((once.answered, once.doubled, once.differing), (2, 0, 0));
        let twice = counts(&[&[(1, b""), (2, b"x"), (1, b"")], &[(1, b"a"), (1, b"b")]]);
        assert_eq!((twice.answered, twice.doubled, twice.differing), (2, 2, 1));
    }

    #[test]
    fn one_answer_of_another_may_be_chance() {
        let macs = |list: &[u8]| {
            let macs: Vec<MacAddr> = list.iter().map(|n| MacAddr([2, 0, 0, 0, 0, *n])).collect();
            often(&macs).map(|mac| mac.0[5])
        };
        assert_eq!(macs(&[]), None);
        assert_eq!(macs(&[2, 3]), None);
        assert_eq!(macs(&[2, 3, 3]), Some(3));
    }

    #[test]
    fn now_and_then_is_no_rule() {
        let repeats = |answered, doubled| Repeats {
            answered,
            doubled,
            differing: 0,
        };
        for (answered, doubled, rule) in [
            (0, 0, false),
            (2, 2, false),
            (3, 2, true),
            (6, 0, false),
            (6, 3, false),
            (6, 4, true),
            (6, 6, true),
        ] {
            assert_eq!(
                repeats(answered, doubled).is_rule(),
                rule,
                "{doubled} of {answered}"
            );
        }
    }

    #[test]
    fn one_answer_from_elsewhere_is_a_port_of_the_server() {
        let asked = MacAddr([2, 0, 0, 0, 0, 1]);
        let second = |macs: &[u8]| {
            let answers: Vec<Answer> = macs.iter().map(|mac| answer(*mac, b"")).collect();
            second(&answers, asked).map(|mac| mac.0[5])
        };
        assert_eq!(second(&[]), None);
        assert_eq!(second(&[1]), None);
        assert_eq!(second(&[2]), None);
        assert_eq!(second(&[2, 2]), None);
        assert_eq!(second(&[1, 1]), None);
        assert_eq!(second(&[1, 2]), Some(2));
        assert_eq!(second(&[2, 1]), Some(2));
        assert_eq!(second(&[3, 2]), Some(3));
    }
}
