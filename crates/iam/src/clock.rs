//! Moments as they are stored and shown: whole seconds, as in the guide.

use std::time::Duration;

use jiff::Timestamp;

/// Nobody waits longer; an epoch lies no further ahead unless somebody revokes again and again.
const MOST_SECONDS: u64 = 5;

/// Now, without the fraction of a second.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    // Only what lies outside years -9999 to 9999 is refused.
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Waits until a second (since 1970) has begun. It lies a moment ahead, or is over.
pub(crate) async fn reach(second: i64) {
    let left = second.saturating_sub(Timestamp::now().as_second());
    if let Ok(left @ 1..) = u64::try_from(left) {
        tokio::time::sleep(Duration::from_secs(left.min(MOST_SECONDS))).await;
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_is_no_fraction() {
        assert_eq!(super::now().subsec_nanosecond(), 0);
        assert_eq!(super::now().to_string().len(), "2025-12-12T08:30:00Z".len());
    }
}
