//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::compare::{self, Load};
use crate::data::{KEYS, KeySpace, VALUE_BYTES, Values};
use crate::server::{Cluster, Kind, Single};
use crate::workers::{Consistency, fill};
use crate::{ceiling, credit, election, fsync, iam, memory, network, vm};

/// Load for any etcd v3 endpoint, and comparisons of servers.
#[derive(Parser, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Put values under random keys.
    Put(Target),
    /// Get random keys.
    Get {
        #[command(flatten)]
        target: Target,
        /// How fresh an answer has to be.
        #[arg(long, value_enum, default_value = "linearizable")]
        consistency: Consistency,
    },
    /// Transactions that compare a key's revision and put it.
    Txn(Target),
    /// Range over all keys in one answer.
    Range(Target),
    /// Page through all keys; every page asks for the count of the rest.
    Page {
        #[command(flatten)]
        target: Target,
        /// Keys in a page.
        #[arg(long, default_value_t = 1000)]
        page: u64,
    },
    /// Delivery latency to many watchers at a fixed write rate.
    Watch {
        #[command(flatten)]
        target: Target,
        /// Watchers, one connection each.
        #[arg(long, default_value_t = 200)]
        watchers: usize,
        /// Puts per second.
        #[arg(long, default_value_t = 125)]
        rate: u32,
    },
    /// Start a server, fill it, print its resident memory.
    Memory {
        /// `etcd:PATH` or `chainfire:PATH`.
        server: Kind,
        /// Keys of 256 B each.
        #[arg(long, default_value_t = 1_000_000)]
        keys: u64,
        /// Where its data goes.
        #[arg(long, default_value = "target")]
        directory: PathBuf,
    },
    /// Start three members, kill the leader, print the time to the first acknowledged write.
    Election {
        /// `etcd:PATH` or `chainfire:PATH`.
        server: Kind,
        /// How often.
        #[arg(long, default_value_t = 7)]
        runs: usize,
        /// Where its data goes.
        #[arg(long, default_value = "target")]
        directory: PathBuf,
    },
    /// Start three members and put to all of them.
    Cluster {
        /// `etcd:PATH` or `chainfire:PATH`.
        server: Kind,
        /// Clients, dealt out to the members.
        #[arg(long, default_value_t = 64)]
        clients: u64,
        /// Measured time in seconds.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Where its data goes.
        #[arg(long, default_value = "target")]
        directory: PathBuf,
    },
    /// Measure write + fdatasync on files that grow, that are preallocated, and that are overwritten.
    Fsync {
        /// Where the files go: the disk that is measured.
        #[arg(long, default_value = "target")]
        dir: PathBuf,
    },
    /// Start two servers and run everything on both in turns.
    Compare(Compare),
    /// Measure the constant service: what the gRPC stack and this machine allow.
    Ceiling {
        /// Concurrent clients.
        #[arg(long, default_values_t = [1, 64, 256])]
        clients: Vec<u64>,
        /// Measured time in seconds.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Where its log goes.
        #[arg(long, default_value = "target")]
        directory: PathBuf,
    },
    /// Start IAM over ChainFire: requests per second, memory, and the time to start.
    Iam(iam::Options),
    /// Start CreditService over ChainFire, and PostgreSQL: reservations per second in turns, memory, and the time to start.
    Credit(credit::Options),
    /// Start PrismNET and agents in network namespaces: ports, rules, the data path beside bare devices, memory.
    Network(network::Options),
    /// Start PlasmaVMC and an agent: how soon VMs run and answer beside virsh, the records of many, memory.
    Vm(vm::Options),
    /// Serve constants until killed (what `ceiling` starts).
    ServeConstants {
        /// Address to listen on.
        #[arg(long)]
        listen: std::net::SocketAddr,
    },
}

/// What is loaded and how hard.
#[derive(Args, Debug)]
struct Target {
    /// URLs of the members; clients are dealt out to them.
    #[arg(long, value_delimiter = ',', default_value = "http://127.0.0.1:2379")]
    endpoints: Vec<String>,
    /// Concurrent clients, one connection each.
    #[arg(long, default_value_t = 64)]
    clients: u64,
    /// Measured time in seconds, after a warm-up of a tenth of it.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Number of keys.
    #[arg(long, default_value_t = KEYS)]
    keys: u64,
    /// Bytes in a value.
    #[arg(long, default_value_t = VALUE_BYTES)]
    value_bytes: usize,
    /// Put every key once before measuring.
    #[arg(long)]
    fill: bool,
}

#[derive(Args, Debug)]
struct Compare {
    /// What is compared against.
    #[arg(long, default_value = "etcd:/usr/bin/etcd")]
    baseline: Kind,
    /// What is compared.
    #[arg(long, default_value = "chainfire:target/release/chainfire")]
    candidate: Kind,
    /// Measure the constant service in the same runs.
    #[arg(long)]
    ceiling: bool,
    /// Runs of each measure on each side.
    #[arg(long, default_value_t = 7)]
    runs: usize,
    /// Measured time of a run in seconds.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Three runs of two seconds and 100,000 keys: shows that it works, compares nothing.
    #[arg(long)]
    quick: bool,
    /// Keys of the paging and memory measures.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Only measures whose id contains this; may be given several times (`--list` shows the ids).
    #[arg(long)]
    only: Vec<String>,
    /// Show the measures and end.
    #[arg(long)]
    list: bool,
    /// Where the servers' data goes: the same disk for all.
    #[arg(long, default_value = "target")]
    directory: PathBuf,
    /// Write the table here too.
    #[arg(long)]
    markdown: Option<PathBuf>,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("etcd", path)) => Ok(Self::Etcd(path.into())),
            Some(("chainfire", path)) => Ok(Self::Chainfire(path.into())),
            _ => Err("expected etcd:PATH or chainfire:PATH".to_owned()),
        }
    }
}

