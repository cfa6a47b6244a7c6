//! The one error type and the one table that maps code, HTTP status, gRPC status and whether a retry helps.
//!
//! An [`Error`] has a public half (code, message, details), which callers see, and a private half (the
//! source), which is logged once where the error is handled and never leaves the process.

use std::fmt;

use serde_json::{Value, json};

/// A row of the code table. Only the constants below exist; compare with `==`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Code {
    /// The word clients match, as in `error.code` of the guide's envelope.
    pub name: &'static str,
    /// The HTTP status.
    pub http: u16,
    /// The gRPC status number.
    pub grpc: i32,
    /// Whether the same request may succeed later without being changed.
    pub retryable: bool,
}

const fn code(name: &'static str, http: u16, grpc: i32) -> Code {
    Code {
        name,
        http,
        grpc,
        retryable: false,
    }
}

const fn retryable(name: &'static str, http: u16, grpc: i32) -> Code {
    Code {
        name,
        http,
        grpc,
        retryable: true,
    }
}

impl Code {
    /// The request is malformed or breaks a rule; `details` name the field.
    pub const VALIDATION_ERROR: Self = code("VALIDATION_ERROR", 400, 3);
    /// No credential, or one that is not accepted.
    pub const UNAUTHENTICATED: Self = code("UNAUTHENTICATED", 401, 16);
    /// The caller is known and may not do this.
    pub const FORBIDDEN: Self = code("FORBIDDEN", 403, 7);
    /// The thing, or the path, does not exist.
    pub const NOT_FOUND: Self = code("NOT_FOUND", 404, 5);
    /// The path exists, but not with this method.
    pub const METHOD_NOT_ALLOWED: Self = code("METHOD_NOT_ALLOWED", 405, 12);
    /// Somebody else changed it meanwhile; read again and repeat.
    pub const CONFLICT: Self = code("CONFLICT", 409, 10);
    /// It is there already.
    pub const ALREADY_EXISTS: Self = code("ALREADY_EXISTS", 409, 6);
    /// The state of the thing does not allow this now.
    pub const FAILED_PRECONDITION: Self = code("FAILED_PRECONDITION", 409, 9);
    /// The history asked for is gone.
    pub const COMPACTED: Self = code("COMPACTED", 410, 11);
    /// The body is larger than the limit.
    pub const PAYLOAD_TOO_LARGE: Self = code("PAYLOAD_TOO_LARGE", 413, 8);
    /// The path and query of the request are longer than they may be.
    pub const URI_TOO_LONG: Self = code("URI_TOO_LONG", 414, 3);
    /// The body is not JSON.
    pub const UNSUPPORTED_MEDIA_TYPE: Self = code("UNSUPPORTED_MEDIA_TYPE", 415, 3);
    /// It is well-formed and contradicts what was said before; details name the field.
    pub const UNPROCESSABLE: Self = code("UNPROCESSABLE", 422, 3);
    /// This caller asks too often.
    pub const RATE_LIMITED: Self = retryable("RATE_LIMITED", 429, 8);
    /// The request's headers are larger than they may be.
    pub const HEADERS_TOO_LARGE: Self = code("HEADERS_TOO_LARGE", 431, 8);
    /// A defect of ours.
    pub const INTERNAL: Self = code("INTERNAL", 500, 13);
    /// Known, but not offered here.
    pub const NOT_IMPLEMENTED: Self = code("NOT_IMPLEMENTED", 501, 12);
    /// Something this service needs is not there now.
    pub const UNAVAILABLE: Self = retryable("UNAVAILABLE", 503, 14);
    /// No majority of the store's members can be reached.
    pub const NO_QUORUM: Self = retryable("NO_QUORUM", 503, 14);
    /// Too much is in flight; the request was not begun.
    pub const OVERLOADED: Self = retryable("OVERLOADED", 503, 8);
    /// The request took longer than it may. A write may still take effect.
    pub const DEADLINE_EXCEEDED: Self = retryable("DEADLINE_EXCEEDED", 503, 4);
    /// A quota (disk, credit, count) is used up.
    pub const RESOURCE_EXHAUSTED: Self = code("RESOURCE_EXHAUSTED", 507, 8);

