// SPDX-License-Identifier: BSD-2-Clause
//! `aoectl ping`: whether a target answers, how fast, and how often not.

use super::print_to;
use crate::exchange::{self, Answer, Exchange, Question, ReachOne, Reply, Targets};
use crate::failure::Failure;
use crate::output::{Format, object, print_json};
use crate::size;
use anyhow::{Context, anyhow};
use aoe_core::NetifId;
use aoe_os::monotonic_nanos;
use aoe_wire::{AtaRequest, Command, ConfigRequest, MacAddr, SECTOR_SIZE};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::io::{self, Write};
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    one: ReachOne,
    /// How many questions to send by each interface; 0: until interrupted
    #[arg(short, long, value_name = "N", default_value_t = 4)]
    count: u64,
    /// Seconds from one question to the next
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,
    /// Ask the disk (ATA IDENTIFY DEVICE), and not only the server (Query Config)
    #[arg(long)]
    identify: bool,
    /// Print the figures at the end only
    #[arg(short, long)]
    quiet: bool,
}

/// How long a second answer to the same question is listened for in the end, in nanoseconds.
const SECOND_NS: u64 = 10_000_000;
/// The shortest time between questions: a ping is no load test.
const SHORTEST: Duration = Duration::from_millis(1);

fn interval(text: &str) -> Result<Duration, String> {
    match exchange::some_seconds(text)? {
        time if time < SHORTEST => Err("must be at least 0.001".to_owned()),
        time => Ok(time),
    }
}

/// What was seen of one server, or of an interface by which none has answered yet.
#[derive(Clone, PartialEq, Debug)]
struct Line {
    netif: NetifId,
    mac: Option<MacAddr>,
    sent: u64,
    answered: u64,
    errors: u64,
    duplicates: u64,
    late: u64,
    least_ns: u64,
    most_ns: u64,
    sum_ns: u64,
}

impl Line {
    fn new(netif: NetifId, mac: Option<MacAddr>) -> Self {
        Self {
            netif,
            mac,
            sent: 0,
            answered: 0,
            errors: 0,
            duplicates: 0,
            late: 0,
            least_ns: u64::MAX,
            most_ns: 0,
            sum_ns: 0,
        }
    }

    fn note(&mut self, rtt_ns: u64, good: bool) {
        self.answered += 1;
        self.errors += u64::from(!good);
        self.least_ns = self.least_ns.min(rtt_ns);
        self.most_ns = self.most_ns.max(rtt_ns);
        self.sum_ns = self.sum_ns.saturating_add(rtt_ns);
    }

    fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.answered)
    }

    /// In tenths of a percent, so that one frame in a thousand can be seen.
    fn loss_percent(&self) -> f64 {
        let thousandths = (self.lost().saturating_mul(1000)).checked_div(self.sent);
        thousandths.map_or(0.0, |n| n as f64 / 10.0)
    }

    /// Shortest, mean and longest, if anything was answered.
    fn times(&self) -> Option<[u64; 3]> {
        let mean = self.sum_ns.checked_div(self.answered)?;
        Some([self.least_ns, mean, self.most_ns])
    }
}

/// A question that was sent.
#[derive(Debug)]
struct Probe {
    netif: NetifId,
    /// To everybody, since no server is known yet.
    open: bool,
    seq: u64,
    sent_ns: u64,
    command: Command,
    /// Only to learn the address of the server; what counts is what is sent to it then.
    scout: bool,
    /// The lines that have it among what they sent; the first is the one that sent it.
    lines: Vec<usize>,
    /// Who has answered it.
    by: Vec<MacAddr>,
}

struct Ping<'a> {
    args: &'a Args,
    exchange: Exchange,
    lines: Vec<Line>,
    probes: HashMap<u32, Probe>,
    /// Whether each answer is printed.
    talks: bool,
}

