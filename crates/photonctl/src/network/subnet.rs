//! `photonctl subnet`.

use super::{
    cli::Subnet,
    kind::{SUBNET, VPC},
};
use crate::{
    failure::Failure,
    rest::{Body, things::Things},
};

pub(crate) async fn run(network: &Things<'_>, command: Subnet) -> Result<(), Failure> {
    match command {
        Subnet::Create {
            name,
            cidr,
            vpc,
            gateway,
            description,
            whose,
            once,
        } => {
            let vpc = network.id_of(&VPC, &whose.named(&vpc)).await?;
            let body = Body::default()
                .set("name", name)
                .set("vpc_id", vpc)
                .set("cidr_block", cidr)
                .maybe("gateway_ip", gateway.map(|ip| ip.to_string()))
                .maybe("description", description);
            // Both are the VPC's; what is said is held against it.
            let body = body
                .maybe("org_id", whose.org)
                .maybe("project_id", whose.project);
            network.create(&SUBNET, body, once).await
        }
        Subnet::Get { subnet, whose } => network.get(&SUBNET, whose.named(&subnet)).await,
        Subnet::List {
            vpc,
            name,
            whose,
            page,
        } => {
            let vpc = network.maybe_id(&VPC, vpc.as_deref(), &whose).await?;
            let filters = [&whose.filters()[..], &[("vpc_id", vpc), ("name", name)]].concat();
            network.list(&SUBNET, &filters, page).await
        }
        Subnet::Update {
            subnet,
            name,
            description,
            whose,
            only,
        } => {
            let body = Body::default()
                .maybe("name", name)
                .maybe("description", description);
            let named = whose.named(&subnet);
            network.update(&SUBNET, named, body, &only).await
        }
        Subnet::Delete {
            subnet,
            whose,
            only,
        } => network.delete(&SUBNET, whose.named(&subnet), &only).await,
    }
}
