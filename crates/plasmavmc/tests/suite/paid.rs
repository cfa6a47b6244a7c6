//! A PlasmaVMC that asks a real CreditService, over one store.

use std::{collections::BTreeMap, net::SocketAddr};

use photon_testkit::poll::eventually;
use plasmavmc::Config;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::house::{Caller, House, PATIENCE, ready};

/// Both services, and who asks at the other one.
pub(crate) struct Paid {
    pub(crate) house: House,
    credit: Option<creditservice::Running>,
    pub(crate) at_credit: Caller,
    address: SocketAddr,
}

async fn credit_at(store: &str, grpc: TcpListener) -> (creditservice::Running, Caller) {
    let mut config = creditservice::Config::default();
    config.store.endpoints = vec![store.to_owned()];
    config.rest.address.set_port(0);
    let sockets = creditservice::Sockets {
        rest: None,
        grpc: Some(grpc),
    };
    let running = Box::pin(creditservice::start(config, sockets))
        .await
        .unwrap();
    let caller = Caller::at(&format!("http://{}", running.rest_address()));
    ready(&caller).await;
    (running, caller)
}

/// What asks a CreditService there.
pub(crate) fn asks(config: &mut Config, address: SocketAddr) {
    config.quota.endpoint = Some(format!("http://{address}"));
}

