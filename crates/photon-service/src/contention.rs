//! Read, decide, write; and again if somebody else wrote in between.

use std::time::Duration;

use photon_auth::Context;
use photon_core::Error;
use tokio::time::Instant;

/// Pauses between attempts grow to this.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// How long one request goes on losing.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Why an attempt wrote nothing.
#[derive(Debug)]
pub enum Lost {
    /// Something it had read was changed; another attempt may win.
    Race,
    /// It is refused, now and later.
    Refused(Error),
}

impl Lost {
    /// The failure of a transaction that makes something it found missing: if it is there now, somebody else was first,
    /// and the next attempt knows what to say to that.
    pub fn to_create(error: photon_store::Error) -> Self {
        match error {
            photon_store::Error::AlreadyExists { .. } => Self::Race,
            error => error.into(),
        }
    }
}

impl From<Error> for Lost {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<photon_store::Error> for Lost {
    fn from(error: photon_store::Error) -> Self {
        match error {
            // A record that is gone is found to be gone by the next attempt, which knows what to call it.
            photon_store::Error::Conflict { .. } | photon_store::Error::NotFound { .. } => {
                Self::Race
            }
            error => Self::Refused(error.into()),
        }
    }
}

/// Repeats an attempt that loses races, within the request's deadline.
///
/// # Errors
/// What the attempt is refused with; `CONFLICT` if it lost for longer than anybody waits.
pub async fn contended<T, Fut>(ctx: &Context, attempt: impl FnMut() -> Fut) -> Result<T, Error>
where
    Fut: Future<Output = Result<T, Lost>>,
{
    contended_until(ctx.deadline, attempt).await
}

/// Repeats an attempt that loses races until a deadline, and not for longer than [`PATIENCE`].
///
/// # Errors
/// As [`contended`].
pub async fn contended_until<T, Fut>(
    deadline: Instant,
    mut attempt: impl FnMut() -> Fut,
) -> Result<T, Error>
where
    Fut: Future<Output = Result<T, Lost>>,
{
    let end = deadline.min(Instant::now() + PATIENCE);
    let mut pause = Duration::from_millis(2);
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(Lost::Refused(error)) => return Err(error),
            Err(Lost::Race) if Instant::now() + pause >= end => {
                return Err(Error::conflict(
                    "it is being changed by others too often; nothing was written",
                ));
            }
            Err(Lost::Race) => {}
        }
        // Racers must not stay in step.
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
