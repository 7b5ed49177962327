// SPDX-License-Identifier: BSD-2-Clause
//! How bad a wire is, and how people say it.

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};

/// Which way a frame goes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// From the initiator to the target.
    ToTarget,
    /// From the target to the initiator.
    ToInitiator,
}

impl Way {
    pub(crate) const BOTH: [Self; 2] = [Self::ToTarget, Self::ToInitiator];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ToTarget => "to-target",
            Self::ToInitiator => "to-initiator",
        }
    }

    /// The ways that a word names.
    pub(crate) fn parse(word: &str) -> Result<&'static [Self]> {
        Ok(match word {
            "both" => &Self::BOTH,
            "to-target" => &[Self::ToTarget],
            "to-initiator" => &[Self::ToInitiator],
            _ => bail!("{word:?} is no direction (both, to-target, to-initiator)"),
        })
    }
}

/// Bytes of a frame, counted without a VLAN tag: the first and the last of each range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Bytes(Vec<(u16, u16)>);

impl Bytes {
    fn parse(text: &str) -> Result<Self> {
        Ok(Self(match text {
            "header" => vec![(0, 35)],
            "no-tag" => vec![(0, 19), (24, 35)],
            "payload" => vec![(36, u16::MAX)],
            "all" => vec![(0, u16::MAX)],
            _ => text.split(',').map(parse_bytes).collect::<Result<_>>()?,
        }))
    }

    /// How many of them a frame of this length has.
    pub(crate) fn count(&self, len: u16) -> u16 {
        self.0.iter().map(|range| width(*range, len)).sum()
    }

    /// The place of the n-th of them.
    pub(crate) fn place(&self, len: u16, mut n: u16) -> Option<u16> {
        for range in &self.0 {
            let width = width(*range, len);
            if n < width {
                return Some(range.0 + n);
            }
            n -= width;
        }
        None
    }
}

/// How many bytes of a range are inside of a frame of this length.
fn width((first, last): (u16, u16), len: u16) -> u16 {
    last.saturating_add(1).min(len).saturating_sub(first)
}

fn parse_bytes(text: &str) -> Result<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |word: &str| {
        let known = "header, no-tag, payload, all, or offsets as in 14-19,24";
        word.parse::<u16>()
            .map_err(|_| anyhow!("{text:?} names no bytes of a frame ({known})"))
    };
    let range = (number(first)?, number(last)?);
    ensure!(range.0 <= range.1, "{text:?} ends before it begins");
    Ok(range)
}

/// How one direction of the wire behaves. Chances are in parts per million, times in nanoseconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Faults {
    /// A frame is lost.
    pub(crate) loss: u32,
    /// A frame goes by twice.
    pub(crate) duplicate: u32,
    /// How long after the first the second one comes.
    pub(crate) duplicate_delay: (u64, u64),
    /// Shortest and longest delay; by itself it lets no frame overtake another.
    pub(crate) delay: (u64, u64),
    /// A frame is kept back for longer, so that later ones overtake it.
    pub(crate) reorder: u32,
    /// How much longer.
    pub(crate) reorder_delay: (u64, u64),
    /// A byte of a frame is changed.
    pub(crate) corrupt: u32,
    /// Which bytes that may be.
    pub(crate) corrupt_bytes: Bytes,
    /// Frames longer than this, in bytes with the Ethernet header, vanish.
    pub(crate) longest: Option<usize>,
    /// Until when nothing gets through and everything is lost.
    pub(crate) cut_until: u64,
    /// Until when nothing gets through and nothing is lost.
    pub(crate) clog_until: u64,
    /// Faults happen to every frame, not only to those of AoE.
    pub(crate) all_frames: bool,
}

impl Faults {
    /// A wire without faults.
    ///
    /// A frame that a network repeats comes at once towards a target, and at any time towards the initiator:
    /// no initiator can guard against a write that a network repeats after a while, because it looks like the
    /// only copy and no target remembers what it has carried out.
    pub(crate) fn none(way: Way) -> Self {
        Self {
            loss: 0,
            duplicate: 0,
            duplicate_delay: match way {
                Way::ToTarget => (0, 0),
                Way::ToInitiator => (0, 10_000_000),
            },
            delay: (0, 0),
            reorder: 0,
            reorder_delay: (2_000_000, 2_000_000),
            corrupt: 0,
            corrupt_bytes: Bytes(vec![(0, 35)]),
            longest: None,
            cut_until: 0,
            clog_until: 0,
            all_frames: false,
        }
    }

