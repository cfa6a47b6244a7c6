//! Arguments of every command that speaks REST.

use clap::Args;
use reqwest::Url;
use uuid::Uuid;

// Where the services are, and as whom to speak to them. A token may be given in `PHOTONCTL_TOKEN`. (Not a doc comment, here and
// below: clap would take it for the help of every command that has these arguments.)
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Services")]
pub(crate) struct Access {
    /// IAM's REST address; without it the context's, or http://127.0.0.1:8083.
    // Ids of their own: a subcommand may have an argument of the plain name.
    #[arg(
        id = "iam_address",
        long = "iam",
        global = true,
        env = "PHOTONCTL_IAM",
        value_name = "URL"
    )]
    pub(crate) iam: Option<Url>,
    /// CreditService's REST address; without it the context's, or IAM's host on port 8086.
    #[arg(
        id = "credit_address",
        long = "credit",
        global = true,
        env = "PHOTONCTL_CREDIT",
        value_name = "URL"
    )]
    pub(crate) credit: Option<Url>,
    /// PrismNET's REST address; without it the context's, or IAM's host on port 8087.
    #[arg(
        id = "network_address",
        long = "network",
        global = true,
        env = "PHOTONCTL_NETWORK",
        value_name = "URL"
    )]
    pub(crate) network: Option<Url>,
    /// PlasmaVMC's REST address; without it the context's, or IAM's host on port 8084.
    #[arg(
        id = "compute_address",
        long = "compute",
        global = true,
        env = "PHOTONCTL_COMPUTE",
        value_name = "URL"
    )]
    pub(crate) compute: Option<Url>,
    /// The login to use, when it is not the current one.
    #[arg(
        id = "iam_context",
        long = "context",
        global = true,
        env = "PHOTONCTL_CONTEXT",
        value_name = "NAME",
        value_parser = context_name
    )]
    pub(crate) context: Option<String>,
}

/// Parses the name of a context.
pub(crate) fn context_name(text: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.len() > 63 || !text.chars().all(inner) {
        return Err("letters, digits, dots, dashes and underscores; at most 63".to_owned());
    }
    Ok(text.to_owned())
}

// How much of a list.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Page {
    /// At most so many rows, and the token of the next page. Without it, all of them.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: Option<u32>,
    /// Where the page before ended.
    #[arg(long, requires = "limit")]
    pub(crate) page_token: Option<String>,
}

// A change that is to be made once.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Once {
    /// A change that is asked for again with the same key is not made again. Without it, a new key: lost answers are asked for
    /// again by themselves.
    #[arg(long, value_name = "KEY", value_parser = idempotency_key)]
    pub(crate) idempotency_key: Option<String>,
}

impl Once {
    /// The key: the given one, or a new one.
    pub(crate) fn key(self) -> String {
        let key = self.idempotency_key;
        key.unwrap_or_else(|| Uuid::new_v4().to_string())
    }
}

fn idempotency_key(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 255 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("1 to 255 visible ASCII characters".to_owned());
    }
    Ok(text.to_owned())
}

// Not over somebody else's change.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct If {
    /// Only if it is still at this revision.
    #[arg(long, value_name = "REVISION")]
    pub(crate) if_revision: Option<i64>,
}

// Whose a thing is.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Whose {
    /// The project: of what is made, without it the login's; of what is looked for, without it any.
    #[arg(long, value_name = "ID")]
    pub(crate) project: Option<String>,
    /// The project's org; of what is made, without it IAM is asked.
    #[arg(long, value_name = "ID")]
    pub(crate) org: Option<String>,
}

impl Whose {
    /// What a person named, among these.
    pub(crate) fn named<'a>(&'a self, text: &'a str) -> Named<'a> {
        Named { text, whose: self }
    }

    /// For lists.
    pub(crate) fn filters(&self) -> [(&'static str, Option<String>); 2] {
        [
            ("org_id", self.org.clone()),
            ("project_id", self.project.clone()),
        ]
    }
}

/// A thing that a person named, and a way to make sure it is the one that is meant.
pub(crate) struct Named<'a> {
    pub(crate) text: &'a str,
    pub(crate) whose: &'a Whose,
}
