// SPDX-License-Identifier: BSD-2-Clause
//! Whether two servers, or two disks, answer at one address: as several stations, or from one Ethernet address.
//!
//! Nothing is written. So what is found is certain, and what is not found may be there all the same: two disks that
//! were equal wherever they were compared are told apart by a write only.

mod census;

use super::Checked;
use crate::commands::station::{Difference, Station, in_words, is_same};
use crate::exchange::{Exchange, Peer, Question, Reply};
use crate::failure::Failure;
use aoe_wire::{ConfigRequest, Identify, TargetAddr};
use census::{Census, Repeats};
use std::collections::BTreeMap;

/// How often two stations that differ are both asked again. A disk that is written meanwhile differs from itself, but
/// does not go back to what it was each time that the other station is asked.
const AGAIN: usize = 3;
/// How long a station may take to answer then, in nanoseconds.
const PATIENCE_NS: u64 = 1_000_000_000;

/// What is wrong with who answers at an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Two stations have disks that call themselves differently, or have different sizes.
    Disks,
    /// Two stations have disks with different data.
    Data,
    /// Two stations have different config strings.
    Config,
    /// One Ethernet address gives different answers to one question.
    OneMac,
    /// One Ethernet address answers every question more than once.
    Doubled,
    /// A question to one station is answered by another too.
    Overheard,
}

impl Kind {
    /// Its name in JSON.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Disks => "disks",
            Self::Data => "data",
            Self::Config => "config",
            Self::OneMac => "one_mac",
            Self::Doubled => "doubled",
            Self::Overheard => "overheard",
        }
    }
}

/// Something that was found, in a sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    pub(super) text: String,
}

/// What can be said of who answers at an address.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Verdict {
    /// What is certain.
    pub(super) findings: Vec<Finding>,
    /// What cannot be told, and why.
    pub(super) unknown: Vec<String>,
    /// What looks odd, and is no proof.
    pub(super) advice: Vec<String>,
}

impl Verdict {
    fn find(&mut self, kind: Kind, text: String) {
        self.findings.push(Finding { kind, text });
    }
}

/// Looks at all targets, by these stations of theirs, each of which has a route, in the same order.
pub(super) fn look(
    exchange: &mut Exchange,
    peers: &[Peer],
    targets: &mut BTreeMap<TargetAddr, Checked>,
) -> Result<(), Failure> {
    let mut census = Census::take(exchange)?;
    let mut counts: BTreeMap<TargetAddr, usize> = BTreeMap::new();
    for peer in peers {
        *counts.entry(peer.addr).or_default() += 1;
    }
    let several = peers
        .iter()
        .filter(|peer| counts.get(&peer.addr).is_some_and(|count| *count > 1));
    census.watch(exchange, &several.collect::<Vec<_>>())?;
    for (addr, target) in targets {
        let peers = peers.iter().filter(|peer| peer.addr == *addr);
        let mut stations: Vec<Station> = peers
            .zip(&target.routes)
            .map(|(peer, route)| Station {
                place: exchange.place(peer.netif, peer.mac),
                disk: route.disk,
                samples: Vec::new(),
                peer: peer.clone(),
            })
            .collect();
        let verdict = &mut target.verdict;
        for station in &stations {
            one_address(exchange, &census, station, verdict)?;
        }
        if stations.len() > 1 {
            overheard(&census, &stations, verdict);
            configs(exchange, &stations, verdict)?;
            disks(exchange, &mut stations, verdict)?;
        }
    }
    Ok(())
}

/// Whether two servers answer from the Ethernet address of this station.
fn one_address(
    exchange: &mut Exchange,
    census: &Census,
    station: &Station,
    verdict: &mut Verdict,
) -> Result<(), Failure> {
    let place = &station.place;
    let repeats = census.repeats(&station.peer);
    let counts = format!(
        "{} of {} questions that were sent once were answered more than once from {place}",
        repeats.doubled, repeats.answered
    );
    if !repeats.is_rule() {
        if repeats.doubled > 0 {
            verdict.advice.push(format!(
                "{counts}: something between here and there doubles frames"
            ));
        }
        return Ok(());
    }
    match behind(exchange, repeats, station)? {
        Some(what) => verdict.find(
            Kind::OneMac,
            format!(
                "two servers answer from the Ethernet address {place}: {what}; give one of them another Ethernet \
                 address, and another shelf or slot"
            ),
        ),
        None => verdict.find(
            Kind::Doubled,
            format!(
                "{counts}, and always alike: two servers have this Ethernet address, or something between here and \
                 there doubles every frame"
            ),
        ),
    }
    Ok(())
}

