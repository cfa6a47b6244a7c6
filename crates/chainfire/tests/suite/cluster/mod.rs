//! Three real processes in network namespaces, every listener with TLS, under load and under faults.
//!
//! Each scenario runs the same load (registers, and watchers on every member), breaks something, mends it, and
//! then demands: writes are served again on every member, the history is linearizable, every watcher saw every
//! change once and in order, and all members hash alike.

mod bootstrap;
mod certificates;
mod faults;
mod harness;
mod load;
mod membership;
mod storage;
