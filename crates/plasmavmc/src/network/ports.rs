//! A VM's ports: made or bound, given a host, let go. Everything here may be done again.

use photon_core::{Code, Name};
use photon_proto::photon::prismnet::v1::{CreatePortRequest, GroupIds, Port, UpdatePortRequest};
use photon_service::peer::Refused;
use plasmavmc_model::{AskedPort, BoundPort, OperationId, PortId, Vm, VmId};

use super::{Prismnet, client::For};

/// Why something of a port was not done.
#[derive(Debug)]
pub(crate) enum Stuck {
    /// Not now: in words of what is waited for.
    Yet(String),
    /// Never.
    Never(String),
}

impl Stuck {
    fn of(refused: &Refused) -> Self {
        // Races are gone when they are looked at again; a defect over there may be mended.
        let passes =
            |code: Code| code.retryable || [Code::CONFLICT, Code::INTERNAL].contains(&code);
        match refused.code() {
            Some(code) if !passes(code) => Self::Never(refused.message().to_owned()),
            _ => Self::Yet(format!("PrismNET: {}", refused.message())),
        }
    }
}

/// What the names of ports begin with that are made for a VM.
fn prefix(vm: VmId) -> String {
    format!("{vm}/")
}

impl Prismnet {
    /// The ports of all its interfaces, in order.
    pub(crate) async fn acquire(
        &self,
        vm: &Vm,
        operation: OperationId,
        by: &str,
    ) -> Result<Vec<BoundPort>, Stuck> {
        let whom = For {
            by,
            project: &vm.project,
        };
        let all = vm.interfaces.iter().enumerate();
        let all = all.map(|(number, interface)| async move {
            if let Some(bound) = &interface.port {
                return Ok(bound.clone());
            }
            let port = match &interface.asked {
                AskedPort::InSubnet { .. } => {
                    let key = format!("{operation}/{number}");
                    self.make(vm, number, &interface.asked, &key, whom).await?
                }
                AskedPort::Named { port } => self.bind(vm, *port, whom).await?,
            };
            bound(&port)
        });
        // To their ends, all of them: nobody is to hear of one later.
        let all = futures::future::join_all(all).await;
        let (never, others): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|one| matches!(one, Err(Stuck::Never(_))));
        never.into_iter().chain(others).collect()
    }

    async fn make(
        &self,
        vm: &Vm,
        number: usize,
        asked: &AskedPort,
        key: &str,
        whom: For<'_>,
    ) -> Result<Port, Stuck> {
        let AskedPort::InSubnet {
            subnet,
            security_groups,
        } = asked
        else {
            return Err(Stuck::Never("it is no port to be made".to_owned()));
        };
        let ids = |groups: &Vec<_>| groups.iter().map(ToString::to_string).collect();
        let request = CreatePortRequest {
            subnet_id: subnet.to_string(),
            name: format!("{}{number}", prefix(vm.id)),
            kind: "guest".to_owned(),
            security_groups: security_groups
                .as_ref()
                .map(|groups| GroupIds { ids: ids(groups) }),
            device_id: vm.id.to_string(),
            description: format!("interface {number} of {}", vm.id),
            org_id: vm.org.to_string(),
            project_id: vm.project.to_string(),
            ..CreatePortRequest::default()
        };
        match self.create_port(request, key, whom).await {
            Ok(port) => Ok(port),
            // It was made, and the answer is lost.
            Err(refused) if refused.is(&[Code::ALREADY_EXISTS]) => {
                let details = refused.details().unwrap_or_default();
                let Some(made) = details["resource"]["id"].as_str() else {
                    return Err(Stuck::of(&refused));
                };
                self.port(made).await.map_err(|refused| Stuck::of(&refused))
            }
            Err(refused) => Err(Stuck::of(&refused)),
        }
    }

    /// Makes somebody's port the VM's: of several that want it one gets it.
    async fn bind(&self, vm: &Vm, id: PortId, whom: For<'_>) -> Result<Port, Stuck> {
        let port = self.port(&id.to_string()).await;
        let port = port.map_err(|refused| Stuck::of(&refused))?;
        let device = vm.id.to_string();
        if port.device_id == device {
            return Ok(port);
        }
        let is_ours = vm.org.as_str() == port.org_id && vm.project.as_str() == port.project_id;
        if !is_ours || port.kind != "guest" {
            let problem = format!("{id} is no port of the project's for a guest");
            return Err(Stuck::Never(problem));
        }
        if !port.device_id.is_empty() || !port.host_id.is_empty() {
            return Err(Stuck::Never(format!("{id} is in use")));
        }
        let change = UpdatePortRequest {
            id: port.id,
            device_id: Some(device),
            revision: Some(port.revision),
            ..UpdatePortRequest::default()
        };
        let bound = self.update_port(change, Some(whom)).await;
        bound.map_err(|refused| Stuck::of(&refused))
    }

    /// Says on which host its ports are.
    pub(crate) async fn put_on(&self, vm: &Vm, host: &Name, by: &str) -> Result<(), Stuck> {
        let whom = For {
            by,
            project: &vm.project,
        };
        let all = vm.interfaces.iter().filter_map(|one| one.port.as_ref());
        let all = all.map(|bound| async move {
            let change = UpdatePortRequest {
                id: bound.port.to_string(),
                host_id: Some(host.to_string()),
                ..UpdatePortRequest::default()
            };
            let done = self.update_port(change, Some(whom)).await;
            done.map(drop).map_err(|refused| Stuck::of(&refused))
        });
        let all = futures::future::join_all(all).await;
        all.into_iter().collect()
    }

    /// Lets all its ports go: those that were made for it are deleted. Whatever is not there is not missed.
    ///
    /// # Errors
    /// What is waited for.
    pub(crate) async fn release(&self, vm: &Vm) -> Result<(), String> {
        let made = self.made_for(vm).await;
        let made = made.map_err(|refused| waits(&refused))?;
        let named = vm.interfaces.iter().filter_map(|one| match one.asked {
            AskedPort::Named { port } => Some(port),
            AskedPort::InSubnet { .. } => None,
        });
        let deleted = made.into_iter().map(|port| async move {
            match self.delete_port(port).await {
                Err(refused) if !refused.is(&[Code::NOT_FOUND]) => Err(waits(&refused)),
                _ => Ok(()),
            }
        });
        let let_go = named.map(|port| self.let_go(vm, port));
        let (deleted, let_go) = tokio::join!(
            futures::future::join_all(deleted),
            futures::future::join_all(let_go)
        );
        deleted.into_iter().chain(let_go).collect()
    }

    /// The ports that were made for it; those, too, of which nobody could write down that they were.
    async fn made_for(&self, vm: &Vm) -> Result<Vec<PortId>, Refused> {
        let mut made = Vec::new();
        let mut is_sure = true;
        for interface in &vm.interfaces {
            match (&interface.asked, &interface.port) {
                (AskedPort::Named { .. }, _) => {}
                (AskedPort::InSubnet { .. }, Some(bound)) => made.push(bound.port),
                (AskedPort::InSubnet { .. }, None) => is_sure = false,
            }
        }
        if is_sure {
            return Ok(made);
        }
        let prefix = prefix(vm.id);
        let found = self.ports_of(&vm.org, &vm.project, vm.id).await?;
        let found = found.iter().filter(|port| port.name.starts_with(&prefix));
        made.extend(found.filter_map(|port| port.id.parse::<PortId>().ok()));
        made.sort();
        made.dedup();
        Ok(made)
    }

    async fn let_go(&self, vm: &Vm, id: PortId) -> Result<(), String> {
        // Its owner may have taken the device away, but not the host.
        let is_left = |port: &Port| {
            let host = vm.host.as_ref();
            port.device_id.is_empty() && host.is_some_and(|host| host.as_str() == port.host_id)
        };
        let port = match self.port(&id.to_string()).await {
            Ok(port) if port.device_id == vm.id.to_string() || is_left(&port) => port,
            Ok(_) => return Ok(()),
            Err(refused) if refused.is(&[Code::NOT_FOUND]) => return Ok(()),
            Err(refused) => return Err(waits(&refused)),
        };
        let change = UpdatePortRequest {
            id: port.id,
            host_id: Some(String::new()),
            device_id: Some(String::new()),
            revision: Some(port.revision),
            ..UpdatePortRequest::default()
        };
        match self.update_port(change, None).await {
            Err(refused) if !refused.is(&[Code::NOT_FOUND]) => Err(waits(&refused)),
            _ => Ok(()),
        }
    }
}

fn waits(refused: &Refused) -> String {
    format!("PrismNET to take its ports back: {}", refused.message())
}

fn bound(port: &Port) -> Result<BoundPort, Stuck> {
    let read = || {
        Some(BoundPort {
            port: port.id.parse().ok()?,
            subnet: port.subnet_id.parse().ok()?,
            vpc: port.vpc_id.parse().ok()?,
            ip_address: port.ip_address.parse().ok()?,
            mac_address: port.mac_address.clone(),
        })
    };
    read().ok_or_else(|| Stuck::Never(format!("PrismNET's port {:?} cannot be read", port.id)))
}
