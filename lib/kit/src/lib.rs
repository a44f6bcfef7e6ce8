//! One dependency for a unikernel.
//!
//! [`device`] has the interfaces that an application is written against, [`log`] the logging
//! facade. What provides the interfaces is not linked here: this crate's Cargo.toml lists the
//! default providers and platforms where the `mirage` tool finds them, and an application that
//! wants others names them in its own.
//!
//! ```
//! use mirage_kit::device::Console;
//!
//! /// The main function of a unikernel: `main = "greeter::main(console)"` in its Cargo.toml.
//! pub async fn main_(console: impl Console) {
//!     console.write(b"hello\n");
//! }
//! ```

#![no_std]
#![forbid(unsafe_code)]

pub use log;
pub use mirage_device as device;