/// How two servers behind the Ethernet address of this station can be told apart, if they can.
fn behind(
    exchange: &mut Exchange,
    repeats: Repeats,
    station: &Station,
) -> Result<Option<String>, Failure> {
    if repeats.differing > 1 {
        return Ok(Some(
            "one config question has two different answers".to_owned(),
        ));
    }
    let disks = census::identities(exchange, &station.peer)?;
    if let [one, other, ..] = disks.as_slice() {
        return Ok(Some(format!("{}, and {}", in_words(one), in_words(other))));
    }
    let Some(disk) = disks.first().copied().or(station.disk) else {
        return Ok(None);
    };
    let sector = census::differing_sector(exchange, &station.peer, &disk)?;
    Ok(sector.map(|lba| {
        format!(
            "{}, with two different answers to one read of sector {lba}",
            in_words(&disk)
        )
    }))
}

/// Whether a frame for one of these stations is taken by another too. Mostly it goes both ways; once is enough.
fn overheard(census: &Census, stations: &[Station], verdict: &mut Verdict) {
    let both = |station: &Station| Some((station.place.clone(), census.other(&station.peer)?));
    if let Some((place, other)) = stations.iter().find_map(both) {
        verdict.find(
            Kind::Overheard,
            format!(
                "questions to {place} are answered by {other} too: what is written to one is written by both, and the \
                 later of them may put older data over newer"
            ),
        );
    }
}

/// Whether the stations have different config strings.
fn configs(
    exchange: &mut Exchange,
    stations: &[Station],
    verdict: &mut Verdict,
) -> Result<(), Failure> {
    let Some((first, others)) = stations.split_first() else {
        return Ok(());
    };
    for other in others {
        let (one, two) = (&first.peer.config.string, &other.peer.config.string);
        if one != two && both_stay(exchange, first, other, config_is_kept)? {
            verdict.find(
                Kind::Config,
                format!(
                    "different config strings at this address: {:?} at {}, and {:?} at {}; there are two servers, and \
                     what a host claims at one of them is not claimed at the other",
                    one.escape_ascii().to_string(),
                    first.place,
                    two.escape_ascii().to_string(),
                    other.place
                ),
            );
            break;
        }
    }
    Ok(())
}

/// Whether the stations have different disks. Each is compared with one station of each disk found so far.
fn disks(
    exchange: &mut Exchange,
    stations: &mut [Station],
    verdict: &mut Verdict,
) -> Result<(), Failure> {
    for station in &mut *stations {
        if station.disk.is_some() && !station.sample(exchange, 0)? {
            station.samples.clear();
        }
    }
    // Those that can be read come first, so that the others are compared with what is known best.
    let (mut order, unread): (Vec<&Station>, Vec<&Station>) =
        stations.iter().partition(|station| is_read(station));
    order.extend(unread);
    let mut disks: Vec<Vec<&Station>> = Vec::new();
    for station in order {
        let mut found = None;
        let mut same = None;
        for (number, disk) in disks.iter().enumerate() {
            let Some(first) = disk.first() else { continue };
            match compare(exchange, first, station)? {
                Outcome::Different(what) => found = found.or(Some((what, *first))),
                Outcome::Alike => same = Some(number),
                Outcome::Changing(what) => {
                    same = Some(number);
                    verdict.unknown.push(changing(what, first, station));
                }
            }
            if same.is_some() {
                break;
            }
        }
        match same.and_then(|number| disks.get_mut(number)) {
            Some(disk) => disk.push(station),
            None => {
                if let Some((what, first)) = found {
                    tell(what, first, station, verdict);
                }
                disks.push(vec![station]);
            }
        }
    }
    for disk in &disks {
        say_what_is_unknown(disk, verdict);
    }
    Ok(())
}

/// Whether there is something of the disk to compare.
fn is_read(station: &Station) -> bool {
    let mut samples = station.samples.iter();
    samples.any(|(_, sample)| sample.is_some())
}

fn changing(what: Difference, one: &Station, other: &Station) -> String {
    let what = match what {
        Difference::Identity => "what they say of it was different, but changes".to_owned(),
        Difference::Sector(lba) => format!("sector {lba} was different, but is being written"),
    };
    format!(
        "cannot tell whether one disk is at {} and {}: {what}",
        one.place, other.place
    )
}

fn tell(what: Difference, one: &Station, other: &Station, verdict: &mut Verdict) {
    let (kind, more) = match what {
        Difference::Identity => (Kind::Disks, String::new()),
        Difference::Sector(lba) => (Kind::Data, format!(" (sector {lba} is not the same)")),
    };
    verdict.find(
        kind,
        format!(
            "different disks answer at this address: {}, and {}{more}; give one of the targets another shelf or slot",
            one.words(),
            other.words()
        ),
    );
}

