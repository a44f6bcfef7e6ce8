//! The tool as its users see it: commands, messages and exit statuses.

mod bad_input;
mod fresh;
mod new;
mod process;
mod run;
mod world;
