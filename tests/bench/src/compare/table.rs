//! Samples to medians, ratios and the table.

use std::fmt::Write;

use super::plan::{Goal, Measure, Measured};
use crate::server::{Kind, Usage};

/// One run of one measure on one side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// In the measure's unit.
    pub(crate) value: f64,
    /// Median and 99th percentile in milliseconds, where there are requests to time.
    pub(crate) latency_ms: Option<(f64, f64)>,
    /// Microseconds of the server's CPU time for each operation.
    pub(crate) cpu_us: Option<f64>,
    /// Calls of fsync for each operation.
    pub(crate) fsyncs: Option<f64>,
}

impl Sample {
    /// From a run under load and what the server used in it.
    pub(crate) fn new(measured: &Measured, used: Usage) -> Self {
        let operations = measured.operations as f64;
        let ms = |quantile| measured.latency.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            value: measured.value,
            latency_ms: Some((ms(0.5), ms(0.99))),
            cpu_us: Some(used.cpu_s * 1e6 / operations),
            fsyncs: used.fsyncs.map(|fsyncs| fsyncs / operations),
        }
    }

    /// A value without requests to time.
    pub(crate) fn plain(value: f64) -> Self {
        Self {
            value,
            latency_ms: None,
            cpu_us: None,
            fsyncs: None,
        }
    }
}

/// All runs of one measure: the first side is the baseline, the second the candidate.
#[derive(Debug)]
pub(crate) struct Row {
    measure: &'static Measure,
    kinds: Vec<Kind>,
    sides: Vec<Vec<Sample>>,
}

/// Median, least and greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
}

/// The spread of some numbers; `None` of none.
pub(crate) fn spread(numbers: impl IntoIterator<Item = f64>) -> Option<Spread> {
    let mut sorted: Vec<f64> = numbers.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let (least, greatest) = (*sorted.first()?, *sorted.last()?);
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    };
    Some(Spread {
        median,
        least,
        greatest,
    })
}

impl Row {
    /// An empty row.
    pub(crate) fn new(measure: &'static Measure, kinds: &[Kind]) -> Self {
        Self {
            measure,
            kinds: kinds.to_vec(),
            sides: vec![Vec::new(); kinds.len()],
        }
    }

    /// Adds a run of a side, and shows it.
    pub(crate) fn add(&mut self, side: usize, sample: Sample) {
        println!(
            "  {} {}: {}{}",
            self.measure.id,
            self.kinds[side].name(),
            number(sample.value),
            self.measure.load.unit()
        );
        self.sides[side].push(sample);
    }

    /// How many times better than side `base` side `of` is, run by run.
    fn ratio(&self, of: usize, base: usize) -> Option<Spread> {
        let (of, base) = (self.sides.get(of)?, self.sides.get(base)?);
        spread(of.iter().zip(base).map(|(of, base)| {
            if self.measure.load.more_is_better() {
                of.value / base.value
            } else {
                base.value / of.value
            }
        }))
    }

    fn value(&self, side: usize) -> Option<f64> {
        spread(self.sides.get(side)?.iter().map(|sample| sample.value)).map(|s| s.median)
    }

    /// The candidate's share of the ceiling, where that was measured.
    fn share_of_ceiling(&self) -> Option<f64> {
        let ceiling = self
            .kinds
            .iter()
            .position(|kind| matches!(kind, Kind::Ceiling(_)))?;
        self.ratio(1, ceiling).map(|ratio| ratio.median)
    }

    fn reached(&self) -> Option<bool> {
        Some(match self.measure.goal {
            Goal::Ratio(least) => self.ratio(1, 0)?.median >= least,
            Goal::Below(limit) => self.value(1)? < limit,
        })
    }

    /// Shows the row in one line.
    pub(crate) fn print(&self) {
        let ratio = self.ratio(1, 0).map_or_else(String::new, |r| {
            format!("{:.2}x [{:.2} .. {:.2}]", r.median, r.least, r.greatest)
        });
        let values: Vec<String> = (0..self.kinds.len())
            .filter_map(|side| {
                let value = self.value(side)?;
                Some(format!(
                    "{} {}{}{}",
                    self.kinds[side].name(),
                    number(value),
                    self.measure.load.unit(),
                    self.latency(side)
                        .map_or_else(String::new, |l| format!(" (p50/p99 {l} ms)"))
                ))
            })
            .collect();
        println!("{}: {ratio} {}", self.measure.title, values.join(", "));
    }

