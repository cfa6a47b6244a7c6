//! `photonctl volume`.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::{
    cli::{Volume, VolumeState, Wait},
    vm::{VM, with_labels},
    wait,
};
use crate::{
    failure::Failure,
    rest::{
        Body,
        cli::Whose,
        client::Call,
        kind::Kind,
        things::{Things, of},
    },
};

pub(super) const VOLUME: Kind = Kind {
    what: "volume",
    prefix: "vol",
    path: "volumes",
    plural: "volumes",
    known_by: "name",
    is_asked_for: true,
    is_owned: true,
    columns: &[
        "id",
        "name",
        "state",
        "size_gb",
        "pool",
        "vm_id",
        "host_id",
        "project_id",
        "state_reason",
    ],
};

const AVAILABLE: &[&str] = &["Available"];
const IN_USE: &[&str] = &["InUse"];
/// How a volume is that nothing is done to.
const AT_REST: &[&str] = &["Available", "InUse"];

pub(super) async fn run(volumes: &Things<'_>, command: Volume) -> Result<(), Failure> {
    match command {
        Volume::Create {
            name,
            size,
            pool,
            vm,
            labels,
            wait,
            whose,
            once,
        } => {
            let words = if vm.is_some() { IN_USE } else { AVAILABLE };
            let vm = volumes.maybe_id(&VM, vm.as_deref(), &whose).await?;
            let body = Body::default()
                .set("name", name)
                .set("size_gb", size)
                .maybe("pool", pool)
                .maybe("vm_id", vm);
            let body = with_labels(body, labels, false);
            let body = volumes.at_home(body, whose.clone()).await?;
            let made = volumes.make(&VOLUME, body, once).await?;
            settle(volumes, made, words, wait.patience(), &whose).await
        }
        Volume::Get { volume, whose } => volumes.get(&VOLUME, whose.named(&volume)).await,
        Volume::List {
            name,
            state,
            vm,
            whose,
            page,
        } => {
            let state = state.and_then(VolumeState::word);
            let vm = volumes.maybe_id(&VM, vm.as_deref(), &whose).await?;
            let own = [("name", name), ("state", state), ("vm_id", vm)];
            let filters = [&whose.filters()[..], &own].concat();
            volumes.list(&VOLUME, &filters, page).await
        }
        Volume::Update {
            volume,
            name,
            labels,
            no_labels,
            whose,
            only,
        } => {
            let body = with_labels(Body::default().maybe("name", name), labels, no_labels);
            let named = whose.named(&volume);
            volumes.update(&VOLUME, named, body, &only).await
        }
        Volume::Attach {
            volume,
            vm,
            wait,
            whose,
        } => attach(volumes, &volume, &vm, wait, &whose).await,
        Volume::Detach {
            volume,
            wait,
            whose,
        } => detach(volumes, &volume, None, wait, &whose).await,
        Volume::Resize {
            volume,
            size,
            wait,
            whose,
        } => {
            let body = Body::default().set("size_gb", size);
            let asked = act(volumes, &volume, "resize", body, &whose).await?;
            settle(volumes, asked, AT_REST, wait.patience(), &whose).await
        }
        Volume::Delete {
            volume,
            wait,
            whose,
            only,
        } => {
            let id = volumes.id_of(&VOLUME, &whose.named(&volume)).await?;
            let path = ["api", "v1", VOLUME.path, &id];
            let call = Call::new(Method::DELETE, &path).if_revision(only.if_revision);
            let asked = volumes.service.call(of(&VOLUME, &whose, call)).await?;
            if let Some(patience) = wait.patience() {
                wait::until_in(volumes, &VOLUME, &asked, &whose, &[], patience).await?;
            }
            wait::say_deleted(volumes, &id, &asked, wait.wait)
        }
    }
}

/// Attaches a volume to a VM; both may be named.
pub(super) async fn attach(
    things: &Things<'_>,
    volume: &str,
    vm: &str,
    wait: Wait,
    whose: &Whose,
) -> Result<(), Failure> {
    let vm = things.id_of(&VM, &whose.named(vm)).await?;
    let body = Body::default().set("vm_id", vm);
    let asked = act(things, volume, "attach", body, whose).await?;
    settle(things, asked, IN_USE, wait.patience(), whose).await
}

/// Takes a volume from the VM that has it; if that is named, from no other.
pub(super) async fn detach(
    things: &Things<'_>,
    volume: &str,
    vm: Option<&str>,
    wait: Wait,
    whose: &Whose,
) -> Result<(), Failure> {
    if let Some(vm) = vm {
        let vm = things.id_of(&VM, &whose.named(vm)).await?;
        let id = things.id_of(&VOLUME, &whose.named(volume)).await?;
        let path = ["api", "v1", VOLUME.path, &id];
        let found = things
            .service
            .call(of(&VOLUME, whose, Call::get(&path)))
            .await?;
        if found["vm_id"] != vm {
            let message = format!("{vm} does not have the volume {volume}");
            return Err(Failure::refused(message));
        }
    }
    let asked = act(things, volume, "detach", Body::default(), whose).await?;
    settle(things, asked, AVAILABLE, wait.patience(), whose).await
}

/// Asks for something to be done to a volume, and returns it as it then is. Not twice: what is attached already is refused.
async fn act(
    things: &Things<'_>,
    volume: &str,
    verb: &str,
    body: Body,
    whose: &Whose,
) -> Result<Value, Failure> {
    let id = things.id_of(&VOLUME, &whose.named(volume)).await?;
    let path = ["api", "v1", VOLUME.path, &id, verb];
    let call = Call::post(&path, body.into());
    things.service.call(of(&VOLUME, whose, call)).await
}

/// Prints a volume of which something was asked; if that is to be waited for, as it is then.
async fn settle(
    things: &Things<'_>,
    asked: Value,
    words: &[&str],
    patience: Option<Duration>,
    whose: &Whose,
) -> Result<(), Failure> {
    let Some(patience) = patience else {
        return things.print(asked);
    };
    let then = wait::until_in(things, &VOLUME, &asked, whose, words, patience).await?;
    then.map_or(Ok(()), |volume| things.print(volume))
}
