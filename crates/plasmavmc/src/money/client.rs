//! What CreditService is told of VMs, over gRPC.
//!
//! Everything that changes something has a key of its own, made of the VM and a number: told again, it is done once.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use photon_core::{Code, Error};
use photon_proto::photon::credit::v1::{
    self as pb, prices_client::PricesClient, quotas_client::QuotasClient,
    reservations_client::ReservationsClient, usage_client::UsageClient,
    wallets_client::WalletsClient,
};
use photon_service::{
    credit::{ENDPOINT, soon, to_caller, unlimited},
    peer::{Peer, Refused},
};
use photon_store::TlsFiles;
use plasmavmc_model::{Bill, Hold, NextPeriod, Vm};
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataValue};

use super::plan::{Answered, Terms};

/// How long units are held for a VM whose making has not begun.
pub(super) const UNITS_SECONDS: i64 = 300;
/// A hold lasts so much longer than its period and the grace: to be settled late is no reason to lose it.
const SLACK_SECONDS: u64 = 600;
/// Runs whose use is counted together: CreditService keeps so many gaps of one meter, and each run makes at most one.
const RUNS_OF_A_METER: u64 = 32;
/// What CreditService takes in one line of usage.
const LONGEST_LINE: SignedDuration = SignedDuration::from_hours(31 * 24);
/// The resource type, and the unit, of VMs.
const VM: &str = "vm";

/// The service at the other end.
pub(super) struct Client(pub(super) Peer);

impl Client {
    /// To a URL, with certificates if it is `https`.
    ///
    /// # Errors
    /// What cannot be used.
    pub(super) fn new(url: &str, tls: Option<TlsFiles>) -> anyhow::Result<Self> {
        Ok(Self(Peer::new(ENDPOINT, url, tls)?))
    }

    /// Holds the units of a VM that is to be made; `None` if nobody has limited any of their kinds.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED`, `WALLET_…`, `UNAVAILABLE`.
    pub(super) async fn hold_units(
        &self,
        vm: &Vm,
        deadline: Instant,
    ) -> Result<Option<String>, Error> {
        // Another size is another question.
        let number = [
            vm.wanted.boot.to_string(),
            vm.account.settled.to_string(),
            format!("{}-{}-{}", vm.vcpus, vm.memory_mib, disk_gib(vm)),
        ];
        let key = key("units", vm, &number)?;
        self.hold(vm, units(vm), &key, deadline).await
    }

    /// Holds what a VM becomes larger by; `None` if that is nothing that anybody has limited. `attempt` is the request's own.
    ///
    /// # Errors
    /// As [`Client::hold_units`].
    pub(super) async fn hold_growth(
        &self,
        before: &Vm,
        after: &Vm,
        attempt: &str,
        deadline: Instant,
    ) -> Result<Option<String>, Error> {
        let has = units(before);
        let more = units(after).into_iter().map(|(kind, count)| {
            let more = count - has.get(&kind).copied().unwrap_or(0);
            (kind, more)
        });
        let more = more.filter(|(_, more)| *more > 0).collect();
        let key = key("growth", after, &[attempt.to_owned()])?;
        self.hold(after, more, &key, deadline).await
    }

    async fn hold(
        &self,
        vm: &Vm,
        mut units: HashMap<String, i64>,
        key: &MetadataValue<Ascii>,
        deadline: Instant,
    ) -> Result<Option<String>, Error> {
        while !units.is_empty() {
            let request = pb::CreateReservationRequest {
                project_id: vm.project.to_string(),
                resource_type: VM.to_owned(),
                resource_id: vm.id.to_string(),
                ttl_seconds: UNITS_SECONDS,
                units: units.clone(),
                by_service: true,
                ..pb::CreateReservationRequest::default()
            };
            let request = keyed(request, key);
            let call = async move |channel| ReservationsClient::new(channel).create(request).await;
            match self.0.call(deadline.min(soon()), call).await {
                Ok(reservation) => return Ok(Some(reservation.id)),
                Err(refused) => match unlimited(&refused) {
                    Some(kind) if units.remove(&kind).is_some() => {}
                    _ => return Err(to_caller(&refused)),
                },
            }
        }
        Ok(None)
    }

