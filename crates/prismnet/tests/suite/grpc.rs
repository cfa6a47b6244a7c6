//! The gRPC doors: the same use cases.

use photon_proto::photon::prismnet::v1::{
    self as pb, external_networks_client::ExternalNetworksClient,
    floating_ips_client::FloatingIpsClient, ports_client::PortsClient, routes_client::RoutesClient,
    security_groups_client::SecurityGroupsClient, subnets_client::SubnetsClient,
    vpcs_client::VpcsClient,
};
use tonic::{Code, Request, Status, transport::Channel};

use crate::house::House;

fn said(status: &Status) -> (Code, &str) {
    let code = status.metadata().get("photon-error-code");
    let code = code.map_or("", |code| code.to_str().unwrap());
    (status.code(), code)
}

async fn channel(house: &House) -> Channel {
    let address = house.running.as_ref().unwrap().grpc_address();
    let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_the_same_as_rest() {
    let house = House::dev().await;
    let operator = &house.operator;
    let channel = channel(&house).await;
    let (mut vpcs, mut subnets) = (
        VpcsClient::new(channel.clone()),
        SubnetsClient::new(channel.clone()),
    );
    let (mut ports, mut routes) = (
        PortsClient::new(channel.clone()),
        RoutesClient::new(channel.clone()),
    );
    let mut groups = SecurityGroupsClient::new(channel);

    let missing = vpcs.create(pb::CreateVpcRequest {
        name: "n".to_owned(),
        ..Default::default()
    });
    let missing = missing.await.unwrap_err();
    assert_eq!(missing.message(), "cidr_block is required");
    assert_eq!(said(&missing), (Code::InvalidArgument, "VALIDATION_ERROR"));
    let new = pb::CreateVpcRequest {
        name: "net".to_owned(),
        org_id: "acme".to_owned(),
        project_id: "shop".to_owned(),
        cidr_block: "10.0.0.0/16".to_owned(),
        internet_access: true,
        ..Default::default()
    };
    let keyed = || {
        let mut request = Request::new(new.clone());
        request
            .metadata_mut()
            .insert("idempotency-key", "k".parse().unwrap());
        request
    };
    let vpc = vpcs.create(keyed()).await.unwrap().into_inner();
    assert_eq!(vpcs.create(keyed()).await.unwrap().into_inner(), vpc);
    let shown = operator.get(&format!("/api/v1/vpcs/{}", vpc.id)).await;
    assert_eq!(shown.data()["internet_access"], true);
    assert_eq!(shown.data()["revision"], vpc.revision);
    let by_id = |id: &str| pb::GetVpcRequest { id: id.to_owned() };
    assert_eq!(vpcs.get(by_id(&vpc.id)).await.unwrap().into_inner(), vpc);
    let unknown = vpcs.get(by_id("vpc-001")).await.unwrap_err();
    assert_eq!(said(&unknown), (Code::NotFound, "NOT_FOUND"));
    let change = pb::UpdateVpcRequest {
        id: vpc.id.clone(),
        description: Some("d".to_owned()),
        revision: Some(vpc.revision),
        ..Default::default()
    };
    let changed = vpcs.update(change.clone()).await.unwrap().into_inner();
    assert_eq!(
        (changed.name.as_str(), changed.description.as_str()),
        ("net", "d")
    );
    let late = vpcs.update(change).await.unwrap_err();
    assert_eq!(said(&late), (Code::Aborted, "CONFLICT"));
    let listed = vpcs.list(pb::ListVpcsRequest {
        project_id: "shop".to_owned(),
        ..Default::default()
    });
    assert_eq!(listed.await.unwrap().into_inner().vpcs, [changed]);

    let subnet = subnets
        .create(pb::CreateSubnetRequest {
            name: "sub".to_owned(),
            vpc_id: vpc.id.clone(),
            cidr_block: "10.0.1.0/24".to_owned(),
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(subnet.gateway_ip, "10.0.1.1");
    let group = groups
        .create(pb::CreateSecurityGroupRequest {
            name: "web".to_owned(),
            org_id: "acme".to_owned(),
            project_id: "shop".to_owned(),
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    let rule = groups
        .create_rule(pb::CreateRuleRequest {
            security_group_id: group.id.clone(),
            direction: "ingress".to_owned(),
            protocol: "tcp".to_owned(),
            port_min: Some(80),
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (rule.port_max, rule.remote_cidr.as_str()),
        (Some(80), "0.0.0.0/0")
    );
    let port = ports
        .create(pb::CreatePortRequest {
            subnet_id: subnet.id.clone(),
            security_groups: Some(pb::GroupIds {
                ids: vec![group.id.clone()],
            }),
            host_id: "h1".to_owned(),
            device_id: "vm-1".to_owned(),
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (port.ip_address.as_str(), port.status.as_str()),
        ("10.0.1.2", "building")
    );
    let moved = pb::UpdatePortRequest {
        id: port.id.clone(),
        host_id: Some("h2".to_owned()),
        ..Default::default()
    };
    let moved = ports.update(moved).await.unwrap().into_inner();
    assert_eq!(
        (moved.host_id.as_str(), moved.device_id.as_str()),
        ("h2", "vm-1")
    );
    let on_h2 = ports.list(pb::ListPortsRequest {
        host_id: "h2".to_owned(),
        ..Default::default()
    });
    assert_eq!(on_h2.await.unwrap().into_inner().ports, [moved]);
    let route = routes
        .create(pb::CreateRouteRequest {
            vpc_id: vpc.id.clone(),
            destination: "0.0.0.0/0".to_owned(),
            next_hop: "10.0.1.2".to_owned(),
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    let used = subnets.delete(pb::DeleteSubnetRequest {
        id: subnet.id.clone(),
        revision: None,
    });
    let used = used.await.unwrap_err();
    assert_eq!(said(&used), (Code::FailedPrecondition, "IN_USE"));
    let details = used
        .metadata()
        .get("photon-error-details")
        .unwrap()
        .to_str()
        .unwrap();
    assert!(
        details.contains(&port.id) && details.contains(&route.id),
        "{details}"
    );

    routes
        .delete(pb::DeleteRouteRequest { id: route.id })
        .await
        .unwrap();
    ports
        .delete(pb::DeletePortRequest {
            id: port.id,
            revision: None,
        })
        .await
        .unwrap();
    groups
        .delete_rule(pb::DeleteRuleRequest {
            security_group_id: group.id.clone(),
            id: rule.id,
        })
        .await
        .unwrap();
    groups
        .delete(pb::DeleteSecurityGroupRequest {
            id: group.id,
            revision: None,
        })
        .await
        .unwrap();
    subnets
        .delete(pb::DeleteSubnetRequest {
            id: subnet.id,
            revision: None,
        })
        .await
        .unwrap();
    let gone = vpcs.delete(pb::DeleteVpcRequest {
        id: vpc.id.clone(),
        revision: None,
    });
    assert!(gone.await.unwrap().into_inner().revision > vpc.revision);
    assert_eq!(
        operator.get("/api/v1/vpcs").await.data()["vpcs"],
        serde_json::json!([])
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_it_is_the_same_as_rest() {
    let house = House::dev().await;
    let operator = &house.operator;
    let channel = channel(&house).await;
    let mut networks = ExternalNetworksClient::new(channel.clone());
    let mut floating = FloatingIpsClient::new(channel.clone());
    let mut ports = PortsClient::new(channel);

    let missing = networks.create(pb::CreateExternalNetworkRequest {
        name: "n".to_owned(),
        ..Default::default()
    });
    let missing = missing.await.unwrap_err();
    assert_eq!(missing.message(), "cidr_block is required");
    let uplinks = |interface: &str| pb::Uplinks {
        interfaces: [("h1".to_owned(), interface.to_owned())].into(),
    };
    let network = networks
        .create(pb::CreateExternalNetworkRequest {
            name: "internet".to_owned(),
            cidr_block: "192.0.2.0/29".to_owned(),
            gateway_ip: "192.0.2.1".to_owned(),
            uplinks: Some(uplinks("eth0")),
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    let range = |first: &str, last: &str| pb::AddressRange {
        first: first.to_owned(),
        last: last.to_owned(),
    };
    assert_eq!(network.pool, [range("192.0.2.2", "192.0.2.6")]);
    assert_eq!(network.uplinks, Some(uplinks("eth0")));
    let shown = operator
        .get(&format!("/api/v1/external-networks/{}", network.id))
        .await;
    assert_eq!(shown.data()["revision"], network.revision);
    assert_eq!(shown.data()["uplinks"], serde_json::json!({ "h1": "eth0" }));
    let by_id = pb::GetExternalNetworkRequest {
        id: network.id.clone(),
    };
    let got = networks.get(by_id).await.unwrap().into_inner();
    assert_eq!(got, network);
    let change = pb::UpdateExternalNetworkRequest {
        id: network.id.clone(),
        gateway_ip: Some(String::new()),
        pool: Some(pb::AddressRanges {
            ranges: vec![range("192.0.2.1", "192.0.2.2")],
        }),
        uplinks: Some(uplinks("eth1")),
        revision: Some(network.revision),
        ..Default::default()
    };
    let changed = networks.update(change.clone()).await.unwrap().into_inner();
    assert_eq!(
        (changed.name.as_str(), changed.gateway_ip.as_str()),
        ("internet", "")
    );
    assert_eq!(changed.uplinks, Some(uplinks("eth1")));
    let late = networks.update(change).await.unwrap_err();
    assert_eq!(said(&late), (Code::Aborted, "CONFLICT"));
    let listed = networks.list(pb::ListExternalNetworksRequest {
        name: "internet".to_owned(),
        ..Default::default()
    });
    let listed = listed.await.unwrap().into_inner();
    assert_eq!(listed.external_networks, [changed]);

    let vpc = operator.vpc("10.0.0.0/16").await;
    let subnet = operator.subnet(&vpc, "10.0.1.0/24").await;
    let port = operator.port(&subnet).await.id();
    let new = pb::CreateFloatingIpRequest {
        external_network_id: network.id.clone(),
        org_id: "acme".to_owned(),
        project_id: "shop".to_owned(),
        port_id: port.clone(),
        ..Default::default()
    };
    let keyed = || {
        let mut request = Request::new(new.clone());
        let metadata = request.metadata_mut();
        metadata.insert("idempotency-key", "k".parse().unwrap());
        request
    };
    let first = floating.create(keyed()).await.unwrap().into_inner();
    assert_eq!(floating.create(keyed()).await.unwrap().into_inner(), first);
    assert_eq!(
        (first.address.as_str(), first.fixed_ip.as_str()),
        ("192.0.2.1", "10.0.1.2")
    );
    let another = floating.create(new.clone()).await.unwrap_err();
    assert_eq!(said(&another), (Code::AlreadyExists, "ALREADY_EXISTS"));
    let wanted = pb::CreateFloatingIpRequest {
        address: "192.0.2.2".to_owned(),
        port_id: String::new(),
        ..new
    };
    let second = floating.create(wanted.clone()).await.unwrap().into_inner();
    assert_eq!((second.port_id.as_str(), second.host_id.as_str()), ("", ""));
    let taken = floating.create(wanted).await.unwrap_err();
    assert_eq!(said(&taken), (Code::AlreadyExists, "ADDRESS_IN_USE"));
    let of_port = floating.list(pb::ListFloatingIpsRequest {
        port_id: port.clone(),
        ..Default::default()
    });
    let of_port = of_port.await.unwrap().into_inner();
    assert_eq!(of_port.floating_ips, std::slice::from_ref(&first));
    let used = ports.delete(pb::DeletePortRequest {
        id: port,
        revision: None,
    });
    let used = used.await.unwrap_err();
    assert_eq!(said(&used), (Code::FailedPrecondition, "IN_USE"));
    let off = floating.update(pb::UpdateFloatingIpRequest {
        id: first.id.clone(),
        port_id: Some(String::new()),
        description: Some("spare".to_owned()),
        revision: Some(first.revision),
    });
    let off = off.await.unwrap().into_inner();
    assert_eq!((off.port_id.as_str(), off.fixed_ip.as_str()), ("", ""));
    let by_id = pb::GetFloatingIpRequest {
        id: first.id.clone(),
    };
    assert_eq!(floating.get(by_id).await.unwrap().into_inner(), off);
    let gone = pb::DeleteExternalNetworkRequest {
        id: network.id.clone(),
        revision: None,
    };
    let used = networks.delete(gone.clone()).await.unwrap_err();
    assert_eq!(said(&used), (Code::FailedPrecondition, "IN_USE"));
    for id in [first.id, second.id] {
        let release = pb::DeleteFloatingIpRequest { id, revision: None };
        floating.delete(release).await.unwrap();
    }
    networks.delete(gone).await.unwrap();
    house.stop().await;
}
