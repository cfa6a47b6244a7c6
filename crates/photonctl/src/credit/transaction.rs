//! `photonctl transactions` and `photonctl statement`.

use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use super::{
    cli::{Statement, Transactions},
    connection::Credit,
    record::{self, Field, Show},
};
use crate::{
    failure::Failure,
    output::{self, Format, Notation},
    rest::{
        client::Call,
        list::{self, Rows},
    },
};

const COLUMNS: &[Field] = &[
    ("timestamp", Show::Plain),
    ("type", Show::Plain),
    ("amount", Show::Money),
    ("description", Show::Plain),
    ("resource_id", Show::Plain),
    ("id", Show::Plain),
];

/// With what was in the wallet after each.
const STATEMENT_COLUMNS: &[Field] = &[
    ("timestamp", Show::Plain),
    ("type", Show::Plain),
    ("amount", Show::Money),
    ("balance", Show::Money),
    ("description", Show::Plain),
    ("resource_id", Show::Plain),
    ("id", Show::Plain),
];

const STATEMENT: &[Field] = &[
    ("project_id", Show::Plain),
    ("org_id", Show::Plain),
    ("from", Show::Plain),
    ("to", Show::Plain),
    ("opening", Show::Money),
    ("closing", Show::Money),
    ("currency", Show::Plain),
];

pub(crate) async fn transactions(credit: &Credit<'_>, asked: Transactions) -> Result<(), Failure> {
    let types: Vec<&str> = asked.types.iter().map(|one| one.word()).collect();
    let filters = [
        ("order", asked.oldest_first.then(|| "asc".to_owned())),
        ("types", (!types.is_empty()).then(|| types.join(","))),
        ("resource_id", asked.resource_id),
        ("from", asked.from.map(|time| time.to_string())),
        ("to", asked.to.map(|time| time.to_string())),
    ];
    let path = ["api", "v1", "wallets", &asked.project, "transactions"];
    let found = credit.list(&path, "transactions", &filters, asked.page);
    let Some(Rows { rows, next }) = found.await? else {
        return Ok(());
    };
    let currency = credit.currency(&asked.project).await;
    record::table(COLUMNS, &rows, |_| currency.as_deref())?;
    list::tell_of_more(next.as_deref());
    Ok(())
}

pub(crate) async fn statement(credit: &Credit<'_>, asked: Statement) -> Result<(), Failure> {
    let month = match (asked.month, asked.from) {
        (Some(month), _) => Some(month),
        (None, Some(_)) => None,
        (None, None) => Some(this_month(Timestamp::now())),
    };
    let path = ["api", "v1", "wallets", &asked.project, "statement"];
    let call = Call::get(&path)
        .query("month", month)
        .query("from", asked.from.map(|time| time.to_string()))
        .query("to", asked.to.map(|time| time.to_string()));
    if credit.format == Format::CSV {
        let call = call.query("format", Some("csv".to_owned()));
        let csv = credit.service.text(call).await?;
        return output::bytes(csv.as_bytes());
    }
    let statement = credit.service.call(call).await?;
    match credit.format {
        Format::Human => print(&statement),
        // The statement is of one project: its names are those of what is in it.
        Format::Data(Notation::Name) => {
            output::data(Notation::Name, &json!([statement["transactions"]]))
        }
        Format::Data(notation) => output::data(notation, &statement),
    }
}

fn this_month(now: Timestamp) -> String {
    now.to_zoned(TimeZone::UTC).strftime("%Y-%m").to_string()
}

fn print(statement: &Value) -> Result<(), Failure> {
    let currency = statement["currency"].as_str();
    let mut head = statement.clone();
    let transactions = head
        .as_object_mut()
        .and_then(|head| head.remove("transactions"));
    record::print(&head, STATEMENT, currency)?;
    let rows = with_balances(
        statement["opening"].as_i64().unwrap_or_default(),
        transactions
            .as_ref()
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice),
    );
    if rows.is_empty() {
        return Ok(());
    }
    output::line("")?;
    record::table(STATEMENT_COLUMNS, &rows, |_| currency)
}

/// Each transaction with what was in the wallet after it.
fn with_balances(opening: i64, transactions: &[Value]) -> Vec<Value> {
    let mut balance = opening;
    let with = |transaction: &Value| {
        balance = balance.saturating_add(transaction["amount"].as_i64().unwrap_or_default());
        let mut row = transaction.clone();
        row["balance"] = balance.into();
        row
    };
    transactions.iter().map(with).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_statement_runs_from_its_opening() {
        let rows = [json!({"amount": 5_000}), json!({"amount": -1_800})];
        let balances: Vec<Value> = with_balances(100, &rows)
            .iter()
            .map(|row| row["balance"].clone())
            .collect();
        assert_eq!(balances, [5_100, 3_300]);
    }

    #[test]
    fn the_present_month_is_that_of_utc() {
        let late = "2026-11-30T23:59:59Z".parse().unwrap();
        assert_eq!(this_month(late), "2026-11");
    }
}
