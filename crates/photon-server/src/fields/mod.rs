//! Reading typed values out of JSON, query strings and configuration so that an error names the field.
//!
//! serde's own formats report a missing or unknown field as prose. Here the input becomes a [`Tree`], and
//! the [`reader`] over it has an error type of its own ([`FieldError`]) which keeps the path and the kind of
//! the problem apart, so that nothing is ever matched out of a message.

mod error;
mod reader;
mod tree;

pub(crate) use error::{FieldError, Step};
pub(crate) use reader::{Unknown, read};
pub(crate) use tree::Tree;