/// Does what the command line says.
///
/// # Errors
/// What went wrong first.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Command::Put(target) => {
            let clients = target.clients;
            load(&target, Load::Put { clients }).await
        }
        Command::Get {
            target,
            consistency,
        } => {
            let clients = target.clients;
            let get = Load::Get {
                clients,
                consistency,
            };
            load(&target, get).await
        }
        Command::Txn(target) => {
            let clients = target.clients;
            load(&target, Load::Txn { clients }).await
        }
        Command::Range(target) => {
            let clients = target.clients;
            load(&target, Load::Range { clients }).await
        }
        Command::Page { target, page } => {
            let clients = target.clients;
            load(&target, Load::Page { clients, page }).await
        }
        Command::Watch {
            target,
            watchers,
            rate,
        } => load(&target, Load::Watch { watchers, rate }).await,
        Command::Memory {
            server,
            keys,
            directory,
        } => {
            let scratch = tempfile::tempdir_in(directory)?;
            let server = Single::start(&server, scratch.path()).await?;
            let keys = KeySpace {
                prefix: "bench/",
                count: keys,
            };
            let mib = memory::resident(&server, keys, &Values::new(VALUE_BYTES)).await?;
            println!("resident: {mib:.0} MiB");
            Ok(())
        }
        Command::Election {
            server,
            runs,
            directory,
        } => {
            let scratch = tempfile::tempdir_in(directory)?;
            let mut cluster = Cluster::start(&server, scratch.path()).await?;
            for run in 1..=runs {
                let took = election::one(&mut cluster).await?;
                println!("run {run}: {} ms", took.as_millis());
            }
            Ok(())
        }
        Command::Cluster {
            server,
            clients,
            seconds,
            directory,
        } => {
            let scratch = tempfile::tempdir_in(directory)?;
            let cluster = Cluster::start(&server, scratch.path()).await?;
            let target = Target {
                endpoints: cluster.endpoints(),
                clients,
                seconds: seconds as f64,
                keys: KEYS,
                value_bytes: VALUE_BYTES,
                fill: false,
            };
            load(&target, Load::Put { clients }).await
        }
        Command::Fsync { dir } => {
            print!(
                "{}",
                tokio::task::spawn_blocking(move || fsync::table(&dir)).await??
            );
            Ok(())
        }
        Command::Compare(options) => compare(options).await,
        Command::Ceiling {
            clients,
            seconds,
            directory,
        } => measure_ceiling(&clients, seconds, directory).await,
        Command::Iam(options) => iam::run(options).await,
        Command::Credit(options) => credit::run(options).await,
        Command::Network(options) => network::run(options).await,
        Command::Vm(options) => vm::run(options).await,
        Command::ServeConstants { listen } => ceiling::serve(listen, VALUE_BYTES).await,
    }
}

async fn load(target: &Target, load: Load) -> anyhow::Result<()> {
    let keys = KeySpace {
        prefix: "bench/",
        count: target.keys,
    };
    let values = Values::new(target.value_bytes);
    if target.fill {
        let deadline = Duration::from_secs(3600);
        fill(&target.endpoints[0], keys, &values, 64, deadline).await?;
    }
    let duration = Duration::from_secs_f64(target.seconds);
    let measured = load
        .run(&target.endpoints, keys, &values, duration / 10, duration, 0)
        .await?;
    let ms = |quantile| measured.latency.value_at_quantile(quantile) as f64 / 1000.0;
    println!(
        "{:.0} {}  latency ms: p50 {:.2}  p90 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2}",
        measured.value,
        load.unit(),
        ms(0.5),
        ms(0.9),
        ms(0.99),
        ms(0.999),
        ms(1.0)
    );
    Ok(())
}

async fn compare(options: Compare) -> anyhow::Result<()> {
    if options.list {
        for measure in compare::MEASURES {
            println!("{:<22} {}", measure.id, measure.title);
        }
        return Ok(());
    }
    let mut sides = vec![options.baseline, options.candidate];
    if options.ceiling {
        sides.push(Kind::Ceiling(std::env::current_exe()?));
    }
    let plan = compare::Options {
        sides,
        runs: if options.quick { 3 } else { options.runs },
        duration: Duration::from_secs_f64(if options.quick { 2.0 } else { options.seconds }),
        many_keys: if options.quick {
            options.keys.min(100_000)
        } else {
            options.keys
        },
        only: options.only,
        directory: options.directory,
    };
    let rows = compare::run(&plan).await?;
    let table = compare::markdown(&rows);
    println!("\n{table}");
    if let Some(path) = options.markdown {
        std::fs::write(&path, &table).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

async fn measure_ceiling(clients: &[u64], seconds: u64, directory: PathBuf) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir_in(directory)?;
    let kind = Kind::Ceiling(std::env::current_exe()?);
    let server = Single::start(&kind, scratch.path()).await?;
    for &clients in clients {
        let target = Target {
            endpoints: vec![server.endpoint()],
            clients,
            seconds: seconds as f64,
            keys: KEYS,
            value_bytes: VALUE_BYTES,
            fill: false,
        };
        println!("put, {clients} clients");
        load(&target, Load::Put { clients }).await?;
        println!("get, {clients} clients");
        let consistency = Consistency::Serializable;
        load(
            &target,
            Load::Get {
                clients,
                consistency,
            },
        )
        .await?;
    }
    Ok(())
}
