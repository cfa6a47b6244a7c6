//! How texts with a form of their own look in the OpenAPI document. Nothing here is built.

use std::collections::HashMap;

use utoipa::ToSchema;

/// What people call it: 1 to 200 bytes, no control characters, not only spaces. Need not be unique.
#[derive(ToSchema)]
#[schema(value_type = String, min_length = 1, max_length = 200, example = "app-server-03")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct VmNameText(String);

/// The id of a VM.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    pattern = "^vm-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
    example = "vm-019ac8e5-3c00-7001-8c00-000000000001"
)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct VmText(String);

/// The id of an image.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    pattern = "^img-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
    example = "img-019ac8e5-3c00-7001-8c00-000000000004"
)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct ImageText(String);

/// The id of a volume.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    pattern = "^vol-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
    example = "vol-019ac8e5-3c00-7001-8c00-000000000006"
)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct VolumeText(String);

/// How a volume is.
#[derive(ToSchema)]
#[schema(as = VolumeState)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) enum VolumeStateText {
    Creating,
    Available,
    InUse,
    Detaching,
    Error,
    Deleting,
    Unknown,
}

/// The id of an operation.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    pattern = "^op-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
    example = "op-019ac8e5-3c00-7001-8c00-000000000002"
)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct OperationText(String);

/// What runs a VM: with the CPU's help, or emulated.
#[derive(ToSchema)]
#[schema(as = Hypervisor, rename_all = "lowercase")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) enum HypervisorText {
    Kvm,
    Qemu,
}

/// How a VM is.
#[derive(ToSchema)]
#[schema(as = VmState)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) enum StateText {
    Creating,
    Stopped,
    Starting,
    Running,
    Stopping,
    Paused,
    Suspended,
    Error,
    Deleting,
    Unknown,
}

/// The id of a snapshot.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    pattern = "^snap-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
    example = "snap-019ac8e5-3c00-7001-8c00-000000000007"
)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct SnapshotText(String);

/// How a snapshot is.
#[derive(ToSchema)]
#[schema(as = SnapshotState)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) enum SnapshotStateText {
    Creating,
    Ready,
    Error,
    Deleting,
}

/// Up to 64: keys of 1 to 63 letters, digits and `._/-`, the first a letter or digit; values of up to 255 bytes.
#[derive(ToSchema)]
#[schema(value_type = HashMap<String, String>, example = json!({"tier": "web"}))]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct LabelsText(HashMap<String, String>);

/// The digest of an image.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^sha256:[0-9a-f]{64}$")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct ImageDigestText(String);

/// The id of a port of PrismNET.
#[derive(ToSchema)]
#[schema(value_type = String, example = "port-019ac8e5-3c00-7001-8c00-000000000003")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct PortText(String);

/// The id of a subnet of PrismNET.
#[derive(ToSchema)]
#[schema(value_type = String, example = "subnet-019ac8e5-3c00-7001-8c00-000000000004")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct SubnetText(String);

/// The id of a VPC of PrismNET.
#[derive(ToSchema)]
#[schema(value_type = String, example = "vpc-019ac8e5-3c00-7001-8c00-000000000005")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct VpcText(String);

/// The id of a security group of PrismNET.
#[derive(ToSchema)]
#[schema(value_type = String, example = "sg-019ac8e5-3c00-7001-8c00-000000000006")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct GroupText(String);
