//! Images of disks on real hosts: in by the door, from host to host, and under real guests.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use bytes::Bytes;
use photon_core::{Code, Name};
use photon_testkit::{eventually, skip};
use plasmavmc_door::{
    At, Doors,
    blobs::{Blob, Should},
};
use plasmavmc_model::{
    Boot, DesiredBlob, DesiredDisk, DesiredVm, Digest, DiskFormat, Holder, ObservedState, Power,
    desired,
};

use crate::lab::{Lab, SOON};

const SAYS: &str = "PHOTON-DISK-BOOTED";
const SIZE: usize = 4 << 20;

/// A disk whose first sector writes itself into the second, says so on the serial port, and stands still.
fn disk(tail: u8) -> Vec<u8> {
    let code: [u8; 38] = [
        0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, // ax, ds, es = 0
        0xb8, 0x01, 0x03, 0xbb, 0x00, 0x7c, 0xb9, 0x02, 0x00, 0xba, 0x80, 0x00, 0xcd,
        0x13, // write it
        0xfc, 0xbe, 0x26, 0x7c, // the text
        0xac, 0x84, 0xc0, 0x74, 0x06, 0xba, 0xf8, 0x03, 0xee, 0xeb,
        0xf5, // each letter to the port
        0xf4, 0xeb, 0xfd, // halt
    ];
    let mut disk = vec![tail; SIZE];
    disk[..512].fill(0);
    disk[..code.len()].copy_from_slice(&code);
    let text = format!("{SAYS}\r\n\0");
    disk[code.len()..code.len() + text.len()].copy_from_slice(text.as_bytes());
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}

async fn at(lab: &Lab) -> At {
    At {
        host: lab.host.clone(),
        url: lab.told_agent().await.door.expect("a door"),
    }
}

pub(crate) async fn upload(
    lab: &Lab,
    disk: &[u8],
    format: &str,
) -> Result<Blob, photon_core::Error> {
    let (doors, at) = (Doors::new(None), at(lab).await);
    let name = Name::new("upload").unwrap();
    let bytes = disk.len() as u64;
    assert_eq!(doors.begin(&at, &name, bytes).await?, 0);
    let pieces: Vec<Bytes> = disk.chunks(1 << 20).map(Bytes::copy_from_slice).collect();
    let data = Box::pin(futures::stream::iter(pieces));
    assert_eq!(doors.write(&at, &name, 0, data).await?, bytes);
    let should = Should {
        digest: Some(Digest::of(disk)),
        format: Some(format.to_owned()),
        most_virtual_bytes: 0,
    };
    doors.finish(&at, &name, &should).await
}

async fn vm(lab: &Lab, digest: Digest, format: DiskFormat) -> DesiredVm {
    let mut vm = lab.vm("").await;
    vm.boots_from = Boot::Disk;
    vm.disks.push(DesiredDisk {
        pool: None,
        volume: None,
        name: Name::new("root").unwrap(),
        size_gib: 1,
        base: Some(digest),
        base_format: format,
    });
    vm
}

/// The bytes that a guest sees.
fn seen_by_guest(overlay: &Path) -> Vec<u8> {
    let raw = overlay.with_extension("raw");
    let mut convert = Command::new("qemu-img");
    convert.args(["convert", "-U", "-O", "raw"]);
    assert!(convert.arg(overlay).arg(&raw).status().unwrap().success());
    let seen = fs::read(&raw).unwrap();
    fs::remove_file(raw).unwrap();
    seen
}

pub(crate) async fn until_held(lab: &Lab, digest: Digest) {
    let held = || async { lab.told_agent().await.holds(digest).then_some(()) };
    eventually("the content is told", SOON, held).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_boots_from_a_disk_over_an_image_that_stays_as_it_was() {
    let test = "a_guest_boots_from_a_disk_over_an_image_that_stays_as_it_was";
    let Some(lab) = Lab::or_skip(test).await else {
        return;
    };
    let image = disk(0);
    let blob = upload(&lab, &image, "raw").await.unwrap();
    assert_eq!((blob.bytes, blob.virtual_bytes), (SIZE as u64, SIZE as u64));
    until_held(&lab, blob.digest).await;
    let mut vm = vm(&lab, blob.digest, DiskFormat::Raw).await;
    lab.want(&vm).await;
    lab.until_said(vm.id, SAYS, 1).await;

    // Nothing that a VM needs is deleted, nor what came just now.
    let refused = Doors::new(None).delete(&at(&lab).await, blob.digest).await;
    assert_eq!(refused.unwrap_err().code(), Code::FAILED_PRECONDITION);

    vm.generation += 1;
    vm.power = Power::Stopped;
    vm.grace_seconds = 0;
    lab.want(&vm).await;
    lab.until_state(&vm, ObservedState::Stopped).await;
    let files = lab.state.join("vm").join(vm.id.to_string());
    let seen = seen_by_guest(&files.join("root.qcow2"));
    assert_eq!(seen.len(), 1 << 30);
    assert_eq!(seen[512..1024], image[..512], "the guest has written");
    let held = lab.state.join("images/files").join(blob.digest.to_string());
    assert!(
        fs::read(&held).unwrap() == image,
        "the image was written to"
    );
    let mode = fs::metadata(&held).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o444);
    lab.order_away(vm.id).await;
    lab.until_gone(vm.id).await;
    assert!(held.exists());
}

