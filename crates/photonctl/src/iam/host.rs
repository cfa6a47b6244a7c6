//! `photonctl host`: how a machine joins. Which there are, PlasmaVMC says.

use super::{
    cli::{Host, HostToken},
    join,
    resource::{Kind, On},
};
use crate::{
    compute,
    failure::Failure,
    output::Format,
    rest::{Body, Session},
};

const TOKEN: Kind = Kind {
    path: "host-tokens",
    plural: "host_tokens",
    columns: &[
        "id",
        "host",
        "created_by",
        "expires_at",
        "used_at",
        "used_from",
    ],
};

pub(crate) async fn run(session: &Session, format: Format, command: Host) -> Result<(), Failure> {
    let on = On::new(session, format, &TOKEN);
    match command {
        Host::List => compute::hosts(session, format).await,
        Host::Join(options) => join::join(session, format, &options).await,
        Host::Token(HostToken::Create { host, ttl }) => {
            let body = Body::default().set("host", host).maybe("ttl_seconds", ttl);
            on.create(body).await
        }
        Host::Token(HostToken::List { page }) => on.list(&[], page).await,
        Host::Token(HostToken::Delete { id, only }) => on.delete(&id, &only).await,
    }
}
