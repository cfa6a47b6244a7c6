//! What one client asks over and over.

use std::sync::Arc;

use anyhow::{Context, ensure};
use rand::Rng;
use serde_json::json;

use super::grow::{project_of, user};
use super::service::Iam;
use crate::keep_alive::{KeepAlive, find, request};
use crate::load::Worker;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// `GET /livez`: an answer that costs nothing but the way through the daemon.
    Alive,
    /// `POST /access/v1/evaluation`: may any user do what its binding gives, asked by the admin.
    Check,
    /// `POST /api/v1/auth/verify`: one of several tokens, asked by the admin.
    Verify,
}

impl Question {
    /// What it is called in the table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Alive => "`GET /livez` (the way through the daemon)",
            Self::Check => "`POST /access/v1/evaluation`",
            Self::Verify => "`POST /api/v1/auth/verify`",
        }
    }

    /// What the answer must have in it.
    fn expected(self) -> &'static [u8] {
        match self {
            Self::Alive => b"\"alive\"",
            Self::Check => b"\"decision\":true",
            Self::Verify => b"\"valid\":true",
        }
    }
}

/// A client.
pub(crate) struct Ask {
    connection: KeepAlive,
    address: String,
    admin: String,
    question: Question,
    users: u64,
    tokens: Arc<[String]>,
}

impl Ask {
    /// A client with a connection of its own.
    ///
    /// # Errors
    /// When IAM does not listen.
    pub(crate) async fn connect(
        iam: &Iam,
        question: Question,
        users: u64,
        tokens: &Arc<[String]>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            connection: KeepAlive::connect(&iam.address).await?,
            address: iam.address.clone(),
            admin: iam.admin.clone(),
            question,
            users,
            tokens: Arc::clone(tokens),
        })
    }

    fn next(&self) -> Vec<u8> {
        let (line, body) = match self.question {
            Question::Alive => return request(&self.address, "GET /livez", "", ""),
            Question::Check => {
                let index = rand::rng().random_range(0..self.users);
                let body = format!(
                    r#"{{"subject":{{"type":"user","id":"{}"}},"action":{{"name":"plasmavmc.vms.create"}},"resource":{{"type":"project","id":"{}"}}}}"#,
                    user(index),
                    project_of(index)
                );
                ("POST /access/v1/evaluation", body)
            }
            Question::Verify => {
                let index = rand::rng().random_range(0..self.tokens.len());
                let body = format!(r#"{{"token":"{}"}}"#, self.tokens[index]);
                ("POST /api/v1/auth/verify", body)
            }
        };
        request(&self.address, line, &self.admin, &body)
    }
}

impl Worker for Ask {
    async fn step(&mut self) -> anyhow::Result<()> {
        let status = self.connection.exchange(&self.next()).await?;
        let body = self.connection.body();
        ensure!(
            status == 200 && find(body, self.question.expected()).is_some(),
            "{:?}: {status} {}",
            self.question,
            String::from_utf8_lossy(body)
        );
        Ok(())
    }
}

/// Tokens of the first users, issued to the admin who may act for them.
///
/// # Errors
/// What was refused.
pub(crate) async fn tokens(iam: &Iam, count: u64) -> anyhow::Result<Arc<[String]>> {
    let mut tokens = Vec::new();
    for index in 0..count {
        let body = json!({"principal_id": user(index), "scope_id": project_of(index)});
        let made = iam.post("/api/v1/auth/token", &body).await?;
        tokens.push(made["token"].as_str().context("no token")?.to_owned());
    }
    Ok(tokens.into())
}
