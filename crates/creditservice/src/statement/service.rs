//! The use case of statements.

use std::ops::ControlFlow;

use creditservice_ledger::Entry;
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use photon_auth::Context;
use photon_core::{Error, Name};

use super::{Period, Statement};
use crate::{
    app::App,
    listing::MOST_ROWS,
    scope,
    transaction::{rest::time, service::History},
    wallet,
};

/// The period that a month, `2026-11`, or its two ends name.
///
/// # Errors
/// 400 naming the field.
pub(crate) fn period(
    month: Option<&str>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> Result<Period, Error> {
    let (from, to) = match (month, from, to) {
        (Some(month), None, None) => month_of(month)?,
        (None, Some(from), Some(to)) if from < to => (from, to),
        (None, Some(_), Some(_)) => {
            let message = "to must be after from";
            return Err(Error::validation("to", "min", message));
        }
        (Some(_), _, _) => {
            let message = "month does not go with from and to";
            return Err(Error::validation("month", "exclusive", message));
        }
        (None, None, None) => return Err(Error::required("month")),
        (None, None, Some(_)) => return Err(Error::required("from")),
        (None, Some(_), None) => return Err(Error::required("to")),
    };
    Ok(Period {
        from: time(from),
        to: time(to),
    })
}

/// A month's first moment and that of the next one, in UTC.
fn month_of(text: &str) -> Result<(Timestamp, Timestamp), Error> {
    let wrong = || Error::validation("month", "format", "month must be like 2026-11");
    let (year, month) = text.split_once('-').ok_or_else(wrong)?;
    if year.len() != 4 || month.len() != 2 {
        return Err(wrong());
    }
    let (year, month) = (
        year.parse().map_err(|_| wrong())?,
        month.parse().map_err(|_| wrong())?,
    );
    let first = Date::new(year, month, 1).map_err(|_| wrong())?;
    let next = first.last_of_month().tomorrow().map_err(|_| wrong())?;
    let moment = |day: Date| {
        let midnight = day.to_zoned(TimeZone::UTC).map_err(|_| wrong())?;
        Ok::<_, Error>(midnight.timestamp())
    };
    Ok((moment(first)?, moment(next)?))
}

/// Writes a project's statement.
pub(crate) async fn get(
    app: &App,
    ctx: &Context,
    project: &Name,
    period: Period,
) -> Result<Statement, Error> {
    scope::allow_in_project(ctx, project)?;
    let wallet = wallet::service::read(app, ctx, project).await?;
    let history = History::of(app, ctx, project);
    let mut opening = 0;
    let mut entries = Vec::new();
    let mut look = |entry: &Entry| {
        if entry.at >= period.to || entries.len() > MOST_ROWS {
            return ControlFlow::Break(());
        }
        if entry.at < period.from {
            opening += entry.amount();
        } else if entry.amount() != 0 {
            entries.push(entry.clone());
        }
        ControlFlow::Continue(())
    };
    history.oldest_first(None, &mut look).await?;
    if entries.len() > MOST_ROWS {
        let message = format!("there are more than {MOST_ROWS} entries: ask for a shorter time");
        return Err(Error::validation("to", "max", message));
    }
    let moved: i64 = entries.iter().map(Entry::amount).sum();
    Ok(Statement {
        wallet,
        shard: history.shard,
        period,
        opening,
        closing: opening + moved,
        entries,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn months_and_their_ends() {
        let at = |text: &str| time(text.parse().unwrap());
        assert_eq!(
            period(Some("2024-02"), None, None).unwrap(),
            Period {
                from: at("2024-02-01T00:00:00Z"),
                to: at("2024-03-01T00:00:00Z"),
            }
        );
        let december = period(Some("2025-12"), None, None).unwrap();
        assert_eq!(december.to, at("2026-01-01T00:00:00Z"));
        let (early, late) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        for (month, from, to, field) in [
            (None, None, None, "month"),
            (Some("2024-13"), None, None, "month"),
            (Some("24-1"), None, None, "month"),
            (Some("2024-02"), Some(early), None, "month"),
            (None, Some(early), None, "to"),
            (None, None, Some(late), "from"),
            (None, Some(late), Some(early), "to"),
        ] {
            let error = period(month, from, to).unwrap_err();
            assert_eq!(error.details().unwrap()["field"], field);
        }
    }
}
