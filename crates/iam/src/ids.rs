//! Ids that nobody chose.

use photon_core::{Error, Name};
use uuid::Uuid;

/// `<prefix>-<UUIDv7>`.
pub(crate) fn made_up(prefix: &str) -> Result<Name, Error> {
    Name::new(format!("{prefix}-{}", Uuid::now_v7())).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn they_are_names_and_differ() {
        assert_ne!(made_up("prj").unwrap(), made_up("prj").unwrap());
    }
}
