use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use mirage_device::{Clock, Sleep, Spawn, Task};
use mirage_sim::World;

use crate::input::Input;

/// What a task does, step by step.
struct Program {
    id: usize,
    steps: Vec<Step>,
}

enum Step {
    Sleep(u64),
    Yield,
    Spawn(Rc<Program>),
    /// These four are about the task started last that still has a handle.
    Await,
    Timeout(u64),
    Cancel,
    Detach,
}

/// Tasks that sleep, start, await, cancel and detach each other: every step happens at the time
/// that arithmetic says, what was cancelled takes no further step, and no future is left behind.
pub fn tasks(input: &[u8]) {
    let mut count = 0;
    let program = Rc::new(read(&mut Input::new(input), &mut count, 0));
    let mut model = Model {
        steps: Vec::new(),
        tied: false,
    };
    model.run(&program, 0, Bounds::CERTAIN);
    if model.tied {
        return;
    }

    let simulation = World::new(0);
    let log = Rc::new(RefCell::new(Vec::new()));
    let held = Rc::new(());
    simulation.block_on(live(simulation.clone(), program, log.clone(), held.clone()));
    simulation.block_on(simulation.sleep(Duration::from_secs(1 << 40)));
    assert_eq!(Rc::strong_count(&held), 1, "a future was left behind");
    simulation.runtime().clear();

    let log = log.borrow();
    assert!(log.is_sorted_by_key(|(.., at)| at), "time went back");
    for (task, step, at, bounds) in &model.steps {
        let times: Vec<u64> = log
            .iter()
            .filter(|(t, s, _)| (t, s) == (task, step))
            .map(|(.., at)| *at)
            .collect();
        match times[..] {
            [] => assert!(
                *at >= bounds.certain,
                "step {step} of task {task} never happened"
            ),
            [seen] => {
                assert_eq!(seen, *at, "step {step} of task {task}");
                assert!(
                    bounds.possible.is_some_and(|end| seen <= end),
                    "task {task} lives on"
                );
            }
            _ => panic!("step {step} of task {task} happened twice"),
        }
    }
    let known =
        |(t, s, _): &(usize, usize, u64)| model.steps.iter().any(|m| (m.0, m.1) == (*t, *s));
    assert!(log.iter().all(known));
}

fn read(input: &mut Input<'_>, count: &mut usize, depth: usize) -> Program {
    let id = *count;
    *count += 1;
    let mut steps = Vec::new();
    while !input.is_empty() && steps.len() < 40 {
        // Of every order of magnitude that the timers tell apart.
        let length = |byte: u8| u64::from(byte & 15) << (u32::from(byte >> 4) * 3);
        steps.push(match input.below(8) {
            0 | 1 => Step::Sleep(length(input.byte())),
            2 => Step::Yield,
            3 if depth < 6 && *count < 60 => Step::Spawn(Rc::new(read(input, count, depth + 1))),
            3 | 4 => Step::Await,
            5 => Step::Timeout(length(input.byte())),
            6 => match input.byte() & 1 {
                0 => Step::Cancel,
                _ => Step::Detach,
            },
            _ => break,
        });
    }
    Program { id, steps }
}

type Log = Rc<RefCell<Vec<(usize, usize, u64)>>>;

fn live(
    simulation: World,
    program: Rc<Program>,
    log: Log,
    held: Rc<()>,
) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        let _held = held.clone();
        let mut handles = Vec::new();
        for (number, step) in program.steps.iter().enumerate() {
            match step {
                Step::Sleep(length) => simulation.sleep(Duration::from_nanos(*length)).await,
                Step::Yield => pause().await,
                Step::Spawn(child) => handles.push(simulation.spawn(live(
                    simulation.clone(),
                    child.clone(),
                    log.clone(),
                    held.clone(),
                ))),
                Step::Await => {
                    if let Some(handle) = handles.pop() {
                        handle.await;
                    }
                }
                Step::Timeout(length) => {
                    if let Some(handle) = handles.pop() {
                        simulation
                            .timeout(Duration::from_nanos(*length), handle)
                            .await;
                    }
                }
                Step::Cancel => drop(handles.pop()),
                Step::Detach => handles.pop().into_iter().for_each(Task::detach),
            }
            let at = simulation.now().as_nanos();
            log.borrow_mut().push((program.id, number, at));
        }
    })
}

