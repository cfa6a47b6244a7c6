//! Every route and method there is, with every credential that must not open it.

use photon_auth::sweep::{Sweep, Tokens, declared, methods};
use photon_proto::photon::prismnet::v1 as pb;
use photon_testkit::tenants::somebody;
use prost::Message as _;
use serde_json::json;

use crate::tenancy::{enforcing, furnish};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_opens_to_a_bad_credential_or_to_a_stranger() {
    let house = enforcing().await;
    let editor = somebody(&house.admin, "eve", "editor", "project:shop").await;
    let editor = house.anybody.with(&editor);
    let [
        (_, vpc),
        (_, subnet),
        (_, port),
        (_, group),
        (_, rule),
        (_, route),
    ] = furnish(&editor).await;
    let outside = house.operator.outside("192.0.2.0/24").await;
    let floating = editor.floating(&outside).await.id();
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
    // Bodies that are good, so that what is refused is the caller.
    let bodies = [
        (
            "POST /api/v1/vpcs",
            json!({ "name": "n", "org_id": "acme", "project_id": "shop", "cidr_block": "10.0.0.0/16" }),
        ),
        ("PATCH /api/v1/vpcs/{id}", json!({ "name": "x" })),
        (
            "POST /api/v1/subnets",
            json!({ "name": "n", "vpc_id": vpc, "cidr_block": "10.0.2.0/24" }),
        ),
        ("PATCH /api/v1/subnets/{id}", json!({ "name": "x" })),
        ("POST /api/v1/ports", json!({ "subnet_id": subnet })),
        ("PATCH /api/v1/ports/{id}", json!({ "name": "x" })),
        (
            "POST /api/v1/security-groups",
            json!({ "name": "n", "org_id": "acme", "project_id": "shop" }),
        ),
        ("PATCH /api/v1/security-groups/{id}", json!({ "name": "x" })),
        (
            "POST /api/v1/security-groups/{id}/rules",
            json!({ "direction": "ingress" }),
        ),
        (
            "POST /api/v1/routes",
            json!({ "vpc_id": vpc, "destination": "10.9.0.0/16", "next_hop": "10.0.1.9" }),
        ),
        (
            "POST /api/v1/external-networks",
            json!({ "name": "n", "cidr_block": "198.51.100.0/24" }),
        ),
        (
            "PATCH /api/v1/external-networks/{id}",
            json!({ "name": "x" }),
        ),
        (
            "POST /api/v1/floating-ips",
            json!({ "external_network_id": outside, "org_id": "acme", "project_id": "shop" }),
        ),
        (
            "PATCH /api/v1/floating-ips/{id}",
            json!({ "port_id": port }),
        ),
    ];
    let text = str::to_owned;
    let id = |id: &str| pb::GetVpcRequest { id: id.to_owned() }.encode_to_vec();
    // The id is field 1 of each of these.
    let by_id = [
        ("Vpcs", &vpc),
        ("Subnets", &subnet),
        ("Ports", &port),
        ("SecurityGroups", &group),
        ("Routes", &route),
        ("ExternalNetworks", &outside),
        ("FloatingIps", &floating),
    ];
    let mut messages: Vec<(String, Vec<u8>)> = by_id
        .iter()
        .flat_map(|(service, of)| {
            ["Get", "Update", "Delete"].map(|method| (format!("{service}/{method}"), id(of)))
        })
        .filter(|(method, _)| method != "Routes/Update")
        .collect();
    messages.extend(
        [
            (
                "Vpcs/Create",
                pb::CreateVpcRequest {
                    name: text("n"),
                    org_id: text("acme"),
                    project_id: text("shop"),
                    cidr_block: text("10.0.0.0/16"),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "Subnets/Create",
                pb::CreateSubnetRequest {
                    name: text("n"),
                    vpc_id: vpc.clone(),
                    cidr_block: text("10.0.2.0/24"),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "Ports/Create",
                pb::CreatePortRequest {
                    subnet_id: subnet.clone(),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "SecurityGroups/Create",
                pb::CreateSecurityGroupRequest {
                    name: text("n"),
                    org_id: text("acme"),
                    project_id: text("shop"),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "SecurityGroups/CreateRule",
                pb::CreateRuleRequest {
                    security_group_id: group.clone(),
                    direction: text("ingress"),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "SecurityGroups/ListRules",
                pb::ListRulesRequest {
                    security_group_id: group.clone(),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "SecurityGroups/DeleteRule",
                pb::DeleteRuleRequest {
                    security_group_id: group.clone(),
                    id: rule.clone(),
                }
                .encode_to_vec(),
            ),
            (
                "Routes/Create",
                pb::CreateRouteRequest {
                    vpc_id: vpc.clone(),
                    destination: text("10.9.0.0/16"),
                    next_hop: text("10.0.1.9"),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "ExternalNetworks/Create",
                pb::CreateExternalNetworkRequest {
                    name: text("n"),
                    cidr_block: text("198.51.100.0/24"),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "FloatingIps/Create",
                pb::CreateFloatingIpRequest {
                    external_network_id: outside.clone(),
                    org_id: text("acme"),
                    project_id: text("shop"),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
        ]
        .map(|(method, message)| (method.to_owned(), message)),
    );
    // A path's id is of one kind; what is none of it is 404 before anybody is asked, so each kind is swept by its own.
    for (resource, of) in [
        ("vpcs", &vpc),
        ("subnets", &subnet),
        ("ports", &port),
        ("security-groups", &group),
        ("routes", &route),
        ("external-networks", &outside),
        ("floating-ips", &floating),
    ] {
        let prefix = format!("/api/v1/{resource}");
        let routes: Vec<_> = prismnet::rest::declared()
            .into_iter()
            .filter(|route| route.path == prefix || route.path.starts_with(&format!("{prefix}/")))
            .collect();
        assert!(!routes.is_empty());
        let sweep = Sweep::new(tokens.clone())
            .rest(&house.anybody.base, declared(&routes))
            .path_value("id", of)
            .path_value("rule", &rule);
        let sweep = bodies
            .iter()
            .filter(|(route, _)| route.contains(&prefix))
            .fold(sweep, |sweep, (route, body)| {
                sweep.body(route, body.clone())
            });
        sweep.run().await.unwrap().assert_closed();
    }
    let sweep = Sweep::new(tokens).grpc(&house.grpc, methods(&prismnet::methods()));
    let sweep = messages
        .into_iter()
        .fold(sweep, |sweep, (method, message)| {
            sweep.message(&format!("photon.prismnet.v1.{method}"), message)
        });
    sweep.run().await.unwrap().assert_closed();
    // Nothing of it was changed.
    assert_eq!(
        editor.get(&format!("/api/v1/vpcs/{vpc}")).await.data()["name"],
        "net"
    );
    assert_eq!(editor.all("/api/v1/ports", "ports", "id").await, [port]);
    let path = format!("/api/v1/floating-ips/{floating}");
    assert_eq!(editor.get(&path).await.data()["port_id"], json!(null));
    let networks = editor.get("/api/v1/external-networks").await;
    assert_eq!(networks.data()["external_networks"][0]["name"], "outside");
    house.stop().await;
}
