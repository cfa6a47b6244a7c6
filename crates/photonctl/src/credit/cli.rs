//! The grammar of the commands that speak to CreditService.

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;

use super::money::{self, Price, Signed};
use crate::rest::cli::{Once, Page};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Wallets: what projects pay from.
    #[command(subcommand)]
    Wallet(Wallet),
    /// Reservations: credit and units that are held until they are charged or given back.
    #[command(subcommand)]
    Reservation(Reservation),
    /// List what moved a wallet's balance, the newest first.
    Transactions(Transactions),
    /// What a wallet had, what happened, and what it has, for a month or another time.
    Statement(Statement),
    /// Quotas: how much of everything a project may have, and has.
    #[command(subcommand)]
    Quota(Quota),
    /// The price book: what metered resources cost.
    #[command(subcommand)]
    Price(PriceBook),
}

/// Who reserves and charges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BillingMode {
    /// Whoever creates things reserves and commits.
    Manual,
    /// The services charge what is used, by the price book.
    Metered,
}

impl BillingMode {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Metered => "metered",
        }
    }
}

/// Whether a wallet may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Status {
    /// For everything.
    Active,
    /// Nothing new is held or charged; credit may come in.
    Suspended,
    /// For nothing any more, for good; only when it is empty.
    Closed,
}

