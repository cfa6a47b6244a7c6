//! Lists, as decision 16 of the architecture has them: everything up to a bound, or pages by key.

use photon_core::{Code, Error, PageToken};
use photon_store::{Collection, PageRequest, Record};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::versioned::Versioned;

/// The most rows of a list without a limit, and the largest limit.
pub const MOST_ROWS: usize = 10_000;

/// Rows read at once while looking for those that are asked for.
const CHUNK: usize = 1_000;

/// Rows a page looks at before it ends short: few matches must not cost a whole table.
const LOOK_AT: usize = 20_000;

/// Which part of a list.
#[derive(Clone, Debug, Default)]
pub struct Ask {
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
    pub fn new(limit: Option<u64>, page_token: Option<&str>) -> Result<Self, Error> {
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
pub struct Listing<T> {
    /// The rows, by key.
    pub items: Vec<Versioned<T>>,
    /// What continues it, if there may be more.
    pub next_page_token: Option<String>,
}

/// Reads the records below `prefix` that are to be shown. A page may be shorter than its limit and still have a next one.
///
/// # Errors
/// A page token of another list; more than [`MOST_ROWS`] rows without a limit; the store's failures.
pub async fn list<T: Record>(
    records: &Collection<T>,
    prefix: &str,
    ask: &Ask,
    keep: impl Fn(&T) -> bool,
) -> Result<Listing<T>, Error> {
    // A token is not signed: one that leads elsewhere is none of this list.
    if ask
        .after
        .as_ref()
        .is_some_and(|key| !key.starts_with(prefix))
    {
        return Err(not_ours());
    }
    let rows = Rows::new(ask.limit);
    rows.read(records, prefix, ask.after.clone(), keep).await
}

/// [`list`] of all records of a collection, after rows that are not stored: in order, each with its id. `mark` begins
/// their positions and no key.
///
/// # Errors
/// As [`list`].
pub async fn list_after<T: Record>(
    records: &Collection<T>,
    mark: &str,
    first: Vec<(&str, Versioned<T>)>,
    ask: &Ask,
    keep: impl Fn(&T) -> bool,
) -> Result<Listing<T>, Error> {
    let mut rows = Rows::new(ask.limit);
    let after = match &ask.after {
        // Already among those that are stored.
        Some(after) if !after.starts_with(mark) => Some(after.clone()),
        // The first page, or one that continues within those that are not.
        after => {
            let done = after.as_deref().and_then(|after| after.strip_prefix(mark));
            let left = first.into_iter();
            for (id, row) in left.skip_while(|(id, _)| done.is_some_and(|done| *id <= done)) {
                if rows.is_full() {
                    return rows.continued();
                }
                rows.take(format!("{mark}{id}"), row)?;
            }
            None
        }
    };
    rows.read(records, "", after, keep).await
}

/// Whether there is any such record.
///
/// # Errors
/// The store's failures.
pub async fn any<T: Record>(
    records: &Collection<T>,
    wanted: impl Fn(&T) -> bool,
) -> Result<bool, Error> {
    let mut request = PageRequest {
        limit: CHUNK,
        ..PageRequest::default()
    };
    loop {
        let page = records.list(&request).await?;
        if page.items.iter().any(|stored| wanted(&stored.value)) {
            return Ok(true);
        }
        match page.next {
            Some(next) => request.after = Some(next),
            None => return Ok(false),
        }
    }
}

/// The rows of a page being put together.
struct Rows<T> {
    limit: Option<usize>,
    items: Vec<Versioned<T>>,
    /// Where the last one was.
    last: String,
}

impl<T> Rows<T> {
    fn new(limit: Option<usize>) -> Self {
        Self {
            limit,
            items: Vec::new(),
            last: String::new(),
        }
    }

    fn is_full(&self) -> bool {
        self.limit == Some(self.items.len())
    }

    fn take(&mut self, position: String, row: Versioned<T>) -> Result<(), Error> {
        if self.limit.is_none() && self.items.len() == MOST_ROWS {
            return Err(too_many());
        }
        self.last = position;
        self.items.push(row);
        Ok(())
    }

    /// There is one more than was asked for: the last one taken is where to continue.
    fn continued(self) -> Result<Listing<T>, Error> {
        Ok(Listing {
            next_page_token: Some(token(&self.last)?),
            items: self.items,
        })
    }
}

impl<T: Record> Rows<T> {
    async fn read(
        mut self,
        records: &Collection<T>,
        prefix: &str,
        mut after: Option<String>,
        keep: impl Fn(&T) -> bool,
    ) -> Result<Listing<T>, Error> {
        let mut looked_at = 0;
        // A page that keeps nearly everything should not read a thousand rows to show ten.
        let mut chunk = self.limit.map_or(CHUNK, |limit| (limit + 1).min(CHUNK));
        loop {
            let request = PageRequest {
                prefix: prefix.to_owned(),
                after: after.take(),
                limit: chunk,
                revision: 0,
            };
            let page = records.list(&request).await?;
            looked_at += page.items.len();
            for stored in page.items {
                if !keep(&stored.value) {
                    continue;
                }
                if self.is_full() {
                    return self.continued();
                }
                self.take(stored.key.clone(), stored.into())?;
            }
            let Some(next) = page.next else {
                return Ok(Listing {
                    items: self.items,
                    next_page_token: None,
                });
            };
            if self.limit.is_some() && looked_at >= LOOK_AT {
                self.last = next;
                return self.continued();
            }
            after = Some(next);
            chunk = CHUNK;
        }
    }
}

fn token(after: &str) -> Result<String, Error> {
    let position = Position {
        after: after.to_owned(),
    };
    Ok(PageToken::encode(&position)?.into_string())
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
        Ask::new(Some(10_000), Some(&token("a/b").unwrap())).unwrap();
    }

    #[test]
    fn a_token_leads_on() {
        let ask = Ask::new(Some(1), Some(&token("shop/robot").unwrap())).unwrap();
        assert_eq!(ask.after.as_deref(), Some("shop/robot"));
    }
}
