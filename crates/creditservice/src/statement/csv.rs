//! A statement as CSV (RFC 4180) with the columns of FOCUS, the FinOps Open Cost and Usage Specification: a row per SKU of a
//! charge, and one for what else moves the balance. The `BilledCost` of all rows is the negative of what they moved.

use std::{fmt::Write as _, slice};

use creditservice_ledger::{Entry, Line, Time, What};

use super::Statement;
use crate::{
    refusal::shown,
    transaction::{Transaction, TransactionType, text, usage},
};

const COLUMNS: &str = "BillingAccountId,SubAccountId,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,\
                       ChargeCategory,ChargeClass,BilledCost,EffectiveCost,BillingCurrency,PricingQuantity,SkuId,ResourceId,\
                       ChargeDescription,x_TransactionId";

/// The whole text.
pub(super) fn of(statement: &Statement) -> String {
    let mut csv = format!("{COLUMNS}\r\n");
    for entry in &statement.entries {
        let Some(transaction) = Transaction::of(entry, statement.shard) else {
            continue;
        };
        let lines = lines_of(entry);
        if lines.is_empty() {
            row(
                &mut csv,
                statement,
                &transaction,
                &Cells::of(&transaction, entry),
            );
        }
        for line in lines {
            row(&mut csv, statement, &transaction, &Cells::of_line(line));
        }
    }
    csv
}

/// The rated lines of an entry that account for all that it took; none for others.
fn lines_of(entry: &Entry) -> &[Line] {
    let lines: &[Line] = match &entry.what {
        What::Used { lines } | What::Settled { lines, .. } => lines,
        _ => &[],
    };
    let posted: i64 = lines.iter().map(|line| line.posted).sum();
    if posted == -entry.amount() {
        lines
    } else {
        &[]
    }
}

/// What differs from row to row.
struct Cells {
    start: String,
    end: String,
    category: &'static str,
    correction: bool,
    billed: i64,
    effective: String,
    quantity: String,
    sku: String,
    resource: String,
    description: String,
}

impl Cells {
    fn of(transaction: &Transaction, entry: &Entry) -> Self {
        use TransactionType as Type;
        let sku = match &entry.what {
            What::Charge { sku, .. } | What::Refund { sku, .. } => sku.to_string(),
            _ => String::new(),
        };
        let end = entry.at.plus_seconds(1);
        Self {
            start: shown(entry.at).to_string(),
            end: shown(end).to_string(),
            category: match transaction.kind {
                Type::Charge | Type::Reservation | Type::Release | Type::Expiry => "Usage",
                Type::Deposit | Type::Refund => "Credit",
                Type::Adjustment => "Adjustment",
            },
            correction: matches!(transaction.kind, Type::Refund | Type::Adjustment),
            billed: -transaction.amount,
            effective: (-transaction.amount).to_string(),
            quantity: String::new(),
            sku,
            resource: transaction
                .resource_id
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
            description: text(transaction.description.as_ref()),
        }
    }

    fn of_line(line: &Line) -> Self {
        let second = |seconds| shown(Time::from_seconds(seconds)).to_string();
        Self {
            start: second(line.usage.interval.start()),
            end: second(line.usage.interval.end()),
            category: "Usage",
            correction: line.adjustment,
            billed: line.posted,
            // What is still owed comes with the entry that collects it.
            effective: line.posted.to_string(),
            quantity: line.usage.quantity.get().to_string(),
            sku: line.usage.sku.to_string(),
            resource: line.usage.resource_id.to_string(),
            description: text(usage::of(slice::from_ref(line)).as_ref()),
        }
    }
}

fn row(csv: &mut String, statement: &Statement, transaction: &Transaction, cells: &Cells) {
    let billed = cells.billed.to_string();
    let period = statement.period;
    let (from, to) = (shown(period.from).to_string(), shown(period.to).to_string());
    let id = transaction.id.to_string();
    let columns = [
        statement.wallet.org.as_str(),
        statement.wallet.project.as_str(),
        &from,
        &to,
        &cells.start,
        &cells.end,
        cells.category,
        if cells.correction { "Correction" } else { "" },
        &billed,
        &cells.effective,
        statement.wallet.figures.currency.code(),
        &cells.quantity,
        &cells.sku,
        &cells.resource,
        &cells.description,
        &id,
    ];
    for (place, column) in columns.into_iter().enumerate() {
        if place > 0 {
            csv.push(',');
        }
        cell(csv, column);
    }
    csv.push_str("\r\n");
}

/// A cell. What a spreadsheet would take for a formula is shown as the text it is.
fn cell(csv: &mut String, text: &str) {
    let is_number = text.parse::<f64>().is_ok();
    let guard = if text.starts_with(['=', '+', '-', '@']) && !is_number {
        "'"
    } else {
        ""
    };
    if text.contains([',', '"', '\r', '\n']) {
        // Writing to a string cannot fail.
        let _ = write!(csv, "\"{guard}{}\"", text.replace('"', "\"\""));
    } else {
        let _ = write!(csv, "{guard}{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        for (text, written) in [
            ("", ""),
            ("vm-1", "vm-1"),
            ("-1800", "-1800"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=1+1", "'=1+1"),
            ("-cmd", "'-cmd"),
        ] {
            let mut csv = String::new();
            cell(&mut csv, text);
            assert_eq!(csv, written);
        }
    }
}
