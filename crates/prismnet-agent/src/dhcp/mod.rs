//! DHCP for ports here, from their records: nothing is given out, nothing is remembered (RFC 2131, 3442).

pub mod answer;
pub mod request;
pub mod responder;

pub use answer::{Network, answer};
pub use responder::Responders;
