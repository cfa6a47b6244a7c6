//! Generates every protobuf message and gRPC stub of the suite from `proto/`.

use std::{env, path::PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = "../../proto";
    println!("cargo:rerun-if-changed={root}");
    let files = [
        "etcd/authpb/auth.proto",
        "etcd/mvccpb/kv.proto",
        "etcd/etcdserverpb/rpc.proto",
        "etcd/v3lockpb/v3lock.proto",
        "etcd/v3electionpb/v3election.proto",
        "photon/chainfire/command/v1/command.proto",
        "photon/chainfire/v1/chainfire.proto",
        "photon/raft/v1/raft.proto",
    ]
    .map(|file| format!("{root}/{file}"));
    let out = PathBuf::from(env::var("OUT_DIR")?);
    tonic_prost_build::configure()
        // Keys and values are cut out of the received frame instead of copied.
        .bytes(".mvccpb")
        .bytes(".etcdserverpb")
        .bytes(".authpb")
        .bytes(".photon")
        .file_descriptor_set_path(out.join("descriptors.bin"))
        .compile_protos(&files, &[root.to_owned()])?;
    Ok(())
}
