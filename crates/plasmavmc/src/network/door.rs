//! What is asked of a VM's networks, held against PrismNET before anything is begun. The operation decides.

use photon_auth::Context;
use photon_authz::Permission;
use photon_core::{Code, Error};
use photon_service::{peer::Refused, scope::Home};
use plasmavmc_model::{AskedPort, GroupId, Interface, interface::MOST_INTERFACES};
use serde_json::json;

use super::Prismnet;
use crate::app::App;

/// The field of a request.
pub(crate) const FIELD: &str = "networks";

/// A network of a request, as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    pub(crate) subnet: Option<String>,
    pub(crate) port: Option<String>,
    pub(crate) groups: Option<Vec<String>>,
}

fn field(number: usize, member: &str) -> String {
    format!("{FIELD}[{number}].{member}")
}

/// Something that a member names is not there, or not this project's.
fn nothing(number: usize, member: &str, what: &str) -> Error {
    let field = field(number, member);
    let message = format!("{field}: the project has no such {what}");
    Error::validation(&field, "exists", message)
}

/// Interfaces of what was given.
///
/// # Errors
/// 400 naming the one that cannot be.
pub(crate) fn interfaces(all: Vec<Given>) -> Result<Vec<Interface>, Error> {
    if all.len() > MOST_INTERFACES {
        let message = format!("{FIELD} must be at most {MOST_INTERFACES}");
        return Err(Error::validation(FIELD, "max_items", message));
    }
    let mut interfaces: Vec<Interface> = Vec::with_capacity(all.len());
    for (number, given) in all.into_iter().enumerate() {
        let interface = Interface::new(asked(number, given)?);
        let is_port = matches!(interface.asked, AskedPort::Named { .. });
        if is_port && interfaces.contains(&interface) {
            let field = field(number, "port_id");
            let message = format!("{field} must name each port once");
            return Err(Error::validation(&field, "unique", message));
        }
        interfaces.push(interface);
    }
    Ok(interfaces)
}

fn asked(number: usize, given: Given) -> Result<AskedPort, Error> {
    match (given.subnet, given.port) {
        (Some(subnet), None) => {
            let subnet = subnet.parse();
            let subnet = subnet.map_err(|_| nothing(number, "subnet_id", "subnet"))?;
            let security_groups = given.groups.map(|all| groups(number, &all)).transpose()?;
            Ok(AskedPort::InSubnet {
                subnet,
                security_groups,
            })
        }
        (None, Some(_)) if given.groups.is_some() => {
            let field = field(number, "security_group_ids");
            let message = format!("{field} does not go with port_id: a port has its own");
            Err(Error::validation(&field, "exclusive", message))
        }
        (None, Some(port)) => {
            let port = port.parse();
            let port = port.map_err(|_| nothing(number, "port_id", "port"))?;
            Ok(AskedPort::Named { port })
        }
        (Some(_), Some(_)) => {
            let field = field(number, "port_id");
            let message = format!("{field} does not go with subnet_id");
            Err(Error::validation(&field, "exclusive", message))
        }
        (None, None) => Err(Error::required(&field(number, "subnet_id"))),
    }
}

/// The most groups of a port, as PrismNET has it.
const MOST_GROUPS: usize = 16;

fn groups(number: usize, texts: &[String]) -> Result<Vec<GroupId>, Error> {
    const MEMBER: &str = "security_group_ids";
    let refused = |constraint, problem: String| {
        let field = field(number, MEMBER);
        Err(Error::validation(
            &field,
            constraint,
            format!("{field} {problem}"),
        ))
    };
    if texts.len() > MOST_GROUPS {
        return refused("max_items", format!("must be at most {MOST_GROUPS}"));
    }
    let mut groups: Vec<GroupId> = Vec::with_capacity(texts.len());
    for text in texts {
        let group = text.parse();
        let group = group.map_err(|_| nothing(number, MEMBER, "security group"))?;
        if groups.contains(&group) {
            return refused("unique", "must name each group once".to_owned());
        }
        groups.push(group);
    }
    Ok(groups)
}

/// Whether a VM of that project can have these interfaces, as things are now.
///
/// # Errors
/// 400 naming what is not there or not the project's, 403, 409; 503 when PrismNET does not answer.
pub(crate) async fn check(
    app: &App,
    ctx: &Context,
    home: &Home,
    interfaces: &[Interface],
) -> Result<(), Error> {
    if interfaces.is_empty() {
        return Ok(());
    }
    let Some(prismnet) = &app.prismnet else {
        let message = "there are no networks here: prismnet.endpoint is not set";
        return Err(Error::failed_precondition(message)
            .with_details(json!({ "field": FIELD, "constraint": "configured" })));
    };
    let mut checks = Vec::with_capacity(interfaces.len());
    for (number, interface) in interfaces.iter().enumerate() {
        // The service may more than its caller, who is not to get a port by a VM that it could not get itself.
        let needed = match interface.asked {
            AskedPort::InSubnet { .. } => "prismnet.ports.create",
            AskedPort::Named { .. } => "prismnet.ports.update",
        };
        let needed = Permission::new(needed).map_err(Error::internal)?;
        ctx.allow_permission(&needed, &home.scope())?;
        checks.push(one(prismnet, home, number, &interface.asked));
    }
    for checked in futures::future::join_all(checks).await {
        checked?;
    }
    Ok(())
}

