//! The grammar of the commands that speak to IAM.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use reqwest::Url;

use crate::rest::cli::{If, Page, context_name};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Get a token and keep it in a context.
    Login(Login),
    /// Forget the context's token, and revoke it.
    Logout,
    /// Logins that are kept.
    #[command(subcommand)]
    Context(Context),
    /// As whom IAM sees us.
    Whoami,
    /// Tokens: issue, verify, revoke.
    #[command(subcommand)]
    Token(Token),
    /// Orgs: the tenants.
    #[command(subcommand)]
    Org(Org),
    /// Projects: the parts of an org.
    #[command(subcommand)]
    Project(Project),
    /// Users: people.
    #[command(subcommand)]
    User(User),
    /// Groups of principals.
    #[command(subcommand)]
    Group(Group),
    /// Service accounts: programs, owned by a project.
    #[command(subcommand)]
    Serviceaccount(ServiceAccount),
    /// What a principal proves itself with.
    #[command(subcommand)]
    Credential(Credential),
    /// Roles: lists of permissions.
    #[command(subcommand)]
    Role(Role),
    /// Bindings: who has which role where.
    #[command(subcommand)]
    Binding(Binding),
    /// Deny rules: what nobody, or one principal, may do whatever bindings say.
    #[command(subcommand)]
    Deny(Deny),
    /// Keys that tokens are signed with.
    #[command(subcommand)]
    Key(Key),
    /// Ask whether a principal may do something. Exit code 5: no.
    Check(Check),
    /// What was changed, by whom.
    #[command(subcommand)]
    Audit(Audit),
    /// Hosts: those that there are, and those that are to join.
    #[command(subcommand)]
    Host(Host),
    /// What stands between dev mode and enforce.
    Enforce(Enforce),
}

// On or off. (Not a doc comment, here and below: clap would take it for the help of every command that has these arguments.)
#[derive(Clone, Debug, Args)]
pub(crate) struct Switch {
    /// Refuse it from now on; its tokens end.
    #[arg(long)]
    disable: bool,
    /// Accept it again.
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
}

impl Switch {
    /// The new value of `disabled`, if there is to be one.
    pub(crate) fn disabled(&self) -> Option<bool> {
        match (self.disable, self.enable) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        }
    }
}

// When something ends.
#[derive(Clone, Debug, Args)]
pub(crate) struct End {
    /// When it ends, as 2027-01-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    expires_at: Option<Timestamp>,
    /// Take the end away that it has.
    #[arg(long, conflicts_with = "expires_at")]
    never_expires: bool,
}

impl End {
    /// The new value of `expires_at`, if there is to be one; null is none.
    pub(crate) fn value(&self) -> Option<serde_json::Value> {
        match (self.expires_at, self.never_expires) {
            (_, true) => Some(serde_json::Value::Null),
            (Some(end), _) => Some(end.to_string().into()),
            (None, false) => None,
        }
    }
}

