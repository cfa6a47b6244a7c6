//! The gRPC doors: the same use cases.

use photon_proto::photon::plasmavmc::v1::{
    self as pb, hosts_client::HostsClient, images_client::ImagesClient,
    operations_client::OperationsClient, pools_client::PoolsClient,
    snapshots_client::SnapshotsClient, vms_client::VmsClient, volumes_client::VolumesClient,
};
use photon_testkit::poll::eventually;
use tonic::{Code, Request, Status, transport::Channel};

use crate::house::{House, PATIENCE, VMS};

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
    house.operator.until(&vm.id, "Running").await;
    let asked = vms.suspend(pb::SuspendVmRequest { id: id() }).await;
    assert_eq!(asked.unwrap().into_inner().wanted_state, "Suspended");
    house.operator.until(&vm.id, "Suspended").await;
    let asked = vms.resume(pb::ResumeVmRequest { id: id() }).await;
    assert_eq!(asked.unwrap().into_inner().state, "Starting");
    house.operator.until(&vm.id, "Running").await;
    let asked = vms.pause(pb::PauseVmRequest { id: id() }).await;
    assert_eq!(asked.unwrap().into_inner().wanted_state, "Paused");
    house.operator.until(&vm.id, "Paused").await;
    let resize = pb::ResizeVmRequest {
        id: id(),
        vcpus: 2,
        ..Default::default()
    };
    let refused = vms.resize(resize.clone()).await.unwrap_err();
    assert_eq!(
        said(&refused),
        (Code::FailedPrecondition, "FAILED_PRECONDITION")
    );

    let mut snapshots = SnapshotsClient::new(channel.clone());
    let new = pb::CreateSnapshotRequest {
        vm_id: id(),
        name: "before".to_owned(),
        ..Default::default()
    };
    let bad = pb::CreateSnapshotRequest {
        vm_id: "web".to_owned(),
        ..new.clone()
    };
    let bad = snapshots.create(bad).await.unwrap_err();
    assert_eq!(said(&bad), (Code::InvalidArgument, "VALIDATION_ERROR"));
    let taken = snapshots.create(new).await.unwrap().into_inner();
    assert_eq!((taken.state.as_str(), &taken.vm_id), ("Creating", &vm.id));
    let by_id = || pb::GetSnapshotRequest {
        id: taken.id.clone(),
    };
    let ready = eventually("it is taken", PATIENCE, || {
        let mut snapshots = snapshots.clone();
        let request = by_id();
        async move {
            let found = snapshots.get(request).await.unwrap().into_inner();
            Some(found).filter(|found| found.state == "Ready")
        }
    });
    let ready = ready.await.unwrap();
    assert!(ready.memory && ready.taken_at.is_some());
    let list = pb::ListSnapshotsRequest {
        vm_id: id(),
        ..Default::default()
    };
    let listed = snapshots.list(list).await.unwrap().into_inner();
    assert_eq!(listed.snapshots, [ready]);
    let revert = |memory| pb::RevertSnapshotRequest {
        id: taken.id.clone(),
        memory,
    };
    let refused = snapshots.revert(revert(Some(false))).await.unwrap_err();
    assert_eq!(said(&refused).1, "FAILED_PRECONDITION");
    snapshots.revert(revert(None)).await.unwrap();
    house.operator.until(&vm.id, "Running").await;
    let gone = pb::DeleteSnapshotRequest {
        id: taken.id.clone(),
        revision: None,
    };
    let gone = snapshots.delete(gone).await.unwrap().into_inner();
    assert_eq!(gone.state, "Deleting");
    let stop = pb::StopVmRequest {
        id: id(),
        force: true,
    };
    vms.stop(stop).await.unwrap();
    house.operator.until(&vm.id, "Stopped").await;
    assert_eq!(vms.resize(resize).await.unwrap().into_inner().cpus, 2);

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

