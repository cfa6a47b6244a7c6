//! `photon.prismnet.v1.ExternalNetworks`.

use std::collections::HashMap;

use photon_auth::Context;
use photon_core::Error;
use photon_proto::photon::prismnet::v1::{self as pb, external_networks_server::ExternalNetworks};
use prismnet_model::{AddressRange, ExternalNetwork};
use tonic::{Request, Response, Status};

use super::{
    ExternalNetworkChange, ExternalNetworkFilter, NewExternalNetwork, block, gateway, range,
    service, uplinks,
};
use crate::{
    app::App,
    grpc::{
        Doors,
        fields::{
            ask, description, given, id, label, maybe_description, maybe_label, required,
            shown_time,
        },
    },
    versioned::Versioned,
};

/// A network as this caller is shown it.
fn message(
    app: &App,
    ctx: &Context,
    network: Versioned<ExternalNetwork>,
) -> Result<pb::ExternalNetwork, Error> {
    let Versioned { value, revision } = network;
    let text = |range: AddressRange| pb::AddressRange {
        first: range.first.to_string(),
        last: range.last.to_string(),
    };
    let sees_hosts = service::sees_hosts(app, ctx)?;
    let held = sees_hosts.then(|| service::held_by_hosts(app, &value));
    let held = held.into_iter().flatten();
    let uplinks = value.uplinks.into_iter();
    let interfaces: HashMap<String, String> =
        uplinks.map(|(host, to)| (host.into(), to.into())).collect();
    Ok(pb::ExternalNetwork {
        id: value.id.to_string(),
        name: value.name,
        cidr_block: value.cidr_block.to_string(),
        gateway_ip: value
            .gateway_ip
            .map(|ip| ip.to_string())
            .unwrap_or_default(),
        pool: value.pool.into_iter().map(text).collect(),
        uplinks: sees_hosts.then_some(pb::Uplinks { interfaces }),
        held_by_hosts: held
            .map(|(address, host)| pb::HeldAddress {
                address: address.to_string(),
                host_id: host.into(),
            })
            .collect(),
        description: value.description,
        created_at: Some(shown_time(value.created_at)),
        updated_at: Some(shown_time(value.updated_at)),
        revision,
    })
}

fn ranges(given: pb::AddressRanges) -> Result<Vec<AddressRange>, Error> {
    let ranges = given.ranges.iter();
    ranges.map(|one| range(&one.first, &one.last)).collect()
}

#[tonic::async_trait]
impl ExternalNetworks for Doors {
    async fn create(
        &self,
        request: Request<pb::CreateExternalNetworkRequest>,
    ) -> Result<Response<pb::ExternalNetwork>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let interfaces = asked.uplinks.unwrap_or_default().interfaces;
            let new = NewExternalNetwork {
                name: label("name", asked.name)?,
                cidr_block: block("cidr_block", required("cidr_block", &asked.cidr_block)?)?,
                gateway_ip: gateway(&asked.gateway_ip)?,
                pool: asked.pool.map(ranges).transpose()?,
                uplinks: uplinks(interfaces.into_iter())?,
                description: description(asked.description)?,
            };
            message(&app, &ctx, service::create(&app, &ctx, new).await?)
        })
        .await
    }

    async fn get(
        &self,
        request: Request<pb::GetExternalNetworkRequest>,
    ) -> Result<Response<pb::ExternalNetwork>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("external network", &asked.id)?;
            message(&app, &ctx, service::get(&app, &ctx, id).await?)
        })
        .await
    }

    async fn list(
        &self,
        request: Request<pb::ListExternalNetworksRequest>,
    ) -> Result<Response<pb::ListExternalNetworksResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let filter = ExternalNetworkFilter {
                name: given(&asked.name).map(str::to_owned),
            };
            let ask = ask(asked.limit, &asked.page_token)?;
            let listing = service::list(&app, &ctx, &filter, &ask).await?;
            let networks = listing.items.into_iter();
            Ok(pb::ListExternalNetworksResponse {
                external_networks: networks
                    .map(|network| message(&app, &ctx, network))
                    .collect::<Result<_, _>>()?,
                next_page_token: listing.next_page_token.unwrap_or_default(),
            })
        })
        .await
    }

    async fn update(
        &self,
        request: Request<pb::UpdateExternalNetworkRequest>,
    ) -> Result<Response<pb::ExternalNetwork>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("external network", &asked.id)?;
            let interfaces = asked.uplinks.map(|uplinks| uplinks.interfaces);
            let change = ExternalNetworkChange {
                name: maybe_label("name", asked.name)?,
                description: maybe_description(asked.description)?,
                gateway_ip: asked.gateway_ip.map(|text| gateway(&text)).transpose()?,
                pool: asked.pool.map(ranges).transpose()?,
                uplinks: interfaces.map(|all| uplinks(all.into_iter())).transpose()?,
            };
            let done = service::update(&app, &ctx, id, &change, asked.revision).await?;
            message(&app, &ctx, done)
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteExternalNetworkRequest>,
    ) -> Result<Response<pb::Deleted>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("external network", &asked.id)?;
            let revision = service::delete(&app, &ctx, id, asked.revision).await?;
            Ok(pb::Deleted { revision })
        })
        .await
    }
}
