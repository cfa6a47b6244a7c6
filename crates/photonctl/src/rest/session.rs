//! As whom we speak to services, and where they are: the flags over a kept login.

use std::{env, path::PathBuf, time::Duration};

use jiff::Timestamp;
use reqwest::Url;

use super::{
    cli::Access,
    client::{Options, Service},
    context::{self, Contexts, Login, Secret},
};
use crate::{cli::Connection, failure::Failure};

/// Where IAM listens when nobody says otherwise.
const DEFAULT_ADDRESS: &str = "http://127.0.0.1:8083";

/// Where CreditService listens on a host of which nobody says otherwise.
const CREDIT_PORT: u16 = 8086;

/// Where PrismNET does.
const NETWORK_PORT: u16 = 8087;

/// Where PlasmaVMC does.
const COMPUTE_PORT: u16 = 8084;

/// Where a token may stand instead of in a context.
const TOKEN_VARIABLE: &str = "PHOTONCTL_TOKEN";

/// The flags, and the kept login under them.
pub(crate) struct Session {
    /// Where contexts are kept.
    pub(crate) file: PathBuf,
    pub(crate) contexts: Contexts,
    /// The context in use, whether there is one of that name or not.
    pub(crate) name: String,
    /// It was named on the command line.
    named: bool,
    /// IAM's.
    pub(crate) address: Url,
    /// CreditService's, if a flag or the context says it.
    pub(crate) credit: Option<Url>,
    /// PrismNET's, likewise.
    pub(crate) network: Option<Url>,
    /// PlasmaVMC's, likewise.
    pub(crate) compute: Option<Url>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    deadline: Duration,
}

impl Session {
    pub(crate) fn open(connection: &Connection, access: &Access) -> Result<Self, Failure> {
        let file = context::file()?;
        let contexts = context::read(&file)?;
        let name = contexts.name(access.context.as_deref()).to_owned();
        let kept = contexts.contexts.get(&name);
        let address = match (&access.iam, kept) {
            (Some(address), _) => address.clone(),
            (None, Some(login)) => login.iam.clone(),
            (None, None) => DEFAULT_ADDRESS.parse().map_err(anyhow::Error::from)?,
        };
        // The context's belongs to the context's IAM.
        let beside = kept.filter(|login| login.iam == address);
        let credit = access.credit.clone();
        let credit = credit.or_else(|| beside.and_then(|login| login.credit.clone()));
        let network = access.network.clone();
        let network = network.or_else(|| beside.and_then(|login| login.network.clone()));
        let compute = access.compute.clone();
        let compute = compute.or_else(|| beside.and_then(|login| login.compute.clone()));
        let pair = |cert: &Option<PathBuf>, key: &Option<PathBuf>| cert.clone().zip(key.clone());
        Ok(Self {
            ca: connection
                .ca
                .clone()
                .or_else(|| kept.and_then(|login| login.ca.clone())),
            identity: pair(&connection.cert, &connection.private_key)
                .or_else(|| kept.and_then(|login| pair(&login.cert, &login.key))),
            deadline: connection.deadline(),
            address,
            credit,
            network,
            compute,
            name,
            named: access.context.is_some(),
            file,
            contexts,
        })
    }

    /// IAM, with our token if we have one.
    pub(crate) fn iam(&self) -> Result<Service, Failure> {
        self.connect(self.token()?)
    }

    /// IAM, proving nothing but what a client certificate does.
    pub(crate) fn iam_without_token(&self) -> Result<Service, Failure> {
        self.connect(None)
    }

    /// CreditService, with our token if we have one.
    pub(crate) fn credit(&self) -> Result<Service, Failure> {
        let address = match &self.credit {
            Some(address) => address.clone(),
            None => beside(&self.address, CREDIT_PORT)?,
        };
        self.connect_to("CreditService", "--credit", address, self.token()?)
    }

