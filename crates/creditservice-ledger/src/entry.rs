//! Entries: what happened, in postings that balance. They never change; a correction is another entry.

use std::{collections::BTreeMap, fmt, str::FromStr};

use photon_core::Name;
use serde::{Deserialize, Serialize};

use crate::{
    command::Resource,
    id::{EntryId, Place, ReservationId, Shard},
    key::Key,
    money::{Amount, Currency},
    rating::{Exact, Rate, Sku, Usage},
    text::{Actor, Description, ResourceId},
    time::Time,
    units::{Limit, ResourceKind, Units},
    wallet::{Settings, Status},
};

/// One entry of a shard's journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// 1, 2, 3, … in its shard.
    pub seq: u64,
    /// Never before that of the entry before.
    pub at: Time,
    /// Whose accounts it moves; none for what concerns the whole shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Name>,
    /// What happened.
    pub what: What,
    /// What moved. Sums to zero per ledger.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub postings: Vec<Posting>,
    /// Why, in the caller's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Description>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
    /// The idempotency key of the command, in its last entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// What others will want to know, in a command's last entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<Signal>,
}

impl Entry {
    /// Its id in this shard.
    #[must_use]
    pub fn id(&self, shard: Shard) -> EntryId {
        self.place(shard).id()
    }

    /// The id of the reservation that it made, if it made one.
    #[must_use]
    pub fn reservation_id(&self, shard: Shard) -> ReservationId {
        self.place(shard).id()
    }

    fn place(&self, shard: Shard) -> Place {
        Place {
            at: self.at,
            shard,
            seq: self.seq,
        }
    }

    /// By how much it changed the balance: the amount of the guide's transaction.
    #[must_use]
    pub fn amount(&self) -> i64 {
        self.postings
            .iter()
            .filter(|posting| matches!(posting.0, Account::Wallet | Account::Hold))
            .map(|posting| posting.1)
            .sum()
    }
}

/// A movement of one account: credits are positive, debits negative.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting(pub Account, pub i64);

/// An account. Those of wallets, holds and units belong to the entry's project, the others to the shard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Account {
    /// What a project may spend.
    Wallet,
    /// What its reservations hold.
    Hold,
    /// Where credit comes from.
    External(Name),
    /// What was earned.
    Revenue(Sku),
    /// The contra account of a kind of units.
    Pool(ResourceKind),
    /// Units reserved by a project.
    Held(ResourceKind),
    /// Units used by a project.
    Used(ResourceKind),
}

impl Account {
    /// The kind of units it counts, or none for money.
    #[must_use]
    pub fn kind(&self) -> Option<&ResourceKind> {
        match self {
            Self::Wallet | Self::Hold | Self::External(_) | Self::Revenue(_) => None,
            Self::Pool(kind) | Self::Held(kind) | Self::Used(kind) => Some(kind),
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wallet => f.write_str("wallet"),
            Self::Hold => f.write_str("hold"),
            Self::External(source) => write!(f, "external:{source}"),
            Self::Revenue(sku) => write!(f, "revenue:{sku}"),
            Self::Pool(kind) => write!(f, "pool:{kind}"),
            Self::Held(kind) => write!(f, "held:{kind}"),
            Self::Used(kind) => write!(f, "used:{kind}"),
        }
    }
}

/// A text is not an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an account")]
pub struct AccountError;

impl FromStr for Account {
    type Err = AccountError;

    fn from_str(text: &str) -> Result<Self, AccountError> {
        let (family, name) = match text {
            "wallet" => return Ok(Self::Wallet),
            "hold" => return Ok(Self::Hold),
            _ => text.split_once(':').ok_or(AccountError)?,
        };
        let name = Name::new(name).map_err(|_| AccountError)?;
        match family {
            "external" => Ok(Self::External(name)),
            "revenue" => Ok(Self::Revenue(name)),
            "pool" => Ok(Self::Pool(name)),
            "held" => Ok(Self::Held(name)),
            "used" => Ok(Self::Used(name)),
            _ => Err(AccountError),
        }
    }
}

impl TryFrom<String> for Account {
    type Error = AccountError;
    fn try_from(text: String) -> Result<Self, AccountError> {
        text.parse()
    }
}

impl From<Account> for String {
    fn from(account: Account) -> Self {
        account.to_string()
    }
}

