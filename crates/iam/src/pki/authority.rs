//! The authority's key, if it is on this machine.

use std::{path::PathBuf, sync::Arc};

use photon_core::{Code, Error};
use photon_pki::{Authority, LeafRequest, PkiError};

use crate::app::App;

/// A certificate to be made: what it is to say, and the request that its key signed.
pub(super) struct Order {
    pub(super) request: LeafRequest,
    pub(super) csr: Arc<str>,
    /// What to call the request when it is bad.
    pub(super) field: String,
}

/// Reads the authority. Each time: it may be put there, or replaced, while we run.
pub(super) async fn load(app: &App) -> Result<Arc<Authority>, Error> {
    let directory = directory(app)?;
    let loaded = tokio::task::spawn_blocking(move || Authority::load(&directory)).await;
    match loaded.map_err(Error::internal)? {
        Ok(authority) => Ok(Arc::new(authority)),
        Err(error) => {
            let absent = Error::unavailable("the certificate authority cannot be read");
            Err(absent.with_source(error))
        }
    }
}

fn directory(app: &App) -> Result<PathBuf, Error> {
    app.config.pki.ca_dir.clone().ok_or_else(|| {
        Error::new(
            Code::NOT_IMPLEMENTED,
            "this IAM has no certificate authority (pki.ca_dir); use photonctl pki where its key is",
        )
    })
}

/// Makes certificates, all or none.
pub(super) async fn sign(
    authority: Arc<Authority>,
    orders: Vec<Order>,
) -> Result<Vec<String>, Error> {
    let signing = move || {
        let sign = |order: &Order| {
            let signed = authority.sign(&order.request, &order.csr);
            signed.map_err(|error| refused(&order.field, error))
        };
        orders.iter().map(sign).collect()
    };
    tokio::task::spawn_blocking(signing)
        .await
        .map_err(Error::internal)?
}

fn refused(field: &str, error: PkiError) -> Error {
    match error {
        PkiError::Request(what) => Error::validation(field, "csr", format!("{field} {what}")),
        error => Error::internal(error),
    }
}
