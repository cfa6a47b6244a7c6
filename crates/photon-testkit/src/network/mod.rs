//! Hosts of PrismNET with agents in them, what their records are, and somebody who uses them.
//!
//! | module | what |
//! |---|---|
//! | [`lab`] | hosts as network namespaces, an agent in each, and a store that all follow |
//! | [`samples`] | records to try things with |
//! | [`tenant`] | somebody with a network |

#![expect(
    clippy::unwrap_used,
    reason = "what goes wrong here is a test that fails"
)]

pub mod lab;
pub mod samples;
pub mod tenant;
