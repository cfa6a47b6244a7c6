//! Lists, page by page.

use serde_json::{Value, json};

use super::{
    cli::Page,
    client::{Call, Service},
};
use crate::{
    failure::Failure,
    output::{self, Format, Notation},
};

/// Rows of a page when everything is asked for.
const PAGE: u32 = 1000;

/// Rows, and the token of the page after them if a limit left some out.
pub(crate) struct Rows {
    pub(crate) rows: Vec<Value>,
    pub(crate) next: Option<String>,
}

/// One page if a limit is given; else everything. `field` is the one of the answer that holds the rows.
pub(crate) async fn rows(
    service: &Service,
    path: &[&str],
    field: &str,
    filters: &[(&'static str, Option<String>)],
    page: Page,
) -> Result<Rows, Failure> {
    let (limit, whole) = (page.limit.unwrap_or(PAGE), page.limit.is_none());
    let mut next = page.page_token;
    let mut rows = Vec::new();
    loop {
        let mut call = Call::get(path)
            .query("limit", Some(limit.to_string()))
            .query("page_token", next);
        for (name, value) in filters {
            call = call.query(name, value.clone());
        }
        let mut answer = service.call(call).await?;
        rows.extend(items(service, &mut answer, field)?);
        // What cannot be read is not silently left out.
        for unreadable in answer["unreadable"].as_array().into_iter().flatten() {
            let said = |name: &str| unreadable[name].as_str().unwrap_or_default().to_owned();
            eprintln!("{} cannot be read: {}", said("key"), said("reason"));
        }
        next = answer["next_page_token"].as_str().map(str::to_owned);
        if !whole || next.is_none() {
            return Ok(Rows { rows, next });
        }
    }
}

/// All rows of a list that has no pages.
pub(crate) async fn whole(service: &Service, path: &[&str], field: &str) -> Result<Rows, Failure> {
    let mut answer = service.call(Call::get(path)).await?;
    Ok(Rows {
        rows: items(service, &mut answer, field)?,
        next: None,
    })
}

fn items(service: &Service, answer: &mut Value, field: &str) -> Result<Vec<Value>, Failure> {
    match answer[field].take() {
        Value::Array(items) => Ok(items),
        _ => Err(service.not_understood(&format!("it has no {field}"))),
    }
}

/// The rows, for people; for programs they are printed at once, and nothing is left to show.
pub(crate) fn for_people(
    format: Format,
    field: &str,
    found: Rows,
) -> Result<Option<Rows>, Failure> {
    let Format::Data(notation) = format else {
        return Ok(Some(found));
    };
    let Rows { rows, next } = found;
    output::data(notation, &json!({ field: rows, "next_page_token": next }))?;
    // A document has it; a list of names does not.
    if notation == Notation::Name {
        tell_of_more(next.as_deref());
    }
    Ok(None)
}

/// Says how to go on, beside what is printed.
pub(crate) fn tell_of_more(next: Option<&str>) {
    if let Some(next) = next {
        eprintln!("more: --page-token {next}");
    }
}