    /// What a reservation holds is used by the VM from now on; false if it has ended.
    pub(super) async fn use_units(&self, vm: &Vm, reservation: &str) -> Result<bool, Error> {
        let request = pb::CommitReservationRequest {
            id: reservation.to_owned(),
            resource_id: vm.id.to_string(),
            ..pb::CommitReservationRequest::default()
        };
        let call = async move |channel| ReservationsClient::new(channel).commit(request).await;
        match self.0.call(soon(), call).await {
            Ok(_) => Ok(true),
            Err(refused) if refused.is(&[Code::RESERVATION_COMMITTED]) => Ok(true),
            Err(refused) if refused.is(ENDED) => Ok(false),
            Err(refused) => Err(to_caller(&refused)),
        }
    }

    /// Gives a reservation back, if it still holds anything.
    pub(super) async fn release(&self, reservation: &str) -> Result<(), Error> {
        let request = pb::ReleaseReservationRequest {
            id: reservation.to_owned(),
            reason: "it is not needed".to_owned(),
        };
        let call = async move |channel| ReservationsClient::new(channel).release(request).await;
        match self.0.call(soon(), call).await {
            Ok(_) => Ok(()),
            Err(refused) if refused.is(ENDED) || refused.is(&[Code::RESERVATION_COMMITTED]) => {
                Ok(())
            }
            Err(refused) => Err(to_caller(&refused)),
        }
    }

    /// The VM is there and uses its units, limits notwithstanding.
    pub(super) async fn recount(&self, vm: &Vm) -> Result<(), Error> {
        let mut units = units(vm);
        while !units.is_empty() {
            let request = pb::RecountUnitsRequest {
                project_id: vm.project.to_string(),
                resource_id: vm.id.to_string(),
                units: units.clone(),
            };
            let call = async move |channel| QuotasClient::new(channel).recount(request).await;
            let Err(refused) = self.0.call(soon(), call).await else {
                return Ok(());
            };
            match unlimited(&refused) {
                Some(kind) if units.remove(&kind).is_some() => {}
                _ => return Err(to_caller(&refused)),
            }
        }
        Ok(())
    }

    /// The VM uses no units any more.
    pub(super) async fn free_units(&self, vm: &Vm) -> Result<(), Error> {
        let request = pb::FreeUnitsRequest {
            project_id: vm.project.to_string(),
            resource_id: vm.id.to_string(),
            units: HashMap::new(),
        };
        let request = keyed(
            request,
            &key("free", vm, &[vm.account.settled.to_string()])?,
        );
        let call = async move |channel| QuotasClient::new(channel).free(request).await;
        match self.0.call(soon(), call).await {
            Ok(_) => Ok(()),
            // It was freed before, or never counted.
            Err(refused) if refused.is(&[Code::CLAIM_NOT_FOUND]) => Ok(()),
            Err(refused) => Err(to_caller(&refused)),
        }
    }

    /// Holds the first period of a start, instead of the project's own reservation if there is one. `of` is the moment that those
    /// who start it at the same time share: they get the same hold.
    ///
    /// # Errors
    /// `INSUFFICIENT_CREDIT`, `PRICE_NOT_FOUND`, `WALLET_…`, `UNAVAILABLE`.
    pub(super) async fn hold_start(
        &self,
        vm: &Vm,
        of: Timestamp,
        terms: &Terms,
        deadline: Instant,
    ) -> Result<Hold, Error> {
        let request = pb::SettleRequest {
            project_id: vm.project.to_string(),
            reservation_id: vm.account.reservation.clone().unwrap_or_default(),
            usage: Vec::new(),
            next: Some(forecast(vm, terms.period_from(of))),
            next_ttl_seconds: terms.ttl_seconds(),
            resource_type: VM.to_owned(),
            resource_id: vm.id.to_string(),
        };
        let number = [
            vm.wanted.boot.to_string(),
            vm.account.settled.to_string(),
            of.as_second().to_string(),
        ];
        let key = key("start", vm, &number)?;
        let result = self.call_settle(request, &key, deadline).await;
        let hold = hold_of(result.map_err(|refused| to_caller(&refused))?);
        hold.ok_or_else(|| Error::internal("CreditService holds nothing, and says nothing of it"))
    }

