//! Logins that are kept: `$XDG_CONFIG_HOME/photon/contexts.toml`, 0600.
//!
//! ```toml
//! current = "default"
//! [contexts.default]
//! iam = "https://iam.example:8083"
//! credit = "https://credit.example:8086"    # only if it is not on IAM's host
//! network = "https://network.example:8087"  # likewise
//! compute = "https://compute.example:8084"  # likewise
//! ca = "/etc/photon/pki/ca.crt"
//! principal = "user:alice"
//! scope = "shop"
//! token = "…"
//! expires_at = "2026-11-22T20:00:00Z"
//! ```
//! Written to a new file that takes the old one's place, so that an interrupted write loses nothing.

use std::{
    collections::BTreeMap,
    env, fmt, fs,
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use jiff::Timestamp;
use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The context that is used when none is named.
pub(crate) const DEFAULT: &str = "default";

/// Far more than a file of logins has.
const FILE_BYTES: u64 = 1 << 20;

/// A text that is not printed by accident.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// One login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Login {
    /// IAM's REST address.
    #[serde(with = "address")]
    pub(crate) iam: Url,
    /// CreditService's REST address, if it is not on IAM's host at the usual port.
    #[serde(
        default,
        with = "maybe_address",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) credit: Option<Url>,
    /// PrismNET's REST address, likewise.
    #[serde(
        default,
        with = "maybe_address",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) network: Option<Url>,
    /// PlasmaVMC's REST address, likewise.
    #[serde(
        default,
        with = "maybe_address",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) compute: Option<Url>,
    /// The authority that is trusted for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
    /// The client certificate, and its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cert: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<PathBuf>,
    /// Who it is, as `user:alice`.
    pub(crate) principal: String,
    /// Where the token is good for.
    pub(crate) scope: String,
    /// Gone after a logout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<Secret>,
    /// When the token ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<Timestamp>,
}

/// An address as its text.
mod address {
    use reqwest::Url;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(url: &Url, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(url.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Url, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// An address that may be absent.
mod maybe_address {
    use reqwest::Url;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(url: &Option<Url>, to: S) -> Result<S::Ok, S::Error> {
        url.as_ref().map(Url::as_str).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Url>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom))
            .transpose()
    }
}

/// Everything in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contexts {
    /// The one in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Login>,
}

impl Contexts {
    /// The name that is meant when `named` was given on the command line.
    pub(crate) fn name<'a>(&'a self, named: Option<&'a str>) -> &'a str {
        named.or(self.current.as_deref()).unwrap_or(DEFAULT)
    }

    /// The login to use. One that was named has to be there.
    pub(crate) fn find(&self, named: Option<&str>) -> Result<Option<&Login>, Failure> {
        let login = self.contexts.get(self.name(named));
        match (named, login) {
            (Some(name), None) => Err(Failure::not_found(format!("there is no context {name}"))),
            (_, login) => Ok(login),
        }
    }
}

/// Where the file is.
pub(crate) fn file() -> Result<PathBuf, Failure> {
    let absolute = |name: &str| {
        let path = PathBuf::from(env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))
        .map(|base| base.join("photon").join("contexts.toml"))
        .ok_or_else(|| Failure::usage("neither XDG_CONFIG_HOME nor HOME names a directory"))
}

/// What is in the file; nothing, if there is none.
pub(crate) fn read(path: &Path) -> Result<Contexts, Failure> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contexts::default()),
        Err(error) => return Err(unreadable(path, error)),
    };
    let metadata = file.metadata().map_err(|error| unreadable(path, error))?;
    if metadata.mode() & 0o077 != 0 {
        return Err(Failure::usage(format!(
            "{0} holds tokens and others can read it: chmod 600 {0}",
            path.display()
        )));
    }
    let mut text = String::new();
    file.take(FILE_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| unreadable(path, error))?;
    // The parser's own text shows the line, which may be the one with a token.
    toml::from_str(&text).map_err(|error| {
        let at = error.span().map_or(0, |span| {
            text.get(..span.start)
                .map_or(0, |before| before.lines().count())
        });
        let message = error.message();
        Failure::usage(format!("{} near line {at}: {message}", path.display()))
    })
}

fn unreadable(path: &Path, error: io::Error) -> Failure {
    let error = anyhow::Error::from(error);
    Failure::other(error.context(format!("{} cannot be read", path.display())))
}

/// Replaces the file.
pub(crate) fn write(path: &Path, contexts: &Contexts) -> Result<(), Failure> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("{} cannot be made", dir.display()))?;
    let text = toml::to_string(contexts).map_err(anyhow::Error::from)?;
    let new = dir.join(format!(".contexts.{}.toml", std::process::id()));
    let written = write_new(&new, text.as_bytes()).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // Best effort: what counts is the error that follows.
        let _ = fs::remove_file(&new);
    }
    written.with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(())
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn login() -> Login {
        Login {
            iam: "https://iam.example:8083".parse().unwrap(),
            credit: Some("https://credit.example:8086".parse().unwrap()),
            network: Some("https://network.example:8087".parse().unwrap()),
            compute: Some("https://compute.example:8084".parse().unwrap()),
            ca: Some("/ca.crt".into()),
            cert: None,
            key: None,
            principal: "user:alice".to_owned(),
            scope: "shop".to_owned(),
            token: Some(Secret("top-secret".to_owned())),
            expires_at: Some("2026-11-22T20:00:00Z".parse().unwrap()),
        }
    }

    #[test]
    fn a_login_survives_in_a_file_nobody_else_reads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("photon").join("contexts.toml");
        assert_eq!(read(&path).unwrap(), Contexts::default());
        let mut contexts = Contexts::default();
        contexts.contexts.insert("work".to_owned(), login());
        contexts.current = Some("work".to_owned());
        write(&path, &contexts).unwrap();
        write(&path, &contexts).unwrap();
        assert_eq!(read(&path).unwrap(), contexts);
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert!(!format!("{contexts:?}").contains("top-secret"));

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = read(&path).unwrap_err();
        assert!(refused.to_string().contains("chmod 600"), "{refused}");
    }

    #[test]
    fn a_broken_file_is_named_and_its_secrets_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("contexts.toml");
        write_new(
            &path,
            b"current = \"a\"\n[contexts.a]\ntoken = \"top-secret\n",
        )
        .unwrap();
        let refused = read(&path).unwrap_err();
        assert_eq!(refused.exit_code(), 2);
        let text = refused.to_string();
        assert!(
            text.contains("line 3") && !text.contains("top-secret"),
            "{text}"
        );
    }

    #[test]
    fn a_named_context_has_to_be_there() {
        let contexts = Contexts::default();
        assert!(contexts.find(None).unwrap().is_none());
        assert_eq!(contexts.find(Some("x")).unwrap_err().exit_code(), 3);
    }
}