#[tokio::test(flavor = "multi_thread")]
async fn volumes_and_pools_are_the_same_as_by_rest() {
    let house = House::dev().await;
    let _host = house.host("host-1").await;
    let channel = channel(&house).await;
    let mut volumes = VolumesClient::new(channel.clone());
    let bad = pb::CreateVolumeRequest {
        name: "data".to_owned(),
        ..Default::default()
    };
    let bad = volumes.create(bad).await.unwrap_err();
    assert_eq!(said(&bad), (Code::InvalidArgument, "VALIDATION_ERROR"));
    assert_eq!(bad.message(), "size_gb must be 1 to 16384");
    let vm = house.operator.started().await;
    let new = pb::CreateVolumeRequest {
        name: "data".to_owned(),
        org_id: "acme".to_owned(),
        project_id: "shop".to_owned(),
        size_gb: 4,
        vm_id: vm.clone(),
        labels: [("tier".to_owned(), "db".to_owned())].into(),
        ..Default::default()
    };
    let made = volumes.create(new).await.unwrap().into_inner();
    assert_eq!((made.state.as_str(), &made.vm_id), ("Creating", &vm));
    let id = || made.id.clone();
    house.operator.until_volume(&made.id, "InUse").await;
    let get = pb::GetVolumeRequest { id: id() };
    let now = volumes.get(get).await.unwrap().into_inner();
    let shown = house
        .operator
        .get(&format!("/api/v1/volumes/{}", made.id))
        .await;
    assert_eq!(shown.data()["revision"], now.revision);
    assert_eq!(shown.data()["serial"], now.serial);
    assert_eq!(
        (now.host_id.as_str(), now.pool.as_str()),
        ("host-1", "local")
    );
    let list = pb::ListVolumesRequest {
        vm_id: vm.clone(),
        state: "InUse".to_owned(),
        ..Default::default()
    };
    let listed = volumes.list(list).await.unwrap().into_inner();
    assert_eq!(listed.volumes, [now]);
    let update = pb::UpdateVolumeRequest {
        id: id(),
        name: Some("more".to_owned()),
        labels: Some(pb::Labels::default()),
        revision: None,
    };
    let changed = volumes.update(update).await.unwrap().into_inner();
    assert!(changed.name == "more" && changed.labels.is_empty());
    let larger = pb::ResizeVolumeRequest {
        id: id(),
        size_gb: 5,
    };
    let refused = volumes.resize(larger.clone()).await.unwrap_err();
    assert_eq!(
        said(&refused),
        (Code::FailedPrecondition, "FAILED_PRECONDITION")
    );
    let delete = pb::DeleteVolumeRequest {
        id: id(),
        revision: None,
    };
    let refused = volumes.delete(delete.clone()).await.unwrap_err();
    assert_eq!(said(&refused), (Code::FailedPrecondition, "IN_USE"));
    let detach = pb::DetachVolumeRequest { id: id() };
    let detached = volumes.detach(detach).await.unwrap().into_inner();
    assert_eq!(detached.state, "Detaching");
    house.operator.until_volume(&made.id, "Available").await;
    assert_eq!(
        volumes.resize(larger).await.unwrap().into_inner().size_gb,
        5
    );
    let nobody = pb::AttachVolumeRequest {
        id: id(),
        vm_id: String::new(),
    };
    let refused = volumes.attach(nobody).await.unwrap_err();
    assert_eq!(refused.message(), "vm_id is required");
    // While it grows, it is not given to anybody.
    let attached = eventually("it is attached", PATIENCE, || {
        let mut volumes = volumes.clone();
        let attach = pb::AttachVolumeRequest {
            id: id(),
            vm_id: vm.clone(),
        };
        async move { volumes.attach(attach).await.ok() }
    });
    assert_eq!(attached.await.unwrap().into_inner().vm_id, vm);
    let mut pools = PoolsClient::new(channel);
    let all = pools.list(pb::ListPoolsRequest {}).await.unwrap();
    let get = pb::GetPoolRequest {
        name: "local".to_owned(),
    };
    let local = pools.get(get).await.unwrap().into_inner();
    assert_eq!(local.inside.as_ref().unwrap().allocated_gib, 5);
    assert_eq!(all.into_inner().pools, [local]);
    house.operator.delete_vm(&vm).await;
    house.operator.until_volume(&made.id, "Available").await;
    let going = volumes.delete(delete).await.unwrap().into_inner();
    assert_eq!(going.state, "Deleting");
    house.operator.until_volume_gone(&made.id).await;
    house.stop().await;
}
