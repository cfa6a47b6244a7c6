//! What every crate of the suite agrees on: the one error type with its code table, ids, names and page tokens.
//!
//! Pure: no I/O, no runtime, no clock but the one inside UUIDv7 generation.

#![warn(missing_docs)]

pub mod error;
pub mod id;
pub mod label;
pub mod name;
pub mod page;

pub use error::{Code, Error};
pub use id::{Id, Kind};
pub use label::Label;
pub use name::Name;
pub use page::PageToken;