    // CreditService: docs/credit.md says when.
    /// The project has no wallet, and its org requires one.
    pub const WALLET_NOT_FOUND: Self = code("WALLET_NOT_FOUND", 409, 9);
    /// The project has a wallet already.
    pub const WALLET_EXISTS: Self = code("WALLET_EXISTS", 409, 6);
    /// Nothing new may be held or charged.
    pub const WALLET_SUSPENDED: Self = code("WALLET_SUSPENDED", 409, 9);
    /// The wallet may not be used any more.
    pub const WALLET_CLOSED: Self = code("WALLET_CLOSED", 409, 9);
    /// A wallet with open reservations is not closed.
    pub const WALLET_HAS_RESERVATIONS: Self = code("WALLET_HAS_RESERVATIONS", 409, 9);
    /// A wallet with credit or debts is not closed.
    pub const WALLET_NOT_EMPTY: Self = code("WALLET_NOT_EMPTY", 409, 9);
    /// A lower overdraft than is used.
    pub const OVERDRAFT_IN_USE: Self = code("OVERDRAFT_IN_USE", 409, 9);
    /// There is not enough credit; details say what is missing.
    pub const INSUFFICIENT_CREDIT: Self = code("INSUFFICIENT_CREDIT", 409, 9);
    /// A balance would be larger than it may be.
    pub const BALANCE_OUT_OF_RANGE: Self = code("BALANCE_OUT_OF_RANGE", 409, 11);
    /// No reservation of the caller's.
    pub const RESERVATION_NOT_FOUND: Self = code("RESERVATION_NOT_FOUND", 404, 5);
    /// The reservation was committed.
    pub const RESERVATION_COMMITTED: Self = code("RESERVATION_COMMITTED", 409, 9);
    /// The reservation was released.
    pub const RESERVATION_RELEASED: Self = code("RESERVATION_RELEASED", 409, 9);
    /// The reservation's time is over.
    pub const RESERVATION_EXPIRED: Self = code("RESERVATION_EXPIRED", 409, 9);
    /// More than the reservation holds.
    pub const EXCEEDS_RESERVATION: Self = code("EXCEEDS_RESERVATION", 409, 9);
    /// A project may only have so many open reservations.
    pub const TOO_MANY_RESERVATIONS: Self = code("TOO_MANY_RESERVATIONS", 409, 8);
    /// A quota does not allow it; details name each kind that lacks.
    pub const QUOTA_EXCEEDED: Self = code("QUOTA_EXCEEDED", 409, 8);
    /// The resource uses no units.
    pub const CLAIM_NOT_FOUND: Self = code("CLAIM_NOT_FOUND", 404, 5);
    /// The resource uses fewer units.
    pub const CLAIM_TOO_SMALL: Self = code("CLAIM_TOO_SMALL", 409, 9);
    /// More than the charge took.
    pub const REFUND_EXCEEDS_CHARGE: Self = code("REFUND_EXCEEDS_CHARGE", 409, 9);
    /// The charge is too old to be refunded.
    pub const REFUND_TOO_LATE: Self = code("REFUND_TOO_LATE", 409, 9);
    /// Part of the usage was counted before, and part was not.
    pub const USAGE_OVERLAPS: Self = code("USAGE_OVERLAPS", 409, 6);
    /// The usage is too long ago to be counted.
    pub const USAGE_TOO_OLD: Self = code("USAGE_TOO_OLD", 400, 11);
    /// The usage of the resource has too many gaps.
    pub const USAGE_TOO_SCATTERED: Self = code("USAGE_TOO_SCATTERED", 409, 8);
    /// No price is effective then.
    pub const PRICE_NOT_FOUND: Self = code("PRICE_NOT_FOUND", 409, 9);
    /// Another price is published for that second.
    pub const PRICE_FIXED: Self = code("PRICE_FIXED", 409, 6);

    // PrismNET: docs/network.md says when.
    /// Something uses what is to be deleted; details name it.
    pub const IN_USE: Self = code("IN_USE", 409, 9);
    /// The block overlaps another one of the same network.
    pub const BLOCK_OVERLAPS: Self = code("BLOCK_OVERLAPS", 409, 9);
    /// Somebody else has the address.
    pub const ADDRESS_IN_USE: Self = code("ADDRESS_IN_USE", 409, 6);
    /// Somebody else has the MAC address.
    pub const MAC_IN_USE: Self = code("MAC_IN_USE", 409, 6);
    /// Every address is taken.
    pub const ADDRESSES_EXHAUSTED: Self = code("ADDRESSES_EXHAUSTED", 409, 8);
    /// There may not be more of them within one thing.
    pub const LIMIT_EXCEEDED: Self = code("LIMIT_EXCEEDED", 409, 8);

    // PlasmaVMC: docs/vm.md says when.
    /// No host has room for it; details say what is free.
    pub const NO_CAPACITY: Self = code("NO_CAPACITY", 409, 8);
    /// It is being deleted.
    pub const DELETING: Self = code("DELETING", 409, 9);
    /// It is protected from deletion.
    pub const DELETION_PROTECTED: Self = code("DELETION_PROTECTED", 409, 9);

