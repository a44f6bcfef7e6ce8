//! The clocks of the host, through the vDSO where there is one (23 ns rather than 167).

use core::mem::transmute;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

use mirage_device::Instant;

use crate::syscall::{Timespec, clock_gettime};

const REALTIME: i32 = 0;
const MONOTONIC: i32 = 1;

/// The address of the vDSO's `clock_gettime`; 0 stands for the system call.
static VDSO: AtomicUsize = AtomicUsize::new(0);

/// Uses the vDSO's function at this address from now on.
///
/// # Safety
///
/// The function there has the signature of clock_gettime(2) and stays.
pub(crate) unsafe fn use_vdso(function: usize) {
    VDSO.store(function, Ordering::Relaxed);
}

/// The monotonic clock. Returns at once.
pub fn now() -> Instant {
    let nanos = u64::try_from(read(MONOTONIC).as_nanos()).unwrap_or(u64::MAX);
    Instant::from_nanos(nanos)
}

/// The wall clock: time since 1970 UTC.
pub(crate) fn wall() -> Duration {
    read(REALTIME)
}

/// Both clocks exist on every Linux; a clock that fails all the same stands at zero.
fn read(clock: i32) -> Duration {
    let mut time = Timespec::default();
    match VDSO.load(Ordering::Relaxed) {
        0 => {
            let _ = clock_gettime(clock, &mut time);
        }
        function => {
            // SAFETY: `use_vdso` was promised a function of this signature.
            let function: extern "C" fn(i32, *mut Timespec) -> i32 = unsafe { transmute(function) };
            function(clock, &raw mut time);
        }
    }
    let nanos = u32::try_from(time.nanos).unwrap_or(0);
    Duration::new(u64::try_from(time.seconds).unwrap_or(0), nanos)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::vdso;

    #[test]
    fn the_vdso_and_the_system_call_show_the_same_clock() {
        let auxv = std::fs::read("/proc/self/auxv").unwrap();
        let base = auxv
            .chunks_exact(16)
            .map(|pair| {
                [&pair[..8], &pair[8..]].map(|w| usize::from_ne_bytes(w.try_into().unwrap()))
            })
            .find_map(|[key, value]| (key == 33).then_some(value))
            .unwrap();
        let before = now();
        // SAFETY: the kernel mapped its vDSO there.
        let function = unsafe { vdso::function(base, b"__vdso_clock_gettime") }.unwrap();
        // SAFETY: this is that function.
        unsafe { use_vdso(function) };
        let between = now();
        VDSO.store(0, Ordering::Relaxed);
        let after = now();
        assert!(before <= between && between <= after);
        assert!(after - before < Duration::from_secs(60));
        let host = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        assert!(host.abs_diff(wall()) < Duration::from_secs(60));
        // SAFETY: as above.
        assert_eq!(unsafe { vdso::function(base, b"__vdso_nonsense") }, None);
    }
}
