//! The ledger of one shard: wallets, reservations, metering and quotas, as a pure state machine.
//!
//! ```text
//!   Request ── apply(now) ──> decide ──> entries ──> replay ──> State
//!                               │  (a draft; the      (the only thing that
//!                               v   state is read)     changes the state)
//!                            Refusal: nothing changed
//! ```
//!
//! No clock, no I/O, no randomness. The state is the fold of its entries, so a journal needs nothing but entries, and
//! whoever replays them has the same state, ids and answers included. What the words mean: `docs/credit.md`.

#![warn(missing_docs)]

mod answer;
mod command;
mod decide;
mod entry;
mod id;
mod key;
mod money;
mod rating;
mod refusal;
mod replay_error;
mod state;
mod text;
mod time;
mod units;
mod wallet;

pub use answer::{Answer, Figures, ReservationStatus, ReservationView};
pub use command::{
    Adjust, Billing, ChargeRef, Command, Commit, CreateWallet, DirectCharge, Direction, Extend,
    FreeUnits, Hold, MAX_USAGE, NextHold, Payer, PublishPrice, RecordUsage, Recount, Refund,
    RegisterLimit, Release, Request, Reserve, Resource, SetLimit, Settle, TopUp, UpdateWallet,
    WalletChanges,
};
pub use decide::{Applied, REFUNDABLE_SECONDS, USAGE_AHEAD_SECONDS, USAGE_SECONDS};
pub use entry::{
    Account, AccountError, Collected, Entry, Held, Line, Posting, Signal, What, balanced,
};
pub use id::{EntryId, Place, Reservation, ReservationId, Shard, ShardError, Transaction};
pub use key::{Digest, DigestError, Key};
pub use money::{Amount, AmountError, Charge, Currency, MAX_MINOR};
pub use rating::{
    Exact, Forecast, ForecastLine, Interval, IntervalError, NoPrice, PriceBook, Quantity,
    QuantityError, Rate, RateError, Sku, Usage,
};
pub use refusal::{Lack, Refusal};
pub use replay_error::ReplayError;
pub use state::{Bounds, QuotaView, State, Violation, WalletView, snapshot};
pub use text::{Actor, Description, ResourceId, Text, TextError};
pub use time::{Time, Ttl, TtlError};
pub use units::{Limit, LimitError, ResourceKind, Units, UnitsError};
pub use wallet::{Mode, Settings, Status, Thresholds, ThresholdsError};
