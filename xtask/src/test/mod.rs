//! `cargo xtask test`: the workspace's own tests, then whole systems against real peers.

mod browser;
mod command;
mod conformance;
mod counters;
mod debug;
mod frames;
mod hostile;
mod images;
mod kv;
mod limits;
mod need;
mod packet;
mod publish;
mod record;
mod sim;
mod store;
mod system;
mod tap;
mod workspace;

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use tempfile::TempDir;

use crate::product::Product;
use need::Need;

/// What `cargo xtask test` takes.
#[derive(Args)]
pub struct Arguments {
    /// Only the tests with this in their name
    filter: Option<String>,
    /// A test that this machine cannot run is a failure
    #[arg(long)]
    require_all: bool,
}

/// A test of a whole system. Its name is a sentence that its success makes true.
struct Test {
    name: &'static str,
    needs: &'static [Need],
    run: fn(&Context) -> Result<()>,
}

/// What tests share.
struct Context {
    product: Product,
    scratch: TempDir,
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
    packages: BTreeSet<&'static str>,
    failures: Vec<(String, String)>,
}

/// Runs the tests; `false` when one failed.
pub fn run(arguments: &Arguments) -> Result<bool> {
    need::gain_namespaces();
    let filter = arguments.filter.as_deref().unwrap_or_default();
    let tests = [
        images::TESTS,
        kv::TESTS,
        command::TESTS,
        publish::TESTS,
        browser::TESTS,
        hostile::TESTS,
        limits::TESTS,
        debug::TESTS,
        record::TESTS,
        sim::TESTS,
        store::TESTS,
        tap::TESTS,
        frames::TESTS,
        conformance::TESTS,
        counters::TESTS,
    ];
    let chosen: Vec<&Test> = tests
        .into_iter()
        .flatten()
        .filter(|t| t.name.contains(filter))
        .collect();

    if chosen.is_empty() && !workspace::NAME.contains(filter) {
        bail!("no test has {filter:?} in its name");
    }
    let mut tally = Tally::default();
    if workspace::NAME.contains(filter) {
        workspace::run(arguments.require_all, &mut tally)?;
    }
    if !chosen.is_empty() {
        println!("\nwhole systems:");
        match Product::build() {
            Ok(product) => {
                let context = Context {
                    product,
                    scratch: tempfile::tempdir()?,
                };
                for test in chosen {
                    one(test, &context, arguments.require_all, &mut tally);
                }
            }
            Err(error) => {
                tally.failed += chosen.len();
                let name = "every test of a whole system".to_owned();
                tally.failures.push((name, format!("{error:#}")));
            }
        }
    }

    for (name, reason) in &tally.failures {
        println!("\nFAILED: {name}\n{}", indented(reason));
    }
    println!();
    if !tally.packages.is_empty() {
        let packages: Vec<_> = tally.packages.iter().copied().collect();
        println!(
            "what was skipped runs after: apt-get install --no-install-recommends {}\n",
            packages.join(" ")
        );
    }
    println!(
        "{} passed, {} failed, {} skipped",
        tally.passed, tally.failed, tally.skipped
    );
    Ok(tally.failed == 0)
}

fn one(test: &Test, context: &Context, require_all: bool, tally: &mut Tally) {
    let missing: Vec<_> = test
        .needs
        .iter()
        .filter_map(|need| need.missing())
        .collect();
    if !missing.is_empty() {
        tally
            .packages
            .extend(missing.iter().filter_map(|missing| missing.package));
        let reasons: Vec<_> = missing.into_iter().map(|missing| missing.reason).collect();
        let reason = reasons.join("; ");
        println!("  skipped  {}: {reason}", test.name);
        if require_all {
            tally.failed += 1;
            tally
                .failures
                .push((test.name.into(), format!("could not run: {reason}")));
        } else {
            tally.skipped += 1;
        }
        return;
    }
    let start = Instant::now();
    let outcome = (test.run)(context);
    let seconds = start.elapsed().as_secs_f64();
    match outcome {
        Ok(()) => {
            tally.passed += 1;
            println!("  ok       {} ({seconds:.1} s)", test.name);
        }
        Err(error) => {
            tally.failed += 1;
            println!("  FAILED   {} ({seconds:.1} s)", test.name);
            tally
                .failures
                .push((test.name.into(), format!("{error:#}")));
        }
    }
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