    /// PrismNET, with our token if we have one.
    pub(crate) fn network(&self) -> Result<Service, Failure> {
        let address = match &self.network {
            Some(address) => address.clone(),
            None => beside(&self.address, NETWORK_PORT)?,
        };
        self.connect_to("PrismNET", "--network", address, self.token()?)
    }

    /// PlasmaVMC, with our token if we have one.
    pub(crate) fn compute(&self) -> Result<Service, Failure> {
        let address = match &self.compute {
            Some(address) => address.clone(),
            None => beside(&self.address, COMPUTE_PORT)?,
        };
        self.connect_to("PlasmaVMC", "--compute", address, self.token()?)
    }

    /// The scope of the login in use, if it belongs to this IAM: a project, an org, or the system.
    pub(crate) fn scope(&self) -> Result<Option<&str>, Failure> {
        let kept = self.kept()?.filter(|login| login.iam == self.address);
        Ok(kept.map(|login| login.scope.as_str()))
    }

    /// Any service, proving nothing but what a client certificate does: who is named by an address alone gets no token.
    pub(crate) fn other(&self, address: Url) -> Result<Service, Failure> {
        self.connect_to("the service", "--service", address, None)
    }

    pub(crate) fn connect(&self, token: Option<Secret>) -> Result<Service, Failure> {
        self.connect_to("IAM", "--iam", self.address.clone(), token)
    }

    fn connect_to(
        &self,
        name: &'static str,
        flag: &'static str,
        address: Url,
        token: Option<Secret>,
    ) -> Result<Service, Failure> {
        let identity = self.identity.as_ref();
        Service::new(Options {
            name,
            flag,
            address,
            ca: self.ca.as_deref(),
            identity: identity.map(|(cert, key)| (cert.as_path(), key.as_path())),
            token,
            deadline: self.deadline,
        })
    }

    /// The token to show. One that is over is not: the answer would be a bare 401.
    pub(crate) fn token(&self) -> Result<Option<Secret>, Failure> {
        if let Some(token) = env::var_os(TOKEN_VARIABLE) {
            return match token.into_string() {
                Ok(token) if !token.is_empty() => Ok(Some(Secret(token))),
                _ => Err(Failure::usage(format!("{TOKEN_VARIABLE} holds no token"))),
            };
        }
        let Some(login) = self.kept()? else {
            return Ok(None);
        };
        // A token is for the IAM that made it, and its suite.
        if login.iam != self.address {
            return Ok(None);
        }
        if login.token.is_some() && login.expires_at.is_some_and(|end| end <= Timestamp::now()) {
            return Err(Failure::denied(format!(
                "the token of {} is over: photonctl login {} --scope {}",
                login.principal, login.principal, login.scope
            )));
        }
        Ok(login.token.clone())
    }

    /// The token to show, which has to be there.
    pub(crate) fn own_token(&self) -> Result<Secret, Failure> {
        self.token()?
            .ok_or_else(|| Failure::usage("there is no token: photonctl login"))
    }

    /// The login in use. One that was named has to be there.
    fn kept(&self) -> Result<Option<&Login>, Failure> {
        self.contexts.find(self.named.then_some(self.name.as_str()))
    }
}

/// The service that listens on another port of the same host.
fn beside(address: &Url, port: u16) -> Result<Url, Failure> {
    let mut other = address.clone();
    other.set_path("/");
    other
        .set_port(Some(port))
        .map_err(|()| Failure::usage(format!("{address} names no host")))?;
    Ok(other)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn services_are_looked_for_beside_iam() {
        for (iam, credit) in [
            ("http://127.0.0.1:8083", "http://127.0.0.1:8086/"),
            ("https://iam.example/base", "https://iam.example:8086/"),
            ("https://[::1]:9", "https://[::1]:8086/"),
        ] {
            let found = beside(&iam.parse().unwrap(), CREDIT_PORT).unwrap();
            assert_eq!(found.as_str(), credit);
        }
        assert!(beside(&"data:x".parse().unwrap(), CREDIT_PORT).is_err());
    }
}
