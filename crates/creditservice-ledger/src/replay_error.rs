//! What is wrong with an entry, or with the state.

/// An entry does not follow from the state. What was read is not what was written, or by another ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// Entries are missing, or come twice.
    #[error("entry {found} where {expected} was due")]
    Sequence {
        /// Its number.
        found: u64,
        /// The next number.
        expected: u64,
    },
    /// Time goes back.
    #[error("entry {seq} is older than the one before")]
    Time {
        /// Its number.
        seq: u64,
    },
    /// Its debits do not equal its credits.
    #[error("entry {seq} does not balance")]
    Unbalanced {
        /// Its number.
        seq: u64,
    },
    /// It is about a project, wallet, reservation or claim that there is not, or that there is already.
    #[error("entry {seq}: {what}")]
    Impossible {
        /// Its number.
        seq: u64,
        /// What cannot be.
        what: &'static str,
    },
}
