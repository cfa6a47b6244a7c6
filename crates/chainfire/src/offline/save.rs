//! A backup from a running node, through etcd's `Maintenance.Snapshot`.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use photon_proto::etcdserverpb::{
    AuthenticateRequest, SnapshotRequest, auth_client::AuthClient,
    maintenance_client::MaintenanceClient,
};
use tokio::time::timeout;
use tonic::{
    Request,
    metadata::AsciiMetadataValue,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::{archive, line, size};

const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// How long the node may say nothing; before the first piece it copies its state.
const STALL: Duration = Duration::from_secs(120);

/// From where to where.
#[derive(Clone, Debug)]
pub struct Save {
    /// Where the backup is to be; must not exist.
    pub file: PathBuf,
    /// `http://host:port` or `https://host:port` of a member's client listener.
    pub endpoint: String,
    /// PEM file of the authority that signed the member's certificate.
    pub cacert: Option<PathBuf>,
    /// PEM files of this caller's certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// A user with the root role, if the certificate is not one.
    pub login: Option<Login>,
}

/// A user's name and password.
#[derive(Clone)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Saves a snapshot: written beside the file, read again and checked, then renamed. What was saved, for a person.
///
/// # Errors
/// A file that exists, a node that does not answer or refuses, a copy that is not whole.
pub async fn save(plan: &Save) -> anyhow::Result<String> {
    ensure!(
        !plan.file.exists(),
        "{} exists: give another name, or remove it",
        plan.file.display()
    );
    let partial = partial_name(&plan.file)?;
    let saved = async {
        receive(plan, &partial)
            .await
            .with_context(|| format!("no snapshot from {}", plan.endpoint))?;
        let check = partial.clone();
        let contents = tokio::task::spawn_blocking(move || archive::read(&check, None)).await??;
        ensure!(
            contents.has_checksum,
            "the node sent no checksum behind the snapshot"
        );
        publish(&partial, &plan.file)?;
        Ok(contents)
    }
    .await;
    if saved.is_err() {
        // It may not have been created; the reason it failed is what counts.
        let _ = fs::remove_file(&partial);
    }
    let contents = saved?;
    Ok([
        line("saved", plan.file.display()),
        line("size", size(contents.bytes)),
        line("cluster", contents.manifest.cluster_id),
        line("revision", contents.manifest.revision),
    ]
    .concat())
}

fn partial_name(file: &Path) -> anyhow::Result<PathBuf> {
    let mut name = file
        .file_name()
        .with_context(|| format!("{} is no name of a file", file.display()))?
        .to_owned();
    name.push(".partial");
    Ok(file.with_file_name(name))
}

/// Durable under its final name, or not there at all.
fn publish(partial: &Path, file: &Path) -> anyhow::Result<()> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
    fs::rename(partial, file)
        .and_then(|()| File::open(dir.unwrap_or(Path::new(".")))?.sync_all())
        .with_context(|| format!("cannot rename {}", partial.display()))
}

async fn receive(plan: &Save, to: &Path) -> anyhow::Result<()> {
    let channel = connect(plan).await?;
    let mut request = Request::new(SnapshotRequest {});
    if let Some(login) = &plan.login {
        let token = log_in(channel.clone(), login).await?;
        request.metadata_mut().insert("token", token);
    }
    // It holds every secret the store holds.
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(to)
        .with_context(|| format!("cannot write {}", to.display()))?;
    let mut client = MaintenanceClient::new(channel);
    let mut stream = timeout(STALL, client.snapshot(request))
        .await
        .context("it did not answer")??
        .into_inner();
    let mut ended = false;
    while let Some(part) = timeout(STALL, stream.message())
        .await
        .context("it stopped sending")??
    {
        file.write_all(&part.blob)
            .with_context(|| format!("cannot write {}", to.display()))?;
        ended = part.remaining_bytes == 0;
    }
    if !ended {
        bail!("the stream ended before the snapshot did");
    }
    file.sync_all()
        .with_context(|| format!("cannot sync {}", to.display()))
}

async fn connect(plan: &Save) -> anyhow::Result<Channel> {
    let tls = plan.cacert.is_some() || plan.identity.is_some();
    let url = match plan.endpoint.split_once("://") {
        Some(_) => plan.endpoint.clone(),
        None if tls => format!("https://{}", plan.endpoint),
        None => format!("http://{}", plan.endpoint),
    };
    let mut endpoint = Endpoint::from_shared(url)
        .context("--endpoint is http://host:port or https://host:port")?
        .connect_timeout(CONNECT_WITHIN)
        .http2_keep_alive_interval(Duration::from_secs(20));
    if endpoint.uri().scheme_str() == Some("https") {
        let mut config = ClientTlsConfig::new();
        if let Some(cacert) = &plan.cacert {
            config = config.ca_certificate(Certificate::from_pem(read(cacert)?));
        }
        if let Some((certificate, key)) = &plan.identity {
            config = config.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        endpoint = endpoint.tls_config(config)?;
    } else {
        ensure!(!tls, "certificates are for https:// endpoints");
    }
    Ok(endpoint.connect().await?)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

async fn log_in(channel: Channel, login: &Login) -> anyhow::Result<AsciiMetadataValue> {
    let request = AuthenticateRequest {
        name: login.user.clone(),
        password: login.password.clone(),
    };
    let answer = timeout(STALL, AuthClient::new(channel).authenticate(request))
        .await
        .context("it did not answer the login")?
        .with_context(|| format!("{} cannot log in", login.user))?;
    Ok(answer.into_inner().token.parse()?)
}