/// Whether postings sum to zero, in money and in each kind of units.
#[must_use]
pub fn balanced(postings: &[Posting]) -> bool {
    let mut sums: BTreeMap<Option<&ResourceKind>, i128> = BTreeMap::new();
    for Posting(account, amount) in postings {
        *sums.entry(account.kind()).or_default() += i128::from(*amount);
    }
    sums.values().all(|sum| *sum == 0)
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A wallet was made; what is in it at first is in the postings.
    WalletCreated {
        /// The project's org.
        org: Name,
        /// For good.
        currency: Currency,
        /// How it behaves.
        settings: Settings,
    },
    /// It is set to this now.
    WalletUpdated {
        /// Whether it may be used.
        status: Status,
        /// How it behaves.
        settings: Settings,
    },
    /// Credit came in.
    Deposit {
        /// From where.
        source: Name,
    },
    /// A deposit paid for usage that could not be paid before.
    Collected {
        /// The `seq` of the deposit.
        deposit: u64,
        /// For what.
        lines: Vec<Collected>,
    },
    /// A balance was corrected.
    Adjustment,
    /// A direct charge.
    Charge {
        /// What was sold.
        sku: Sku,
        /// For which resource.
        #[serde(default, skip_serializing_if = "Resource::is_unknown")]
        resource: Resource,
    },
    /// Part of a charge was given back.
    Refund {
        /// The charge.
        of: EntryId,
        /// What it took in all.
        charged: Amount,
        /// What it was for.
        sku: Sku,
    },
    /// Credit and units are held.
    Reserved(Held),
    /// A hold lasts longer.
    Extended {
        /// Which.
        reservation: ReservationId,
        /// Until when now.
        expires_at: Time,
    },
    /// A hold was charged.
    Committed {
        /// Which.
        reservation: ReservationId,
        /// What was taken.
        charged: i64,
        /// The units that are used from now on.
        #[serde(default, skip_serializing_if = "Units::is_empty")]
        units: Units,
        /// For which resource; and the claimant of the units.
        #[serde(default, skip_serializing_if = "Resource::is_unknown")]
        resource: Resource,
    },
    /// A hold was given back.
    Released {
        /// Which.
        reservation: ReservationId,
    },
    /// A hold's time was over.
    Expired {
        /// Which.
        reservation: ReservationId,
    },
    /// Usage was rated and charged.
    Used {
        /// Each usage.
        lines: Vec<Line>,
    },
    /// A period's step.
    Settled {
        /// The old hold, if it was still open.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reservation: Option<ReservationId>,
        /// Each usage that was charged.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lines: Vec<Line>,
        /// Whether the wallet pays for usage.
        billed: bool,
        /// The units of the old hold, used from now on,
        #[serde(default, skip_serializing_if = "Units::is_empty")]
        units: Units,
        /// by this resource.
        #[serde(default, skip_serializing_if = "Resource::is_unknown")]
        resource: Resource,
        /// The next hold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<Held>,
    },
    /// A kind of units is known, with this default.
    LimitRegistered {
        /// Which.
        kind: ResourceKind,
        /// For projects without a limit of their own.
        default: Limit,
    },
    /// A project has a limit of its own, or none any more.
    LimitSet {
        /// Of which kind.
        kind: ResourceKind,
        /// The limit.
        limit: Option<Limit>,
    },
    /// Units are not used any more.
    UnitsFreed {
        /// Which resource used them.
        claimant: ResourceId,
        /// Which.
        units: Units,
    },
    /// A resource uses this, whatever was known before.
    UnitsRecounted {
        /// Which resource.
        claimant: ResourceId,
        /// All that it uses.
        units: Units,
    },
    /// A rate is effective from a second on.
    PricePublished {
        /// Of what.
        sku: Sku,
        /// Seconds since 1970.
        effective_from: i64,
        /// How much.
        rate: Rate,
    },
}

/// A hold that was taken; its id is made of the entry's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Credit, in minor units; 0 where nobody pays.
    pub amount: i64,
    /// Units.
    #[serde(default, skip_serializing_if = "Units::is_empty")]
    pub units: Units,
    /// It is over at this moment.
    pub expires_at: Time,
    /// For what.
    #[serde(default, skip_serializing_if = "Resource::is_unknown")]
    pub resource: Resource,
}

/// A usage that was rated: `carry before + exact = posted + carry`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What was used.
    pub usage: Usage,
    /// What it cost.
    pub exact: Exact,
    /// Whole minor units taken for it, and for what was carried before.
    pub posted: i64,
    /// What is rated and not yet taken for this SKU.
    pub carry: Exact,
    /// Whether the statement of its month was closed already.
    #[serde(default, skip_serializing_if = "is_false")]
    pub adjustment: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// What was taken for a SKU later than it was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// For what.
    pub sku: Sku,
    /// Whole minor units.
    pub posted: i64,
    /// What is left.
    pub carry: Exact,
}

/// Something that others follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// What is available came to a threshold or below it.
    LowBalance {
        /// Which.
        threshold: i64,
        /// What is available now.
        available: i64,
    },
    /// It is above again.
    BalanceRestored {
        /// Which.
        threshold: i64,
        /// What is available now.
        available: i64,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn accounts_have_one_text() {
        for text in [
            "wallet",
            "hold",
            "external:bank",
            "revenue:vm.small",
            "pool:vcpu",
            "held:vcpu",
            "used:vcpu",
        ] {
            assert_eq!(text.parse::<Account>().unwrap().to_string(), text);
        }
        for bad in ["", "wallets", "revenue", "revenue:", "revenue:A", "cash:x"] {
            assert!(bad.parse::<Account>().is_err(), "{bad}");
        }
    }

    #[test]
    fn postings_balance_in_each_ledger() {
        let kind = |name| Name::new(name).unwrap();
        let money = [Posting(Account::Wallet, -5), Posting(Account::Hold, 5)];
        assert!(balanced(&money) && balanced(&[]));
        assert!(!balanced(&money[..1]));
        let mixed = [
            Posting(Account::Pool(kind("vcpu")), -5),
            Posting(Account::Held(kind("disk_gib")), 5),
        ];
        assert!(!balanced(&mixed));
    }
}
