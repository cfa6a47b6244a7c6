//! Guessing is slow: a bucket of attempts for each address and one for each name that is tried.
//!
//! An attempt takes one from both before its proof is looked at, so that many at once are no way around it, and gives it
//! back when the proof was right. What was refused here takes nothing: it was not looked at.
//!
//! Buckets are counted in whether or not the name exists. API keys have buckets of their own, by the key's id: who
//! guesses at a user's password must not stop that user's programs. Both maps are bounded; a bucket that nobody has asked
//! for since it was full again is forgotten.

mod bucket;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use photon_core::{Code, Error};
use serde::{Deserialize, Serialize};
use serde_json::json;

use self::bucket::{Buckets, Rate};

/// Buckets of each kind that are remembered; some 100 bytes each.
const MOST_BUCKETS: u64 = 100_000;

/// Whose guesses count together in IPv6: what one customer usually has.
const IPV6_PREFIX: u8 = 64;

/// `[guessing]`: how many wrong passwords and keys are looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuessConfig {
    /// Wrong attempts at one principal, or one API key, that are looked at without a pause. Default 10.
    pub per_principal_burst: u32,
    /// And then how many each minute. Default 10.
    pub per_principal_per_minute: u32,
    /// Wrong attempts from one address (in IPv6 one /64) that are looked at without a pause. Default 50.
    pub per_address_burst: u32,
    /// And then how many each minute. Default 50.
    pub per_address_per_minute: u32,
}

impl Default for GuessConfig {
    fn default() -> Self {
        Self {
            per_principal_burst: 10,
            per_principal_per_minute: 10,
            per_address_burst: 50,
            per_address_per_minute: 50,
        }
    }
}

impl GuessConfig {
    /// The first setting that is 0: nobody could log in with it.
    ///
    /// # Errors
    /// A sentence that names the setting.
    pub fn validate(&self) -> Result<(), String> {
        let settings = [
            ("per_principal_burst", self.per_principal_burst),
            ("per_principal_per_minute", self.per_principal_per_minute),
            ("per_address_burst", self.per_address_burst),
            ("per_address_per_minute", self.per_address_per_minute),
        ];
        match settings.into_iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(format!("guessing.{name} must be at least 1")),
            None => Ok(()),
        }
    }
}

/// The buckets of this process. Clones share them.
#[derive(Clone, Debug)]
pub struct Guess(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    names: Buckets<Box<str>>,
    addresses: Buckets<IpAddr>,
}

/// An attempt that is being looked at. Unless it is given back it was a wrong one.
#[derive(Debug)]
#[must_use = "an attempt that was right is given back"]
pub struct Attempt {
    guess: Guess,
    name: Box<str>,
    address: Option<IpAddr>,
}

impl Guess {
    /// Full buckets.
    #[must_use]
    pub fn new(config: &GuessConfig) -> Self {
        let of = Rate::new;
        Self(Arc::new(Inner {
            names: Buckets::new(
                of(config.per_principal_burst, config.per_principal_per_minute),
                MOST_BUCKETS,
            ),
            addresses: Buckets::new(
                of(config.per_address_burst, config.per_address_per_minute),
                MOST_BUCKETS,
            ),
        }))
    }

    /// Takes one attempt at `name` from an address.
    ///
    /// # Errors
    /// `RATE_LIMITED`, with `retry_after_seconds` in its details.
    pub fn begin(
        &self,
        name: &str,
        source: Option<IpAddr>,
        now: Instant,
    ) -> Result<Attempt, Error> {
        let address = source.map(counted_as);
        if let Some(address) = &address {
            self.0.addresses.take(address, now).map_err(too_often)?;
        }
        if let Err(wait) = self.0.names.take(name, now) {
            if let Some(address) = &address {
                self.0.addresses.give_back(address);
            }
            return Err(too_often(wait));
        }
        Ok(Attempt {
            guess: self.clone(),
            name: name.into(),
            address,
        })
    }
}

impl Attempt {
    /// It was right, or could not be judged.
    pub fn give_back(self) {
        let buckets = &self.guess.0;
        buckets.names.give_back(&*self.name);
        if let Some(address) = &self.address {
            buckets.addresses.give_back(address);
        }
    }
}

/// The bucket an address counts in.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let keep = u128::MAX << (128 - u32::from(IPV6_PREFIX));
            IpAddr::V6((v6.to_bits() & keep).into())
        }
        v4 => v4,
    }
}

fn too_often(wait: Duration) -> Error {
    // Rounded up: who waits that long is let in.
    let seconds = wait.as_secs() + 1;
    Error::new(
        Code::RATE_LIMITED,
        format!("too many wrong attempts; try again in {seconds} s"),
    )
    .with_details(json!({ "retry_after_seconds": seconds }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn guess(names: u32, addresses: u32) -> Guess {
        Guess::new(&GuessConfig {
            per_principal_burst: names,
            per_principal_per_minute: 60,
            per_address_burst: addresses,
            per_address_per_minute: 60,
        })
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_name_is_tried_so_often_from_wherever() {
        let guess = guess(3, 100);
        let now = Instant::now();
        for last in 1..=3 {
            let from = ip(&format!("10.0.0.{last}"));
            drop(guess.begin("user:alice", from, now).unwrap());
        }
        let error = guess.begin("user:alice", ip("10.0.0.9"), now).unwrap_err();
        assert_eq!(error.code(), Code::RATE_LIMITED);
        assert_eq!(error.details().unwrap()["retry_after_seconds"], 1 + 1);
        // Others are not concerned, nor is she later.
        drop(guess.begin("user:bob", ip("10.0.0.9"), now).unwrap());
        let later = now + Duration::from_secs(1);
        drop(guess.begin("user:alice", ip("10.0.0.9"), later).unwrap());
    }

    #[test]
    fn an_address_tries_so_many_names() {
        let guess = guess(100, 3);
        let now = Instant::now();
        for name in ["a", "b", "c"] {
            drop(guess.begin(name, ip("2001:db8::1"), now).unwrap());
        }
        // The same network, another address.
        let error = guess.begin("d", ip("2001:db8::ffff"), now).unwrap_err();
        assert_eq!(error.code(), Code::RATE_LIMITED);
        drop(guess.begin("d", ip("2001:db8:0:1::1"), now).unwrap());
        assert_eq!(
            counted_as("::ffff:10.0.0.1".parse().unwrap()),
            "10.0.0.1".parse::<IpAddr>().unwrap()
        );
    }

    #[test]
    fn what_was_right_or_refused_costs_nothing() {
        let guess = guess(2, 3);
        let now = Instant::now();
        for _ in 0..100 {
            guess.begin("a", ip("10.0.0.1"), now).unwrap().give_back();
        }
        drop(guess.begin("a", ip("10.0.0.1"), now).unwrap());
        drop(guess.begin("a", ip("10.0.0.1"), now).unwrap());
        for _ in 0..100 {
            guess.begin("a", ip("10.0.0.1"), now).unwrap_err();
        }
        // Of the address's three attempts two are used.
        drop(guess.begin("b", ip("10.0.0.1"), now).unwrap());
        guess.begin("c", ip("10.0.0.1"), now).unwrap_err();
    }
}
