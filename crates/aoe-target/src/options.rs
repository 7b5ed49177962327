// SPDX-License-Identifier: BSD-2-Clause
//! The command line of `aoe-target`.

use std::path::PathBuf;

use aoe_target::{
    AoeFault, AtaFault, Mac, Model, Profile, Refusal, SectorLimit, Storage, Timing, Which,
    WireFaults,
};
use clap::Parser;

/// Serves a file (or a block device) as an AoE target.
#[derive(Parser, Debug)]
#[command(
    version,
    after_help = "Percentages may have a fraction: --loss 0.1. Runs until it is killed."
)]
pub(crate) struct Arguments {
    /// Interfaces to serve on
    #[arg(required = true)]
    pub(crate) interface: Vec<String>,
    /// File to serve
    pub(crate) file: PathBuf,
    /// Shelf (major)
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(..=65534))]
    pub(crate) shelf: u16,
    /// Slot (minor)
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=254))]
    pub(crate) slot: u8,
    /// First sector of the file to serve
    #[arg(long, default_value_t = 0)]
    pub(crate) offset: u64,
    /// Look at the file's size again whenever it matters
    #[arg(long)]
    pub(crate) follow_size: bool,

    /// Kind of target: vblade, ggaoed, kvblade, or ideal (a disk that has everything)
    #[arg(long, default_value = "ideal", value_parser = ["vblade", "ggaoed", "kvblade", "ideal"])]
    kind: String,
    /// Serial number
    #[arg(long)]
    serial: Option<String>,
    /// Model
    #[arg(long)]
    model: Option<String>,
    /// Refuse every write
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Buffer count
    #[arg(long)]
    buffers: Option<u16>,
    /// Sectors per frame, whatever the MTU
    #[arg(long)]
    sectors: Option<u8>,
    /// Sector count to advertise, whatever is accepted (0 means 2)
    #[arg(long)]
    advertise_sectors: Option<u8>,
    /// How too large requests are refused
    #[arg(long, value_parser = ["error", "abort", "silence"])]
    refuse: Option<String>,
    /// No 48-bit commands
    #[arg(long)]
    no_lba48: bool,
    /// Bytes of a physical block: 512 to 16 MiB, a power of two
    #[arg(long, value_parser = parse_physical)]
    physical: Option<u8>,
    /// No FLUSH command at all
    #[arg(long)]
    no_flush: bool,
    /// No FLUSH CACHE EXT
    #[arg(long)]
    no_flush_ext: bool,
    /// Claim FLUSH CACHE EXT, but abort it
    #[arg(long)]
    claim_flush_ext: bool,
    /// 512-byte blocks of ranges per TRIM; 0: no TRIM
    #[arg(long)]
    trim_blocks: Option<u16>,
    /// Claim TRIM, but abort it
    #[arg(long, conflicts_with = "trim_blocks")]
    claim_trim: bool,
    /// SMART of this kind: on, off (there, but turned off), failing (a threshold is exceeded), none
    #[arg(long, value_name = "KIND", value_parser = ["on", "off", "failing", "none"])]
    smart: Option<String>,
    /// Pad answers to 60 bytes, as network cards do
    #[arg(long)]
    pad: bool,
    /// Addresses that the MAC mask list takes
    #[arg(long, value_name = "N")]
    max_masks: Option<u8>,
    /// Serve requests, too, that break rules which initiators must keep
    #[arg(long)]
    lenient: bool,
    /// Send no advertisement at start
    #[arg(long)]
    quiet: bool,
    /// Config string
    #[arg(long)]
    config: Option<String>,
    /// Serve these addresses only
    #[arg(long, value_name = "MAC", value_parser = parse_mac)]
    mask: Vec<Mac>,
    /// Be reserved for these addresses
    #[arg(long, value_name = "MAC", value_parser = parse_mac)]
    reserve: Vec<Mac>,
    /// Answer from this address
    #[arg(long, value_name = "MAC", value_parser = parse_mac)]
    reply_mac: Option<Mac>,

    /// Microseconds to carry out a frame, or a range A..B
    #[arg(long, value_name = "US", value_parser = parse_range, default_value = "0")]
    service: (u64, u64),
    /// Frames carried out at a time; with more than one, in any order
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Take waiting frames in any order
    #[arg(long)]
    shuffle: bool,
    /// Microseconds that the disk takes for a command, or a range A..B; questions are answered meanwhile
    #[arg(long, value_name = "US", value_parser = parse_range)]
    disk: Option<(u64, u64)>,
    /// Commands that the disk works on at a time
    #[arg(long, default_value_t = 1)]
    disk_workers: usize,
    /// The disk hangs while this file exists; questions are answered all the same
    #[arg(long, value_name = "FILE")]
    pub(crate) hang_file: Option<PathBuf>,
    /// Do nothing for a while again and again: EVERY:FOR, in milliseconds
    #[arg(long, value_name = "MS:MS", value_parser = parse_pair)]
    stall: Option<(u64, u64)>,
    /// Reads of this sector fail
    #[arg(long, value_name = "LBA")]
    bad_sector: Vec<u64>,
    /// Answer ATA commands with an AoE error: CODE or CODE:TIMES
    #[arg(long, value_name = "CODE", value_parser = parse_aoe_fault)]
    aoe_error: Option<AoeFault>,
    /// IDENTIFY is answered with that error, too
    #[arg(long, requires = "aoe_error")]
    fail_identify: bool,
    /// Answer ATA commands with a failure: WHICH:STATUS:ERROR[:TIMES], WHICH being all, read, write, flush
    /// or trim, the registers in hexadecimal
    #[arg(long, value_name = "FAULT", value_parser = parse_ata_fault)]
    ata_error: Vec<AtaFault>,

    /// Percentage of frames to lose, in each direction
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, default_value = "0")]
    loss: u32,
    /// Percentage of frames to repeat
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, default_value = "0")]
    duplicate: u32,
    /// Microseconds to delay frames, or a range A..B
    #[arg(long, value_name = "US", value_parser = parse_range, default_value = "0")]
    delay: (u64, u64),
    /// Percentage of frames to keep back so that later ones overtake them
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, default_value = "0")]
    reorder: u32,
    /// For how many microseconds
    #[arg(long, value_name = "US", default_value_t = 1000)]
    reorder_by: u64,
    /// Percentage of frames of which a bit of the header is changed
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, default_value = "0")]
    corrupt: u32,
    /// Seed of all faults; printed at start
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

