//! Lists, as decision 16 of the architecture has them: everything up to a bound, or pages.

use photon_core::{Code, Error, PageToken};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

/// The most rows of a list without a limit, and the largest limit.
pub(crate) const MOST_ROWS: usize = 10_000;

/// Which part of a list; `P` is a position in it.
#[derive(Clone, Debug)]
pub(crate) struct Ask<P> {
    limit: Option<usize>,
    pub(crate) after: Option<P>,
}

impl<P: DeserializeOwned> Ask<P> {
    /// Parses `limit` and `page_token`.
    ///
    /// # Errors
    /// A limit that is 0 or above [`MOST_ROWS`]; a token that is not one of ours.
    pub(crate) fn new(limit: Option<u64>, page_token: Option<&str>) -> Result<Self, Error> {
        let limit = limit.map(bounded).transpose()?;
        let after = page_token.map(PageToken::decode).transpose()?;
        Ok(Self { limit, after })
    }
}

impl<P> Ask<P> {
    /// How many rows to look for: one more than is shown, to know whether there are more.
    pub(crate) fn rows(&self) -> usize {
        self.limit.unwrap_or(MOST_ROWS) + 1
    }

    /// The page of the rows that were found.
    ///
    /// # Errors
    /// Too many without a limit.
    pub(crate) fn page<T>(
        &self,
        mut rows: Vec<T>,
        position: impl FnOnce(&T) -> P,
    ) -> Result<Page<T>, Error>
    where
        P: Serialize,
    {
        let most = self.rows() - 1;
        let more = rows.len() > most;
        if more && self.limit.is_none() {
            return Err(too_many());
        }
        rows.truncate(most);
        let next_page_token = match rows.last() {
            Some(last) if more => Some(PageToken::encode(&position(last))?.into_string()),
            _ => None,
        };
        Ok(Page {
            rows,
            next_page_token,
        })
    }
}

/// Part of a list.
#[derive(Clone, Debug)]
pub(crate) struct Page<T> {
    pub(crate) rows: Vec<T>,
    /// What continues it, if there is more.
    pub(crate) next_page_token: Option<String>,
}

fn bounded(limit: u64) -> Result<usize, Error> {
    usize::try_from(limit)
        .ok()
        .filter(|limit| (1..=MOST_ROWS).contains(limit))
        .ok_or_else(|| {
            let message = format!("limit must be 1 to {MOST_ROWS}");
            Error::validation("limit", "range", message)
        })
}

fn too_many() -> Error {
    let message = format!("there are more than {MOST_ROWS}: give a limit, and page through them");
    Error::new(Code::VALIDATION_ERROR, message)
        .with_details(json!({ "field": "limit", "constraint": "required" }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn pages_continue_where_they_ended() {
        let ask = Ask::<u32>::new(Some(2), None).unwrap();
        let page = ask.page(vec![5, 6, 7], |row| *row).unwrap();
        assert_eq!(page.rows, [5, 6]);
        let next = Ask::<u32>::new(Some(2), page.next_page_token.as_deref()).unwrap();
        assert_eq!(next.after, Some(6));
        assert!(
            next.page(vec![7], |row| *row)
                .unwrap()
                .next_page_token
                .is_none()
        );
        for (limit, token, field) in [
            (Some(0), None, "limit"),
            (Some(10_001), None, "limit"),
            (None, Some("nonsense!"), "page_token"),
        ] {
            let error = Ask::<u32>::new(limit, token).unwrap_err();
            assert_eq!(error.details().unwrap()["field"], field);
        }
        let all = Ask::<u32>::new(None, None).unwrap();
        let error = all.page((0..10_001).collect(), |row| *row).unwrap_err();
        assert_eq!(error.details().unwrap()["field"], "limit");
    }
}
