//! The records of many VMs: pages over REST, single VMs per second, and the control plane's memory with all of them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use rand::Rng as _;

use super::Options;
use super::records::{self, PROJECT};
use crate::compare::number;
use crate::figures::{Figure, Goal, Line, Table, milliseconds};
use crate::keep_alive::{KeepAlive, request};
use crate::load::{Outcome, Worker, connect_kv, drive};
use crate::memory::steady;
use crate::network::control::ORG;
use crate::pages::{self, Pages};
use crate::server::{Daemon, Store};

/// Rows of a page.
const PAGE: usize = 100;
const LEAST_GETS: f64 = 5_000.0;
const MOST_BYTES: f64 = 80e6;

/// Measures it.
///
/// # Errors
/// What went wrong first; VMs that are missing, listed twice, or were changed by whoever only looked at them.
pub(super) async fn run(options: &Options) -> anyhow::Result<Vec<Table>> {
    let scratch = super::scratch(options)?;
    let store = Store::start(&options.chainfire, 1, scratch.path()).await?;
    let mut service = Daemon::over(store, &options.plasmavmc, scratch.path(), "")?;
    service.start().await?;
    let one = records::of_one(&service).await?;
    let (keys, bytes) = one.size();
    println!("list: a VM is {keys} keys, with {bytes} bytes in them and their values");
    service.stop_in_order().await?;
    let mut kv = connect_kv(&service.store.endpoints()[0]).await?;
    let (ids, revision) = one.write(&mut kv, options.listed - 1).await?;
    let took = service.start().await?;
    println!("list: {} VMs; ready after {took:?}", options.listed);
    let started_mib = steady(service.process()?).await?;

    let path = format!("/api/v1/vms?org_id={ORG}&project_id={PROJECT}");
    let pages = Pages {
        address: &service.rest,
        path: &path,
        rows: "vms",
        page: PAGE,
        listed: options.listed,
    };
    let listed = Table {
        part: "VMs listed",
        columns: pages::COLUMNS,
        lines: vec![pages.measure(options.rounds).await?],
    };
    let gets = gets(options, &service, &ids).await?;
    let memory = memory(options, &service, started_mib).await?;
    let changed = records::changed_after(&mut kv, revision).await?;
    ensure!(changed == 0, "{changed} records were changed by who looked");
    Ok(vec![listed, gets, memory])
}

/// Which request is sent over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// What every request costs.
    Livez,
    /// A VM, a different one each time.
    Vm,
}

impl Asked {
    const ALL: [Self; 2] = [Self::Livez, Self::Vm];

    fn title(self) -> &'static str {
        match self {
            Self::Livez => "GET /livez: the way through the daemon",
            Self::Vm => "GET /api/v1/vms/{id}",
        }
    }
}

/// One run.
#[derive(Clone, Copy, Debug)]
struct Sample {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    service_cpu_us: f64,
}

async fn gets(options: &Options, service: &Daemon, ids: &[String]) -> anyhow::Result<Table> {
    let requests = |asked| -> Arc<[Vec<u8>]> {
        let line = |line: &str| request(&service.rest, line, "", "");
        match asked {
            Asked::Livez => [line("GET /livez")].into(),
            // There is one that is not among these: the first.
            Asked::Vm => ids
                .iter()
                .map(|id| line(&format!("GET /api/v1/vms/{id}")))
                .collect(),
        }
    };
    let requests = Asked::ALL.map(requests);
    let mut lines = Vec::new();
    for &clients in &options.clients {
        let mut samples = [Vec::new(), Vec::new()];
        for round in 0..options.rounds {
            for turn in 0..Asked::ALL.len() {
                let index = (round + turn) % Asked::ALL.len();
                let sample = measure(options, service, &requests[index], clients).await?;
                println!(
                    "list {}, {clients} clients: {}/s, p99 {} ms",
                    Asked::ALL[index].title(),
                    number(sample.per_second),
                    number(sample.p99_ms)
                );
                samples[index].push(sample);
            }
        }
        let both = Asked::ALL.into_iter().zip(samples);
        lines.extend(both.map(|(asked, samples)| line(asked, clients, &samples)));
    }
    Ok(Table {
        part: "single VMs over REST",
        columns: &["per second", "p50 ms", "p99 ms", "service's CPU µs"],
        lines,
    })
}

async fn measure(
    options: &Options,
    service: &Daemon,
    requests: &Arc<[Vec<u8>]>,
    clients: usize,
) -> anyhow::Result<Sample> {
    let mut workers = Vec::new();
    for _ in 0..clients {
        workers.push(Client {
            connection: KeepAlive::connect(&service.rest).await?,
            requests: Arc::clone(requests),
        });
    }
    let duration = Duration::from_secs_f64(options.seconds);
    let before = service.process()?.cpu_s()?;
    let outcome = drive(workers, duration / 10, duration).await?;
    let cpu_s = service.process()?.cpu_s()? - before;
    Ok(Sample::new(&outcome, cpu_s))
}

impl Sample {
    fn new(outcome: &Outcome, cpu_s: f64) -> Self {
        Self {
            per_second: outcome.rate(),
            p50_ms: milliseconds(&outcome.latency, 0.5),
            p99_ms: milliseconds(&outcome.latency, 0.99),
            service_cpu_us: cpu_s * 1e6 / outcome.operations_with_warm_up as f64,
        }
    }
}

fn line(asked: Asked, clients: usize, samples: &[Sample]) -> Line {
    let of = |figure: fn(&Sample) -> f64| Figure::of(samples.iter().map(figure));
    let rate = of(|sample| sample.per_second);
    let has_goal = asked == Asked::Vm;
    Line {
        what: format!("{}, {clients} in flight", asked.title()),
        goal: rate.middle().filter(|_| has_goal).map(|rate| Goal {
            text: ">= 5,000/s",
            is_reached: rate >= LEAST_GETS,
        }),
        figures: vec![
            rate,
            of(|sample| sample.p50_ms),
            of(|sample| sample.p99_ms),
            of(|sample| sample.service_cpu_us),
        ],
    }
}

/// A client that asks one of its requests, again and again.
struct Client {
    connection: KeepAlive,
    requests: Arc<[Vec<u8>]>,
}

impl Worker for Client {
    async fn step(&mut self) -> anyhow::Result<()> {
        let index = rand::rng().random_range(0..self.requests.len());
        let status = self.connection.exchange(&self.requests[index]).await?;
        let body = || String::from_utf8_lossy(self.connection.body()).into_owned();
        ensure!(status == 200, "{status} {}", body());
        Ok(())
    }
}

async fn memory(options: &Options, service: &Daemon, started_mib: f64) -> anyhow::Result<Table> {
    let process = service.process()?;
    let resident = steady(process).await?;
    println!(
        "list: resident {started_mib:.1} MiB after the start, {resident:.1} MiB after the load"
    );
    let bytes = resident.max(started_mib) * f64::from(1 << 20);
    Ok(Table {
        part: "control plane's memory",
        columns: &["after the start MiB", "after the load MiB", "at most MiB"],
        lines: vec![Line {
            what: format!("{} VMs", options.listed),
            goal: Some(Goal {
                text: "<= 80 MB, 76.3 MiB",
                is_reached: bytes <= MOST_BYTES,
            }),
            figures: vec![
                Figure::One(started_mib),
                Figure::One(resident),
                Figure::One(process.peak_mib()?),
            ],
        }],
    })
}
