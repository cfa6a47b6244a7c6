//! `photonctl pki`: the first step of a first start, and certificates afterwards. Files only.
//!
//! ```text
//!   <dir>/ca.crt ca.key            the authority; whoever has ca.key can be anybody
//!         chainfire-server.*       the store's listeners
//!         chainfire-peer.*         the store's members among themselves; carries the DNS name `chainfire-peer`
//!         root.*                   the store's root user
//!         iam.* creditservice.* …  the suite's services: the store's users of those names
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use jiff::Timestamp;
use photon_pki::{
    Authority, Description, Leaf, LeafRequest, PkiError, Purpose, SubjectName, describe, files,
};
use serde_json::{Value, json};

use crate::{
    cli::{Pki, PkiInit, PkiIssue, PkiRenew, Usage},
    failure::Failure,
    output::{self, Format},
    store::{ROOT, SERVICES},
};

const AUTHORITY: &str = "ca";
const AUTHORITY_NAME: &str = "PhotonCloud";
const SERVER: &str = "chainfire-server";
/// Both the file and the DNS name by which members know each other (`peer.tls.peer_name`).
const PEER: &str = "chainfire-peer";

pub(crate) fn run(format: Format, command: Pki) -> Result<(), Failure> {
    match command {
        Pki::Init(options) => init(format, &options),
        Pki::Issue(options) => issue(format, &options),
        Pki::Renew(options) => renew(format, &options),
        Pki::Show { files, dir } => {
            let files = if files.is_empty() {
                certificates(&dir.dir)?
            } else {
                files
            };
            show(format, &files)
        }
    }
}

/// The common name in a certificate file.
pub(crate) fn common_name(certificate: &Path) -> Result<String, Failure> {
    Ok(read(certificate)?.common_name)
}

/// Makes what is missing and leaves the rest as it is.
fn init(format: Format, options: &PkiInit) -> Result<(), Failure> {
    let dir = &options.dir.dir;
    let mut made = Vec::new();
    let authority = if path(dir, AUTHORITY).exists() {
        load(dir)?
    } else {
        let authority = Authority::create(AUTHORITY_NAME).map_err(failure)?;
        authority.save(dir).map_err(failure)?;
        made.push(path(dir, AUTHORITY));
        authority
    };
    let hosts = names(&options.hosts)?;
    let mut members = hosts.clone();
    members.push(SubjectName::Dns(PEER.to_owned()));
    let mut requests = vec![
        LeafRequest::server(SERVER, hosts),
        LeafRequest::peer(PEER, members),
    ];
    requests.extend(
        [ROOT]
            .iter()
            .chain(SERVICES)
            .map(|name| LeafRequest::client(*name)),
    );
    for request in requests {
        if !path(dir, &request.common_name).exists() {
            let leaf = authority.issue(&request).map_err(failure)?;
            made.push(save(&leaf, dir, &request.common_name)?);
        }
    }
    report(format, "made", &made, "everything is there already")
}

fn issue(format: Format, options: &PkiIssue) -> Result<(), Failure> {
    let dir = &options.dir.dir;
    if options.name == AUTHORITY
        || options.name.contains(['/', '\0'])
        || options.name.starts_with('.')
    {
        return Err(Failure::usage(format!(
            "{:?} cannot be the name of a certificate's file",
            options.name
        )));
    }
    if path(dir, &options.name).exists() {
        let text = format!(
            "{} exists; use `pki renew {}`",
            path(dir, &options.name).display(),
            options.name
        );
        return Err(Failure::refused(text));
    }
    if options.usage == Usage::Client && !options.hosts.is_empty() {
        return Err(Failure::usage(
            "a client's certificate is for no host: --usage server or peer",
        ));
    }
    let hosts = names(&options.hosts)?;
    let request = match options.usage {
        Usage::Client => LeafRequest::client(&options.name),
        Usage::Server => LeafRequest::server(&options.name, hosts),
        Usage::Peer => LeafRequest::peer(&options.name, hosts),
    };
    let leaf = load(dir)?.issue(&request).map_err(failure)?;
    report(format, "made", &[save(&leaf, dir, &options.name)?], "")
}

