//! What each method needs. Start fails when one of the proto's is missing here.

use photon_auth::grpc::Guard;

/// The methods that make no thing that a key could stand for, and the permission each is decided by: those of the REST routes
/// to the same use cases.
const NEEDS: &[(&str, &str)] = &[
    ("Vms/Get", "plasmavmc.vms.get"),
    ("Vms/List", "plasmavmc.vms.list"),
    ("Vms/Update", "plasmavmc.vms.update"),
    ("Vms/GetGuest", "plasmavmc.vms.update"),
    ("Vms/GetConsole", "plasmavmc.vms.console"),
    ("Vms/Console", "plasmavmc.vms.console"),
    ("Vms/Delete", "plasmavmc.vms.delete"),
    ("Vms/Start", "plasmavmc.vms.start"),
    ("Vms/Stop", "plasmavmc.vms.stop"),
    ("Vms/Reboot", "plasmavmc.vms.reboot"),
    ("Vms/Pause", "plasmavmc.vms.pause"),
    ("Vms/Resume", "plasmavmc.vms.resume"),
    ("Vms/Suspend", "plasmavmc.vms.suspend"),
    ("Vms/Resize", "plasmavmc.vms.resize"),
    ("Images/Get", "plasmavmc.images.get"),
    ("Images/List", "plasmavmc.images.list"),
    ("Images/Update", "plasmavmc.images.update"),
    ("Images/Delete", "plasmavmc.images.delete"),
    ("Snapshots/Get", "plasmavmc.snapshots.get"),
    ("Snapshots/List", "plasmavmc.snapshots.list"),
    ("Snapshots/Delete", "plasmavmc.snapshots.delete"),
    ("Snapshots/Revert", "plasmavmc.snapshots.revert"),
    ("Volumes/Get", "plasmavmc.volumes.get"),
    ("Volumes/List", "plasmavmc.volumes.list"),
    ("Volumes/Update", "plasmavmc.volumes.update"),
    ("Volumes/Delete", "plasmavmc.volumes.delete"),
    ("Volumes/Attach", "plasmavmc.volumes.attach"),
    ("Volumes/Detach", "plasmavmc.volumes.detach"),
    ("Volumes/Resize", "plasmavmc.volumes.resize"),
    ("Pools/Get", "plasmavmc.pools.get"),
    ("Pools/List", "plasmavmc.pools.list"),
    ("Hosts/List", "plasmavmc.hosts.list"),
    ("Operations/Get", "plasmavmc.operations.get"),
];

fn full(method: &str) -> String {
    format!("photon.plasmavmc.v1.{method}")
}

/// The table, to be put around the services that `descriptors` describe.
pub(super) fn guard(descriptors: &[u8]) -> Guard {
    let guard = Guard::of(descriptors)
        .create(&full("Vms/Create"), "plasmavmc.vms.create")
        .create(&full("Images/Create"), "plasmavmc.images.create")
        .create(&full("Snapshots/Create"), "plasmavmc.snapshots.create")
        .create(&full("Volumes/Create"), "plasmavmc.volumes.create");
    NEEDS.iter().fold(guard, |guard, (method, permission)| {
        guard.rpc(&full(method), permission)
    })
}