    /// Every row.
    pub const ALL: &'static [Self] = &[
        Self::VALIDATION_ERROR,
        Self::UNAUTHENTICATED,
        Self::FORBIDDEN,
        Self::NOT_FOUND,
        Self::METHOD_NOT_ALLOWED,
        Self::CONFLICT,
        Self::ALREADY_EXISTS,
        Self::FAILED_PRECONDITION,
        Self::COMPACTED,
        Self::PAYLOAD_TOO_LARGE,
        Self::URI_TOO_LONG,
        Self::UNSUPPORTED_MEDIA_TYPE,
        Self::UNPROCESSABLE,
        Self::RATE_LIMITED,
        Self::HEADERS_TOO_LARGE,
        Self::INTERNAL,
        Self::NOT_IMPLEMENTED,
        Self::UNAVAILABLE,
        Self::NO_QUORUM,
        Self::OVERLOADED,
        Self::DEADLINE_EXCEEDED,
        Self::RESOURCE_EXHAUSTED,
        Self::WALLET_NOT_FOUND,
        Self::WALLET_EXISTS,
        Self::WALLET_SUSPENDED,
        Self::WALLET_CLOSED,
        Self::WALLET_HAS_RESERVATIONS,
        Self::WALLET_NOT_EMPTY,
        Self::OVERDRAFT_IN_USE,
        Self::INSUFFICIENT_CREDIT,
        Self::BALANCE_OUT_OF_RANGE,
        Self::RESERVATION_NOT_FOUND,
        Self::RESERVATION_COMMITTED,
        Self::RESERVATION_RELEASED,
        Self::RESERVATION_EXPIRED,
        Self::EXCEEDS_RESERVATION,
        Self::TOO_MANY_RESERVATIONS,
        Self::QUOTA_EXCEEDED,
        Self::CLAIM_NOT_FOUND,
        Self::CLAIM_TOO_SMALL,
        Self::REFUND_EXCEEDS_CHARGE,
        Self::REFUND_TOO_LATE,
        Self::USAGE_OVERLAPS,
        Self::USAGE_TOO_OLD,
        Self::USAGE_TOO_SCATTERED,
        Self::PRICE_NOT_FOUND,
        Self::PRICE_FIXED,
        Self::IN_USE,
        Self::BLOCK_OVERLAPS,
        Self::ADDRESS_IN_USE,
        Self::MAC_IN_USE,
        Self::ADDRESSES_EXHAUSTED,
        Self::LIMIT_EXCEEDED,
        Self::NO_CAPACITY,
        Self::DELETING,
        Self::DELETION_PROTECTED,
    ];

    /// The row of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name == name)
    }

    /// The row for an answer of which only the HTTP status is known.
    ///
    /// Where several rows share a status the most general one is taken; a status without a row becomes
    /// `VALIDATION_ERROR` (4xx) or `INTERNAL`.
    #[must_use]
    pub fn by_http(status: u16) -> Self {
        match status {
            409 => Self::CONFLICT,
            503 | 504 => Self::UNAVAILABLE,
            408 => Self::DEADLINE_EXCEEDED,
            _ => Self::ALL
                .iter()
                .copied()
                .find(|code| code.http == status)
                .unwrap_or(if (400..500).contains(&status) {
                    Self::VALIDATION_ERROR
                } else {
                    Self::INTERNAL
                }),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The private cause of an error.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// An error with a code from the table, a message for the caller, and a private cause.
///
/// `Display` shows the public half only; walk [`std::error::Error::source`] for the cause.
pub struct Error(Box<Inner>);

struct Inner {
    code: Code,
    message: String,
    details: Option<Value>,
    source: Option<Source>,
}

impl Error {
    /// An error with this code and public message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            message: message.into(),
            details: None,
            source: None,
        }))
    }

    /// A rule that a field breaks; details are `{field, constraint}`.
    pub fn validation(field: &str, constraint: &str, message: impl Into<String>) -> Self {
        Self::new(Code::VALIDATION_ERROR, message)
            .with_details(json!({ "field": field, "constraint": constraint }))
    }

    /// A field that is not there: `<field> is required`.
    #[must_use]
    pub fn required(field: &str) -> Self {
        Self::validation(field, "required", format!("{field} is required"))
    }

    /// `<what> not found`.
    pub fn not_found(what: impl fmt::Display) -> Self {
        Self::new(Code::NOT_FOUND, format!("{what} not found"))
    }

    /// `<what> already exists`.
    pub fn already_exists(what: impl fmt::Display) -> Self {
        Self::new(Code::ALREADY_EXISTS, format!("{what} already exists"))
    }

    /// Somebody else changed it meanwhile.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Code::CONFLICT, message)
    }

    /// The state of the thing does not allow this now.
    pub fn failed_precondition(message: impl Into<String>) -> Self {
        Self::new(Code::FAILED_PRECONDITION, message)
    }

    /// No credential, or one that is not accepted.
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(Code::UNAUTHENTICATED, message)
    }

    /// The caller may not do this.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(Code::FORBIDDEN, message)
    }

    /// Something this service needs is not there now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Code::UNAVAILABLE, message)
    }

    /// A defect of ours: the caller learns only that there was one, the cause goes to the log.
    pub fn internal(source: impl Into<Source>) -> Self {
        Self::new(Code::INTERNAL, "internal error").with_source(source)
    }

    /// Adds what a program may read, replacing earlier details.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.0.details = Some(details);
        self
    }

    /// The same about a field that lies further in: `value` within `success[2].put` is `success[2].put.value`.
    /// Errors that name no field stay as they are.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        let named = self.0.details.as_mut().and_then(|all| all.get_mut("field"));
        if let Some(Value::String(field)) = named {
            let path = format!("{outer}.{field}");
            if let Some(predicate) = self.0.message.strip_prefix(field.as_str()) {
                self.0.message = format!("{path}{predicate}");
            }
            *field = path;
        }
        self
    }

    /// Adds the private cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The row of the code table.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What the caller is told.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What a program may read.
    #[must_use]
    pub fn details(&self) -> Option<&Value> {
        self.0.details.as_ref()
    }

    /// The whole chain of private causes in one line, for the log.
    #[must_use]
    pub fn causes(&self) -> Option<String> {
        std::error::Error::source(self).map(in_one_line)
    }
}

