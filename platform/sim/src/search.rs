//! Many seeds, one scenario: find a run that fails, make it smaller, and say how to repeat it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use mirage_device::{Clock, Instant};

use crate::failure::{Caught, Cause, Failure, catch};
use crate::kept::{Kept, Kind, Mishap};
use crate::world::World;

/// The environment variable that holds one run: a seed, and what is kept of its faults.
const VARIABLE: &str = "MIRAGE_SIM";

/// Runs that are spent on making a failing one smaller.
const TRIES: usize = 400;

/// More single mishaps than this do not fit on a command line; they are left to the dice then.
const MISHAPS: usize = 200;

/// Runs the scenario once for each seed; the first failure is made smaller and reported by a
/// panic, with the one command that repeats it.
///
/// With the environment variable `MIRAGE_SIM` it runs what that says and nothing else, which is
/// what the command does. The scenario must depend on nothing but the world that it is given.
///
/// ```
/// use std::time::Duration;
///
/// mirage_sim::explore(0..10, |world| {
///     let lan = world.network("lan");
///     // ... machines, faults ...
///     world.run_for(Duration::from_secs(60));
///     // ... what must be true now ...
/// });
/// ```
///
/// # Panics
///
/// When a run fails: a panic of the scenario or of a machine, a deadlock, the limit of time.
#[track_caller]
pub fn explore(seeds: impl IntoIterator<Item = u64>, scenario: impl Fn(&World)) {
    if let Err(found) = search(seeds, &scenario) {
        panic!("{found}");
    }
}

/// As [`explore`], and gives back what was found: how many runs passed, or the failing one.
///
/// # Errors
///
/// The first failure, made smaller; with `MIRAGE_SIM`, its failure as it is.
///
/// # Panics
///
/// When `MIRAGE_SIM` means nothing.
#[track_caller]
pub fn search<S: Fn(&World)>(
    seeds: impl IntoIterator<Item = u64>,
    scenario: S,
) -> Result<usize, Box<Found>> {
    let source = std::panic::Location::caller().file();
    if let Ok(text) = std::env::var(VARIABLE) {
        let kept: Kept = text.parse().unwrap_or_else(|error| panic!("{error}"));
        let run = run(&kept, true, &scenario);
        let Some(failure) = run.failure.clone() else {
            println!("{VARIABLE}='{text}' passes\n{run}");
            return Ok(1);
        };
        let one = Shrink {
            scenario: &scenario,
            failure,
            kept,
            run,
            tries: 0,
        };
        return Err(Box::new(one.found(0, source)));
    }
    let mut passed = 0;
    for seed in seeds {
        let kept = Kept::all(seed);
        if let Some(failure) = run(&kept, false, &scenario).failure {
            let mut smaller = Shrink {
                run: run(&kept, true, &scenario),
                scenario: &scenario,
                failure,
                kept,
                tries: 0,
            };
            smaller.all();
            return Err(Box::new(smaller.found(passed, source)));
        }
        passed += 1;
    }
    Ok(passed)
}

/// Runs the scenario once, as a value of `MIRAGE_SIM` says.
///
/// # Errors
///
/// The value means nothing.
pub fn repeat(value: &str, scenario: impl Fn(&World)) -> Result<Run, String> {
    Ok(run(&value.parse()?, true, &scenario))
}

/// A run that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// The [trace](World::trace) at its end.
    pub trace: u64,
    /// What each machine wrote to its console, by the machines' names.
    pub consoles: Vec<(String, String)>,
    /// How many frames were delivered.
    pub frames: u64,
    /// The world's time at its end.
    pub end: Instant,
    faults: Vec<(usize, String)>,
    mishaps: Vec<(Mishap, u64)>,
}

