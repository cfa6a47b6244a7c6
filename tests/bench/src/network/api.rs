//! Ports made per second over REST and gRPC, beside bare transactions of the same keys straight in the store; in turns.
//!
//! A port is one transaction, and the changes of a project are written one after the other, as its audit trail wants it: so
//! ports of one project come as fast as the store does one thing after another, those of several projects as fast as it does
//! things at once. The bare transactions compare and write as many keys with values as long, and none waits for another.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use etcd_client::GetOptions;
use photon_proto::photon::prismnet::v1::{CreatePortRequest, ports_client::PortsClient};
use tonic::transport::{Channel, Endpoint};

use super::Options;
use super::bare::{self, Bare, Template};
use super::control::Control;
use crate::compare::number;
use crate::figures::{Figure, Goal, Line, Table, milliseconds};
use crate::keep_alive::{KeepAlive, request};
use crate::load::{Outcome, Worker, connect_kv, drive};
use crate::server::{Daemon, Store, own_cpu_s};

/// What is put off costs too: servers are watched for so long after a run.
const SETTLE: Duration = Duration::from_secs(1);

/// By which way ports are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Bare,
    Rest,
    Grpc,
}

impl Side {
    /// The first is what the others are compared with.
    const ALL: [Self; 3] = [Self::Bare, Self::Rest, Self::Grpc];

    fn title(self) -> &'static str {
        match self {
            Self::Bare => "bare transactions",
            Self::Rest => "REST",
            Self::Grpc => "gRPC",
        }
    }
}

/// One run of one side.
#[derive(Clone, Copy, Debug)]
struct Sample {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Microseconds of CPU time for each port: the service's, the store's, and the load's.
    service_cpu_us: f64,
    store_cpu_us: f64,
    own_cpu_us: f64,
}

/// Measures it.
///
/// # Errors
/// What went wrong first; an address that was not claimed though its port was acknowledged.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Table> {
    let scratch = super::scratch(options)?;
    let store = Store::start(&options.chainfire, 1, scratch.path()).await?;
    let mut service = Daemon::over(store, &options.prismnet, scratch.path(), "")?;
    service.start().await?;
    let template = bare::template(&service).await?;
    println!("api: a port is {template}");
    let mut lines = Vec::new();
    for &projects in &options.projects {
        for &clients in &options.clients {
            let samples = measure(options, &service, &template, projects, clients).await?;
            lines.extend(lines_of(&samples, projects, clients));
        }
    }
    Ok(Table {
        part: "ports made",
        columns: &[
            "per second",
            "p50 ms",
            "p99 ms",
            "share of the bare rate",
            "service's CPU µs",
            "store's CPU µs",
            "load's CPU µs",
        ],
        lines,
    })
}

async fn measure(
    options: &Options,
    service: &Daemon,
    template: &Template,
    projects: usize,
    clients: usize,
) -> anyhow::Result<[Vec<Sample>; 3]> {
    let mut samples = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..options.rounds {
        for turn in 0..Side::ALL.len() {
            let index = (round + turn) % Side::ALL.len();
            let run = Run {
                options,
                service,
                template,
                projects,
                clients,
                side: Side::ALL[index],
            };
            let sample = run.measure(round).await?;
            println!(
                "api {projects} projects, {clients} clients, {}: {}/s, p50 {} p99 {} ms",
                run.side.title(),
                number(sample.per_second),
                number(sample.p50_ms),
                number(sample.p99_ms)
            );
            samples[index].push(sample);
        }
    }
    Ok(samples)
}

/// A run of a side.
#[derive(Clone, Copy)]
struct Run<'a> {
    options: &'a Options,
    service: &'a Daemon,
    template: &'a Template,
    projects: usize,
    clients: usize,
    side: Side,
}

