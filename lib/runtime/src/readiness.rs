//! Who waits for which device. The platform reports edges; they are kept here until somebody
//! asks, so that none is lost between asking and waiting.

use alloc::vec::Vec;
use core::task::{Context, Poll, Waker};

use mirage_device::platform::{DeviceId, Ready};

#[derive(Clone, Copy)]
pub(crate) enum Direction {
    Input,
    Output,
}

#[derive(Default)]
pub(crate) struct Readiness {
    edges: [u64; 2],
    waiting: Vec<(DeviceId, u8, Waker)>,
}

impl Readiness {
    /// `Ready` when the device became ready since the last such answer; else `cx` is woken when
    /// it does. Takes the place of whoever waited there before.
    pub(crate) fn poll(
        &mut self,
        device: DeviceId,
        direction: Direction,
        cx: &Context<'_>,
    ) -> Poll<()> {
        let bit = 1 << device.0;
        if self.edges[direction as usize] & bit != 0 {
            self.edges[direction as usize] &= !bit;
            return Poll::Ready(());
        }
        let same =
            |(d, way, _): &&mut (DeviceId, u8, Waker)| *d == device && *way == direction as u8;
        match self.waiting.iter_mut().find(same) {
            Some((.., waker)) => waker.clone_from(cx.waker()),
            None => self
                .waiting
                .push((device, direction as u8, cx.waker().clone())),
        }
        Poll::Pending
    }

    /// Whether the device became ready since the last time that [`Readiness::poll`] said so.
    pub(crate) fn edge(&self, device: DeviceId, direction: Direction) -> bool {
        self.edges[direction as usize] & (1 << device.0) != 0
    }

    /// Takes what was reported until now for answered.
    pub(crate) fn forget(&mut self, device: DeviceId, direction: Direction) {
        self.edges[direction as usize] &= !(1 << device.0);
    }

    /// `cx` is woken with everybody else who waits for the device's next edge.
    pub(crate) fn share(&mut self, device: DeviceId, direction: Direction, cx: &Context<'_>) {
        self.waiting
            .push((device, direction as u8, cx.waker().clone()));
    }

    /// Notes what became ready and hands the wakers of those who wait for it to `wake`.
    pub(crate) fn report(&mut self, ready: Ready, mut wake: impl FnMut(Waker)) {
        let fresh = [ready.input, ready.output];
        self.edges[0] |= fresh[0];
        self.edges[1] |= fresh[1];
        if fresh == [0, 0] {
            return;
        }
        let mut index = 0;
        while let Some((device, way, _)) = self.waiting.get(index) {
            if fresh[usize::from(*way)] & (1 << device.0) != 0 {
                wake(self.waiting.swap_remove(index).2);
            } else {
                index += 1;
            }
        }
    }
}
