//! The contract of [`Console`].

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use mirage_device::{Console, Sleep};

use crate::Report;
use crate::sentence::{because, contract};
use crate::watch::at_once;

contract! { "console"
    "Console" {
        _: Does "Where a unikernel's text goes: the standard output of a process, a guest's serial port.", because::IT_DESCRIBES;
    }
    "Console::write" {
        WRITES: Does "Writes `bytes`.";
        AT_ONCE: Waits "Returns at once, best effort: bytes that the other side does not take are dropped, so a stuck reader never stops the unikernel.";
        TOGETHER: Does "Bytes of one call stay together and in order, and come after those of every earlier call of any clone.";
        _: Durable "Nothing is durable.", because::IT_ALLOWS;
        _: Owns "The caller keeps the buffer.", because::TYPES_SAY_IT;
        _: Errors "Never fails.", because::TYPES_SAY_IT;
    }
}

/// How many lines the suite writes.
const LINES: usize = 24;

/// The line of the suite with this number.
fn line(n: usize) -> String {
    format!("conformance line {n:02} {}\n", ".".repeat(n))
}

/// Checks `console`, on which some lines are written. `screen` is all that it has shown so far,
/// where the rig can see that; a rig that sees it later asks [`seen`] then.
pub async fn check(
    console: &impl Console,
    sleep: &impl Sleep,
    screen: Option<&dyn Fn() -> Vec<u8>>,
) -> Report {
    let mut report = Report::new();
    let clone = console.clone();
    for n in 0..LINES {
        let line = line(n);
        let write = || match n % 2 {
            0 => console.write(line.as_bytes()),
            _ => clone.write(line.as_bytes()),
        };
        at_once(&mut report, AT_ONCE, sleep, write);
    }
    at_once(&mut report, AT_ONCE, sleep, || console.write(b""));
    match screen {
        Some(screen) => report.append(seen(&screen())),
        None => {
            for sentence in [WRITES, TOGETHER] {
                report.not_applicable(sentence, "this rig does not see the console's output");
            }
        }
    }
    report.complete(&CONTRACT)
}

/// What `shown`, all that the console showed during [`check`], says of the contract.
pub fn seen(shown: &[u8]) -> Report {
    let mut report = Report::new();
    let shown = String::from_utf8_lossy(shown);
    let mut from = 0;
    for n in 0..LINES {
        let line = line(n);
        // Bytes may be dropped; the suite writes so few that a reader takes them all.
        match shown.get(from..).and_then(|rest| rest.find(&line)) {
            Some(at) => {
                from += at + line.len();
                report.check(WRITES, true, "", "");
                report.check(TOGETHER, true, "", "");
            }
            None => {
                // Torn, or not there at all?
                let count = |text: &str| text.chars().filter(|c| *c == '.').count();
                let there = count(&shown) >= (0..LINES).sum();
                let sentence = if there { TOGETHER } else { WRITES };
                report.check(
                    sentence,
                    false,
                    &format!("{line:?} whole, in its place"),
                    &*shown,
                );
                break;
            }
        }
    }
    report
}
