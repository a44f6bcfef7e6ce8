//! Wrong consoles.

use std::cell::RefCell;
use std::rc::Rc;

use mirage_conformance::console;
use mirage_device::Console;

use crate::rigs::{Page, caught, run};

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// The second half of each write comes after the first half of the next.
    Interleaves,
    /// Writes come out in pairs, the later one first.
    Swaps,
    /// Nothing is shown at all.
    Silent,
}

#[derive(Clone)]
struct Wrong {
    page: Page,
    fault: Fault,
    kept: Rc<RefCell<Vec<u8>>>,
}

impl Console for Wrong {
    fn write(&self, bytes: &[u8]) {
        let kept = self.kept.take();
        match self.fault {
            Fault::Interleaves => {
                let (first, second) = bytes.split_at(bytes.len() / 2);
                self.page.write(first);
                self.page.write(&kept);
                self.kept.replace(second.to_vec());
            }
            Fault::Swaps if kept.is_empty() => drop(self.kept.replace(bytes.to_vec())),
            Fault::Swaps => {
                self.page.write(bytes);
                self.page.write(&kept);
            }
            Fault::Silent => {}
        }
    }
}

#[test]
fn a_console_that_is_wrong_in_one_thing() {
    for (fault, sentence) in [
        (Fault::Interleaves, console::TOGETHER),
        (Fault::Swaps, console::TOGETHER),
        (Fault::Silent, console::WRITES),
    ] {
        let report = run(async |s| {
            let page = Page::default();
            let wrong = Wrong {
                page: page.clone(),
                fault,
                kept: Rc::default(),
            };
            console::check(&wrong, &s, Some(&|| page.0.borrow().clone())).await
        });
        caught(&report, sentence);
    }
}
