//! Who asks.

use std::{fmt, net::IpAddr, sync::Arc};

use photon_authz::{PrincipalRef, Scope};
use photon_core::Name;

/// Who a request is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// A request without a credential in dev mode: may do everything.
    DevOperator,
    /// A principal that has proved it.
    Principal(PrincipalRef),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DevOperator => f.write_str("dev-operator"),
            Self::Principal(principal) => principal.fmt(f),
        }
    }
}

/// For whom a service acts (decision 13). Audited beside the service; it adds no rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnBehalf {
    /// Who asked for it in the beginning.
    pub principal: PrincipalRef,
    /// The project it is done for.
    pub project: Name,
}

/// The caller of a request, as its credential says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who it is.
    pub who: Who,
    /// Its token's scope: nothing outside it is allowed. `None`: no limit.
    pub limit: Option<Scope>,
    /// Where the request came from.
    pub source: Option<IpAddr>,
    /// For whom it acts, if it is a service that says so.
    pub on_behalf: Option<OnBehalf>,
    /// The `jti` of its token.
    pub token_id: Option<Arc<str>>,
    /// Who acts as it, if its token was issued to somebody else. Audited beside it; it adds no rights and takes none.
    pub acting: Option<PrincipalRef>,
}

impl Caller {
    /// The operator of dev mode.
    pub(crate) fn dev_operator(source: Option<IpAddr>) -> Self {
        Self {
            who: Who::DevOperator,
            limit: None,
            source,
            on_behalf: None,
            token_id: None,
            acting: None,
        }
    }

    /// The principal, unless it is the operator of dev mode.
    #[must_use]
    pub fn principal(&self) -> Option<&PrincipalRef> {
        match &self.who {
            Who::DevOperator => None,
            Who::Principal(principal) => Some(principal),
        }
    }

    /// Whether the caller is this principal.
    #[must_use]
    pub fn is(&self, principal: &PrincipalRef) -> bool {
        self.principal() == Some(principal)
    }
}