    async fn call_settle(
        &self,
        request: pb::SettleRequest,
        key: &MetadataValue<Ascii>,
        deadline: Instant,
    ) -> Result<pb::UsageResult, Refused> {
        let request = keyed(request, key);
        let call = async move |channel| UsageClient::new(channel).settle(request).await;
        self.0.call(deadline.min(soon()), call).await
    }

    /// Tells what is due of a bill.
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    pub(super) async fn settle(&self, vm: &Vm, terms: &Terms) -> Result<Answered, Error> {
        let bill = vm.account.bill.as_ref();
        let Some((bill, due)) = bill.and_then(|bill| Some((bill, bill.due.as_ref()?))) else {
            return Err(Error::internal("nothing is due"));
        };
        let request = pb::SettleRequest {
            project_id: vm.project.to_string(),
            reservation_id: bill
                .hold
                .as_ref()
                .map(|hold| hold.reservation.clone())
                .unwrap_or_default(),
            usage: used(vm, bill, due.end),
            next: due.next.map(|period| forecast(vm, period)),
            next_ttl_seconds: due.next.map_or(0, |_| terms.ttl_seconds()),
            resource_type: VM.to_owned(),
            resource_id: vm.id.to_string(),
        };
        let key = key("period", vm, &[vm.account.settled.to_string()])?;
        let refused = match self.call_settle(request, &key, soon()).await {
            Ok(result) => return Ok(Answered::Settled(hold_of(result))),
            Err(refused) => refused,
        };
        let why = refused.message().to_owned();
        if refused.is(NO_CREDIT) {
            return Ok(Answered::NoCredit(format!("there is no credit: {why}")));
        }
        if refused.is(UNCOUNTABLE) {
            tracing::error!(vm = %vm.id, why, "what a vm used cannot be charged, and is forgiven");
            return Ok(Answered::Uncountable(why));
        }
        if refused.is(&[Code::PRICE_NOT_FOUND]) {
            tracing::error!(vm = %vm.id, why, "what a vm uses has no price, and is not charged");
            return Ok(Answered::NoPrice(why));
        }
        if refused.is(&[Code::RESERVATION_NOT_FOUND]) {
            return Ok(Answered::NoHold);
        }
        if refused.is(&[Code::UNPROCESSABLE]) {
            return Ok(Answered::NumberTaken);
        }
        Err(to_caller(&refused))
    }

    /// A reservation that somebody names.
    pub(super) async fn reservation(
        &self,
        id: &str,
        deadline: Instant,
    ) -> Result<Option<pb::Reservation>, Error> {
        let request = pb::GetReservationRequest { id: id.to_owned() };
        let call = async move |channel| ReservationsClient::new(channel).get(request).await;
        match self.0.call(deadline.min(soon()), call).await {
            Ok(found) => Ok(Some(found)),
            Err(refused) if refused.is(&[Code::RESERVATION_NOT_FOUND, Code::NOT_FOUND]) => Ok(None),
            Err(refused) => Err(to_caller(&refused)),
        }
    }

    /// Whether a project's wallet pays for what is used.
    pub(super) async fn is_metered(&self, vm: &Vm, deadline: Instant) -> Result<bool, Error> {
        let request = pb::GetWalletRequest {
            project_id: vm.project.to_string(),
        };
        let call = async move |channel| WalletsClient::new(channel).get(request).await;
        match self.0.call(deadline.min(soon()), call).await {
            Ok(wallet) => Ok(wallet.billing_mode == "metered"),
            Err(refused) if refused.is(&[Code::NOT_FOUND, Code::WALLET_NOT_FOUND]) => Ok(false),
            Err(refused) => Err(to_caller(&refused)),
        }
    }

    /// The price book.
    pub(super) async fn prices(&self, deadline: Instant) -> Result<Vec<pb::Price>, Error> {
        let request = pb::ListPricesRequest {};
        let call = async move |channel| PricesClient::new(channel).list(request).await;
        match self.0.call(deadline.min(soon()), call).await {
            Ok(listed) => Ok(listed.prices),
            Err(refused) => Err(to_caller(&refused)),
        }
    }
}

/// A reservation that holds nothing any more, or never did.
pub(super) const ENDED: &[Code] = &[
    Code::RESERVATION_EXPIRED,
    Code::RESERVATION_NOT_FOUND,
    Code::RESERVATION_RELEASED,
];

