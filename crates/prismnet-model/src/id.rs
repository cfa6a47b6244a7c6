//! Ids, one type per kind of thing.

use photon_core::{Id, Kind};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $id:ident $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $kind;

        impl Kind for $kind {
            const PREFIX: &'static str = $prefix;
        }

        $(#[$doc])*
        pub type $id = Id<$kind>;
    )*};
}

kinds! {
    /// Networks of a project.
    VpcKind VpcId "vpc";
    /// Segments of a network.
    SubnetKind SubnetId "subnet";
    /// Addresses with their MACs.
    PortKindId PortId "port";
    /// Sets of ports with rules.
    GroupKind GroupId "sg";
    /// What a group allows.
    RuleKind RuleId "rule";
    /// Ways that a network knows.
    RouteKind RouteId "route";
    /// Networks outside.
    ExternalNetworkKind ExternalNetworkId "extnet";
    /// Addresses outside, for ports.
    FloatingIpKind FloatingIpId "fip";
}
