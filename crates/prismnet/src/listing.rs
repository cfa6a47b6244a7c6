//! Lists, as decision 16 of the architecture has them: everything up to a bound, or pages by key.

use photon_core::{Code, Error, PageToken};
use photon_store::{Collection, PageRequest, Record, Stored};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::versioned::Versioned;

/// The most rows of a list without a limit, and the largest limit.
pub(crate) const MOST_ROWS: usize = 10_000;

/// Rows read at once while looking for those that are asked for.
const CHUNK: usize = 1_000;

/// Rows a page looks at before it ends short: few matches must not cost a whole table.
const LOOK_AT: usize = 20_000;

/// Which part of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    limit: Option<usize>,
    after: Option<String>,
}

/// Where a page continues.
#[derive(Serialize, Deserialize)]
struct Position {
    after: String,
}

impl Ask {
    /// Parses `limit` and `page_token`.
    ///
    /// # Errors
    /// A limit that is 0 or above [`MOST_ROWS`]; a token that is not one of ours.
    pub(crate) fn new(limit: Option<u64>, page_token: Option<&str>) -> Result<Self, Error> {
        let limit = limit.map(bounded).transpose()?;
        let position = page_token.map(PageToken::decode::<Position>).transpose()?;
        Ok(Self {
            limit,
            after: position.map(|position| position.after),
        })
    }
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

/// Part of a list.
#[derive(Clone, Debug)]
pub(crate) struct Listing<T> {
    /// The rows, by key.
    pub(crate) items: Vec<Versioned<T>>,
    /// What continues it, if there may be more.
    pub(crate) next_page_token: Option<String>,
}

/// Reads the records below `prefix` that are to be shown. A page may be shorter than its limit and still have a next one.
pub(crate) async fn list<T: Record>(
    records: &Collection<T>,
    prefix: &str,
    ask: &Ask,
    keep: impl Fn(&T) -> bool,
) -> Result<Listing<T>, Error> {
    let mut after = ask.after.clone();
    // A token is not signed: one that leads elsewhere is none of this list.
    if after.as_ref().is_some_and(|key| !key.starts_with(prefix)) {
        return Err(not_ours());
    }
    let mut rows: Vec<Stored<T>> = Vec::new();
    let mut looked_at = 0;
    // A page that keeps nearly everything should not read a thousand rows to show ten.
    let mut chunk = ask.limit.map_or(CHUNK, |limit| (limit + 1).min(CHUNK));
    loop {
        let request = PageRequest {
            prefix: prefix.to_owned(),
            after: after.take(),
            limit: chunk,
            revision: 0,
        };
        let page = records.list(&request).await?;
        looked_at += page.items.len();
        for stored in page.items.into_iter().filter(|stored| keep(&stored.value)) {
            match ask.limit {
                Some(limit) if rows.len() == limit => {
                    let last = rows.last().map(|row| row.key.clone());
                    return shown(rows, last);
                }
                None if rows.len() == MOST_ROWS => return Err(too_many()),
                _ => rows.push(stored),
            }
        }
        let Some(next) = page.next else {
            return shown(rows, None);
        };
        if ask.limit.is_some() && looked_at >= LOOK_AT {
            return shown(rows, Some(next));
        }
        after = Some(next);
        chunk = CHUNK;
    }
}

fn shown<T>(rows: Vec<Stored<T>>, continues_after: Option<String>) -> Result<Listing<T>, Error> {
    let token = continues_after.map(|after| PageToken::encode(&Position { after }));
    Ok(Listing {
        items: rows.into_iter().map(Into::into).collect(),
        next_page_token: token.transpose()?.map(PageToken::into_string),
    })
}

fn not_ours() -> Error {
    Error::validation("page_token", "format", "page_token is not one of this list")
}

fn too_many() -> Error {
    let message = format!("there are more than {MOST_ROWS}: give a limit, and page through them");
    Error::new(Code::VALIDATION_ERROR, message)
        .with_details(json!({ "field": "limit", "constraint": "required" }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_no_page_is_refused_by_field() {
        let field = |limit, token: Option<&str>| {
            let error = Ask::new(limit, token).unwrap_err();
            error.details().unwrap()["field"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(field(Some(0), None), "limit");
        assert_eq!(field(Some(10_001), None), "limit");
        assert_eq!(field(Some(u64::MAX), None), "limit");
        assert_eq!(field(None, Some("nonsense!")), "page_token");
        assert_eq!(field(None, Some("")), "page_token");
    }
}
