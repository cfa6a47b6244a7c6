//! What each method needs. Start fails when one of the proto's is missing here.

use photon_auth::grpc::Guard;

/// Methods and the permission each is decided by: those of the REST routes to the same use cases.
const NEEDS: &[(&str, &str)] = &[
    ("Wallets/Create", "creditservice.wallets.create"),
    ("Wallets/Get", "creditservice.wallets.get"),
    ("Wallets/List", "creditservice.wallets.list"),
    ("Wallets/Update", "creditservice.wallets.update"),
    ("Wallets/TopUp", "creditservice.wallets.topup"),
    ("Wallets/Charge", "creditservice.wallets.charge"),
    ("Wallets/Refund", "creditservice.wallets.refund"),
    ("Wallets/Adjust", "creditservice.wallets.adjust"),
    (
        "Wallets/ListTransactions",
        "creditservice.transactions.list",
    ),
    ("Reservations/Create", "creditservice.reservations.create"),
    ("Reservations/Get", "creditservice.reservations.get"),
    ("Reservations/List", "creditservice.reservations.list"),
    ("Reservations/Commit", "creditservice.reservations.commit"),
    ("Reservations/Release", "creditservice.reservations.release"),
    ("Reservations/Extend", "creditservice.reservations.extend"),
    ("Quotas/List", "creditservice.quotas.get"),
    ("Quotas/Set", "creditservice.quotas.update"),
    ("Quotas/ListLimits", "creditservice.limits.list"),
    ("Quotas/Free", "creditservice.usage.record"),
    ("Quotas/Recount", "creditservice.usage.record"),
    ("Usage/Record", "creditservice.usage.record"),
    ("Usage/Settle", "creditservice.usage.record"),
    ("Prices/List", "creditservice.prices.list"),
    ("Statements/Get", "creditservice.statements.get"),
    ("Billing/Get", "creditservice.billing.get"),
    // For processes of this service; see `shards`.
    ("Shards/Ask", "creditservice.shards.ask"),
];

/// Those that make a setting: they heed an idempotency key by themselves, where the others leave it to the ledger.
const SETTINGS: &[(&str, &str)] = &[
    ("Quotas/RegisterLimit", "creditservice.limits.update"),
    ("Prices/Publish", "creditservice.prices.create"),
    ("Billing/Set", "creditservice.billing.update"),
];

/// The table, to be put around the services that `descriptors` describe.
pub(super) fn guard(descriptors: &[u8]) -> Guard {
    let name = |method: &str| format!("photon.credit.v1.{method}");
    let guard = Guard::of(descriptors);
    let guard = NEEDS.iter().fold(guard, |guard, (method, permission)| {
        guard.rpc(&name(method), permission)
    });
    SETTINGS.iter().fold(guard, |guard, (method, permission)| {
        guard.create(&name(method), permission)
    })
}
