//! Operations that ended long ago.

use std::time::Duration;

use jiff::Timestamp;
use photon_store::{PageRequest, Store};

use super::record::{Operation, Operations};

/// How long an operation is kept after its end.
pub const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// Records looked at together.
const CHUNK: usize = 500;

/// Removes the operations that ended before a time, and says how many.
///
/// # Errors
/// Those of the store.
pub async fn sweep<S: Operations>(store: &Store, before: Timestamp) -> photon_store::Result<usize> {
    let all = store.collection::<Operation<S>>();
    let mut request = PageRequest {
        limit: CHUNK,
        ..PageRequest::default()
    };
    let mut removed = 0;
    loop {
        let page = all.list(&request).await?;
        for old in &page.items {
            if old.value.ended_at.is_none_or(|ended| ended >= before) {
                continue;
            }
            let mut transaction = store.transaction();
            transaction.delete(&all, old)?;
            match transaction.commit().await {
                Ok(_) => removed += 1,
                // Somebody else was faster.
                Err(
                    photon_store::Error::NotFound { .. } | photon_store::Error::Conflict { .. },
                ) => {}
                Err(error) => return Err(error),
            }
        }
        match page.next {
            Some(next) => request.after = Some(next),
            None => return Ok(removed),
        }
    }
}
