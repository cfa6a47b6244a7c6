//! All that is compared: started once, loaded in turns.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::ValueEnum;
use tonic::transport::Endpoint;

use super::doors::{Grpc, Rest};
use super::journal::ROOT;
use super::pairs::{Ledger, Pairs, Standing, Tally};
use super::postgres::Postgres;
use super::rows::{self, Functions, Statements};
use super::{Options, Part};
use crate::load::connect_kv;
use crate::server::{Daemon, Store, Usage};

/// A way to keep and to ask a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SideKind {
    /// PostgreSQL, statement by statement.
    Postgres,
    /// PostgreSQL, one function for each step.
    PostgresFunction,
    /// CreditService over a ChainFire of one member, by gRPC.
    Grpc,
    /// The same by REST.
    Rest,
    /// CreditService over a ChainFire of three members, by gRPC.
    Grpc3,
    /// The same by REST.
    Rest3,
}

impl SideKind {
    /// All of them.
    pub(crate) const ALL: [Self; 6] = [
        Self::Postgres,
        Self::PostgresFunction,
        Self::Grpc,
        Self::Rest,
        Self::Grpc3,
        Self::Rest3,
    ];

    /// What it is called in tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL, SELECT … FOR UPDATE",
            Self::PostgresFunction => "PostgreSQL, one function a step",
            Self::Grpc => "CreditService, gRPC",
            Self::Rest => "CreditService, REST",
            Self::Grpc3 => "CreditService, gRPC, three members",
            Self::Rest3 => "CreditService, REST, three members",
        }
    }

    /// Its name on the command line, and what its wallets begin with.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::PostgresFunction => "function",
            Self::Grpc => "grpc",
            Self::Rest => "rest",
            Self::Grpc3 => "grpc3",
            Self::Rest3 => "rest3",
        }
    }

    /// Members of the store of a service; `None` of PostgreSQL.
    fn members(self) -> Option<usize> {
        match self {
            Self::Postgres | Self::PostgresFunction => None,
            Self::Grpc | Self::Rest => Some(1),
            Self::Grpc3 | Self::Rest3 => Some(3),
        }
    }
}

/// What the servers of a side have used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    pub(crate) all: Usage,
    /// How much CPU time of that was the service's, and not its store's.
    pub(crate) service_cpu_s: Option<f64>,
}

impl Used {
    /// What was used since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        let both = self.service_cpu_s.zip(earlier.service_cpu_s);
        Self {
            all: self.all.since(earlier.all),
            service_cpu_s: both.map(|(now, then)| now - then),
        }
    }
}

/// The servers.
pub(crate) struct Sides {
    postgres: Option<Postgres>,
    /// Over a store of one member, and of three.
    services: Vec<(usize, Daemon)>,
}

impl Sides {
    /// Starts what the wanted ones need.
    ///
    /// # Errors
    /// What could not be started.
    pub(crate) async fn start(options: &Options, directory: &Path) -> anyhow::Result<Self> {
        let members = |side: &SideKind| side.members();
        let postgres = if options.sides.iter().any(|side| members(side).is_none()) {
            let server = Postgres::start(&options.postgres, directory).await?;
            rows::make_tables(&server.connect().await?).await?;
            Some(server)
        } else {
            None
        };
        let mut services = Vec::new();
        for count in [1, 3] {
            if options
                .sides
                .iter()
                .any(|side| members(side) == Some(count))
            {
                let home = directory.join(format!("credit-{count}"));
                std::fs::create_dir_all(&home)?;
                let store = Store::start(&options.chainfire, count, &home).await?;
                if let Some(shards) = options.shards {
                    spread_over(&store, shards).await?;
                }
                let mut service = Daemon::over(store, &options.creditservice, &home, "")?;
                service.start().await?;
                services.push((count, service));
            }
        }
        Ok(Self { postgres, services })
    }

    fn postgres(&self) -> anyhow::Result<&Postgres> {
        self.postgres.as_ref().context("PostgreSQL is not running")
    }

    fn service(&self, members: usize) -> anyhow::Result<&Daemon> {
        let found = self.services.iter().find(|(count, _)| *count == members);
        Ok(&found.context("the service is not running")?.1)
    }

