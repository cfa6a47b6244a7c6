//! Errors of forwarded calls, on the wire and back.

use photon_proto::photon::raft::v1::{Failure, failure::Kind};

use crate::{Error, NodeId};

/// Why the node that was asked did not do it.
#[derive(Debug, Clone)]
pub(crate) enum Refusal {
    /// It certainly did nothing: it does not lead, or could not be asked. Who leads, if it knows.
    NotLeader(Option<NodeId>),
    /// It leads, but no quorum has confirmed that lately; it certainly did nothing.
    NoQuorum,
    /// Asking again is of no use, or not safe.
    Failed(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// An attempt at the leader.
pub(crate) type Attempt<T> = Result<T, Refusal>;

fn number(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn size(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

pub(crate) fn put_refusal(refusal: &Refusal) -> Failure {
    let mut failure = Failure::default();
    let kind = match refusal {
        Refusal::NotLeader(leader) => {
            failure.leader = leader.unwrap_or_default();
            Kind::NotLeader
        }
        Refusal::NoQuorum | Refusal::Failed(Error::NoQuorum) => Kind::NoQuorum,
        Refusal::Failed(error) => put_error(error, &mut failure),
    };
    failure.kind = kind.into();
    failure
}

fn put_error(error: &Error, failure: &mut Failure) -> Kind {
    match error {
        Error::NoLeader => Kind::NotLeader,
        Error::NoQuorum => Kind::NoQuorum,
        Error::Timeout => Kind::Timeout,
        Error::Unknown => Kind::Unknown,
        Error::Overloaded => Kind::Overloaded,
        Error::TooLarge { size, limit } => {
            (failure.first, failure.second) = (number(*size), number(*limit));
            Kind::TooLarge
        }
        Error::NotLearner(id) => {
            failure.node_id = *id;
            Kind::NotLearner
        }
        Error::LearnerBehind {
            node_id,
            matched,
            last,
        } => {
            (failure.node_id, failure.first, failure.second) = (*node_id, *matched, *last);
            Kind::LearnerBehind
        }
        Error::MemberNotFound(id) => {
            failure.node_id = *id;
            Kind::MemberNotFound
        }
        Error::DuplicatePeer(address) => {
            failure.text.clone_from(address);
            Kind::DuplicatePeer
        }
        Error::DuplicateMember(id) => {
            failure.node_id = *id;
            Kind::DuplicateMember
        }
        Error::Retired(id) => {
            failure.node_id = *id;
            Kind::Retired
        }
        Error::ChangeInProgress => Kind::ChangeInProgress,
        Error::Unhealthy => Kind::Unhealthy,
        Error::LastVoter => Kind::LastVoter,
        Error::IdentityMismatch {
            address,
            expected,
            found,
        } => {
            failure.text.clone_from(address);
            (failure.first, failure.second) = (*expected, *found);
            Kind::IdentityMismatch
        }
        Error::Unreachable { address, reason } => {
            failure.text = format!("{address}\n{reason}");
            Kind::Unreachable
        }
        Error::Invalid(text) => {
            failure.text.clone_from(text);
            Kind::Invalid
        }
        Error::Service(text) => {
            failure.text.clone_from(text);
            Kind::Service
        }
        Error::Storage(_) | Error::Stopped => Kind::Stopped,
    }
}

pub(crate) fn get_refusal(failure: Failure) -> Refusal {
    let error = match failure.kind() {
        Kind::NotLeader => {
            return Refusal::NotLeader((failure.leader != 0).then_some(failure.leader));
        }
        Kind::NoQuorum => return Refusal::NoQuorum,
        // A kind this version does not know may mean anything.
        Kind::Unspecified | Kind::Unknown => Error::Unknown,
        Kind::Timeout => Error::Timeout,
        Kind::NotLearner => Error::NotLearner(failure.node_id),
        Kind::LearnerBehind => Error::LearnerBehind {
            node_id: failure.node_id,
            matched: failure.first,
            last: failure.second,
        },
        Kind::MemberNotFound => Error::MemberNotFound(failure.node_id),
        Kind::DuplicatePeer => Error::DuplicatePeer(failure.text),
        Kind::DuplicateMember => Error::DuplicateMember(failure.node_id),
        Kind::Retired => Error::Retired(failure.node_id),
        Kind::ChangeInProgress => Error::ChangeInProgress,
        Kind::Unhealthy => Error::Unhealthy,
        Kind::LastVoter => Error::LastVoter,
        Kind::IdentityMismatch => Error::IdentityMismatch {
            address: failure.text,
            expected: failure.first,
            found: failure.second,
        },
        Kind::Unreachable => {
            let (address, reason) = failure.text.split_once('\n').unwrap_or(("", &failure.text));
            Error::Unreachable {
                address: address.to_owned(),
                reason: reason.to_owned(),
            }
        }
        Kind::TooLarge => Error::TooLarge {
            size: size(failure.first),
            limit: size(failure.second),
        },
        Kind::Invalid => Error::Invalid(failure.text),
        Kind::Service => Error::Service(failure.text),
        Kind::Stopped => Error::Stopped,
        Kind::Overloaded => Error::Overloaded,
    };
    // The leader is going away and says so before it acts: another will lead.
    if error == Error::Stopped {
        Refusal::NotLeader(None)
    } else {
        Refusal::Failed(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_survive_the_way() {
        let text = || "10.0.0.1:2380".to_owned();
        let errors = [
            Error::Timeout,
            Error::Unknown,
            Error::Overloaded,
            Error::TooLarge { size: 5, limit: 3 },
            Error::NotLearner(4),
            Error::LearnerBehind {
                node_id: 4,
                matched: 5,
                last: 6,
            },
            Error::MemberNotFound(4),
            Error::DuplicatePeer(text()),
            Error::DuplicateMember(4),
            Error::Retired(4),
            Error::ChangeInProgress,
            Error::Unhealthy,
            Error::LastVoter,
            Error::IdentityMismatch {
                address: text(),
                expected: 1,
                found: 2,
            },
            Error::Unreachable {
                address: text(),
                reason: "refused\nat once".to_owned(),
            },
            Error::Invalid(text()),
            Error::Service(text()),
        ];
        for error in errors {
            let back = get_refusal(put_refusal(&Refusal::Failed(error.clone())));
            assert!(
                matches!(&back, Refusal::Failed(back) if *back == error),
                "{error:?} became {back:?}"
            );
        }
        assert!(matches!(
            get_refusal(put_refusal(&Refusal::NotLeader(Some(3)))),
            Refusal::NotLeader(Some(3))
        ));
        assert!(matches!(
            get_refusal(put_refusal(&Refusal::NotLeader(None))),
            Refusal::NotLeader(None)
        ));
        assert!(matches!(
            get_refusal(put_refusal(&Refusal::NoQuorum)),
            Refusal::NoQuorum
        ));
        assert!(matches!(
            get_refusal(Failure {
                kind: 999,
                ..Failure::default()
            }),
            Refusal::Failed(Error::Unknown)
        ));
    }
}
