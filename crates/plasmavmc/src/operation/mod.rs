//! Operations: work that takes longer than a request.

pub(crate) mod grpc;
pub(crate) mod rest;
pub(crate) mod service;

use jiff::Timestamp;
use photon_auth::Context;
use photon_core::Id;
use photon_reconcile::{
    Operation, OperationState, Operations,
    operation::{StepState, StepStatus},
};
use plasmavmc_model::{OperationId, Vm, id::OperationKind, key};

/// Making a VM, and its steps.
pub(crate) const CREATE: &str = "vm.create";
/// Has its units counted, and its first period held.
pub(crate) const QUOTA: &str = "quota";
/// Makes or binds the ports of its interfaces.
pub(crate) const PORTS: &str = "ports";
/// Finds it a host.
pub(crate) const PLACE: &str = "place";
/// Has its ports be on that host.
pub(crate) const BIND: &str = "bind";
/// Waits until its host has made what it needs.
pub(crate) const PREPARE: &str = "prepare";

/// Deleting a VM, and its steps.
pub(crate) const DELETE: &str = "vm.delete";
/// Has its host take it down.
pub(crate) const TAKE_DOWN: &str = "take_down";
/// Lets its ports go.
pub(crate) const RELEASE: &str = "release";
/// Gives back what it counted as, and charges what it used.
pub(crate) const SETTLE: &str = "settle";
/// Removes its record.
pub(crate) const FORGET: &str = "forget";

/// PlasmaVMC's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ours;

impl Operations for Ours {
    type Kind = OperationKind;
    const ROOT: &'static str = "/photon/plasmavmc/operation/";

    fn index(id: Id<OperationKind>) -> String {
        index(id)
    }
}

/// An operation of PlasmaVMC.
pub(crate) type VmOperation = Operation<Ours>;

/// The key that leads from the id to the record.
pub(crate) fn index(id: OperationId) -> String {
    key::by_id("operation", id)
}

/// A new operation on a VM, as the caller of a request asks for it.
pub(crate) fn begin(kind: &str, vm: &Vm, ctx: &Context, now: Timestamp) -> VmOperation {
    let steps: &[&str] = match (kind, vm.interfaces.is_empty()) {
        (DELETE, true) => &[TAKE_DOWN, SETTLE, FORGET],
        (DELETE, false) => &[TAKE_DOWN, RELEASE, SETTLE, FORGET],
        (_, true) => &[QUOTA, PLACE, PREPARE],
        (_, false) => &[QUOTA, PORTS, PLACE, BIND, PREPARE],
    };
    let mut operation = Operation {
        id: OperationId::generate(),
        kind: kind.to_owned(),
        target: vm.id.to_string(),
        org: vm.org.clone(),
        project: vm.project.clone(),
        by: ctx.caller.who.to_string(),
        state: OperationState::Running,
        steps: steps
            .iter()
            .map(|name| StepStatus {
                name: (*name).to_owned(),
                state: StepState::Waiting,
            })
            .collect(),
        // Not in whole seconds: a deadline counts from here.
        step_since: Timestamp::now(),
        waiting_for: String::new(),
        error: String::new(),
        cancel: false,
        log: Vec::new(),
        created_at: now,
        updated_at: now,
        ended_at: None,
    };
    operation.say("begun", now);
    operation
}
