//! What the ledger may be asked to do. Values are parsed: only rules that depend on the state are left to check.

use photon_core::Name;
use serde::{Deserialize, Serialize};

use crate::{
    id::{EntryId, ReservationId},
    key::Key,
    money::{Amount, Charge, Currency},
    rating::{Forecast, Rate, Sku, Usage},
    text::{Actor, Description, ResourceId, Text},
    time::Ttl,
    units::{Limit, ResourceKind, Units},
    wallet::{Mode, Settings, Status, Thresholds},
};

/// A command, who gave it, and under which idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What to do.
    pub command: Command,
    /// Under which the first answer is remembered.
    pub key: Option<Key>,
    /// Written into the entries.
    pub by: Option<Actor>,
}

impl From<Command> for Request {
    fn from(command: Command) -> Self {
        Self {
            command,
            key: None,
            by: None,
        }
    }
}

/// One thing to do, wholly or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each variant is its struct")]
pub enum Command {
    CreateWallet(CreateWallet),
    UpdateWallet(UpdateWallet),
    TopUp(TopUp),
    Adjust(Adjust),
    Charge(DirectCharge),
    Refund(Refund),
    Reserve(Reserve),
    Commit(Commit),
    Release(Release),
    Extend(Extend),
    RecordUsage(RecordUsage),
    Settle(Settle),
    RegisterLimit(RegisterLimit),
    SetLimit(SetLimit),
    FreeUnits(FreeUnits),
    Recount(Recount),
    PublishPrice(PublishPrice),
}

/// Makes a project's wallet. There is one at most, and a closed one stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateWallet {
    /// Whose wallet.
    pub project: Name,
    /// The org of the project.
    pub org: Name,
    /// For good.
    pub currency: Currency,
    /// What is in it at first.
    pub initial_balance: Charge,
    /// How it behaves.
    pub settings: Settings,
}

/// Changes what is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateWallet {
    /// Whose wallet.
    pub project: Name,
    /// The new values.
    pub changes: WalletChanges,
}

/// New values; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalletChanges {
    /// See [`Status`]. Closing takes an empty wallet.
    pub status: Option<Status>,
    /// See [`Mode`].
    pub mode: Option<Mode>,
    /// Not below what is used of it.
    pub overdraft: Option<Charge>,
    /// See [`Settings`].
    pub allow_overage: Option<bool>,
    /// See [`Thresholds`].
    pub low_balance: Option<Thresholds>,
}

/// Credit comes in. Usage that could not be paid is paid first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopUp {
    /// Whose wallet.
    pub project: Name,
    /// How much.
    pub amount: Amount,
    /// From where: `bank`.
    pub source: Name,
    /// In the caller's words.
    pub description: Option<Description>,
}

/// Corrects a balance by an entry against `external:correction`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adjust {
    /// Whose wallet.
    pub project: Name,
    /// Which way.
    pub direction: Direction,
    /// How much.
    pub amount: Amount,
    /// Why.
    pub reason: Description,
}

/// Into a wallet or out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// The balance grows.
    Credit,
    /// The balance shrinks.
    Debit,
}

/// Charges at once, without a reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectCharge {
    /// Whose wallet.
    pub project: Name,
    /// How much.
    pub amount: Amount,
    /// What was sold; `direct` if nothing is said.
    pub sku: Option<Sku>,
    /// For which resource.
    pub resource: Resource,
    /// In the caller's words.
    pub description: Option<Description>,
}

/// Gives back what an entry charged, or part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// Whose wallet.
    pub project: Name,
    /// How much. All refunds of one charge together are at most what it took.
    pub amount: Amount,
    /// The charge, as the project's history has it. Entries never change, so what was read there holds.
    pub of: ChargeRef,
    /// Why.
    pub description: Option<Description>,
}

/// A charge of the past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargeRef {
    /// The entry.
    pub entry: EntryId,
    /// What it took in all.
    pub charged: Amount,
    /// What it was for.
    pub sku: Sku,
}

/// What something is for, as its service names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// `vm`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<Text<256>>,
    /// `vm-…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ResourceId>,
}

