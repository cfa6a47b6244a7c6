//! `photon.host.v1`: what it says in the words of [`ports`](super::ports) and [`orphans`](super::orphans).

use std::{net::Ipv4Addr, path::PathBuf, str::FromStr, sync::Arc};

use photon_proto::photon::host::v1::{
    AdoptRequest, AdoptResponse, CheckRequest, CheckResponse, ListOrphansRequest,
    ListOrphansResponse, Orphan, PlugRequest, PlugResponse, PortStartedRequest,
    PortStartedResponse, PurgeRequest, PurgeResponse, RegisterMetadataRequest,
    RegisterMetadataResponse, Route, StatusRequest, StatusResponse, UnplugRequest, UnplugResponse,
    orphans_server::Orphans, ports_server::Ports,
};
use prismnet_model::{PortId, PortState};
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::{Request, Response, Status};

use super::{
    deadline,
    known::{Local, StoreState},
    orphans,
    ports::{self, Asked, Done},
    refusal::Refusal,
};

/// The most calls that wait at once.
const MOST_CALLS: usize = 256;
/// The most bytes of a holder's name, and of a path.
const LONGEST_HOLDER: usize = 256;
const LONGEST_PATH: usize = 4096;
/// The most problems that are told.
const MOST_PROBLEMS: usize = 20;

/// Both services.
#[derive(Clone, Debug)]
pub struct Door {
    local: Arc<Local>,
    calls: Arc<Semaphore>,
}

impl Door {
    /// Before what the socket works with.
    #[must_use]
    pub fn new(local: Arc<Local>) -> Self {
        Self {
            local,
            calls: Arc::new(Semaphore::new(MOST_CALLS)),
        }
    }

    fn enter(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        self.calls.try_acquire().map_err(|_| Refusal::Busy)
    }
}

fn port(text: &str) -> Result<PortId, Refusal> {
    let port = PortId::from_str(text);
    port.map_err(|error| Refusal::Invalid(format!("port_id: {error}")))
}

fn short(field: &str, text: String, limit: usize) -> Result<String, Refusal> {
    if text.len() > limit {
        return Err(Refusal::Invalid(format!(
            "{field}: more than {limit} bytes"
        )));
    }
    if text.chars().any(char::is_control) {
        return Err(Refusal::Invalid(format!(
            "{field}: must not have control characters"
        )));
    }
    Ok(text)
}

#[tonic::async_trait]
impl Ports for Door {
    async fn plug(&self, request: Request<PlugRequest>) -> Result<Response<PlugResponse>, Status> {
        let _call = self.enter()?;
        let end = deadline::of(request.metadata());
        let request = request.into_inner();
        let asked = Asked {
            namespace: short("network_namespace", request.network_namespace, LONGEST_PATH)?,
            interface: short("interface", request.interface, LONGEST_HOLDER)?,
            holder: short("holder", request.holder, LONGEST_HOLDER)?,
        };
        let done = ports::plug(&self.local, port(&request.port_id)?, asked, end).await?;
        Ok(Response::new(plugged(done, &self.local)))
    }

    async fn port_started(
        &self,
        request: Request<PortStartedRequest>,
    ) -> Result<Response<PortStartedResponse>, Status> {
        let _call = self.enter()?;
        let end = deadline::of(request.metadata());
        ports::started(&self.local, port(&request.get_ref().port_id)?, end).await?;
        Ok(Response::new(PortStartedResponse {}))
    }

