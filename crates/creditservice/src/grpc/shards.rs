//! `photon.credit.v1.Shards`: what other processes of this service ask the owners of shards in this one.
//!
//! The door that took the request has decided that it may be asked; nobody but this service's own certificate is believed
//! that. (In dev mode, where every listener is loopback, the operator is.)

use creditservice_ledger::Shard;
use photon_auth::{Context, Who};
use photon_authz::PrincipalKind;
use photon_core::Error;
use photon_proto::photon::credit::v1::{AskRequest, AskResponse, shards_server::Shards};
use photon_server::grpc::status;
use tonic::{Request, Response, Status};

use super::Doors;
use crate::run::SERVICE;

#[tonic::async_trait]
impl Shards for Doors {
    async fn ask(&self, request: Request<AskRequest>) -> Result<Response<AskResponse>, Status> {
        let ctx = Context::of(&request)?;
        require_own(&ctx).map_err(|error| status(&error))?;
        let asked = request.into_inner();
        let outcome = answer(self, &asked).await.map_err(|error| status(&error))?;
        Ok(Response::new(outcome))
    }
}

fn require_own(ctx: &Context) -> Result<(), Error> {
    let is_own = match &ctx.caller.who {
        Who::DevOperator => true,
        Who::Principal(principal) => {
            principal.kind == PrincipalKind::Service && principal.id.as_str() == SERVICE
        }
    };
    if !is_own {
        return Err(Error::forbidden(
            "only processes of this service ask each other",
        ));
    }
    ctx.allow_self();
    Ok(())
}

async fn answer(doors: &Doors, asked: &AskRequest) -> Result<AskResponse, Error> {
    let shard = u16::try_from(asked.shard).ok();
    let shard = shard.and_then(|number| Shard::new(number).ok());
    let shard = shard.ok_or_else(|| Error::validation("shard", "range", "shard is none"))?;
    let ask = serde_json::from_slice(&asked.ask).map_err(|error| {
        // A process of another version.
        Error::validation("ask", "json", "ask is not understood").with_source(error)
    })?;
    let outcome = doors.app.shards.ask_here(shard, ask).await;
    let outcome = serde_json::to_vec(&outcome).map_err(Error::internal)?;
    Ok(AskResponse {
        outcome: outcome.into(),
    })
}