    /// Changes one of them. Times that end are counted from `now`.
    pub(crate) fn set(&mut self, way: Way, setting: &str, now: u64) -> Result<()> {
        let (key, value) = setting
            .split_once('=')
            .with_context(|| format!("{setting:?} is not of the form name=value"))?;
        match key {
            "loss" => self.loss = parse_chance(value)?,
            "duplicate" => self.duplicate = parse_chance(value)?,
            "duplicate-delay" => {
                ensure!(
                    way == Way::ToInitiator,
                    "duplicate-delay is for to-initiator only: no initiator can guard against a write that the \
                     network repeats late"
                );
                self.duplicate_delay = parse_times(value)?;
            }
            "delay" => self.delay = parse_times(value)?,
            "reorder" => self.reorder = parse_chance(value)?,
            "reorder-delay" => self.reorder_delay = parse_times(value)?,
            "corrupt" => self.corrupt = parse_chance(value)?,
            "corrupt-bytes" => self.corrupt_bytes = Bytes::parse(value)?,
            "longest" => {
                self.longest = match value {
                    "off" => None,
                    _ => Some(value.parse().map_err(|_| {
                        anyhow!("{value:?} is no length in bytes (a number, or off)")
                    })?),
                }
            }
            "cut" => self.cut_until = parse_until(value, now)?,
            "clog" => self.clog_until = parse_until(value, now)?,
            "frames" => {
                self.all_frames = match value {
                    "aoe" => false,
                    "all" => true,
                    _ => bail!("frames={value:?} is neither aoe nor all"),
                }
            }
            _ => bail!(
                "{key:?} is no setting (loss, duplicate, duplicate-delay, delay, reorder, reorder-delay, corrupt, \
                 corrupt-bytes, longest, cut, clog, frames)"
            ),
        }
        Ok(())
    }

    /// Those that are on, for people and programs.
    pub(crate) fn to_json(&self, now: u64) -> Value {
        let bytes: Vec<_> = self.corrupt_bytes.0.iter().collect();
        json!({
            "loss_ppm": self.loss,
            "duplicate_ppm": self.duplicate,
            "duplicate_delay_ns": self.duplicate_delay,
            "delay_ns": self.delay,
            "reorder_ppm": self.reorder,
            "reorder_delay_ns": self.reorder_delay,
            "corrupt_ppm": self.corrupt,
            "corrupt_bytes": bytes,
            "longest": self.longest,
            "cut": self.cut_until > now,
            "clogged": self.clog_until > now,
            "all_frames": self.all_frames,
        })
    }
}

/// A chance in parts per million, from `0.1%` or `1000ppm` or `0`.
fn parse_chance(text: &str) -> Result<u32> {
    let wrong = || anyhow!("{text:?} is no chance (as 0.1%, 1000ppm or 0; at most 100%)");
    let (number, unit) = if let Some(number) = text.strip_suffix('%') {
        (number, 10_000.0)
    } else if let Some(number) = text.strip_suffix("ppm") {
        (number, 1.0)
    } else if text == "0" {
        return Ok(0);
    } else {
        return Err(wrong());
    };
    let parts = number.parse::<f64>().map_err(|_| wrong())? * unit;
    if !(0.0..=1e6).contains(&parts) {
        return Err(wrong());
    }
    // Between 0 and a million.
    Ok(parts.round() as u32)
}

/// A time in nanoseconds, from `20ms` and the like.
fn parse_time(text: &str) -> Result<u64> {
    let wrong =
        || anyhow!("{text:?} is no time (as 0, 250ns, 100us, 20ms or 1.5s; at most an hour)");
    if text == "0" {
        return Ok(0);
    }
    let at = text
        .find(|c: char| c.is_ascii_alphabetic())
        .ok_or_else(wrong)?;
    let (number, unit) = text.split_at(at);
    let unit = match unit {
        "ns" => 1.0,
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return Err(wrong()),
    };
    let time = number.parse::<f64>().map_err(|_| wrong())? * unit;
    if !(0.0..=3.6e12).contains(&time) {
        return Err(wrong());
    }
    // Between 0 and an hour.
    Ok(time.round() as u64)
}

