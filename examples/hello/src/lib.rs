//! Says hello on the console: the smallest unikernel.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::String;

use mirage_kit::device::Console;

/// The keys that Cargo.toml declares.
pub struct Keys {
    /// Whom to greet.
    pub name: String,
}

/// Greets, and ends.
pub async fn main(console: impl Console, keys: Keys) {
    console.write(format!("Hello, {}!\n", keys.name).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::rc::Rc;
    use alloc::vec::Vec;
    use core::cell::RefCell;
    use core::pin::pin;
    use core::task::{Context, Poll, Waker};

    #[derive(Clone, Default)]
    struct Page(Rc<RefCell<Vec<u8>>>);

    impl Console for Page {
        fn write(&self, bytes: &[u8]) {
            self.0.borrow_mut().extend_from_slice(bytes);
        }
    }

    #[test]
    fn it_greets_whom_the_key_names() {
        let page = Page::default();
        let main = pin!(main(page.clone(), Keys { name: "Ada".into() }));
        assert_eq!(
            main.poll(&mut Context::from_waker(Waker::noop())),
            Poll::Ready(())
        );
        assert_eq!(*page.0.borrow(), b"Hello, Ada!\n");
    }
}
