// SPDX-License-Identifier: BSD-2-Clause
//! What can be said to a running relay, one line at a time.

use anyhow::{Context, Result, bail, ensure};

use crate::faults::Way;

/// A line, understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    /// `set DIRECTION name=value ...`: changes some faults and leaves the others.
    Set(&'static [Way], Vec<String>),
    /// `clear`: no faults any more; frames on the way go on.
    Clear,
    /// `status`: counters and faults.
    Status,
    /// `reset`: the same, and the counters begin again.
    Reset,
    /// `seed N`: the generator begins again.
    Seed(u64),
}

impl Command {
    pub(crate) fn parse(line: &str) -> Result<Self> {
        let mut words = line.split_whitespace();
        let verb = words.next().context("an empty line is no command")?;
        let command = match verb {
            "set" => return parse_set(words),
            "clear" => Self::Clear,
            "status" => Self::Status,
            "reset" => Self::Reset,
            "seed" => {
                let word = words.next().context("seed needs a number")?;
                let number = word
                    .parse()
                    .with_context(|| format!("{word:?} is no number"))?;
                Self::Seed(number)
            }
            _ => bail!("{verb:?} is no command (set, clear, status, reset, seed)"),
        };
        if let Some(word) = words.next() {
            bail!("{word:?} is one word too many");
        }
        Ok(command)
    }

    /// The same as `set`, without the verb: as it stands on the command line.
    pub(crate) fn parse_set(line: &str) -> Result<Self> {
        parse_set(line.split_whitespace())
    }
}

fn parse_set<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Command> {
    let ways = Way::parse(words.next().context("set needs a direction")?)?;
    let settings: Vec<_> = words.map(str::to_owned).collect();
    ensure!(!settings.is_empty(), "nothing is set");
    Ok(Command::Set(ways, settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let parse = |line| Command::parse(line).unwrap();
        assert_eq!(parse(" clear "), Command::Clear);
        assert_eq!(parse("status"), Command::Status);
        assert_eq!(parse("reset"), Command::Reset);
        assert_eq!(parse("seed 42"), Command::Seed(42));
        assert_eq!(
            parse("set both loss=1%  cut=on"),
            Command::Set(&Way::BOTH, vec!["loss=1%".into(), "cut=on".into()])
        );
        assert_eq!(
            Command::parse_set("to-target longest=1514").unwrap(),
            Command::Set(&[Way::ToTarget], vec!["longest=1514".into()])
        );
    }

    #[test]
    fn wrong_lines_are_told_apart() {
        for (line, words) in [
            ("", "empty"),
            ("set", "direction"),
            ("set up loss=1%", "no direction"),
            ("set both", "nothing"),
            ("seed", "number"),
            ("seed x", "number"),
            ("clear both", "too many"),
            ("stop", "no command"),
        ] {
            let error = Command::parse(line).unwrap_err().to_string();
            assert!(error.contains(words), "{line:?}: {error}");
        }
    }
}
