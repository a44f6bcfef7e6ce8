//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

use mirage_gateway::Publish;

use crate::launch::{Attach, BlockFile};

/// Builds a Rust crate into a sealed unikernel, and runs it.
#[derive(Debug, Parser)]
#[command(name = "mirage", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Whether to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: clap::ColorChoice,
}

const EXAMPLES: &str = "Examples:
  mirage new hi                         make an application in the folder hi
  mirage run hi                         build it, and run it as a sandboxed process
  mirage run site --publish 8080:80     serve at http://127.0.0.1:8080/, without root
  mirage describe site                  show its devices, their providers and its keys";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new application from a template
    New(New),
    /// Check that the devices can be connected, and that everything compiles
    Check(Check),
    /// Build an application into one file
    Build(Build),
    /// Build an application, and run it
    Run(Box<Run>),
    /// Repeat a recorded run, bit for bit
    Replay(Replay),
    /// Show an application's devices, their providers and its keys
    Describe(Describe),
    /// Show what the running unikernels count
    Top(Top),
    /// Name the return addresses in the log of an image that panicked without this tool
    Backtrace(Backtrace),
}

/// `mirage new`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mirage new hi
  mirage new shop --from website
  mirage new other --from ../hi")]
pub struct New {
    /// The new application's name, or the path of its folder
    pub path: PathBuf,
    /// The application to copy: an example's name, or a folder
    #[arg(long, value_name = "EXAMPLE", default_value = "hello")]
    pub from: String,
}

/// The application, and what it runs on.
#[derive(Debug, Args)]
pub struct Application {
    /// The application's folder, or its Cargo.toml [default: the current folder]
    pub path: Option<PathBuf>,
    /// What it runs on
    #[arg(long, value_enum, default_value_t)]
    pub on: On,
}

/// What an application runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum On {
    /// A sandboxed Linux process
    #[default]
    Process,
    /// An ordinary program on this machine's own network, for a quick look or a debugger
    Host,
}

impl On {
    /// Its word on the command line and in a platform's description.
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Host => "host",
        }
    }
}

/// Build-time keys.
#[derive(Debug, Args)]
pub struct Settings {
    /// Give a build-time key its value, for example assets=DIR
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// `mirage check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mirage check
  mirage check examples/website --on host")]
pub struct Check {
    /// What to check.
    #[command(flatten)]
    pub application: Application,
    /// Build-time keys.
    #[command(flatten)]
    pub settings: Settings,
    /// Tell what happens as one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `mirage build`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mirage build
  mirage build examples/website --set assets=public
  mirage build examples/website --json")]
pub struct Build {
    /// What to build.
    #[command(flatten)]
    pub application: Application,
    /// Build-time keys.
    #[command(flatten)]
    pub settings: Settings,
    /// Tell what happens as one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `mirage run`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mirage run
  mirage run examples/hello -- name=Ada
  mirage run examples/website --publish 8080:80 --set assets=public
  mirage run examples/website --tap tap0 -- stack.ipv4=10.0.0.2/24
  mirage run store --block disk=store.img --memory 64M --log debug
  mirage run examples/website --publish 8080:80 --record site.rec
  mirage run examples/website --publish 8080:80 --gdb

The unikernel's exit status becomes the tool's; 128 + n when signal n ended it.")]
pub struct Run {
    /// What to run.
    #[command(flatten)]
    pub application: Application,
    /// Build-time keys.
    #[command(flatten)]
    pub settings: Settings,
    /// Lead a port of this machine to one of the unikernel, without root
    #[arg(long, value_name = "[ADDRESS:]HOST:GUEST[/udp]")]
    pub publish: Vec<Publish>,
    /// Connect a network device to a tap
    #[arg(long, value_name = "[DEVICE=]TAP")]
    pub tap: Vec<Attach>,
    /// Give a block device a file
    #[arg(long, value_name = "DEVICE=FILE[,ro]")]
    pub block: Vec<BlockFile>,
    /// How much memory the unikernel may use
    #[arg(long, value_name = "SIZE", default_value = "32M")]
    pub memory: Memory,
    /// Write down what it sees, so that `mirage replay FILE` can repeat it; secrets are in it, too
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// How long the recording may become; the oldest part makes room for the newest
    #[arg(long, value_name = "SIZE", default_value = "64M", requires = "record")]
    pub record_size: RecordSize,
    /// Write the frames of the network down, for tshark; of several devices in FILE.DEVICE each
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
    /// What to do for whoever looks for a mistake.
    #[command(flatten)]
    pub debug: Debug,
    /// The least level that the unikernel logs: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
    /// Tell what happens as one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// The unikernel's own keys, as NAME=VALUE
    #[arg(last = true, value_name = "KEYS")]
    pub keys: Vec<String>,
}

/// `mirage replay`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mirage replay site.rec
  mirage replay site.rec --image target/mirage/website
  mirage replay site.rec --gdb

The unikernel's exit status becomes the tool's, as it was when it was recorded.")]
pub struct Replay {
    /// The recording, made by `mirage run --record FILE`
    pub file: PathBuf,
    /// The image that was recorded, or the folder of its application [default: where it was]
    #[arg(long, value_name = "PATH")]
    pub image: Option<PathBuf>,
    /// What to do for whoever looks for a mistake.
    #[command(flatten)]
    pub debug: Debug,
    /// Tell what happens as one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// What to do for whoever looks for a mistake.
#[derive(Debug, Args)]
pub struct Debug {
    /// Wait for a debugger before the unikernel begins: at a free port of 127.0.0.1, or here
    #[arg(long, value_name = "ADDRESS:PORT", num_args = 0..=1)]
    pub gdb: Option<Option<Place>>,
    /// Leave a core for a debugger in a file when the unikernel breaks
    #[arg(long, value_name = "FILE")]
    pub dump: Option<PathBuf>,
}

/// Where a debugger is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(pub SocketAddr);

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| {
            format!(
                "`{text}` is not of the form ADDRESS:PORT; an application stands before a bare --gdb"
            )
        })
    }
}

/// `mirage describe`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mirage describe examples/website
  mirage describe examples/website --format svg > website.svg
  mirage describe examples/website --json")]
pub struct Describe {
    /// What to describe.
    #[command(flatten)]
    pub application: Application,
    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
}

/// `mirage backtrace`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mirage backtrace examples/website < log
  ssh server journalctl -u site | mirage backtrace site.debug

Reads the log on standard input. The twin must be of the very image that wrote it.")]
pub struct Backtrace {
    /// The application's folder, its Cargo.toml, or the image's twin NAME.debug [default: the
    /// current folder]
    pub path: Option<PathBuf>,
}

/// `mirage top`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mirage top
  mirage top website --filter dropped
  mirage top --once --json
  mirage top --prometheus > /var/lib/prometheus/node-exporter/mirage.prom

In a terminal it goes on until q or Ctrl-C.")]
pub struct Top {
    /// Only the unikernel of this name, or this process [default: all]
    #[arg(value_name = "NAME|PID")]
    pub who: Option<String>,
    /// Only counters with this word in their name or their device's
    #[arg(long, value_name = "WORD")]
    pub filter: Option<String>,
    /// Look once
    #[arg(long)]
    pub once: bool,
    /// How often to look
    #[arg(long, value_name = "SECONDS", default_value = "1")]
    pub interval: Interval,
    /// One JSON object a line, one line a unikernel at each look
    #[arg(long)]
    pub json: bool,
    /// Once, in the text format of Prometheus
    #[arg(long, conflicts_with_all = ["json", "interval"])]
    pub prometheus: bool,
}

/// A time between two looks, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval(pub f64);

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Ok(Self(seconds)),
            _ => Err(format!(
                "`{text}` is not a number of seconds from 0.1 to 86400, for example 2"
            )),
        }
    }
}

