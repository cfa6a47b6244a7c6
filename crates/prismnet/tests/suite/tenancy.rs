//! Enforce mode: who may do what to whose networks.

use photon_server::Mode;
use photon_testkit::{
    InProcessIam, rest,
    tenants::{Tenants, somebody, tenants},
};
use prismnet::Running;
use serde_json::{Value, json};

use crate::house::{Caller, config, over};

/// A service in enforce mode, and its IAM with two tenants.
pub(crate) struct Enforcing {
    iam: InProcessIam,
    running: Running,
    /// IAM's first admin, at IAM.
    pub(crate) admin: rest::Caller,
    /// Without a credential.
    pub(crate) anybody: Caller,
    /// IAM's first admin, here.
    pub(crate) operator: Caller,
    /// Where gRPC is.
    pub(crate) grpc: String,
}

impl Enforcing {
    pub(crate) async fn stop(self) {
        self.running.stop().await;
        self.iam.stop().await;
    }
}

pub(crate) async fn enforcing() -> Enforcing {
    let Tenants {
        mut iam,
        admin,
        system,
    } = Box::pin(tenants()).await.unwrap();
    let mut config = config(&iam.chainfire().endpoint());
    config.auth.mode = Mode::Enforce;
    config.quota.unlimited = true;
    let running = over(config).await;
    let anybody = Caller::of(&running);
    Enforcing {
        operator: anybody.with(&system),
        grpc: format!("http://{}", running.grpc_address()),
        iam,
        running,
        admin,
        anybody,
    }
}

