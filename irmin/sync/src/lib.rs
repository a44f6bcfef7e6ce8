//! Clone, fetch and push between Irmin stores and Git servers.
//!
//! What both sides share, without files and sockets: Git's packets ([`pktline`]), what a server says
//! first ([`advertisement`], [`capabilities`]), and what one store has and another lacks ([`walk`]).
//! The server's side ([`server`]) is made of them.

#![forbid(unsafe_code)]

pub mod advertisement;
pub mod capabilities;
mod client;
mod error;
pub mod pktline;
mod refspec;
pub mod server;
mod text;
pub mod transport;
pub mod walk;

pub use client::{
    CloneOptions, Cloned, Depth, FetchOptions, Fetched, FetchedRef, Listing, OnProgress, Progress,
    PullError, Pulled, PushOptions, PushStatus, Pushed, PushedRef, RefMove, RefStatus, Remote,
    Tags, pull,
};
pub use error::SyncError;
pub use refspec::Refspec;
pub use text::{clean, unescaped, without_secrets};
