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

impl EditError {
    /// Its number in an answer.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::BadDirective => 2,
            Self::Full => 3,
        }
    }
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

    /// Whether ggaoed finds this address: it takes addresses for numbers, the last byte weighing most, and halves the
    /// list again and again, sorted or not.
    #[must_use]
    pub fn is_found_by_halves(&self, mac: Mac) -> bool {
        let (mut low, mut high) = (0, self.0.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.0.get(middle).map(weight).cmp(&Some(weight(&mac))) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return true,
            }
        }
        false
    }

    /// Brings the addresses into the order in which ggaoed keeps its mask list.
    pub fn sort(&mut self) {
        self.0.sort_by_key(weight);
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

/// The address as a number of which the last byte weighs most.
fn weight(mac: &Mac) -> [u8; 6] {
    let mut bytes = *mac;
    bytes.reverse();
    bytes
}
