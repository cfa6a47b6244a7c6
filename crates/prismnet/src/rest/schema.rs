//! How texts with a form of their own look in the OpenAPI document. Nothing here is built.

pub(crate) use photon_service::rest::IdText;
use utoipa::ToSchema;

/// What people call it: 1 to 200 bytes, no control characters, not only spaces.
#[derive(ToSchema)]
#[schema(value_type = String, min_length = 1, max_length = 200, example = "production-vpc")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct LabelText(String);

/// What people call it, or nothing: up to 200 bytes, no control characters, not only spaces.
#[derive(ToSchema)]
#[schema(value_type = String, max_length = 200, example = "production-vpc")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct MaybeLabelText(String);

/// An id that the caller may choose, or nothing.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^([a-z0-9][a-z0-9._-]{0,62})?$", example = "host-1")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct MaybeIdText(String);

/// What it is for: up to 1024 bytes without control characters.
#[derive(ToSchema)]
#[schema(value_type = String, max_length = 1024, example = "Production environment VPC")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct DescriptionText(String);

/// An IPv4 network, `address/prefix`, without host bits.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^[0-9]{1,3}(\\.[0-9]{1,3}){3}/[0-9]{1,2}$", example = "10.0.0.0/16")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct BlockText(String);

/// An IPv4 address.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^[0-9]{1,3}(\\.[0-9]{1,3}){3}$", example = "10.0.1.1")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct AddressText(String);

/// A unicast MAC address that does not begin with 02:50:4e.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$", example = "06:00:5e:00:53:01")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct MacText(String);

/// The id of a VPC.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    pattern = "^vpc-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
    example = "vpc-019ac8e5-3c00-7001-8c00-000000000001"
)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct VpcText(String);

/// The id of a subnet.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    pattern = "^subnet-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
    example = "subnet-019ac8e5-3c00-7001-8c00-000000000002"
)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct SubnetText(String);

/// The id of a port.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    pattern = "^port-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
    example = "port-019ac8e5-3c00-7001-8c00-000000000003"
)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct PortText(String);

/// The id of a port, or nothing.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    pattern = "^(port-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$",
    example = "port-019ac8e5-3c00-7001-8c00-000000000003"
)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct MaybePortText(String);

/// The id of a security group.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    pattern = "^sg-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
    example = "sg-019ac8e5-3c00-7001-8c00-000000000004"
)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct GroupText(String);

/// The id of a rule.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    pattern = "^rule-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
    example = "rule-019ac8e5-3c00-7001-8c00-000000000006"
)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct RuleText(String);

/// The id of a route.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    pattern = "^route-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
    example = "route-019ac8e5-3c00-7001-8c00-000000000007"
)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct RouteText(String);

/// The id of an external network.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    pattern = "^extnet-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
    example = "extnet-019ac8e5-3c00-7001-8c00-000000000008"
)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct ExternalNetworkText(String);

/// The id of a floating IP.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    pattern = "^fip-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
    example = "fip-019ac8e5-3c00-7001-8c00-000000000009"
)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct FloatingIpText(String);

/// The name of a network interface of a host: letters, digits and `._-@`.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^[0-9A-Za-z._@-]{1,15}$", example = "br-lan")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct InterfaceText(String);

/// What is connected by a port.
#[derive(ToSchema)]
#[schema(as = PortKind, rename_all = "lowercase")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) enum PortKindText {
    Guest,
    Pod,
    Service,
    Vip,
}

/// Which way connections go, seen from the group's ports.
#[derive(ToSchema)]
#[schema(as = Direction, rename_all = "lowercase")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) enum DirectionText {
    Ingress,
    Egress,
}

/// `any`, `tcp`, `udp`, `icmp`, or a number from 1 to 255.
#[derive(ToSchema)]
#[schema(as = Protocol, value_type = String, pattern = "^(any|tcp|udp|icmp|[0-9]{1,3})$", example = "tcp")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct ProtocolText(String);