/// An error and what caused it, as `outer: inner`. Many errors print their cause themselves: what the text so
/// far ends with is not said again.
#[must_use]
pub fn in_one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
        next = cause.source();
    }
    line
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code.name, self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.0.code.name)
            .field("message", &self.0.message)
            .field("details", &self.0.details)
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_table_is_consistent() {
        let mut names = HashSet::new();
        for code in Code::ALL {
            assert!(names.insert(code.name), "{code} twice");
            assert!(
                (400..600).contains(&code.http),
                "{code} has HTTP {}",
                code.http
            );
            assert!(
                (1..=16).contains(&code.grpc),
                "{code} has gRPC {}",
                code.grpc
            );
            assert!(
                code.name
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b == b'_'),
                "{code}"
            );
            assert_eq!(Code::by_name(code.name), Some(*code));
            // What a caller should repeat unchanged is a state of the server or a matter of pace.
            if code.retryable {
                assert!(
                    matches!(code.http, 429 | 503),
                    "{code} cannot be worth a retry"
                );
            }
            assert_eq!(Code::by_http(code.http).http, code.http, "{code}");
        }
    }

    #[test]
    fn statuses_without_a_row_become_the_nearest_one() {
        assert_eq!(Code::by_http(418), Code::VALIDATION_ERROR);
        assert_eq!(Code::by_http(422), Code::UNPROCESSABLE);
        assert_eq!(Code::by_http(502), Code::INTERNAL);
        assert_eq!(Code::by_http(504), Code::UNAVAILABLE);
        assert_eq!(Code::by_http(503), Code::UNAVAILABLE);
    }

    #[test]
    fn a_missing_field_reads_as_in_the_guide() {
        let error = Error::required("cidr_block");
        assert_eq!(error.code(), Code::VALIDATION_ERROR);
        assert_eq!(error.message(), "cidr_block is required");
        assert_eq!(
            error.details(),
            Some(&json!({"field": "cidr_block", "constraint": "required"}))
        );
    }

    #[test]
    fn the_cause_stays_out_of_the_public_half() {
        let io = std::io::Error::other("disk on fire");
        let error = Error::internal(io);
        assert_eq!(error.to_string(), "INTERNAL: internal error");
        assert_eq!(error.causes().unwrap(), "disk on fire");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("data: {source}")]
    struct Telling {
        source: std::io::Error,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("the listener")]
    struct Silent(#[source] Telling);

    #[test]
    fn a_cause_is_said_once() {
        let cause = || Telling {
            source: std::io::Error::other("disk on fire"),
        };
        assert_eq!(in_one_line(&cause()), "data: disk on fire");
        assert_eq!(
            in_one_line(&Silent(cause())),
            "the listener: data: disk on fire"
        );
        let error = Error::internal(Silent(cause()));
        assert_eq!(error.causes().unwrap(), "the listener: data: disk on fire");
    }

    #[test]
    fn a_field_further_in_is_named_by_its_whole_path() {
        let error = Error::required("key").within("success[2].put");
        assert_eq!(error.message(), "success[2].put.key is required");
        assert_eq!(
            error.details(),
            Some(&json!({"field": "success[2].put.key", "constraint": "required"}))
        );
        let error = Error::validation("key", "exclusive", "one of them").within("a");
        assert_eq!(error.message(), "one of them");
        assert_eq!(error.details().unwrap()["field"], "a.key");
        let error = Error::not_found("lease 1").within("a");
        assert_eq!(
            (error.message(), error.details()),
            ("lease 1 not found", None)
        );
    }
}
