//! `photonctl vm`.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    cli::{Goal, Label, State, Vm},
    console, volume,
    wait::{self, Asked},
};
use crate::{
    failure::Failure,
    output::{self, Format},
    rest::{
        Body,
        cli::{Named, Whose},
        client::Call,
        kind::Kind,
        things::{Things, of},
    },
};

pub(super) const VM: Kind = Kind {
    what: "VM",
    prefix: "vm",
    path: "vms",
    plural: "vms",
    known_by: "name",
    is_asked_for: true,
    is_owned: true,
    columns: &[
        "id",
        "name",
        "state",
        "cpus",
        "memory_mb",
        "image_id",
        "networks",
        "host_id",
        "project_id",
        "state_reason",
    ],
};

pub(super) async fn run(vms: &Things<'_>, command: Box<Vm>) -> Result<(), Failure> {
    match *command {
        Vm::Create {
            name,
            cpus,
            memory,
            disk,
            image,
            hypervisor,
            subnets,
            ports,
            groups,
            start,
            reservation,
            labels,
            deletion_protection,
            hostname,
            ssh_keys,
            user_data,
            wait,
            whose,
            once,
        } => {
            let networks = networks(subnets, ports, &groups);
            let ssh_keys = console::public_keys(ssh_keys)?;
            let user_data = user_data.as_deref().map(console::user_data).transpose()?;
            let body = Body::default()
                .set("name", name)
                .set("vcpus", cpus)
                .set("memory_mib", memory)
                .maybe("disk_size_gb", disk)
                .maybe("image_id", image)
                .maybe("hypervisor", hypervisor.map(|hypervisor| hypervisor.word()))
                .maybe("networks", networks)
                .maybe("reservation_id", reservation)
                .maybe("hostname", hostname)
                .maybe("ssh_keys", (!ssh_keys.is_empty()).then_some(ssh_keys))
                .maybe("user_data", user_data)
                .maybe("start", start.then_some(true))
                .maybe("deletion_protection", deletion_protection.then_some(true));
            let body = with_labels(body, labels, false);
            let body = vms.at_home(body, whose.clone()).await?;
            let made = vms.make(&VM, body, once).await?;
            let goal = if start { Goal::Running } else { Goal::Stopped };
            settle(vms, made, goal, wait.patience(), &whose).await
        }
        Vm::Get { vm, whose } => vms.get(&VM, whose.named(&vm)).await,
        Vm::List {
            name,
            state,
            whose,
            page,
        } => {
            let state = state.and_then(State::word);
            let filters = [&whose.filters()[..], &[("name", name), ("state", state)]].concat();
            vms.list(&VM, &filters, page).await
        }
        Vm::Start { vm, wait, whose } => {
            let asked = act(vms, whose.named(&vm), "start", Body::default()).await?;
            settle(vms, asked, Goal::Running, wait.patience(), &whose).await
        }
        Vm::Stop {
            vm,
            force,
            wait,
            whose,
        } => {
            let body = Body::default().set("force", force);
            let asked = act(vms, whose.named(&vm), "stop", body).await?;
            settle(vms, asked, Goal::Stopped, wait.patience(), &whose).await
        }
        Vm::Reboot {
            vm,
            force,
            wait,
            whose,
        } => {
            let body = Body::default().set("force", force);
            let asked = act(vms, whose.named(&vm), "reboot", body).await?;
            settle(vms, asked, Goal::Running, wait.patience(), &whose).await
        }
        Vm::Pause { vm, wait, whose } => {
            let asked = act(vms, whose.named(&vm), "pause", Body::default()).await?;
            settle(vms, asked, Goal::Paused, wait.patience(), &whose).await
        }
        Vm::Resume { vm, wait, whose } => {
            let asked = act(vms, whose.named(&vm), "resume", Body::default()).await?;
            settle(vms, asked, Goal::Running, wait.patience(), &whose).await
        }
        Vm::Suspend { vm, wait, whose } => {
            let asked = act(vms, whose.named(&vm), "suspend", Body::default()).await?;
            settle(vms, asked, Goal::Suspended, wait.patience(), &whose).await
        }
        Vm::Resize {
            vm,
            size,
            wait,
            whose,
        } => {
            let body = Body::default()
                .maybe("vcpus", size.cpus)
                .maybe("memory_mib", size.memory)
                .maybe("disk_size_gb", size.disk);
            let asked = act(vms, whose.named(&vm), "resize", body).await?;
            settle(vms, asked, Goal::Stopped, wait.patience(), &whose).await
        }
        Vm::Attach {
            vm,
            volume,
            wait,
            whose,
        } => volume::attach(vms, &volume, &vm, wait, &whose).await,
        Vm::Detach {
            vm,
            volume,
            wait,
            whose,
        } => volume::detach(vms, &volume, Some(&vm), wait, &whose).await,
        Vm::Update {
            vm,
            name,
            labels,
            no_labels,
            deletion_protection,
            no_deletion_protection,
            whose,
            only,
        } => {
            let is_told = deletion_protection || no_deletion_protection;
            let body = Body::default().maybe("name", name).maybe(
                "deletion_protection",
                is_told.then_some(deletion_protection),
            );
            let body = with_labels(body, labels, no_labels);
            vms.update(&VM, whose.named(&vm), body, &only).await
        }
        Vm::Delete {
            vm,
            wait,
            whose,
            only,
        } => {
            let id = vms.id_of(&VM, &whose.named(&vm)).await?;
            let path = ["api", "v1", VM.path, &id];
            let call = Call::new(Method::DELETE, &path).if_revision(only.if_revision);
            let asked = vms.service.call(of(&VM, &whose, call)).await?;
            delete(vms, &id, asked, wait.patience(), &whose).await
        }
        Vm::Log {
            vm,
            follow,
            raw,
            whose,
        } => console::log(vms, whose.named(&vm), follow, raw).await,
        Vm::Guest { vm, whose } => {
            let id = vms.id_of(&VM, &whose.named(&vm)).await?;
            let path = ["api", "v1", VM.path, &id, "guest"];
            vms.show(of(&VM, &whose, Call::get(&path))).await
        }
        Vm::Console { vm, whose } => console::console(vms, whose.named(&vm)).await,
        Vm::Wait {
            vm,
            goal,
            within,
            whose,
        } => wait_for(vms, whose.named(&vm), goal, within.patience()).await,
    }
}

