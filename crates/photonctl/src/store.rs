//! `photonctl store init`: the third step of a first start.
//!
//! ```text
//!   pki init -> the store starts with its certificates -> store init -> iam init -> services
//! ```
//! Every service is an etcd user named by its certificate's common name, with a role of the same name; the role's
//! permissions are etcd's own, so it is the same on ChainFire and on a real etcd. What is there already is left as it is.

use etcd_client::{Client, Permission, PermissionType, UserAddOptions};
use serde_json::json;

use crate::{
    cli::{Connection, Store},
    failure::Failure,
    output::{self, Format},
};

/// The user and the role that may do everything; etcd knows them by this name.
pub(crate) const ROOT: &str = "root";

/// A prefix, and what a service may do below it.
struct Grant {
    kind: PermissionType,
    prefix: String,
}

/// The services of the suite, as their certificates name them. Agents are per host: they are added when a host joins.
pub(crate) const SERVICES: &[&str] = &["iam", "creditservice", "prismnet", "plasmavmc", "k8shost"];
/// The services that run things on hosts, and so keep the shared host records.
const ON_HOSTS: &[&str] = &["prismnet", "plasmavmc", "k8shost"];

/// What a service may touch: its own prefix, the shared ones, what the store says of itself, and what IAM publishes.
fn grants(service: &str) -> Vec<Grant> {
    let read = |prefix: String| Grant {
        kind: PermissionType::Read,
        prefix,
    };
    let all = |prefix: String| Grant {
        kind: PermissionType::Readwrite,
        prefix,
    };
    let mut grants = vec![
        all(format!("/photon/{service}/")),
        all(format!("/photon/registry/{service}/")),
        read("/photon/registry/".to_owned()),
        // Which life of the store it is: without it a service cannot tell a restored store from the one it knew.
        read("/photon/chainfire/public/".to_owned()),
    ];
    if service != "iam" {
        grants.push(read("/photon/iam/public/".to_owned()));
    }
    if ON_HOSTS.contains(&service) {
        grants.push(all("/photon/hosts/".to_owned()));
    }
    grants
}

pub(crate) async fn run(
    connection: &Connection,
    format: Format,
    command: Store,
) -> Result<(), Failure> {
    let Store::Init { dry_run } = command;
    require_root_certificate(connection)?;
    let mut store = connection.etcd().await?;
    let mut init = Init {
        dry_run,
        done: Vec::new(),
    };
    init.root(&mut store).await?;
    for service in SERVICES {
        init.service(&mut store, service).await?;
    }
    init.authentication(&mut store).await?;
    match format {
        Format::Data(notation) => output::data(
            notation,
            &json!({ "dry_run": dry_run, "changes": init.done }),
        ),
        Format::Human if init.done.is_empty() => output::line("the store is prepared already"),
        Format::Human => init.done.iter().try_for_each(|change| output::line(change)),
    }
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

/// What has been done so far, in words.
struct Init {
    dry_run: bool,
    done: Vec<String>,
}

impl Init {
    async fn root(&mut self, store: &mut Client) -> Result<(), Failure> {
        self.user(store, ROOT).await?;
        self.role(store, ROOT).await?;
        self.user_role(store, ROOT).await
    }

    async fn service(&mut self, store: &mut Client, service: &str) -> Result<(), Failure> {
        self.role(store, service).await?;
        for grant in grants(service) {
            self.permission(store, service, &grant).await?;
        }
        self.user(store, service).await?;
        self.user_role(store, service).await
    }

    /// Without a password: a certificate is the only way to be this user.
    async fn user(&mut self, store: &mut Client, name: &str) -> Result<(), Failure> {
        if has_user(store, name).await? {
            return Ok(());
        }
        self.done.push(format!("user {name} added"));
        if !self.dry_run {
            store
                .user_add(name, "", Some(UserAddOptions::new().with_no_pwd()))
                .await?;
        }
        Ok(())
    }

    async fn role(&mut self, store: &mut Client, name: &str) -> Result<(), Failure> {
        if has_role(store, name).await? {
            return Ok(());
        }
        self.done.push(format!("role {name} added"));
        if !self.dry_run {
            store.role_add(name).await?;
        }
        Ok(())
    }

    async fn user_role(&mut self, store: &mut Client, name: &str) -> Result<(), Failure> {
        if has_user(store, name).await?
            && store
                .user_get(name)
                .await?
                .roles()
                .iter()
                .any(|known| known == name)
        {
            return Ok(());
        }
        self.done.push(format!("user {name} has role {name}"));
        if !self.dry_run {
            store.user_grant_role(name, name).await?;
        }
        Ok(())
    }

    async fn permission(
        &mut self,
        store: &mut Client,
        role: &str,
        grant: &Grant,
    ) -> Result<(), Failure> {
        let wanted = Permission::new(grant.kind, grant.prefix.clone()).with_prefix();
        if has_role(store, role).await?
            && store.role_get(role).await?.permissions().contains(&wanted)
        {
            return Ok(());
        }
        let may = match grant.kind {
            PermissionType::Read => "read",
            PermissionType::Write => "write",
            PermissionType::Readwrite => "read and write",
        };
        self.done
            .push(format!("role {role} may {may} {}", grant.prefix));
        if !self.dry_run {
            store.role_grant_permission(role, wanted).await?;
        }
        Ok(())
    }

    /// Turned on every time: to ask whether it is on takes as long, and etcd takes it as done.
    async fn authentication(&mut self, store: &mut Client) -> Result<(), Failure> {
        if self.dry_run {
            self.done
                .push("authentication turned on, if it is off".to_owned());
            return Ok(());
        }
        store.auth_enable().await?;
        // Root must be able to go on; if not, better learn it here than on the next day.
        store.user_list().await.map_err(|error| {
            Failure::refused(format!("authentication is on, but the root certificate is not accepted as user root: {error}"))
        })?;
        Ok(())
    }
}

async fn has_user(store: &mut Client, name: &str) -> Result<bool, Failure> {
    let users = store.user_list().await?;
    Ok(users.users().iter().any(|known| known == name))
}

async fn has_role(store: &mut Client, name: &str) -> Result<bool, Failure> {
    let roles = store.role_list().await?;
    Ok(roles.roles().iter().any(|known| known == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_write_only_below_their_own_and_the_shared_prefixes() {
        for service in SERVICES {
            for grant in grants(service) {
                assert!(
                    grant.prefix.starts_with("/photon/") && grant.prefix.ends_with('/'),
                    "{}",
                    grant.prefix
                );
                let own = grant.prefix == format!("/photon/{service}/")
                    || grant.prefix == format!("/photon/registry/{service}/")
                    || grant.prefix == "/photon/hosts/";
                assert!(
                    own || grant.kind == PermissionType::Read,
                    "{service} may write {}",
                    grant.prefix
                );
            }
        }
    }
}
