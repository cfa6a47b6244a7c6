//! Images: registered, uploaded, chosen, copied, forgotten. Hosts are without a hypervisor, and have the real agent's door.

use std::{path::Path, process::Command};

use photon_testkit::{poll::eventually, skip};
use plasmavmc_model::Digest;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    door::DoorHost,
    house::{Answer, Caller, House, PATIENCE, VMS},
};

const IMAGES: &str = "/api/v1/images";

/// Registers an image of acme's project shop.
async fn register(caller: &Caller, more: Value) -> Answer {
    let mut body = json!({
        "name": "debian-12", "org_id": "acme", "project_id": "shop", "format": "raw",
    });
    let members = body.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    caller.post(IMAGES, body).await
}

/// Sends bytes; `range` as in the header.
async fn send(caller: &Caller, id: &str, query: &str, range: Option<&str>, data: &[u8]) -> Answer {
    let path = format!("{IMAGES}/{id}/data{query}");
    caller.bytes(Method::PUT, &path, range, data.to_vec()).await
}

/// Registers and uploads one, and returns it.
async fn uploaded(caller: &Caller, more: Value, data: &[u8]) -> Value {
    let id = register(caller, more).await.id();
    let sent = send(caller, &id, "", None, data).await;
    assert_eq!(sent.data()["state"], "Ready", "{sent:?}");
    sent.data().clone()
}

/// Until the host that holds it has told.
async fn made(caller: &Caller, more: Value) -> String {
    let vm = eventually("there is a host for it", PATIENCE, || async {
        let vm = caller.vm(more.clone()).await;
        (vm.status == 201).then(|| vm.id())
    });
    let vm = vm.await.unwrap();
    caller.until(&vm, "Stopped").await;
    vm
}

fn raw() -> Vec<u8> {
    (0..3 << 20).map(|at: u32| at.to_le_bytes()[1]).collect()
}

fn img(words: &[&str], directory: &Path) -> bool {
    let run = Command::new("qemu-img")
        .args(words)
        .current_dir(directory)
        .output();
    run.is_ok_and(|output| output.status.success())
}

