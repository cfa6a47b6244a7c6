//! `photonctl route`.

use super::{
    cli::Route,
    kind::{ROUTE, VPC},
};
use crate::{
    failure::Failure,
    rest::{Body, cli::If, things::Things},
};

pub(crate) async fn run(network: &Things<'_>, command: Route) -> Result<(), Failure> {
    match command {
        Route::Create {
            vpc,
            destination,
            next_hop,
            description,
            whose,
            once,
        } => {
            let vpc = network.id_of(&VPC, &whose.named(&vpc)).await?;
            let body = Body::default()
                .set("vpc_id", vpc)
                .set("destination", destination)
                .set("next_hop", next_hop.to_string())
                .maybe("description", description);
            network.create(&ROUTE, body, once).await
        }
        Route::Get { route, whose } => network.get(&ROUTE, whose.named(&route)).await,
        Route::List { vpc, whose, page } => {
            let vpc = network.maybe_id(&VPC, vpc.as_deref(), &whose).await?;
            let filters = [&whose.filters()[..], &[("vpc_id", vpc)]].concat();
            network.list(&ROUTE, &filters, page).await
        }
        Route::Delete { route, whose } => {
            // A route never changes.
            let only = If::default();
            network.delete(&ROUTE, whose.named(&route), &only).await
        }
    }
}