    fn latency(&self, side: usize) -> Option<String> {
        let samples: Vec<(f64, f64)> = self.sides[side]
            .iter()
            .filter_map(|s| s.latency_ms)
            .collect();
        let p50 = spread(samples.iter().map(|l| l.0))?.median;
        let p99 = spread(samples.iter().map(|l| l.1))?.median;
        Some(format!("{} / {}", number(p50), number(p99)))
    }

    fn cost(&self, side: usize, of: impl Fn(&Sample) -> Option<f64>) -> String {
        spread(self.sides[side].iter().filter_map(of))
            .map_or_else(|| "-".to_owned(), |cost| number(cost.median))
    }

    /// The row as a line of the Markdown table.
    fn markdown(&self) -> String {
        let unit = self.measure.load.unit();
        let value = |side| {
            self.value(side).map_or_else(
                || "-".to_owned(),
                |value| format!("{} {unit}", number(value)),
            )
        };
        let goal = match self.measure.goal {
            Goal::Ratio(least) => format!("{least}x"),
            Goal::Below(limit) => format!("< {} {unit}", number(limit)),
        };
        let ratio = self.ratio(1, 0).map_or_else(
            || "-".to_owned(),
            |r| format!("**{:.2}** ({:.2} - {:.2})", r.median, r.least, r.greatest),
        );
        let reached = match self.reached() {
            Some(true) => "yes",
            Some(false) => "no",
            None => "-",
        };
        let share = self
            .share_of_ceiling()
            .map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0));
        let latency = |side| self.latency(side).unwrap_or_else(|| "-".to_owned());
        let pair =
            |of: fn(&Sample) -> Option<f64>| format!("{} / {}", self.cost(1, of), self.cost(0, of));
        format!(
            "| {} | {goal} | {ratio} | {reached} | {} | {} | {} | {} | {} | {} | {share} |",
            self.measure.title,
            value(1),
            value(0),
            latency(1),
            latency(0),
            pair(|sample| sample.cpu_us),
            pair(|sample| sample.fsyncs),
        )
    }
}

/// The whole table in Markdown.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| measure | goal | median ratio (least - greatest) | reached | candidate | baseline | p50 / p99 ms, candidate | p50 / p99 ms, baseline | server CPU us/op, candidate / baseline | fsyncs/op, candidate / baseline | share of the ceiling |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", row.markdown());
    }
    text
}

/// Three significant digits, thousands separated.
pub(crate) fn number(value: f64) -> String {
    if value >= 1000.0 {
        let rounded = format!("{value:.0}");
        let mut text = String::new();
        for (index, digit) in rounded.chars().enumerate() {
            if index > 0 && (rounded.len() - index).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        text
    } else if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        let odd = spread([3.0, 1.0, 2.0]).map(|s| (s.median, s.least, s.greatest));
        assert_eq!(odd, Some((2.0, 1.0, 3.0)));
        assert_eq!(spread([1.0, 2.0]).map(|s| s.median), Some(1.5));
        assert_eq!(spread([]), None);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(1_234_567.8), "1,234,568");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(0.5), "0.50");
    }

    #[test]
    fn the_ratio_says_how_much_better_for_rates_and_for_times() {
        let kinds = [Kind::Etcd("a".into()), Kind::Chainfire("b".into())];
        for measure in super::super::MEASURES {
            let mut row = Row::new(measure, &kinds);
            let (base, better) = if measure.load.more_is_better() {
                (10.0, 20.0)
            } else {
                (20.0, 10.0)
            };
            row.add(0, Sample::plain(base));
            row.add(1, Sample::plain(better));
            assert_eq!(
                row.ratio(1, 0).map(|r| r.median),
                Some(2.0),
                "{}",
                measure.id
            );
        }
    }
}