/// How a description is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For a person
    #[default]
    Text,
    /// For a script
    Json,
    /// For Graphviz
    Dot,
    /// A picture
    Svg,
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory(pub u64);

impl Memory {
    /// Less than this no unikernel boots in.
    const LEAST: u64 = 1 << 20;
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = pages(text)?;
        if bytes < Self::LEAST {
            return Err(format!(
                "{bytes} bytes are too little for a unikernel; give it at least 1M"
            ));
        }
        Ok(Self(bytes))
    }
}

/// How long a recording may become, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordSize(pub u64);

impl RecordSize {
    /// Less would hold hardly more than one state of a unikernel.
    const LEAST: u64 = 1 << 20;
}

impl FromStr for RecordSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = pages(text)?;
        if bytes < Self::LEAST {
            return Err(format!(
                "{bytes} bytes are too little for a recording; give it at least 1M"
            ));
        }
        Ok(Self(bytes))
    }
}

/// A number of bytes, `32M` for example, down to whole pages.
fn pages(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size, for example 32M (K, M or G)");
    let (number, unit) = match text.as_bytes() {
        [.., b'K' | b'k'] => (&text[..text.len() - 1], 1 << 10),
        [.., b'M' | b'm'] => (&text[..text.len() - 1], 1 << 20),
        [.., b'G' | b'g'] => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    Ok(number.checked_mul(unit).ok_or_else(wrong)? & !4095)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn an_application_behind_a_bare_gdb_is_told_where_to_stand() {
        use clap::Parser as _;
        let parse = |words: &[&str]| Cli::try_parse_from(words).map(drop);
        assert!(parse(&["mirage", "run", "site", "--gdb"]).is_ok());
        assert!(parse(&["mirage", "run", "--gdb", "[::1]:7000", "site"]).is_ok());
        let error = parse(&["mirage", "run", "--gdb", "site"]).unwrap_err();
        assert!(error.to_string().contains("before a bare --gdb"), "{error}");
    }

    #[test]
    fn an_interval_is_a_number_of_seconds_in_bounds() {
        assert_eq!("0.5".parse(), Ok(Interval(0.5)));
        for text in ["", "0", "-1", "NaN", "inf", "1e9", "1s"] {
            assert!(text.parse::<Interval>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_has_a_unit_and_is_not_too_little() {
        assert_eq!("32M".parse(), Ok(Memory(32 << 20)));
        assert_eq!("1048576".parse(), Ok(Memory(1 << 20)));
        assert_eq!("2g".parse(), Ok(Memory(2 << 30)));
        for text in ["", "M", "-1M", "32MB", "1.5G", "99999999999G"] {
            assert!(
                text.parse::<Memory>().unwrap_err().contains("not a size"),
                "{text}"
            );
        }
        assert!(
            "512K"
                .parse::<Memory>()
                .unwrap_err()
                .contains("at least 1M")
        );
    }
}
