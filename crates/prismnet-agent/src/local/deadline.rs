//! How long a call may wait: what its caller said, and never for ever.

use std::time::Duration;

use tokio::time::Instant;
use tonic::metadata::MetadataMap;

/// How long a call waits that does not say.
const USUAL: Duration = Duration::from_secs(10);
/// The longest that one may wait, whatever it says.
const LONGEST: Duration = Duration::from_secs(120);
/// How long before the caller's own end it is answered: it is to hear why.
const BEFORE: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(20);

/// When to have answered.
#[must_use]
pub fn of(metadata: &MetadataMap) -> Instant {
    let said = metadata.get("grpc-timeout");
    let said = said.and_then(|value| parse(value.to_str().ok()?));
    let limit = said.unwrap_or(USUAL).min(LONGEST);
    Instant::now() + limit.saturating_sub(BEFORE.min(limit / 5))
}

/// Up to eight digits and a unit (the gRPC protocol over HTTP/2, "Timeout").
fn parse(text: &str) -> Option<Duration> {
    let digits = text.get(..text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match text.as_bytes().last()? {
        b'H' => Some(Duration::from_secs(count * 3600)),
        b'M' => Some(Duration::from_secs(count * 60)),
        b'S' => Some(Duration::from_secs(count)),
        b'm' => Some(Duration::from_millis(count)),
        b'u' => Some(Duration::from_micros(count)),
        b'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// Asks again and again until there is an answer; `None` if there is none in time. The last time is at the end.
///
/// # Errors
/// What the question answers with.
pub async fn until<T, E, F>(end: Instant, mut question: impl FnMut() -> F) -> Result<Option<T>, E>
where
    F: Future<Output = Result<Option<T>, E>>,
{
    loop {
        let is_last = Instant::now() >= end;
        if let Some(answer) = question().await? {
            return Ok(Some(answer));
        }
        if is_last {
            return Ok(None);
        }
        tokio::time::sleep_until(end.min(Instant::now() + PAUSE)).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        for (text, read) in [
            ("2S", Some(Duration::from_secs(2))),
            ("1500m", Some(Duration::from_millis(1500))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("1H", Some(Duration::from_secs(3600))),
            ("", None),
            ("S", None),
            ("2", None),
            ("-2S", None),
            ("123456789S", None),
            ("2ä", None),
        ] {
            assert_eq!(parse(text), read, "{text}");
        }
    }

    #[tokio::test]
    async fn a_question_ends() {
        let end = Instant::now() + Duration::from_millis(50);
        let never = until(end, || async { Ok::<Option<()>, ()>(None) }).await;
        assert_eq!(never, Ok(None));
        assert!(Instant::now() >= end);
        let wrong = until(end, || async { Err::<Option<()>, _>(7) }).await;
        assert_eq!(wrong, Err(7));
    }
}
