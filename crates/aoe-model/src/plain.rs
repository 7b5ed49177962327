// SPDX-License-Identifier: BSD-2-Clause
//! A target without anything clever: a frame comes, is executed, is answered.

use aoe_wire::{
    AoeError, AtaReply, AtaRequest, Command, ConfigCommand, ConfigReply, Header, IdentifyTable,
    MIN_FRAME_LEN, MacAddr, Message, TargetAddr, TrimRanges, opcode,
};

use crate::{DISK_SECTORS, Setup};

/// What goes wrong with a command.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// ATA: aborted, not done.
    Abort,
    /// ATA: the medium cannot be read, not done.
    Unreadable,
    /// ATA: busy, not done.
    Busy,
    /// AoE error 2, not done.
    BadArgument,
    /// AoE error 3, not done.
    Unavailable,
    /// AoE error 6, not done.
    Reserved,
    /// ATA: aborted, but it was done.
    AbortAfter,
    /// Nothing is done and nothing is answered.
    Silence,
}

const DRDY: u8 = 0x40;
const FAILED: u8 = 0x41;
const BUSY: u8 = 0x80;
const ABRT: u8 = 0x04;
const UNC: u8 = 0x40;
const IDNF: u8 = 0x10;

/// The target.
#[derive(Debug)]
pub struct PlainTarget {
    addr: TargetAddr,
    setup: Setup,
    /// Every sector, as a read finds it.
    pub disk: Vec<[u8; 512]>,
    /// Every sector, as it would be found after a power cut.
    pub durable: Vec<[u8; 512]>,
    cache_on: bool,
    /// What it tells.
    pub buffers: u16,
    /// What it tells, and takes.
    pub sectors: u8,
    /// How the next I/O commands go wrong, and how many of them still.
    pub faults: Option<(Fault, u8)>,
    /// Whether it runs.
    pub running: bool,
    /// What the initiator did that no target should see.
    pub complaints: Vec<String>,
}

impl PlainTarget {
    /// A disk of zeros.
    #[must_use]
    pub fn new(addr: TargetAddr, setup: Setup) -> Self {
        Self {
            addr,
            setup,
            disk: vec![[0; 512]; DISK_SECTORS as usize],
            durable: vec![[0; 512]; DISK_SECTORS as usize],
            cache_on: setup.cache,
            buffers: setup.buffers,
            sectors: setup.sectors,
            faults: None,
            running: true,
            complaints: Vec::new(),
        }
    }

    /// Gives the disk another size.
    pub fn resize(&mut self, sectors: u64) {
        self.disk.resize(sectors as usize, [0; 512]);
        self.durable.resize(sectors as usize, [0; 512]);
    }

    /// Most sectors that it takes in a frame.
    fn limit(&self) -> u8 {
        if self.sectors == 0 { 2 } else { self.sectors }
    }

    /// The announcement (tag 0), or the answer to a beacon, as it leaves the port `mac`.
    #[must_use]
    pub fn config(&self, mac: MacAddr, tag: u32) -> Vec<u8> {
        let header = Header {
            tag,
            ..Header::announcement(MacAddr::BROADCAST, mac, self.addr)
        };
        self.frame(&Message::ConfigReply {
            header,
            reply: self.config_reply(),
        })
    }

