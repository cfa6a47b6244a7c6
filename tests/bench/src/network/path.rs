//! What the data path costs: TCP throughput (iperf3) and round trips of pings and datagrams between two ports, on one host and on
//! two, in a group with many rules; beside the same between two ends of a bare bridge and a bare VXLAN, in turns.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::control::{Control, Port};
use super::lab::Lab;
use super::{Options, inside, plain, probe};
use crate::compare::number;
use crate::figures::{Figure, Goal, Line, Table};
use crate::server::Process;

const PROJECT: &str = "path";
const HOSTS: usize = 2;
const SETTING_UP: Duration = Duration::from_secs(60);
/// How long an end of iperf3 may take beyond its time.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where datagrams are answered.
const ECHO_PORT: u16 = 7;
const SILENCE: Duration = Duration::from_millis(500);
/// The part of a run's time that each kind of round trip takes.
const ROUND_TRIPS: f64 = 0.25;

/// Who is measured: the others are compared with it, or it with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Ours,
    Bare,
}

/// Two ends.
struct Pair {
    from: PathBuf,
    to: PathBuf,
    address: Ipv4Addr,
    /// iperf3's other end.
    _server: Process,
}

/// What a run measured.
#[derive(Debug)]
struct Sample {
    gbit: f64,
    /// In nanoseconds.
    datagrams: Histogram<u64>,
    echoes: Histogram<u64>,
}

/// Two ports on one host or on two, and the same bare.
struct Way {
    title: &'static str,
    ours: Pair,
    bare: Pair,
    samples: Vec<(Sample, Sample)>,
}

/// Measures it.
///
/// # Errors
/// What went wrong first; iperf3 is not there.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Table> {
    let version = Command::new("iperf3").arg("--version").output();
    version.context("iperf3 is needed: deploy/toolchain/install-packages iperf3")?;
    let lab = Lab::start(options.programs(), HOSTS, plain::NODES).await?;
    let ports = Ports::set_up(&lab, options.rules).await?;
    let bare = plain::set_up(&lab, HOSTS).await?;
    let scratch = super::scratch(options)?;
    let log = scratch.path().join("iperf3.log");
    let [here, near, far] = &ports.all;
    let mut ways = Vec::new();
    for (title, port, (node, address)) in [
        ("on one host", near, bare.near),
        ("over VXLAN", far, bare.far),
    ] {
        let (from, to) = (here.0.clone(), port.0.clone());
        ways.push(Way {
            title,
            ours: Pair::new(from, to, port.1, &log).await?,
            bare: Pair::new(lab.node(bare.from), lab.node(node), address, &log).await?,
            samples: Vec::new(),
        });
    }
    for round in 0..options.rounds {
        for way in &mut ways {
            way.measure(round, options.seconds).await?;
        }
    }
    let mode = lab.mode().await?;
    let with = format!("{} rules, mode {mode}", options.rules);
    Ok(Table {
        part: "data path",
        columns: &["PrismNET", "bare", "PrismNET / bare"],
        lines: ways.iter().flat_map(|way| way.lines(&with)).collect(),
    })
}

/// Three ports and where they are: two on the first host, one on the second.
struct Ports {
    all: [(PathBuf, Ipv4Addr); 3],
}

impl Ports {
    async fn set_up(lab: &Lab, rules: usize) -> anyhow::Result<Self> {
        let mut control = Control::connect(&lab.network.rest).await?;
        let subnet = control.subnet(PROJECT).await?;
        let group = control.group(PROJECT, "ends").await?;
        for rule in rules_of(rules) {
            control.rule(&group, &rule).await?;
        }
        let all = [(0, "first"), (0, "second"), (1, "third")];
        let mut ports = Vec::new();
        for (host, name) in all {
            let body = json!({
                "subnet_id": subnet, "kind": "service", "name": name, "host_id": lab.hosts[host].name,
                "security_group_ids": [group],
            });
            ports.push((host, control.port(&body).await?));
        }
        wait(&mut control, lab, &subnet).await?;
        let place = |(host, port): &(usize, Port)| (lab.hosts[*host].port(&port.id), port.address);
        let places: Vec<_> = ports.iter().map(place).collect();
        Ok(Self {
            all: places.try_into().ok().context("three ports")?,
        })
    }
}

async fn wait(control: &mut Control, lab: &Lab, subnet: &str) -> anyhow::Result<()> {
    for (host, count) in [(0, 2), (1, 1)] {
        let name = &lab.hosts[host].name;
        control.active(subnet, name, count, SETTING_UP).await?;
    }
    Ok(())
}

/// So many rules: the last two let everything through, the others are about something else.
fn rules_of(count: usize) -> Vec<Value> {
    let others = (0..count.saturating_sub(2)).map(|index| {
        let direction = if index.is_multiple_of(2) {
            "ingress"
        } else {
            "egress"
        };
        let [_, _, high, low] = u32::try_from(index).unwrap_or(u32::MAX).to_be_bytes();
        json!({
            "direction": direction, "protocol": "tcp", "port_min": 10_000, "port_max": 10_100,
            "remote_cidr": format!("198.51.{high}.{low}/32"),
        })
    });
    let everything = ["ingress", "egress"].map(
        |direction| json!({"direction": direction, "protocol": "any", "remote_cidr": "10.0.0.0/8"}),
    );
    others.chain(everything).collect()
}