impl Run<'_> {
    async fn measure(self, round: usize) -> anyhow::Result<Sample> {
        if self.side == Side::Bare {
            let clients = self.bare().await?;
            return self.drive(clients).await.map(|(sample, _)| sample);
        }
        let subnets = self.subnets(round).await?;
        let clients = self.doors(&subnets).await?;
        let (sample, made) = self.drive(clients).await?;
        self.check(&subnets, made).await?;
        Ok(sample)
    }

    /// New ones, so that every run begins with none in use.
    async fn subnets(self, round: usize) -> anyhow::Result<Vec<String>> {
        let mut control = Control::connect(&self.service.rest).await?;
        let mut subnets = Vec::new();
        for index in 0..self.projects {
            let side = self.side.title().to_ascii_lowercase();
            let project = format!("{side}-{}-{}-{round}-{index}", self.projects, self.clients);
            subnets.push(control.subnet(&project).await?);
        }
        Ok(subnets)
    }

    async fn doors(self, subnets: &[String]) -> anyhow::Result<Vec<Doors>> {
        let mut channels = Vec::new();
        if self.side == Side::Grpc {
            for _ in 0..self.options.connections {
                let endpoint = Endpoint::new(self.service.grpc.clone())?;
                channels.push(endpoint.tcp_nodelay(true).connect().await?);
            }
        }
        let mut clients = Vec::new();
        for index in 0..self.clients {
            let subnet = subnets[index % subnets.len()].clone();
            clients.push(match channels.get(index % channels.len().max(1)) {
                Some(channel) => Doors::Grpc(PortsClient::new(channel.clone()), subnet),
                None => Doors::rest(&self.service.rest, &subnet).await?,
            });
        }
        Ok(clients)
    }

    async fn bare(self) -> anyhow::Result<Vec<Bare>> {
        let mut stores = Vec::new();
        for _ in 0..self.options.connections {
            stores.push(bare::connect(self.service).await?);
        }
        let template = Arc::new(self.template.clone());
        let client = |index: usize| Bare::new(stores[index % stores.len()].clone(), &template);
        Ok((0..self.clients).map(client).collect())
    }

    /// What a run measured, and how many ports it made in all.
    async fn drive<W: Worker>(self, clients: Vec<W>) -> anyhow::Result<(Sample, u64)> {
        let duration = Duration::from_secs_f64(self.options.seconds);
        let (before, service_before) = self.service.usage().await?;
        let own_before = own_cpu_s()?;
        let outcome = drive(clients, duration / 10, duration).await?;
        let own_cpu_s = own_cpu_s()? - own_before;
        tokio::time::sleep(SETTLE).await;
        let (after, service_after) = self.service.usage().await?;
        let service_cpu_s = service_after - service_before;
        let store_cpu_s = after.since(before).cpu_s - service_cpu_s;
        let all = outcome.operations_with_warm_up;
        let sample = Sample::new(&outcome, [service_cpu_s, store_cpu_s, own_cpu_s]);
        Ok((sample, all))
    }

    /// Every acknowledged port has claimed an address, and no other has.
    async fn check(self, subnets: &[String], made: u64) -> anyhow::Result<()> {
        let mut kv = connect_kv(&self.service.store.endpoints()[0]).await?;
        let mut claimed = 0;
        for subnet in subnets {
            let prefix = format!("/photon/prismnet/address/{subnet}/");
            let count = GetOptions::new().with_prefix().with_count_only();
            claimed += kv.get(prefix, Some(count)).await?.count();
        }
        ensure!(
            u64::try_from(claimed)? == made,
            "{made} ports were acknowledged, and {claimed} addresses are claimed"
        );
        Ok(())
    }
}

impl Sample {
    fn new(outcome: &Outcome, cpu_s: [f64; 3]) -> Self {
        let all = outcome.operations_with_warm_up as f64;
        let [service_cpu_us, store_cpu_us, own_cpu_us] = cpu_s.map(|cpu_s| cpu_s * 1e6 / all);
        Self {
            per_second: outcome.rate(),
            p50_ms: milliseconds(&outcome.latency, 0.5),
            p99_ms: milliseconds(&outcome.latency, 0.99),
            service_cpu_us,
            store_cpu_us,
            own_cpu_us,
        }
    }
}

fn lines_of(samples: &[Vec<Sample>; 3], projects: usize, clients: usize) -> Vec<Line> {
    let bare = &samples[0];
    let line = |(side, samples): (Side, &Vec<Sample>)| {
        let of = |figure: fn(&Sample) -> f64| Figure::of(samples.iter().map(figure));
        let rate = of(|s| s.per_second);
        let pairs = samples.iter().zip(bare);
        let share = Figure::of(pairs.map(|(one, bare)| one.per_second / bare.per_second));
        let is_bare = side == Side::Bare;
        let goal = rate.middle().filter(|_| !is_bare).map(|rate| Goal {
            text: ">= 1,000/s",
            is_reached: rate >= 1_000.0,
        });
        let of_projects = match projects {
            1 => "one project".to_owned(),
            more => format!("{more} projects"),
        };
        Line {
            what: format!("{}, {of_projects}, {clients} in flight", side.title()),
            goal,
            figures: vec![
                rate,
                of(|s| s.p50_ms),
                of(|s| s.p99_ms),
                if is_bare { Figure::None } else { share },
                if is_bare {
                    Figure::None
                } else {
                    of(|s| s.service_cpu_us)
                },
                of(|s| s.store_cpu_us),
                of(|s| s.own_cpu_us),
            ],
        }
    };
    Side::ALL.into_iter().zip(samples).map(line).collect()
}

/// A client of the service.
enum Doors {
    /// A connection of its own, and the request that it sends over and over.
    Rest(KeepAlive, Vec<u8>),
    /// A share of a connection, and the subnet.
    Grpc(PortsClient<Channel>, String),
}

impl Doors {
    async fn rest(address: &str, subnet: &str) -> anyhow::Result<Self> {
        let body = format!(r#"{{"subnet_id":"{subnet}"}}"#);
        let bytes = request(address, "POST /api/v1/ports", "", &body);
        Ok(Self::Rest(KeepAlive::connect(address).await?, bytes))
    }
}

impl Worker for Doors {
    async fn step(&mut self) -> anyhow::Result<()> {
        match self {
            // The client shares the machine with the server: the answer is not parsed.
            Self::Rest(connection, request) => {
                let status = connection.exchange(request).await?;
                let body = || String::from_utf8_lossy(connection.body());
                ensure!(status == 201, "{status} {}", body());
            }
            Self::Grpc(client, subnet) => {
                let asked = CreatePortRequest {
                    subnet_id: subnet.clone(),
                    ..CreatePortRequest::default()
                };
                let made = client.create(asked).await.context("a port")?.into_inner();
                ensure!(!made.ip_address.is_empty(), "no address: {made:?}");
            }
        }
        Ok(())
    }
}