/// One of each thing of acme's project shop, by its path.
pub(crate) async fn furnish(editor: &Caller) -> [(&'static str, String); 6] {
    let vpc = editor.vpc("10.0.0.0/16").await;
    let subnet = editor.subnet(&vpc, "10.0.1.0/24").await;
    let port = editor.port(&subnet).await.id();
    let group = editor.group("web").await;
    let rules = format!("/api/v1/security-groups/{group}/rules");
    let rule = editor
        .post(&rules, json!({ "direction": "egress" }))
        .await
        .id();
    let route = json!({ "vpc_id": vpc, "destination": "0.0.0.0/0", "next_hop": "10.0.1.9" });
    let route = editor.post("/api/v1/routes", route).await.id();
    [
        ("vpcs", vpc),
        ("subnets", subnet),
        ("ports", port),
        ("security-groups", group),
        ("rules", rule),
        ("routes", route),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_and_changes_their_own() {
    let house = enforcing().await;
    let (admin, anybody) = (&house.admin, &house.anybody);
    let editor = anybody.with(&somebody(admin, "eve", "editor", "project:shop").await);
    let viewer = anybody.with(&somebody(admin, "vera", "viewer", "project:shop").await);
    let above = anybody.with(&somebody(admin, "olga", "admin", "org:acme").await);
    let stranger = anybody.with(&somebody(admin, "sam", "admin", "project:lab").await);

    let vpc =
        json!({ "name": "n", "org_id": "acme", "project_id": "shop", "cidr_block": "10.0.0.0/16" });
    for (caller, status) in [
        (anybody, 401),
        (&anybody.with("nonsense"), 401),
        (&viewer, 403),
        (&stranger, 403),
    ] {
        assert_eq!(
            caller.post("/api/v1/vpcs", vpc.clone()).await.status,
            status
        );
    }
    // A project that is another org's, or is not there.
    for (org, project) in [("other", "shop"), ("acme", "lab"), ("acme", "nobody")] {
        let mut body = vpc.clone();
        body["org_id"] = json!(org);
        body["project_id"] = json!(project);
        let refused = house.operator.post("/api/v1/vpcs", body).await;
        assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "project_id"));
    }
    let things = furnish(&editor).await;
    let id = |resource: &str| {
        let found = things.iter().find(|(name, _)| *name == resource);
        found.unwrap().1.clone()
    };
    for (resource, id) in things.iter().filter(|(resource, _)| *resource != "rules") {
        let path = format!("/api/v1/{resource}/{id}");
        for (caller, status) in [
            (&editor, 200),
            (&viewer, 200),
            (&above, 200),
            (&house.operator, 200),
            (&stranger, 404),
            (anybody, 401),
        ] {
            assert_eq!(caller.get(&path).await.status, status, "{path}");
        }
        assert_eq!(stranger.delete(&path).await.status, 404, "{path}");
        assert_eq!(viewer.delete(&path).await.status, 403, "{path}");
        if *resource != "routes" {
            let change = json!({ "description": "x" });
            assert_eq!(
                stranger.patch(&path, change.clone()).await.status,
                404,
                "{path}"
            );
            assert_eq!(viewer.patch(&path, change).await.status, 403, "{path}");
        }
        let rows = resource.replace('-', "_");
        let list = format!("/api/v1/{resource}");
        assert!(viewer.all(&list, &rows, "id").await.contains(id));
        assert_eq!(stranger.all(&list, &rows, "id").await, Vec::<String>::new());
        let narrowed = format!("{list}?org_id=acme&project_id=shop");
        assert_eq!(
            stranger.all(&narrowed, &rows, "id").await,
            Vec::<String>::new()
        );
    }
    let rules = format!("/api/v1/security-groups/{}/rules", id("security-groups"));
    assert_eq!(viewer.get(&rules).await.status, 200);
    assert_eq!(stranger.get(&rules).await.status, 404);
    let rule = format!("{rules}/{}", id("rules"));
    assert_eq!(
        (
            viewer.delete(&rule).await.status,
            stranger.delete(&rule).await.status
        ),
        (403, 404)
    );

    // What is somebody else's cannot be built on, and answers like what is not there.
    for (path, body, field) in [
        (
            "/api/v1/subnets",
            json!({ "name": "n", "vpc_id": id("vpcs"), "cidr_block": "10.0.2.0/24" }),
            "vpc_id",
        ),
        (
            "/api/v1/ports",
            json!({ "subnet_id": id("subnets") }),
            "subnet_id",
        ),
        (
            "/api/v1/routes",
            json!({ "vpc_id": id("vpcs"), "destination": "10.9.0.0/16", "next_hop": "10.0.1.9" }),
            "vpc_id",
        ),
    ] {
        let refused = stranger.post(path, body.clone()).await;
        assert_eq!(refused.error(), (404, "NOT_FOUND", field), "{path}");
        assert_eq!(viewer.post(path, body).await.status, 403, "{path}");
    }
    let own = stranger.vpc_of("other", "lab", "10.0.0.0/16").await;
    let own = stranger.subnet(&own, "10.0.1.0/24").await;
    let body = json!({ "subnet_id": own, "security_group_ids": [id("security-groups")] });
    let refused = stranger.post("/api/v1/ports", body).await;
    assert_eq!(refused.error(), (404, "NOT_FOUND", "security_group_ids"));
    house.stop().await;
}

/// On which host a port is, services and operators say.
#[tokio::test(flavor = "multi_thread")]
async fn tenants_do_not_bind_ports_to_hosts() {
    let house = enforcing().await;
    let owner = somebody(&house.admin, "olga", "admin", "org:acme").await;
    let owner = house.anybody.with(&owner);
    let vpc = owner.vpc("10.0.0.0/16").await;
    let subnet = owner.subnet(&vpc, "10.0.1.0/24").await;
    let body = json!({ "subnet_id": subnet, "host_id": "h1" });
    assert_eq!(owner.post("/api/v1/ports", body.clone()).await.status, 403);
    let port = owner.port(&subnet).await.id();
    let path = format!("/api/v1/ports/{port}");
    assert_eq!(
        owner.patch(&path, json!({ "host_id": "h1" })).await.status,
        403
    );
    let bound = house
        .operator
        .patch(&path, json!({ "host_id": "h1" }))
        .await;
    assert_eq!(bound.data()["status"], "building");
    // Nor do they take it off one; what is as it is may be said.
    assert_eq!(
        owner.patch(&path, json!({ "host_id": "" })).await.status,
        403
    );
    owner
        .patch(&path, json!({ "host_id": "h1", "name": "web" }))
        .await
        .data();
    house.operator.post("/api/v1/ports", body).await.data();
    house.stop().await;
}

/// Networks outside are the operator's. Everybody sees which there are, and nobody else which hosts reach them how.
#[tokio::test(flavor = "multi_thread")]
async fn operators_make_networks_outside_and_tenants_take_addresses_of_them() {
    const NETWORKS: &str = "/api/v1/external-networks";
    const FLOATING: &str = "/api/v1/floating-ips";
    let house = enforcing().await;
    let (admin, anybody) = (&house.admin, &house.anybody);
    let editor = anybody.with(&somebody(admin, "eve", "editor", "project:shop").await);
    let viewer = anybody.with(&somebody(admin, "vera", "viewer", "project:shop").await);
    let above = anybody.with(&somebody(admin, "olga", "admin", "org:acme").await);
    let stranger = anybody.with(&somebody(admin, "sam", "admin", "project:lab").await);
    let watcher = anybody.with(&somebody(admin, "wim", "viewer", "system").await);
    let payer = anybody.with(&somebody(admin, "paul", "billing-admin", "project:shop").await);

    let body = json!({
        "name": "internet", "cidr_block": "192.0.2.0/24", "gateway_ip": "192.0.2.1", "uplinks": { "h1": "br-lan" },
    });
    let refused = [
        (anybody, 401),
        (&editor, 403),
        (&above, 403),
        (&watcher, 403),
    ];
    for (caller, status) in refused {
        assert_eq!(caller.post(NETWORKS, body.clone()).await.status, status);
    }
    let made = house.operator.post(NETWORKS, body).await;
    assert_eq!(made.data()["uplinks"], json!({ "h1": "br-lan" }));
    let network = made.id();
    let path = format!("{NETWORKS}/{network}");
    for (caller, status) in refused {
        let change = json!({ "uplinks": { "h1": "eth0" } });
        assert_eq!(caller.patch(&path, change).await.status, status);
        assert_eq!(caller.delete(&path).await.status, status);
    }
    for caller in [&editor, &viewer, &above, &stranger, &watcher] {
        let shown = caller.get(&path).await;
        assert_eq!(shown.data()["cidr_block"], "192.0.2.0/24");
        assert_eq!(shown.data().get("uplinks"), None);
        let listed = caller.get(NETWORKS).await;
        assert_eq!(listed.data()["external_networks"], json!([shown.data()]));
    }
    let listed = house.operator.get(NETWORKS).await;
    assert_eq!(listed.data()["external_networks"], json!([made.data()]));
    // Who may see nothing of networks anywhere, does not see these.
    for (caller, status) in [(&payer, 403), (anybody, 401)] {
        assert_eq!(caller.get(NETWORKS).await.status, status);
        assert_eq!(caller.get(&path).await.status, status);
    }

    let new = json!({ "external_network_id": network, "org_id": "acme", "project_id": "shop" });
    for (caller, status) in [
        (anybody, 401),
        (&viewer, 403),
        (&payer, 403),
        (&stranger, 403),
    ] {
        assert_eq!(caller.post(FLOATING, new.clone()).await.status, status);
    }
    let floating = editor.post(FLOATING, new.clone()).await.id();
    let vpc = editor.vpc("10.0.0.0/16").await;
    let subnet = editor.subnet(&vpc, "10.0.1.0/24").await;
    let port = editor.port(&subnet).await.id();
    let path = format!("{FLOATING}/{floating}");
    let take = json!({ "port_id": port });
    for (caller, seen, changed) in [
        (&editor, 200, 200),
        (&above, 200, 200),
        (&viewer, 200, 403),
        (&stranger, 404, 404),
        (&payer, 404, 404),
        (anybody, 401, 401),
    ] {
        assert_eq!(caller.get(&path).await.status, seen);
        assert_eq!(caller.patch(&path, take.clone()).await.status, changed);
        if changed != 200 {
            assert_eq!(caller.delete(&path).await.status, changed);
        }
    }
    let of = async |caller: &Caller| caller.all(FLOATING, "floating_ips", "id").await;
    assert_eq!(of(&viewer).await, [floating.as_str()]);
    for query in [format!("?port_id={port}"), "?address=192.0.2.2".to_owned()] {
        let path = format!("{FLOATING}{query}");
        assert_eq!(
            viewer.all(&path, "floating_ips", "id").await,
            [floating.as_str()]
        );
        assert_eq!(
            stranger.all(&path, "floating_ips", "id").await,
            Vec::<String>::new()
        );
    }
    // A project's address is for its own ports, and its ports have only its own.
    let mut own = json!({ "external_network_id": network, "org_id": "other", "project_id": "lab" });
    let theirs = stranger.post(FLOATING, own.clone()).await.id();
    assert_eq!(of(&stranger).await, [theirs.as_str()]);
    let refused = stranger
        .patch(&format!("{FLOATING}/{theirs}"), take.clone())
        .await;
    assert_eq!(refused.error(), (404, "NOT_FOUND", "port_id"));
    own["port_id"] = json!(port);
    let refused = stranger.post(FLOATING, own).await;
    assert_eq!(refused.error(), (404, "NOT_FOUND", "port_id"));
    // Nor are they told who has an address that they want.
    let wanted = json!({
        "external_network_id": network, "org_id": "other", "project_id": "lab", "address": "192.0.2.2",
    });
    let refused = stranger.post(FLOATING, wanted).await;
    assert_eq!(refused.error(), (409, "ADDRESS_IN_USE", "address"));
    assert!(!refused.body.to_string().contains("fip-"), "{refused:?}");

    let mut iam = house.iam;
    let store = crate::house::store_at(&iam.chainfire().endpoint()).await;
    let trails = photon_store::audit::Trails::new(store, "prismnet");
    let records = trails.records("system", 1, 100).await.unwrap();
    let [made] = &records[..] else {
        panic!("{records:?}");
    };
    let made = &made.as_ref().unwrap().fields;
    assert_eq!(
        (&made["action"], &made["scope"]),
        (
            &json!("prismnet.external_networks.create"),
            &json!("system")
        )
    );
    let records = trails.records("project-shop", 1, 100).await.unwrap();
    let changed = records.into_iter().map(|record| record.unwrap().fields);
    let changed = changed.filter(|record| record["action"] == "prismnet.floating_ips.update");
    let details: Vec<Value> = changed.map(|record| record["details"].clone()).collect();
    let first = json!({
        "address": "192.0.2.2", "changed": { "port": { "from": null, "to": port } },
    });
    // The second asked for what was so already.
    assert_eq!(details, [first]);
    house.running.stop().await;
    iam.stop().await;
}

/// Whoever changes something leaves a record, in the trail of its project.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_on_record() {
    let house = enforcing().await;
    let editor = somebody(&house.admin, "eve", "editor", "project:shop").await;
    let editor = house.anybody.with(&editor);
    furnish(&editor).await;
    let mut iam = house.iam;
    let store = crate::house::store_at(&iam.chainfire().endpoint()).await;
    let trails = photon_store::audit::Trails::new(store, "prismnet");
    let records = trails.records("project-shop", 1, 100).await.unwrap();
    let actions: Vec<String> = records
        .into_iter()
        .map(|record| {
            let record = record.unwrap().fields;
            assert_eq!(record["actor"], "user:eve");
            assert_eq!(record["scope"], "project:shop");
            format!(
                "{} {}",
                record["action"].as_str().unwrap(),
                record["resource"]["kind"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        actions,
        [
            "prismnet.vpcs.create security_group",
            "prismnet.vpcs.create vpc",
            "prismnet.subnets.create subnet",
            "prismnet.ports.create port",
            "prismnet.security_groups.create security_group",
            "prismnet.security_groups.update security_group_rule",
            "prismnet.routes.create route",
        ]
    );
    house.running.stop().await;
    iam.stop().await;
}
