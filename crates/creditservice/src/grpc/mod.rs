//! The gRPC doors: `photon.credit.v1`, the use cases of the REST doors in other words.
//!
//! Each resource has its own, in its `grpc.rs`; what goes between the processes of this service is in `shards`. Every method
//! of the proto stands in `methods` with what it needs; one that does not keeps the service from starting.

pub(crate) mod fields;
mod methods;
mod shards;

use std::sync::Arc;

use photon_auth::Context;
use photon_core::Error;
use photon_proto::{
    CREDIT_FILE_DESCRIPTOR_SET,
    photon::credit::v1::{
        billing_server::BillingServer, prices_server::PricesServer, quotas_server::QuotasServer,
        reservations_server::ReservationsServer, shards_server::ShardsServer,
        statements_server::StatementsServer, usage_server::UsageServer,
        wallets_server::WalletsServer,
    },
};
use photon_server::grpc::{GoWords, status};
use tonic::{
    Request, Response, Status,
    metadata::{AsciiMetadataValue, MetadataValue},
    service::Routes,
};

use crate::{
    app::{App, Done},
    idempotency::{Given, REPLAYED},
};

/// A command that another process sends is a little larger than the body it came in.
const ASK_BYTES: usize = 4 << 20;

/// The doors: one value that implements every service.
#[derive(Clone, Debug)]
pub(crate) struct Doors {
    pub(crate) app: Arc<App>,
}

impl Doors {
    /// Runs a use case that reads for the caller of `request`, and sends what comes of it.
    pub(crate) async fn read<Q, A, W>(
        &self,
        request: Request<Q>,
        work: impl FnOnce(Arc<App>, Context, Q) -> W,
    ) -> Result<Response<A>, Status>
    where
        W: Future<Output = Result<A, Error>>,
    {
        let ctx = Context::of(&request)?;
        let answer = work(Arc::clone(&self.app), ctx, request.into_inner()).await;
        answer.map(Response::new).map_err(|error| status(&error))
    }

    /// Runs a use case that changes something for the caller of `request`. `method` is its name, by which an idempotency
    /// key is this method's.
    pub(crate) async fn change<Q, A, W>(
        &self,
        method: &str,
        request: Request<Q>,
        work: impl FnOnce(Arc<App>, Context, Given, Q) -> W,
    ) -> Result<Response<A>, Status>
    where
        W: Future<Output = Result<Done<A>, Error>>,
    {
        let ctx = Context::of(&request)?;
        let given = Given::of_rpc(&request, method);
        let asked = request.into_inner();
        let done = work(Arc::clone(&self.app), ctx, given, asked).await;
        let done = done.map_err(|error| status(&error))?;
        let mut response = Response::new(done.value);
        if done.replayed {
            let yes: AsciiMetadataValue = MetadataValue::from_static("true");
            response.metadata_mut().insert(REPLAYED, yes);
        }
        Ok(response)
    }
}

/// Every service behind its guard, and reflection. Health is the daemon's.
///
/// # Errors
/// A method that `methods` does not know.
pub(crate) fn routes(app: &Arc<App>) -> anyhow::Result<Routes> {
    let set = CREDIT_FILE_DESCRIPTOR_SET;
    photon_service::grpc::routes(&app.auth, methods::guard(set), set, services(app))
}

/// What each method needs, for tests that try them all.
#[must_use]
pub fn declared() -> std::collections::BTreeMap<String, photon_auth::grpc::Needs> {
    methods::guard(CREDIT_FILE_DESCRIPTOR_SET)
        .declared()
        .clone()
}

fn services(app: &Arc<App>) -> Routes {
    let doors = Doors {
        app: Arc::clone(app),
    };
    // As much as REST takes.
    let limit = app.config.http.body_bytes;
    let wallets = WalletsServer::new(doors.clone()).max_decoding_message_size(limit);
    let reservations = ReservationsServer::new(doors.clone()).max_decoding_message_size(limit);
    let quotas = QuotasServer::new(doors.clone()).max_decoding_message_size(limit);
    let usage = UsageServer::new(doors.clone()).max_decoding_message_size(limit);
    let prices = PricesServer::new(doors.clone()).max_decoding_message_size(limit);
    let statements = StatementsServer::new(doors.clone()).max_decoding_message_size(limit);
    let billing = BillingServer::new(doors.clone()).max_decoding_message_size(limit);
    let shards = ShardsServer::new(doors).max_decoding_message_size(ASK_BYTES);
    Routes::default()
        .add_service(GoWords(wallets))
        .add_service(GoWords(reservations))
        .add_service(GoWords(quotas))
        .add_service(GoWords(usage))
        .add_service(GoWords(prices))
        .add_service(GoWords(statements))
        .add_service(GoWords(billing))
        .add_service(GoWords(shards))
}
