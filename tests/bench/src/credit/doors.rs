//! Reservations over the service's REST and gRPC.

use anyhow::{Context, ensure};
use photon_proto::photon::credit::v1::{
    CommitReservationRequest, CreateReservationRequest, reservations_client::ReservationsClient,
};
use serde_json::json;
use tonic::transport::Channel;

use super::pairs::{HELD, INITIAL, PRICE, Standing, TTL_SECONDS};
use crate::keep_alive::{KeepAlive, call, find, request};

/// A connection to REST.
pub(crate) struct Rest {
    connection: KeepAlive,
    address: String,
}

impl Rest {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub(crate) async fn connect(address: &str) -> anyhow::Result<Self> {
        Ok(Self {
            connection: KeepAlive::connect(address).await?,
            address: address.to_owned(),
        })
    }

    /// Makes a wallet.
    ///
    /// # Errors
    /// What the service says.
    pub(crate) async fn make_wallet(&mut self, project: &str) -> anyhow::Result<()> {
        let body = json!({"project_id": project, "org_id": "bench", "initial_balance": INITIAL});
        let line = "POST /api/v1/wallets";
        call(&mut self.connection, &self.address, line, &body.to_string())
            .await
            .map(drop)
    }

    /// What is in some wallets together.
    ///
    /// # Errors
    /// What the service says.
    pub(crate) async fn standing(&mut self, projects: &[String]) -> anyhow::Result<Standing> {
        let mut sum = Standing {
            moved: 0,
            reserved: 0,
        };
        for project in projects {
            let line = format!("GET /api/v1/wallets/{project}");
            let wallet = call(&mut self.connection, &self.address, &line, "").await?;
            let number = |field: &str| wallet[field].as_i64().context("a wallet without figures");
            sum.moved += number("balance")? - INITIAL;
            sum.reserved += number("reserved")?;
        }
        Ok(sum)
    }

    /// Holds credit.
    ///
    /// # Errors
    /// An answer that is not 201.
    pub(crate) async fn reserve(&mut self, project: &str) -> anyhow::Result<String> {
        let body =
            format!(r#"{{"project_id":"{project}","amount":{HELD},"ttl_seconds":{TTL_SECONDS}}}"#);
        let line = "POST /api/v1/reservations";
        let answer = self.exchange(line, &body, 201).await?;
        // The client shares the machine with the server: the answer is not parsed.
        const ID: &[u8] = b"\"id\":\"";
        let from = find(answer, ID).context("a reservation without id")? + ID.len();
        let length = find(&answer[from..], b"\"").context("a reservation without id")?;
        Ok(std::str::from_utf8(&answer[from..from + length])?.to_owned())
    }

    /// Charges part of what is held and gives the rest back.
    ///
    /// # Errors
    /// An answer that is not 200, or says something else.
    pub(crate) async fn commit(&mut self, id: &str) -> anyhow::Result<()> {
        let line = format!("POST /api/v1/reservations/{id}/commit");
        let body = format!(r#"{{"actual_amount":{PRICE}}}"#);
        let answer = self.exchange(&line, &body, 200).await?;
        ensure!(
            find(answer, b"\"status\":\"committed\"").is_some(),
            "not committed: {}",
            String::from_utf8_lossy(answer)
        );
        Ok(())
    }

    async fn exchange(&mut self, line: &str, body: &str, expected: u16) -> anyhow::Result<&[u8]> {
        let bytes = request(&self.address, line, "", body);
        let status = self.connection.exchange(&bytes).await?;
        let answer = self.connection.body();
        ensure!(
            status == expected,
            "{line}: {status} {}",
            String::from_utf8_lossy(answer)
        );
        Ok(answer)
    }
}

/// A share of a connection to gRPC.
pub(crate) struct Grpc {
    client: ReservationsClient<Channel>,
}

impl Grpc {
    /// Over a connection that others may use, too.
    pub(crate) fn over(channel: Channel) -> Self {
        Self {
            client: ReservationsClient::new(channel),
        }
    }

    /// Holds credit.
    ///
    /// # Errors
    /// What the service says.
    pub(crate) async fn reserve(&mut self, project: &str) -> anyhow::Result<String> {
        let asked = CreateReservationRequest {
            project_id: project.to_owned(),
            amount: HELD,
            ttl_seconds: TTL_SECONDS,
            ..CreateReservationRequest::default()
        };
        Ok(self.client.create(asked).await?.into_inner().id)
    }

    /// Charges part of what is held and gives the rest back.
    ///
    /// # Errors
    /// What the service says.
    pub(crate) async fn commit(&mut self, id: &str) -> anyhow::Result<()> {
        let asked = CommitReservationRequest {
            id: id.to_owned(),
            actual_amount: Some(PRICE),
            ..CommitReservationRequest::default()
        };
        let made = self.client.commit(asked).await?.into_inner();
        ensure!(made.status == "committed", "not committed: {made:?}");
        Ok(())
    }
}
