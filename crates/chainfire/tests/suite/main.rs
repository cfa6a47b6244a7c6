//! ChainFire's integration tests: one binary, because each links the storage engine.

mod authorization;
mod cluster;
mod deploy;
mod differential;
mod etcd;
mod gateway;
mod hostile;
mod layering;
mod local;
mod lock;
mod members;
mod native;
mod offline;
mod rest;
mod store;
