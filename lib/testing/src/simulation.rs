use std::cell::Cell;
use std::task::Poll;
use std::time::Duration;

use mirage_device::platform::{BlockOperation, DeviceEntry, DeviceId, Ready, Ticket};
use mirage_device::{
    BlockError, BlockInfo, Clock, EntropyError, Instant, NetError, NetInfo, Platform, Received,
    Sleep, Spawn, Transmit, Wall,
};
use mirage_runtime::{JoinHandle, Runtime, Spawner, Timer};

/// A runtime on simulated time; a clone is another handle on it.
///
/// It is the `spawn`, `sleep`, `clock` and `wall` device of a test. Time stands still while any
/// task can run and then jumps to the next deadline.
#[derive(Clone)]
pub struct Simulation(Runtime<World>);

impl Default for Simulation {
    fn default() -> Self {
        Self(Runtime::new(World::default()))
    }
}

impl Simulation {
    /// A runtime with no task, its clock at zero and no wall clock.
    pub fn new() -> Self {
        Self::default()
    }

    /// The runtime itself, for what is made with one.
    pub fn runtime(&self) -> &Runtime<World> {
        &self.0
    }

    /// Sets the wall clock: the time since 1970 at the start of the monotonic clock.
    pub fn set_wall(&self, at_start: Option<Duration>) {
        self.0.platform().wall.set(at_start);
    }

    /// Lets time pass without running anything.
    pub fn advance(&self, by: Duration) {
        self.0.platform().now.set(self.now() + by);
    }

    /// Runs `future` and every task until `future` is done; the tasks stay for the next call.
    ///
    /// # Panics
    /// When every task waits and no timer is armed: nothing could ever happen again.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}

impl Clock for Simulation {
    fn now(&self) -> Instant {
        self.0.platform().now.get()
    }
}

impl Wall for Simulation {
    fn wall(&self) -> Option<Duration> {
        self.0.platform().wall()
    }
}

impl Sleep for Simulation {
    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> + use<> + 'static {
        Timer::new(self.0.clone()).sleep_until(deadline)
    }
}

impl Spawn for Simulation {
    type Task<T: 'static> = JoinHandle<World, T>;

    fn spawn<F: Future + 'static>(&self, future: F) -> JoinHandle<World, F::Output> {
        Spawner::new(self.0.clone()).spawn(future)
    }
}

/// A platform with clocks and nothing else.
#[derive(Debug, Default)]
pub struct World {
    now: Cell<Instant>,
    wall: Cell<Option<Duration>>,
}

impl Platform for World {
    fn now(&self) -> Instant {
        self.now.get()
    }

    fn wall(&self) -> Option<Duration> {
        Some(self.wall.get()? + (self.now.get() - Instant::ZERO))
    }

    fn entropy(&self, _: &mut [u8]) -> Result<(), EntropyError> {
        Err(EntropyError::NoSource)
    }

    fn console(&self, bytes: &[u8]) {
        print!("{}", String::from_utf8_lossy(bytes));
    }

    fn arguments(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }

    fn devices(&self) -> impl Iterator<Item = DeviceEntry<'_>> {
        std::iter::empty()
    }

    fn net_info(&self, device: DeviceId) -> NetInfo {
        none(device)
    }

    fn net_receive(&self, device: DeviceId, _: &mut [u8]) -> Result<Option<Received>, NetError> {
        none(device)
    }

    fn net_send(&self, device: DeviceId, _: &[u8], _: Transmit) -> Result<(), NetError> {
        none(device)
    }

    fn block_info(&self, device: DeviceId) -> BlockInfo {
        none(device)
    }

    fn block(
        &self,
        device: DeviceId,
        _: &mut Ticket,
        _: BlockOperation<'_, '_>,
    ) -> Poll<Result<(), BlockError>> {
        none(device)
    }

    fn wait(&self, deadline: Option<Instant>) -> Ready {
        let Some(deadline) = deadline else {
            panic!("every task waits and no timer is armed");
        };
        self.now.set(self.now.get().max(deadline));
        Ready::default()
    }

    fn exit(&self, status: u8) -> ! {
        panic!("the unikernel exited with status {status}")
    }
}

fn none(device: DeviceId) -> ! {
    panic!("{device:?}: a simulation has no attached devices")
}

#[cfg(test)]
mod tests {
    use super::*;
    use mirage_device::Task;
    use std::cell::RefCell;
    use std::rc::Rc;

    #[test]
    fn sleeping_tasks_wake_in_the_order_of_their_deadlines() {
        let simulation = Simulation::new();
        let order = Rc::new(RefCell::new(Vec::new()));
        for seconds in [3, 1, 2] {
            let (clock, order) = (simulation.clone(), order.clone());
            let task = async move {
                clock.sleep(Duration::from_secs(seconds)).await;
                order.borrow_mut().push((seconds, clock.now().as_nanos()));
            };
            simulation.spawn(task).detach();
        }
        simulation.block_on(simulation.sleep(Duration::from_secs(5)));
        let second = 1_000_000_000;
        assert_eq!(
            *order.borrow(),
            [(1, second), (2, 2 * second), (3, 3 * second)]
        );
    }

    #[test]
    fn dropping_a_handle_drops_the_task() {
        let simulation = Simulation::new();
        let witness = Rc::new(());
        let held = witness.clone();
        let task = simulation.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        simulation.block_on(simulation.sleep(Duration::from_secs(1)));
        assert_eq!(Rc::strong_count(&witness), 2);
        drop(task);
        assert_eq!(Rc::strong_count(&witness), 1);
    }

    #[test]
    #[should_panic(expected = "every task waits and no timer is armed")]
    fn a_deadlock_panics_instead_of_hanging() {
        Simulation::new().block_on(std::future::pending::<()>());
    }
}