/// Renews the certificates that are due; those named are renewed only if they are due too, unless forced.
fn renew(format: Format, options: &PkiRenew) -> Result<(), Failure> {
    let dir = &options.dir.dir;
    let authority = load(dir)?;
    let chosen: Vec<PathBuf> = if options.names.is_empty() {
        certificates(dir)?
            .into_iter()
            .filter(|file| *file != path(dir, AUTHORITY))
            .collect()
    } else {
        options.names.iter().map(|name| path(dir, name)).collect()
    };
    let mut renewed = Vec::new();
    for file in chosen {
        let pem = files::read(&file).map_err(failure)?;
        if !options.force && !describe(&pem).map_err(failure)?.is_due(Timestamp::now()) {
            continue;
        }
        let leaf = authority.renew(&pem).map_err(failure)?;
        let stem = file
            .file_stem()
            .and_then(|stem| stem.to_str())
            .context("a file name that is not text")?;
        renewed.push(save(&leaf, dir, stem)?);
    }
    report(format, "renewed", &renewed, "nothing is due")
}

fn show(format: Format, certificates: &[PathBuf]) -> Result<(), Failure> {
    let shown: Vec<(&PathBuf, Description)> = certificates
        .iter()
        .map(|file| Ok((file, read(file)?)))
        .collect::<Result<_, Failure>>()?;
    let now = Timestamp::now();
    match format {
        Format::Human => output::table(
            &[
                "FILE",
                "COMMON NAME",
                "FOR",
                "NAMES",
                "ISSUER",
                "UNTIL",
                "DAYS LEFT",
            ],
            &shown
                .iter()
                .map(|(file, what)| row(file, what, now))
                .collect::<Vec<_>>(),
        ),
        Format::Data(notation) => {
            let items: Vec<Value> = shown
                .iter()
                .map(|(file, what)| as_json(file, what, now))
                .collect();
            output::data(notation, &json!({ "items": items }))
        }
    }
}

fn row(file: &Path, what: &Description, now: Timestamp) -> Vec<String> {
    let names: Vec<String> = what.names.iter().map(ToString::to_string).collect();
    let left = if what.is_expired(now) {
        "expired".to_owned()
    } else if what.is_due(now) && !what.is_authority {
        format!("{}, renew", what.days_left(now))
    } else {
        what.days_left(now).to_string()
    };
    vec![
        file.display().to_string(),
        what.common_name.clone(),
        purpose(what).to_owned(),
        names.join(","),
        what.issuer.clone(),
        what.not_after.strftime("%Y-%m-%d").to_string(),
        left,
    ]
}

fn as_json(file: &Path, what: &Description, now: Timestamp) -> Value {
    json!({
        "file": file.display().to_string(),
        "common_name": what.common_name,
        "purpose": purpose(what),
        "names": what.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "issuer": what.issuer,
        "serial": what.serial,
        "not_before": what.not_before.to_string(),
        "not_after": what.not_after.to_string(),
        "days_left": what.days_left(now),
        "expired": what.is_expired(now),
        "due": what.is_due(now),
    })
}

fn purpose(what: &Description) -> &'static str {
    match what.purpose {
        _ if what.is_authority => "authority",
        Some(Purpose::Server) => "server",
        Some(Purpose::Client) => "client",
        Some(Purpose::Peer) => "peer",
        None => "nothing",
    }
}

/// The certificate files of a directory, by name.
fn certificates(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(dir).with_context(|| format!("{} cannot be read", dir.display()))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "crt"))
        .collect();
    found.sort();
    Ok(found)
}

fn path(dir: &Path, stem: &str) -> PathBuf {
    dir.join(format!("{stem}.crt"))
}

fn save(leaf: &Leaf, dir: &Path, stem: &str) -> Result<PathBuf, Failure> {
    leaf.save(dir, stem).map_err(failure)?;
    Ok(path(dir, stem))
}

fn load(dir: &Path) -> Result<Authority, Failure> {
    if !path(dir, AUTHORITY).exists() {
        let text = format!(
            "{} has no certificate authority: `photonctl pki init` makes one",
            dir.display()
        );
        return Err(Failure::not_found(text));
    }
    Authority::load(dir).map_err(failure)
}

fn read(file: &Path) -> Result<Description, Failure> {
    let pem = files::read(file).map_err(failure)?;
    describe(&pem).map_err(|error| {
        Failure::other(
            anyhow::Error::from(error).context(format!("{} is no certificate", file.display())),
        )
    })
}

