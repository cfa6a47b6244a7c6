//! Samples to medians, ratios and the table.

use std::fmt::{self, Write as _};

use super::sides::{SideKind, Used};
use crate::compare::{Spread, number, spread};
use crate::load::Outcome;

/// One run of one side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Reservations that were made and committed, per second.
    pub(crate) pairs: f64,
    /// Of a request, which is half a pair: median and 99th percentile in milliseconds.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Microseconds of the servers' CPU time for each pair.
    pub(crate) cpu_us: f64,
    /// How much of that is the service's, and not its store's.
    pub(crate) service_cpu_us: Option<f64>,
    /// Microseconds of the load's own CPU time for each pair.
    pub(crate) own_cpu_us: f64,
    /// Calls of fsync for each pair.
    pub(crate) fsyncs: Option<f64>,
}

impl Sample {
    /// From a run whose every operation was half a pair, and what servers and load used in it.
    pub(crate) fn new(outcome: &Outcome, used: Used, own_cpu_s: f64) -> Self {
        let all = outcome.operations_with_warm_up as f64 / 2.0;
        let ms = |quantile| outcome.latency.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            pairs: outcome.rate() / 2.0,
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            cpu_us: used.all.cpu_s * 1e6 / all,
            service_cpu_us: used.service_cpu_s.map(|cpu_s| cpu_s * 1e6 / all),
            own_cpu_us: own_cpu_s * 1e6 / all,
            fsyncs: used.all.fsyncs.map(|fsyncs| fsyncs / all),
        }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} pairs/s, p50 {} p99 {} ms",
            number(self.pairs),
            number(self.p50_ms),
            number(self.p99_ms)
        )
    }
}

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    part: String,
    side: SideKind,
    samples: Vec<Sample>,
    /// How many times the first side's pairs, round by round; `None` of the first side itself.
    ratio: Option<Spread>,
}

/// The lines of a part; the first side is what the others are compared with.
pub(crate) fn rows(part: String, sides: Vec<(SideKind, Vec<Sample>)>) -> Vec<Row> {
    let base: Vec<f64> = sides
        .first()
        .map(|(_, samples)| samples.iter().map(|sample| sample.pairs).collect())
        .unwrap_or_default();
    let line = |(index, (side, samples)): (usize, (SideKind, Vec<Sample>))| Row {
        part: part.clone(),
        side,
        ratio: match index {
            0 => None,
            _ => spread(samples.iter().zip(&base).map(|(of, base)| of.pairs / base)),
        },
        samples,
    };
    sides.into_iter().enumerate().map(line).collect()
}

impl Row {
    fn median(&self, of: impl Fn(&Sample) -> Option<f64>) -> String {
        spread(self.samples.iter().filter_map(of))
            .map_or_else(|| "-".to_owned(), |spread| number(spread.median))
    }

    fn markdown(&self) -> String {
        let ratio = self.ratio.map_or_else(
            || "1".to_owned(),
            |r| {
                let [median, least, greatest] = [r.median, r.least, r.greatest].map(number);
                format!("**{median}** ({least} - {greatest})")
            },
        );
        format!(
            "| {} | {} | {ratio} | {} | {} / {} | {} | {} | {} | {} |",
            self.part,
            self.side.title(),
            self.median(|s| Some(s.pairs)),
            self.median(|s| Some(s.p50_ms)),
            self.median(|s| Some(s.p99_ms)),
            self.median(|s| Some(s.cpu_us)),
            self.median(|s| s.service_cpu_us),
            self.median(|s| Some(s.own_cpu_us)),
            self.median(|s| s.fsyncs),
        )
    }
}

/// The whole table in Markdown.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| on | ledger | median ratio (least - greatest) | pairs/s | p50 / p99 ms of a request | servers' CPU µs a pair | of it the service's | load's | fsyncs a pair |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", row.markdown());
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn sample(pairs: f64) -> Sample {
        Sample {
            pairs,
            p50_ms: 1.0,
            p99_ms: 2.0,
            cpu_us: 3.0,
            service_cpu_us: None,
            own_cpu_us: 4.0,
            fsyncs: None,
        }
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let base = vec![sample(10.0), sample(20.0), sample(40.0)];
        let fast = vec![sample(100.0), sample(100.0), sample(100.0)];
        let rows = rows(
            "one wallet".to_owned(),
            vec![(SideKind::Postgres, base), (SideKind::Rest, fast)],
        );
        assert!(rows[0].ratio.is_none());
        let ratio = rows[1].ratio.unwrap();
        assert_eq!(
            (ratio.median, ratio.least, ratio.greatest),
            (5.0, 2.5, 10.0)
        );
        let table = markdown(&rows);
        assert!(table.contains("**5.00** (2.50 - 10.0)"), "{table}");
    }
}
