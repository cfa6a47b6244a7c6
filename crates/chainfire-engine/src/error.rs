//! etcd's refusals: the gRPC code and the text that etcd's clients compare byte for byte.
//!
//! Source of codes and texts: etcd 3.6, `api/v3rpc/rpctypes/error.go`. Names here are etcd's without `ErrGRPC`.

use std::{borrow::Cow, fmt, io};

/// gRPC status codes used below (google.rpc.Code).
mod code {
    pub(super) const CANCELED: i32 = 1;
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const INVALID_ARGUMENT: i32 = 3;
    pub(super) const DEADLINE_EXCEEDED: i32 = 4;
    pub(super) const NOT_FOUND: i32 = 5;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: i32 = 8;
    pub(super) const FAILED_PRECONDITION: i32 = 9;
    pub(super) const OUT_OF_RANGE: i32 = 11;
    pub(super) const INTERNAL: i32 = 13;
    pub(super) const UNAVAILABLE: i32 = 14;
    pub(super) const DATA_LOSS: i32 = 15;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

/// A refusal in etcd's words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EtcdError {
    /// gRPC status code.
    pub code: i32,
    /// The exact text clients match on.
    pub message: Cow<'static, str>,
}

impl EtcdError {
    /// A refusal with a text that is etcd's own and known when compiled.
    #[must_use]
    pub const fn new(code: i32, message: &'static str) -> Self {
        Self {
            code,
            message: Cow::Borrowed(message),
        }
    }

    /// A refusal that came over the wire or out of the log.
    #[must_use]
    pub fn from_parts(code: i32, message: String) -> Self {
        Self {
            code,
            message: Cow::Owned(message),
        }
    }

    /// The store itself failed (disk, corruption). The private cause is for the log, never for a client.
    #[must_use]
    pub fn storage(cause: &io::Error) -> Self {
        tracing::error!(error = %cause, "reading the store failed");
        Self::STORAGE_FAILED
    }
}

impl fmt::Display for EtcdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for EtcdError {}

macro_rules! errors {
    ($($name:ident = $code:ident, $text:literal;)*) => {
        impl EtcdError {
            $(
                #[doc = concat!("`", $text, "`")]
                pub const $name: EtcdError = EtcdError::new(code::$code, $text);
            )*
            /// Every constant above, for tables and tests.
            pub const ALL: &'static [EtcdError] = &[$(EtcdError::$name),*];
        }
    };
}