impl Run {
    /// What went wrong in the world: the faults, and what happened to single frames and
    /// operations, each in one line.
    pub fn faults(&self) -> Vec<String> {
        let planned = self.faults.iter().map(|(_, what)| what.clone());
        let single = self.mishaps.iter().map(|(mishap, at)| {
            let at = Instant::from_nanos(*at);
            format!("{at} s: {mishap}")
        });
        planned.chain(single).collect()
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 40;
        let faults = self.faults();
        if !faults.is_empty() {
            writeln!(f, "what went wrong in the world:")?;
        }
        for fault in faults.iter().take(SHOWN) {
            writeln!(f, "  {fault}")?;
        }
        if faults.len() > SHOWN {
            writeln!(f, "  ... and {} more", faults.len() - SHOWN)?;
        }
        for (machine, console) in self.consoles.iter().filter(|(_, text)| !text.is_empty()) {
            let lines: Vec<&str> = console.lines().collect();
            writeln!(f, "the end of the console of `{machine}`:")?;
            for line in &lines[lines.len().saturating_sub(8)..] {
                writeln!(f, "  {line}")?;
            }
        }
        write!(
            f,
            "{} frames, {} s of virtual time, trace {:016x}",
            self.frames, self.end, self.trace
        )
    }
}

/// A run that failed and was made smaller.
#[derive(Debug, Clone)]
pub struct Found {
    /// Why it failed.
    pub failure: Failure,
    /// What `MIRAGE_SIM` has to be for it.
    pub variable: String,
    /// The command that repeats it.
    pub command: String,
    /// The run itself.
    pub run: Run,
    /// How many runs passed before.
    pub passed: usize,
    /// How many runs made it smaller.
    pub tries: usize,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            failure,
            command,
            run,
            passed,
            tries,
            ..
        } = self;
        writeln!(f, "{failure}")?;
        writeln!(f, "repeat it with:")?;
        writeln!(f, "  {command}")?;
        writeln!(f, "{run}")?;
        write!(
            f,
            "after {passed} runs that passed; made smaller in {tries}"
        )
    }
}

impl std::error::Error for Found {}

fn run(kept: &Kept, records: bool, scenario: &impl Fn(&World)) -> Run {
    const YEAR: Duration = Duration::from_secs(366 * 86_400);
    let world = World::with(kept.clone(), records);
    world.set_limit(YEAR);
    let failure = match catch(true, || scenario(&world)) {
        Ok(()) => None,
        Err(caught) => Some(world.inner().failure().unwrap_or_else(|| {
            let (cause, message) = match caught {
                Caught::Panic(panic) => (Cause::Panic(panic.place), panic.message),
                Caught::Exit(status) => {
                    let message = format!("it exited with status {status}");
                    (Cause::Panic("an exit".into()), message)
                }
            };
            Failure {
                cause,
                message,
                machine: None,
                at: world.now(),
                seed: kept.seed,
            }
        })),
    };
    let run = over(&world, failure);
    world.end();
    run
}

/// What there is to say of a run at its end.
fn over(world: &World, failure: Option<Failure>) -> Run {
    let inner = world.inner();
    let faults = inner.faults.borrow();
    let faults = faults.iter().enumerate().filter(|(_, fault)| fault.kept);
    let machines = inner.machines.borrow();
    let machines = machines.iter().filter(|machine| !machine.outside);
    let console = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Run {
        failure,
        trace: world.trace(),
        consoles: machines
            .map(|machine| (machine.name.clone(), console(&machine.console.borrow())))
            .collect(),
        frames: world.frames(),
        end: world.now(),
        faults: faults.map(|(n, fault)| (n, fault.what.clone())).collect(),
        mishaps: inner.mishaps(),
    }
}

/// Makes a failing run smaller: fewer faults, fewer mishaps, shorter ones.
struct Shrink<'a, S> {
    scenario: &'a S,
    failure: Failure,
    /// The smallest failing run so far, and what it needs.
    kept: Kept,
    run: Run,
    tries: usize,
}

