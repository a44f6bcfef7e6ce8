//! The workspace's own tests, counted one by one.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context as _, Result};

use super::Tally;
use crate::product::cargo;

/// What a filter is compared with.
pub const NAME: &str = "the tests of the workspace";

/// Runs `cargo test --workspace` and adds its counts; an ignored test is skipped.
pub fn run(require_all: bool, tally: &mut Tally) -> Result<()> {
    let mut child = cargo()
        .args(["test", "--workspace", "--locked", "--no-fail-fast"])
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let stdout = child.stdout.take().context("its output is piped")?;
    let mut counted = false;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        println!("{line}");
        if let Some([passed, failed, ignored]) = counts(&line) {
            tally.passed += passed;
            tally.failed += failed;
            if require_all && ignored > 0 {
                tally.failed += ignored;
                let reason = format!("{ignored} of one program ignored, see above");
                tally.failures.push((NAME.into(), reason));
            } else {
                tally.skipped += ignored;
            }
            counted = true;
            if failed > 0 {
                tally
                    .failures
                    .push((NAME.into(), format!("{failed} of one program, see above")));
            }
        }
    }
    if !child.wait()?.success() && (!counted || tally.failed == 0) {
        tally.failed += 1;
        tally
            .failures
            .push((NAME.into(), "cargo test failed, see above".into()));
    }
    Ok(())
}

/// Passed, failed and ignored of a line `test result: ...`.
fn counts(line: &str) -> Option<[usize; 3]> {
    let (_, rest) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |name: &str| {
        let part = rest.split("; ").find(|part| part.ends_with(name))?;
        part.split(' ').next()?.parse().ok()
    };
    Some([count(" passed")?, count(" failed")?, count(" ignored")?])
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_result_line_is_counted_and_any_other_is_not() {
        let line = "test result: FAILED. 14 passed; 2 failed; 1 ignored; 0 measured; 0 filtered \
                    out; finished in 0.02s";
        assert_eq!(super::counts(line), Some([14, 2, 1]));
        assert_eq!(super::counts("test a ... ok"), None);
    }
}
