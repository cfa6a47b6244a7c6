//! `photon.prismnet.v1.FloatingIps`.

use std::net::Ipv4Addr;

use photon_core::Error;
use photon_proto::photon::prismnet::v1::{self as pb, floating_ips_server::FloatingIps};
use tonic::{Request, Response, Status};

use super::{
    FloatingIpChange, FloatingIpFilter, NewFloatingIp, port,
    service::{self, Shown},
};
use crate::{
    grpc::{
        Doors,
        fields::{ask, description, given, id, maybe_description, maybe_name, name, shown_time},
    },
    refusal,
    scope::{Home, Owner},
    wanted::Wanted,
};

impl From<Shown> for pb::FloatingIp {
    fn from(shown: Shown) -> Self {
        let Shown { floating, port } = shown;
        let value = floating.value;
        Self {
            id: value.id.to_string(),
            org_id: value.org.into(),
            project_id: value.project.into(),
            external_network_id: value.external_network.to_string(),
            address: value.address.to_string(),
            port_id: value.port.map(|port| port.to_string()).unwrap_or_default(),
            fixed_ip: port
                .as_ref()
                .map(|port| port.ip_address.to_string())
                .unwrap_or_default(),
            host_id: port
                .and_then(|port| port.host)
                .map(String::from)
                .unwrap_or_default(),
            description: value.description,
            created_at: Some(shown_time(value.created_at)),
            updated_at: Some(shown_time(value.updated_at)),
            revision: floating.revision,
        }
    }
}

fn address(text: &str) -> Result<Option<Ipv4Addr>, Error> {
    given(text)
        .map(|text| refusal::address("address", text))
        .transpose()
}

#[tonic::async_trait]
impl FloatingIps for Doors {
    async fn create(
        &self,
        request: Request<pb::CreateFloatingIpRequest>,
    ) -> Result<Response<pb::FloatingIp>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let (field, what) = ("external_network_id", "external network");
            let new = NewFloatingIp {
                network: refusal::named(field, what, &asked.external_network_id)?,
                home: Home {
                    org: name("org_id", &asked.org_id)?,
                    project: name("project_id", &asked.project_id)?,
                },
                address: address(&asked.address)?,
                port: port(&asked.port_id)?,
                description: description(asked.description)?,
            };
            let made = Box::pin(service::create(&app, &ctx, new)).await?;
            Ok(made.into())
        })
        .await
    }

    async fn get(
        &self,
        request: Request<pb::GetFloatingIpRequest>,
    ) -> Result<Response<pb::FloatingIp>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("floating ip", &asked.id)?;
            let found = service::get(&app, &ctx, id, &Owner::default()).await?;
            Ok(found.into())
        })
        .await
    }

    async fn list(
        &self,
        request: Request<pb::ListFloatingIpsRequest>,
    ) -> Result<Response<pb::ListFloatingIpsResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let filter = FloatingIpFilter {
                owner: Owner {
                    org: maybe_name("org_id", &asked.org_id)?,
                    project: maybe_name("project_id", &asked.project_id)?,
                },
                network: Wanted::of(given(&asked.external_network_id)),
                port: Wanted::of(given(&asked.port_id)),
                address: address(&asked.address)?,
            };
            let ask = ask(asked.limit, &asked.page_token)?;
            let (rows, next_page_token) = service::list(&app, &ctx, &filter, &ask).await?;
            Ok(pb::ListFloatingIpsResponse {
                floating_ips: rows.into_iter().map(Into::into).collect(),
                next_page_token: next_page_token.unwrap_or_default(),
            })
        })
        .await
    }

    async fn update(
        &self,
        request: Request<pb::UpdateFloatingIpRequest>,
    ) -> Result<Response<pb::FloatingIp>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("floating ip", &asked.id)?;
            let change = FloatingIpChange {
                port: asked.port_id.map(|text| port(&text)).transpose()?,
                description: maybe_description(asked.description)?,
            };
            let done = service::update(&app, &ctx, id, &change, asked.revision).await?;
            Ok(done.into())
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteFloatingIpRequest>,
    ) -> Result<Response<pb::Deleted>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("floating ip", &asked.id)?;
            let owner = Owner::default();
            let revision = service::delete(&app, &ctx, id, &owner, asked.revision).await?;
            Ok(pb::Deleted { revision })
        })
        .await
    }
}