/// In so many words: that nothing was found in stations that seem to have one disk does not say that there is nothing.
fn say_what_is_unknown(disk: &[&Station], verdict: &mut Verdict) {
    let (read, unread): (Vec<&Station>, Vec<&Station>) =
        disk.iter().partition(|station| is_read(station));
    for station in unread {
        verdict.unknown.push(format!(
            "cannot tell what is at {}: nothing can be read there",
            station.place
        ));
    }
    if read.len() > 1 {
        let places: Vec<&str> = read.iter().map(|station| station.place.as_str()).collect();
        verdict.unknown.push(format!(
            "cannot tell whether one disk or equal copies of it are at {}: nothing that was compared differs for good, \
             as it should be with several paths; only a write tells (aoectl write tries one before it begins)",
            places.join(", ")
        ));
    }
}

/// What a comparison of two stations brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Alike,
    /// They differed in this, and then did not.
    Changing(Difference),
    Different(Difference),
}

fn compare(exchange: &mut Exchange, one: &Station, other: &Station) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::Alike;
    for what in one.differences(other) {
        let stays = match what {
            Difference::Identity => both_stay(exchange, one, other, identity_is_kept)?,
            Difference::Sector(lba) => both_stay(exchange, one, other, |exchange, station| {
                sector_is_kept(exchange, station, lba)
            })?,
        };
        if stays {
            return Ok(Outcome::Different(what));
        }
        outcome = Outcome::Changing(what);
    }
    Ok(outcome)
}

/// Whether both stations still say what they said, each time that they are asked in turn.
fn both_stay(
    exchange: &mut Exchange,
    one: &Station,
    other: &Station,
    mut is_kept: impl FnMut(&mut Exchange, &Station) -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    for _ in 0..AGAIN {
        if !is_kept(exchange, one)? || !is_kept(exchange, other)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn config_is_kept(exchange: &mut Exchange, station: &Station) -> Result<bool, Failure> {
    let question = Question::Config(ConfigRequest::READ);
    let reply = exchange.try_ask(&station.peer, &question, PATIENCE_NS)?;
    Ok(matches!(reply, Some(Reply::Config(config)) if config.string == station.peer.config.string))
}

fn identity_is_kept(exchange: &mut Exchange, station: &Station) -> Result<bool, Failure> {
    let mut again = Station {
        peer: station.peer.clone(),
        place: String::new(),
        disk: None,
        samples: Vec::new(),
    };
    again.identify(exchange)?;
    let same = |(one, other): (Identify, Identify)| is_same(&one, &other);
    Ok(again.disk.zip(station.disk).is_some_and(same))
}

fn sector_is_kept(exchange: &mut Exchange, station: &Station, lba: u64) -> Result<bool, Failure> {
    let lba48 = station.disk.is_some_and(|disk| disk.lba48);
    let before = station.samples.iter().find(|(at, _)| *at == lba);
    let again = station.read(exchange, lba, lba48)?.flatten();
    Ok(again.is_some() && before.is_some_and(|(_, sample)| *sample == again))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::station::tests::station;

    #[test]
    fn both_disks_are_named() {
        let one = station(1, "a", 2048, &[1]);
        let other = station(2, "b", 4096, &[1]);
        let mut verdict = Verdict::default();
        tell(Difference::Identity, &one, &other, &mut verdict);
        tell(Difference::Sector(34), &one, &other, &mut verdict);
        let [disks, data] = verdict.findings.as_slice() else {
            panic!("{verdict:?}");
        };
        assert_eq!((disks.kind, data.kind), (Kind::Disks, Kind::Data));
        for word in [
            "\"a\" of 1.0 MiB at 02:00:00:00:00:01",
            "\"b\" of 2.0 MiB at 02:00:00:00:00:02",
        ] {
            assert!(disks.text.contains(word), "{}", disks.text);
        }
        assert!(
            data.text.contains("sector 34 is not the same"),
            "{}",
            data.text
        );
    }

    #[test]
    fn doubt_is_for_several_stations_of_one_disk() {
        let (one, other) = (station(1, "a", 9, &[1]), station(2, "a", 9, &[1]));
        let mut unread = station(3, "a", 9, &[1]);
        unread.samples[0].1 = None;
        let unknown = |disk: &[&Station]| {
            let mut verdict = Verdict::default();
            say_what_is_unknown(disk, &mut verdict);
            assert_eq!(verdict.findings, []);
            verdict.unknown
        };
        assert_eq!(unknown(&[&one]), [""; 0]);
        let lines = unknown(&[&one, &other]);
        assert!(
            lines.len() == 1 && lines[0].contains("00:01 on em0, 02:00:00:00:00:02 on em0"),
            "{lines:?}"
        );
        let lines = unknown(&[&one, &unread]);
        assert!(
            lines.len() == 1 && lines[0].contains("nothing can be read"),
            "{lines:?}"
        );
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let all = [
            Kind::Disks,
            Kind::Data,
            Kind::Config,
            Kind::OneMac,
            Kind::Doubled,
            Kind::Overheard,
        ];
        let names: std::collections::BTreeSet<&str> = all.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), all.len());
    }
}