// How to prove who one is. Without either: a client certificate, or nothing, as dev mode allows. Both are asked for on
// the terminal, or read from stdin: never from the command line, which others on the machine can see.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Proof {
    /// Ask for a password.
    #[arg(long)]
    pub(crate) password: bool,
    /// Ask for an API key.
    #[arg(long, conflicts_with = "password")]
    pub(crate) api_key: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// Who: an id, or as `service_account:build`.
    pub(crate) principal: String,
    /// Where the token is to be good for: an org's or project's id, or `system`.
    #[arg(long, value_name = "ID")]
    pub(crate) scope: String,
    #[command(flatten)]
    pub(crate) proof: Proof,
    /// Seconds the token is to live; IAM gives twelve hours at most.
    #[arg(long, value_name = "SECONDS", default_value_t = 8 * 3600, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) ttl: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Context {
    /// List them.
    List,
    /// Make one the current one.
    Use {
        #[arg(value_parser = context_name)]
        name: String,
    },
    /// Forget one; its token is not revoked.
    Delete {
        #[arg(value_parser = context_name)]
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Get a token and print it, without keeping it.
    Issue {
        /// Who: an id, or as `service_account:build`.
        principal: String,
        /// Where it is to be good for: an org's or project's id, or `system`.
        #[arg(long, value_name = "ID")]
        scope: String,
        #[command(flatten)]
        proof: Proof,
        /// Seconds it is to live.
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
        ttl: Option<u32>,
    },
    /// Print the token we use: `curl -H "Authorization: Bearer $(photonctl token show)" …`.
    Show,
    /// What a token says and whether it would be accepted. Exit code 5: it would not.
    Verify {
        /// The token; `-` reads it from stdin. Without it, ours.
        token: Option<String>,
    },
    /// End a token, or everything issued so far to a principal or for a project.
    Revoke {
        /// The token; `-` reads it from stdin. Without anything, ours.
        token: Option<String>,
        /// Everything of this principal, as `user:alice`.
        #[arg(long, conflicts_with_all = ["token", "project"])]
        principal: Option<String>,
        /// Everything for this project.
        #[arg(long, value_name = "ID", conflicts_with = "token")]
        project: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Org {
    Create {
        /// Its id.
        id: String,
        /// A name for people; without it, the id.
        #[arg(long)]
        name: Option<String>,
    },
    Get {
        id: String,
    },
    List {
        #[command(flatten)]
        page: Page,
    },
    Update {
        id: String,
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        switch: Switch,
        #[command(flatten)]
        only: If,
    },
    Delete {
        id: String,
        #[command(flatten)]
        only: If,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Project {
    Create {
        /// Its name, unique in its org.
        name: String,
        /// The org it belongs to.
        #[arg(long, value_name = "ID")]
        org: String,
        /// The id it is to have; without it one is made.
        #[arg(long)]
        id: Option<String>,
    },
    Get {
        id: String,
    },
    List {
        /// Of one org only.
        #[arg(long, value_name = "ID")]
        org: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    Update {
        id: String,
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        switch: Switch,
        #[command(flatten)]
        only: If,
    },
    /// Delete it with what hangs on it: service accounts, credentials, bindings, deny rules, tokens.
    Delete {
        id: String,
        #[command(flatten)]
        only: If,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    Create {
        /// Its id: `[a-z0-9][a-z0-9._-]{0,62}`.
        id: String,
        /// A name for people; without it, the id.
        #[arg(long)]
        name: Option<String>,
        #[arg(long)]
        email: Option<String>,
        /// The org that manages it; without it, the system.
        #[arg(long, value_name = "ID")]
        org: Option<String>,
    },
    Get {
        id: String,
    },
    List {
        /// Those who have a role there: an org's or project's id.
        #[arg(long, value_name = "ID")]
        scope: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    Update {
        id: String,
        #[arg(long)]
        name: Option<String>,
        #[arg(long)]
        email: Option<String>,
        #[command(flatten)]
        switch: Switch,
        #[command(flatten)]
        only: If,
    },
    /// Set a password. It is asked for on the terminal, or read from stdin.
    Password {
        id: String,
        /// Ask for the current one too: needed for one's own. From stdin it comes first, on a line of its own.
        #[arg(long)]
        current: bool,
    },
    /// Delete it with its credentials and bindings; its tokens end.
    Delete {
        id: String,
        #[command(flatten)]
        only: If,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    Create {
        id: String,
        #[arg(long)]
        title: Option<String>,
        /// The org it belongs to; without it, the system.
        #[arg(long, value_name = "ID")]
        org: Option<String>,
        /// A principal, as `user:alice` or `group:ops`; may be repeated.
        #[arg(long = "member", value_name = "PRINCIPAL")]
        members: Vec<String>,
    },
    Get {
        id: String,
    },
    List {
        /// Of one org only.
        #[arg(long, value_name = "ID")]
        org: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    Update {
        id: String,
        #[arg(long)]
        title: Option<String>,
        #[command(flatten)]
        only: If,
    },
    /// Take a principal in.
    AddMember {
        id: String,
        /// As `user:alice` or `group:ops`.
        principal: String,
    },
    /// Take a principal out.
    RemoveMember {
        id: String,
        /// As `user:alice` or `group:ops`.
        principal: String,
    },
    Delete {
        id: String,
        #[command(flatten)]
        only: If,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceAccount {
    Create {
        id: String,
        /// The project that owns it.
        #[arg(long, value_name = "ID")]
        project: String,
        /// A name for people; without it, the id.
        #[arg(long)]
        name: Option<String>,
    },
    Get {
        id: String,
    },
    List {
        /// Of one project only.
        #[arg(long, value_name = "ID")]
        project: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    Update {
        id: String,
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        switch: Switch,
        #[command(flatten)]
        only: If,
    },
    Delete {
        id: String,
        #[command(flatten)]
        only: If,
    },
}

/// Kinds of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CredentialKind {
    /// IAM makes it and shows it once.
    ApiKey,
    /// Asked for on the terminal, or read from stdin.
    Password,
    /// A client certificate, in --file.
    Certificate,
    /// A line of authorized_keys, in --file.
    SshPublicKey,
}

impl CredentialKind {
    /// IAM's word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::Password => "password",
            Self::Certificate => "certificate",
            Self::SshPublicKey => "ssh_public_key",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Credential {
    Create {
        /// Whose, as `user:alice` or `service_account:build`.
        principal: String,
        #[arg(long, value_enum, default_value_t = CredentialKind::ApiKey)]
        kind: CredentialKind,
        /// What it is for, for people.
        #[arg(long)]
        label: Option<String>,
        /// When it ends, as 2027-01-01T00:00:00Z.
        #[arg(long, value_name = "TIME")]
        expires_at: Option<Timestamp>,
        /// The certificate or public key.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Ask for our own password: needed where our token is for less than we may do. From stdin it comes first, on a
        /// line of its own.
        #[arg(long)]
        current_password: bool,
    },
    Get {
        id: String,
    },
    List {
        /// Whose, as `user:alice`; without it, one's own.
        #[arg(long)]
        principal: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    Update {
        id: String,
        #[arg(long)]
        label: Option<String>,
        #[command(flatten)]
        end: End,
        #[command(flatten)]
        switch: Switch,
        #[command(flatten)]
        only: If,
    },
    Delete {
        id: String,
        #[command(flatten)]
        only: If,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    Create {
        id: String,
        #[arg(long)]
        title: Option<String>,
        /// The org it belongs to; without it, the system.
        #[arg(long, value_name = "ID")]
        org: Option<String>,
        /// As `plasmavmc.vms.create`, `plasmavmc.vms.*`; may be repeated.
        #[arg(long = "permission", value_name = "PATTERN", required = true)]
        permissions: Vec<String>,
    },
    Get {
        id: String,
    },
    List {
        /// Of one org only.
        #[arg(long, value_name = "ID")]
        org: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    Update {
        id: String,
        #[arg(long)]
        title: Option<String>,
        /// The whole new list; may be repeated.
        #[arg(long = "permission", value_name = "PATTERN")]
        permissions: Vec<String>,
        #[command(flatten)]
        only: If,
    },
    Delete {
        id: String,
        #[command(flatten)]
        only: If,
    },
}

// When and from where it counts.
#[derive(Clone, Debug, Args)]
pub(crate) struct Condition {
    /// Not before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) not_before: Option<Timestamp>,
    /// Not after this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) not_after: Option<Timestamp>,
    /// Only from this network, as 10.0.0.0/8; may be repeated.
    #[arg(long = "source-network", value_name = "CIDR")]
    pub(crate) source_networks: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Binding {
    /// Give a role. Nobody can give what they do not hold themselves.
    Create {
        /// Whom, as `user:alice`, `group:ops`, `service_account:build`.
        principal: String,
        /// Which role.
        role: String,
        /// Where: `system`, `org:acme`, `project:shop`.
        scope: String,
        /// When it ends.
        #[arg(long, value_name = "TIME")]
        expires_at: Option<Timestamp>,
        #[command(flatten)]
        condition: Condition,
    },
    Get {
        id: String,
    },
    List {
        #[arg(long)]
        principal: Option<String>,
        #[arg(long)]
        scope: Option<String>,
        #[arg(long)]
        role: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Change when it ends.
    Update {
        id: String,
        #[command(flatten)]
        end: End,
        #[command(flatten)]
        only: If,
    },
    Delete {
        id: String,
        #[command(flatten)]
        only: If,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Deny {
    Create {
        /// Where: `system`, `org:acme`, `project:shop`.
        scope: String,
        /// What, as `plasmavmc.vms.delete` or `*.*.delete`; may be repeated.
        #[arg(long = "permission", value_name = "PATTERN", required = true)]
        permissions: Vec<String>,
        /// Whom; without it, everybody.
        #[arg(long)]
        principal: Option<String>,
        #[command(flatten)]
        condition: Condition,
    },
    Get {
        id: String,
    },
    List {
        #[arg(long)]
        principal: Option<String>,
        #[arg(long)]
        scope: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    Delete {
        id: String,
        #[command(flatten)]
        only: If,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// List them.
    List,
    /// Make a new one; the one before goes on verifying.
    Rotate {
        /// Seconds until it signs; without it, as IAM is configured. When a key was stolen: 0, and then end that one.
        #[arg(long, value_name = "SECONDS")]
        signs_after: Option<u32>,
    },
    /// End one at once: whatever it signed is refused. Not the one that signs, or is to sign next.
    End {
        /// Its id, as `key list` shows it.
        kid: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// What, as `plasmavmc.vms.create`.
    pub(crate) permission: String,
    /// Where: `system`, `org:acme`, `project:shop`.
    pub(crate) scope: String,
    /// Who, as `user:alice`; without it, whoever we are.
    #[arg(long)]
    pub(crate) principal: Option<String>,
    /// From which address, for conditions on networks.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) source: Option<IpAddr>,
    /// Answered from a state that has at least this revision.
    #[arg(long, value_name = "REVISION")]
    pub(crate) min_revision: Option<i64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// List changes, the oldest first.
    List {
        /// Where: `system`, `org:acme`, `project:shop`.
        #[arg(long, default_value = "system")]
        scope: String,
        /// Not older than this time.
        #[arg(long, value_name = "TIME")]
        from: Option<Timestamp>,
        /// Older than this time.
        #[arg(long, value_name = "TIME")]
        to: Option<Timestamp>,
        #[command(flatten)]
        page: Page,
    },
    /// Check that no record of a scope was changed, taken out or put in. Exit code 1: one was.
    Verify {
        /// Where: `system`, `org:acme`, `project:shop`.
        #[arg(long, default_value = "system")]
        scope: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Host {
    /// One-time tokens that hosts join with.
    #[command(subcommand)]
    Token(HostToken),
    /// Make this machine a host: new keys for its agents, and certificates for them. The token is asked for, or read from
    /// stdin.
    Join(HostJoin),
    /// List the hosts that PlasmaVMC runs VMs on, with what they have and what of it is given out. The operator's.
    List,
}

#[derive(Debug, Args)]
pub(crate) struct HostJoin {
    /// Where the agents' keys and certificates go.
    #[arg(
        long,
        env = "PHOTONCTL_PKI_DIR",
        default_value = "/etc/photon/pki",
        value_name = "DIR"
    )]
    pub(crate) dir: PathBuf,
    /// The agents; may be repeated.
    #[arg(long = "agent", value_name = "NAME", default_values = ["plasmavmc-agent", "prismnet-agent", "k8shost-agent"])]
    pub(crate) agents: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HostToken {
    /// Make one. It is shown this once, and good for one host of this name.
    Create {
        /// The host's name.
        host: String,
        /// Seconds it can be used.
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
        ttl: Option<u32>,
    },
    /// List them, the used ones too.
    List {
        #[command(flatten)]
        page: Page,
    },
    /// Take one back.
    Delete {
        id: String,
        #[command(flatten)]
        only: If,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Enforce {
    /// List the orgs and projects that dev mode made on first use, and what enforce would have refused. Exit code 6: there
    /// are some.
    #[arg(long)]
    pub(crate) check: bool,
    /// REST addresses of other services whose refusals to count in; may be repeated.
    #[arg(long = "service", value_name = "URL")]
    pub(crate) services: Vec<Url>,
}
