//! Is this still the store we knew? (decision 9)
//!
//! A store can be replaced by an empty one, restored from an old backup, or be another one altogether because an address
//! was given to somebody else. Acting on what such a store says destroys things. So the highest revision, the
//! cluster id and the incarnation are remembered, and when one of them changes or goes back, everything is refused
//! until a person accepts.
//!
//! A revision is compared only where it cannot honestly be lower: a linearizable read or a transaction that began after
//! the remembered revision was seen. Watches and keep-alives may be served by a member that lags.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What is remembered of a store. Agents keep it in a file and give it back in [`crate::Options`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The cluster id of the servers' answers.
    pub cluster_id: u64,
    /// The value of [`crate::IDENTITY_KEY`], if the store has one.
    pub incarnation: Option<String>,
    /// The highest revision seen.
    pub revision: i64,
}

/// How the store differs from what was remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Another cluster answers.
    Cluster {
        /// The id remembered.
        before: u64,
        /// The id now.
        now: u64,
    },
    /// The same cluster was restored or set up anew.
    Incarnation {
        /// The incarnation remembered.
        before: String,
        /// The one now; none if the store has lost it.
        now: Option<String>,
    },
    /// The store is behind what it has told before.
    Revision {
        /// The highest revision remembered.
        before: i64,
        /// The revision now.
        now: i64,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster { before, now } => {
                write!(f, "cluster {now:x} answers instead of {before:x}")
            }
            Self::Incarnation { before, now } => match now {
                Some(now) => write!(f, "incarnation {now} instead of {before}"),
                None => write!(f, "it has no incarnation instead of {before}"),
            },
            Self::Revision { before, now } => {
                write!(f, "it is at revision {now}, but was at {before} before")
            }
        }
    }
}

/// The facts of one answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) cluster_id: u64,
    pub(crate) revision: i64,
}

impl Header {
    pub(crate) fn of(header: Option<&etcd_client::ResponseHeader>) -> Result<Self> {
        let header =
            header.ok_or_else(|| Error::Protocol("the store answered without a header".into()))?;
        Ok(Self {
            cluster_id: header.cluster_id(),
            revision: header.revision(),
        })
    }
}

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Freshness {
    /// At least the revision known when the request left.
    AtLeast(i64),
    /// A member that lags may answer.
    Any,
}

/// The memory itself.
#[derive(Debug)]
pub(crate) struct Witness(Mutex<State>);

#[derive(Debug)]
struct State {
    seen: Option<Seen>,
    changed: Option<Change>,
}

impl Witness {
    pub(crate) fn new(seen: Option<Seen>) -> Self {
        Self(Mutex::new(State {
            seen,
            changed: None,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn seen(&self) -> Option<Seen> {
        self.state().seen.clone()
    }

    pub(crate) fn changed(&self) -> Option<Change> {
        self.state().changed.clone()
    }

    /// What an answer to a request that leaves now must reach. Refuses if the store has changed.
    pub(crate) fn before_request(&self) -> Result<Freshness> {
        let state = self.state();
        match &state.changed {
            Some(change) => Err(Error::StoreChanged(change.clone())),
            None => Ok(Freshness::AtLeast(
                state.seen.as_ref().map_or(0, |seen| seen.revision),
            )),
        }
    }

    /// Looks at an answer.
    pub(crate) fn observe(&self, header: Header, freshness: Freshness) -> Result<()> {
        let mut state = self.state();
        if let Some(change) = &state.changed {
            return Err(Error::StoreChanged(change.clone()));
        }
        let Some(seen) = &mut state.seen else {
            state.seen = Some(Seen {
                cluster_id: header.cluster_id,
                incarnation: None,
                revision: header.revision,
            });
            return Ok(());
        };
        if seen.cluster_id != header.cluster_id {
            let before = seen.cluster_id;
            return state.change(Change::Cluster {
                before,
                now: header.cluster_id,
            });
        }
        if let Freshness::AtLeast(before) = freshness
            && header.revision < before
        {
            return state.change(Change::Revision {
                before,
                now: header.revision,
            });
        }
        seen.revision = seen.revision.max(header.revision);
        Ok(())
    }

    /// Looks at the identity key. A store may get an incarnation later; it cannot lose or change it.
    pub(crate) fn observe_incarnation(&self, now: Option<String>) -> Result<()> {
        let mut state = self.state();
        if let Some(change) = &state.changed {
            return Err(Error::StoreChanged(change.clone()));
        }
        let Some(seen) = &mut state.seen else {
            return Ok(());
        };
        match &seen.incarnation {
            Some(before) if Some(before) != now.as_ref() => {
                let before = before.clone();
                state.change(Change::Incarnation { before, now })
            }
            _ => {
                seen.incarnation = now;
                Ok(())
            }
        }
    }

    /// Remembers this and nothing else.
    pub(crate) fn accept_as(&self, now: Seen) {
        *self.state() = State {
            seen: Some(now),
            changed: None,
        };
    }

    /// Forgets everything: the next answers are believed.
    pub(crate) fn accept(&self) {
        *self.state() = State {
            seen: None,
            changed: None,
        };
    }
}

impl State {
    fn change(&mut self, change: Change) -> Result<()> {
        tracing::error!(%change, "the store has changed; refusing everything until it is accepted");
        self.changed = Some(change.clone());
        Err(Error::StoreChanged(change))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn header(cluster_id: u64, revision: i64) -> Header {
        Header {
            cluster_id,
            revision,
        }
    }

    #[test]
    fn revisions_may_rise_and_lagging_members_may_answer_where_allowed() {
        let witness = Witness::new(None);
        witness.observe(header(1, 5), Freshness::Any).unwrap();
        let freshness = witness.before_request().unwrap();
        witness.observe(header(1, 9), freshness).unwrap();
        // This request left before revision 9 was seen.
        witness.observe(header(1, 6), freshness).unwrap();
        witness.observe(header(1, 2), Freshness::Any).unwrap();
        assert_eq!(witness.seen().unwrap().revision, 9);
    }

    #[test]
    fn each_change_is_seen_and_refuses_until_accepted() {
        let seen = Seen {
            cluster_id: 1,
            incarnation: Some("a".into()),
            revision: 9,
        };
        let cluster = Witness::new(Some(seen.clone()));
        assert!(cluster.observe(header(2, 20), Freshness::Any).is_err());

        let revision = Witness::new(Some(seen.clone()));
        let freshness = revision.before_request().unwrap();
        assert!(revision.observe(header(1, 8), freshness).is_err());
        assert_eq!(
            revision.changed(),
            Some(Change::Revision { before: 9, now: 8 })
        );
        assert!(revision.before_request().is_err());
        assert!(revision.observe(header(1, 10), freshness).is_err());
        revision.accept();
        let freshness = revision.before_request().unwrap();
        revision.observe(header(1, 3), freshness).unwrap();

        let incarnation = Witness::new(Some(seen.clone()));
        incarnation.observe_incarnation(Some("a".into())).unwrap();
        assert!(incarnation.observe_incarnation(Some("b".into())).is_err());
        let lost = Witness::new(Some(seen));
        assert!(lost.observe_incarnation(None).is_err());
    }

    #[test]
    fn an_incarnation_may_appear() {
        let witness = Witness::new(None);
        witness.observe(header(1, 1), Freshness::Any).unwrap();
        witness.observe_incarnation(None).unwrap();
        witness.observe_incarnation(Some("a".into())).unwrap();
        assert_eq!(witness.seen().unwrap().incarnation, Some("a".into()));
    }
}
