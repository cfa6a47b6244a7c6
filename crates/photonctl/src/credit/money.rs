//! Amounts and prices, as they are typed and as they are shown.
//!
//! Amounts are whole minor units. The one currency there is, JPY, has none below its whole one, so they are shown as they are.

use serde_json::Value;

/// The largest amount: what every JSON reader takes for the same number.
const MOST: u64 = (1 << 53) - 1;

/// Parts of a minor unit in which prices are told.
const NANOS: u64 = 1_000_000_000;

/// An amount that moves.
pub(crate) fn amount(text: &str) -> Result<u64, String> {
    match charge(text)? {
        0 => Err(format!("a whole number from 1 to {MOST}")),
        amount => Ok(amount),
    }
}

/// An amount that may be nothing.
pub(crate) fn charge(text: &str) -> Result<u64, String> {
    text.parse()
        .ok()
        .filter(|amount| *amount <= MOST)
        .ok_or_else(|| format!("a whole number of minor units up to {MOST}"))
}

/// A correction: positive brings credit in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signed(pub(crate) i64);

/// A whole number that is not 0.
pub(crate) fn signed(text: &str) -> Result<Signed, String> {
    text.parse::<i64>()
        .ok()
        .filter(|number| (1..=MOST).contains(&number.unsigned_abs()))
        .map(Signed)
        .ok_or_else(|| format!("a whole number from 1 to {MOST}, or its negative"))
}

/// A price in billionths of a minor unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Price {
    pub(crate) nanos: u64,
}

/// A decimal number with at most nine digits behind its point.
pub(crate) fn price(text: &str) -> Result<Price, String> {
    let wrong = || {
        format!(
            "a number with at most nine decimals, up to {}",
            shown_nanos(MOST)
        )
    };
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 9 {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let part: u64 = format!("{part:0<9}").parse().map_err(|_| wrong())?;
    let nanos = whole
        .checked_mul(NANOS)
        .and_then(|nanos| nanos.checked_add(part));
    match nanos {
        Some(nanos) if nanos <= MOST => Ok(Price { nanos }),
        _ => Err(wrong()),
    }
}

/// Times that have a name, and their seconds.
const TIMES: &[(&str, u64)] = &[
    ("second", 1),
    ("minute", 60),
    ("hour", 3_600),
    ("day", 86_400),
    ("month", 2_592_000),
];

/// A time in seconds, from its name or number.
pub(crate) fn per(text: &str) -> Result<u64, String> {
    let named = TIMES.iter().find(|(name, _)| *name == text);
    match (named, text.parse::<u64>()) {
        (Some((_, seconds)), _) => Ok(*seconds),
        (None, Ok(seconds)) if seconds > 0 => Ok(seconds),
        _ => Err("second, minute, hour, day, month, or a number of seconds".to_owned()),
    }
}

/// `15,000 JPY`; without a currency the bare number, and nothing for nothing.
pub(crate) fn shown(amount: &Value, currency: Option<&str>) -> String {
    let number = match amount.as_i64() {
        Some(number) => grouped(number),
        None => return crate::output::cell(amount),
    };
    match currency {
        Some(currency) => format!("{number} {currency}"),
        None => number,
    }
}

/// `10 per minute`, `0.05 per 1024 units and hour`, `3`.
pub(crate) fn shown_price(price: &Value) -> String {
    let mut text = match price["nanos"].as_u64() {
        Some(nanos) => shown_nanos(nanos),
        None => return String::new(),
    };
    if let Some(currency) = price["currency"].as_str() {
        text.push_str(&format!(" {currency}"));
    }
    let quantity = price["per_quantity"].as_u64().filter(|count| *count != 1);
    let time = price["per_seconds"].as_u64().map(|seconds| {
        let named = TIMES.iter().find(|(_, time)| *time == seconds);
        named.map_or_else(|| format!("{seconds} s"), |(name, _)| (*name).to_owned())
    });
    match (quantity, time) {
        (Some(quantity), Some(time)) => format!("{text} per {quantity} units and {time}"),
        (Some(quantity), None) => format!("{text} per {quantity} units"),
        (None, Some(time)) => format!("{text} per {time}"),
        (None, None) => text,
    }
}

fn shown_nanos(nanos: u64) -> String {
    let (whole, part) = (nanos / NANOS, nanos % NANOS);
    let text = format!("{whole}.{part:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    if number < 0 {
        text.push('-');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_are_shown_in_groups_with_their_currency() {
        for (number, text) in [
            (0, "0 JPY"),
            (999, "999 JPY"),
            (1_000, "1,000 JPY"),
            (-1_234_567, "-1,234,567 JPY"),
            (-100, "-100 JPY"),
            (9_007_199_254_740_991_i64, "9,007,199,254,740,991 JPY"),
        ] {
            assert_eq!(shown(&json!(number), Some("JPY")), text);
        }
        assert_eq!(shown(&json!(15_000), None), "15,000");
        assert_eq!(shown(&Value::Null, Some("JPY")), "");
    }

    #[test]
    fn prices_are_exact_in_both_directions() {
        for (text, nanos) in [
            ("10", 10_000_000_000),
            ("0.05", 50_000_000),
            ("0.000000001", 1),
            ("9007199.254740991", MOST),
            ("0", 0),
        ] {
            assert_eq!(price(text).unwrap().nanos, nanos);
            assert_eq!(
                shown_price(&json!({ "nanos": nanos, "per_quantity": 1 })),
                text
            );
        }
        for bad in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "1e3",
            "1,5",
            "0.0000000001",
            "9007199.254740992",
        ] {
            assert!(price(bad).is_err(), "{bad}");
        }
        for (quantity, seconds, text) in [
            (1, Some(60), "10 JPY per minute"),
            (1024, Some(3_600), "10 JPY per 1024 units and hour"),
            (1024, None, "10 JPY per 1024 units"),
            (1, Some(900), "10 JPY per 900 s"),
        ] {
            let rate = json!({
                "nanos": 10_000_000_000_u64, "currency": "JPY", "per_quantity": quantity, "per_seconds": seconds,
            });
            assert_eq!(shown_price(&rate), text);
        }
    }

    #[test]
    fn times_have_names_or_seconds() {
        assert_eq!(
            (per("hour"), per("month"), per("900")),
            (Ok(3_600), Ok(2_592_000), Ok(900))
        );
        assert!(per("0").is_err() && per("-1").is_err());
    }
}