impl Arguments {
    pub(crate) fn profile(&self) -> Profile {
        let mut profile = Profile::by_name(&self.kind).unwrap_or_else(Profile::ideal);
        profile.serial = self
            .serial
            .clone()
            .unwrap_or_else(|| format!("{}.{}", self.shelf, self.slot));
        if let Some(model) = &self.model {
            profile.model.clone_from(model);
        }
        profile.read_only = self.read_only;
        profile.buffer_count = self.buffers.unwrap_or(profile.buffer_count);
        if let Some(sectors) = self.sectors {
            profile.sector_limit = SectorLimit::Fixed(sectors);
        }
        profile.advertised_sectors = self.advertise_sectors;
        match self.refuse.as_deref() {
            Some("error") => profile.refusal = Refusal::AoeError,
            Some("abort") => profile.refusal = Refusal::Abort,
            Some("silence") => profile.refusal = Refusal::Silence,
            _ => {}
        }
        if self.no_lba48 {
            profile.lba48 = false;
            profile.flush_ext = false;
        }
        profile.physical_shift = self.physical.unwrap_or(profile.physical_shift);
        if self.no_flush {
            profile.flush = false;
        }
        if self.no_flush || self.no_flush_ext || self.claim_flush_ext {
            profile.flush_ext = false;
        }
        profile.claims_flush_ext = self.claim_flush_ext;
        profile.trim_blocks = self.trim_blocks.unwrap_or(profile.trim_blocks);
        if self.claim_trim {
            profile.trim_blocks = 0;
            profile.claims_trim = true;
        }
        if let Some(kind) = &self.smart {
            profile.smart = kind != "none";
        }
        profile.pad |= self.pad;
        profile.max_masks = self.max_masks.map_or(profile.max_masks, usize::from);
        profile.strict &= !self.lenient;
        if self.quiet {
            profile.advertise = None;
        }
        profile
    }

