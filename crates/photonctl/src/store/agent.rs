//! `photonctl store agent`: the users of the agents of hosts.
//!
//! An agent is the user `<program>@<host>`, by its certificate. It reads what its service publishes for hosts, and writes only
//! what it reports of its own host: whoever breaks into one can tell lies about that host, and about no other.

use std::str::FromStr;

use etcd_client::Client;
use photon_core::Name;

use super::{
    IDENTITY,
    steps::{Grant, Steps},
};
use crate::{cli::StoreAgent, failure::Failure, output::Format};

/// Programs that are agents, and the services they are of.
const PROGRAMS: &[(&str, &str)] = &[("prismnet-agent", "prismnet")];

/// An agent of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agent {
    program: &'static str,
    service: &'static str,
    host: Name,
}

impl FromStr for Agent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((program, host)) = text.split_once('@') else {
            return Err("an agent and its host, as prismnet-agent@host-1".to_owned());
        };
        let known = PROGRAMS.iter().find(|(known, _)| *known == program);
        let Some(&(program, service)) = known else {
            let known: Vec<&str> = PROGRAMS.iter().map(|(known, _)| *known).collect();
            return Err(format!("{program} is no agent: {}", known.join(", ")));
        };
        let host = Name::new(host).map_err(|error| format!("the host: {error}"))?;
        Ok(Self {
            program,
            service,
            host,
        })
    }
}

impl Agent {
    /// Its user, which its certificate names.
    fn user(&self) -> String {
        format!("{}@{}", self.program, self.host)
    }

    fn grants(&self) -> [Grant; 3] {
        let Self { service, host, .. } = self;
        [
            Grant::read(format!("/photon/{service}/public/")),
            Grant::read(IDENTITY),
            Grant::all(format!("/photon/{service}/host/{host}/")),
        ]
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
    fn an_agent_is_known_and_writes_only_of_its_own_host() {
        let agent: Agent = "prismnet-agent@host-1".parse().unwrap();
        assert_eq!(agent.user(), "prismnet-agent@host-1");
        for grant in agent.grants() {
            assert!(grant.prefix.ends_with('/'), "{}", grant.prefix);
            assert!(
                grant.kind == PermissionType::Read
                    || grant.prefix == "/photon/prismnet/host/host-1/",
                "{}",
                grant.prefix
            );
        }
        for bad in [
            "",
            "prismnet-agent",
            "prismnet-agent@",
            "prismnet-agent@a/b",
            "prismnet@host-1",
            "root@host-1",
        ] {
            bad.parse::<Agent>().unwrap_err();
        }
    }
}