impl<S: Fn(&World)> Shrink<'_, S> {
    fn found(self, passed: usize, source: &str) -> Found {
        let variable = self.kept.to_string();
        Found {
            failure: self.run.failure.clone().unwrap_or(self.failure),
            command: command(&variable, source, std::any::type_name::<S>()),
            variable,
            run: self.run,
            passed,
            tries: self.tries,
        }
    }

    fn all(&mut self) {
        let calm = Kept {
            mishaps: Some(BTreeSet::new()),
            ..self.kept.clone()
        };
        let is_calm = self.attempt(calm);
        let faults: Vec<usize> = self.run.faults.iter().map(|(number, _)| *number).collect();
        self.fewer(faults, &|kept, faults| {
            kept.faults = Some(faults.iter().copied().collect());
        });
        if !is_calm {
            // In a run without some faults other frames are sent: these are the ones that count.
            let mishaps: Vec<Mishap> = self.run.mishaps.iter().map(|(m, _)| m.clone()).collect();
            let before = (self.kept.clone(), self.run.clone());
            self.fewer(mishaps, &|kept, mishaps| {
                kept.mishaps = Some(mishaps.iter().cloned().collect());
            });
            if self
                .kept
                .mishaps
                .as_ref()
                .is_some_and(|m| m.len() > MISHAPS)
            {
                (self.kept, self.run) = before;
            }
        }
        let delays = |mishap: &Mishap| matches!(mishap.kind, Kind::Slow | Kind::Late);
        let mishaps = self.kept.mishaps.as_ref();
        let can_ease =
            !self.run.faults.is_empty() || mishaps.is_none_or(|all| all.iter().any(delays));
        for ease in [10, 6, 4, 3, 2, 1].into_iter().filter(|_| can_ease) {
            let eased = Kept {
                ease,
                ..self.kept.clone()
            };
            if self.attempt(eased) {
                break;
            }
        }
        // The last run of all is the one that is reported: what it wrote to files stays.
        self.run = run(&self.kept, true, self.scenario);
    }

    /// Leaves out as many of `items` as possible: halves, quarters and so on of what is left
    /// (Zeller, Hildebrandt: Simplifying and isolating failure-inducing input, 2002).
    fn fewer<T: Clone>(&mut self, items: Vec<T>, keep: &dyn Fn(&mut Kept, &[T])) {
        let mut items = items;
        let mut size = items.len();
        while size > 0 && !items.is_empty() {
            let mut at = 0;
            let mut dropped = false;
            while at < items.len() {
                let end = (at + size).min(items.len());
                let fewer = [&items[..at], &items[end..]].concat();
                let mut kept = self.kept.clone();
                keep(&mut kept, &fewer);
                if self.attempt(kept) {
                    items = fewer;
                    dropped = true;
                } else {
                    at = end;
                }
            }
            size = match size {
                1 if dropped => 1,
                _ => size / 2,
            };
        }
    }

    /// Whether the run still fails in the same way; then it is the smallest so far.
    fn attempt(&mut self, kept: Kept) -> bool {
        if self.tries >= TRIES {
            return false;
        }
        self.tries += 1;
        let run = run(&kept, true, self.scenario);
        let same = run.failure.as_ref();
        let same = same.is_some_and(|failure| failure.is_like(&self.failure));
        if same {
            (self.kept, self.run) = (kept, run);
        }
        same
    }
}

/// The command line of the test that runs now, in this source file, whose scenario is of this
/// type.
fn command(variable: &str, source: &str, scenario: &str) -> String {
    let krate = scenario.split("::").next().unwrap_or_default();
    let mut command = format!("{VARIABLE}='{variable}' cargo test");
    if let Ok(package) = std::env::var("CARGO_PKG_NAME") {
        command += &format!(" -p {package}");
        let of_its_own = Path::new(source).iter().any(|part| part == "tests");
        command += &match of_its_own {
            true => format!(" --test {krate}"),
            false => " --lib".to_owned(),
        };
    }
    // The test harness names the thread of a test after it, but when it runs all in one.
    let thread = std::thread::current();
    let closure = scenario.split("::{{").next().unwrap_or_default();
    let path = closure.split_once("::").map(|(_, path)| path);
    let test = thread.name().filter(|name| *name != "main").or(path);
    if let Some(test) = test {
        command += &format!(" {test} -- --exact");
    }
    command
}