impl Resource {
    pub(crate) fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// Holds credit and units, all of it or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserve {
    /// Whose.
    pub project: Name,
    /// How much credit, if any.
    pub hold: Option<Hold>,
    /// Which units, if any.
    pub units: Units,
    /// For how long.
    pub ttl: Ttl,
    /// Who asks.
    pub payer: Payer,
    /// For what.
    pub resource: Resource,
    /// In the caller's words.
    pub description: Option<Description>,
}

/// How much is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hold {
    /// So much.
    Amount(Amount),
    /// What this will cost by the price book, rounded up per SKU.
    Priced(Forecast),
}

/// Who asks for a reservation or reports usage, and so whether the wallet pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payer {
    /// Somebody by hand: the wallet must be there, and pays in either mode.
    Caller,
    /// A service on its own account: a wallet in mode `metered` pays, others do not.
    Service(Billing),
}

/// What a service does with a project that has no wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Billing {
    /// Neither charged nor refused.
    Optional,
    /// Refused.
    Required,
}

/// Takes what is held, or less of it, and gives the rest back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Which.
    pub reservation: ReservationId,
    /// As whom; none for who may see all.
    pub caller: Option<Name>,
    /// How much; all that is held if nothing is said.
    pub actual: Option<Charge>,
    /// Which units are used from now on; all that are held if nothing is said.
    pub units: Option<Units>,
    /// By which resource; what the reservation named if nothing is said.
    pub resource_id: Option<ResourceId>,
    /// In the caller's words.
    pub description: Option<Description>,
}

/// Gives back what is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Which.
    pub reservation: ReservationId,
    /// As whom; none for who may see all.
    pub caller: Option<Name>,
    /// Why.
    pub reason: Option<Description>,
}

/// Holds longer: from now on for so long. Never shorter than it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extend {
    /// Which.
    pub reservation: ReservationId,
    /// As whom; none for who may see all.
    pub caller: Option<Name>,
    /// For how long from now on.
    pub ttl: Ttl,
}

/// Rates usage and charges it; what was counted before changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordUsage {
    /// Whose.
    pub project: Name,
    /// What a project without a wallet means.
    pub billing: Billing,
    /// At most [`MAX_USAGE`] at once.
    pub usage: Vec<Usage>,
}

/// How many usages or forecast lines one command may have.
pub const MAX_USAGE: usize = 256;

/// A period's step: charges usage, from the old hold first, gives back the rest of it, and takes the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settle {
    /// Whose.
    pub project: Name,
    /// What a project without a wallet means.
    pub billing: Billing,
    /// The old hold. If it has ended meanwhile, nothing is held and the usage is charged all the same. Its units
    /// are in use from now on, as with a commit.
    pub reservation: Option<ReservationId>,
    /// What was used; what was counted before changes nothing.
    pub usage: Vec<Usage>,
    /// What to hold next; none at the end.
    pub next: Option<NextHold>,
    /// For which resource.
    pub resource: Resource,
}

/// The hold of the next period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHold {
    /// What will be used.
    pub forecast: Forecast,
    /// For how long it is held.
    pub ttl: Ttl,
}

/// Makes a kind known, or changes its default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterLimit {
    /// Which kind.
    pub kind: ResourceKind,
    /// For projects without a limit of their own.
    pub default: Limit,
}

/// Sets a project's own limit, or goes back to the default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetLimit {
    /// Whose.
    pub project: Name,
    /// Of which kind.
    pub kind: ResourceKind,
    /// None for the default.
    pub limit: Option<Limit>,
}

/// Gives back units in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeUnits {
    /// Whose.
    pub project: Name,
    /// The resource that used them.
    pub claimant: ResourceId,
    /// Which; all that it uses if nothing is said.
    pub units: Option<Units>,
}

/// Says what a resource really uses, limits notwithstanding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recount {
    /// Whose.
    pub project: Name,
    /// The resource.
    pub claimant: ResourceId,
    /// All that it uses.
    pub units: Units,
}

/// Makes a rate effective from a second on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishPrice {
    /// Of what.
    pub sku: Sku,
    /// Seconds since 1970.
    pub effective_from: i64,
    /// How much.
    pub rate: Rate,
}
