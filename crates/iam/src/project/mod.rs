//! Projects: where resources live. Tokens are mostly for one.
//!
//! ```text
//!   implicit (dev mode, on first use) ──created by somebody──> project <──enabled / disabled──> disabled
//!                                                                                                  │
//!   gone <── what hangs on it is gone <── service accounts, credentials, bindings, deny rules <── deleted
//! ```
//!
//! A deletion first disables the project and ends its tokens, in one transaction; then it removes what hangs on it, in
//! batches; the project's record goes last. After a crash in between the project is there, disabled, and the same delete
//! goes on.
//!
//! What stays is which org had the id: only that one can make a project of it again.

pub(crate) mod rest;
mod retired;
pub mod service;

use photon_authz::Project;
use photon_core::{Error, Name};

use crate::{app::App, text::Label};

/// A project, which dev mode makes if it is not there: for requests that nobody has proved anything for.
pub(crate) async fn ensure_implicit(app: &App, id: &Name) -> Result<Project, Error> {
    service::ensure(app, None, id).await
}

/// A project to be made.
#[derive(Clone, Debug)]
pub struct NewProject {
    /// Its id; without it one is made up.
    pub id: Option<Name>,
    /// What people call it; unique in its org.
    pub name: Label,
    /// The org it belongs to.
    pub org: Name,
}

/// What changes of a project.
#[derive(Clone, Debug, Default)]
pub struct ProjectChange {
    /// What people call it.
    pub name: Option<Label>,
    /// Whether nothing can be done in it. Disabling ends its tokens.
    pub disabled: Option<bool>,
}

/// Which projects to list.
#[derive(Clone, Debug, Default)]
pub struct ProjectFilter {
    /// Only those of this org.
    pub org: Option<Name>,
}