errors! {
    EMPTY_KEY = INVALID_ARGUMENT, "etcdserver: key is not provided";
    KEY_NOT_FOUND = INVALID_ARGUMENT, "etcdserver: key not found";
    VALUE_PROVIDED = INVALID_ARGUMENT, "etcdserver: value is provided";
    LEASE_PROVIDED = INVALID_ARGUMENT, "etcdserver: lease is provided";
    TOO_MANY_OPS = INVALID_ARGUMENT, "etcdserver: too many operations in txn request";
    DUPLICATE_KEY = INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request";
    INVALID_CLIENT_API_VERSION = INVALID_ARGUMENT, "etcdserver: invalid client api version";
    INVALID_SORT_OPTION = INVALID_ARGUMENT, "etcdserver: invalid sort option";
    COMPACTED = OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted";
    FUTURE_REV = OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision";
    NO_SPACE = RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded";

    LEASE_NOT_FOUND = NOT_FOUND, "etcdserver: requested lease not found";
    LEASE_EXIST = FAILED_PRECONDITION, "etcdserver: lease already exists";
    LEASE_TTL_TOO_LARGE = OUT_OF_RANGE, "etcdserver: too large lease TTL";

    WATCH_CANCELED = CANCELED, "etcdserver: watch canceled";

    MEMBER_EXIST = FAILED_PRECONDITION, "etcdserver: member ID already exist";
    PEER_URL_EXIST = FAILED_PRECONDITION, "etcdserver: Peer URLs already exists";
    MEMBER_NOT_ENOUGH_STARTED = FAILED_PRECONDITION, "etcdserver: re-configuration failed due to not enough started members";
    MEMBER_BAD_URLS = INVALID_ARGUMENT, "etcdserver: given member URLs are invalid";
    MEMBER_NOT_FOUND = NOT_FOUND, "etcdserver: member not found";
    MEMBER_NOT_LEARNER = FAILED_PRECONDITION, "etcdserver: can only promote a learner member";
    LEARNER_NOT_READY = FAILED_PRECONDITION, "etcdserver: can only promote a learner member which is in sync with leader";
    TOO_MANY_LEARNERS = FAILED_PRECONDITION, "etcdserver: too many learner members in cluster";
    CLUSTER_ID_MISMATCH = FAILED_PRECONDITION, "etcdserver: cluster ID mismatch";

    REQUEST_TOO_LARGE = INVALID_ARGUMENT, "etcdserver: request is too large";
    REQUEST_TOO_MANY_REQUESTS = RESOURCE_EXHAUSTED, "etcdserver: too many requests";

    ROOT_USER_NOT_EXIST = FAILED_PRECONDITION, "etcdserver: root user does not exist";
    ROOT_ROLE_NOT_EXIST = FAILED_PRECONDITION, "etcdserver: root user does not have root role";
    USER_ALREADY_EXIST = FAILED_PRECONDITION, "etcdserver: user name already exists";
    USER_EMPTY = INVALID_ARGUMENT, "etcdserver: user name is empty";
    USER_NOT_FOUND = FAILED_PRECONDITION, "etcdserver: user name not found";
    ROLE_ALREADY_EXIST = FAILED_PRECONDITION, "etcdserver: role name already exists";
    ROLE_NOT_FOUND = FAILED_PRECONDITION, "etcdserver: role name not found";
    ROLE_EMPTY = INVALID_ARGUMENT, "etcdserver: role name is empty";
    AUTH_FAILED = INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password";
    PERMISSION_NOT_GIVEN = INVALID_ARGUMENT, "etcdserver: permission not given";
    PERMISSION_DENIED = PERMISSION_DENIED, "etcdserver: permission denied";
    ROLE_NOT_GRANTED = FAILED_PRECONDITION, "etcdserver: role is not granted to the user";
    PERMISSION_NOT_GRANTED = FAILED_PRECONDITION, "etcdserver: permission is not granted to the role";
    AUTH_NOT_ENABLED = FAILED_PRECONDITION, "etcdserver: authentication is not enabled";
    INVALID_AUTH_TOKEN = UNAUTHENTICATED, "etcdserver: invalid auth token";
    INVALID_AUTH_MGMT = INVALID_ARGUMENT, "etcdserver: invalid auth management";
    AUTH_OLD_REVISION = INVALID_ARGUMENT, "etcdserver: revision of auth store is old";

    NO_LEADER = UNAVAILABLE, "etcdserver: no leader";
    NOT_LEADER = FAILED_PRECONDITION, "etcdserver: not leader";
    LEADER_CHANGED = UNAVAILABLE, "etcdserver: leader changed";
    NOT_CAPABLE = FAILED_PRECONDITION, "etcdserver: not capable";
    STOPPED = UNAVAILABLE, "etcdserver: server stopped";
    TIMEOUT = UNAVAILABLE, "etcdserver: request timed out";
    TIMEOUT_DUE_TO_LEADER_FAIL = UNAVAILABLE, "etcdserver: request timed out, possibly due to previous leader failure";
    TIMEOUT_DUE_TO_CONNECTION_LOST = UNAVAILABLE, "etcdserver: request timed out, possibly due to connection lost";
    TIMEOUT_WAIT_APPLIED_INDEX = UNAVAILABLE, "etcdserver: request timed out, waiting for the applied index took too long";
    UNHEALTHY = UNAVAILABLE, "etcdserver: unhealthy cluster";
    CORRUPT = DATA_LOSS, "etcdserver: corrupt cluster";
    NOT_SUPPORTED_FOR_LEARNER = FAILED_PRECONDITION, "etcdserver: rpc not supported for learner";
    BAD_LEADER_TRANSFEREE = FAILED_PRECONDITION, "etcdserver: bad leader transferee";

    WRONG_DOWNGRADE_VERSION_FORMAT = INVALID_ARGUMENT, "etcdserver: wrong downgrade target version format";
    INVALID_DOWNGRADE_TARGET_VERSION = INVALID_ARGUMENT, "etcdserver: invalid downgrade target version";
    CLUSTER_VERSION_UNAVAILABLE = FAILED_PRECONDITION, "etcdserver: cluster version not found during downgrade";
    DOWNGRADE_IN_PROCESS = FAILED_PRECONDITION, "etcdserver: cluster has a downgrade job in progress";
    NO_INFLIGHT_DOWNGRADE = FAILED_PRECONDITION, "etcdserver: no inflight downgrade job";

    CANCELED = CANCELED, "etcdserver: request canceled";
    DEADLINE_EXCEEDED = DEADLINE_EXCEEDED, "etcdserver: context deadline exceeded";

    // ChainFire's own, outside etcd's table.
    STORAGE_FAILED = INTERNAL, "etcdserver: the store could not be read; see the member's log";
    ANSWER_TOO_LARGE = INVALID_ARGUMENT, "etcdserver: the answer is larger than it may be";
    UNDECODABLE_COMMAND = UNKNOWN, "etcdserver: the command could not be decoded";
}

/// Why an operation did not happen: the request's fault, answered to the caller, or the disk's, which ends the process.
#[derive(Debug)]
pub(crate) enum Fault {
    Refused(EtcdError),
    Disk(io::Error),
}

impl From<EtcdError> for Fault {
    fn from(error: EtcdError) -> Self {
        Self::Refused(error)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl Fault {
    /// For readers: a broken disk is logged and answered as such.
    pub(crate) fn into_etcd(self) -> EtcdError {
        match self {
            Self::Refused(error) => error,
            Self::Disk(error) => EtcdError::storage(&error),
        }
    }
}

pub(crate) type Answer<T> = Result<T, Fault>;