/// Lets every other task run once.
async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut paused, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// How long a task lives: its steps before `certain` happen, those after `possible` do not, and
/// of those in between it depends on whose turn it is.
#[derive(Clone, Copy)]
struct Bounds {
    certain: u64,
    /// `None`: it may never have been started.
    possible: Option<u64>,
}

impl Bounds {
    const CERTAIN: Self = Self {
        certain: u64::MAX,
        possible: Some(u64::MAX),
    };

    fn cut(self, other: Self) -> Self {
        Self {
            certain: self.certain.min(other.certain),
            possible: self.possible.min(other.possible),
        }
    }

    fn cut_at(self, at: u64) -> Self {
        self.cut(Self {
            certain: at,
            possible: Some(at),
        })
    }
}

/// When every step happens, without an executor.
struct Model {
    steps: Vec<(usize, usize, u64, Bounds)>,
    /// Two things happen at one time, and which is first decides what happens later.
    tied: bool,
}

/// A task that has a handle.
struct Child {
    program: Rc<Program>,
    started: u64,
}

impl Model {
    /// Notes all steps of a task and of those it starts; when it ends.
    fn run(&mut self, program: &Program, started: u64, bounds: Bounds) -> u64 {
        let mut now = started;
        let mut children: Vec<Child> = Vec::new();
        for (number, step) in program.steps.iter().enumerate() {
            match step {
                Step::Sleep(length) => now += length,
                Step::Yield => {}
                Step::Spawn(child) => {
                    children.push(Child {
                        program: child.clone(),
                        started: now,
                    });
                }
                Step::Await => {
                    if let Some(child) = children.pop() {
                        now = now.max(self.child(&child, bounds, bounds));
                    }
                }
                Step::Timeout(length) => {
                    if let Some(child) = children.pop() {
                        let deadline = now + length;
                        let end = end(&child.program, child.started, &mut self.tied);
                        self.tied |= end == deadline;
                        self.child(&child, bounds, bounds.cut_at(deadline));
                        now = now.max(end.min(deadline));
                    }
                }
                Step::Cancel => {
                    if let Some(child) = children.pop() {
                        self.child(&child, bounds, bounds.cut_at(now));
                    }
                }
                Step::Detach => {
                    if let Some(child) = children.pop() {
                        let fate = Bounds {
                            certain: if now < bounds.certain {
                                u64::MAX
                            } else {
                                bounds.certain
                            },
                            possible: match bounds.possible {
                                Some(end) if now > end => Some(end),
                                _ => Some(u64::MAX),
                            },
                        };
                        self.child(&child, bounds, fate);
                    }
                }
            }
            self.steps.push((program.id, number, now, bounds));
        }
        for child in children {
            self.child(&child, bounds, bounds.cut_at(now));
        }
        now
    }

    /// Notes a child's steps. `parent` says whether it was started at all, `fate` how long it
    /// may live.
    fn child(&mut self, child: &Child, parent: Bounds, fate: Bounds) -> u64 {
        let mut bounds = fate;
        if child.started >= parent.certain {
            bounds.certain = 0;
        }
        if parent.possible.is_none_or(|end| child.started > end) {
            bounds.possible = None;
        }
        self.run(&child.program, child.started, bounds)
    }
}

/// When a task would end if nobody cancelled it.
fn end(program: &Program, started: u64, tied: &mut bool) -> u64 {
    let mut model = Model {
        steps: Vec::new(),
        tied: false,
    };
    let end = model.run(program, started, Bounds::CERTAIN);
    *tied |= model.tied;
    end
}
