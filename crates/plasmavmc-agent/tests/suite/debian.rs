//! A guest as most are: Debian with cloud-init, of `deploy/guest/debian-cloud`. Only in `tests/run long`: its image takes minutes to be made,
//! and it boots emulated.

use std::{fs, time::Duration};

use photon_core::Name;
use photon_testkit::{eventually, skip};
use plasmavmc_model::{
    Boot, DesiredDisk, DesiredGuest, DiskFormat, EndedBy, Guest, GuestData, Hostname,
    ObservedState, Power, SshKey, UserData,
};

use crate::{
    images::upload,
    lab::{Lab, built},
};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS ann";
/// Said once, by what cloud-init runs at the end.
const SCRIPT: &str = "#!/bin/sh
keys=$(grep -c 'ssh-ed25519 AAAA' /home/debian/.ssh/authorized_keys)
gib=$(df --block-size=1G --output=size / | tail -1 | tr -d ' ')
echo \"TOLD host=$(hostname) keys=$keys gib=$gib by $(cloud-init query platform)\" >/dev/console
";
/// From power on until then, on a machine that others use, too.
const BOOTED: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn cloud_init_does_what_a_guest_is_told() {
    let test = "cloud_init_does_what_a_guest_is_told";
    if std::env::var_os("PHOTON_LONG").is_none() {
        skip::report(
            &format!("plasmavmc-agent::{test}"),
            "only in tests/run long",
        );
        return;
    }
    let Some(lab) = Lab::or_skip(test).await else {
        return;
    };
    let image = built("debian-cloud").expect("an image");
    let disk = fs::read(image.join("disk.qcow2")).unwrap();
    let blob = upload(&lab, &disk, "qcow2").await.unwrap();
    assert_eq!(blob.virtual_bytes, 2 << 30);

    let data = GuestData {
        ssh_keys: vec![SshKey::try_from(KEY.to_owned()).unwrap()],
        user_data: UserData::new(SCRIPT.as_bytes().to_vec()).unwrap(),
    };
    let mut vm = lab.vm("").await;
    vm.boots_from = Boot::Disk;
    vm.memory_mib = 512;
    vm.disks.push(DesiredDisk {
        pool: None,
        volume: None,
        name: Name::new("root").unwrap(),
        size_gib: 4,
        base: Some(blob.digest),
        base_format: DiskFormat::Qcow2,
    });
    vm.guest = Some(DesiredGuest {
        guest: Guest {
            hostname: Hostname::try_from("deb-one".to_owned()).unwrap(),
            data: Some(data.digest()),
        },
        content: Some(data),
    });
    lab.want(&vm).await;
    let is_told = || async { lab.console(vm.id).contains("TOLD ").then_some(()) };
    let told = eventually("user-data has run", BOOTED, is_told).await;
    let console = lab.console(vm.id);
    told.unwrap_or_else(|error| panic!("{error}; it said: {console}"));
    // The root file system has grown with the disk.
    assert!(
        console.contains("TOLD host=deb-one keys=1 gib=4"),
        "{console}"
    );

    // It goes when it is asked.
    vm.generation += 1;
    vm.power = Power::Stopped;
    vm.grace_seconds = 90;
    lab.want(&vm).await;
    let stopped = lab.until_state(&vm, ObservedState::Stopped).await;
    assert_eq!(stopped.ended.unwrap().by, EndedBy::Asked);
    lab.order_away(vm.id).await;
    lab.until_gone(vm.id).await;
}
