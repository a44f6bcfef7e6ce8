//! The bytes on disk: headers of segments, records, indexes, names. The crate's front page has the
//! tables.

mod header;
mod listed;
mod numbers;
mod place;
mod record;

pub use header::*;
pub use listed::*;
pub use numbers::*;
pub use place::*;
pub use record::*;