fn names(hosts: &[String]) -> Result<Vec<SubjectName>, Failure> {
    hosts
        .iter()
        .map(|host| {
            host.parse()
                .map_err(|error: PkiError| Failure::usage(error.to_string()))
        })
        .collect()
}

fn failure(error: PkiError) -> Failure {
    Failure::other(error)
}

fn report(format: Format, done: &str, files: &[PathBuf], nothing: &str) -> Result<(), Failure> {
    match format {
        Format::Data(notation) => {
            let files: Vec<String> = files
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            output::data(notation, &json!({ done: files }))
        }
        Format::Human if files.is_empty() => output::line(nothing),
        Format::Human => files
            .iter()
            .try_for_each(|file| output::line(&format!("{done} {}", file.display()))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;
    use crate::cli::PkiDir;

    fn options(dir: &Path) -> PkiInit {
        PkiInit {
            dir: PkiDir {
                dir: dir.to_owned(),
            },
            hosts: vec!["store.example".to_owned()],
        }
    }

    #[test]
    fn init_makes_everything_once() {
        let dir = tempfile::tempdir().unwrap();
        init(Format::JSON, &options(dir.path())).unwrap();
        let before = certificates(dir.path()).unwrap();
        assert_eq!(before.len(), 1 + 2 + 1 + SERVICES.len());
        let texts: Vec<String> = before
            .iter()
            .map(|file| fs::read_to_string(file).unwrap())
            .collect();
        init(Format::JSON, &options(dir.path())).unwrap();
        let again: Vec<String> = before
            .iter()
            .map(|file| fs::read_to_string(file).unwrap())
            .collect();
        assert_eq!(texts, again);
        assert_eq!(common_name(&path(dir.path(), ROOT)).unwrap(), ROOT);
        let peer = read(&path(dir.path(), PEER)).unwrap();
        assert!(peer.names.contains(&SubjectName::Dns(PEER.to_owned())));
        assert!(
            !read(&path(dir.path(), SERVER))
                .unwrap()
                .names
                .contains(&SubjectName::Dns(PEER.to_owned()))
        );
    }

    /// The settings that are shipped ask for the name that is issued.
    #[test]
    fn the_shipped_settings_name_our_peers() {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/config");
        for file in ["chainfire.toml", "member.toml"] {
            let text = fs::read_to_string(config.join(file)).unwrap();
            let names: Vec<&str> = text
                .lines()
                .filter_map(|line| line.trim_start_matches("# ").strip_prefix("peer_name = "))
                .filter_map(|value| value.split('"').nth(1))
                .collect();
            assert_eq!(names, [PEER], "{file}");
        }
    }

    #[test]
    fn renewal_leaves_what_is_not_due_unless_forced() {
        let dir = tempfile::tempdir().unwrap();
        init(Format::JSON, &options(dir.path())).unwrap();
        let file = path(dir.path(), ROOT);
        let before = fs::read_to_string(&file).unwrap();
        let mut request = PkiRenew {
            names: vec![],
            dir: PkiDir {
                dir: dir.path().to_owned(),
            },
            force: false,
            online: false,
        };
        renew(Format::JSON, &request).unwrap();
        assert_eq!(before, fs::read_to_string(&file).unwrap());
        (request.names, request.force) = (vec![ROOT.to_owned()], true);
        renew(Format::JSON, &request).unwrap();
        assert_ne!(before, fs::read_to_string(&file).unwrap());
    }

    #[test]
    fn a_certificate_is_not_issued_over_another_or_into_another_directory() {
        let dir = tempfile::tempdir().unwrap();
        init(Format::JSON, &options(dir.path())).unwrap();
        for (name, code) in [("root", 6), ("ca", 2), ("../x", 2), (".x", 2)] {
            let request = PkiIssue {
                name: name.to_owned(),
                dir: PkiDir {
                    dir: dir.path().to_owned(),
                },
                hosts: vec![],
                usage: Usage::Client,
            };
            assert_eq!(
                issue(Format::JSON, &request).unwrap_err().exit_code(),
                code,
                "{name}"
            );
        }
        let empty = tempfile::tempdir().unwrap();
        let request = PkiRenew {
            names: vec![],
            dir: PkiDir {
                dir: empty.path().to_owned(),
            },
            force: false,
            online: false,
        };
        assert_eq!(renew(Format::JSON, &request).unwrap_err().exit_code(), 3);
    }
}
