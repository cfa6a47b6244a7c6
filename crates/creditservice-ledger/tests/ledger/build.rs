//! Short ways to say what tests need.

use std::collections::BTreeMap;

use creditservice_ledger::*;
use photon_core::Name;

/// 2026-11-22T12:00:00Z, in seconds.
pub(crate) const NOON: i64 = 1_795_348_800;

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn amount(minor: i64) -> Amount {
    Amount::new(minor).unwrap()
}

pub(crate) fn ttl(seconds: i64) -> Ttl {
    Ttl::new(seconds).unwrap()
}

pub(crate) fn id(text: &str) -> ResourceId {
    ResourceId::new(text).unwrap()
}

pub(crate) fn vm(text: &str) -> Resource {
    Resource {
        kind: Some(Text::new("vm").unwrap()),
        id: Some(id(text)),
    }
}

pub(crate) fn units(counts: &[(&str, i64)]) -> Units {
    let counts: BTreeMap<_, _> = counts.iter().map(|(kind, n)| (name(kind), *n)).collect();
    Units::new(counts).unwrap()
}

pub(crate) fn create(project: &str, initial: i64, settings: Settings) -> Command {
    Command::CreateWallet(CreateWallet {
        project: name(project),
        org: name("acme"),
        currency: Currency::Jpy,
        initial_balance: Charge::new(initial).unwrap(),
        settings,
    })
}

pub(crate) fn metered() -> Settings {
    Settings {
        mode: Mode::Metered,
        ..Settings::default()
    }
}

pub(crate) fn update(project: &str, changes: WalletChanges) -> Command {
    Command::UpdateWallet(UpdateWallet {
        project: name(project),
        changes,
    })
}

pub(crate) fn set_status(project: &str, status: Status) -> Command {
    let status = Some(status);
    update(
        project,
        WalletChanges {
            status,
            ..WalletChanges::default()
        },
    )
}

pub(crate) fn top_up(project: &str, minor: i64) -> Command {
    Command::TopUp(TopUp {
        project: name(project),
        amount: amount(minor),
        source: name("bank"),
        description: None,
    })
}

pub(crate) fn adjust(project: &str, minor: i64) -> Command {
    Command::Adjust(Adjust {
        project: name(project),
        direction: if minor < 0 {
            Direction::Debit
        } else {
            Direction::Credit
        },
        amount: amount(minor.abs()),
        reason: Description::new("put right").unwrap(),
    })
}

pub(crate) fn charge(project: &str, minor: i64) -> Command {
    Command::Charge(DirectCharge {
        project: name(project),
        amount: amount(minor),
        sku: None,
        resource: Resource::default(),
        description: None,
    })
}

pub(crate) fn refund(project: &str, entry: EntryId, charged: i64, minor: i64) -> Command {
    Command::Refund(Refund {
        project: name(project),
        amount: amount(minor),
        of: ChargeRef {
            entry,
            charged: amount(charged),
            sku: name("direct"),
        },
        description: None,
    })
}

/// By hand, without units.
pub(crate) fn reserve(project: &str, minor: i64, seconds: i64) -> Command {
    Command::Reserve(Reserve {
        project: name(project),
        hold: Some(Hold::Amount(amount(minor))),
        units: Units::none(),
        ttl: ttl(seconds),
        payer: Payer::Caller,
        resource: Resource::default(),
        description: None,
    })
}

pub(crate) fn reserve_units(project: &str, counts: &[(&str, i64)], resource: &str) -> Command {
    Command::Reserve(Reserve {
        project: name(project),
        hold: None,
        units: units(counts),
        ttl: ttl(60),
        payer: Payer::Service(Billing::Optional),
        resource: vm(resource),
        description: None,
    })
}

pub(crate) fn commit(reservation: ReservationId, actual: Option<i64>) -> Command {
    Command::Commit(Commit {
        reservation,
        caller: None,
        actual: actual.map(|minor| Charge::new(minor).unwrap()),
        units: None,
        resource_id: None,
        description: None,
    })
}

pub(crate) fn release(reservation: ReservationId) -> Command {
    Command::Release(Release {
        reservation,
        caller: None,
        reason: None,
    })
}

pub(crate) fn extend(reservation: ReservationId, seconds: i64) -> Command {
    Command::Extend(Extend {
        reservation,
        caller: None,
        ttl: ttl(seconds),
    })
}

pub(crate) fn usage(resource: &str, sku: &str, start: i64, end: i64, quantity: u64) -> Usage {
    Usage {
        resource_id: id(resource),
        sku: name(sku),
        interval: Interval::new(start, end).unwrap(),
        quantity: Quantity::new(quantity).unwrap(),
    }
}

pub(crate) fn record(project: &str, usage: Vec<Usage>) -> Command {
    Command::RecordUsage(RecordUsage {
        project: name(project),
        billing: Billing::Optional,
        usage,
    })
}

pub(crate) fn next(start: i64, end: i64, sku: &str, quantity: u64) -> NextHold {
    NextHold {
        forecast: Forecast {
            interval: Interval::new(start, end).unwrap(),
            lines: vec![ForecastLine {
                sku: name(sku),
                quantity: Quantity::new(quantity).unwrap(),
            }],
        },
        ttl: ttl(end - start + 60),
    }
}

pub(crate) fn settle(
    project: &str,
    reservation: Option<ReservationId>,
    usage: Vec<Usage>,
    next: Option<NextHold>,
) -> Command {
    Command::Settle(Settle {
        project: name(project),
        billing: Billing::Optional,
        reservation,
        usage,
        next,
        resource: vm("vm-1"),
    })
}

pub(crate) fn register(kind: &str, default: Option<i64>) -> Command {
    Command::RegisterLimit(RegisterLimit {
        kind: name(kind),
        default: limit(default),
    })
}

pub(crate) fn limit(count: Option<i64>) -> Limit {
    count.map_or(Limit::UNLIMITED, |count| Limit::at_most(count).unwrap())
}

pub(crate) fn set_limit(project: &str, kind: &str, own: Option<Option<i64>>) -> Command {
    Command::SetLimit(SetLimit {
        project: name(project),
        kind: name(kind),
        limit: own.map(limit),
    })
}

pub(crate) fn free(project: &str, claimant: &str, counts: Option<&[(&str, i64)]>) -> Command {
    Command::FreeUnits(FreeUnits {
        project: name(project),
        claimant: id(claimant),
        units: counts.map(units),
    })
}

pub(crate) fn recount(project: &str, claimant: &str, counts: &[(&str, i64)]) -> Command {
    Command::Recount(Recount {
        project: name(project),
        claimant: id(claimant),
        units: units(counts),
    })
}

/// Nanos of a yen per unit and second.
pub(crate) fn price(sku: &str, from: i64, nanos: u64) -> Command {
    publish(sku, from, Rate::new(nanos, 1, Some(1)).unwrap())
}

pub(crate) fn publish(sku: &str, effective_from: i64, rate: Rate) -> Command {
    Command::PublishPrice(PublishPrice {
        sku: name(sku),
        effective_from,
        rate,
    })
}

pub(crate) fn key(digest: u8, fingerprint: u8) -> Key {
    Key {
        digest: Digest([digest; 32]),
        fingerprint: Digest([fingerprint; 32]),
    }
}
