//! As whom we speak to IAM: the flags over a kept login; login, logout, whoami, contexts.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use reqwest::Url;
use serde_json::{Value, json};

use super::{
    cli::{self, Access},
    client::{Call, Iam, Options},
    context::{self, Contexts, Login, Secret},
    token,
};
use crate::{
    cli::Connection,
    failure::Failure,
    output::{self, Format},
};

/// Where IAM listens when nobody says otherwise.
const DEFAULT_ADDRESS: &str = "http://127.0.0.1:8083";

/// Where a token may stand instead of in a context.
const TOKEN_VARIABLE: &str = "PHOTONCTL_TOKEN";

/// The flags, and the kept login under them.
pub(crate) struct Session {
    file: PathBuf,
    contexts: Contexts,
    /// The context in use, whether there is one of that name or not.
    name: String,
    /// It was named on the command line.
    named: bool,
    address: Url,
    ca: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    deadline: Duration,
}

impl Session {
    pub(crate) fn open(connection: &Connection, access: &Access) -> Result<Self, Failure> {
        let file = context::file()?;
        let contexts = context::read(&file)?;
        let name = contexts.name(access.context.as_deref()).to_owned();
        let kept = contexts.contexts.get(&name);
        let address = match (&access.address, kept) {
            (Some(address), _) => address.clone(),
            (None, Some(login)) => login.iam.clone(),
            (None, None) => DEFAULT_ADDRESS.parse().map_err(anyhow::Error::from)?,
        };
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
            name,
            named: access.context.is_some(),
            file,
            contexts,
        })
    }

    /// IAM, with our token if we have one.
    pub(crate) fn iam(&self) -> Result<Iam, Failure> {
        self.connect(self.token()?)
    }

    /// IAM, proving nothing but what a client certificate does.
    pub(crate) fn iam_without_token(&self) -> Result<Iam, Failure> {
        self.connect(None)
    }

    /// Another service, proving nothing but what a client certificate does: the token is for IAM's eyes.
    pub(crate) fn other(&self, address: Url) -> Result<Iam, Failure> {
        self.connect_to(address, None)
    }

    fn connect(&self, token: Option<Secret>) -> Result<Iam, Failure> {
        self.connect_to(self.address.clone(), token)
    }

    fn connect_to(&self, address: Url, token: Option<Secret>) -> Result<Iam, Failure> {
        let identity = self.identity.as_ref();
        Iam::new(Options {
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
        // A token goes to the IAM that made it and nowhere else.
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

    pub(crate) async fn login(
        mut self,
        format: Format,
        options: cli::Login,
    ) -> Result<(), Failure> {
        let asked = token::Asked {
            principal: &options.principal,
            scope: &options.scope,
            proof: options.proof,
            ttl: Some(options.ttl),
        };
        let answer = token::issue(&self.iam_without_token()?, &asked).await?;
        let (kind, id) = token::principal(&options.principal);
        let login = Login {
            iam: self.address.clone(),
            ca: self.ca.as_deref().map(absolute).transpose()?,
            cert: self
                .identity
                .as_ref()
                .map(|(cert, _)| absolute(cert))
                .transpose()?,
            key: self
                .identity
                .as_ref()
                .map(|(_, key)| absolute(key))
                .transpose()?,
            principal: format!("{kind}:{id}"),
            scope: options.scope,
            token: Some(answer.token),
            expires_at: Some(answer.expires_at),
        };
        let said = json!({
            "context": self.name,
            "principal": login.principal,
            "scope": login.scope,
            "expires_at": login.expires_at,
        });
        let line = format!(
            "{} at {} until {} (context {})",
            login.principal, login.scope, answer.expires_at, self.name
        );
        self.contexts.contexts.insert(self.name.clone(), login);
        self.contexts.current = Some(self.name.clone());
        context::write(&self.file, &self.contexts)?;
        match format {
            Format::Human => output::line(&line),
            Format::Data(notation) => output::data(notation, &said),
        }
    }

    /// The token is forgotten here also when IAM cannot be told: it ends by itself.
    pub(crate) async fn logout(mut self, format: Format) -> Result<(), Failure> {
        let Some(login) = self.contexts.contexts.get_mut(&self.name) else {
            return Err(Failure::not_found(format!(
                "there is no context {}",
                self.name
            )));
        };
        let (token, address) = (login.token.take(), login.iam.clone());
        login.expires_at = None;
        context::write(&self.file, &self.contexts)?;
        let mut revoked = false;
        if let Some(Secret(token)) = token {
            self.address = address;
            let body = json!({ "token": token });
            let told = self.connect(Some(Secret(token)))?;
            let path = ["api", "v1", "auth", "revoke"];
            match told.call(Call::post(&path, body)).await {
                Ok(_) => revoked = true,
                Err(failure) => eprintln!("the token is forgotten but not revoked: {failure}"),
            }
        }
        let name = &self.name;
        match format {
            Format::Human => output::line(&format!("logged out of context {name}")),
            Format::Data(notation) => {
                output::data(notation, &json!({ "context": name, "revoked": revoked }))
            }
        }
    }

    pub(crate) async fn whoami(self, format: Format) -> Result<(), Failure> {
        let answer = self
            .iam()?
            .call(Call::get(&["api", "v1", "whoami"]))
            .await?;
        match format {
            Format::Human => output::fields(&answer),
            Format::Data(notation) => output::data(notation, &answer),
        }
    }

    pub(crate) fn context(mut self, format: Format, command: cli::Context) -> Result<(), Failure> {
        let done = match command {
            cli::Context::List => return self.list_contexts(format),
            cli::Context::Use { name } => {
                self.contexts.find(Some(&name))?;
                let done = json!({ "current": name });
                self.contexts.current = Some(name);
                done
            }
            cli::Context::Delete { name } => {
                self.contexts.find(Some(&name))?;
                self.contexts.contexts.remove(&name);
                if self.contexts.current.as_ref() == Some(&name) {
                    self.contexts.current = None;
                }
                json!({ "deleted": name })
            }
        };
        context::write(&self.file, &self.contexts)?;
        match format {
            Format::Human => output::fields(&done),
            Format::Data(notation) => output::data(notation, &done),
        }
    }

    /// Everything but the tokens.
    fn list_contexts(&self, format: Format) -> Result<(), Failure> {
        let current = self.contexts.name(None);
        let items: Vec<Value> = self
            .contexts
            .contexts
            .iter()
            .map(|(name, login)| {
                json!({
                    "name": name,
                    "current": name == current,
                    "iam": login.iam.as_str(),
                    "principal": login.principal,
                    "scope": login.scope,
                    "expires_at": login.expires_at,
                })
            })
            .collect();
        match format {
            Format::Human => output::records(
                &["name", "current", "principal", "scope", "expires_at", "iam"],
                &items,
            ),
            Format::Data(notation) => output::data(notation, &json!({ "items": items })),
        }
    }
}

/// A path that means the same from every directory.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    Ok(std::path::absolute(path).map_err(anyhow::Error::from)?)
}
