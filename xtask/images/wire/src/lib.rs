//! Checks two network devices at the ends of one wire, and says what it found: a line for each
//! sentence of their contract, and a last line with the count.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::{String, ToString};

use mirage_kit::device::{Console, Net, Sleep};

/// Runs the suite from either end. An error counts the broken sentences.
pub async fn main(
    console: impl Console,
    sleep: impl Sleep,
    near: impl Net,
    far: impl Net,
) -> Result<(), String> {
    let mut report = mirage_conformance::net::check(&near, &far, &sleep).await;
    report.append(mirage_conformance::net::check(&far, &near, &sleep).await);
    for line in report.to_string().lines() {
        console.write(format!("{line}\n").as_bytes());
    }
    match report.counts() {
        [_, 0, _] => Ok(()),
        [_, broken, _] => Err(format!("{broken} sentences of the contract are broken")),
    }
}
