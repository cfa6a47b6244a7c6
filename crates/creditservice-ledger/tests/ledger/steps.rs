//! Random steps over a small world, so that what they are about meets.

use proptest::{collection::vec, option, prelude::*, sample::select};

pub(crate) const PROJECTS: &[&str] = &["a", "b", "c"];
pub(crate) const KINDS: &[&str] = &["disk_gib", "vcpu", "vm"];
pub(crate) const SKUS: &[&str] = &["cpu", "disk", "traffic"];
pub(crate) const RESOURCES: &[&str] = &["vm-1", "vm-2", "vm-3"];

/// Some units of each kind; 0 is none.
pub(crate) type Counts = [i64; 3];

/// What is used: resource, SKU, seconds before now at which it begins, length, quantity.
#[derive(Clone, Debug)]
pub(crate) struct Used {
    pub(crate) resource: &'static str,
    pub(crate) sku: &'static str,
    pub(crate) ago: i64,
    pub(crate) seconds: i64,
    pub(crate) quantity: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    Caller,
    Service,
    ServiceRequired,
}

#[derive(Clone, Debug)]
pub(crate) struct Forecasts {
    /// How long.
    pub(crate) seconds: i64,
    pub(crate) lines: Vec<(&'static str, u64)>,
}

/// One thing to do. `pick`s choose among what there is by then.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Wait(i64),
    ExpireDue(usize),
    Create {
        project: &'static str,
        initial: i64,
        metered: bool,
        overdraft: i64,
        overage: bool,
    },
    Update {
        project: &'static str,
        /// 0 active, 1 suspended, 2 closed.
        status: Option<u8>,
        metered: Option<bool>,
        overdraft: Option<i64>,
        overage: Option<bool>,
    },
    /// Takes out all that is in it and closes it.
    Drain(&'static str),
    TopUp(&'static str, i64),
    Adjust(&'static str, i64),
    Charge(&'static str, i64),
    Refund {
        pick: usize,
        amount: i64,
    },
    Reserve {
        project: &'static str,
        amount: i64,
        forecast: Option<Forecasts>,
        units: Counts,
        ttl: i64,
        asks: Asks,
        resource: Option<&'static str>,
    },
    Commit {
        pick: usize,
        /// Of what is held, in percent.
        percent: Option<i64>,
        units: Option<Counts>,
        caller: Option<&'static str>,
        resource: Option<&'static str>,
    },
    Release {
        pick: usize,
        caller: Option<&'static str>,
    },
    Extend {
        pick: usize,
        ttl: i64,
    },
    Record {
        project: &'static str,
        required: bool,
        usage: Vec<Used>,
    },
    Settle {
        project: &'static str,
        required: bool,
        pick: Option<usize>,
        usage: Vec<Used>,
        next: Option<(Forecasts, i64)>,
        resource: &'static str,
    },
    Register(&'static str, Option<i64>),
    SetLimit(&'static str, &'static str, Option<Option<i64>>),
    Free {
        project: &'static str,
        resource: &'static str,
        units: Option<Counts>,
    },
    Recount {
        project: &'static str,
        resource: &'static str,
        units: Counts,
    },
    Price {
        sku: &'static str,
        /// Seconds before now.
        ago: i64,
        nanos: u64,
        per_quantity: u64,
        per_seconds: u64,
    },
}

fn project() -> impl Strategy<Value = &'static str> {
    // Some more often than others, so that steps meet.
    prop_oneof![6 => Just("a"), 2 => Just("b"), 1 => Just("c")]
}

fn resource() -> impl Strategy<Value = &'static str> {
    select(RESOURCES)
}

fn counts() -> impl Strategy<Value = Counts> {
    prop_oneof![2 => Just([0, 0, 0]), 3 => [0..3_i64, 0..4_i64, 0..2_i64]]
}

fn used() -> impl Strategy<Value = Used> {
    // Whole tens now and then: so that intervals repeat and touch.
    let ago = prop_oneof![3 => (0..12_i64).prop_map(|n| n * 10), 1 => -400..200_i64];
    let seconds = prop_oneof![3 => Just(10_i64), 1 => 1..40_i64];
    (resource(), select(SKUS), ago, seconds, 1..5_u64).prop_map(
        |(resource, sku, ago, seconds, quantity)| Used {
            resource,
            sku,
            ago,
            seconds,
            quantity,
        },
    )
}

fn forecast() -> impl Strategy<Value = Forecasts> {
    let line = (select(SKUS), 1..5_u64);
    (
        prop_oneof![2 => 1..20_i64, 1 => 1..120_i64],
        vec(line, 0..3),
    )
        .prop_map(|(seconds, lines)| Forecasts { seconds, lines })
}

fn asks() -> impl Strategy<Value = Asks> {
    select(
        &[
            Asks::Caller,
            Asks::Caller,
            Asks::Service,
            Asks::ServiceRequired,
        ][..],
    )
}

fn waits() -> impl Strategy<Value = Step> {
    // Whole tens, as times to live are: so that things happen at the very moment when others are over.
    let seconds = prop_oneof![
        6 => (0..4_i64).prop_map(|n| n * 10),
        1 => 1..40_i64,
        2 => 60..4_000_i64,
        1 => -100..0_i64,
        1 => 86_400..200_000_i64,
    ];
    prop_oneof![
        4 => seconds.prop_map(Step::Wait),
        1 => (1..4_usize).prop_map(Step::ExpireDue),
    ]
}

fn wallets() -> impl Strategy<Value = Step> {
    let create = (
        project(),
        0..300_i64,
        any::<bool>(),
        0..2_i64,
        any::<bool>(),
    )
        .prop_map(
            |(project, initial, metered, overdraft, overage)| Step::Create {
                project,
                initial,
                metered,
                overdraft: overdraft * 50,
                overage,
            },
        );
    let update = (
        project(),
        option::weighted(
            0.4,
            prop_oneof![4 => Just(0_u8), 2 => Just(1), 1 => Just(2)],
        ),
        option::weighted(0.3, any::<bool>()),
        option::weighted(0.3, 0..100_i64),
        option::weighted(0.3, any::<bool>()),
    )
        .prop_map(
            |(project, status, metered, overdraft, overage)| Step::Update {
                project,
                status,
                metered,
                overdraft,
                overage,
            },
        );
    prop_oneof![
        4 => create,
        3 => update,
        1 => Just(Step::Drain("c")),
        4 => (project(), prop_oneof![3 => 1..40_i64, 1 => 40..300_i64]).prop_map(|(project, minor)| Step::TopUp(project, minor)),
        1 => (project(), prop_oneof![-50..0_i64, 1..50_i64])
            .prop_map(|(project, minor)| Step::Adjust(project, minor)),
        3 => (project(), 1..60_i64).prop_map(|(project, minor)| Step::Charge(project, minor)),
        2 => (any::<usize>(), 1..40_i64).prop_map(|(pick, amount)| Step::Refund { pick, amount }),
    ]
}

fn reservations() -> impl Strategy<Value = Step> {
    let ttl = || {
        prop_oneof![
            3 => (1..6_i64).prop_map(|n| n * 10),
            1 => 1..60_i64,
            2 => 1_000..10_000_i64,
        ]
    };
    let reserve = (
        project(),
        0..80_i64,
        option::weighted(0.2, forecast()),
        counts(),
        ttl(),
        asks(),
        option::of(resource()),
    )
        .prop_map(
            |(project, amount, forecast, units, ttl, asks, resource)| Step::Reserve {
                project,
                amount,
                forecast,
                units,
                ttl,
                asks,
                resource,
            },
        );
    let commit = (
        any::<usize>(),
        option::weighted(0.7, 0..140_i64),
        option::weighted(0.2, counts()),
        option::weighted(0.2, project()),
        option::weighted(0.3, resource()),
    )
        .prop_map(|(pick, percent, units, caller, resource)| Step::Commit {
            pick,
            percent,
            units,
            caller,
            resource,
        });
    let release = (any::<usize>(), option::weighted(0.2, project()))
        .prop_map(|(pick, caller)| Step::Release { pick, caller });
    let extend = (any::<usize>(), ttl()).prop_map(|(pick, ttl)| Step::Extend { pick, ttl });
    prop_oneof![6 => reserve, 4 => commit, 2 => release, 1 => extend]
}

fn metering() -> impl Strategy<Value = Step> {
    let record =
        (project(), any::<bool>(), vec(used(), 0..4)).prop_map(|(project, required, usage)| {
            Step::Record {
                project,
                required,
                usage,
            }
        });
    let settle = (
        project(),
        any::<bool>(),
        option::weighted(0.7, any::<usize>()),
        vec(used(), 0..3),
        option::weighted(0.6, (forecast(), 1..200_i64)),
        resource(),
    )
        .prop_map(
            |(project, required, pick, usage, next, resource)| Step::Settle {
                project,
                required,
                pick,
                usage,
                next,
                resource,
            },
        );
    let price = (
        select(SKUS),
        prop_oneof![1 => Just(0_i64), 3 => -20..400_i64],
        prop_oneof![1 => Just(0_u64), 4 => 1..3_000_000_000_u64],
        select(&[1_u64, 1, 2, 1024][..]),
        select(&[1_u64, 1, 60, 3600][..]),
    )
        .prop_map(|(sku, ago, nanos, per_quantity, per_seconds)| Step::Price {
            sku,
            ago,
            nanos,
            per_quantity,
            per_seconds,
        });
    prop_oneof![4 => record, 4 => settle, 2 => price]
}

fn quotas() -> impl Strategy<Value = Step> {
    let count = || option::weighted(0.8, 0..8_i64);
    prop_oneof![
        2 => (select(KINDS), count()).prop_map(|(kind, count)| Step::Register(kind, count)),
        1 => (project(), select(KINDS), option::weighted(0.7, count()))
            .prop_map(|(project, kind, own)| Step::SetLimit(project, kind, own)),
        2 => (project(), resource(), option::of(counts()))
            .prop_map(|(project, resource, units)| Step::Free { project, resource, units }),
        1 => (project(), resource(), counts())
            .prop_map(|(project, resource, units)| Step::Recount { project, resource, units }),
    ]
}

/// A world with something in it, then anything.
pub(crate) fn some_steps(at_most: usize) -> impl Strategy<Value = Vec<Step>> {
    let usual = vec![
        Step::Register("vcpu", Some(4)),
        Step::Register("vm", Some(2)),
        Step::Price {
            sku: "cpu",
            ago: 500,
            nanos: 333_333_333,
            per_quantity: 1,
            per_seconds: 1,
        },
        // Dear enough to empty a wallet.
        Step::Price {
            sku: "disk",
            ago: 500,
            nanos: 2_500_000_001,
            per_quantity: 1,
            per_seconds: 1,
        },
        Step::Price {
            sku: "traffic",
            ago: 500,
            nanos: 700_000_000,
            per_quantity: 2,
            // 0: not by time.
            per_seconds: 0,
        },
        Step::Create {
            project: "a",
            initial: 200,
            metered: true,
            overdraft: 0,
            overage: true,
        },
        Step::Create {
            project: "b",
            initial: 100,
            metered: false,
            overdraft: 30,
            overage: false,
        },
    ];
    let any = prop_oneof![
        4 => waits(),
        4 => wallets(),
        8 => reservations(),
        5 => metering(),
        2 => quotas(),
    ];
    vec(any, 1..at_most).prop_map(move |more| [usual.clone(), more].concat())
}
