//! Arguments of every command that speaks REST.

use clap::Args;
use reqwest::Url;

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
