//! `photonctl lease`.

use chainfire_client::{
    ChainFireClient, LeaseGetRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseListRequest,
    LeaseRevokeRequest,
};
use serde_json::json;

use crate::{
    cli::{Connection, Lease},
    failure::Failure,
    output::{self, Format},
};

pub(crate) async fn run(
    connection: &Connection,
    format: Format,
    command: Lease,
) -> Result<(), Failure> {
    let mut client = connection.connect().await?;
    match command {
        Lease::Grant { ttl_seconds, id } => {
            let lease = client
                .lease_grant(LeaseGrantRequest { ttl_seconds, id })
                .await?
                .into_inner();
            print(format, lease.id, lease.ttl_seconds)
        }
        Lease::Keepalive { id, once: true } => {
            let ttl = client
                .lease_keep_alive(LeaseKeepAliveRequest { id })
                .await?
                .into_inner()
                .ttl_seconds;
            if ttl <= 0 {
                return Err(Failure::not_found(format!("lease {id} not found")));
            }
            print(format, id, ttl)
        }
        Lease::Keepalive { id, once: false } => keep(&mut client, id).await,
        Lease::Revoke { id } => {
            let revision = client
                .lease_revoke(LeaseRevokeRequest { id })
                .await?
                .into_inner()
                .revision;
            match format {
                Format::Human => output::line(&format!("lease {id} revoked, revision {revision}")),
                Format::Data(notation) => {
                    output::data(notation, &json!({ "id": id, "revision": revision }))
                }
            }
        }
        Lease::List => list(&mut client, format).await,
    }
}

async fn keep(client: &mut ChainFireClient, id: i64) -> Result<(), Failure> {
    let mut keeper = client.keep_lease(id).await?;
    eprintln!("keeping lease {id} alive; interrupt to stop");
    tokio::select! {
        () = keeper.lost() => Err(Failure::not_found(format!("lease {id} is lost"))),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn list(client: &mut ChainFireClient, format: Format) -> Result<(), Failure> {
    let mut leases = Vec::new();
    for id in client
        .lease_list(LeaseListRequest {})
        .await?
        .into_inner()
        .ids
    {
        match client.lease_get(LeaseGetRequest { id }).await {
            Ok(lease) => leases.push(lease.into_inner()),
            // It ended between the two questions.
            Err(status) if status.code() == tonic::Code::NotFound => {}
            Err(status) => return Err(status.into()),
        }
    }
    match format {
        Format::Data(notation) => {
            let leases = leases.iter().map(|lease| {
                json!({
                    "id": lease.id,
                    "granted_ttl_seconds": lease.granted_ttl_seconds,
                    "ttl_seconds": lease.ttl_seconds,
                    "keys": lease.keys,
                })
            });
            output::data(notation, &json!({ "items": leases.collect::<Vec<_>>() }))
        }
        Format::Human => {
            let rows = leases.iter().map(|lease| {
                vec![
                    lease.id.to_string(),
                    format!("{} s of {} s", lease.ttl_seconds, lease.granted_ttl_seconds),
                    lease.keys.join(" "),
                ]
            });
            output::table(&["LEASE", "LEFT", "KEYS"], &rows.collect::<Vec<_>>())
        }
    }
}

fn print(format: Format, id: i64, ttl_seconds: i64) -> Result<(), Failure> {
    match format {
        Format::Human => output::line(&format!("lease {id}, {ttl_seconds} s")),
        Format::Data(notation) => {
            output::data(notation, &json!({ "id": id, "ttl_seconds": ttl_seconds }))
        }
    }
}
