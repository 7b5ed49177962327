// SPDX-License-Identifier: BSD-2-Clause
//! What makes one kind of target differ from another.

/// How a refusal for too many sectors, or too little data, is worded.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// AoE error 2, the argument as it was sent (vblade).
    AoeError,
    /// An ATA abort (ggaoed).
    Abort,
    /// No answer (kvblade).
    Silence,
}

/// What the status register of a successful FLUSH holds.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum FlushStatus {
    /// DRDY, as ATA says.
    Ready,
    /// 0, with whatever an earlier command left in the error register (vblade).
    Zero,
    /// The command byte, left where it was (ggaoed).
    Command,
}

/// What the sector count of an answer holds.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum CountReply {
    /// What is left undone (vblade).
    Remaining,
    /// The request's, unchanged (ggaoed).
    Echo,
    /// Zero (kvblade).
    Zero,
}

/// What happens to a frame whose version is not 1.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum OtherVersion {
    /// It is served, and its version comes back (vblade).
    Serve,
    /// No answer (ggaoed).
    Silence,
    /// AoE error 5 (the specification).
    Error,
}

/// How many sectors per frame a target takes and advertises.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum SectorLimit {
    /// (MTU - 36) / 512, as every known software target has it.
    FromMtu,
    /// The same, rounded down to 8, 16, 32 or 64 when above 8 (kvblade).
    FromMtuRounded,
    /// From the MTU, of which no more than this is believed (ggaoed).
    FromMtuUpTo(u32),
    /// This many, whatever the MTU.
    Fixed(u8),
}

/// How frames are taken in and answers made.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Style {
    /// In the place of the request, as vblade and kvblade do.
    InPlace,
    /// As ggaoed 1.1 does it: header and payload apart (`ggaoed.rs`).
    Ggaoed,
}

/// What a reservation held by others keeps out.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum ReserveScope {
    /// Every ATA command but IDENTIFY (vblade).
    AllButIdentify,
    /// Reads and writes (ggaoed).
    ReadWrite,
}

/// A kind of target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Profile {
    /// Name of the program.
    pub name: &'static str,
    /// How it takes frames in and makes answers.
    pub style: Style,
    /// Config string, masks and reservation outlive the process.
    pub persistent: bool,
    /// Version nibble of its unsolicited advertisement; `None`: it sends none.
    pub advertise: Option<u8>,
    /// What it does with other versions.
    pub other_version: OtherVersion,
    /// Frames it says it can queue, and does queue.
    pub buffer_count: u16,
    /// Firmware version it reports.
    pub firmware: u16,
    /// Sectors per frame.
    pub sector_limit: SectorLimit,
    /// The sector count it reports instead of its limit (0 means 2 to an initiator).
    pub advertised_sectors: Option<u8>,
    /// A config answer repeats the CCmd of the request.
    pub echo_ccmd: bool,
    /// MAC mask and reserve commands, and answers to unknown commands, exist.
    pub revision_11: bool,
    /// MACs in the mask list.
    pub max_masks: usize,
    /// MACs in the reservation list.
    pub max_reserved: usize,
    /// What a reservation keeps out.
    pub reserve_scope: ReserveScope,
    /// How it refuses sizes.
    pub refusal: Refusal,
    /// Status of an aborted command.
    pub abort_status: u8,
    /// Status and error register of an unreadable medium.
    pub medium_error: (u8, u8),
    /// Sector count of an answer.
    pub count_reply: CountReply,
    /// Status of a successful FLUSH.
    pub flush_status: FlushStatus,
    /// FLUSH reaches the medium.
    pub flush_works: bool,
    /// FLUSH CACHE (28-bit) exists.
    pub flush: bool,
    /// FLUSH CACHE EXT exists.
    pub flush_ext: bool,
    /// IDENTIFY claims FLUSH CACHE EXT though the command is aborted.
    pub claims_flush_ext: bool,
    /// IDENTIFY claims TRIM though the command is aborted.
    pub claims_trim: bool,
    /// CHECK POWER MODE exists.
    pub check_power: bool,
    /// SET FEATURES exists.
    pub features: bool,
    /// SMART exists.
    pub smart: bool,
    /// 512-byte blocks per TRIM; 0: no TRIM.
    pub trim_blocks: u16,
    /// 48-bit commands exist.
    pub lba48: bool,
    /// Logarithm of the sectors in a physical block.
    pub physical_shift: u8,
    /// The sector count of IDENTIFY must be 1.
    pub identify_count: bool,
    /// Answers are padded to 60 bytes.
    pub pad: bool,
    /// What follows the command in an answer is what was in the buffer before.
    pub stale_buffer: bool,
    /// Requests that break a rule initiators must keep are refused with AoE error 2, and counted.
    pub strict: bool,
    /// The write cache is on at start (only where the medium has one).
    pub write_cache: bool,
    /// Every write is aborted; nothing tells so in advance.
    pub read_only: bool,
    /// Model string.
    pub model: String,
    /// Serial number.
    pub serial: String,
    /// Firmware revision string.
    pub revision: String,
}