pub(crate) fn run(args: &Args, format: Format) -> Result<(), Failure> {
    aoe_os::catch_interrupts().context("cannot catch signals")?;
    let exchange = Exchange::open(&args.one.reach)?;
    let lines = exchange
        .netifs()
        .into_iter()
        .map(|netif| Line::new(netif, exchange.only()))
        .collect();
    let mut ping = Ping {
        args,
        exchange,
        lines,
        probes: HashMap::new(),
        talks: format == Format::Text && !args.quiet,
    };
    ping.work()?;
    ping.print(format)?;
    ping.verdict()
}

impl Ping<'_> {
    fn work(&mut self) -> Result<(), Failure> {
        let interval = exchange::nanos(self.args.interval);
        let mut next = monotonic_nanos();
        let mut seq = 0;
        while (self.args.count == 0 || seq < self.args.count) && !aoe_os::interrupted() {
            seq += 1;
            self.round(seq)?;
            next = next.saturating_add(interval).max(monotonic_nanos());
            let last = seq == self.args.count;
            let mut until = if last {
                monotonic_nanos().saturating_add(self.exchange.timeout_ns())
            } else {
                next
            };
            while let Some(answer) = self.exchange.next_answer(until)? {
                self.take(&answer)?;
                if last && !self.is_waiting() {
                    until = until.min(self.rest());
                }
            }
            self.forget_old();
        }
        Ok(())
    }

    /// Whether an answer may come that is not too late.
    fn is_waiting(&self) -> bool {
        let oldest = monotonic_nanos().saturating_sub(self.exchange.timeout_ns());
        let mut probes = self.probes.values();
        probes.any(|probe| probe.by.is_empty() && probe.sent_ns >= oldest)
    }

    /// How long there is still something to hear when everything is answered: second answers, which are close behind
    /// the first, and other servers, if everybody was asked.
    fn rest(&self) -> u64 {
        let open = self.probes.values().filter(|probe| probe.open);
        let others = open.map(|probe| probe.sent_ns.saturating_add(exchange::MORE_NS));
        let second = monotonic_nanos().saturating_add(SECOND_NS);
        others.max().unwrap_or(0).max(second)
    }

    /// Asks every server that is known, and by interfaces without one, whoever is there.
    fn round(&mut self, seq: u64) -> Result<(), Failure> {
        for at in 0..self.lines.len() {
            let Some((netif, mac)) = self.lines.get(at).map(|line| (line.netif, line.mac)) else {
                continue;
            };
            let scout = self.args.identify && mac.is_none();
            self.ask(netif, mac, seq, scout, at)?;
        }
        Ok(())
    }

    fn ask(
        &mut self,
        netif: NetifId,
        mac: Option<MacAddr>,
        seq: u64,
        scout: bool,
        line: usize,
    ) -> Result<(), Failure> {
        // An ATA command is never sent to everybody: all targets of the address would carry it out.
        let question = if self.args.identify && !scout {
            Question::Ata(AtaRequest::identify(), &[])
        } else {
            Question::Config(ConfigRequest::READ)
        };
        let tag = self.exchange.next_tag();
        let probe = Probe {
            netif,
            open: mac.is_none(),
            seq,
            sent_ns: monotonic_nanos(),
            command: question.command(),
            scout,
            lines: vec![line],
            by: Vec::new(),
        };
        let to = mac.unwrap_or(MacAddr::BROADCAST);
        self.exchange
            .send(netif, to, self.args.one.target.into(), &question, tag)?;
        self.probes.insert(tag, probe);
        if let Some(line) = self.lines.get_mut(line) {
            line.sent += 1;
        }
        Ok(())
    }

    /// Notes an answer, if it is one to us.
    fn take(&mut self, answer: &Answer) -> Result<(), Failure> {
        let Some(probe) = self.probes.get_mut(&answer.tag) else {
            return Ok(());
        };
        if answer.addr != self.args.one.target || answer.command != probe.command {
            return Ok(());
        }
        // A question to one server has one answer, whoever else may have heard it.
        let repeated = match probe.open {
            true => probe.by.contains(&answer.mac),
            false => !probe.by.is_empty(),
        };
        let rtt_ns = answer.at_ns.saturating_sub(probe.sent_ns);
        let (netif, seq, scout) = (probe.netif, probe.seq, probe.scout);
        probe.by.push(answer.mac);
        if scout && repeated {
            return Ok(());
        }
        let line = self.line_of(answer);
        if scout {
            return self.follow(line, answer.mac, netif, seq);
        }
        let Some(line) = self.lines.get_mut(line) else {
            return Ok(());
        };
        let late = rtt_ns > self.exchange.timeout_ns();
        let trouble = trouble(&answer.reply);
        if repeated {
            line.duplicates += 1;
        } else if late {
            line.late += 1;
        } else {
            line.note(rtt_ns, trouble.is_none());
        }
        if self.talks {
            let place = self.exchange.place(netif, answer.mac);
            let note = match (&trouble, repeated, late) {
                (_, true, _) => ", again".to_owned(),
                (_, _, true) => ", too late".to_owned(),
                (Some(trouble), ..) => format!(", {trouble}"),
                _ => String::new(),
            };
            let time = size::human_time(rtt_ns);
            say(&format!(
                "{} ({place}): seq {seq} time {time}{note}",
                answer.addr
            ))?;
        }
        Ok(())
    }

    /// The line of the server that answered. One that was asked as "whoever is there" gets its name now; further
    /// ones that answer such a question have been asked by it, too.
    fn line_of(&mut self, answer: &Answer) -> usize {
        let Some(probe) = self.probes.get_mut(&answer.tag) else {
            return 0;
        };
        let first = probe.lines.first().copied().unwrap_or(0);
        if !probe.open {
            // Perhaps from another port of the server than the one that was asked.
            return first;
        }
        let (netif, mac) = (probe.netif, Some(answer.mac));
        let known = self
            .lines
            .iter()
            .position(|line| line.netif == netif && line.mac == mac);
        let at = match (known, self.lines.get_mut(first)) {
            (Some(at), _) => at,
            (None, Some(line)) if line.mac.is_none() => {
                line.mac = mac;
                first
            }
            _ => {
                self.lines.push(Line::new(netif, mac));
                self.lines.len() - 1
            }
        };
        if !probe.lines.contains(&at) {
            probe.lines.push(at);
            if let Some(line) = self.lines.get_mut(at) {
                line.sent += 1;
            }
        }
        at
    }

    /// A server was found: the disk behind it is asked in place of it.
    fn follow(
        &mut self,
        line: usize,
        mac: MacAddr,
        netif: NetifId,
        seq: u64,
    ) -> Result<(), Failure> {
        if let Some(line) = self.lines.get_mut(line) {
            line.sent = line.sent.saturating_sub(1);
        }
        self.ask(netif, Some(mac), seq, false, line)
    }

    /// Drops questions whose answers nobody waits for any more, not even to call them late.
    fn forget_old(&mut self) {
        let horizon = self.exchange.timeout_ns().saturating_mul(8);
        let now = monotonic_nanos();
        self.probes
            .retain(|_, probe| now.saturating_sub(probe.sent_ns) < horizon);
    }

    fn print(&self, format: Format) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        print_to(&mut out, |out| match format {
            Format::Json { pretty } => {
                let lines: Vec<Value> = self
                    .lines
                    .iter()
                    .map(|line| Value::Object(self.line_json(line)))
                    .collect();
                print_json(out, pretty, json!({ "ping": lines }))
            }
            Format::Text => self.lines.iter().try_for_each(|l| self.print_line(l, out)),
        })
    }

    fn line_json(&self, line: &Line) -> Map<String, Value> {
        let mut map = object([
            ("address", json!(self.args.one.target.to_string())),
            ("interface", json!(self.exchange.ports().name(line.netif))),
            (
                "mac",
                json!(line.mac.map(|m| m.to_string()).unwrap_or_default()),
            ),
            ("sent", json!(line.sent)),
            ("received", json!(line.answered)),
            ("lost", json!(line.lost())),
            ("loss_percent", json!(line.loss_percent())),
            ("errors", json!(line.errors)),
            ("duplicates", json!(line.duplicates)),
            ("late", json!(line.late)),
        ]);
        if let Some([least, mean, most]) = line.times() {
            map.insert("rtt_min_ns".to_owned(), json!(least));
            map.insert("rtt_avg_ns".to_owned(), json!(mean));
            map.insert("rtt_max_ns".to_owned(), json!(most));
        }
        map
    }

    fn print_line(&self, line: &Line, out: &mut dyn Write) -> io::Result<()> {
        let place = match line.mac {
            Some(mac) => self.exchange.place(line.netif, mac),
            None => format!("on {}", self.exchange.ports().name(line.netif)),
        };
        writeln!(out, "--- target {} ({place}) ---", self.args.one.target)?;
        let loss = line.loss_percent();
        write!(
            out,
            "{} sent, {} answered, {loss}% lost",
            line.sent, line.answered
        )?;
        for (count, word) in [
            (line.errors, "errors"),
            (line.duplicates, "answered twice"),
            (line.late, "too late"),
        ] {
            if count > 0 {
                write!(out, ", {count} {word}")?;
            }
        }
        writeln!(out)?;
        if let Some(times) = line.times() {
            let [least, mean, most] = times.map(size::human_time);
            writeln!(out, "round trip min/avg/max {least} / {mean} / {most}")?;
        }
        Ok(())
    }

    /// The exit status: whether anything good was heard.
    fn verdict(mut self) -> Result<(), Failure> {
        let heard: u64 = self.lines.iter().map(|line| line.answered).sum();
        let errors: u64 = self.lines.iter().map(|line| line.errors).sum();
        if heard == 0 {
            return Err(self
                .exchange
                .not_found(Targets::from(self.args.one.target))?);
        }
        let places: Vec<(NetifId, MacAddr)> = self
            .lines
            .iter()
            .filter(|line| line.answered > 0)
            .filter_map(|line| Some((line.netif, line.mac?)))
            .collect();
        self.exchange.tell_of_several(self.args.one.target, &places);
        if errors == heard {
            return Err(Failure::Failed(anyhow!(
                "target {} answers with errors only",
                self.args.one.target
            )));
        }
        Ok(())
    }
}

