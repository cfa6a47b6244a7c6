//! Enforce mode: who may do what to whose VMs; and every route and method with every credential that must not open it.

use photon_auth::sweep::{Sweep, Tokens, declared, methods};
use photon_proto::photon::plasmavmc::v1 as pb;
use photon_server::Mode;
use photon_store::{Options, Store};
use photon_testkit::{InProcessIam, enforcing_iam, fake_host::FakeHost};
use plasmavmc::Running;
use prost::Message as _;
use serde_json::{Value, json};

use crate::{
    house::{Caller, VMS, config, over},
    volumes::VOLUMES,
};

/// A token of IAM.
async fn token(iam: &Caller, body: Value) -> String {
    iam.post("/api/v1/auth/token", body).await.text("token")
}

/// A user with a role at a scope, and its token for that scope.
async fn somebody(admin: &Caller, id: &str, role: &str, scope: &str) -> String {
    admin
        .post("/api/v1/users", json!({ "id": id, "name": id }))
        .await
        .data();
    let binding = json!({ "principal": format!("user:{id}"), "role": role, "scope": scope });
    admin.post("/api/v1/bindings", binding).await.data();
    let bare = scope.split_once(':').map_or(scope, |(_, id)| id);
    token(admin, json!({ "principal_id": id, "scope_id": bare })).await
}

/// A service in enforce mode with a host, and its IAM with two tenants.
struct Enforcing {
    iam: InProcessIam,
    running: Running,
    _host: FakeHost,
    /// IAM's first admin, at IAM.
    admin: Caller,
    /// Without a credential.
    anybody: Caller,
    /// IAM's first admin, here.
    operator: Caller,
}

impl Enforcing {
    async fn stop(self) {
        self.running.stop().await;
        self.iam.stop().await;
    }
}

