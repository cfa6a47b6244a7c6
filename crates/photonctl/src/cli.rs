//! The command line's grammar.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{
    compute, credit, iam, network,
    output::{Format, FormatName},
    rest, store,
};

/// Operate PhotonCloud.
#[derive(Debug, Parser)]
#[command(name = "photonctl", version, about, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Print JSON instead of tables: the same as `-o json`.
    #[arg(long, global = true)]
    json: bool,
    /// How to print.
    #[arg(short = 'o', long, global = true, value_enum, value_name = "FORMAT")]
    output: Option<FormatName>,
    #[command(flatten)]
    pub(crate) access: rest::cli::Access,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// How to print. `--json` is the shorter word, and holds over `-o`.
    pub(crate) fn format(&self) -> Format {
        if self.json {
            return Format::JSON;
        }
        self.output.map(Format::from).unwrap_or_default()
    }
}

/// Where the cluster is and who asks.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// Members' client addresses, comma separated.
    #[arg(
        long,
        global = true,
        env = "PHOTONCTL_ENDPOINTS",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:50051"
    )]
    pub(crate) endpoints: Vec<String>,
    /// Certificate authority to trust (PEM file); needed for https.
    #[arg(long, global = true, env = "PHOTONCTL_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Client certificate (PEM file).
    #[arg(
        long,
        global = true,
        env = "PHOTONCTL_CERT",
        value_name = "FILE",
        requires = "private_key"
    )]
    pub(crate) cert: Option<PathBuf>,
    /// Private key of the client certificate (PEM file).
    #[arg(
        long = "key",
        global = true,
        env = "PHOTONCTL_KEY",
        value_name = "FILE",
        requires = "cert"
    )]
    pub(crate) private_key: Option<PathBuf>,
    /// Name to expect in the members' certificates, when it is not their host.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// Seconds a call may take.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: u64,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Keys and values.
    #[command(subcommand)]
    Kv(Kv),
    /// Follow changes until interrupted.
    Watch(Watch),
    /// Leases: keys that end by themselves.
    #[command(subcommand)]
    Lease(Lease),
    /// Members of the cluster.
    #[command(subcommand)]
    Member(Member),
    /// What each endpoint sees of its cluster.
    Status,
    /// Which processes of the suite's services there are, and where they listen.
    Services {
        /// Only those of this one, e.g. iam.
        service: Option<String>,
    },
    /// The local certificate authority.
    #[command(subcommand)]
    Pki(Pki),
    /// Prepare the store for the suite.
    #[command(subcommand)]
    Store(Store),
    #[command(flatten)]
    Iam(iam::cli::Command),
    #[command(flatten)]
    Credit(credit::cli::Command),
    #[command(flatten)]
    Network(network::cli::Command),
    #[command(flatten)]
    Compute(compute::cli::Command),
    /// Print a shell's completions: `source <(photonctl completions bash)`.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Kv {
    /// Print a key's value; with --details, where it stands.
    Get {
        key: String,
        /// An older revision to read at.
        #[arg(long, default_value_t = 0)]
        revision: i64,
        /// Read what the member has, without asking a quorum.
        #[arg(long)]
        stale: bool,
        /// A table with revisions and lease.
        #[arg(long)]
        details: bool,
    },
    /// Write a key.
    Put {
        key: String,
        /// The value; `-` reads it from stdin, whatever bytes it is.
        value: String,
        /// The lease the key is to end with.
        #[arg(long, default_value_t = 0)]
        lease: i64,
    },
    /// Delete a key, or with --prefix every key that begins with it.
    Delete {
        key: String,
        /// KEY is a prefix.
        #[arg(long)]
        prefix: bool,
    },
    /// List the keys of a prefix or a range.
    List {
        /// Keys that begin with this; without it and without a range, every key.
        #[arg(conflicts_with_all = ["start", "end"])]
        prefix: Option<String>,
        /// First key.
        #[arg(long)]
        start: Option<String>,
        /// The key before which to end.
        #[arg(long)]
        end: Option<String>,
        /// At most so many rows, and the token of the next page. Without it, all of them.
        #[arg(long, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: Option<i64>,
        /// Where the page before ended.
        #[arg(long, requires = "limit")]
        page_token: Option<String>,
        /// An older revision to read at.
        #[arg(long, default_value_t = 0)]
        revision: i64,
        /// Leave the values out.
        #[arg(long)]
        keys_only: bool,
        /// Read what the member has, without asking a quorum.
        #[arg(long)]
        stale: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Keys that begin with this; without it, every key.
    #[arg(default_value = "")]
    pub(crate) prefix: String,
    /// PREFIX is one whole key.
    #[arg(long, requires = "prefix")]
    pub(crate) exact: bool,
    /// First revision to show; without it, what happens from now on.
    #[arg(long, default_value_t = 0)]
    pub(crate) from_revision: i64,
    /// Show what each key was before.
    #[arg(long)]
    pub(crate) previous: bool,
    /// End after so many changes.
    #[arg(long)]
    pub(crate) count: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Lease {
    /// Grant a lease.
    Grant {
        /// Seconds it lives without being kept alive.
        #[arg(value_parser = clap::value_parser!(i64).range(1..))]
        ttl_seconds: i64,
        /// The id it is to have.
        #[arg(long, default_value_t = 0)]
        id: i64,
    },
    /// Keep a lease alive until interrupted, or with --once, renew it once.
    Keepalive {
        id: i64,
        #[arg(long)]
        once: bool,
    },
    /// End a lease and delete its keys.
    Revoke { id: i64 },
    /// List the leases, with what is left of them.
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Member {
    /// List the members.
    List,
    /// Take in a node that was started with --join; it votes once it has caught up.
    Add {
        /// The id the node runs with.
        #[arg(value_parser = number_before_address)]
        node_id: u64,
        /// Where it serves clients, host:port.
        #[arg(value_name = "HOST:PORT", value_parser = without_scheme)]
        address: String,
    },
    /// Give a learner that has caught up a vote.
    Promote { node_id: u64 },
    /// Take a member out; its id is never used again.
    Remove { node_id: u64 },
    /// Hand leadership to a voter.
    Transfer { node_id: u64 },
}

/// Whoever leaves it out has written the address in its place.
fn number_before_address(id: &str) -> Result<u64, String> {
    id.parse()
        .map_err(|_| "the number that the node runs with comes first, then its address".to_owned())
}

/// Members are told as `host:port`, unlike `--endpoints`: how they are called is the cluster's matter.
fn without_scheme(address: &str) -> Result<String, String> {
    match address.split_once("://") {
        None => Ok(address.to_owned()),
        Some((scheme, rest)) => Err(format!(
            "give it without {scheme}://, as {}",
            rest.trim_end_matches('/')
        )),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Pki {
    /// Make the certificate authority and the certificates of a first cluster.
    Init(PkiInit),
    /// Issue one certificate.
    Issue(PkiIssue),
    /// Issue a certificate anew, for the same names, before it ends.
    Renew(PkiRenew),
    /// Show what certificates say and how long they hold.
    Show {
        /// Certificate files; without any, those of the directory.
        files: Vec<PathBuf>,
        #[command(flatten)]
        dir: PkiDir,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PkiDir {
    /// Where the authority and its certificates are.
    #[arg(
        long,
        env = "PHOTONCTL_PKI_DIR",
        default_value = "/etc/photon/pki",
        value_name = "DIR"
    )]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct PkiInit {
    #[command(flatten)]
    pub(crate) dir: PkiDir,
    /// Host names and addresses under which the store's members are reached.
    #[arg(long = "host", default_values = ["localhost", "127.0.0.1", "::1"])]
    pub(crate) hosts: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PkiIssue {
    /// Common name: for a client, the store's user.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) dir: PkiDir,
    /// Host names and addresses the certificate is for, where it is a server's.
    #[arg(long = "host")]
    pub(crate) hosts: Vec<String>,
    /// What it is for.
    #[arg(long, value_enum, default_value_t = Usage::Client)]
    pub(crate) usage: Usage,
}

#[derive(Debug, Args)]
pub(crate) struct PkiRenew {
    /// Names to renew; without any, all in the last third of their time.
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) dir: PkiDir,
    /// Renew whatever time is left.
    #[arg(long)]
    pub(crate) force: bool,
    /// Where the authority is not: renew the certificate of --cert and --key through IAM, over itself, while it is valid,
    /// and replace both files.
    #[arg(long, conflicts_with = "names")]
    pub(crate) online: bool,
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Usage {
    /// Asks others.
    Client,
    /// Is asked.
    Server,
    /// Both, as between members.
    Peer,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// Make the users, roles and key prefixes of the suite's services, and turn authentication on. Needs the root
    /// certificate. Again is harmless.
    Init {
        /// Show what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// The users of the agents of hosts: each reads what its service tells hosts, and writes only of its own host.
    #[command(subcommand)]
    Agent(StoreAgent),
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreAgent {
    /// Make the users of agents. Needs the root certificate. Again is harmless.
    Add {
        /// As prismnet-agent@host-1 and plasmavmc-agent@host-1: what the agent's certificate names.
        #[arg(required = true)]
        agents: Vec<store::Agent>,
        /// Show what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove the users of agents: their certificates open nothing any more. Needs the root certificate.
    Remove {
        /// As prismnet-agent@host-1.
        #[arg(required = true)]
        agents: Vec<store::Agent>,
        /// Show what would be done.
        #[arg(long)]
        dry_run: bool,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use clap::CommandFactory as _;

    use super::*;
    use crate::output::Notation;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_may_stand_behind_the_command() {
        let cli = Cli::try_parse_from([
            "photonctl",
            "kv",
            "get",
            "k",
            "--json",
            "--endpoints",
            "http://a:1,http://b:2",
        ])
        .unwrap();
        assert_eq!(cli.format(), Format::JSON);
        assert_eq!(cli.connection.endpoints, ["http://a:1", "http://b:2"]);
    }

    #[test]
    fn json_is_asked_for_in_either_way() {
        for (line, format) in [
            ("photonctl status", Format::Human),
            ("photonctl status -o table", Format::Human),
            ("photonctl status -o json", Format::JSON),
            ("photonctl -o json status", Format::JSON),
            ("photonctl --output=json status", Format::JSON),
            ("photonctl status --json", Format::JSON),
            ("photonctl status --json -o json", Format::JSON),
            ("photonctl status -o yaml", Format::Data(Notation::Yaml)),
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(cli.format(), format, "{line}");
        }
        assert!(Cli::try_parse_from(["photonctl", "status", "-o", "xml"]).is_err());
    }

    #[test]
    fn a_members_address_is_told_without_a_scheme() {
        let add = |address| Cli::try_parse_from(["photonctl", "member", "add", "2", address]);
        add("192.168.1.102:50051").unwrap();
        let refused = add("https://192.168.1.102:50051/").unwrap_err().to_string();
        assert!(
            refused.contains("without https://, as 192.168.1.102:50051\n"),
            "{refused}"
        );
        let address_only = ["photonctl", "member", "add", "https://a:50051"];
        let refused = Cli::try_parse_from(address_only).unwrap_err().to_string();
        assert!(refused.contains("comes first"), "{refused}");
    }

    #[test]
    fn a_certificate_needs_its_key_and_a_page_its_limit() {
        for line in [
            "photonctl --cert c status",
            "photonctl kv list --page-token t",
            "photonctl kv list p --start s",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
