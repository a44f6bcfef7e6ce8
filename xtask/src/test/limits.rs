//! Memory: too little to start, and none left.

use anyhow::{Result, ensure};

use super::system::{PATIENCE, start};
use super::{Context, Test};

pub const TESTS: &[Test] = &[
    Test {
        name: "an image that uses up its memory ends with status 102 and says so",
        needs: &[],
        run: out_of_memory,
    },
    Test {
        name: "an image given too little memory to start says so",
        needs: &[],
        run: too_little,
    },
];

fn out_of_memory(context: &Context) -> Result<()> {
    let words = ["run", "xtask/images/hog", "--memory", "16M"];
    let mut process = start(context.product.mirage(&words))?;
    let status = process.exit(PATIENCE * 15)?;
    let text = process.output();
    ensure!(
        status.code() == Some(102),
        "it ended with {status}:\n{text}"
    );
    ensure!(
        text.contains("out of memory"),
        "it does not say why:\n{text}"
    );
    ensure!(
        text.contains("\n12 MiB\n"),
        "of 16 MiB it got less than 12:\n{text}"
    );
    ensure!(
        !text.contains("\n16 MiB\n"),
        "it got more than it was given:\n{text}"
    );
    Ok(())
}

fn too_little(context: &Context) -> Result<()> {
    for memory in ["4K", "0"] {
        let words = ["run", "examples/website", "--memory", memory];
        let mut process = start(context.product.mirage(&words))?;
        let status = process.exit(PATIENCE * 15)?;
        let text = process.output();
        let known = [2, 102, 125].map(Some).contains(&status.code());
        ensure!(known, "with {memory} it ended with {status}:\n{text}");
        ensure!(
            text.contains("memory"),
            "with {memory} it does not say why:\n{text}"
        );
    }
    Ok(())
}