impl Profile {
    /// vblade 25, as measured.
    #[must_use]
    pub fn vblade() -> Self {
        Self {
            name: "vblade",
            style: Style::InPlace,
            persistent: false,
            advertise: Some(0),
            other_version: OtherVersion::Serve,
            buffer_count: 16,
            firmware: 0x4019,
            sector_limit: SectorLimit::FromMtu,
            advertised_sectors: None,
            echo_ccmd: true,
            revision_11: true,
            max_masks: 32,
            max_reserved: 255,
            reserve_scope: ReserveScope::AllButIdentify,
            refusal: Refusal::AoeError,
            abort_status: 0x41,
            medium_error: (0x41, 0x04),
            count_reply: CountReply::Remaining,
            flush_status: FlushStatus::Zero,
            flush_works: false,
            flush: true,
            flush_ext: false,
            claims_flush_ext: false,
            claims_trim: false,
            check_power: true,
            features: false,
            smart: false,
            trim_blocks: 0,
            lba48: true,
            physical_shift: 0,
            identify_count: true,
            pad: false,
            stale_buffer: true,
            strict: false,
            write_cache: false,
            read_only: false,
            model: "Coraid EtherDrive vblade".into(),
            serial: "7.3:target".into(),
            revision: "V25".into(),
        }
    }

    /// ggaoed 1.1, as measured.
    #[must_use]
    pub fn ggaoed() -> Self {
        Self {
            name: "ggaoed",
            style: Style::Ggaoed,
            persistent: true,
            advertise: Some(1),
            other_version: OtherVersion::Silence,
            // 1, in the byte order of its host.
            firmware: 0x0100,
            sector_limit: SectorLimit::FromMtuUpTo(16_384),
            max_masks: 255,
            reserve_scope: ReserveScope::ReadWrite,
            refusal: Refusal::Abort,
            medium_error: (0x41, 0x40),
            count_reply: CountReply::Echo,
            flush_status: FlushStatus::Command,
            flush_ext: true,
            pad: true,
            stale_buffer: false,
            model: "GGs AoE target".into(),
            serial: "disk".into(),
            revision: "1.1".into(),
            ..Self::vblade()
        }
    }

    /// kvblade, the Linux kernel target.
    #[must_use]
    pub fn kvblade() -> Self {
        Self {
            name: "kvblade",
            advertise: Some(1),
            buffer_count: 1024,
            firmware: 0x0002,
            sector_limit: SectorLimit::FromMtuRounded,
            echo_ccmd: false,
            revision_11: false,
            refusal: Refusal::Silence,
            abort_status: 0x01,
            medium_error: (0x21, 0x44),
            count_reply: CountReply::Zero,
            flush_status: FlushStatus::Ready,
            check_power: false,
            identify_count: false,
            stale_buffer: false,
            model: "EtherDrive(R) kvblade".into(),
            serial: "SN HERE".into(),
            revision: "V0.2\n".into(),
            ..Self::vblade()
        }
    }

    /// A disk that has everything ATA offers over AoE, behind a target that is strict with its initiators.
    #[must_use]
    pub fn ideal() -> Self {
        Self {
            name: "ideal",
            advertise: Some(1),
            other_version: OtherVersion::Error,
            buffer_count: 64,
            firmware: 0x0001,
            max_masks: 255,
            flush_status: FlushStatus::Ready,
            medium_error: (0x41, 0x40),
            flush_works: true,
            flush_ext: true,
            features: true,
            smart: true,
            trim_blocks: 8,
            physical_shift: 3,
            pad: true,
            stale_buffer: false,
            strict: true,
            write_cache: true,
            model: "Ideal disk".into(),
            serial: "IDEAL0001".into(),
            revision: "1.0".into(),
            ..Self::vblade()
        }
    }

    /// The profile of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::vblade, Self::ggaoed, Self::kvblade, Self::ideal]
            .iter()
            .map(|make| make())
            .find(|p| p.name == name)
    }
}
