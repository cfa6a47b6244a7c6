//! The gRPC doors: the same use cases.

use photon_proto::photon::plasmavmc::v1::{
    self as pb, hosts_client::HostsClient, images_client::ImagesClient,
    operations_client::OperationsClient, vms_client::VmsClient,
};
use tonic::{Code, Request, Status, transport::Channel};

use crate::house::{House, VMS};

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
    let _host = house.host("host-1").await;
    let channel = channel(&house).await;
    let mut vms = VmsClient::new(channel.clone());
    let missing = vms.create(pb::CreateVmRequest {
        name: "n".to_owned(),
        vcpus: 1,
        memory_mib: 64,
        ..Default::default()
    });
    let missing = missing.await.unwrap_err();
    assert_eq!(missing.message(), "org_id is required");
    assert_eq!(said(&missing), (Code::InvalidArgument, "VALIDATION_ERROR"));
    let new = pb::CreateVmRequest {
        name: "web".to_owned(),
        vcpus: 1,
        memory_mib: 64,
        org_id: "acme".to_owned(),
        project_id: "shop".to_owned(),
        hypervisor: "qemu".to_owned(),
        disk_size_gb: 2,
        start: true,
        labels: [("tier".to_owned(), "web".to_owned())].into(),
        ..Default::default()
    };
    let keyed = || {
        let mut request = Request::new(new.clone());
        let metadata = request.metadata_mut();
        metadata.insert("idempotency-key", "k".parse().unwrap());
        request
    };
    let vm = vms.create(keyed()).await.unwrap().into_inner();
    assert_eq!(vms.create(keyed()).await.unwrap().into_inner(), vm);
    assert_eq!((vm.state.as_str(), vm.disk_size_gb), ("Creating", 2));
    let get = pb::GetOperationRequest {
        id: vm.operation_id.clone(),
    };
    let mut operations = OperationsClient::new(channel.clone());
    let operation = operations.get(get).await.unwrap().into_inner();
    assert_eq!(
        (operation.kind.as_str(), &operation.target_id),
        ("vm.create", &vm.id)
    );
    house.operator.until(&vm.id, "Running").await;

    let id = || vm.id.clone();
    let by_id = |id: String| pb::GetVmRequest { id };
    let now = vms.get(by_id(id())).await.unwrap().into_inner();
    let shown = house.operator.get(&format!("{VMS}/{}", vm.id)).await;
    assert_eq!(shown.data()["hypervisor_in_use"], now.hypervisor_in_use);
    assert_eq!(shown.data()["revision"], now.revision);
    assert_eq!((now.host_id.as_str(), &now.labels), ("host-1", &new.labels));
    let unknown = vms.get(by_id("vm-001".to_owned())).await.unwrap_err();
    assert_eq!(said(&unknown), (Code::NotFound, "NOT_FOUND"));

    let list = pb::ListVmsRequest {
        state: "Running".to_owned(),
        ..Default::default()
    };
    let listed = vms.list(list).await.unwrap().into_inner();
    assert_eq!(listed.vms, [now]);
    let update = pb::UpdateVmRequest {
        id: id(),
        name: Some("db".to_owned()),
        labels: Some(pb::Labels::default()),
        ..Default::default()
    };
    let changed = vms.update(update).await.unwrap().into_inner();
    assert!(changed.name == "db" && changed.labels.is_empty());
    let stale = pb::DeleteVmRequest {
        id: id(),
        revision: Some(1),
    };
    assert_eq!(said(&vms.delete(stale).await.unwrap_err()).1, "CONFLICT");

    let stop = pb::StopVmRequest {
        id: id(),
        force: true,
    };
    assert_eq!(
        vms.stop(stop).await.unwrap().into_inner().wanted_state,
        "Stopped"
    );
    house.operator.until(&vm.id, "Stopped").await;
    let reboot = pb::RebootVmRequest {
        id: id(),
        force: true,
    };
    let refused = vms.reboot(reboot).await.unwrap_err();
    assert_eq!(
        said(&refused),
        (Code::FailedPrecondition, "FAILED_PRECONDITION")
    );
    let start = pb::StartVmRequest { id: id() };
    assert_eq!(
        vms.start(start).await.unwrap().into_inner().state,
        "Starting"
    );
    let later = vms
        .pause(pb::PauseVmRequest { id: id() })
        .await
        .unwrap_err();
    assert_eq!(said(&later), (Code::Unimplemented, "NOT_IMPLEMENTED"));

    let mut listing = ImagesClient::new(channel.clone());
    let images = listing
        .list(pb::ListImagesRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(images.images[0].id, "photon-mini");
    let new = pb::CreateImageRequest {
        name: "debian-12".to_owned(),
        org_id: "acme".to_owned(),
        project_id: "shop".to_owned(),
        format: "qcow2".to_owned(),
        ..Default::default()
    };
    let mut images = ImagesClient::new(channel.clone());
    let bad = pb::CreateImageRequest {
        format: "vmdk".to_owned(),
        ..new.clone()
    };
    let bad = images.create(bad).await.unwrap_err();
    assert_eq!(said(&bad), (Code::InvalidArgument, "VALIDATION_ERROR"));
    let image = images.create(new.clone()).await.unwrap().into_inner();
    assert_eq!(
        (image.state.as_str(), image.visibility.as_str()),
        ("Pending", "project")
    );
    let twice = images.create(new).await.unwrap_err();
    assert_eq!(said(&twice), (Code::AlreadyExists, "ALREADY_EXISTS"));
    let change = pb::UpdateImageRequest {
        id: image.id.clone(),
        aliases: Some(pb::Aliases {
            aliases: vec!["debian".to_owned()],
        }),
        revision: Some(image.revision),
        ..Default::default()
    };
    let changed = images.update(change).await.unwrap().into_inner();
    assert_eq!(changed.aliases, ["debian"]);
    let id = || image.id.clone();
    let got = images.get(pb::GetImageRequest { id: id() }).await;
    assert_eq!(got.unwrap().into_inner(), changed);
    let gone = pb::DeleteImageRequest {
        id: id(),
        revision: None,
    };
    images.delete(gone).await.unwrap();
    let got = images.get(pb::GetImageRequest { id: id() }).await;
    assert_eq!(said(&got.unwrap_err()), (Code::NotFound, "NOT_FOUND"));
    let mut hosts = HostsClient::new(channel);
    let hosts = hosts
        .list(pb::ListHostsRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (hosts.hosts[0].state.as_str(), hosts.hosts[0].vms),
        ("up", 1)
    );

    let delete = pb::DeleteVmRequest {
        id: vm.id.clone(),
        revision: None,
    };
    assert_eq!(
        vms.delete(delete).await.unwrap().into_inner().state,
        "Deleting"
    );
    house.operator.until_gone(&vm.id).await;
    house.stop().await;
}
