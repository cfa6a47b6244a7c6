//! `photonctl store agent`: the users of the agents of hosts.
//!
//! An agent is the user `<program>@<host>`, by its certificate. It reads what its service tells hosts, and writes only what it
//! reports of its own host: whoever breaks into one can tell lies about that host, and about no other.
//!
//! | agent | reads | reads and writes, of its own host |
//! |---|---|---|
//! | prismnet-agent | what PrismNET publishes: a network is made by all of its hosts | what it reports |
//! | plasmavmc-agent | what its own host is to do: no other's VMs are its business | what it reports, and that it is alive |
//!
//! All of them read which life of the store it is.

use std::str::FromStr;

use etcd_client::Client;
use photon_core::Name;

use super::{
    IDENTITY,
    steps::{Grant, Steps},
};
use crate::{cli::StoreAgent, failure::Failure, output::Format};

/// A program that runs on hosts, and what of the store is its own business. Keys are told as [`Grant`] has them; `HOST` is the
/// host's name.
#[derive(Debug, PartialEq, Eq)]
struct Program {
    name: &'static str,
    reads: &'static [&'static str],
    writes: &'static [&'static str],
}

/// What stands for the host's name.
const HOST: &str = "HOST";

/// Programs that are agents: of every service one.
const PROGRAMS: &[Program] = &[
    Program {
        name: "prismnet-agent",
        reads: &["/photon/prismnet/public/"],
        writes: &["/photon/prismnet/host/HOST/"],
    },
    Program {
        name: "plasmavmc-agent",
        reads: &["/photon/plasmavmc/host/HOST/desired/"],
        writes: &[
            "/photon/plasmavmc/host/HOST/observed/",
            "/photon/plasmavmc/host/HOST/alive",
        ],
    },
];

/// An agent of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agent {
    program: &'static Program,
    host: Name,
}

impl FromStr for Agent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((program, host)) = text.split_once('@') else {
            return Err("an agent and its host, as prismnet-agent@host-1".to_owned());
        };
        let Some(program) = PROGRAMS.iter().find(|known| known.name == program) else {
            let known: Vec<&str> = PROGRAMS.iter().map(|known| known.name).collect();
            return Err(format!("{program} is no agent: {}", known.join(", ")));
        };
        let host = Name::new(host).map_err(|error| format!("the host: {error}"))?;
        Ok(Self { program, host })
    }
}

impl Agent {
    /// Its user, which its certificate names.
    fn user(&self) -> String {
        format!("{}@{}", self.program.name, self.host)
    }

    fn grants(&self) -> Vec<Grant> {
        let ours = |keys: &&str| keys.replace(HOST, self.host.as_str());
        let reads = self.program.reads.iter().map(ours).map(Grant::read);
        let writes = self.program.writes.iter().map(ours).map(Grant::all);
        reads.chain([Grant::read(IDENTITY)]).chain(writes).collect()
    }
}

pub(super) async fn run(store: Client, format: Format, command: StoreAgent) -> Result<(), Failure> {
    match command {
        StoreAgent::Add { agents, dry_run } => {
            let mut steps = Steps::new(store, dry_run);
            for agent in &agents {
                steps.principal(&agent.user(), &agent.grants()).await?;
            }
            steps.print(format, "the users are there already")
        }
        StoreAgent::Remove { agents, dry_run } => {
            let mut steps = Steps::new(store, dry_run);
            for agent in &agents {
                steps.no_principal(&agent.user()).await?;
            }
            steps.print(format, "there are no such users")
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use etcd_client::PermissionType;

    use super::*;

    #[test]
    fn an_agent_writes_only_of_its_own_host() {
        for program in PROGRAMS {
            let agent: Agent = format!("{}@host-1", program.name).parse().unwrap();
            assert_eq!(agent.user(), format!("{}@host-1", program.name));
            let service = program.name.strip_suffix("-agent").unwrap();
            let own = format!("/photon/{service}/host/host-1/");
            for grant in agent.grants() {
                let keys = grant.keys;
                assert!(!keys.contains(HOST), "{keys}");
                if grant.kind == PermissionType::Read {
                    // Never all of a service: there is what hosts have no business with.
                    let is_public = keys.contains("/public/");
                    assert!(is_public || keys.starts_with(&own), "{keys}");
                    assert!(keys.ends_with('/'), "{keys}");
                } else {
                    assert!(keys.starts_with(&own), "{keys}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_agent_of_a_host_is_refused() {
        for bad in [
            "",
            "prismnet-agent",
            "prismnet-agent@",
            "prismnet-agent@a/b",
            "plasmavmc-agent@host-1/../host-2",
            "prismnet@host-1",
            "plasmavmc@host-1",
            "root@host-1",
        ] {
            bad.parse::<Agent>().unwrap_err();
        }
    }
}
