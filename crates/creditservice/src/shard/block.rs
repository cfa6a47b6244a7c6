//! A block: what one group of commands wrote, chained to the block before by its hash.
//!
//! ```text
//!   {"v":1,"shard":7,"block":12,"epoch":3,"at":…,"prev":"<hash of block 11>","entries":[…]}
//!      hash = SHA-256 of these bytes, in the head and in block 13
//! ```
//! An altered, missing or foreign block is noticed by whoever reads the chain.

use creditservice_ledger::{Entry, Shard, Time};
use photon_store::Error;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{
    layout,
    raw::RawStore,
    stored::{self, Head},
};

/// What the first block has for the one before.
pub(crate) const FIRST_PREV: &str = "";

/// A block as it is read.
#[derive(Debug, Deserialize)]
pub(crate) struct Block {
    pub(crate) shard: Shard,
    pub(crate) block: u64,
    /// The hash of the block before.
    pub(crate) prev: String,
    pub(crate) entries: Vec<Entry>,
}

/// Where a block belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) shard: Shard,
    pub(crate) block: u64,
    /// That of the owner who writes it.
    pub(crate) epoch: u64,
    /// The time of its last entry.
    pub(crate) at: Time,
    /// The hash of the block before.
    pub(crate) prev: &'a str,
}

/// A block's bytes. Its entries are JSON already: they were written one by one, to know how long they are.
pub(crate) fn encode(place: &Place<'_>, entries: &[u8]) -> Vec<u8> {
    let Place {
        shard,
        block,
        epoch,
        at,
        prev,
    } = place;
    let mut bytes = format!(
        r#"{{"v":1,"shard":{},"block":{block},"epoch":{epoch},"at":{},"prev":"{prev}","entries":"#,
        shard.number(),
        at.micros(),
    )
    .into_bytes();
    bytes.extend_from_slice(entries);
    bytes.push(b'}');
    bytes
}

/// Reads a block by its number, without looking at the chain.
pub(crate) async fn read<S: RawStore>(
    store: &S,
    shard: Shard,
    number: u64,
) -> Result<Block, Error> {
    let key = layout::block(shard, number);
    let Some(entry) = store.read(&key).await? else {
        return Err(Error::Corrupt {
            key,
            reason: "a block of the journal is missing".to_owned(),
        });
    };
    stored::read(&entry)
}

/// SHA-256 of a block's bytes, in hexadecimal.
pub(crate) fn hash(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where a chain of blocks stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) block: u64,
    pub(crate) hash: String,
}

impl Link {
    /// Before the first block.
    pub(crate) fn start() -> Self {
        Self {
            block: 0,
            hash: FIRST_PREV.to_owned(),
        }
    }

    /// The block that a head names.
    pub(crate) fn of(head: &Head) -> Self {
        Self {
            block: head.block,
            hash: head.hash.clone(),
        }
    }

    /// Reads the block that follows, and stands there.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it does not follow; [`Error::TooNew`].
    pub(crate) fn follow(&mut self, shard: Shard, key: &str, bytes: &[u8]) -> Result<Block, Error> {
        let block: Block = stored::decode(key, bytes)?;
        let expected = self.block + 1;
        let broken = if key != layout::block(shard, expected) || block.block != expected {
            Some(format!("block {expected} was expected here"))
        } else if block.shard != shard {
            Some(format!("it is of shard {}", block.shard.number()))
        } else if block.prev != self.hash {
            Some("it does not follow the block before: the journal was altered".to_owned())
        } else {
            None
        };
        if let Some(reason) = broken {
            return Err(Error::Corrupt {
                key: key.to_owned(),
                reason,
            });
        }
        *self = Self {
            block: expected,
            hash: hash(bytes),
        };
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn written(shard: u16, number: u64, prev: &str) -> Vec<u8> {
        let entry = r#"[{"seq":1,"at":5,"what":"adjustment"}]"#;
        let place = Place {
            shard: Shard::new(shard).unwrap(),
            block: number,
            epoch: 3,
            at: Time::from_micros(5),
            prev,
        };
        encode(&place, entry.as_bytes())
    }

    #[test]
    fn blocks_are_a_chain() {
        let shard = Shard::new(7).unwrap();
        let mut link = Link::start();
        let first = written(7, 1, FIRST_PREV);
        let read = link
            .follow(shard, &layout::block(shard, 1), &first)
            .unwrap();
        assert_eq!((read.entries.len(), read.entries[0].seq), (1, 1));
        assert_eq!(link.hash, hash(&first));
        let second = written(7, 2, &link.hash);
        let at = layout::block(shard, 2);
        for (bad, why) in [
            (written(7, 2, FIRST_PREV), "does not follow"),
            (written(7, 3, &link.hash), "expected here"),
            (written(8, 2, &link.hash), "of shard 8"),
            (b"{}".to_vec(), "missing field"),
            (
                String::from_utf8(second.clone())
                    .unwrap()
                    .replace("\"v\":1", "\"v\":2")
                    .into_bytes(),
                "version 2",
            ),
        ] {
            let mut here = link.clone();
            let refused = here.follow(shard, &at, &bad).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
            assert_eq!(here, link);
        }
        let elsewhere = layout::block(shard, 3);
        assert!(link.clone().follow(shard, &elsewhere, &second).is_err());
        link.follow(shard, &at, &second).unwrap();
        assert_eq!(link.block, 2);
    }
}
