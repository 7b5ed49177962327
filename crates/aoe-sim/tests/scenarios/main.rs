// SPDX-License-Identifier: BSD-2-Clause
//! Named scenarios: one behaviour each, in simulated time.

mod common;
mod discovery;
mod faults;
mod forger;
mod hostile;
mod hours;
mod loss;
mod memory;
mod paths;
mod payload;
mod ports;
mod reports;
mod stall;
mod transfer;