/// There is nothing to be had from the wallet.
const NO_CREDIT: &[Code] = &[
    Code::INSUFFICIENT_CREDIT,
    Code::TOO_MANY_RESERVATIONS,
    Code::WALLET_CLOSED,
    Code::WALLET_NOT_FOUND,
    Code::WALLET_SUSPENDED,
];

/// The ledger has counted it, or part of it, or takes it no more.
const UNCOUNTABLE: &[Code] = &[
    Code::BALANCE_OUT_OF_RANGE,
    Code::USAGE_OVERLAPS,
    Code::USAGE_TOO_OLD,
    Code::USAGE_TOO_SCATTERED,
];

impl Terms {
    /// How long a hold lasts, in seconds.
    fn ttl_seconds(&self) -> i64 {
        let seconds = self.period.as_secs() + self.grace.as_secs() + SLACK_SECONDS;
        i64::try_from(seconds).unwrap_or(i64::MAX)
    }
}

fn hold_of(result: pb::UsageResult) -> Option<Hold> {
    result.next.map(|next| Hold {
        reservation: next.id,
        amount: next.amount,
    })
}

/// Its root disk, whoever counts it here.
fn disk_gib(vm: &Vm) -> u64 {
    vm.disk_gib.unwrap_or(0).into()
}

/// What a VM counts as, by kind.
fn units(vm: &Vm) -> HashMap<String, i64> {
    let size = vm.size();
    let all = [
        (VM, size.vms),
        ("vcpu", size.vcpus),
        ("memory_mib", size.memory_mib),
        ("disk_gib", disk_gib(vm)),
    ];
    let there = all.into_iter().filter(|(_, count)| *count > 0);
    there
        .map(|(kind, count)| (kind.to_owned(), i64::try_from(count).unwrap_or(i64::MAX)))
        .collect()
}

/// What a VM costs by, while it runs: SKUs and their quantities.
pub(super) fn skus(vm: &Vm) -> impl Iterator<Item = (&'static str, u64)> {
    let size = vm.size();
    let all = [
        ("vcpu", size.vcpus),
        ("memory_mib", size.memory_mib),
        ("disk_gib", disk_gib(vm)),
    ];
    all.into_iter().filter(|(_, quantity)| *quantity > 0)
}

fn forecast(vm: &Vm, period: NextPeriod) -> pb::Forecast {
    pb::Forecast {
        start: Some(second(period.from)),
        end: Some(second(period.until)),
        lines: skus(vm)
            .map(|(sku, quantity)| pb::ForecastLine {
                sku: sku.to_owned(),
                quantity,
            })
            .collect(),
    }
}

/// What was used and is not charged yet, until then.
fn used(vm: &Vm, bill: &Bill, end: Option<Timestamp>) -> Vec<pb::UsageLine> {
    let (Some(start), Some(end)) = (bill.from, end) else {
        return Vec::new();
    };
    if start >= end {
        return Vec::new();
    }
    let meter = bill.boot / RUNS_OF_A_METER;
    let resource_id = match meter {
        0 => vm.id.to_string(),
        meter => format!("{}/{meter}", vm.id),
    };
    let line = |(sku, quantity): (&str, u64), from, until| pb::UsageLine {
        resource_id: resource_id.clone(),
        sku: sku.to_owned(),
        start: Some(second(from)),
        end: Some(second(until)),
        quantity,
    };
    // Lines that touch are one stretch of their meter.
    let mut lines = Vec::new();
    let mut from = start;
    while from < end {
        let until = from.checked_add(LONGEST_LINE).unwrap_or(end).min(end);
        lines.extend(skus(vm).map(|sku| line(sku, from, until)));
        from = until;
    }
    lines
}

fn second(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.as_second(),
        nanos: 0,
    }
}

fn key(what: &str, vm: &Vm, number: &[String]) -> Result<MetadataValue<Ascii>, Error> {
    let key = format!("{what}/{}/{}", vm.id, number.join("/"));
    key.parse().map_err(Error::internal)
}

pub(super) fn keyed<T>(message: T, key: &MetadataValue<Ascii>) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request
        .metadata_mut()
        .insert("idempotency-key", key.clone());
    request
}
