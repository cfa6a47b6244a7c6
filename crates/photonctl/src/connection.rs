//! From flags to clients.

use std::{fs, path::Path, time::Duration};

use anyhow::Context as _;
use chainfire_client::{ChainFireClient, Identity, Options, TlsOptions};

use crate::{cli::Connection, failure::Failure};

impl Connection {
    pub(crate) async fn connect(&self) -> Result<ChainFireClient, Failure> {
        Ok(ChainFireClient::connect_with(self.endpoints.clone(), self.options()?).await?)
    }

    /// A client of one endpoint, which asks nobody else.
    pub(crate) async fn connect_to(&self, endpoint: &str) -> Result<ChainFireClient, Failure> {
        let options = Options {
            follow_leader: false,
            ..self.options()?
        };
        Ok(ChainFireClient::connect_with([endpoint], options).await?)
    }

    fn options(&self) -> Result<Options, Failure> {
        let tls = match (&self.ca, &self.cert) {
            (None, None) => None,
            (None, Some(_)) => return Err(Failure::usage("--cert needs --ca")),
            (Some(ca), _) => Some(TlsOptions {
                ca: read(ca)?,
                identity: self.identity()?,
                server_name: self.server_name.clone(),
            }),
        };
        Ok(Options {
            deadline: self.deadline(),
            tls,
            ..Options::default()
        })
    }

    fn identity(&self) -> Result<Option<Identity>, Failure> {
        match (&self.cert, &self.private_key) {
            (Some(certificate), Some(key)) => Ok(Some(Identity {
                certificate: read(certificate)?,
                key: read(key)?,
            })),
            _ => Ok(None),
        }
    }

    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// Typed records, over the same endpoints and certificates.
    pub(crate) fn store_options(&self) -> Result<photon_store::Options, Failure> {
        let tls = match (&self.ca, &self.cert) {
            (None, None) => None,
            (None, Some(_)) => return Err(Failure::usage("--cert needs --ca")),
            (Some(ca), _) => Some(photon_store::Tls {
                authority: read(ca)?.into_bytes(),
                identity: self
                    .identity()?
                    .map(|identity| (identity.certificate.into(), identity.key.into())),
                server_name: self.server_name.clone(),
            }),
        };
        Ok(photon_store::Options {
            tls,
            request_timeout: self.deadline(),
            ..photon_store::Options::new(&self.endpoints)
        })
    }

    /// etcd's own interface, over the same endpoints and certificates.
    pub(crate) async fn etcd(&self) -> Result<etcd_client::Client, Failure> {
        let mut options = etcd_client::ConnectOptions::new()
            .with_connect_timeout(Duration::from_secs(2))
            .with_timeout(self.deadline());
        if let Some(ca) = &self.ca {
            let mut tls = etcd_client::TlsOptions::new()
                .ca_certificate(etcd_client::Certificate::from_pem(read(ca)?));
            if let Some(Identity { certificate, key }) = self.identity()? {
                tls = tls.identity(etcd_client::Identity::from_pem(certificate, key));
            }
            if let Some(name) = &self.server_name {
                tls = tls.domain_name(name);
            }
            options = options.with_tls(tls);
        }
        Ok(etcd_client::Client::connect(&self.endpoints, Some(options)).await?)
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let text =
        fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(text)
}
