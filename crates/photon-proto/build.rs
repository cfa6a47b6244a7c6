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
    ];
    compile(root, &files, "descriptors.bin")?;
    // A set of its own: what a service reflects, and what it has to know a permission for, is its own methods only.
    compile(root, &["photon/iam/v1/iam.proto"], "iam-descriptors.bin")?;
    compile(
        root,
        &["photon/credit/v1/credit.proto"],
        "credit-descriptors.bin",
    )?;
    compile(
        root,
        &["photon/prismnet/v1/prismnet.proto"],
        "prismnet-descriptors.bin",
    )?;
    compile(
        root,
        &["photon/plasmavmc/v1/plasmavmc.proto"],
        "plasmavmc-descriptors.bin",
    )?;
    compile(
        root,
        &["photon/plasmavmc/agent/v1/agent.proto"],
        "plasmavmc-agent-descriptors.bin",
    )?;
    compile(root, &["photon/host/v1/host.proto"], "host-descriptors.bin")
}

fn compile(
    root: &str,
    files: &[&str],
    descriptors: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let files: Vec<String> = files.iter().map(|file| format!("{root}/{file}")).collect();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    tonic_prost_build::configure()
        // Keys and values are cut out of the received frame instead of copied.
        .bytes(".mvccpb")
        .bytes(".etcdserverpb")
        .bytes(".authpb")
        .bytes(".photon")
        .file_descriptor_set_path(out.join(descriptors))
        .compile_protos(&files, &[root.to_owned()])?;
    Ok(())
}