    async fn unplug(
        &self,
        request: Request<UnplugRequest>,
    ) -> Result<Response<UnplugResponse>, Status> {
        let _call = self.enter()?;
        let request = request.into_inner();
        let holder = short("holder", request.holder, LONGEST_HOLDER)?;
        ports::unplug(&self.local, port(&request.port_id)?, &holder).await?;
        Ok(Response::new(UnplugResponse {}))
    }

    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        let _call = self.enter()?;
        let end = deadline::of(request.metadata());
        let request = request.into_inner();
        let asked = Asked {
            namespace: short("network_namespace", request.network_namespace, LONGEST_PATH)?,
            interface: short("interface", request.interface, LONGEST_HOLDER)?,
            holder: String::new(),
        };
        let checked = ports::check(&self.local, port(&request.port_id)?, asked, end).await?;
        Ok(Response::new(CheckResponse {
            problems: checked.problems,
            ip_address: checked.lease.address.to_string(),
            prefix_length: checked.lease.prefix_length.into(),
        }))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(status(&self.local)))
    }

    async fn register_metadata(
        &self,
        request: Request<RegisterMetadataRequest>,
    ) -> Result<Response<RegisterMetadataResponse>, Status> {
        let _call = self.enter()?;
        let end = deadline::of(request.metadata());
        let request = request.into_inner();
        let socket = short("socket", request.socket, LONGEST_PATH)?;
        let socket = (!socket.is_empty()).then(|| PathBuf::from(socket));
        ports::register_metadata(&self.local, port(&request.port_id)?, socket, end).await?;
        Ok(Response::new(RegisterMetadataResponse {}))
    }
}

#[tonic::async_trait]
impl Orphans for Door {
    async fn list(
        &self,
        _: Request<ListOrphansRequest>,
    ) -> Result<Response<ListOrphansResponse>, Status> {
        let orphans = orphans::list(&self.local).into_iter().map(|orphan| Orphan {
            vpc_id: orphan.vpc.to_string(),
            port_id: orphan.port.to_string(),
            device: orphan.device,
        });
        Ok(Response::new(ListOrphansResponse {
            orphans: orphans.collect(),
        }))
    }

    async fn adopt(
        &self,
        request: Request<AdoptRequest>,
    ) -> Result<Response<AdoptResponse>, Status> {
        let _call = self.enter()?;
        let end = deadline::of(request.metadata());
        orphans::adopt(&self.local, port(&request.get_ref().port_id)?, end).await?;
        Ok(Response::new(AdoptResponse {}))
    }

    async fn purge(
        &self,
        request: Request<PurgeRequest>,
    ) -> Result<Response<PurgeResponse>, Status> {
        let _call = self.enter()?;
        let end = deadline::of(request.metadata());
        let said = &request.get_ref().port_id;
        match said.parse::<Ipv4Addr>() {
            Ok(address) => orphans::purge_floating(&self.local, address, end).await?,
            Err(_) => orphans::purge(&self.local, port(said)?, end).await?,
        }
        Ok(Response::new(PurgeResponse {}))
    }
}

fn plugged(done: Done, local: &Local) -> PlugResponse {
    let lease = done.port.lease;
    let routes = lease.routes.iter().map(|(destination, hop)| Route {
        destination: destination.to_string(),
        next_hop: hop.to_string(),
    });
    PlugResponse {
        device: done.port.device,
        mac_address: lease.mac.to_string(),
        ip_address: lease.address.to_string(),
        prefix_length: lease.prefix_length.into(),
        gateway: lease.gateway.to_string(),
        mtu: lease.mtu,
        routes: routes.collect(),
        dns: local.dns.iter().map(ToString::to_string).collect(),
        interface: done.interface,
        network_namespace: done.namespace,
    }
}

fn status(local: &Local) -> StatusResponse {
    let known = local.now();
    let reason = match known.store {
        StoreState::Heard if local.mode.is_enough() => "",
        StoreState::Heard => "this kernel keeps no state of what crosses a bridge",
        StoreState::Unheard => "the store has not answered since the agent started",
        StoreState::Changed => "the store is not what it was: see `prismnet-agent accept-store`",
    };
    let all = local.outcomes.all.lock();
    let active = all
        .values()
        .flat_map(|outcome| outcome.ports.values())
        .filter(|port| port.state == PortState::Active);
    let problems = all.values().flat_map(|outcome| outcome.problems.clone());
    StatusResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: local.host.to_string(),
        mode: local.mode.to_string(),
        ready: reason.is_empty(),
        reason: reason.to_owned(),
        ports: u32::try_from(known.here.len()).unwrap_or(u32::MAX),
        active: u32::try_from(active.count()).unwrap_or(u32::MAX),
        problems: problems.take(MOST_PROBLEMS).collect(),
    }
}
