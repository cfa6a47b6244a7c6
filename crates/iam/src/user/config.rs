//! `[users]`.

use serde::Deserialize;

/// `[users]`: what is asked of users.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UsersConfig {
    /// Whether no two users may have the same e-mail address, upper and lower case being the same. The same for every
    /// process. Default false.
    pub unique_email: bool,
}
