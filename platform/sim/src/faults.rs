//! Faults as a plan: drawn from the seed, each with a beginning and an end, so that a failing run
//! shrinks by leaving some of them out.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use mirage_device::Instant;

use crate::dice::{Purpose, below};
use crate::disk::Disk;
use crate::machine::Machine;
use crate::network::{Network, Weather, nanos};
use crate::world::World;

/// What may go wrong, and how often at most: how often, when and how long follows from the seed.
/// Hand it to [`World::plan`].
///
/// Every fault ends by itself, at the end of the time at the latest: what the system does
/// afterwards can be relied on. One lasts a quarter of the time at most.
pub struct Faults {
    from: Duration,
    until: Duration,
    kinds: Vec<(usize, Kind)>,
}

enum Kind {
    Partition(Network),
    Storm(Network),
    Cut(Vec<Machine>),
    Kill(Vec<Machine>),
    Pause(Vec<Machine>),
    WallJump(Vec<Machine>),
    DiskErrors(Disk),
}

/// A fault as it was drawn.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    /// What happens, with its times.
    pub what: String,
    /// Whether it is left in the run.
    pub kept: bool,
}

type Act = Box<dyn FnOnce(&World)>;

impl Faults {
    /// Faults that begin after `from` and are over at `until`, in the world's time.
    pub fn between(from: Duration, until: Duration) -> Self {
        Self {
            from,
            until,
            kinds: Vec::new(),
        }
    }

    /// The network falls into two parts, `most` times at most.
    #[must_use]
    pub fn partitions(self, network: &Network, most: usize) -> Self {
        self.and(most, Kind::Partition(network.clone()))
    }

    /// The network has the weather [`Weather::STORM`] for a while.
    #[must_use]
    pub fn storms(self, network: &Network, most: usize) -> Self {
        self.and(most, Kind::Storm(network.clone()))
    }

    /// A machine loses its power, and starts again when the fault ends.
    #[must_use]
    pub fn cuts(self, machines: &[&Machine], most: usize) -> Self {
        self.and(most, Kind::Cut(cloned(machines)))
    }

    /// A machine is killed, and starts again when the fault ends; its disks lose nothing.
    #[must_use]
    pub fn kills(self, machines: &[&Machine], most: usize) -> Self {
        self.and(most, Kind::Kill(cloned(machines)))
    }

    /// A machine is suspended for a while.
    #[must_use]
    pub fn pauses(self, machines: &[&Machine], most: usize) -> Self {
        self.and(most, Kind::Pause(cloned(machines)))
    }

    /// A machine's wall clock jumps by up to an hour, in either direction.
    #[must_use]
    pub fn wall_jumps(self, machines: &[&Machine], most: usize) -> Self {
        self.and(most, Kind::WallJump(cloned(machines)))
    }

    /// One in five operations of the disk fails for a while.
    #[must_use]
    pub fn disk_errors(self, disk: &Disk, most: usize) -> Self {
        self.and(most, Kind::DiskErrors(disk.clone()))
    }

    fn and(mut self, most: usize, kind: Kind) -> Self {
        self.kinds.push((most, kind));
        self
    }
}

fn cloned(machines: &[&Machine]) -> Vec<Machine> {
    machines.iter().map(|machine| (*machine).clone()).collect()
}

/// The choices of one fault, one after the other.
struct Draw<'a> {
    world: &'a World,
    fault: u64,
    count: Cell<u64>,
}

impl Draw<'_> {
    fn below(&self, bound: u64) -> u64 {
        let count = self.count.replace(self.count.get() + 1);
        let dice = self.world.inner().dice;
        below(dice.roll(Purpose::Plan, self.fault, count), bound)
    }

    fn one_of<'m>(&self, machines: &'m [Machine]) -> Option<&'m Machine> {
        machines.get(self.below(machines.len() as u64) as usize)
    }
}

impl World {
    /// Draws faults from the seed and lets them happen. Returns at once.
    pub fn plan(&self, faults: &Faults) {
        let span = nanos(faults.until.saturating_sub(faults.from));
        for (most, kind) in &faults.kinds {
            let draw = |fault| Draw {
                world: self,
                fault,
                count: Cell::new(0),
            };
            let first = self.inner().faults.borrow().len() as u64;
            let count = draw(!first).below(*most as u64 + 1);
            for number in 0..*most as u64 {
                // Those that do not happen have a number too, so that numbers stay.
                let draw = draw(first + number);
                let begin = draw.below(span);
                let longest = (span / 4).min(span - begin);
                let length = self.inner().ease(draw.below(longest)).max(1);
                let begin = Instant::ZERO + faults.from + Duration::from_nanos(begin);
                let end = begin + Duration::from_nanos(length);
                let drawn = (number < count).then(|| kind.draw(&draw)).flatten();
                let Some((what, start, stop)) = drawn else {
                    self.add(String::new(), false);
                    continue;
                };
                if self.add(format!("{begin} s to {end} s: {what}"), true) {
                    self.at(begin, start);
                    self.at(end, stop);
                }
            }
        }
    }