fn is_skipped(test: &str) -> bool {
    let is_missing = !img(&["--version"], Path::new("/"));
    if is_missing {
        skip::report(&format!("plasmavmc::images::{test}"), "no qemu-img");
    }
    is_missing
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_uploaded_in_pieces_and_booted() {
    if is_skipped("an_image_is_uploaded_in_pieces_and_booted") {
        return;
    }
    let house = House::dev().await;
    let caller = &house.operator;
    let host = DoorHost::start(&house, "one").await;
    let data = raw();
    let digest = Digest::of(&data).to_string();
    let made_image = register(caller, json!({ "aliases": ["debian"], "sha256": digest })).await;
    let id = made_image.id();
    assert_eq!(made_image.data()["state"], "Pending");
    let refused = caller.vm(json!({ "image_id": "debian" })).await;
    assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "image_id"));
    assert_eq!(refused.details()["constraint"], "ready");

    // A piece, and one that leaves something out.
    let size = data.len();
    let (first, rest) = data.split_at(1_000_001);
    let range = format!("bytes 0-1000000/{size}");
    let sent = send(caller, &id, "", Some(&range), first).await;
    assert_eq!(sent.data()["state"], "Pending");
    let range = format!("bytes 1000002-{}/{size}", size - 1);
    let early = send(caller, &id, "", Some(&range), &rest[1..]).await;
    assert_eq!(early.error(), (409, "CONFLICT", ""));
    assert_eq!(early.details()["offset"], 1_000_001);
    let so_far = caller.get(&format!("{IMAGES}/{id}/data")).await;
    assert_eq!(so_far.data()["offset"], 1_000_001);
    assert_eq!(so_far.data()["size_bytes"], size);

    // One that breaks off in the middle: what had come is kept, by whoever goes on with it.
    cut(caller, &id, 1_000_001, size, &rest[..500_000]).await;
    let kept = eventually("what had come is kept", PATIENCE, || async {
        let so_far = caller.get(&format!("{IMAGES}/{id}/data")).await;
        if so_far.status != 200 {
            return None;
        }
        so_far.data()["offset"]
            .as_u64()
            .filter(|offset| *offset > 1_000_001)
    });
    let kept = usize::try_from(kept.await.unwrap()).unwrap();
    assert!(kept <= 1_500_001, "{kept}");
    let whole = eventually("it is whole", PATIENCE, || async {
        let so_far = caller.get(&format!("{IMAGES}/{id}/data")).await;
        let from = usize::try_from(so_far.data()["offset"].as_u64()?).unwrap();
        let range = format!("bytes {from}-{}/{size}", size - 1);
        let sent = send(caller, &id, "", Some(&range), &data[from..]).await;
        (sent.status == 200).then_some(sent)
    });
    let ready = whole.await.unwrap();
    assert_eq!(ready.data()["state"], "Ready", "{ready:?}");
    assert_eq!(ready.data()["digest"], format!("sha256:{digest}"));
    assert_eq!(ready.data()["virtual_size_bytes"], size);
    assert_eq!(host.content(&digest).unwrap(), data);
    assert_eq!(host.uploads(), 0, "what became a blob is no upload");
    let again = send(caller, &id, "", None, &data).await;
    assert_eq!(again.error(), (409, "FAILED_PRECONDITION", ""));

    // By id, name and alias; and its disk is at least as large as the image.
    for image in [id.as_str(), "debian-12", "debian"] {
        let vm = made(caller, json!({ "image_id": image })).await;
        let shown = caller.get(&format!("{VMS}/{vm}")).await;
        assert_eq!(shown.data()["disk_size_gb"], 1);
        assert_eq!(shown.data()["image_digest"], format!("sha256:{digest}"));
        let wish = host.host.wish(&vm).await;
        assert_eq!(wish.boots_from, plasmavmc_model::Boot::Disk);
        assert_eq!(wish.disks[0].base, Some(digest.parse().unwrap()));
    }
    house.stop().await;
}

