// SPDX-License-Identifier: BSD-2-Clause
//! What the lists have in common that settings take: words, separated by spaces, tabs or commas.

/// Why a list of addresses or patterns was refused.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum ListError {
    /// A word is not what the list is made of.
    BadWord,
    /// More words than the list has room for.
    TooMany,
}

/// The words of a list, in the order of the text.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_separator).filter(|word| !word.is_empty())
}

const fn is_separator(c: char) -> bool {
    matches!(c, ' ' | '\t' | ',' | '\n')
}
