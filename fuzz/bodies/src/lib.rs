//! What the fuzz targets do with an input.
//!
//! Each body takes any bytes and panics when something that must hold does not: an answer that
//! an independent reading of the same bytes contradicts, a frame that is not well-formed, a
//! connection that no longer works. The targets in `fuzz/targets` hand them to libFuzzer; the
//! test of this crate runs the very same on stable Rust, over the checked-in corpus and random
//! changes of it.

#![forbid(unsafe_code)]

mod arguments;
mod assets;
mod counters;
mod disk;
mod dns;
mod elf;
mod files;
mod gateway;
mod git_client;
mod git_server;
mod http;
mod input;
mod keys;
mod lan;
mod manifest;
mod objects;
mod packet;
mod packfile;
mod recording;
mod segments;
mod stack;
mod tasks;
mod words;

pub use arguments::arguments;
pub use assets::assets;
pub use counters::counters;
pub use disk::disk;
pub use dns::dns;
pub use elf::elf;
pub use files::files;
pub use gateway::gateway;
pub use git_client::git_client;
pub use git_server::git_server;
pub use http::{http_client, http_server};
pub use keys::keys;
pub use manifest::manifest;
pub use objects::objects;
pub use packfile::packfile;
pub use recording::recording;
pub use segments::segments;
pub use stack::stack;
pub use tasks::tasks;
pub use words::words;

/// A body: it takes any bytes, and panics when something does not hold.
pub type Body = fn(&[u8]);

/// Every body with its name, which is its target's and its corpus's too.
pub const BODIES: [(&str, Body); 21] = [
    ("arguments", arguments),
    ("assets", assets),
    ("counters", counters),
    ("disk", disk),
    ("dns", dns),
    ("elf", elf),
    ("files", files),
    ("gateway", gateway),
    ("git_client", git_client),
    ("git_server", git_server),
    ("http_client", http_client),
    ("http_server", http_server),
    ("keys", keys),
    ("manifest", manifest),
    ("objects", objects),
    ("packfile", packfile),
    ("recording", recording),
    ("segments", segments),
    ("stack", stack),
    ("tasks", tasks),
    ("words", words),
];
