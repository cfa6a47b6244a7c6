//! Keys and values of the load.

use std::sync::Arc;

use rand::{Rng, RngCore};

/// Size of a value unless another is asked for, in bytes.
pub(crate) const VALUE_BYTES: usize = 256;
/// Keys that throughput measures spread over.
pub(crate) const KEYS: u64 = 10_000;

/// A numbered set of keys under one prefix, in key order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeySpace {
    /// Common beginning of all keys.
    pub(crate) prefix: &'static str,
    /// How many there are.
    pub(crate) count: u64,
}

impl KeySpace {
    /// Key number `index`.
    pub(crate) fn key(&self, index: u64) -> Vec<u8> {
        format!("{}{index:010}", self.prefix).into_bytes()
    }

    /// Any of the keys.
    pub(crate) fn any(&self) -> Vec<u8> {
        self.key(rand::rng().random_range(0..self.count))
    }

    /// The first key after all of them.
    pub(crate) fn end(&self) -> Vec<u8> {
        self.key(self.count)
    }
}

/// Values that do not compress: slices of one random block.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    block: Arc<[u8]>,
    bytes: usize,
}

impl Values {
    /// Values of `bytes` bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let mut block = vec![0; bytes + 64 * 1024];
        rand::rng().fill_bytes(&mut block);
        Self {
            block: block.into(),
            bytes,
        }
    }

    /// Any value.
    pub(crate) fn any(&self) -> Vec<u8> {
        let from = rand::rng().random_range(0..self.block.len() - self.bytes);
        self.block[from..from + self.bytes].to_vec()
    }
}
