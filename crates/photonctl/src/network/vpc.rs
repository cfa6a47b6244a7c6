//! `photonctl vpc`.

use super::{
    cli::{Switch, Vpc},
    kind::VPC,
};
use crate::{
    failure::Failure,
    rest::{Body, things::Things},
};

pub(crate) async fn run(network: &Things<'_>, command: Vpc) -> Result<(), Failure> {
    match command {
        Vpc::Create {
            name,
            cidr,
            internet_access,
            description,
            whose,
            once,
        } => {
            let body = Body::default()
                .set("name", name)
                .set("cidr_block", cidr)
                .maybe("internet_access", internet_access.then_some(true))
                .maybe("description", description);
            let body = network.at_home(body, whose).await?;
            network.create(&VPC, body, once).await
        }
        Vpc::Get { vpc, whose } => network.get(&VPC, whose.named(&vpc)).await,
        Vpc::List { name, whose, page } => {
            let filters = [&whose.filters()[..], &[("name", name)]].concat();
            network.list(&VPC, &filters, page).await
        }
        Vpc::Update {
            vpc,
            name,
            description,
            internet_access,
            no_internet_access,
            whose,
            only,
        } => {
            let access = match internet_access {
                Some(access) => Some(access == Switch::On),
                None => no_internet_access.then_some(false),
            };
            let body = Body::default()
                .maybe("name", name)
                .maybe("description", description)
                .maybe("internet_access", access);
            network.update(&VPC, whose.named(&vpc), body, &only).await
        }
        Vpc::Delete { vpc, whose, only } => network.delete(&VPC, whose.named(&vpc), &only).await,
    }
}
