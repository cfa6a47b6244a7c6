//! The rules of a namespace as they were seen last, and the number by which the kernel tells whether they still are so.
//!
//! Listing them takes tens of milliseconds where a few hundred ports are. The kernel counts its transactions of nftables, in
//! each namespace by itself: as long as the number is the one it was, nobody has changed anything. After a transaction of our
//! own that is the only one since, what was seen and what was done make what is there.

use std::io;

use rtnetlink::sys::Socket;

use super::{
    Error,
    netfilter::{FAMILY, NLMSG_ERROR, attributes, message, messages, open, outcome},
    nft,
};
use crate::ruleset::{RuleChange, Ruleset};

/// `NFNL_SUBSYS_NFTABLES << 8`, with `NFT_MSG_NEWGEN` and `NFT_MSG_GETGEN`.
const NEW_GENERATION: u16 = (10 << 8) | 15;
const GET_GENERATION: u16 = (10 << 8) | 16;
/// `NFTA_GEN_ID`.
const NUMBER: u16 = 1;

/// Which rules are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Ours of both families, in a namespace that is ours.
    All,
    /// Ours of the ip family, without a look at what else there is: a host's own rules may be many.
    Ip,
}

/// Of the namespace of the thread that opened it.
#[derive(Debug)]
pub struct SeenRules {
    scope: Scope,
    kernel: Socket,
    /// With the kernel's number then.
    last: Option<(u32, Ruleset)>,
    /// How often they were listed.
    listed: u64,
}

impl SeenRules {
    /// Nothing is seen yet.
    ///
    /// # Errors
    /// No socket.
    pub fn open(scope: Scope) -> Result<Self, Error> {
        Ok(Self {
            scope,
            kernel: open().map_err(|error| Error::system("netfilter", error))?,
            last: None,
            listed: 0,
        })
    }

    /// The next look lists them, whatever the number says.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// How often they were listed, and not known by their number.
    #[must_use]
    pub fn listed(&self) -> u64 {
        self.listed
    }

    /// What is there.
    ///
    /// # Errors
    /// What cannot be read.
    pub async fn look(&mut self) -> Result<Ruleset, Error> {
        let number = self.number()?;
        if let Some((seen, rules)) = &self.last
            && *seen == number
        {
            return Ok(rules.clone());
        }
        self.last = None;
        self.listed += 1;
        let rules = match self.scope {
            Scope::All => nft::list().await?,
            Scope::Ip => nft::list_ip().await?,
        };
        // A list that somebody changed meanwhile may be of neither time: it is good for this look, as it always was.
        if self.number()? == number {
            self.last = Some((number, rules.clone()));
        }
        Ok(rules)
    }

    /// All changes, or none of them.
    ///
    /// # Errors
    /// nft is missing or refuses.
    pub async fn change(&mut self, changes: &[RuleChange]) -> Result<(), Error> {
        let before = self.number()?;
        // Whoever gives up in the middle, or fails, knows nothing.
        let last = self.last.take();
        nft::change(changes).await?;
        let after = self.number()?;
        if let Some((seen, mut rules)) = last
            && seen == before
            && after == following(before)
            && rules.take(changes)
        {
            self.last = Some((after, rules));
        }
        Ok(())
    }

    /// The number of the last transaction.
    fn number(&self) -> Result<u32, Error> {
        let asked = self.ask();
        asked.map_err(|error| Error::system("the number of the rules", error))
    }

    fn ask(&self) -> io::Result<u32> {
        self.kernel.send(&message(GET_GENERATION, 0, &[]), 0)?;
        let (bytes, _) = self.kernel.recv_from_full()?;
        for (kind, body) in messages(&bytes) {
            match kind {
                NEW_GENERATION => {
                    return number_of(body)
                        .ok_or_else(|| io::Error::other("an answer without a number"));
                }
                NLMSG_ERROR => outcome(body)?,
                _ => {}
            }
        }
        Err(io::Error::other("an answer to something else"))
    }
}

/// What the kernel's number is after one more transaction: never 0.
fn following(number: u32) -> u32 {
    number.checked_add(1).unwrap_or(1)
}

fn number_of(body: &[u8]) -> Option<u32> {
    let attributes = attributes(body.get(FAMILY..)?);
    let mut numbers = attributes.filter(|(kind, ..)| *kind == NUMBER);
    let (_, content, _) = numbers.next()?;
    Some(u32::from_be_bytes(content.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_number_is_read_as_the_kernel_writes_it() {
        // nfgenmsg, then NFTA_GEN_ID 258, NFTA_GEN_PROC_PID 7.
        let body = [
            [0, 0, 1, 2],
            [8, 0, 1, 0],
            [0, 0, 1, 2],
            [8, 0, 2, 0],
            [0, 0, 0, 7],
        ];
        assert_eq!(number_of(&body.concat()), Some(258));
        assert_eq!(number_of(&body[..1].concat()), None);
        assert_eq!(number_of(&[]), None);
        assert_eq!((following(1), following(u32::MAX)), (2, 1));
    }
}
