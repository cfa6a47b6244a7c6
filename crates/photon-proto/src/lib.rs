//! The suite's wire interface: protobuf messages and gRPC stubs generated from `proto/`, nothing else.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::large_futures,
    reason = "generated code"
)]

/// etcd's authentication records.
pub mod authpb {
    tonic::include_proto!("authpb");
}
/// etcd's key-value records.
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}
/// etcd's client API.
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}
/// etcd's lock service.
pub mod v3lockpb {
    tonic::include_proto!("v3lockpb");
}
/// etcd's election service.
pub mod v3electionpb {
    tonic::include_proto!("v3electionpb");
}
/// PhotonCloud's own packages.
pub mod photon {
    /// ChainFire, the shared state store.
    pub mod chainfire {
        /// The native client API.
        pub mod v1 {
            tonic::include_proto!("photon.chainfire.v1");
        }
        /// The contents of ChainFire's Raft log.
        pub mod command {
            /// Version 1.
            pub mod v1 {
                tonic::include_proto!("photon.chainfire.command.v1");
            }
        }
    }
    /// CreditService, what projects pay from.
    pub mod credit {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("photon.credit.v1");
        }
    }
    /// What programs of one host ask of that host's agents.
    pub mod host {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("photon.host.v1");
        }
    }
    /// IAM, who someone is and what they may do.
    pub mod iam {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("photon.iam.v1");
        }
    }
    /// PlasmaVMC, virtual machines.
    pub mod plasmavmc {
        /// The door of a host's agent.
        pub mod agent {
            /// Version 1.
            pub mod v1 {
                tonic::include_proto!("photon.plasmavmc.agent.v1");
            }
        }
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("photon.plasmavmc.v1");
        }
    }
    /// PrismNET, tenant networks.
    pub mod prismnet {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("photon.prismnet.v1");
        }
    }
    /// Raft between peers.
    pub mod raft {
        /// Version 1.
        pub mod v1 {
            tonic::include_proto!("photon.raft.v1");
        }
    }
}

/// Descriptors of the store's interfaces, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Descriptors of IAM's interface.
pub const IAM_FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/iam-descriptors.bin"));

/// Descriptors of CreditService's interface.
pub const CREDIT_FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/credit-descriptors.bin"));

/// Descriptors of PrismNET's interface.
pub const PRISMNET_FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/prismnet-descriptors.bin"));

/// Descriptors of PlasmaVMC's interface.
pub const PLASMAVMC_FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/plasmavmc-descriptors.bin"));