impl Pair {
    /// With a server of iperf3 that has answered.
    async fn new(
        from: PathBuf,
        to: PathBuf,
        address: Ipv4Addr,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let arguments = [
            format!("--net={}", to.display()),
            "iperf3".to_owned(),
            "--server".to_owned(),
        ];
        let pair = Self {
            _server: Process::start(Path::new("nsenter"), &arguments, log)?,
            from,
            to,
            address,
        };
        let end = Instant::now() + SETTING_UP;
        while let Err(error) = pair.throughput(1.0).await {
            if Instant::now() >= end {
                return Err(error.context(format!("no way to {address}")));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(pair)
    }

    async fn measure(&self, seconds: f64) -> anyhow::Result<Sample> {
        let gbit = self.throughput(seconds).await?;
        let during = Duration::from_secs_f64(seconds * ROUND_TRIPS);
        let to = self.address;
        Ok(Sample {
            gbit,
            datagrams: self.datagrams(during).await?,
            echoes: inside::run(&self.from, move || probe::echo_round_trips(to, during)).await?,
        })
    }

    /// Gigabits a second by one TCP connection, as they are received.
    async fn throughput(&self, seconds: f64) -> anyhow::Result<f64> {
        let mut command = Command::new("timeout");
        let longest = PATIENCE + Duration::from_secs_f64(seconds);
        command
            .arg(longest.as_secs().to_string())
            .arg("nsenter")
            .arg(format!("--net={}", self.from.display()))
            .args(["iperf3", "--json", "--client", &self.address.to_string()])
            .args(["--time", &seconds.ceil().to_string()])
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let said: Value = serde_json::from_slice(&output.stdout).with_context(|| {
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            format!("iperf3: {} {errors}", output.status)
        })?;
        let error = &said["error"];
        ensure!(error.is_null(), "iperf3: {error}");
        let bits = said["end"]["sum_received"]["bits_per_second"].as_f64();
        Ok(bits.context("iperf3 says no throughput")? / 1e9)
    }

    async fn datagrams(&self, during: Duration) -> anyhow::Result<Histogram<u64>> {
        let bind = || Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, ECHO_PORT))?);
        let socket = inside::run(&self.to, bind).await?;
        let answering =
            tokio::task::spawn_blocking(move || probe::answer_datagrams(&socket, SILENCE));
        let to = SocketAddrV4::new(self.address, ECHO_PORT);
        let latency =
            inside::run(&self.from, move || probe::datagram_round_trips(to, during)).await;
        answering.await??;
        latency
    }
}

impl Way {
    /// Both sides, of which each begins every other round.
    async fn measure(&mut self, round: usize, seconds: f64) -> anyhow::Result<()> {
        let order = if round.is_multiple_of(2) {
            [Side::Ours, Side::Bare]
        } else {
            [Side::Bare, Side::Ours]
        };
        let mut ours = None;
        let mut bare = None;
        for side in order {
            let pair = match side {
                Side::Ours => &self.ours,
                Side::Bare => &self.bare,
            };
            let sample = pair.measure(seconds).await?;
            println!(
                "path {} {side:?}: {} Gbit/s, datagrams {} µs, pings {} µs",
                self.title,
                number(sample.gbit),
                number(micros(&sample.datagrams, 0.5)),
                number(micros(&sample.echoes, 0.5))
            );
            match side {
                Side::Ours => ours = Some(sample),
                Side::Bare => bare = Some(sample),
            }
        }
        self.samples.extend(ours.zip(bare));
        Ok(())
    }

    fn lines(&self, with: &str) -> Vec<Line> {
        let line = |what: &str,
                    of: &dyn Fn(&Sample) -> f64,
                    goal: Option<&'static str>,
                    good: fn(f64) -> bool| {
            let ratio = Figure::of(self.samples.iter().map(|(ours, bare)| of(ours) / of(bare)));
            let goal = goal.zip(ratio.middle());
            Line {
                what: format!("{what} {}, {with}", self.title),
                goal: goal.map(|(text, ratio)| Goal {
                    text,
                    is_reached: good(ratio),
                }),
                figures: vec![
                    Figure::of(self.samples.iter().map(|(ours, _)| of(ours))),
                    Figure::of(self.samples.iter().map(|(_, bare)| of(bare))),
                    ratio,
                ],
            }
        };
        let slower = |ratio| ratio <= 1.1;
        let latency = Some("<= 1.1");
        vec![
            line("TCP, Gbit/s", &|s| s.gbit, Some(">= 0.9"), |ratio| {
                ratio >= 0.9
            }),
            line("ping, p50 µs", &|s| micros(&s.echoes, 0.5), latency, slower),
            line("ping, p99 µs", &|s| micros(&s.echoes, 0.99), None, slower),
            line(
                "UDP there and back, p50 µs",
                &|s| micros(&s.datagrams, 0.5),
                latency,
                slower,
            ),
            line(
                "UDP there and back, p99 µs",
                &|s| micros(&s.datagrams, 0.99),
                None,
                slower,
            ),
        ]
    }
}

/// A quantile in microseconds of what was measured in nanoseconds.
fn micros(latency: &Histogram<u64>, quantile: f64) -> f64 {
    latency.value_at_quantile(quantile) as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_rule_is_there_twice_and_the_last_two_let_everything_through() {
        let rules = rules_of(1_000);
        let different: BTreeSet<String> = rules.iter().map(Value::to_string).collect();
        assert_eq!((rules.len(), different.len()), (1_000, 1_000));
        assert!(rules[998..].iter().all(|rule| rule["protocol"] == "any"));
        assert_eq!(rules_of(2).len(), 2);
    }
}