async fn one(
    prismnet: &Prismnet,
    home: &Home,
    number: usize,
    asked: &AskedPort,
) -> Result<(), Error> {
    let is_ours =
        |org: &str, project: &str| home.org.as_str() == org && home.project.as_str() == project;
    match asked {
        AskedPort::InSubnet {
            subnet,
            security_groups,
        } => {
            let found = found(prismnet.subnet(*subnet).await)?;
            if !found.is_some_and(|found| is_ours(&found.org_id, &found.project_id)) {
                return Err(nothing(number, "subnet_id", "subnet"));
            }
            for group in security_groups.iter().flatten() {
                let found = self::found(prismnet.group(*group).await)?;
                if !found.is_some_and(|found| is_ours(&found.org_id, &found.project_id)) {
                    return Err(nothing(number, "security_group_ids", "security group"));
                }
            }
            Ok(())
        }
        AskedPort::Named { port } => {
            let found = found(prismnet.port(&port.to_string()).await)?;
            let found = found.filter(|found| is_ours(&found.org_id, &found.project_id));
            let found = found.ok_or_else(|| nothing(number, "port_id", "port"))?;
            let field = field(number, "port_id");
            if found.kind != "guest" {
                let message = format!("{field}: {port} is of kind {}, not guest", found.kind);
                return Err(Error::validation(&field, "kind", message));
            }
            if !found.device_id.is_empty() || !found.host_id.is_empty() {
                let message = format!("{field}: {port} is in use");
                let details = json!({ "field": field, "port_id": port });
                return Err(Error::new(Code::IN_USE, message).with_details(details));
            }
            Ok(())
        }
    }
}

/// What was found, if it is there.
fn found<T>(answer: Result<T, Refused>) -> Result<Option<T>, Error> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(refused) if refused.is(&[Code::NOT_FOUND]) => Ok(None),
        Err(refused) => {
            let error = Error::unavailable("networks cannot be asked for at present");
            Err(error.with_source(refused.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    const SUBNET: &str = "subnet-019ac8e5-3c00-7001-8c00-000000000004";
    const PORT: &str = "port-019ac8e5-3c00-7001-8c00-000000000003";
    const GROUP: &str = "sg-019ac8e5-3c00-7001-8c00-000000000006";

    fn in_subnet(subnet: &str, groups: Option<&[&str]>) -> Given {
        Given {
            subnet: Some(subnet.to_owned()),
            groups: groups.map(|all| all.iter().map(|one| (*one).to_owned()).collect()),
            ..Given::default()
        }
    }

    fn port(port: &str) -> Given {
        Given {
            port: Some(port.to_owned()),
            ..Given::default()
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        let both = Given {
            subnet: Some(SUBNET.to_owned()),
            ..port(PORT)
        };
        let grouped = Given {
            groups: Some(Vec::new()),
            ..port(PORT)
        };
        for (given, field, constraint) in [
            (vec![port(PORT); 9], "networks", "max_items"),
            (vec![Given::default()], "networks[0].subnet_id", "required"),
            (
                vec![in_subnet(SUBNET, None), both],
                "networks[1].port_id",
                "exclusive",
            ),
            (
                vec![in_subnet(PORT, None)],
                "networks[0].subnet_id",
                "exists",
            ),
            (vec![port("x")], "networks[0].port_id", "exists"),
            (
                vec![port(PORT), port(PORT)],
                "networks[1].port_id",
                "unique",
            ),
            (vec![grouped], "networks[0].security_group_ids", "exclusive"),
            (
                vec![in_subnet(SUBNET, Some(&[GROUP, GROUP]))],
                "networks[0].security_group_ids",
                "unique",
            ),
            (
                vec![in_subnet(SUBNET, Some(&["web"]))],
                "networks[0].security_group_ids",
                "exists",
            ),
            (
                vec![in_subnet(SUBNET, Some(&[GROUP; 17]))],
                "networks[0].security_group_ids",
                "max_items",
            ),
        ] {
            let error = interfaces(given).unwrap_err();
            let details = error.details().unwrap();
            assert_eq!(error.code(), Code::VALIDATION_ERROR);
            assert_eq!(
                (&details["field"], &details["constraint"]),
                (&json!(field), &json!(constraint))
            );
        }
        // One subnet twice is two interfaces in it.
        let twice = interfaces(vec![in_subnet(SUBNET, None), in_subnet(SUBNET, None)]);
        assert_eq!(twice.unwrap().len(), 2);
    }
}
