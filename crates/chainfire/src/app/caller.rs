//! Who asks, and what they may do: the one place where a certificate or a token becomes an etcd user.
//!
//! ```text
//!   authentication off:  everything is allowed; in enforce mode only with a client certificate
//!   authentication on:   token  -> its user, or `invalid auth token`
//!                        else certificate common name -> the user of that name (not on the JSON gateway)
//!                        else nobody, who is refused as `user name is empty`
//! ```

use chainfire_engine::{EtcdError, Request, auth};
use photon_proto::photon::chainfire::command::v1 as command;
use photon_server::Mode;

use super::{App, from_raft};

/// Who asks. Established once per request, and refused when rights have changed since; a stream establishes
/// it anew with [`App::renewed`].
#[derive(Clone, PartialEq, Debug)]
pub struct Caller {
    /// `None` is ChainFire itself: lease expiry, automatic compaction, alarms.
    who: Option<command::Caller>,
    shown: Shown,
}

/// What the caller showed, to be looked at again when rights change.
#[derive(Clone, PartialEq, Default)]
struct Shown {
    token: Option<Box<str>>,
    /// Whether there was a certificate, also where its name does not count.
    certificate: bool,
    common_name: Option<Box<str>>,
}

impl From<Credentials<'_>> for Shown {
    fn from(credentials: Credentials<'_>) -> Self {
        let Credentials { token, common_name } = credentials;
        Self {
            token: token.map(Into::into),
            certificate: common_name.is_some(),
            common_name: common_name.map(Into::into),
        }
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shown")
            .field("common_name", &self.common_name)
            .finish_non_exhaustive()
    }
}

/// What a request brings along to say who sends it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Credentials<'a> {
    /// An etcd token: gRPC metadata `token`, or HTTP `Authorization`.
    pub token: Option<&'a str>,
    /// The common name of a verified client certificate; doors on which certificates do not count
    /// (the JSON gateway) leave it out.
    pub common_name: Option<&'a str>,
}

impl Caller {
    /// ChainFire's own commands, which no permission limits.
    pub(crate) const SYSTEM: Self = Self {
        who: None,
        shown: Shown {
            token: None,
            certificate: false,
            common_name: None,
        },
    };

    /// Somebody who has shown something that was not looked at yet, and is nobody until [`App::renewed`] has.
    pub(crate) fn unproven(credentials: Credentials<'_>) -> Self {
        Self {
            who: Some(command::Caller::default()),
            shown: credentials.into(),
        }
    }

    /// As if the certificate had no name: for doors on which a certificate lets in but names nobody.
    pub(crate) fn unnamed(mut self) -> Self {
        self.shown.common_name = None;
        self
    }

    /// The user's name; none while authentication is off.
    pub fn user(&self) -> Option<&str> {
        let user = &self.who.as_ref()?.user;
        (!user.is_empty()).then_some(user)
    }

    pub(super) fn to_command(&self) -> Option<command::Caller> {
        self.who.clone()
    }

    pub(super) fn as_command(&self) -> Option<&command::Caller> {
        self.who.as_ref()
    }
}

impl App {
    /// Resolves who asks.
    ///
    /// # Errors
    /// `invalid auth token`; in enforce mode without authentication, `user name is empty` for whoever shows
    /// no certificate.
    pub fn caller(&self, credentials: Credentials<'_>) -> Result<Caller, EtcdError> {
        self.renewed(&Caller::unproven(credentials))
    }

    /// Whether somebody may knock at all, whatever they are allowed behind the door: in enforce mode only with a
    /// client certificate or a token that holds.
    ///
    /// # Errors
    /// Those of [`App::caller`].
    pub fn admit(&self, credentials: Credentials<'_>) -> Result<(), EtcdError> {
        if self.config.auth.mode == Mode::Dev || credentials.common_name.is_some() {
            return Ok(());
        }
        self.caller(credentials).map(drop)
    }

    /// The caller of a stream as they are now: what they showed when it began is looked at again, so that a
    /// right given or taken away, a password changed, or authentication switched on holds from the next
    /// request on.
    ///
    /// # Errors
    /// Those of [`App::caller`].
    pub fn renewed(&self, caller: &Caller) -> Result<Caller, EtcdError> {
        if caller.who.is_none() {
            return Ok(caller.clone());
        }
        let Shown {
            token,
            certificate,
            common_name,
        } = &caller.shown;
        let who = self
            .engine
            .auth()
            .caller(token.as_deref(), common_name.as_deref())?;
        if self.config.auth.mode == Mode::Enforce && who.user.is_empty() && !certificate {
            return Err(EtcdError::USER_EMPTY);
        }
        Ok(Caller {
            who: Some(who),
            shown: caller.shown.clone(),
        })
    }

    /// Waits until this member has come as far as the member that issued the token, so that
    /// [`App::caller`] knows it. Returns at once for what is no token.
    ///
    /// # Errors
    /// Timeout.
    pub async fn await_token(&self, token: &str) -> Result<(), EtcdError> {
        let Some(index) = auth::token_index(token) else {
            return Ok(());
        };
        let reached = {
            let status = self.raft.borrow();
            // An index beyond the log is made up.
            index <= status.applied || index > status.last_log.max(status.committed)
        };
        if reached {
            return Ok(());
        }
        let mut raft = self.raft.clone();
        let applied = raft.wait_for(|status| status.applied >= index);
        match tokio::time::timeout_at(self.deadline(), applied).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(from_raft(&photon_raft::Error::Stopped)),
            Err(_) => Err(EtcdError::TIMEOUT),
        }
    }

    /// Whether the caller may do this.
    pub(super) fn authorize(&self, caller: &Caller, request: Request<'_>) -> Result<(), EtcdError> {
        self.engine.authorize(caller.as_command(), request)
    }

    /// Whether nothing about rights changed since the caller was established: asked after a read, so that
    /// what was allowed when it began was allowed when it ended.
    pub(super) fn still_allowed(&self, caller: &Caller) -> Result<(), EtcdError> {
        match caller.as_command() {
            Some(command) if !command.user.is_empty() => {
                if command.auth_revision < self.engine.auth().status().revision {
                    return Err(EtcdError::AUTH_OLD_REVISION);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// While authentication is on, only users may ask for what no permission covers.
    pub(super) fn require_user(&self, caller: &Caller) -> Result<(), EtcdError> {
        let nobody = caller.as_command().is_some() && caller.user().is_none();
        if nobody && self.engine.auth().status().enabled {
            return Err(EtcdError::USER_EMPTY);
        }
        Ok(())
    }

    /// Members, snapshots, compaction, users and roles are root's.
    pub(crate) fn require_root(&self, caller: &Caller) -> Result<(), EtcdError> {
        self.authorize(caller, Request::Root)
    }
}