/// Asks for something to be done to a VM, and returns the VM as it then is.
async fn act(vms: &Things<'_>, named: Named<'_>, verb: &str, body: Body) -> Result<Value, Failure> {
    let id = vms.id_of(&VM, &named).await?;
    let path = ["api", "v1", VM.path, &id, verb];
    // To be asked twice to run comes to the same; to be rebooted twice does not, and what is suspended already is refused.
    let is_repeatable = !["reboot", "suspend", "resize"].contains(&verb);
    let call = Call::post(&path, body.into()).repeatable(is_repeatable);
    vms.service.call(of(&VM, named.whose, call)).await
}

/// Prints a VM of which something was asked; if that is to be waited for, as it is then.
async fn settle(
    vms: &Things<'_>,
    asked: Value,
    goal: Goal,
    patience: Option<Duration>,
    whose: &Whose,
) -> Result<(), Failure> {
    let Some(patience) = patience else {
        return vms.print(asked);
    };
    let id = wait::id(vms, &asked)?;
    let since = Some(Asked::of(&asked));
    match wait::until(vms, id, whose, Some(goal), since, patience).await {
        Ok(Some(vm)) => vms.print(vm),
        Ok(None) => Ok(()),
        // A VM names its operation only while it goes on.
        Err(failure) => Err(match asked["operation_id"].as_str() {
            Some(operation) => failure.with_hint(&format!(
                "what happened: photonctl operation get {operation}"
            )),
            None => failure,
        }),
    }
}

/// Says that a VM goes; if that is to be waited for, that it is gone.
async fn delete(
    vms: &Things<'_>,
    id: &str,
    asked: Value,
    patience: Option<Duration>,
    whose: &Whose,
) -> Result<(), Failure> {
    if let Some(patience) = patience {
        let since = Some(Asked::of(&asked));
        wait::until(vms, id, whose, Some(Goal::Gone), since, patience).await?;
    }
    wait::say_deleted(vms, id, &asked, patience.is_some())
}

/// Waits for a VM, and prints it as it is then.
async fn wait_for(
    vms: &Things<'_>,
    named: Named<'_>,
    goal: Option<Goal>,
    patience: Duration,
) -> Result<(), Failure> {
    let found = vms.id_of(&VM, &named).await;
    let ended = match found {
        Ok(id) => wait::until(vms, &id, named.whose, goal, None, patience).await?,
        // What is not there is gone.
        Err(missing) if missing.is_not_found() && goal == Some(Goal::Gone) => None,
        Err(failure) => return Err(failure),
    };
    match ended {
        Some(vm) => vms.print(vm),
        None if vms.format == Format::Human => output::line(&format!("{} is gone", named.text)),
        None => Ok(()),
    }
}