    fn config_reply(&self) -> ConfigReply<'static> {
        ConfigReply {
            buffer_count: self.buffers,
            firmware: if self.setup.ordered { 0x4019 } else { 0x0100 },
            sector_count: self.sectors,
            version: 1,
            command: ConfigCommand::Read.code(),
            string: &[],
        }
    }

    fn frame(&self, message: &Message<'_>) -> Vec<u8> {
        let data = match message {
            Message::AtaReply { data, .. } => data.len(),
            _ => 0,
        };
        let mut bytes = vec![0; MIN_FRAME_LEN + data];
        let len = message.emit(&mut bytes).unwrap_or(0);
        bytes.truncate(len);
        bytes
    }

    /// A frame comes in at the port `mac`.
    pub fn handle(&mut self, mac: MacAddr, frame: &[u8]) -> Option<Vec<u8>> {
        if !self.running {
            return None;
        }
        if frame.len() < MIN_FRAME_LEN {
            self.complaints
                .push(format!("a frame of {} bytes", frame.len()));
        }
        match Message::parse(frame) {
            Ok(Message::ConfigRequest { header, .. }) => {
                let header = header.reply(mac, self.addr);
                Some(self.frame(&Message::ConfigReply {
                    header,
                    reply: self.config_reply(),
                }))
            }
            Ok(Message::AtaRequest {
                header,
                request,
                data,
            }) => {
                self.check(&header, &request, data);
                self.ata(mac, &header, request, data)
            }
            other => {
                self.complaints.push(format!("a frame that says {other:?}"));
                None
            }
        }
    }

    /// What every target may expect of an ATA request.
    fn check(&mut self, header: &Header, request: &AtaRequest, data: &[u8]) {
        let writes = matches!(
            request.command,
            opcode::WRITE | opcode::WRITE_EXT | opcode::DSM
        );
        let moves = writes || matches!(request.command, opcode::READ | opcode::READ_EXT);
        let faults = [
            (header.version != 1, "a version other than 1"),
            (header.tag >> 31 != 0, "a tag of the half that is not ours"),
            (
                header.addr() != Some(self.addr),
                "an address that is not this target's",
            ),
            (header.command != Command::ATA, "another command"),
            (
                moves && request.count == 0,
                "a data command without sectors",
            ),
            (
                writes != (request.flags.0 & 1 != 0),
                "the write flag is wrong",
            ),
            (request.flags.0 & 0x12 != 0, "a flag that must never be set"),
            (
                opcode::is_ext(request.command) != (request.flags.0 & 0x40 != 0),
                "the 48-bit flag is wrong",
            ),
            (
                opcode::is_ext(request.command) && !self.setup.lba48,
                "a 48-bit command to a disk that has none",
            ),
            (
                writes && data.len() < usize::from(request.count) * 512,
                "less data than it says",
            ),
        ];
        for (_, what) in faults.iter().filter(|(is, _)| *is) {
            self.complaints.push(format!("{what}: {header} {request}"));
        }
    }

    fn ata(
        &mut self,
        mac: MacAddr,
        header: &Header,
        request: AtaRequest,
        data: &[u8],
    ) -> Option<Vec<u8>> {
        if request.command == opcode::IDENTIFY {
            let table = self.identify();
            return Some(self.answer(mac, header, request.reply(DRDY, 0, 0), table.as_bytes()));
        }
        if request.command == opcode::SET_FEATURES {
            self.cache_on = request.feature == 0x02;
            if !self.cache_on {
                self.durable.clone_from(&self.disk);
            }
            return Some(self.answer(mac, header, request.reply(DRDY, 0, 0), &[]));
        }
        let fault = self.next_fault();
        let aoe = |error| Some(header.error_reply(mac, self.addr, error));
        let refused = match fault {
            Some(Fault::Silence) => return None,
            Some(Fault::BadArgument) => aoe(AoeError::BAD_ARGUMENT),
            Some(Fault::Unavailable) => aoe(AoeError::DEVICE_UNAVAILABLE),
            Some(Fault::Reserved) => aoe(AoeError::RESERVED),
            _ if request.count > self.limit() && request.command != opcode::DSM => {
                aoe(AoeError::BAD_ARGUMENT)
            }
            _ => None,
        };
        if let Some(header) = refused {
            let argument = request.to_bytes();
            let error = AoeError(header.error);
            return Some(self.frame(&Message::Error {
                header,
                error,
                argument: &argument,
            }));
        }
        let bad = match fault {
            Some(Fault::Abort) => Some((FAILED, ABRT)),
            Some(Fault::Unreadable) => Some((FAILED, UNC)),
            Some(Fault::Busy) => Some((BUSY, 0)),
            _ => None,
        };
        if let Some((status, error)) = bad {
            return Some(self.answer(
                mac,
                header,
                request.reply(status, error, request.count),
                &[],
            ));
        }
        let done = self.execute(&request, data);
        let (reply, data) = match done {
            _ if fault == Some(Fault::AbortAfter) => (request.reply(FAILED, ABRT, 0), Vec::new()),
            Ok(data) => (request.reply(DRDY, 0, 0), data),
            Err(error) => (request.reply(FAILED, error, request.count), Vec::new()),
        };
        Some(self.answer(mac, header, reply, &data))
    }

    fn next_fault(&mut self) -> Option<Fault> {
        let (fault, times) = self.faults?;
        self.faults = times
            .checked_sub(1)
            .filter(|left| *left > 0)
            .map(|left| (fault, left));
        Some(fault)
    }

    fn answer(&self, mac: MacAddr, header: &Header, reply: AtaReply, data: &[u8]) -> Vec<u8> {
        let header = header.reply(mac, self.addr);
        self.frame(&Message::AtaReply {
            header,
            reply,
            data,
        })
    }

    /// Does it, or gives the bit of the error register that says why not.
    fn execute(&mut self, request: &AtaRequest, data: &[u8]) -> Result<Vec<u8>, u8> {
        let first = request.address() as usize;
        let range = first..first.saturating_add(usize::from(request.count));
        match request.command {
            opcode::READ | opcode::READ_EXT => self.disk.get(range).map(<[_]>::concat).ok_or(IDNF),
            opcode::WRITE | opcode::WRITE_EXT => {
                let places = self.disk.get_mut(range.clone()).ok_or(IDNF)?;
                for (place, sector) in places.iter_mut().zip(data.chunks_exact(512)) {
                    place.copy_from_slice(sector);
                }
                self.write_through(range);
                Ok(Vec::new())
            }
            opcode::FLUSH | opcode::FLUSH_EXT => {
                self.durable.clone_from(&self.disk);
                Ok(Vec::new())
            }
            opcode::DSM => {
                for (lba, sectors) in TrimRanges::new(data.get(..512).unwrap_or(data)) {
                    let range = lba as usize..lba as usize + usize::from(sectors);
                    self.disk.get_mut(range.clone()).ok_or(IDNF)?.fill([0; 512]);
                    self.write_through(range);
                }
                Ok(Vec::new())
            }
            _ => Err(ABRT),
        }
    }

    fn write_through(&mut self, range: std::ops::Range<usize>) {
        if !self.cache_on
            && let (Some(to), Some(from)) =
                (self.durable.get_mut(range.clone()), self.disk.get(range))
        {
            to.copy_from_slice(from);
        }
    }

    fn identify(&self) -> IdentifyTable {
        let lba48 = if self.setup.lba48 { 0x2400 } else { 0 };
        let model: &[u8] = if self.setup.ordered {
            b"Coraid EtherDrive vblade"
        } else {
            b"Plain disk"
        };
        IdentifyTable::new()
            .word(49, 0x0200)
            .word(82, 0x0020)
            .word(83, 0x5000 | lba48)
            .word(84, 0x4000)
            .word(85, if self.cache_on { 0x0020 } else { 0 })
            .word(86, 0x1000 | lba48)
            .word(87, 0x4000)
            .word(169, u16::from(self.setup.lba48))
            .model(model)
            .serial(b"PLAIN")
            .capacity(self.disk.len() as u64)
    }
}
