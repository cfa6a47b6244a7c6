//! The comparison: the same load against two servers in turns, so that what the machine does meanwhile hits both.

mod plan;
mod sides;
mod table;

pub(crate) use plan::{Load, MEASURES, Measure};
pub(crate) use table::{Row, Sample, Spread, markdown, number, spread};

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;

use crate::data::{KEYS, KeySpace, VALUE_BYTES, Values};
use crate::election;
use crate::memory;
use crate::server::{Cluster, Kind, Single};
use plan::Stage;
use sides::Sides;

/// What is compared and how long.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The servers: the baseline, the candidate, and the ceiling if wanted.
    pub(crate) sides: Vec<Kind>,
    /// Runs of each measure on each side.
    pub(crate) runs: usize,
    /// Measured time of a run.
    pub(crate) duration: Duration,
    /// Keys of the paging and memory measures.
    pub(crate) many_keys: u64,
    /// Only measures whose id contains one of these; all when empty.
    pub(crate) only: Vec<String>,
    /// Parent of the data directories.
    pub(crate) directory: PathBuf,
}

impl Options {
    fn wants(&self, id: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| id.contains(part.as_str()))
    }

    fn measures(&self, stage: Stage) -> Vec<&'static Measure> {
        MEASURES
            .iter()
            .filter(|measure| measure.stage == stage && self.wants(measure.id))
            .collect()
    }

    fn warm_up(&self) -> Duration {
        self.duration / 10
    }
}

/// Runs everything that is wanted.
///
/// # Errors
/// The first thing that fails: a comparison with a hole in it is none.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    ensure!(options.runs > 0, "at least one run");
    let mut rows = Vec::new();
    for stage in [Stage::Read, Stage::Write, Stage::Watch, Stage::Many] {
        rows.extend(on_single_servers(options, stage).await?);
    }
    rows.extend(on_clusters(options).await?);
    Ok(rows)
}

async fn on_single_servers(options: &Options, stage: Stage) -> anyhow::Result<Vec<Row>> {
    let measures = options.measures(stage);
    if measures.is_empty() {
        return Ok(Vec::new());
    }
    let scratch = tempfile::tempdir_in(&options.directory)?;
    let mut sides = Sides::start(options, stage, scratch.path()).await?;
    let keys = KeySpace {
        prefix: "bench/",
        count: match stage {
            Stage::Many => options.many_keys,
            _ => KEYS,
        },
    };
    let values = Values::new(VALUE_BYTES);
    let mut rows = Vec::new();

    if stage == Stage::Many {
        // Filling is part of the memory measure: it is taken before anything else has touched the server.
        let mut row = Row::new(plan::memory(), &sides.kinds());
        for (index, server) in sides.servers().enumerate() {
            let mib = memory::resident(server, keys, &values).await?;
            row.add(index, Sample::plain(mib));
        }
        row.print();
        rows.push(row);
    } else {
        for server in sides
            .servers()
            .filter(|s| !matches!(s.kind, Kind::Ceiling(_)))
        {
            crate::workers::fill(
                &server.endpoint(),
                keys,
                &values,
                64,
                Duration::from_secs(300),
            )
            .await?;
        }
    }

    for measure in measures.iter().filter(|m| !matches!(m.load, Load::Memory)) {
        let mut row = Row::new(measure, &sides.kinds());
        for run in 0..options.runs {
            for index in sides.order(run, measure) {
                let server = &mut sides.list[index];
                let sample = one_run(options, measure, server, keys, &values, run).await?;
                row.add(index, sample);
            }
        }
        row.print();
        rows.push(row);
    }
    Ok(rows)
}

async fn one_run(
    options: &Options,
    measure: &Measure,
    server: &mut Single,
    keys: KeySpace,
    values: &Values,
    run: usize,
) -> anyhow::Result<Sample> {
    server.process.check()?;
    let before = server.usage().await?;
    let endpoints = [server.endpoint()];
    let start = keys.count * run as u64 / options.runs as u64;
    let measured = measure
        .load
        .run(
            &endpoints,
            keys,
            values,
            options.warm_up(),
            options.duration,
            start,
        )
        .await?;
    let used = server.usage().await?.since(before);
    Ok(Sample::new(&measured, used))
}

async fn on_clusters(options: &Options) -> anyhow::Result<Vec<Row>> {
    let measures = options.measures(Stage::Three);
    let kinds: Vec<Kind> = options
        .sides
        .iter()
        .filter(|kind| !matches!(kind, Kind::Ceiling(_)))
        .cloned()
        .collect();
    let mut rows = Vec::new();
    if measures.is_empty() {
        return Ok(rows);
    }
    let scratch = tempfile::tempdir_in(&options.directory)?;
    let mut clusters = Vec::new();
    for (index, kind) in kinds.iter().enumerate() {
        let home = scratch.path().join(index.to_string());
        clusters.push(Cluster::start(kind, &home).await?);
    }
    let keys = KeySpace {
        prefix: "bench/",
        count: KEYS,
    };
    let values = Values::new(VALUE_BYTES);
    for measure in measures {
        let mut row = Row::new(measure, &kinds);
        for run in 0..options.runs {
            for step in 0..clusters.len() {
                let index = (run + step) % clusters.len();
                let cluster = &mut clusters[index];
                let sample = if matches!(measure.load, Load::Election) {
                    Sample::plain(election::one(cluster).await?.as_secs_f64() * 1000.0)
                } else {
                    let before = cluster.usage().await?;
                    let measured = measure
                        .load
                        .run(
                            &cluster.endpoints(),
                            keys,
                            &values,
                            options.warm_up(),
                            options.duration,
                            0,
                        )
                        .await?;
                    Sample::new(&measured, cluster.usage().await?.since(before))
                };
                row.add(index, sample);
            }
        }
        row.print();
        rows.push(row);
    }
    Ok(rows)
}
