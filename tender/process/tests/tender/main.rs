//! The real program starts real images.
//!
//! Each test runs as root and as an ordinary user alike. One that cannot run here says so on the
//! standard error stream, where the harness does not swallow it.

mod calls;
mod command_line;
mod confinement;
mod corrupt;
mod devices;
mod probe;
mod taps;
