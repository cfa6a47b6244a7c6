//! Moments as they are stored and shown: whole seconds, as in the guide.

use jiff::Timestamp;

/// Now, without the fraction of a second.
pub(crate) fn now() -> Timestamp {
    whole(Timestamp::now())
}

/// A moment without the fraction of a second.
pub(crate) fn whole(moment: Timestamp) -> Timestamp {
    // Only what lies outside years -9999 to 9999 is refused.
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_is_no_fraction() {
        assert_eq!(super::now().to_string().len(), "2025-12-12T08:30:00Z".len());
    }
}
