// SPDX-License-Identifier: BSD-2-Clause
//! Results, printed for people or for programs.

use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::str::FromStr;

/// The version of the names and their meaning, as libxo's `__version` has it.
const VERSION: &str = "1";

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// Tables for people.
    Text,
    /// JSON in libxo's shape.
    Json {
        /// Indented.
        pretty: bool,
    },
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut json = false;
        let mut pretty = false;
        for word in text.split(',') {
            match word {
                "text" => json = false,
                "json" => json = true,
                "pretty" => pretty = true,
                _ => return Err("want text, json, or json,pretty".to_owned()),
            }
        }
        Ok(if json {
            Self::Json { pretty }
        } else {
            Self::Text
        })
    }
}

/// Writes one result as libxo would: the version, then one container named after the program.
pub(crate) fn print_json(out: &mut dyn Write, pretty: bool, content: Value) -> io::Result<()> {
    let document = json!({ "__version": VERSION, "aoectl": content });
    if pretty {
        serde_json::to_writer_pretty(&mut *out, &document)?;
    } else {
        serde_json::to_writer(&mut *out, &document)?;
    }
    writeln!(out)?;
    out.flush()
}

/// A JSON object of these pairs, in this order.
pub(crate) fn object<const N: usize>(pairs: [(&str, Value); N]) -> Map<String, Value> {
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// A table with columns as wide as their widest cell; the last column is not padded.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<bool>,
}

impl Table {
    /// A table with these headings; those that begin with `>` head a column of numbers, aligned to the right.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self {
            right: headings.iter().map(|h| h.starts_with('>')).collect(),
            rows: vec![
                headings
                    .iter()
                    .map(|h| h.trim_start_matches('>').to_owned())
                    .collect(),
            ],
        }
    }

    /// Adds a row; an empty cell is shown as a dash.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(
            cells
                .into_iter()
                .map(|c| if c.is_empty() { "-".to_owned() } else { c })
                .collect(),
        );
    }

    /// Writes it.
    pub(crate) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut widths = vec![0; self.right.len()];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, width), right) in row.iter().zip(&widths).zip(&self.right) {
                if *right {
                    line.push_str(&format!("{cell:>width$}  "));
                } else {
                    line.push_str(&format!("{cell:<width$}  "));
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Writes `name: value` lines with the values in one column.
pub(crate) fn print_pairs(out: &mut dyn Write, pairs: &[(&str, String)]) -> io::Result<()> {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in pairs {
        let value = if value.is_empty() { "-" } else { value };
        writeln!(out, "{name:<width$}  {value}")?;
    }
    Ok(())
}

/// Bytes from the wire as text that cannot upset a terminal.
pub(crate) fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_read() {
        assert_eq!("json".parse(), Ok(Format::Json { pretty: false }));
        assert_eq!("pretty,json".parse(), Ok(Format::Json { pretty: true }));
        assert_eq!("text".parse(), Ok(Format::Text));
        assert!("".parse::<Format>().is_err());
        assert!("json,html".parse::<Format>().is_err());
    }

    #[test]
    fn json_has_the_shape_of_libxo() {
        let mut out = Vec::new();
        print_json(&mut out, false, json!({ "target": [{ "address": "7.0" }] })).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"__version\":\"1\",\"aoectl\":{\"target\":[{\"address\":\"7.0\"}]}}\n"
        );
    }

    #[test]
    fn tables_line_up() {
        let mut table = Table::new(&["A", ">SIZE", "LAST"]);
        table.row(vec!["long name".into(), "1".into(), String::new()]);
        table.row(vec!["b".into(), "123456".into(), "x y".into()]);
        let mut out = Vec::new();
        table.print(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "A            SIZE  LAST\nlong name       1  -\nb          123456  x y\n"
        );
    }

    #[test]
    fn what_is_not_text_is_escaped() {
        assert_eq!(printable(b"shelf \xe2\x82\xac"), "shelf \u{20ac}");
        assert_eq!(printable(b"\x1b[2J"), "\\x1b[2J");
        assert_eq!(printable(b"\xff"), "\\xff");
    }
}
