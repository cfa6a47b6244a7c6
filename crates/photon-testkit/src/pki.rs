//! A throw-away certificate authority.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use photon_pki::{Authority, LeafRequest, SubjectName, describe};

use crate::scratch::Scratch;

/// An authority whose files live as long as it.
#[derive(Debug)]
pub struct TestPki {
    authority_file: PathBuf,
    authority: AuthorityBox,
    dir: Scratch,
}

/// Keeps `Debug` derivable without printing a key.
struct AuthorityBox(Authority);

impl std::fmt::Debug for AuthorityBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

/// PEM files of one certificate.
#[derive(Clone, Debug)]
pub struct Files {
    /// The authority's certificate.
    pub authority: PathBuf,
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl TestPki {
    /// A new authority. Also installs the suite's one cryptography provider in this process.
    ///
    /// # Errors
    /// When files cannot be written.
    pub fn new() -> anyhow::Result<Self> {
        install_crypto();
        let dir = Scratch::new("pki")?;
        let authority = Authority::create("photon-testkit")?;
        let authority_file = dir.path().join("authority.crt");
        std::fs::write(&authority_file, authority.certificate_pem())?;
        Ok(Self {
            authority_file,
            authority: AuthorityBox(authority),
            dir,
        })
    }

    /// The authority's certificate.
    pub fn authority(&self) -> &Path {
        &self.authority_file
    }

    /// The authority's certificate, PEM.
    pub fn authority_pem(&self) -> &str {
        self.authority.0.certificate_pem()
    }

    /// The authority itself, to issue what has no method here.
    pub fn issuer(&self) -> &Authority {
        &self.authority.0
    }

    /// A listener's certificate for these addresses, loopback included. `name` is the common name and names the files.
    ///
    /// # Errors
    /// When it cannot be issued or written.
    pub fn server(&self, name: &str, addresses: &[IpAddr]) -> anyhow::Result<Files> {
        self.issue(&LeafRequest::server(name, names(addresses)))
    }

    /// A cluster member's certificate, for both directions.
    ///
    /// # Errors
    /// As [`TestPki::server`].
    pub fn peer(&self, name: &str, addresses: &[IpAddr]) -> anyhow::Result<Files> {
        self.issue(&LeafRequest::peer(name, names(addresses)))
    }

    /// A caller's certificate; `name` is who it is.
    ///
    /// # Errors
    /// As [`TestPki::server`].
    pub fn client(&self, name: &str) -> anyhow::Result<Files> {
        self.issue(&LeafRequest::client(name))
    }

    /// Writes every certificate issued so far anew, in its own files, as if it had been issued at `then`: with a time long
    /// past all of them have ended, with now all are renewed. Returns how many there are.
    ///
    /// # Errors
    /// When one cannot be read, issued or written.
    pub fn reissue_all(&self, then: SystemTime) -> anyhow::Result<usize> {
        let mut leaves = 0;
        for entry in std::fs::read_dir(self.dir.path())? {
            let path = entry?.path();
            if path == self.authority_file || path.extension().is_none_or(|kind| kind != "crt") {
                continue;
            }
            let old = describe(&std::fs::read_to_string(&path)?)?;
            let request = self.authority.0.renewal(&old)?;
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let leaf = self.authority.0.issue_at(&request, then)?;
            leaf.save(self.dir.path(), stem.context("a file name of ours")?)?;
            leaves += 1;
        }
        Ok(leaves)
    }

    fn issue(&self, request: &LeafRequest) -> anyhow::Result<Files> {
        let stem = format!("{}-{:?}", request.common_name, request.purpose);
        let leaf = self.authority.0.issue(request)?;
        leaf.save(self.dir.path(), &stem)?;
        Ok(Files {
            authority: self.authority_file.clone(),
            certificate: self.dir.path().join(format!("{stem}.crt")),
            key: self.dir.path().join(format!("{stem}.key")),
        })
    }
}

fn names(addresses: &[IpAddr]) -> Vec<SubjectName> {
    addresses.iter().copied().map(SubjectName::Ip).collect()
}

/// Makes aws-lc-rs the process's TLS provider. Harmless when repeated.
pub fn install_crypto() {
    // Fails only if a provider is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::etcd::{EtcdProcess, answers};

    /// A real TLS server takes the certificates and refuses callers without one.
    #[tokio::test]
    async fn a_server_accepts_only_our_clients() {
        let pki = TestPki::new().unwrap();
        let server = pki.server("etcd", &[]).unwrap();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let flags = [
            "--client-cert-auth".to_owned(),
            format!("--trusted-ca-file={}", text(&server.authority)),
            format!("--cert-file={}", text(&server.certificate)),
            format!("--key-file={}", text(&server.key)),
        ];
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let client = pki.client("root").unwrap();
        let etcd = EtcdProcess::start_tls(&flags, client).await.unwrap();
        assert!(etcd.endpoint().starts_with("https://"));
        assert!(!answers(etcd.endpoint(), None).await, "no certificate");
    }
}