/// A time, or a shortest and a longest one: `100us..2ms`.
fn parse_times(text: &str) -> Result<(u64, u64)> {
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    let times = (parse_time(low)?, parse_time(high)?);
    ensure!(times.0 <= times.1, "{text:?} ends before it begins");
    Ok(times)
}

/// Until when: `on` is for ever, `off` is not at all, a time is counted from now.
fn parse_until(text: &str, now: u64) -> Result<u64> {
    Ok(match text {
        "on" => u64::MAX,
        "off" => 0,
        _ => now + parse_time(text).context("neither on nor off")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(setting: &str) -> Result<Faults> {
        let mut faults = Faults::none(Way::ToInitiator);
        faults.set(Way::ToInitiator, setting, 1000)?;
        Ok(faults)
    }

    #[test]
    fn chances() {
        for (text, ppm) in [
            ("0", 0),
            ("1%", 10_000),
            ("0.1%", 1000),
            ("100%", 1_000_000),
            ("250ppm", 250),
        ] {
            assert_eq!(parse_chance(text).unwrap(), ppm, "{text}");
        }
        for text in ["", "1", "%", "101%", "-1%", "NaN%", "inf%", "1e7ppm"] {
            assert!(parse_chance(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times() {
        for (text, ns) in [
            ("0", 0),
            ("250ns", 250),
            ("100us", 100_000),
            ("1.5s", 1_500_000_000),
        ] {
            assert_eq!(parse_time(text).unwrap(), ns, "{text}");
        }
        for text in ["", "5", "ms", "-1ms", "2h", "NaNs", "3601s"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
        assert_eq!(parse_times("1ms..2ms").unwrap(), (1_000_000, 2_000_000));
        assert_eq!(parse_times("3us").unwrap(), (3000, 3000));
        assert!(parse_times("2ms..1ms").is_err());
    }

    #[test]
    fn settings_change_what_they_name() {
        assert_eq!(set("loss=5%").unwrap().loss, 50_000);
        assert_eq!(set("longest=1514").unwrap().longest, Some(1514));
        assert_eq!(set("longest=off").unwrap().longest, None);
        assert_eq!(set("cut=1us").unwrap().cut_until, 2000);
        assert_eq!(set("clog=on").unwrap().clog_until, u64::MAX);
        assert_eq!(set("clog=off").unwrap().clog_until, 0);
        assert_eq!(
            set("duplicate-delay=0..4ns").unwrap().duplicate_delay,
            (0, 4)
        );
        assert!(set("frames=all").unwrap().all_frames);
        for wrong in [
            "loss",
            "lost=1%",
            "loss=",
            "longest=-3",
            "cut=maybe",
            "frames=ip",
            "=1%",
        ] {
            assert!(set(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_late_repetition_towards_the_target_is_refused() {
        let mut faults = Faults::none(Way::ToTarget);
        let error = faults
            .set(Way::ToTarget, "duplicate-delay=1ms", 0)
            .unwrap_err();
        assert!(error.to_string().contains("no initiator"), "{error}");
        assert_eq!(faults, Faults::none(Way::ToTarget));
    }

    #[test]
    fn bytes_of_a_frame() {
        let all = |text: &str, len: u16| -> Vec<u16> {
            let bytes = Bytes::parse(text).unwrap();
            (0..bytes.count(len))
                .map(|n| bytes.place(len, n).unwrap())
                .collect()
        };
        assert_eq!(all("header", 1060), (0..36).collect::<Vec<_>>());
        assert_eq!(all("no-tag", 60), (0..20).chain(24..36).collect::<Vec<_>>());
        assert_eq!(all("no-tag", 26), (0..20).chain(24..26).collect::<Vec<_>>());
        assert_eq!(all("payload", 39), [36, 37, 38]);
        assert!(all("payload", 36).is_empty());
        assert_eq!(all("14,30-31", 60), [14, 30, 31]);
        assert_eq!(all("all", 65_535).len(), 65_535);
        for wrong in ["", "x", "5-4", "1,,2", "70000"] {
            assert!(Bytes::parse(wrong).is_err(), "{wrong}");
        }
    }
}
