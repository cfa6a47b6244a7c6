//! Waiting for a condition instead of sleeping.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Calls `condition` until it answers `Some`, with growing pauses, and returns what it answered.
///
/// The condition itself is cut off at the deadline too, so one that hangs does not hang the test.
///
/// # Errors
/// When `deadline` (from now) passes first; `what` names the thing that did not happen.
pub async fn eventually<T, F, Fut>(
    what: &str,
    deadline: Duration,
    mut condition: F,
) -> anyhow::Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let end = Instant::now() + deadline;
    let mut pause = FIRST_PAUSE;
    loop {
        match tokio::time::timeout_at(end, condition()).await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) if Instant::now() < end => {}
            _ => anyhow::bail!("did not happen within {deadline:?}: {what}"),
        }
        tokio::time::sleep(pause.min(end - Instant::now())).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// [`eventually`] for a plain condition.
///
/// # Errors
/// When the condition did not hold before the deadline.
pub async fn eventually_true<F, Fut>(
    what: &str,
    deadline: Duration,
    mut condition: F,
) -> anyhow::Result<()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    eventually(what, deadline, || {
        let holds = condition();
        async move { holds.await.then_some(()) }
    })
    .await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn returns_when_the_condition_holds() {
        let mut calls = 0;
        let value = eventually("third call", Duration::from_secs(5), || {
            calls += 1;
            let now = calls;
            async move { (now == 3).then_some(now) }
        })
        .await
        .unwrap();
        assert_eq!(value, 3);
    }

    #[tokio::test]
    async fn fails_at_the_deadline_even_if_the_condition_hangs() {
        let error = eventually_true("never", Duration::from_millis(30), || {
            std::future::pending()
        })
        .await
        .unwrap_err();
        assert!(error.to_string().contains("never"));
        let error = eventually_true("false", Duration::from_millis(30), || async { false })
            .await
            .unwrap_err();
        assert!(error.to_string().contains("false"));
    }
}