/// What is wrong with an answer.
fn trouble(reply: &Reply) -> Option<String> {
    match reply {
        Reply::Config(_) => None,
        Reply::Error(error) => Some(exchange::in_words(*error)),
        Reply::Ata(registers, _) if registers.failed() => Some(registers.fault().to_string()),
        Reply::Ata(_, data) if data.len() < SECTOR_SIZE => {
            Some(format!("only {} bytes of data", data.len()))
        }
        Reply::Ata(..) => None,
        _ => Some("another question was answered".to_owned()),
    }
}

/// Prints a line at once, also into a pipe.
fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    print_to(&mut out, |out| writeln!(out, "{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_right() {
        let mut line = Line::new(NetifId(0), None);
        assert_eq!((line.times(), line.loss_percent()), (None, 0.0));
        line.sent = 8;
        for rtt in [3000, 1000, 5000] {
            line.note(rtt, true);
        }
        assert_eq!(line.times(), Some([1000, 3000, 5000]));
        assert_eq!((line.lost(), line.loss_percent()), (5, 62.5));
        line.note(7000, false);
        assert_eq!((line.answered, line.errors), (4, 1));
    }

    #[test]
    fn intervals_are_bounded() {
        assert!(interval("0").is_err());
        assert!(interval("0.0001").is_err());
        assert!(interval("-1").is_err());
        assert_eq!(interval("0.001"), Ok(SHORTEST));
    }
}
