//! The subcommands that run no node: arguments in, a report or an error out.

use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail, ensure};
use chainfire::{
    config::{Config, check_advertised},
    offline::{self, BUMP, Founded, Login, Restore, Save},
};
use clap::{Args, Subcommand};
use photon_core::error::in_one_line;
use photon_raft::{Member, NodeId};

/// Where the password of `--user` is taken from: an argument could be read by every user of the machine.
const PASSWORD: &str = "CHAINFIRE_PASSWORD";

/// Prints a report, or why there is none.
pub(crate) fn say(outcome: anyhow::Result<String>) -> ExitCode {
    match outcome {
        Ok(report) => {
            let mut out = std::io::stdout().lock();
            match out.write_all(report.as_bytes()).and_then(|()| out.flush()) {
                Ok(()) => ExitCode::SUCCESS,
                // Nobody reads it; what was to be done is done.
                Err(_) => ExitCode::FAILURE,
            }
        }
        Err(error) => {
            tell(&format!("error: {}", in_one_line(error.as_ref())));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "for a person at a terminal")]
fn tell(text: &str) {
    eprintln!("{text}");
}

#[derive(Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Saves a snapshot of a running member, and checks it.
    Save(SaveArgs),
    /// Reads all of a snapshot, every checksum and everything in the state.
    Verify(VerifyArgs),
    /// Makes the data directory of a new cluster with one member. Keys, users, roles and leases are kept; members and
    /// alarms are not.
    Restore(RestoreArgs),
}

impl SnapshotCommand {
    pub(crate) fn run(self) -> anyhow::Result<String> {
        match self {
            Self::Save(args) => args.run(),
            Self::Verify(args) => offline::verify(&args.file, args.scratch.as_deref()),
            Self::Restore(args) => args.run(),
        }
    }
}

#[derive(Args)]
pub(crate) struct SaveArgs {
    /// Where to; must not exist.
    file: PathBuf,
    /// http://host:port or https://host:port of a member's gRPC listener.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:50051")]
    endpoint: String,
    /// The authority of the member's certificate (PEM).
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Your certificate (PEM); its user needs the root role.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// A user with the root role; the password is taken from CHAINFIRE_PASSWORD.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

impl SaveArgs {
    fn run(self) -> anyhow::Result<String> {
        let login = match self.user {
            None => None,
            Some(user) => Some(Login {
                user,
                password: std::env::var(PASSWORD)
                    .with_context(|| format!("--user needs the password in {PASSWORD}"))?,
            }),
        };
        let plan = Save {
            file: self.file,
            endpoint: self.endpoint,
            cacert: self.cacert,
            identity: self.cert.zip(self.key),
            login,
        };
        photon_server::main_with::install_crypto();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(offline::save(&plan))
    }
}

#[derive(Args)]
pub(crate) struct VerifyArgs {
    /// The snapshot.
    file: PathBuf,
    /// Where it is unpacked for the time being. Default: beside the file.
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct RestoreArgs {
    /// The snapshot.
    file: PathBuf,
    /// The new data directory: empty or missing. Default: `data_dir` of --config.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The configuration the node will run with: its node id, name and addresses.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The only member's id. Default: that of --config, or 1.
    #[arg(long)]
    node_id: Option<NodeId>,
    /// Where other members will reach it. Default: that of --config, or 127.0.0.1:2380.
    #[arg(long, value_name = "HOST:PORT")]
    peer_address: Option<String>,
    /// Where clients will reach it. Default: that of --config, or 127.0.0.1:50051.
    #[arg(long, value_name = "HOST:PORT")]
    client_address: Option<String>,
    /// By how much the revision is raised.
    #[arg(long, value_name = "N", default_value_t = BUMP, value_parser = clap::value_parser!(i64).range(1..))]
    bump_revision: i64,
}

impl RestoreArgs {
    fn run(self) -> anyhow::Result<String> {
        let mut config: Config = photon_server::config::load(self.config.as_deref(), "CHAINFIRE")?;
        if let Some(node_id) = self.node_id {
            config.node_id = node_id;
        }
        if let Some(data_dir) = self.data_dir {
            config.data_dir = data_dir;
        }
        config.validate()?;
        let grpc = config.advertised_grpc(config.grpc.address);
        let peer = config.advertised_peer(config.peer.address);
        for (flag, address) in [
            ("--peer-address", &self.peer_address),
            ("--client-address", &self.client_address),
        ] {
            if let Some(address) = address {
                check_advertised(flag, address)?;
            }
        }
        let plan = Restore {
            member: Member {
                node_id: config.node_id,
                name: config.display_name(),
                peer_address: self.peer_address.unwrap_or(peer),
                client_addresses: vec![self.client_address.unwrap_or(grpc)],
                learner: false,
                promote: false,
            },
            file: self.file,
            data_dir: config.data_dir,
            bump: self.bump_revision,
        };
        let founded = offline::restore(&plan)?;
        Ok(format!(
            "restored into {}\n{}\
             Start node {} with this data directory; add the other members with empty ones. The old cluster's members \
             must not run on their data again.\n",
            plan.data_dir.display(),
            described(&founded),
            plan.member.node_id
        ))
    }
}

fn described(founded: &Founded) -> String {
    let alarms = match founded.cleared_alarms {
        0 => String::new(),
        cleared => format!("{cleared} alarms were cleared\n"),
    };
    format!(
        "cluster {}, incarnation {}\nrevision {}; everything before {} is compacted\n{alarms}",
        founded.cluster_id, founded.incarnation, founded.revision, founded.compacted
    )
}

#[derive(Args)]
pub(crate) struct RecoverArgs {
    /// Say it: the other members are lost, and a new cluster is made of this one.
    #[arg(long, required = true)]
    force_new_cluster: bool,
    /// The survivor's data directory.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// A new id for this node, which has to be configured then. Members that are only thought to be lost cannot reach
    /// it under the old one.
    #[arg(long)]
    node_id: Option<NodeId>,
    /// By how much the revision is raised.
    #[arg(long, value_name = "N", default_value_t = BUMP, value_parser = clap::value_parser!(i64).range(1..))]
    bump_revision: i64,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

impl RecoverArgs {
    pub(crate) fn run(self) -> anyhow::Result<String> {
        ensure!(self.force_new_cluster, "--force-new-cluster is required");
        let plan = offline::plan(&self.data_dir, self.node_id, self.bump_revision)?;
        tell(&plan.to_string());
        if !self.yes {
            confirm()?;
        }
        let founded = plan.carry_out()?;
        Ok(format!(
            "recovered {}\n{}Start the node, then add members with empty data directories.\n",
            self.data_dir.display(),
            described(&founded)
        ))
    }
}

/// A typed word, and only from a person.
fn confirm() -> anyhow::Result<()> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        bail!("nothing was changed: --yes is needed where nobody can be asked");
    }
    tell("Type `new cluster` to do this:");
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    if answer.trim() != "new cluster" {
        bail!("nothing was changed");
    }
    Ok(())
}

#[derive(Args)]
pub(crate) struct CheckArgs {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

impl CheckArgs {
    pub(crate) fn run(self) -> anyhow::Result<String> {
        offline::check(&self.data_dir)
    }
}

/// `--check --data-dir`: the configuration, then the data.
pub(crate) fn check_both(config: Option<&Path>, data_dir: &Path) -> anyhow::Result<String> {
    let mut config: Config = photon_server::config::load(config, "CHAINFIRE")?;
    data_dir.clone_into(&mut config.data_dir);
    config.validate()?;
    config.check()?;
    Ok(format!(
        "the configuration is good\n{}",
        offline::check(data_dir)?
    ))
}
