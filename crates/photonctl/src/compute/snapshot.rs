//! `photonctl snapshot`.

use reqwest::Method;

use super::{
    cli::{Snapshot, SnapshotOf},
    vm::VM,
    volume::VOLUME,
    wait,
};
use crate::{
    failure::Failure,
    rest::{
        Body,
        client::Call,
        kind::Kind,
        things::{Things, of},
    },
};

pub(super) const SNAPSHOT: Kind = Kind {
    what: "snapshot",
    prefix: "snap",
    path: "snapshots",
    plural: "snapshots",
    known_by: "name",
    is_asked_for: false,
    is_owned: true,
    columns: &[
        "id",
        "name",
        "state",
        "vm_id",
        "volume_id",
        "memory",
        "taken_at",
        "project_id",
        "state_reason",
    ],
};

const READY: &[&str] = &["Ready"];

pub(super) async fn run(snapshots: &Things<'_>, command: Snapshot) -> Result<(), Failure> {
    match command {
        Snapshot::Create {
            name,
            of: SnapshotOf { vm, volume },
            wait,
            whose,
            once,
        } => {
            let vm = snapshots.maybe_id(&VM, vm.as_deref(), &whose).await?;
            let volume = volume.as_deref();
            let volume = snapshots.maybe_id(&VOLUME, volume, &whose).await?;
            let body = Body::default()
                .set("name", name)
                .maybe("vm_id", vm)
                .maybe("volume_id", volume);
            let made = snapshots.make(&SNAPSHOT, body, once).await?;
            let Some(patience) = wait.patience() else {
                return snapshots.print(made);
            };
            let then = wait::until_in(snapshots, &SNAPSHOT, &made, &whose, READY, patience);
            then.await?
                .map_or(Ok(()), |snapshot| snapshots.print(snapshot))
        }
        Snapshot::Get { snapshot, whose } => snapshots.get(&SNAPSHOT, whose.named(&snapshot)).await,
        Snapshot::List {
            vm,
            volume,
            whose,
            page,
        } => {
            let vm = snapshots.maybe_id(&VM, vm.as_deref(), &whose).await?;
            let volume = volume.as_deref();
            let volume = snapshots.maybe_id(&VOLUME, volume, &whose).await?;
            let own = [("vm_id", vm), ("volume_id", volume)];
            let filters = [&whose.filters()[..], &own].concat();
            snapshots.list(&SNAPSHOT, &filters, page).await
        }
        Snapshot::Revert {
            snapshot,
            disks_only,
            wait,
            whose,
        } => {
            let id = snapshots.id_of(&SNAPSHOT, &whose.named(&snapshot)).await?;
            let path = ["api", "v1", SNAPSHOT.path, &id, "revert"];
            let body = Body::default().maybe("memory", disks_only.then_some(false));
            let call = Call::post(&path, body.into());
            let asked = snapshots.service.call(of(&SNAPSHOT, &whose, call)).await?;
            let Some(patience) = wait.patience() else {
                return snapshots.print(asked);
            };
            // How it goes, what it is of says.
            let call = of(&SNAPSHOT, &whose, Call::get(&path[..4]));
            let snapshot = snapshots.service.call(call).await?;
            let (kind, field) = match snapshot["vm_id"].is_string() {
                true => (&VM, "vm_id"),
                false => (&VOLUME, "volume_id"),
            };
            let of_what = snapshot[field].as_str().unwrap_or_default();
            let then = wait::until_reverted(snapshots, kind, of_what, &whose, patience);
            then.await?.map_or(Ok(()), |thing| snapshots.print(thing))
        }
        Snapshot::Delete {
            snapshot,
            wait,
            whose,
        } => {
            let id = snapshots.id_of(&SNAPSHOT, &whose.named(&snapshot)).await?;
            let path = ["api", "v1", SNAPSHOT.path, &id];
            let call = of(&SNAPSHOT, &whose, Call::new(Method::DELETE, &path));
            let asked = snapshots.service.call(call).await?;
            if let Some(patience) = wait.patience() {
                wait::until_in(snapshots, &SNAPSHOT, &asked, &whose, &[], patience).await?;
            }
            wait::say_deleted(snapshots, &id, &asked, wait.wait)
        }
    }
}
