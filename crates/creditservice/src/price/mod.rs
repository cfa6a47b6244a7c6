//! The price book: what usage costs, per SKU and from a second on. What is published does not change.

pub(crate) mod rest;
pub(crate) mod service;
