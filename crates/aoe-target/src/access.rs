// SPDX-License-Identifier: BSD-2-Clause
//! The lists that decide who may talk to a target: MAC masks and reservation.

use crate::Mac;

/// A bounded list of MAC addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MacList(Vec<Mac>);

/// What an edit of a list met.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum EditError {
    /// The directive is not known.
    BadDirective,
    /// There is no more room.
    Full,
}

impl MacList {
    /// A list of these addresses.
    #[must_use]
    pub fn new(macs: &[Mac]) -> Self {
        Self(macs.to_vec())
    }

    /// The addresses.
    #[must_use]
    pub fn macs(&self) -> &[Mac] {
        &self.0
    }

    /// An empty list lets everyone in.
    #[must_use]
    pub fn admits(&self, mac: Mac) -> bool {
        self.0.is_empty() || self.0.contains(&mac)
    }

    /// Carries out a directive of the MAC mask command.
    ///
    /// # Errors
    /// The directive is unknown, or the list holds `limit` addresses.
    pub fn edit(&mut self, directive: u8, mac: Mac, limit: usize) -> Result<(), EditError> {
        match directive {
            0 => {}
            1 if self.0.contains(&mac) => {}
            1 if self.0.len() >= limit => return Err(EditError::Full),
            1 => self.0.push(mac),
            2 => self.0.retain(|known| *known != mac),
            _ => return Err(EditError::BadDirective),
        }
        Ok(())
    }
}