    /// Writes a fault down; whether it is left in the run.
    fn add(&self, what: String, happens: bool) -> bool {
        let inner = self.inner();
        let mut faults = inner.faults.borrow_mut();
        let chosen = inner.kept.faults.as_ref();
        let kept = happens && chosen.is_none_or(|chosen| chosen.contains(&faults.len()));
        faults.push(Planned { what, kept });
        kept
    }
}

impl Kind {
    /// A fault of this kind: in words, its beginning and its end. `None` without a machine.
    fn draw(&self, draw: &Draw<'_>) -> Option<(String, Act, Act)> {
        let nothing = || -> Act { Box::new(|_| {}) };
        Some(match self {
            Self::Partition(network) => {
                let members = network.machines();
                let mut side: Vec<Machine> = members
                    .iter()
                    .filter(|_| draw.below(2) == 1)
                    .cloned()
                    .collect();
                if side.is_empty() || side.len() == members.len() {
                    side = vec![draw.one_of(&members)?.clone()];
                }
                let names: Vec<&str> = side.iter().map(Machine::name).collect();
                let what = format!(
                    "network `{}` is split: {} | the others",
                    network.state.name,
                    names.join(" ")
                );
                let (split, whole) = (network.clone(), network.clone());
                let start = move |_: &World| {
                    split.partition(&[&side.iter().collect::<Vec<_>>()]);
                };
                (what, Box::new(start), Box::new(move |_| whole.heal()))
            }
            Self::Storm(network) => {
                let (stormy, calm, before) = (network.clone(), network.clone(), network.weather());
                (
                    format!("storm on network `{}`", network.state.name),
                    Box::new(move |_| stormy.set_weather(Weather::STORM)),
                    Box::new(move |_| calm.set_weather(before)),
                )
            }
            Self::Cut(machines) => outage("power cut of", draw.one_of(machines)?, Machine::cut),
            Self::Kill(machines) => outage("end of", draw.one_of(machines)?, Machine::stop),
            Self::Pause(machines) => {
                let machine = draw.one_of(machines)?;
                let (pause, unpause) = (machine.clone(), machine.clone());
                (
                    format!("machine `{}` is suspended", machine.name()),
                    Box::new(move |_| pause.pause()),
                    Box::new(move |_| unpause.unpause()),
                )
            }
            Self::WallJump(machines) => {
                let machine = draw.one_of(machines)?.clone();
                let by = draw.below(nanos(Duration::from_secs(3600)));
                let by = Duration::from_nanos(draw.world.inner().ease(by));
                let back = draw.below(2) == 1;
                let way = if back { "back" } else { "forwards" };
                (
                    format!(
                        "the wall clock of `{}` jumps {way} by {by:?}",
                        machine.name()
                    ),
                    Box::new(move |_| machine.jump_wall(by, back)),
                    nothing(),
                )
            }
            Self::DiskErrors(disk) => {
                let (bad, good, before) = (disk.clone(), disk.clone(), disk.medium());
                let mut failing = before;
                failing.errors = 0.2;
                (
                    format!("disk `{}` fails now and then", disk.state.name),
                    Box::new(move |_| bad.set_medium(failing)),
                    Box::new(move |_| good.set_medium(before)),
                )
            }
        })
    }
}

/// The machine ends, and starts again, unless it had ended by itself or something else has
/// started it.
fn outage(what: &str, machine: &Machine, end: fn(&Machine)) -> (String, Act, Act) {
    let (down, up) = (machine.clone(), machine.clone());
    let was_on = Rc::new(Cell::new(false));
    let ended = was_on.clone();
    (
        format!("{what} machine `{}`", machine.name()),
        Box::new(move |_| {
            was_on.set(down.is_on());
            if down.is_on() {
                end(&down);
            }
        }),
        Box::new(move |_| {
            if ended.get() && !up.is_on() {
                up.restart();
            }
        }),
    )
}
