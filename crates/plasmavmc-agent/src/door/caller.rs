//! Who asks, by the client certificate, and what they may.

use photon_core::Error;
use photon_server::{Peer, grpc::status};
use tonic::{Request, Status};

/// The common name of the control plane.
const CONTROL_PLANE: &str = "plasmavmc";
/// How those of other hosts' agents begin.
const AGENT: &str = "plasmavmc-agent@";

/// Lets callers in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keeper {
    /// Without certificates everybody is on this machine.
    pub(super) is_encrypted: bool,
}

impl Keeper {
    /// Lets the control plane in, and nobody else.
    pub(super) fn control_plane<T>(self, request: &Request<T>) -> Result<(), Status> {
        self.admit(request, |name| name == CONTROL_PLANE)
    }

    /// Lets the control plane in, and the agents of other hosts.
    pub(super) fn agent<T>(self, request: &Request<T>) -> Result<(), Status> {
        self.admit(request, |name| {
            name == CONTROL_PLANE || name.starts_with(AGENT)
        })
    }

    fn admit<T>(self, request: &Request<T>, may: impl FnOnce(&str) -> bool) -> Result<(), Status> {
        let Some(peer) = request.extensions().get::<Peer>() else {
            return Err(status(&Error::internal("a request from nowhere")));
        };
        let refused = match &peer.certificate {
            Some(shown) if may(&shown.common_name) => return Ok(()),
            Some(shown) => Error::forbidden(format!("{:?} may not do this", shown.common_name)),
            None if !self.is_encrypted && peer.addr.ip().to_canonical().is_loopback() => {
                return Ok(());
            }
            None => Error::unauthenticated("a client certificate is required"),
        };
        Err(status(&refused))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::sync::Arc;

    use photon_server::CertificateIdentity;
    use tonic::Code;

    use super::*;

    fn by(name: Option<&str>, from: &str) -> Request<()> {
        let certificate = name.map(|name| {
            Arc::new(CertificateIdentity {
                common_name: name.to_owned(),
                dns_names: Vec::new(),
                fingerprint: String::new(),
                der: Arc::from([]),
            })
        });
        let mut request = Request::new(());
        request.extensions_mut().insert(Peer {
            addr: from.parse().unwrap(),
            certificate,
        });
        request
    }

    #[test]
    fn everybody_may_do_what_is_theirs() {
        let keeper = Keeper { is_encrypted: true };
        let refused = |done: Result<(), Status>| done.err().map(|status| status.code());
        for (name, control, agent) in [
            (Some("plasmavmc"), None, None),
            (
                Some("plasmavmc-agent@b"),
                Some(Code::PermissionDenied),
                None,
            ),
            (
                Some("plasmavmc2"),
                Some(Code::PermissionDenied),
                Some(Code::PermissionDenied),
            ),
            (
                Some("prismnet-agent@b"),
                Some(Code::PermissionDenied),
                Some(Code::PermissionDenied),
            ),
            (
                Some(""),
                Some(Code::PermissionDenied),
                Some(Code::PermissionDenied),
            ),
            (
                None,
                Some(Code::Unauthenticated),
                Some(Code::Unauthenticated),
            ),
        ] {
            let request = by(name, "127.0.0.1:1");
            assert_eq!(refused(keeper.control_plane(&request)), control, "{name:?}");
            assert_eq!(refused(keeper.agent(&request)), agent, "{name:?}");
        }
        let open = Keeper {
            is_encrypted: false,
        };
        open.control_plane(&by(None, "127.0.0.1:1")).unwrap();
        open.control_plane(&by(None, "192.0.2.1:1")).unwrap_err();
        open.control_plane(&Request::new(())).unwrap_err();
    }
}
