//! Each suite catches providers that are wrong on purpose, by the sentence that they break.

mod assets;
mod block;
mod console;
mod counters;
mod entropy;
mod flow;
mod net;
#[path = "../rigs/mod.rs"]
mod rigs;
mod stack;
mod tasks;
mod time;
