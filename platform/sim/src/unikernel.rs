//! A unikernel as it is generated: its devices, its keys and its main function.

use std::pin::Pin;
use std::rc::Rc;

use log::LevelFilter;
use mirage_keys::{KeySpec, Keys};
use mirage_manifest::Device;
use mirage_runtime::{Failure, Runtime};

use crate::logger::Log;
use crate::machine::{Driver, Refused, State, drive};
use crate::platform::Sim;

/// The command line is wrong.
const USAGE: u8 = 2;

/// A main function that runs.
pub(crate) type Ended = Pin<Box<dyn Future<Output = Result<(), Failure>>>>;
type MainFunction = dyn Fn(Runtime<Sim>, Keys<'static>) -> Ended;

/// A unikernel that [`unikernel!`](crate::unikernel!) describes, for [`Builder::boot`].
///
/// [`Builder::boot`]: crate::Builder::boot
#[derive(Clone)]
pub struct Unikernel {
    pub(crate) devices: &'static [Device<'static>],
    keys: &'static [KeySpec<'static>],
    main: Rc<MainFunction>,
}

impl Unikernel {
    /// Describes a unikernel; `main` is called at each start.
    pub fn new<M, F>(
        devices: &'static [Device<'static>],
        keys: &'static [KeySpec<'static>],
        main: M,
    ) -> Self
    where
        M: Fn(Runtime<Sim>, Keys<'static>) -> F + 'static,
        F: Future<Output = Result<(), Failure>> + 'static,
    {
        Self {
            devices,
            keys,
            main: Rc::new(move |runtime, keys| Box::pin(main(runtime, keys))),
        }
    }

    /// Starts it as an image starts itself.
    pub(crate) fn start(&self, machine: &State, sim: Sim) -> Result<Box<dyn Driver>, Refused> {
        let runtime = Runtime::new(sim);
        let keys = Keys::parse(self.keys, machine.words.iter().copied())
            .map_err(|error| Refused(USAGE, error.to_string()))?;
        let level = keys.log().parse().unwrap_or(LevelFilter::Info);
        machine.level.set(level);
        machine.log.replace(Some(Rc::new(Log::new(&runtime))));
        let main = (self.main)(runtime.clone(), keys);
        Ok(drive(runtime, main))
    }
}

/// A [`Unikernel`] of the very shape that the tool generates for an image.
///
/// - `devices`: name and [`Kind`](mirage_manifest::Kind) of each, in the order of their numbers.
/// - `keys`: name, [`KeyType`](mirage_keys::KeyType), default, whether it is required,
///   and what it is for.
/// - `main`: `Fn(Runtime<Sim>, Keys<'static>) -> impl Future<Output = Result<(), Failure>>`.
///
/// ```
/// use mirage_device::Console as _;
/// use mirage_sim::{World, unikernel};
///
/// let greeter = unikernel! {
///     devices: [],
///     keys: [("name", String, Some("world"), false, "Whom to greet")],
///     main: |runtime, keys| async move {
///         let name: &str = runtime.check("name", keys.get("name"))?;
///         let console = mirage_runtime::Console::new(runtime.clone());
///         runtime.finish(console.write(format!("hello {name}\n").as_bytes()))
///     },
/// };
/// let world = World::new(1);
/// let machine = world.machine("greeter").argument("name=Ada").boot(&greeter);
/// world.run_for(core::time::Duration::from_secs(1));
/// assert_eq!(machine.console(), "hello Ada\n");
/// assert_eq!(machine.status(), Some(0));
/// ```
#[macro_export]
macro_rules! unikernel {
    (
        devices: [$(($device:expr, $kind:ident)),* $(,)?],
        keys: [$(($key:expr, $type:ident, $default:expr, $required:expr, $doc:expr $(,)?)),* $(,)?],
        main: $main:expr $(,)?
    ) => {{
        const DEVICES: &[$crate::macro_support::Device<'static>] = &[$(
            $crate::macro_support::Device::new($crate::macro_support::Kind::$kind, $device)
        ),*];
        const KEYS: &[$crate::macro_support::KeySpec<'static>] = &[$(
            $crate::macro_support::KeySpec {
                name: $key,
                kind: $crate::macro_support::KeyType::$type,
                default: $default,
                required: $required,
                doc: $doc,
            }
        ),*];
        // Not every `main` needs both parameters.
        #[allow(unused_variables)]
        let unikernel = $crate::Unikernel::new(DEVICES, KEYS, $main);
        unikernel
    }};
}