    pub(crate) fn set_up<S: Storage>(&self, model: &mut Model<S>) {
        if let Some(config) = &self.config {
            model.set_config(config.as_bytes());
        }
        model.set_smart(self.smart.as_deref() != Some("off"));
        model.set_healthy(self.smart.as_deref() != Some("failing"));
        model.set_masks(&self.mask);
        model.set_reserved(&self.reserve);
        model.set_reply_mac(self.reply_mac);
        let identify = self.fail_identify;
        model.set_aoe_fault(self.aoe_error.map(|fault| AoeFault { identify, ..fault }));
        for fault in &self.ata_error {
            model.add_ata_fault(*fault);
        }
        for lba in &self.bad_sector {
            model.add_bad_sector(*lba);
        }
    }

    pub(crate) fn timing(&self) -> Timing {
        let (low, high) = self.service;
        Timing {
            service_ns: (low * 1000, high * 1000),
            workers: self.workers.max(1),
            shuffle: self.shuffle,
            queue: None,
            disk_ns: self.disk.map(|(low, high)| (low * 1000, high * 1000)),
            disk_workers: self.disk_workers,
        }
    }

    pub(crate) fn stalls(&self) -> Option<(u64, u64)> {
        self.stall
            .map(|(every, length)| (every * 1_000_000, length * 1_000_000))
    }

    pub(crate) fn faults(&self) -> WireFaults {
        WireFaults {
            loss: self.loss,
            duplicate: self.duplicate,
            delay: (self.delay.0 * 1000, self.delay.1 * 1000),
            reorder: self.reorder,
            reorder_ns: self.reorder_by * 1000,
            corrupt: self.corrupt,
        }
    }
}

fn number<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{text}: {error}"))
}

fn register(text: &str) -> Result<u8, String> {
    u8::from_str_radix(text.trim_start_matches("0x"), 16)
        .map_err(|error| format!("{text}: {error}"))
}

fn parse_range(text: &str) -> Result<(u64, u64), String> {
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    let (low, high) = (number(low)?, number(high)?);
    if low > high {
        Err(format!("{low} is more than {high}"))
    } else {
        Ok((low, high))
    }
}

fn parse_pair(text: &str) -> Result<(u64, u64), String> {
    let (first, second) = text.split_once(':').ok_or("write it as EVERY:FOR")?;
    Ok((number(first)?, number(second)?))
}

/// Parts per million.
fn parse_percent(text: &str) -> Result<u32, String> {
    let percent: f64 = number(text.trim_end_matches('%'))?;
    if !(0.0..=100.0).contains(&percent) {
        return Err("a percentage is from 0 to 100".into());
    }
    number(&format!("{:.0}", percent * 10_000.0))
}

fn parse_physical(text: &str) -> Result<u8, String> {
    let bytes: u32 = number(text)?;
    if !bytes.is_power_of_two() || !(512..=512 << 15).contains(&bytes) {
        return Err("a power of two from 512 to 16777216".into());
    }
    u8::try_from(bytes.trailing_zeros() - 9).map_err(|error| error.to_string())
}

fn parse_mac(text: &str) -> Result<Mac, String> {
    let bytes: Vec<u8> = text.split(':').map(register).collect::<Result<_, _>>()?;
    bytes
        .try_into()
        .map_err(|_| "an address has six bytes".to_string())
}

fn parse_aoe_fault(text: &str) -> Result<AoeFault, String> {
    let (code, times) = match text.split_once(':') {
        Some((code, times)) => (code, number(times)?),
        None => (text, u32::MAX),
    };
    Ok(AoeFault {
        code: number(code)?,
        times,
        identify: false,
    })
}