async fn enforcing() -> Enforcing {
    let mut iam = Box::pin(enforcing_iam()).await.unwrap();
    let at_iam = Caller::at(&iam.rest_url());
    let asked = json!({
        "principal_id": "admin", "scope_id": "system", "api_key": iam.admin_key().unwrap(),
    });
    let system = token(&at_iam, asked).await;
    let admin = at_iam.with(&system);
    for (org, project) in [("acme", "shop"), ("other", "lab")] {
        admin
            .post("/api/v1/orgs", json!({ "id": org, "name": org }))
            .await
            .data();
        let project = json!({ "id": project, "name": project, "org_id": org });
        admin.post("/api/v1/projects", project).await.data();
    }
    let endpoint = iam.chainfire().endpoint();
    let mut config = config(&endpoint);
    config.auth.mode = Mode::Enforce;
    config.quota.unlimited = true;
    let running = over(config).await;
    let anybody = Caller::of(&running);
    let operator = anybody.with(&system);
    let store = Store::connect(Options::new([&endpoint])).await.unwrap();
    let host = FakeHost::start(store, "host-1").await;
    operator.until_host("host-1", "up").await;
    Enforcing {
        operator,
        iam,
        running,
        _host: host,
        admin,
        anybody,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_and_changes_their_own() {
    let house = enforcing().await;
    let (admin, anybody) = (&house.admin, &house.anybody);
    let editor = anybody.with(&somebody(admin, "eve", "editor", "project:shop").await);
    let viewer = anybody.with(&somebody(admin, "vera", "viewer", "project:shop").await);
    let stranger = anybody.with(&somebody(admin, "sam", "admin", "project:lab").await);
    for (caller, status) in [
        (anybody, 401),
        (&anybody.with("nonsense"), 401),
        (&viewer, 403),
        (&stranger, 403),
    ] {
        assert_eq!(caller.vm(json!({})).await.status, status);
    }
    for (org, project) in [("other", "shop"), ("acme", "lab"), ("acme", "nobody")] {
        let elsewhere = json!({ "org_id": org, "project_id": project });
        let refused = house.operator.vm(elsewhere).await;
        assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "project_id"));
    }
    let made = editor.vm(json!({})).await;
    let (vm, operation) = (made.id(), made.text("operation_id"));
    editor.until(&vm, "Stopped").await;
    for path in [
        format!("{VMS}/{vm}"),
        format!("/api/v1/operations/{operation}"),
    ] {
        for (caller, status) in [
            (&editor, 200),
            (&viewer, 200),
            (&house.operator, 200),
            (&stranger, 404),
            (anybody, 401),
        ] {
            assert_eq!(caller.get(&path).await.status, status, "{path}");
        }
    }
    for what in [
        "start", "stop", "reboot", "pause", "suspend", "resume", "resize",
    ] {
        assert_eq!(viewer.ask(&vm, what, json!({})).await.status, 403, "{what}");
        assert_eq!(
            stranger.ask(&vm, what, json!({})).await.status,
            404,
            "{what}"
        );
    }
    let path = format!("{VMS}/{vm}");
    assert_eq!(stranger.delete(&path).await.status, 404);
    assert_eq!(viewer.delete(&path).await.status, 403);
    assert_eq!(
        viewer.all(VMS, "vms", "id").await,
        std::slice::from_ref(&vm)
    );
    assert!(stranger.all(VMS, "vms", "id").await.is_empty());
    // Where it is, is for those who may see hosts.
    assert_eq!(editor.get(&path).await.data()["host_id"], json!(null));
    assert_eq!(house.operator.get(&path).await.text("host_id"), "host-1");
    assert_eq!(editor.get("/api/v1/hosts").await.status, 403);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_their_projects_and_public_ones_the_operators() {
    const IMAGES: &str = "/api/v1/images";
    let house = enforcing().await;
    let (admin, anybody) = (&house.admin, &house.anybody);
    let editor = anybody.with(&somebody(admin, "eve", "editor", "project:shop").await);
    let viewer = anybody.with(&somebody(admin, "vera", "viewer", "project:shop").await);
    let stranger = anybody.with(&somebody(admin, "sam", "admin", "project:lab").await);
    let new = |name: &str, visibility: &str| {
        json!({
            "name": name, "org_id": "acme", "project_id": "shop", "format": "raw", "visibility": visibility,
        })
    };
    let own = editor.post(IMAGES, new("own", "project")).await.id();
    assert_eq!(editor.post(IMAGES, new("all", "public")).await.status, 403);
    let public = house.operator.post(IMAGES, new("all", "public")).await.id();
    for (caller, id, status) in [
        (&viewer, &own, 200),
        (&stranger, &own, 404),
        (anybody, &own, 401),
        (&viewer, &public, 200),
        (&stranger, &public, 200),
    ] {
        assert_eq!(caller.get(&format!("{IMAGES}/{id}")).await.status, status);
    }
    for (caller, id, status) in [
        (&viewer, &own, 403),
        (&stranger, &own, 404),
        (&editor, &public, 403),
    ] {
        let path = format!("{IMAGES}/{id}");
        let changed = caller.patch(&path, json!({ "name": "x" })).await;
        assert_eq!(changed.status, status);
        assert_eq!(caller.delete(&path).await.status, status);
    }
    let publish = json!({ "visibility": "public" });
    let path = format!("{IMAGES}/{own}");
    assert_eq!(editor.patch(&path, publish).await.status, 403);
    // What everybody boots is not a project's to fill.
    let of_all = format!("{IMAGES}/{public}/data");
    let filled = editor
        .bytes(reqwest::Method::PUT, &of_all, None, vec![0])
        .await;
    assert_eq!(filled.status, 403, "{filled:?}");
    for caller in [&viewer, &stranger] {
        let data = caller
            .bytes(reqwest::Method::PUT, &format!("{path}/data"), None, vec![0])
            .await;
        assert!([403, 404].contains(&data.status), "{data:?}");
    }
    let names = async |caller: &Caller| {
        let listed = caller.get(IMAGES).await;
        let images = listed.data()["images"].as_array().unwrap().clone();
        let names = images
            .iter()
            .map(|image| image["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&viewer).await, ["photon-mini", "own", "all"]);
    assert_eq!(names(&stranger).await, ["photon-mini", "all"]);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_their_projects() {
    const SNAPSHOTS: &str = "/api/v1/snapshots";
    let house = enforcing().await;
    let (admin, anybody) = (&house.admin, &house.anybody);
    let editor = anybody.with(&somebody(admin, "eve", "editor", "project:shop").await);
    let viewer = anybody.with(&somebody(admin, "vera", "viewer", "project:shop").await);
    let stranger = anybody.with(&somebody(admin, "sam", "admin", "project:lab").await);
    let vm = editor.vm(json!({ "disk_size_gb": 1 })).await.id();
    editor.until(&vm, "Stopped").await;
    let new = json!({ "vm_id": vm, "name": "before" });
    for (caller, status) in [(anybody, 401), (&viewer, 403), (&stranger, 404)] {
        let refused = caller.post(SNAPSHOTS, new.clone()).await;
        assert_eq!(refused.status, status, "{refused:?}");
    }
    let id = editor.post(SNAPSHOTS, new).await.id();
    let path = format!("{SNAPSHOTS}/{id}");
    for (caller, status) in [
        (&editor, 200),
        (&viewer, 200),
        (&house.operator, 200),
        (&stranger, 404),
        (anybody, 401),
    ] {
        assert_eq!(caller.get(&path).await.status, status);
    }
    for (caller, status) in [(&viewer, 403), (&stranger, 404), (anybody, 401)] {
        assert_eq!(caller.delete(&path).await.status, status);
        let revert = format!("{path}/revert");
        assert_eq!(caller.post(&revert, json!({})).await.status, status);
    }
    let elsewhere = format!("{path}?project_id=lab");
    assert_eq!(house.operator.get(&elsewhere).await.status, 404);
    let all = async |caller: &Caller| caller.all(SNAPSHOTS, "snapshots", "id").await;
    assert_eq!(all(&viewer).await, std::slice::from_ref(&id));
    assert!(all(&stranger).await.is_empty());
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_are_their_projects_and_pools_are_everybodys_to_choose_from() {
    let house = enforcing().await;
    let (admin, anybody) = (&house.admin, &house.anybody);
    let editor = anybody.with(&somebody(admin, "eve", "editor", "project:shop").await);
    let viewer = anybody.with(&somebody(admin, "vera", "viewer", "project:shop").await);
    let stranger = anybody.with(&somebody(admin, "sam", "admin", "project:lab").await);
    for (caller, status) in [(anybody, 401), (&viewer, 403), (&stranger, 403)] {
        assert_eq!(caller.volume(json!({})).await.status, status);
    }
    let volume = editor.made_volume().await;
    let vm = editor.made().await;
    let path = format!("{VOLUMES}/{volume}");
    assert_eq!(editor.get(&path).await.data()["host_id"], json!(null));
    assert_eq!(house.operator.get(&path).await.text("host_id"), "host-1");
    assert_eq!(viewer.get(&path).await.status, 200);
    let name = || json!({ "name": "x" });
    for (caller, status) in [(&viewer, 403), (&stranger, 404), (anybody, 401)] {
        assert_eq!(caller.patch(&path, name()).await.status, status);
        assert_eq!(caller.delete(&path).await.status, status);
        assert_eq!(caller.attach(&volume, &vm).await.status, status);
        assert_eq!(caller.detach(&volume).await.status, status);
        assert_eq!(caller.grow(&volume, json!(20)).await.status, status);
    }
    assert_eq!(stranger.get(&path).await.status, 404);
    assert!(stranger.all(VOLUMES, "volumes", "id").await.is_empty());
    // A VM of one's own takes nobody else's volume, and a volume of one's own goes to no other project's VM.
    let theirs = json!({ "org_id": "other", "project_id": "lab" });
    let their_vm = stranger.vm(theirs.clone()).await.id();
    stranger.until(&their_vm, "Stopped").await;
    let their_volume = stranger.volume(theirs).await.id();
    stranger.until_volume(&their_volume, "Available").await;
    assert_eq!(stranger.attach(&volume, &their_vm).await.status, 404);
    for caller in [&stranger, &house.operator] {
        let refused = caller.attach(&their_volume, &vm).await;
        assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "vm_id"));
    }
    // Who may change volumes alone, may not change VMs by them.
    let role = json!({
        "id": "storage", "org_id": "acme", "permissions": ["plasmavmc.volumes.*"],
    });
    admin.post("/api/v1/roles", role).await.data();
    let keeper = anybody.with(&somebody(admin, "kim", "storage", "project:shop").await);
    assert_eq!(keeper.attach(&volume, &vm).await.status, 403);
    assert_eq!(keeper.volume(json!({ "vm_id": vm })).await.status, 403);
    assert_eq!(keeper.volume(json!({})).await.status, 201);
    editor.attach(&volume, &vm).await.data();

    let seen = stranger.get("/api/v1/pools/local").await;
    assert_eq!(
        (seen.text("name"), seen.text("driver")),
        ("local".to_owned(), "directory".to_owned())
    );
    for member in ["hosts", "capacity_gib", "used_gib", "allocated_gib"] {
        assert_eq!(seen.data()[member], json!(null), "{member}");
    }
    let listed = viewer.get("/api/v1/pools").await;
    assert_eq!(listed.data()["pools"][0]["hosts"], json!(null));
    let inside = house.operator.get("/api/v1/pools/local").await;
    assert_eq!(inside.data()["hosts"], json!(["host-1"]));
    assert_eq!(anybody.get("/api/v1/pools").await.status, 401);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_opens_to_a_bad_credential_or_to_a_stranger() {
    let house = enforcing().await;
    let editor = somebody(&house.admin, "eve", "editor", "project:shop").await;
    let editor = house.anybody.with(&editor);
    let made = editor.vm(json!({ "start": true, "disk_size_gb": 1 })).await;
    let (vm, operation) = (made.id(), made.text("operation_id"));
    editor.until(&vm, "Running").await;
    let new_image = json!({
        "name": "debian-12", "org_id": "acme", "project_id": "shop", "format": "raw",
    });
    let image = editor.post("/api/v1/images", new_image.clone()).await.id();
    let new_snapshot = json!({ "vm_id": vm, "name": "before" });
    let snapshot = editor
        .post("/api/v1/snapshots", new_snapshot.clone())
        .await
        .id();
    let new_volume = json!({
        "name": "data", "org_id": "acme", "project_id": "shop", "size_gb": 1,
    });
    let volume = editor.post(VOLUMES, new_volume.clone()).await.id();
    editor.until_volume(&volume, "Available").await;
    // Somebody with a good token who may do nothing any more.
    let stranger = somebody(&house.admin, "stranger", "viewer", "project:lab").await;
    let bindings = house.admin.get("/api/v1/bindings").await;
    for binding in bindings.data()["bindings"].as_array().unwrap() {
        if binding["principal"] == "user:stranger" {
            let path = format!("/api/v1/bindings/{}", binding["id"].as_str().unwrap());
            house.admin.delete(&path).await.data();
        }
    }
    let tokens = Tokens::from_stranger(&stranger).unwrap();
    let new = json!({
        "name": "n", "org_id": "acme", "project_id": "shop", "vcpus": 1, "memory_mib": 64,
    });
    for (prefix, id) in [
        ("/api/v1/vms", &vm),
        ("/api/v1/operations", &operation),
        ("/api/v1/images", &image),
        ("/api/v1/snapshots", &snapshot),
        ("/api/v1/volumes", &volume),
        ("/api/v1/pools", &vm),
        ("/api/v1/hosts", &vm),
    ] {
        let routes: Vec<_> = plasmavmc::rest::declared()
            .into_iter()
            .filter(|route| route.path.starts_with(prefix))
            .collect();
        assert!(!routes.is_empty());
        let sweep = Sweep::new(tokens.clone())
            .rest(&house.anybody.base, declared(&routes))
            .path_value("id", id)
            .path_value("name", "local");
        let sweep = match prefix {
            "/api/v1/vms" => sweep
                .body("POST /api/v1/vms", new.clone())
                .body("PATCH /api/v1/vms/{id}", json!({ "name": "x" }))
                .body("POST /api/v1/vms/{id}/resize", json!({ "vcpus": 2 })),
            VOLUMES => sweep
                .body("POST /api/v1/volumes", new_volume.clone())
                .body("PATCH /api/v1/volumes/{id}", json!({ "name": "x" }))
                .body("POST /api/v1/volumes/{id}/attach", json!({ "vm_id": vm }))
                .body("POST /api/v1/volumes/{id}/resize", json!({ "size_gb": 2 })),
            "/api/v1/images" => sweep
                .body("POST /api/v1/images", new_image.clone())
                .body("PATCH /api/v1/images/{id}", json!({ "name": "x" })),
            "/api/v1/snapshots" => sweep.body("POST /api/v1/snapshots", new_snapshot.clone()),
            _ => sweep,
        };
        sweep.run().await.unwrap().assert_closed();
    }
    let of = |id: &str| pb::GetVmRequest { id: id.to_owned() }.encode_to_vec();
    let create = pb::CreateVmRequest {
        name: "n".to_owned(),
        vcpus: 1,
        memory_mib: 64,
        org_id: "acme".to_owned(),
        project_id: "shop".to_owned(),
        ..Default::default()
    };
    let by_id = [
        "Get",
        "Update",
        "Delete",
        "Start",
        "Stop",
        "Reboot",
        "Pause",
        "Resume",
        "Suspend",
        "Resize",
        "GetGuest",
        "GetConsole",
        "Console",
    ];
    let grpc = format!("http://{}", house.running.grpc_address());
    let sweep = Sweep::new(tokens).grpc(&grpc, methods(&plasmavmc::methods()));
    let sweep = by_id.iter().fold(sweep, |sweep, method| {
        sweep.message(&format!("photon.plasmavmc.v1.Vms/{method}"), of(&vm))
    });
    let sweep = ["Get", "Update", "Delete"]
        .iter()
        .fold(sweep, |sweep, method| {
            sweep.message(&format!("photon.plasmavmc.v1.Images/{method}"), of(&image))
        });
    let sweep = ["Get", "Delete", "Revert"]
        .iter()
        .fold(sweep, |sweep, method| {
            let method = format!("photon.plasmavmc.v1.Snapshots/{method}");
            sweep.message(&method, of(&snapshot))
        });
    let create_snapshot = pb::CreateSnapshotRequest {
        vm_id: vm.clone(),
        name: "n".to_owned(),
        ..Default::default()
    };
    let sweep = ["Get", "Update", "Delete", "Detach"]
        .iter()
        .fold(sweep, |sweep, method| {
            let method = format!("photon.plasmavmc.v1.Volumes/{method}");
            sweep.message(&method, of(&volume))
        });
    let attach = pb::AttachVolumeRequest {
        id: volume.clone(),
        vm_id: vm.clone(),
    };
    let larger = pb::ResizeVolumeRequest {
        id: volume.clone(),
        size_gb: 2,
    };
    let create_volume = pb::CreateVolumeRequest {
        name: "n".to_owned(),
        org_id: "acme".to_owned(),
        project_id: "shop".to_owned(),
        size_gb: 1,
        ..Default::default()
    };
    let sweep = [
        ("Create", create_volume.encode_to_vec()),
        ("Attach", attach.encode_to_vec()),
        ("Resize", larger.encode_to_vec()),
    ]
    .into_iter()
    .fold(sweep, |sweep, (method, message)| {
        sweep.message(&format!("photon.plasmavmc.v1.Volumes/{method}"), message)
    });
    let create_image = pb::CreateImageRequest {
        name: "n".to_owned(),
        org_id: "acme".to_owned(),
        project_id: "shop".to_owned(),
        format: "raw".to_owned(),
        ..Default::default()
    };
    let sweep = sweep
        .message(
            "photon.plasmavmc.v1.Images/Create",
            create_image.encode_to_vec(),
        )
        .message(
            "photon.plasmavmc.v1.Snapshots/Create",
            create_snapshot.encode_to_vec(),
        )
        .message("photon.plasmavmc.v1.Vms/Create", create.encode_to_vec())
        .message("photon.plasmavmc.v1.Operations/Get", of(&operation));
    sweep.run().await.unwrap().assert_closed();
    // Nothing of it was changed.
    let unchanged = editor.get(&format!("{VMS}/{vm}")).await;
    assert_eq!(
        (unchanged.text("state"), unchanged.text("name")),
        ("Running".to_owned(), "web".to_owned())
    );
    house.stop().await;
}
