//! `photonctl floatingip`.

use serde_json::Value;

use super::{
    cli::FloatingIp,
    kind::{EXTERNAL_NETWORK, FLOATING_IP, PORT},
};
use crate::{
    failure::Failure,
    rest::{Body, things::Things},
};

pub(crate) async fn run(network: &Things<'_>, command: FloatingIp) -> Result<(), Failure> {
    match command {
        FloatingIp::Create {
            external_network,
            address,
            port,
            description,
            whose,
            once,
        } => {
            let external = whose.named(&external_network);
            let external = network.id_of(&EXTERNAL_NETWORK, &external).await?;
            let port = network.maybe_id(&PORT, port.as_deref(), &whose).await?;
            let body = Body::default()
                .set("external_network_id", external)
                .maybe("address", address.map(|ip| ip.to_string()))
                .maybe("port_id", port)
                .maybe("description", description);
            let body = network.at_home(body, whose).await?;
            network.create(&FLOATING_IP, body, once).await
        }
        FloatingIp::Get { address, whose } => {
            network.get(&FLOATING_IP, whose.named(&address)).await
        }
        FloatingIp::List {
            external_network,
            port,
            whose,
            page,
        } => {
            let external = external_network.as_deref();
            let external = network
                .maybe_id(&EXTERNAL_NETWORK, external, &whose)
                .await?;
            let port = network.maybe_id(&PORT, port.as_deref(), &whose).await?;
            let own = [("external_network_id", external), ("port_id", port)];
            let filters = [&whose.filters()[..], &own].concat();
            network.list(&FLOATING_IP, &filters, page).await
        }
        FloatingIp::Update {
            address,
            description,
            whose,
            only,
        } => {
            let body = Body::default().maybe("description", description);
            let named = whose.named(&address);
            network.update(&FLOATING_IP, named, body, &only).await
        }
        FloatingIp::Associate {
            address,
            port,
            whose,
            only,
        } => {
            let port = network.id_of(&PORT, &whose.named(&port)).await?;
            let body = Body::default().set("port_id", port);
            let named = whose.named(&address);
            network.update(&FLOATING_IP, named, body, &only).await
        }
        FloatingIp::Dissociate {
            address,
            whose,
            only,
        } => {
            let body = Body::default().set("port_id", Value::Null);
            let named = whose.named(&address);
            network.update(&FLOATING_IP, named, body, &only).await
        }
        FloatingIp::Delete {
            address,
            whose,
            only,
        } => {
            let named = whose.named(&address);
            network.delete(&FLOATING_IP, named, &only).await
        }
    }
}
