//! Free loopback ports for processes that cannot be handed a bound listener.

use std::net::{Ipv4Addr, TcpListener};

/// Finds `N` different free TCP ports on 127.0.0.1.
///
/// All are held bound until all are known, so they differ. Another process may take one between the
/// release and its use: whoever starts a server on them tries again with new ones
/// (see [`crate::etcd`]). Prefer a pre-bound listener where the server takes one.
///
/// # Errors
/// When the kernel has no port left.
pub fn free<const N: usize>() -> std::io::Result<[u16; N]> {
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    #[test]
    fn ports_differ_and_can_be_bound() {
        let ports = super::free::<8>().unwrap();
        let held: Vec<_> = ports
            .iter()
            .map(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).unwrap())
            .collect();
        assert_eq!(held.len(), 8);
    }
}
