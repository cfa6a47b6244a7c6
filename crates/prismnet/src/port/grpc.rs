//! `photon.prismnet.v1.Ports`.

use photon_core::Error;
use photon_proto::photon::prismnet::v1::{self as pb, ports_server::Ports};
use prismnet_model::{Port, PortKind};
use tonic::{Request, Response, Status};

use super::{NewPort, PortChange, PortFilter, groups, host, kind, mac, maybe_label, service};
use crate::{
    app::App,
    grpc::{
        Doors,
        fields::{ask, description, given, id, maybe_description, maybe_name, shown_time},
    },
    host::PortStatus,
    refusal,
    scope::Owner,
    versioned::Versioned,
    wanted::Wanted,
};

/// A port, and how it is.
fn message(app: &App, port: Versioned<Port>) -> pb::Port {
    let PortStatus {
        word,
        reason,
        since,
    } = app.hosts.status(&port);
    let Versioned { value, revision } = port;
    let groups = value.security_groups.iter();
    pb::Port {
        id: value.id.to_string(),
        name: value.name,
        vpc_id: value.vpc.to_string(),
        subnet_id: value.subnet.to_string(),
        org_id: value.org.into(),
        project_id: value.project.into(),
        kind: value.kind.to_string(),
        mac_address: value.mac_address.to_string(),
        ip_address: value.ip_address.to_string(),
        security_group_ids: groups.map(ToString::to_string).collect(),
        host_id: value.host.map(String::from).unwrap_or_default(),
        device_id: value.device.unwrap_or_default(),
        description: value.description,
        status: word.to_owned(),
        status_reason: reason.unwrap_or_default(),
        status_since: since.map(shown_time),
        created_at: Some(shown_time(value.created_at)),
        updated_at: Some(shown_time(value.updated_at)),
        revision,
    }
}

fn new(asked: pb::CreatePortRequest) -> Result<NewPort, Error> {
    Ok(NewPort {
        subnet: refusal::named("subnet_id", "subnet", &asked.subnet_id)?,
        name: maybe_label("name", asked.name)?,
        kind: given(&asked.kind).map_or(Ok(PortKind::default()), kind)?,
        mac_address: given(&asked.mac_address).map(mac).transpose()?,
        ip_address: address(&asked.ip_address)?,
        groups: asked
            .security_groups
            .map(|all| groups(&all.ids))
            .transpose()?,
        host: host(&asked.host_id)?,
        device: maybe_label("device_id", asked.device_id)?,
        description: description(asked.description)?,
        owner: Owner {
            org: maybe_name("org_id", &asked.org_id)?,
            project: maybe_name("project_id", &asked.project_id)?,
        },
    })
}

fn address(text: &str) -> Result<Option<std::net::Ipv4Addr>, Error> {
    given(text)
        .map(|text| refusal::address("ip_address", text))
        .transpose()
}

fn change(asked: pb::UpdatePortRequest) -> Result<PortChange, Error> {
    let label = |field, text: Option<String>| text.map(|text| maybe_label(field, text)).transpose();
    Ok(PortChange {
        name: label("name", asked.name)?,
        description: maybe_description(asked.description)?,
        groups: asked
            .security_groups
            .map(|all| groups(&all.ids))
            .transpose()?,
        host: asked.host_id.map(|text| host(&text)).transpose()?,
        device: label("device_id", asked.device_id)?,
    })
}

#[tonic::async_trait]
impl Ports for Doors {
    async fn create(
        &self,
        request: Request<pb::CreatePortRequest>,
    ) -> Result<Response<pb::Port>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let port = Box::pin(service::create(&app, &ctx, new(asked)?)).await?;
            Ok(message(&app, port))
        })
        .await
    }

    async fn get(
        &self,
        request: Request<pb::GetPortRequest>,
    ) -> Result<Response<pb::Port>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("port", &asked.id)?;
            let port = service::get(&app, &ctx, id, &Owner::default()).await?;
            Ok(message(&app, port))
        })
        .await
    }

    async fn list(
        &self,
        request: Request<pb::ListPortsRequest>,
    ) -> Result<Response<pb::ListPortsResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let text = |text: &str| given(text).map(str::to_owned);
            let filter = PortFilter {
                owner: Owner {
                    org: maybe_name("org_id", &asked.org_id)?,
                    project: maybe_name("project_id", &asked.project_id)?,
                },
                vpc: Wanted::of(given(&asked.vpc_id)),
                subnet: Wanted::of(given(&asked.subnet_id)),
                group: Wanted::of(given(&asked.security_group_id)),
                host: text(&asked.host_id),
                device: text(&asked.device_id),
                address: address(&asked.ip_address)?,
                name: text(&asked.name),
            };
            let ask = ask(asked.limit, &asked.page_token)?;
            let listing = service::list(&app, &ctx, &filter, &ask).await?;
            let ports = listing.items.into_iter();
            Ok(pb::ListPortsResponse {
                ports: ports.map(|port| message(&app, port)).collect(),
                next_page_token: listing.next_page_token.unwrap_or_default(),
            })
        })
        .await
    }

    async fn update(
        &self,
        request: Request<pb::UpdatePortRequest>,
    ) -> Result<Response<pb::Port>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("port", &asked.id)?;
            let revision = asked.revision;
            let done = service::update(&app, &ctx, id, &change(asked)?, revision).await?;
            Ok(message(&app, done))
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<pb::DeletePortRequest>,
    ) -> Result<Response<pb::Deleted>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("port", &asked.id)?;
            let owner = Owner::default();
            let revision = service::delete(&app, &ctx, id, &owner, asked.revision).await?;
            Ok(pb::Deleted { revision })
        })
        .await
    }
}