/// A small file system, mounted as long as this lives.
struct Mounted(PathBuf);

impl Mounted {
    fn at(place: &Path, megabytes: u64) -> Option<Self> {
        let image = place.with_extension("img");
        fs::create_dir_all(place).unwrap();
        let file = fs::File::create(&image).unwrap();
        file.set_len(megabytes << 20).unwrap();
        let run = |command: &mut Command| command.output().is_ok_and(|done| done.status.success());
        let is_there = run(Command::new("mkfs.ext4")
            .args(["-q", "-m", "0"])
            .arg(&image))
            && run(Command::new("mount")
                .args(["-o", "loop"])
                .arg(&image)
                .arg(place));
        is_there.then(|| Self(place.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_stands_still_while_the_disk_is_full_and_goes_on() {
    let test = "a_guest_stands_still_while_the_disk_is_full_and_goes_on";
    let Some(lab) = Lab::or_skip(test).await else {
        return;
    };
    let blob = upload(&lab, &disk(0), "raw").await.unwrap();
    let Some(_mounted) = Mounted::at(&lab.state.join("vm"), 200) else {
        skip::report(test, "no file system can be mounted");
        return;
    };
    let mut vm = vm(&lab, blob.digest, DiskFormat::Raw).await;
    vm.power = Power::Stopped;
    vm.boot = 0;
    lab.want(&vm).await;
    lab.until_state(&vm, ObservedState::Stopped).await;
    // Room for what the agent writes down, not for a cluster of the disk.
    let filler = lab.state.join("vm/filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    let full = file.metadata().unwrap().len();
    file.set_len(full - (48 << 10)).unwrap();
    file.sync_all().unwrap();

    vm.generation += 1;
    vm.power = Power::Running;
    vm.boot = 1;
    lab.want(&vm).await;
    let paused = lab.until_state(&vm, ObservedState::Paused).await;
    assert!(paused.reason.contains("is full"), "{}", paused.reason);
    assert!(!lab.console(vm.id).contains(SAYS));
    fs::remove_file(&filler).unwrap();
    drop(file);
    lab.until_said(vm.id, SAYS, 1).await;
    lab.until_state(&vm, ObservedState::Running).await;
    lab.order_away(vm.id).await;
    lab.until_gone(vm.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_is_copied_from_the_host_that_has_it() {
    let test = "content_is_copied_from_the_host_that_has_it";
    let (Some(here), Some(mut there)) = (Lab::or_skip(test).await, Lab::or_skip(test).await) else {
        return;
    };
    let image = disk(7);
    let blob = upload(&here, &image, "raw").await.unwrap();
    let vm = vm(&there, blob.digest, DiskFormat::Raw).await;
    // A holder that is away comes first.
    let holder = |door: String| Holder {
        host: Name::new("other").unwrap(),
        door,
    };
    let mut wanted = DesiredBlob {
        digest: blob.digest,
        bytes: blob.bytes,
        from: vec![holder("http://127.0.0.1:1".to_owned())],
    };
    there.want_blob(&wanted).await;
    there.want(&vm).await;
    let failed = there.until_state(&vm, ObservedState::Failed).await;
    assert!(
        failed.reason.contains("cannot be copied"),
        "{}",
        failed.reason
    );
    // The agent is killed meanwhile; then another holder is told.
    there.kill();
    wanted.from.push(holder(at(&here).await.url));
    there.want_blob(&wanted).await;
    there.start();
    until_held(&there, blob.digest).await;
    there.until_said(vm.id, SAYS, 1).await;
    let held = there
        .state
        .join("images/files")
        .join(blob.digest.to_string());
    assert!(fs::read(held).unwrap() == image);
    let uploads = fs::read_dir(there.state.join("images/uploads")).unwrap();
    assert_eq!(uploads.count(), 0);
    there
        .remove::<DesiredBlob>(&desired::blob_key(&there.host, blob.digest))
        .await;
    there.order_away(vm.id).await;
    there.until_gone(vm.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_lies_is_refused_at_the_door() {
    let Some(lab) = Lab::or_skip("a_disk_that_lies_is_refused_at_the_door").await else {
        return;
    };
    let refused = upload(&lab, &disk(0), "qcow2").await.unwrap_err();
    assert_eq!(refused.code(), Code::VALIDATION_ERROR);
    assert_eq!(refused.details().unwrap()["field"], "format");
    let uploads = fs::read_dir(lab.state.join("images/uploads")).unwrap();
    assert_eq!(uploads.count(), 0);
    let unknown = Doors::new(None);
    let read = unknown.read(&at(&lab).await, Digest::of(b"no"), 0).await;
    assert_eq!(read.err().unwrap().code(), Code::NOT_FOUND);
}