    /// Makes the wallets of a part.
    ///
    /// # Errors
    /// What was refused.
    pub(crate) async fn furnish(&self, side: SideKind, wallets: &[String]) -> anyhow::Result<()> {
        match side.members() {
            None => {
                let client = self.postgres()?.connect().await?;
                for wallet in wallets {
                    rows::make_wallet(&client, wallet).await?;
                }
            }
            Some(members) => {
                let mut door = Rest::connect(&self.service(members)?.rest).await?;
                for wallet in wallets {
                    door.make_wallet(wallet).await?;
                }
            }
        }
        Ok(())
    }

    /// Clients of a side.
    ///
    /// # Errors
    /// Who cannot be connected to.
    pub(crate) async fn clients(
        &self,
        side: SideKind,
        options: &Options,
        wallets: &Arc<[String]>,
        tally: &Arc<Tally>,
    ) -> anyhow::Result<Vec<Pairs>> {
        let mut channels = Vec::new();
        if let (SideKind::Grpc | SideKind::Grpc3, Some(members)) = (side, side.members()) {
            for _ in 0..options.grpc_connections {
                let endpoint = Endpoint::new(self.service(members)?.grpc.clone())?;
                channels.push(endpoint.tcp_nodelay(true).connect().await?);
            }
        }
        let mut clients = Vec::new();
        for index in 0..options.clients {
            let ledger = match side {
                SideKind::Postgres => {
                    let client = self.postgres()?.connect().await?;
                    Ledger::Statements(Box::new(Statements::prepare(client).await?))
                }
                SideKind::PostgresFunction => {
                    let client = self.postgres()?.connect().await?;
                    Ledger::Functions(Functions::prepare(client).await?)
                }
                SideKind::Grpc | SideKind::Grpc3 => {
                    let channel = channels[index % channels.len()].clone();
                    Ledger::Grpc(Box::new(Grpc::over(channel)))
                }
                SideKind::Rest => Ledger::Rest(Rest::connect(&self.service(1)?.rest).await?),
                SideKind::Rest3 => Ledger::Rest(Rest::connect(&self.service(3)?.rest).await?),
            };
            clients.push(Pairs::new(ledger, Arc::clone(wallets), Arc::clone(tally)));
        }
        Ok(clients)
    }

    /// What a side's servers have used so far.
    ///
    /// # Errors
    /// When one has ended.
    pub(crate) async fn usage(&self, side: SideKind) -> anyhow::Result<Used> {
        Ok(match side.members() {
            None => Used {
                all: self.postgres()?.usage().await?,
                service_cpu_s: None,
            },
            Some(members) => {
                let (all, service_cpu_s) = self.service(members)?.usage().await?;
                Used {
                    all,
                    service_cpu_s: Some(service_cpu_s),
                }
            }
        })
    }

    /// Holds the wallets against what was acknowledged.
    ///
    /// # Errors
    /// When they are not the same.
    pub(crate) async fn check(
        &self,
        side: SideKind,
        wallets: &[String],
        prefix: &str,
        tally: &Tally,
    ) -> anyhow::Result<()> {
        let found: Standing = match side.members() {
            None => rows::standing(&self.postgres()?.connect().await?, prefix).await?,
            Some(members) => {
                let mut door = Rest::connect(&self.service(members)?.rest).await?;
                door.standing(wallets).await?
            }
        };
        let expected = tally.standing();
        ensure!(
            found == expected,
            "{}: acknowledged was {expected:?}, there is {found:?}",
            side.title()
        );
        Ok(())
    }
}

/// Has the service spread projects over so many shards, as only its first start decides.
async fn spread_over(store: &Store, shards: u16) -> anyhow::Result<()> {
    let mut kv = connect_kv(&store.endpoints()[0]).await?;
    let record = format!(r#"{{"v":1,"count":{shards}}}"#);
    kv.put(format!("{ROOT}/shards"), record, None).await?;
    Ok(())
}

/// The names of a side's wallets, and what they begin with.
pub(crate) fn wallets(side: SideKind, part: Part, many: u64) -> (Arc<[String]>, String) {
    let (name, count) = match part {
        Part::Many => ("many", many),
        Part::Hot | Part::Grown => ("hot", 1),
    };
    let prefix = format!("{}-{name}-", side.tag());
    let all = (0..count).map(|index| format!("{prefix}{index:06}"));
    (all.collect(), prefix)
}
