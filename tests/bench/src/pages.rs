//! A long list over REST, page by page: whether the last page takes longer than the first.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::figures::{Figure, Goal, Line};
use crate::keep_alive::{KeepAlive, request};

/// By how much the last page may be slower before it counts as slowing.
const SLOWING: f64 = 1.25;
/// What the figures of a line are.
pub(crate) const COLUMNS: &[&str] = &[
    "first page ms",
    "last page ms",
    "last tenth / first tenth",
    "all pages s",
];

/// A list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pages<'a> {
    /// Who is asked, `host:port`.
    pub(crate) address: &'a str,
    /// The path with its query, to which limit and token are added.
    pub(crate) path: &'a str,
    /// What the rows are called in the answer.
    pub(crate) rows: &'a str,
    /// Rows of a page.
    pub(crate) page: usize,
    /// Rows that there are.
    pub(crate) listed: usize,
}

impl Pages<'_> {
    /// The time of each page, from the first to the last.
    ///
    /// # Errors
    /// What is refused; rows that are missing, or listed twice.
    pub(crate) async fn walk(self) -> anyhow::Result<Vec<Duration>> {
        let mut connection = KeepAlive::connect(self.address).await?;
        let mut times = Vec::new();
        let mut ids = BTreeSet::new();
        let mut rows = 0;
        let mut token = String::new();
        loop {
            let line = format!("GET {}&limit={}{token}", self.path, self.page);
            let bytes = request(self.address, &line, "", "");
            let began = Instant::now();
            let status = connection.exchange(&bytes).await?;
            times.push(began.elapsed());
            ensure!(status == 200, "{line}: {status}");
            let mut answer: Value = serde_json::from_slice(connection.body())?;
            let data = answer["data"].take();
            let found = data[self.rows].as_array();
            let found = found.with_context(|| format!("no list of {}", self.rows))?;
            rows += found.len();
            ids.extend(found.iter().map(|row| row["id"].to_string()));
            match data["next_page_token"].as_str() {
                Some(next) => token = format!("&page_token={next}"),
                None => break,
            }
        }
        ensure!(
            rows == self.listed && ids.len() == self.listed,
            "{rows} rows and {} different ones of {} {} are listed",
            ids.len(),
            self.listed,
            self.rows
        );
        Ok(times)
    }

    /// Several walks, one after the other, as a line of [`COLUMNS`].
    ///
    /// # Errors
    /// As [`Pages::walk`].
    pub(crate) async fn measure(self, rounds: usize) -> anyhow::Result<Line> {
        let mut walks = Vec::new();
        for _ in 0..rounds {
            let walk = self.walk().await?;
            println!(
                "{} by {}: {} pages in {:?}, first {:?}, last {:?}",
                self.rows,
                self.page,
                walk.len(),
                walk.iter().sum::<Duration>(),
                walk[0],
                walk[walk.len() - 1]
            );
            walks.push(walk);
        }
        let what = format!("{} {} by {}", self.listed, self.rows, self.page);
        Ok(line(what, &walks))
    }
}

fn line(what: String, walks: &[Vec<Duration>]) -> Line {
    let of = |time: fn(&[Duration]) -> f64| Figure::of(walks.iter().map(|walk| time(walk)));
    let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1000.0);
    // A page alone is as long as what came between; a tenth of them is less so.
    let slowing = of(|walk| {
        let tenth = walk.len().div_ceil(10);
        let sum = |pages: &[Duration]| pages.iter().sum::<Duration>().as_secs_f64();
        sum(&walk[walk.len() - tenth..]) / sum(&walk[..tenth])
    });
    Line {
        what,
        goal: slowing.middle().map(|slowing| Goal {
            text: "no slowing: <= 1.25",
            is_reached: slowing <= SLOWING,
        }),
        figures: vec![
            Figure::of(walks.iter().map(|walk| ms(walk.first()))),
            Figure::of(walks.iter().map(|walk| ms(walk.last()))),
            slowing,
            of(|walk| walk.iter().sum::<Duration>().as_secs_f64()),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_tenth_is_held_against_the_first() {
        let pages = |last: u64| {
            let mut walk = vec![Duration::from_millis(10); 100];
            walk[90..].fill(Duration::from_millis(last));
            walk
        };
        let reached = |last| line(String::new(), &[pages(last)]).goal;
        assert!(reached(12).is_some_and(|goal| goal.is_reached));
        assert!(reached(13).is_some_and(|goal| !goal.is_reached));
        assert!(line(String::new(), &[]).goal.is_none());
    }
}
