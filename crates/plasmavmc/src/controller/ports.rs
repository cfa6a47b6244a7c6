//! A VM's ports, as steps of operations.

use std::time::Duration;

use photon_core::Error;
use photon_reconcile::{Acted, Operation};
use photon_store::Stored;
use plasmavmc_model::Vm;

use super::Controller;
use crate::{network::Stuck, operation::Ours};

/// How often PrismNET is asked again.
const AGAIN: Duration = Duration::from_secs(2);
/// What is said where a VM has networks and this process has none.
const NOT_SET: &str = "there are no networks here: prismnet.endpoint is not set";

impl Controller {
    /// Makes or binds the ports of its interfaces.
    pub(super) async fn acquire_ports(
        &self,
        operation: &Operation<Ours>,
        mut vm: Stored<Vm>,
    ) -> Result<Acted, Error> {
        let mut writes = self.app.store.transaction();
        let Some(prismnet) = &self.app.prismnet else {
            return Ok(Acted::Failed(NOT_SET.to_owned()));
        };
        let acquired = prismnet.acquire(&vm.value, operation.id, &operation.by);
        let ports = match acquired.await {
            Ok(ports) => ports,
            Err(stuck) => return Ok(acted(stuck)),
        };
        let before = vm.value.interfaces.clone();
        for (interface, port) in vm.value.interfaces.iter_mut().zip(ports) {
            interface.port = Some(port);
        }
        if vm.value.interfaces != before {
            writes.replace(&self.app.records(), &vm)?;
        }
        Ok(Acted::Done(writes))
    }

    /// Says to PrismNET on which host they are.
    pub(super) async fn bind_ports(
        &self,
        operation: &Operation<Ours>,
        vm: Stored<Vm>,
    ) -> Result<Acted, Error> {
        let (Some(prismnet), Some(host)) = (&self.app.prismnet, &vm.value.host) else {
            return Ok(Acted::Failed(NOT_SET.to_owned()));
        };
        match prismnet.put_on(&vm.value, host, &operation.by).await {
            Ok(()) => Ok(Acted::Done(self.app.store.transaction())),
            Err(stuck) => Ok(acted(stuck)),
        }
    }

    /// Gives them back.
    pub(super) async fn release_ports(&self, mut vm: Stored<Vm>) -> Result<Acted, Error> {
        let mut writes = self.app.store.transaction();
        if vm.value.interfaces.is_empty() {
            return Ok(Acted::Done(writes));
        }
        let wait = |what: String| Acted::Wait {
            what,
            within: AGAIN,
        };
        let Some(prismnet) = &self.app.prismnet else {
            return Ok(wait("prismnet.endpoint to be set again".to_owned()));
        };
        if let Err(what) = prismnet.release(&vm.value).await {
            return Ok(wait(what));
        }
        if vm.value.interfaces.iter().any(|one| one.port.is_some()) {
            for interface in &mut vm.value.interfaces {
                interface.port = None;
            }
            writes.replace(&self.app.records(), &vm)?;
        }
        Ok(Acted::Done(writes))
    }
}

fn acted(stuck: Stuck) -> Acted {
    match stuck {
        Stuck::Yet(what) => Acted::Wait {
            what,
            within: AGAIN,
        },
        Stuck::Never(why) => Acted::Failed(why),
    }
}