impl Status {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Closed => "closed",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Wallet {
    /// Make a project's wallet.
    Create {
        /// The project's id.
        project: String,
        /// The project's org; without it, IAM is asked.
        #[arg(long, value_name = "ID")]
        org: Option<String>,
        /// What is in it at first, in whole minor units: JPY has no smaller one.
        #[arg(long, value_name = "AMOUNT", value_parser = money::charge)]
        balance: Option<u64>,
        /// Who reserves and charges; without it, manual.
        #[arg(long, value_enum)]
        billing_mode: Option<BillingMode>,
        /// How far below zero it may go; without it, not at all.
        #[arg(long, value_name = "AMOUNT", value_parser = money::charge)]
        overdraft_limit: Option<u64>,
        /// Let a commit take more than was held, if it is there.
        #[arg(long)]
        allow_overage: bool,
        /// Raise an event when this or less is available; may be repeated, at most 8 times.
        #[arg(long = "low-balance", value_name = "AMOUNT", value_parser = money::charge)]
        low_balance: Vec<u64>,
        #[command(flatten)]
        once: Once,
    },
    /// What is in a wallet, and how it behaves.
    Get {
        /// The project's id.
        project: String,
    },
    /// List the wallets that we may see.
    List {
        /// Of one org only.
        #[arg(long, value_name = "ID")]
        org: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Change how a wallet behaves, and whether it may be used.
    Update {
        /// The project's id.
        project: String,
        /// Whether it may be used.
        #[arg(long, value_enum)]
        status: Option<Status>,
        /// Who reserves and charges.
        #[arg(long, value_enum)]
        billing_mode: Option<BillingMode>,
        /// How far below zero it may go; not less than is used of it.
        #[arg(long, value_name = "AMOUNT", value_parser = money::charge)]
        overdraft_limit: Option<u64>,
        /// Let a commit take more than was held, if it is there.
        #[arg(long)]
        allow_overage: bool,
        /// Let a commit take what was held at most.
        #[arg(long, conflicts_with = "allow_overage")]
        no_overage: bool,
        /// The whole new list of amounts at which an event is raised; may be repeated.
        #[arg(long = "low-balance", value_name = "AMOUNT", value_parser = money::charge)]
        low_balance: Vec<u64>,
        /// Raise no such events.
        #[arg(long, conflicts_with = "low_balance")]
        no_low_balance: bool,
        #[command(flatten)]
        once: Once,
    },
    /// Bring credit in. Usage that could not be paid is paid first.
    Topup {
        /// The project's id.
        project: String,
        /// Whole minor units: JPY has no smaller one.
        #[arg(value_parser = money::amount)]
        amount: u64,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// Where it comes from; without it, bank.
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
        #[command(flatten)]
        once: Once,
    },
    /// Charge at once, without a reservation.
    Charge {
        /// The project's id.
        project: String,
        /// Whole minor units.
        #[arg(value_parser = money::amount)]
        amount: u64,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// Which resource it is for.
        #[arg(long, value_name = "ID")]
        resource_id: Option<String>,
        /// What was sold.
        #[arg(long, value_name = "NAME")]
        sku: Option<String>,
        #[command(flatten)]
        once: Once,
    },
    /// Give a charge back, or part of it.
    Refund {
        /// The project's id.
        project: String,
        /// The charge: its id, as `transactions` shows it.
        transaction: String,
        /// Whole minor units; all refunds of a charge together are at most what it took.
        #[arg(value_parser = money::amount)]
        amount: u64,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        #[command(flatten)]
        once: Once,
    },
    /// Correct a balance by hand.
    Adjust {
        /// The project's id.
        project: String,
        /// Whole minor units; a negative number takes away.
        #[arg(value_parser = money::signed, allow_negative_numbers = true)]
        amount: Signed,
        /// Why: it stays in the history.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        once: Once,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Reservation {
    /// Hold credit, units, or both: all of it at once, or nothing.
    Create {
        /// The project's id.
        project: String,
        /// Whole minor units to hold; may be left out if units are held.
        #[arg(value_parser = money::amount, required_unless_present = "units")]
        amount: Option<u64>,
        /// Units to hold beside it, as `vcpu=2,memory_mib=2048`; may be repeated.
        #[arg(long, value_name = "KIND=COUNT", value_delimiter = ',', value_parser = units)]
        units: Vec<(String, u64)>,
        /// For how long, in seconds, until it is given back by itself; without it, an hour.
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
        ttl: Option<u64>,
        /// What kind of resource it is for, as vm.
        #[arg(long, value_name = "KIND")]
        resource_type: Option<String>,
        /// Which resource it is for.
        #[arg(long, value_name = "ID")]
        resource_id: Option<String>,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        #[command(flatten)]
        once: Once,
    },
    /// A reservation: while it is open, and for a day after it was resolved.
    Get {
        /// Its id.
        id: String,
    },
    /// List a project's open reservations.
    List {
        /// The project's id.
        project: String,
        #[command(flatten)]
        page: Page,
    },
    /// Charge what is held, or less, and give the rest back.
    Commit {
        /// Its id.
        id: String,
        /// Whole minor units to charge; without it, all that is held.
        #[arg(long, value_parser = money::charge)]
        amount: Option<u64>,
        /// Which resource it is for; without it, the one the reservation names.
        #[arg(long, value_name = "ID")]
        resource_id: Option<String>,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        #[command(flatten)]
        once: Once,
    },
    /// Give back what is held.
    Release {
        /// Its id.
        id: String,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        once: Once,
    },
    /// Hold longer.
    Extend {
        /// Its id.
        id: String,
        /// For how long from now on, in seconds; it never becomes shorter than it was.
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
        ttl: u64,
        #[command(flatten)]
        once: Once,
    },
}

/// Parses `vcpu=2`.
fn units(text: &str) -> Result<(String, u64), String> {
    let (kind, count) = text
        .split_once('=')
        .ok_or("a kind and a number, as vcpu=2")?;
    match count.parse() {
        Ok(count) if count > 0 && !kind.is_empty() => Ok((kind.to_owned(), count)),
        _ => Err("a kind and a number from 1 on, as vcpu=2".to_owned()),
    }
}

/// What a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TransactionType {
    /// Credit came in.
    Deposit,
    /// Credit was taken.
    Charge,
    /// A charge was given back.
    Refund,
    /// A correction by hand.
    Adjustment,
    /// Credit is held; the balance stays.
    Reservation,
    /// What was held was given back; the balance stays.
    Release,
    /// The time of what was held was over; the balance stays.
    Expiry,
}

impl TransactionType {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Deposit => "deposit",
            Self::Charge => "charge",
            Self::Refund => "refund",
            Self::Adjustment => "adjustment",
            Self::Reservation => "reservation",
            Self::Release => "release",
            Self::Expiry => "expiry",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Transactions {
    /// The project's id.
    pub(crate) project: String,
    /// The oldest first.
    #[arg(long)]
    pub(crate) oldest_first: bool,
    /// Only these, between commas; without it, those that move the balance.
    #[arg(long = "types", value_name = "TYPE", value_enum, value_delimiter = ',')]
    pub(crate) types: Vec<TransactionType>,
    /// Only those of this resource.
    #[arg(long, value_name = "ID")]
    pub(crate) resource_id: Option<String>,
    /// From this time on, as 2026-11-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<Timestamp>,
    /// Before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<Timestamp>,
    #[command(flatten)]
    pub(crate) page: Page,
}

#[derive(Debug, Args)]
pub(crate) struct Statement {
    /// The project's id.
    pub(crate) project: String,
    /// A month in UTC, as 2026-11; without anything, the present one.
    #[arg(long, value_name = "MONTH", conflicts_with_all = ["from", "to"])]
    pub(crate) month: Option<String>,
    /// From this time on, as 2026-11-01T00:00:00Z.
    #[arg(long, value_name = "TIME", requires = "to")]
    pub(crate) from: Option<Timestamp>,
    /// Before this time.
    #[arg(long, value_name = "TIME", requires = "from")]
    pub(crate) to: Option<Timestamp>,
}

/// How much there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Unlimited,
    Of(u64),
}

impl From<Limit> for serde_json::Value {
    fn from(limit: Limit) -> Self {
        match limit {
            Limit::Unlimited => "unlimited".into(),
            Limit::Of(count) => count.into(),
        }
    }
}

fn limit(text: &str) -> Result<Limit, String> {
    match text.parse() {
        Ok(count) => Ok(Limit::Of(count)),
        Err(_) if text == "unlimited" => Ok(Limit::Unlimited),
        Err(_) => Err("a whole number from 0 on, or unlimited".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Quota {
    /// What a project may have of every kind, and has.
    Get {
        /// The project's id.
        project: String,
        /// One kind only, as vcpu.
        kind: Option<String>,
    },
    /// Give a project a limit of its own. A lower one takes nothing away; it refuses more.
    Set {
        /// The project's id.
        project: String,
        /// Of what, as vcpu.
        kind: String,
        /// How many, or `unlimited`.
        #[arg(value_parser = limit)]
        limit: Limit,
        #[command(flatten)]
        once: Once,
    },
    /// Take a project's own limit away: the default counts again.
    Unset {
        /// The project's id.
        project: String,
        /// Of what, as vcpu.
        kind: String,
        #[command(flatten)]
        once: Once,
    },
    /// List the kinds there are, and the limit of projects without one of their own.
    Limits,
    /// The limits of projects without one of their own.
    #[command(subcommand)]
    Limit(DefaultLimit),
}

#[derive(Debug, Subcommand)]
pub(crate) enum DefaultLimit {
    /// Make a kind known, or change its default. Again is harmless.
    Set {
        /// Of what, as vcpu.
        kind: String,
        /// How many, or `unlimited`.
        #[arg(value_parser = limit)]
        limit: Limit,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PriceBook {
    /// List the prices, by SKU and time.
    List {
        /// Of this SKU only.
        sku: Option<String>,
    },
    /// Publish a price. It does not change any more; a later one takes its place. Again with --effective-from is harmless.
    Publish {
        /// What is sold, as vcpu.
        sku: String,
        /// How much, in minor units with at most nine decimals, as 0.05.
        #[arg(value_parser = money::price)]
        price: Price,
        /// For how long that is: second, minute, hour, day, month (30 days), or a number of seconds that 30 days are a multiple
        /// of. Without it, it costs once.
        #[arg(long, value_name = "TIME", value_parser = money::per)]
        per: Option<u64>,
        /// For how many units that is: a power of two, as 1024 for a price per GiB of something counted in MiB.
        #[arg(long, value_name = "COUNT", default_value_t = 1)]
        per_quantity: u64,
        /// From when on, a minute ahead at least. Without it, the first price of a SKU counts from the beginning, another one in
        /// two minutes.
        #[arg(long, value_name = "TIME")]
        effective_from: Option<Timestamp>,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use clap::{CommandFactory as _, Parser as _};

    use crate::cli::Cli;

    /// Every command and every argument of these says what it is for.
    #[test]
    fn everything_has_its_help() {
        fn look(command: &clap::Command, path: &str) {
            assert!(command.get_about().is_some(), "{path}");
            for argument in command.get_arguments() {
                let id = argument.get_id();
                assert!(argument.get_help().is_some(), "{path} {id}");
            }
            for inner in command.get_subcommands() {
                look(inner, &format!("{path} {}", inner.get_name()));
            }
        }
        let cli = Cli::command();
        for name in [
            "wallet",
            "reservation",
            "transactions",
            "statement",
            "quota",
            "price",
        ] {
            look(cli.find_subcommand(name).unwrap(), name);
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_here() {
        for good in [
            "wallet adjust shop -300 --reason x",
            "reservation create shop --units vcpu=2,memory_mib=512",
            "reservation create shop 5 --units vcpu=2 --units vm=1",
            "wallet create shop --balance 0",
            "quota set shop vcpu unlimited",
            "quota limit set vcpu 0",
            "price publish vcpu 0.000000001 --per month --per-quantity 1024",
            "transactions shop --types deposit,charge",
        ] {
            let line = format!("photonctl {good}");
            if let Err(refused) = Cli::try_parse_from(line.split(' ')) {
                panic!("{good}: {refused}");
            }
        }
        for bad in [
            "wallet topup shop 0",
            "wallet topup shop -1",
            "wallet topup shop 1.5",
            "wallet topup shop 9007199254740992",
            "wallet adjust shop 0 --reason x",
            "wallet adjust shop 300",
            "reservation create shop",
            "reservation create shop 5 --units vcpu",
            "reservation create shop 5 --units vcpu=0",
            "reservation create shop 5 --ttl 0",
            "reservation extend rsv-1",
            "wallet update shop --allow-overage --no-overage",
            "quota set shop vcpu -1",
            "quota set shop vcpu many",
            "price publish vcpu 0.0000000001",
            "price publish vcpu 1 --per fortnight",
            "statement shop --month 2026-11 --from 2026-11-01T00:00:00Z",
            "statement shop --from 2026-11-01T00:00:00Z",
            "wallet topup shop 5 --idempotency-key a\u{e4}",
        ] {
            let line = format!("photonctl {bad}");
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{bad}");
        }
    }
}