/// Sends a piece whose connection ends before it does.
async fn cut(caller: &Caller, id: &str, from: usize, size: usize, sent: &[u8]) {
    use tokio::io::AsyncWriteExt as _;
    let address = caller.base.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (to, left) = (size - 1, size - from);
    let head = format!(
        "PUT {IMAGES}/{id}/data HTTP/1.1\r\nHost: {address}\r\nContent-Length: {left}\r\n\
         Content-Range: bytes {from}-{to}/{size}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(sent).await.unwrap();
    stream.flush().await.unwrap();
    // Some of it is on its way through by then.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_is_refused_and_nothing_of_it_is_left() {
    if is_skipped("what_lies_is_refused_and_nothing_of_it_is_left") {
        return;
    }
    let house = House::dev_with(|config| config.images.largest_mib = 4).await;
    let caller = &house.operator;
    let host = DoorHost::start(&house, "one").await;
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, words: &[&str]| {
        let words = [&["create", "-q", "-f", "qcow2"], words].concat();
        assert!(img(&words, directory.path()));
        std::fs::read(directory.path().join(name)).unwrap()
    };
    let good = file("good", &["good", "2G"]);
    let backed = file(
        "backed",
        &["-u", "-b", "/etc/shadow", "-F", "raw", "backed", "2G"],
    );
    let external = file("external", &["-o", "data_file=other", "external", "2G"]);
    for (format, data, constraint) in [
        ("raw", &good, "value"),
        ("qcow2", &raw(), "value"),
        ("qcow2", &backed, "backing_file"),
        ("qcow2", &external, "data_file"),
    ] {
        let image = register(caller, json!({ "format": format })).await.id();
        let refused = send(caller, &image, "", None, data).await;
        assert_eq!(
            refused.error(),
            (400, "VALIDATION_ERROR", "format"),
            "{constraint}"
        );
        assert_eq!(refused.details()["constraint"], constraint);
        assert_eq!(host.content(&Digest::of(data).to_string()), None);
        // It may be tried again, with a better file.
        let so_far = caller.get(&format!("{IMAGES}/{image}/data")).await;
        assert_eq!(
            (&so_far.data()["offset"], &so_far.data()["done"]),
            (&json!(0), &json!(false))
        );
        assert_eq!(
            caller.delete(&format!("{IMAGES}/{image}")).await.status,
            200
        );
    }
    let image = register(caller, json!({ "format": "qcow2" })).await.id();
    let wrong = Digest::of(b"other");
    let refused = send(caller, &image, &format!("?sha256={wrong}"), None, &good).await;
    assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "sha256"));
    // Whoever looks hears why it has no content yet.
    let waits = caller.get(&format!("{IMAGES}/{image}")).await;
    let reason = waits.text("state_reason");
    assert_eq!(waits.data()["state"], "Pending");
    assert!(
        reason.starts_with(
            "its disk is to be uploaded: the disk that was uploaded was refused: sha256 "
        ),
        "{reason}"
    );
    let refused = send(caller, &image, "?sha256=x", None, &good).await;
    assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "sha256"));
    let refused = send(caller, &image, "?part=kernel", None, &good).await;
    assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "part"));
    let refused = send(caller, &image, "", Some("bytes 5-1/2"), &good).await;
    assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "Content-Range"));
    let refused = send(caller, &image, "", Some("bytes 0-0/99999999999"), b"x").await;
    assert_eq!(refused.error(), (413, "PAYLOAD_TOO_LARGE", ""));
    let sent = send(caller, &image, "", None, &good).await;
    assert_eq!(sent.data()["virtual_size_bytes"], 2_u64 << 30);
    assert_eq!(sent.text("state_reason"), "");
    let small = caller
        .vm(json!({ "image_id": "debian-12", "disk_size_gb": 1 }))
        .await;
    assert_eq!(small.error(), (400, "VALIDATION_ERROR", "disk_size_gb"));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registering_says_which_field_is_wrong() {
    let house = House::dev().await;
    let caller = &house.operator;
    for (more, field) in [
        (json!({ "name": "Debian 12" }), "name"),
        (json!({ "format": "vmdk" }), "format"),
        (json!({ "visibility": "all" }), "visibility"),
        (json!({ "aliases": ["x y"] }), "aliases"),
        (json!({ "aliases": vec!["a"; 17] }), "aliases"),
        (json!({ "sha256": "abc" }), "sha256"),
        (json!({ "cmdline": "quiet" }), "cmdline"),
        (json!({ "format": "kernel", "cmdline": "a\nb" }), "cmdline"),
        (json!({ "url": "https://example.org/a" }), "url"),
        (json!({ "url": "file:///etc/passwd" }), "url"),
        (json!({ "size": 1 }), "size"),
    ] {
        let refused = register(caller, more.clone()).await;
        assert_eq!(refused.error(), (400, "VALIDATION_ERROR", field), "{more}");
    }
    register(caller, json!({ "aliases": ["debian"], "default": true }))
        .await
        .id();
    for more in [
        json!({}),
        json!({ "name": "debian" }),
        json!({ "name": "other", "aliases": ["debian-12"] }),
        json!({ "name": "other", "default": true }),
    ] {
        let refused = register(caller, more.clone()).await;
        let field = if more["default"] == true {
            "default"
        } else if more["aliases"].is_array() {
            "aliases"
        } else {
            "name"
        };
        assert_eq!(refused.error(), (409, "ALREADY_EXISTS", field), "{more}");
        assert!(!refused.message().contains("exists"), "{refused:?}");
    }
    // Another project's are its own.
    register(caller, json!({ "project_id": "other", "default": true }))
        .await
        .id();
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn own_images_come_before_public_ones_and_those_before_hosts() {
    if is_skipped("own_images_come_before_public_ones_and_those_before_hosts") {
        return;
    }
    let house = House::dev().await;
    let caller = &house.operator;
    let _host = DoorHost::start(&house, "one").await;
    let image_of = async |more: Value| {
        let vm = made(caller, more).await;
        let vm = caller.get(&format!("{VMS}/{vm}")).await;
        vm.text("image_digest")
    };
    let held = image_of(json!({})).await;
    let name = json!({ "name": "photon-mini", "visibility": "public", "project_id": "infra", "default": true });
    let public = uploaded(caller, name, b"public").await;
    assert_eq!(
        image_of(json!({ "image_id": "photon-mini" })).await,
        public["digest"]
    );
    // The default, too.
    assert_eq!(image_of(json!({})).await, public["digest"]);
    let own = uploaded(
        caller,
        json!({ "name": "photon-mini", "default": true }),
        b"own",
    )
    .await;
    assert_eq!(
        image_of(json!({ "image_id": "photon-mini" })).await,
        own["digest"]
    );
    assert_eq!(image_of(json!({})).await, own["digest"]);
    let others = json!({ "image_id": own["id"], "project_id": "other" });
    let refused = caller.vm(others).await;
    assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "image_id"));
    assert_eq!(
        image_of(json!({ "image_id": public["id"], "project_id": "other" })).await,
        public["digest"]
    );
    let listed = caller
        .get(&format!("{IMAGES}?name=photon-mini&project_id=shop"))
        .await;
    let images = listed.data()["images"].as_array().unwrap().clone();
    let seen: Vec<&str> = images
        .iter()
        .map(|image| image["visibility"].as_str().unwrap())
        .collect();
    assert_eq!(seen, ["host", "public", "project"]);
    // Forgotten, they mean what is left.
    for image in [&own, &public] {
        let path = format!("{IMAGES}/{}", image["id"].as_str().unwrap());
        assert_eq!(caller.delete(&path).await.status, 200);
        assert_eq!(caller.get(&path).await.status, 404);
    }
    assert_eq!(image_of(json!({})).await, held);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_copy_what_their_vms_begin_with() {
    if is_skipped("hosts_copy_what_their_vms_begin_with") {
        return;
    }
    let house = House::dev().await;
    let caller = &house.operator;
    let hosts = [
        DoorHost::start(&house, "one").await,
        DoorHost::start(&house, "two").await,
        DoorHost::start(&house, "three").await,
    ];
    let data = raw();
    let image = uploaded(caller, json!({}), &data).await;
    let digest = image["digest"].as_str().unwrap();
    let holds = |host: &&DoorHost| host.content(digest).is_some();
    assert_eq!(hosts.iter().filter(holds).count(), 1);
    // As many as fill two hosts and begin the third.
    for _ in 0..3 {
        let vm = caller
            .vm(json!({ "image_id": "debian-12", "memory_mib": 20_000 }))
            .await;
        caller.until(&vm.id(), "Stopped").await;
    }
    let copied = eventually("all hosts have it", PATIENCE, || async {
        (hosts.iter().filter(holds).count() == hosts.len()).then_some(())
    });
    copied.await.unwrap();
    assert!(
        hosts
            .iter()
            .all(|host| host.content(digest).unwrap() == data)
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kernel_with_its_initramfs_is_an_image() {
    let house = House::dev().await;
    let caller = &house.operator;
    let host = DoorHost::start(&house, "one").await;
    let more = json!({ "name": "tiny", "format": "kernel", "cmdline": "console=ttyS0 <&>" });
    let id = register(caller, more).await.id();
    let refused = send(caller, &id, "", None, b"k").await;
    assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "part"));
    let sent = send(caller, &id, "?part=kernel", None, b"kernel 2").await;
    assert_eq!(sent.data()["state"], "Pending");
    let sent = send(caller, &id, "?part=initramfs", None, b"initramfs 2").await;
    assert_eq!(sent.data()["state"], "Ready");
    let vm = made(caller, json!({ "image_id": "tiny" })).await;
    let wish = host.host.wish(&vm).await;
    assert_eq!(
        wish.boots_from,
        plasmavmc_model::Boot::Kernel {
            kernel: Digest::of(b"kernel 2"),
            initramfs: Digest::of(b"initramfs 2"),
            cmdline: "console=ttyS0 <&>".to_owned(),
        }
    );
    assert!(wish.disks.is_empty());
    house.stop().await;
}