fn parse_ata_fault(text: &str) -> Result<AtaFault, String> {
    let mut parts = text.split(':');
    let which = match parts.next() {
        Some("all") => Which::All,
        Some("read") => Which::Reads,
        Some("write") => Which::Writes,
        Some("flush") => Which::Flushes,
        Some("trim") => Which::Trims,
        _ => return Err("the command is all, read, write, flush or trim".into()),
    };
    let status = register(parts.next().ok_or("the status is missing")?)?;
    let error = register(parts.next().ok_or("the error is missing")?)?;
    let times = parts.next().map_or(Ok(u32::MAX), number)?;
    Ok(AtaFault {
        which,
        status,
        error,
        times,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Arguments {
        let all = ["aoe-target"]
            .iter()
            .chain(words)
            .chain(&["eth0", "disk.img"]);
        Arguments::try_parse_from(all).unwrap()
    }

    #[test]
    fn the_last_word_is_the_file() {
        let all = ["aoe-target", "--shelf", "9", "eth0", "eth1", "disk.img"];
        let arguments = Arguments::try_parse_from(all).unwrap();
        assert_eq!(arguments.interface, ["eth0", "eth1"]);
        assert_eq!(
            (arguments.shelf, arguments.file),
            (9, PathBuf::from("disk.img"))
        );
        assert!(Arguments::try_parse_from(["aoe-target", "eth0"]).is_err());
        assert!(
            Arguments::try_parse_from(["aoe-target", "--shelf", "65535", "eth0", "x"]).is_err()
        );
    }

    #[test]
    fn every_option_reaches_the_profile() {
        let profile = parse(&[
            "--kind",
            "vblade",
            "--serial",
            "S",
            "--model",
            "M",
            "--buffers",
            "3",
        ])
        .profile();
        assert_eq!((profile.name, profile.buffer_count), ("vblade", 3));
        assert_eq!(
            (profile.serial.as_str(), profile.model.as_str()),
            ("S", "M")
        );
        let profile = parse(&["--no-lba48", "--physical", "4096", "--trim-blocks", "2"]).profile();
        assert_eq!((profile.lba48, profile.flush_ext), (false, false));
        assert_eq!((profile.physical_shift, profile.trim_blocks), (3, 2));
        let profile = parse(&[
            "--claim-trim",
            "--claim-flush-ext",
            "--refuse",
            "abort",
            "--lenient",
        ])
        .profile();
        assert_eq!((profile.trim_blocks, profile.claims_trim), (0, true));
        assert_eq!((profile.flush_ext, profile.claims_flush_ext), (false, true));
        assert_eq!((profile.refusal, profile.strict), (Refusal::Abort, false));
        let profile = parse(&[
            "--sectors",
            "4",
            "--advertise-sectors",
            "0",
            "--quiet",
            "--read-only",
        ])
        .profile();
        assert_eq!(profile.sector_limit, SectorLimit::Fixed(4));
        assert_eq!(
            (profile.advertised_sectors, profile.advertise),
            (Some(0), None)
        );
        assert!(profile.read_only);
        let profile = parse(&[
            "--kind",
            "vblade",
            "--smart",
            "off",
            "--pad",
            "--max-masks",
            "2",
        ])
        .profile();
        assert_eq!(
            (profile.smart, profile.pad, profile.max_masks),
            (true, true, 2)
        );
        assert!(!parse(&["--smart", "none"]).profile().smart);
    }

    #[test]
    fn faults_are_read_as_they_are_meant() {
        let arguments = parse(&[
            "--loss",
            "0.1",
            "--corrupt",
            "100%",
            "--delay",
            "10..20",
            "--stall",
            "5:7",
        ]);
        let faults = arguments.faults();
        assert_eq!(
            (faults.loss, faults.corrupt, faults.delay),
            (1000, 1_000_000, (10_000, 20_000))
        );
        assert_eq!(arguments.stalls(), Some((5_000_000, 7_000_000)));
        assert_eq!(parse_ata_fault("write:41:0x04:2").unwrap().times, 2);
        assert_eq!(parse_aoe_fault("6").unwrap().times, u32::MAX);
        for wrong in ["101", "-1", "x"] {
            assert!(parse_percent(wrong).is_err(), "{wrong}");
        }
        assert!(parse_range("5..4").is_err());
        assert!(parse_mac("02:00:00:00:00").is_err());
        assert!(parse_physical("1000").is_err());
    }
}
