//! Requests with keys run to their end, whoever is still there to hear it.

use std::{sync::Arc, time::Duration};

use photon_core::{Code, Error};
use tokio::{sync::Semaphore, time::Instant};

use super::errors;

/// Requests with keys that run at once in a process.
const MOST: usize = 1024;
/// How long after its deadline a request is cut off. Till then its use case has given up by itself.
const GRACE: Duration = Duration::from_secs(15);

/// The requests with keys of a process.
#[derive(Clone, Debug)]
pub(crate) struct Running(Arc<Semaphore>);

impl Default for Running {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }
}

impl Running {
    /// Runs a request; that it goes on does not hang on whether anybody waits for it.
    ///
    /// # Errors
    /// `OVERLOADED`, `DEADLINE_EXCEEDED`, and what it says itself. Its panics are passed on.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        deadline: Instant,
        request: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.0).try_acquire_owned();
        let permit = permit.map_err(|_| errors::too_many())?;
        let running = tokio::spawn(async move {
            let done = tokio::time::timeout_at(deadline + GRACE, request).await;
            drop(permit);
            done
        });
        match running.await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(Error::new(
                Code::DEADLINE_EXCEEDED,
                "the request took too long; a change it asks for may still take effect",
            )),
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(cancelled) => {
                    Err(Error::unavailable("the service stops").with_source(cancelled))
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use tokio::sync::oneshot;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn who_goes_away_does_not_take_the_request_along() {
        let running = Running::default();
        let (go, gone) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let request = async move {
            gone.await.unwrap();
            tell.send(()).unwrap();
            Ok(())
        };
        let sender = tokio::spawn({
            let running = running.clone();
            async move { running.to_the_end(soon(), request).await }
        });
        // It has begun when it has taken its place.
        while running.0.available_permits() == MOST {
            tokio::task::yield_now().await;
        }
        sender.abort();
        assert!(sender.await.unwrap_err().is_cancelled());
        go.send(()).unwrap();
        told.await.unwrap();
    }

    #[tokio::test]
    async fn there_are_only_so_many() {
        let running = Running(Arc::new(Semaphore::new(0)));
        let refused = running.to_the_end(soon(), async { Ok(()) }).await;
        assert_eq!(refused.unwrap_err().code(), Code::OVERLOADED);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_is_cut_off() {
        let running = Running::default();
        let never = std::future::pending::<Result<(), Error>>();
        let cut = running.to_the_end(soon(), never).await;
        assert_eq!(cut.unwrap_err().code(), Code::DEADLINE_EXCEEDED);
        assert_eq!(running.0.available_permits(), MOST);
    }
}
