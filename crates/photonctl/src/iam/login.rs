//! `photonctl login`, `logout`, `whoami`, `context`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{cli, token};
use crate::{
    failure::Failure,
    output::{self, Format},
    rest::{
        client::Call,
        context::{self, Login, Secret},
        session::Session,
    },
};

impl Session {
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
            credit: self.credit.clone(),
            network: self.network.clone(),
            compute: self.compute.clone(),
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
                    "credit": login.credit.as_ref().map(reqwest::Url::as_str),
                    "network": login.network.as_ref().map(reqwest::Url::as_str),
                    "compute": login.compute.as_ref().map(reqwest::Url::as_str),
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
