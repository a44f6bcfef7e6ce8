//! `cargo xtask bench irmin`: the store beside git, libgit2 and redb.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::Value;

use super::{conditions, save};
use crate::product::executable;
use crate::report::{self, Bar, Row, Sample};

/// What `cargo xtask bench irmin` takes.
#[derive(Args)]
#[command(
    after_help = "Rows: commits-git commits-pack durable reads lca merge clone watch space
Inputs that take long to make are kept in the target folder's bench/irmin/.
A bar that is missed is shown, and is no error; what cannot be measured is one.
--ours is for a profiler, for example
  perf record --pid $(pgrep irmin-bench)"
)]
pub struct Arguments {
    /// What to measure [default: everything]
    #[arg(value_name = "ROW")]
    rows: Vec<String>,
    /// Write the rows as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Rounds of each side, which alternate
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Small inputs and three rounds: about a minute
    #[arg(long, conflicts_with = "runs")]
    quick: bool,
    /// The repository that the row `clone` clones [default: one that is made for it]
    #[arg(long, value_name = "PATH")]
    repository: Option<PathBuf>,
    /// Repeat our side alone, each row for so many seconds
    #[arg(long, value_name = "SECONDS")]
    ours: Option<u64>,
}

/// Runs the benchmarks; `false` when one could not be measured.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let bench = executable("irmin-bench", "irmin-bench")?;
    let irmin = executable("irmin-cli", "irmin")?;
    // TARGET/release/irmin-bench
    let target = bench.ancestors().nth(2).context("no target folder")?;
    let mut command = Command::new(&bench);
    command.args(&arguments.rows);
    command.arg("--cache").arg(target.join("bench/irmin"));
    command.arg("--irmin").arg(irmin);
    command.args(["--rounds", &arguments.runs.to_string()]);
    if arguments.quick {
        command.arg("--quick");
    }
    if let Some(path) = &arguments.repository {
        command.arg("--repository").arg(path);
    }
    if let Some(seconds) = arguments.ours {
        command.args(["--ours", &seconds.to_string()]);
    }
    println!("{}\n", conditions());
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start irmin-bench")?;
    let output = child.stdout.take().context("no pipe")?;
    let mut rows = Vec::new();
    for line in BufReader::new(output).lines() {
        rows.push(row(&line?)?);
    }
    let complete = child.wait()?.success();
    println!("{}", report::table(&rows));
    save(arguments.json.as_deref(), &rows)?;
    Ok(complete)
}

/// A row from a line that `irmin-bench` prints.
fn row(line: &str) -> Result<Row> {
    let value: Value = serde_json::from_str(line).with_context(|| format!("no row: {line}"))?;
    let sample = |values: &Value| -> Sample {
        let values = values.as_array().into_iter().flatten();
        values.filter_map(Value::as_f64).collect()
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let bar = |name, make: fn(f64) -> Bar| value["bar"][name].as_f64().map(make);
    let peer = &value["peer"];
    Ok(Row {
        name: text(&value["name"]),
        unit: unit(&text(&value["unit"])).with_context(|| format!("no unit: {line}"))?,
        ours: sample(&value["ours"]),
        peer: peer
            .is_object()
            .then(|| (text(&peer["name"]), sample(&peer["values"]))),
        bar: bar("at_most", Bar::AtMost)
            .or(bar("at_least", Bar::AtLeast))
            .or(bar("ratio_at_most", Bar::RatioAtMost))
            .or(bar("ratio_at_least", Bar::RatioAtLeast)),
    })
}

fn unit(name: &str) -> Option<&'static str> {
    const UNITS: [&str; 5] = ["commits/s", "reads/s", "ms", "s", "MB"];
    UNITS.into_iter().find(|unit| *unit == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_measuring_program_becomes_a_row() {
        let line = r#"{"name": "reads", "unit": "reads/s", "ours": [3.0, 1.0, 2.0],
            "peer": {"name": "redb", "values": [4.0]}, "bar": {"ratio_at_least": 0.5}}"#;
        let row = row(line).unwrap();
        assert_eq!((row.ours.median(), row.peer_median()), (2.0, Some(4.0)));
        assert_eq!(row.bar, Some(Bar::RatioAtLeast(0.5)));
        assert_eq!(row.holds(), Some(true));
    }
}
