//! `photonctl pki renew --online`: a certificate renewed through IAM, over itself.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, chown},
    path::Path,
};

use anyhow::Context as _;
use jiff::Timestamp;
use photon_pki::{KeyRequest, describe, files};
use serde_json::json;

use crate::{
    cli::Connection,
    failure::Failure,
    output::{self, Format},
    rest::{Session, cli::Access, client::Call},
};

pub(crate) async fn renew_certificate(
    connection: &Connection,
    access: &Access,
    format: Format,
    force: bool,
) -> Result<(), Failure> {
    let (Some(certificate), Some(key)) = (&connection.cert, &connection.private_key) else {
        return Err(Failure::usage(
            "--online renews the certificate that --cert and --key name",
        ));
    };
    let now = Timestamp::now();
    let old = describe(&files::read(certificate).map_err(Failure::other)?)
        .with_context(|| format!("{} is no certificate", certificate.display()))?;
    if old.is_expired(now) {
        let text = format!(
            "{} has expired, so it proves nothing: `photonctl pki renew` where the authority is",
            certificate.display()
        );
        return Err(Failure::refused(text));
    }
    if !force && !old.is_due(now) {
        return match format {
            Format::Human => output::line("nothing is due"),
            Format::Data(notation) => output::data(notation, &json!({ "renewed": [] })),
        };
    }
    let asked = KeyRequest::create(&old.common_name).map_err(Failure::other)?;
    let session = Session::open(connection, access)?;
    let path = ["api", "v1", "pki", "renew"];
    let call = Call::post(&path, json!({ "csr": asked.request_pem }));
    let answer = session.iam_without_token()?.call(call).await?;
    let pem = answer["certificate"].as_str().unwrap_or_default();
    let new = describe(pem).context("IAM answered with no certificate")?;
    if new.common_name != old.common_name {
        let text = format!("IAM answered with a certificate of {}", new.common_name);
        return Err(Failure::other(anyhow::anyhow!(text)));
    }
    // The key first: whoever watches the certificate finds the key that belongs to it.
    replace(key, &asked.key_pem)?;
    replace(certificate, pem)?;
    let file = certificate.display().to_string();
    match format {
        Format::Human => output::line(&format!("renewed {file}, until {}", new.not_after)),
        Format::Data(notation) => output::data(notation, &json!({ "renewed": [file] })),
    }
}

/// Writes a file in place of another, for those who could read that one.
fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let at = || format!("cannot replace {}", path.display());
    let old = fs::metadata(path).with_context(at)?;
    files::write(path, text, old.mode() & 0o777).map_err(Failure::other)?;
    match chown(path, Some(old.uid()), Some(old.gid())) {
        // Only root gives files away; without that right they were ours before, or of a group of ours.
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
            Err(error).with_context(at).map_err(Failure::other)
        }
        _ => Ok(()),
    }
}
