//! photon-bench: load for any etcd v3 endpoint, and the side-by-side comparison of ChainFire with Debian's etcd; IAM; and
//! CreditService beside PostgreSQL; PrismNET beside bare devices; PlasmaVMC beside virsh.
//!
//! ```text
//! load.rs      the closed loop: N workers, one connection each, latencies
//! workers.rs   what one worker does in a step: put, get, transaction, range, page
//! watch.rs     delivery latency to many watchers under a fixed write rate
//! iam/         checks and verifications over REST, memory, and the time to start, of IAM
//! credit/      reservations of CreditService and of a ledger in PostgreSQL, in turns; a grown ledger's memory and start
//! network/     PrismNET: its API, how soon ports and rules are there, the data path beside bare devices, memory
//! vm/          PlasmaVMC: how soon VMs run and answer beside the same by hand, many of them, memory
//! pages.rs     long lists, page by page
//! figures.rs   what was measured, as tables and as JSON
//! keep_alive.rs  HTTP connections that stay open
//! election.rs  time without an acknowledged write after SIGKILL of the leader
//! fsync.rs     what a durable write costs, by the kind of file
//! ceiling.rs   a service that answers with constants: what the gRPC stack itself allows
//! server/      starts etcd, ChainFire, the ceiling, services; CPU, memory and fsyncs of what it started
//! compare/     the plan of measures, interleaved runs, the table
//! ```
//!
//! Load and server share the machine's cores, on purpose: all sides do.

#![expect(clippy::print_stdout, reason = "a command-line tool")]

mod ceiling;
mod cli;
mod compare;
mod credit;
mod data;
mod election;
mod figures;
mod fsync;
mod iam;
mod keep_alive;
mod load;
mod memory;
mod network;
mod pages;
mod server;
mod vm;
mod watch;
mod workers;

use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    cli::run(cli::Arguments::parse()).await
}