impl Paid {
    /// With a CPU at 1 JPY a second, a GiB of memory at 1, and a GiB of disk for nothing.
    pub(crate) async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let house = House::dev_with(|config| {
            asks(config, address);
            change(config);
        })
        .await;
        let (credit, at_credit) = credit_at(&house.chainfire.endpoint(), socket).await;
        for (sku, nanos, quantity) in [
            ("vcpu", 1_000_000_000_u64, 1),
            ("memory_mib", 1_000_000_000, 1024),
            ("disk_gib", 0, 1),
        ] {
            let price =
                json!({ "sku": sku, "nanos": nanos, "per_quantity": quantity, "per_seconds": 1 });
            at_credit.post("/api/v1/prices", price).await.data();
        }
        Self {
            house,
            credit: Some(credit),
            at_credit,
            address,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A wallet of the project shop.
    pub(crate) async fn wallet(&self, balance: i64, mode: &str) {
        let body = json!({
            "project_id": "shop", "org_id": "acme", "initial_balance": balance, "billing_mode": mode,
        });
        self.at_credit.post("/api/v1/wallets", body).await.data();
    }

    pub(crate) async fn top_up(&self, amount: i64) {
        let path = "/api/v1/wallets/shop/topup";
        self.at_credit
            .post(path, json!({ "amount": amount }))
            .await
            .data();
    }

    /// A number of the project's wallet.
    pub(crate) async fn figure(&self, name: &str) -> i64 {
        let wallet = self.at_credit.get("/api/v1/wallets/shop").await;
        wallet.data()[name].as_i64().unwrap()
    }

    pub(crate) async fn limit(&self, kind: &str, limit: i64) {
        let path = format!("/api/v1/limits/{kind}");
        let body = Some(json!({ "default": limit }));
        let put = self.at_credit.call(Method::PUT, &path, body, None);
        put.await.unwrap().data();
    }

    /// Units in use and held, by kind.
    pub(crate) async fn units(&self) -> BTreeMap<String, (i64, i64)> {
        let all = self.at_credit.get("/api/v1/quotas?project_id=shop").await;
        let rows = all.data()["quotas"].as_array().unwrap().clone();
        let count = |row: &Value, name: &str| row[name].as_i64().unwrap();
        rows.iter()
            .map(|row| {
                let counts = (count(row, "used"), count(row, "reserved"));
                (row["kind"].as_str().unwrap().to_owned(), counts)
            })
            .filter(|(_, counts)| *counts != (0, 0))
            .collect()
    }

    /// What the project was charged, the oldest first, as the statement has it: resource, SKU, from when, until when.
    pub(crate) async fn charges(&self) -> Vec<Charge> {
        let request = self.at_credit.http.get(format!(
            "{}/api/v1/wallets/shop/statement?from=2026-01-01T00:00:00Z&to=2100-01-01T00:00:00Z&format=csv",
            self.at_credit.base
        ));
        let text = request.send().await.unwrap().text().await.unwrap();
        let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let head = lines.next().unwrap();
        let column = |name: &str| {
            let found = head
                .iter()
                .position(|column| column.trim_matches('"') == name);
            found.unwrap_or_else(|| panic!("no column {name}: {text}"))
        };
        let (category, sku, resource, from, until, cost) = (
            column("ChargeCategory"),
            column("SkuId"),
            column("ResourceId"),
            column("ChargePeriodStart"),
            column("ChargePeriodEnd"),
            column("BilledCost"),
        );
        let rows = lines.filter(|row| row.len() > 1 && row[category].trim_matches('"') == "Usage");
        rows.map(|row| {
            let text = |column: usize| row[column].trim_matches('"').to_owned();
            Charge {
                resource: text(resource),
                sku: text(sku),
                from: text(from).parse().unwrap(),
                until: text(until).parse().unwrap(),
                cost: text(cost).parse::<f64>().unwrap() as i64,
            }
        })
        .collect()
    }

    /// Waits until nothing is held of anything, and nothing counted.
    pub(crate) async fn until_nothing_is_held(&self) {
        eventually("nothing is held", PATIENCE, || async {
            let list = self.at_credit.get("/api/v1/reservations?project_id=shop");
            let list = list.await;
            let open = list.data()["reservations"].as_array().unwrap().len();
            let units = self.units().await;
            (open == 0 && units.is_empty()).then_some(())
        })
        .await
        .unwrap();
    }

    /// Waits until so much of the wallet is held.
    pub(crate) async fn until_reserved(&self, amount: i64) {
        eventually(&format!("{amount} is held"), PATIENCE, || async {
            (self.figure("reserved").await == amount).then_some(())
        })
        .await
        .unwrap();
    }

    /// CreditService goes away.
    pub(crate) async fn credit_goes(&mut self) {
        self.credit.take().unwrap().stop().await;
    }

    /// CreditService is back.
    pub(crate) async fn credit_returns(&mut self) {
        let socket = TcpListener::bind(self.address).await.unwrap();
        let (credit, at_credit) = credit_at(&self.house.chainfire.endpoint(), socket).await;
        self.credit = Some(credit);
        self.at_credit = at_credit;
    }

    pub(crate) async fn stop(mut self) {
        if let Some(running) = self.house.running.take() {
            running.stop().await;
        }
        if let Some(credit) = self.credit.take() {
            credit.stop().await;
        }
        self.house.stop().await;
    }
}

/// A rated line of a charge.
#[derive(Clone, Debug)]
pub(crate) struct Charge {
    pub(crate) resource: String,
    pub(crate) sku: String,
    pub(crate) from: jiff::Timestamp,
    pub(crate) until: jiff::Timestamp,
    pub(crate) cost: i64,
}

/// The seconds that were charged of a VM's CPUs, which follow each other without a gap or an overlap.
#[track_caller]
pub(crate) fn seconds(charges: &[Charge], vm: &str) -> i64 {
    let lines: Vec<&Charge> = charges
        .iter()
        .filter(|charge| charge.resource == vm && charge.sku == "vcpu")
        .collect();
    for pair in lines.windows(2) {
        assert_eq!(pair[0].until, pair[1].from, "{charges:#?}");
    }
    let sum: i64 = lines
        .iter()
        .map(|line| line.until.as_second() - line.from.as_second())
        .sum();
    // A CPU costs 1 JPY a second.
    let cost: i64 = lines.iter().map(|line| line.cost).sum();
    assert_eq!(cost, sum, "{charges:#?}");
    sum
}