/// Interfaces in order; nothing for a VM without any.
fn networks(subnets: Vec<String>, ports: Vec<String>, groups: &[String]) -> Option<Value> {
    let subnets = subnets.into_iter().map(|subnet| match groups {
        [] => json!({ "subnet_id": subnet }),
        groups => json!({ "subnet_id": subnet, "security_group_ids": groups }),
    });
    let ports = ports.into_iter().map(|port| json!({ "port_id": port }));
    let networks: Vec<Value> = subnets.chain(ports).collect();
    (!networks.is_empty()).then_some(networks.into())
}

/// All of them, or nothing is said of them.
pub(super) fn with_labels(body: Body, labels: Vec<Label>, none: bool) -> Body {
    if labels.is_empty() && !none {
        return body;
    }
    let labels: Map<String, Value> = labels
        .into_iter()
        .map(|Label { key, value }| (key, value.into()))
        .collect();
    body.set("labels", labels)
}

/// A VM with what is nested in it as people write it.
pub(super) fn for_people(mut vm: Value) -> Value {
    if let Some(labels) = vm.get_mut("labels").filter(|labels| labels.is_object()) {
        let label = |(key, value): (&String, &Value)| format!("{key}={}", output::cell(value));
        let labels_shown: Vec<String> = labels
            .as_object()
            .into_iter()
            .flatten()
            .map(label)
            .collect();
        *labels = labels_shown.join(", ").into();
    }
    if let Some(networks) = vm.get_mut("networks")
        && let Some(all) = networks.as_array()
    {
        let of = |network: &Value| {
            let known = ["ip_address", "port_id", "subnet_id"].into_iter();
            let found = known.filter_map(|member| network[member].as_str()).next();
            found.unwrap_or_default().to_owned()
        };
        let shown: Vec<String> = all.iter().map(of).collect();
        *networks = shown.join(", ").into();
    }
    if let Some(hold) = vm.get_mut("hold").filter(|hold| hold.is_object()) {
        let of = |name: &str| output::cell(&hold[name]);
        let until = match &hold["until"] {
            Value::Null => String::new(),
            until => format!(", until {}", output::cell(until)),
        };
        *hold = format!("{} in {}{until}", of("amount"), of("reservation_id")).into();
    }
    vm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_shown_by_their_addresses_and_asked_for_in_order() {
        let shown = for_people(json!({"networks": [
            {"ip_address": "10.0.1.2", "port_id": "port-1"},
            {"ip_address": null, "port_id": "port-2"},
            {"ip_address": null, "port_id": null, "subnet_id": "subnet-1"},
        ]}));
        assert_eq!(shown["networks"], "10.0.1.2, port-2, subnet-1");
        let asked = networks(
            vec!["s".to_owned()],
            vec!["p".to_owned()],
            &["g".to_owned()],
        );
        let expected = json!([{"subnet_id": "s", "security_group_ids": ["g"]}, {"port_id": "p"}]);
        assert_eq!(asked, Some(expected));
        assert_eq!(networks(Vec::new(), Vec::new(), &[]), None);
    }

    #[test]
    fn what_is_held_is_shown_in_a_line() {
        let mut hold = json!({"reservation_id": "rsv-1", "amount": 68, "until": null});
        let shown =
            |hold: &Value| for_people(json!({ "id": "vm-1", "hold": hold }))["hold"].clone();
        assert_eq!(shown(&hold), "68 in rsv-1");
        hold["until"] = json!("2026-11-23T01:00:00Z");
        assert_eq!(shown(&hold), "68 in rsv-1, until 2026-11-23T01:00:00Z");
        assert_eq!(shown(&Value::Null), Value::Null);
    }

    #[test]
    fn labels_are_shown_as_people_write_them() {
        let shown = for_people(json!({"id": "vm-1", "labels": {"tier": "web", "zone": "a"}}));
        assert_eq!(shown["labels"], "tier=web, zone=a");
        assert_eq!(for_people(json!({"id": "vm-1"})), json!({"id": "vm-1"}));
    }
}
