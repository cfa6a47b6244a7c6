//! `photonctl store init`: the third step of a first start; and `store agent`, for every host that joins.
//!
//! ```text
//!   pki init -> the store starts with its certificates -> store init -> iam init -> services
//!                                                           store agent add -> the agents of a host
//! ```
//! Every service is an etcd user named by its certificate's common name, with a role of the same name; the role's
//! permissions are etcd's own, so it is the same on ChainFire and on a real etcd. What is there already is left as it is.

mod agent;
mod steps;

use etcd_client::Client;

use self::steps::{Grant, Steps};
use crate::{
    cli::{Connection, Store},
    failure::Failure,
    output::Format,
};

pub(crate) use self::agent::Agent;

/// The user and the role that may do everything; etcd knows them by this name.
pub(crate) const ROOT: &str = "root";

/// The services of the suite, as their certificates name them. Agents are per host: `store agent`.
pub(crate) const SERVICES: &[&str] = &["iam", "creditservice", "prismnet", "plasmavmc", "k8shost"];
/// The services that run things on hosts, and so keep the shared host records.
const ON_HOSTS: &[&str] = &["prismnet", "plasmavmc", "k8shost"];

/// What the store says of itself. Which life of it this is: without it nobody can tell a restored store from the one they knew.
const IDENTITY: &str = "/photon/chainfire/public/";

/// What a service may touch: its own prefix, the shared ones, what the store says of itself, and what IAM publishes.
fn grants(service: &str) -> Vec<Grant> {
    let mut grants = vec![
        Grant::all(format!("/photon/{service}/")),
        Grant::all(format!("/photon/registry/{service}/")),
        Grant::read("/photon/registry/"),
        Grant::read(IDENTITY),
    ];
    if service != "iam" {
        grants.push(Grant::read("/photon/iam/public/"));
    }
    if ON_HOSTS.contains(&service) {
        grants.push(Grant::all("/photon/hosts/"));
    }
    grants
}

pub(crate) async fn run(
    connection: &Connection,
    format: Format,
    command: Store,
) -> Result<(), Failure> {
    require_root_certificate(connection)?;
    let store = connection.etcd().await?;
    match command {
        Store::Init { dry_run } => init(Steps::new(store, dry_run), format).await,
        Store::Agent(command) => agent::run(store, format, command).await,
    }
}

async fn init(mut steps: Steps, format: Format) -> Result<(), Failure> {
    steps.principal(ROOT, &[]).await?;
    for service in SERVICES {
        steps.principal(service, &grants(service)).await?;
    }
    authentication(&mut steps).await?;
    steps.print(format, "the store is prepared already")
}

/// With authentication on, only root can turn it off again: whoever turns it on must be root.
fn require_root_certificate(connection: &Connection) -> Result<(), Failure> {
    let Some(certificate) = &connection.cert else {
        return Err(Failure::usage(
            "store init needs the root certificate: --ca, --cert and --key, made by `photonctl pki init`",
        ));
    };
    let name = crate::pki::common_name(certificate)?;
    if name != ROOT {
        let text = format!(
            "{} is the certificate of {name}, not of {ROOT}",
            certificate.display()
        );
        return Err(Failure::usage(text));
    }
    Ok(())
}

/// Turned on every time: to ask whether it is on takes as long, and etcd takes it as done.
async fn authentication(steps: &mut Steps) -> Result<(), Failure> {
    if steps.dry_run {
        steps.say("authentication turned on, if it is off");
        return Ok(());
    }
    let store: &mut Client = &mut steps.store;
    store.auth_enable().await?;
    // Root must be able to go on; if not, better learn it here than on the next day.
    store.user_list().await.map_err(|error| {
        Failure::refused(format!(
            "authentication is on, but the root certificate is not accepted as user root: {error}"
        ))
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use etcd_client::PermissionType;

    use super::*;

    #[test]
    fn services_write_only_below_their_own_and_the_shared_prefixes() {
        for service in SERVICES {
            for grant in grants(service) {
                assert!(
                    grant.keys.starts_with("/photon/") && grant.keys.ends_with('/'),
                    "{}",
                    grant.keys
                );
                let own = grant.keys == format!("/photon/{service}/")
                    || grant.keys == format!("/photon/registry/{service}/")
                    || grant.keys == "/photon/hosts/";
                assert!(
                    own || grant.kind == PermissionType::Read,
                    "{service} may write {}",
                    grant.keys
                );
            }
        }
    }
}
