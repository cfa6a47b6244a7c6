//! Records that only this agent writes.

use photon_store::{Collection, Error, Expected, Record, Stored};

/// Writes a record over what was read, or makes it.
///
/// # Errors
/// As any write; [`Error::Conflict`] or [`Error::AlreadyExists`] if it is not as it was read.
pub async fn put<T: Record>(
    all: &Collection<T>,
    key: &str,
    value: T,
    before: Option<Stored<T>>,
) -> Result<Stored<T>, Error> {
    match before {
        Some(mut stored) => {
            stored.value = value;
            all.replace(stored).await
        }
        None => all.create(key, value).await,
    }
}

/// Takes a record away. One that is not there is not missed.
///
/// # Errors
/// As any write.
pub async fn remove<T: Record>(all: &Collection<T>, key: &str) -> Result<(), Error> {
    match all.delete(key, Expected::Any).await {
        Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
