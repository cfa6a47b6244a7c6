//! `photonctl token`: issue, show, verify, revoke.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    cli::{Proof, Token},
    secret,
};
use crate::{
    failure::Failure,
    output::{self, Format},
    rest::{
        Session,
        client::{Call, Service},
        context::Secret,
    },
};

/// A token to get.
pub(crate) struct Asked<'a> {
    /// Who, as on the command line.
    pub(crate) principal: &'a str,
    pub(crate) scope: &'a str,
    pub(crate) proof: Proof,
    /// Seconds.
    pub(crate) ttl: Option<u32>,
}

/// A token that was issued.
pub(crate) struct Issued {
    pub(crate) token: Secret,
    pub(crate) expires_at: Timestamp,
    /// The whole answer.
    answer: Value,
}

/// Kind and id of a principal: users need no kind.
pub(crate) fn principal(text: &str) -> (&str, &str) {
    text.split_once(':').unwrap_or(("user", text))
}

/// Gets a token, asking for the proof first.
pub(crate) async fn issue(iam: &Service, asked: &Asked<'_>) -> Result<Issued, Failure> {
    let (kind, id) = principal(asked.principal);
    let mut body = json!({
        "principal_id": id,
        "principal_type": kind,
        "scope_id": asked.scope,
    });
    if let Some(ttl) = asked.ttl {
        body["ttl_seconds"] = ttl.into();
    }
    if asked.proof.password {
        body["password"] = secret::ask("Password")?.0.into();
    }
    if asked.proof.api_key {
        body["api_key"] = secret::ask("API key")?.0.into();
    }
    let answer = iam
        .call(Call::post(&["api", "v1", "auth", "token"], body))
        .await?;
    let text = |field: &str| {
        let missing = || Failure::other(anyhow::anyhow!("IAM's answer has no {field}"));
        answer[field].as_str().ok_or_else(missing)
    };
    Ok(Issued {
        token: Secret(text("token")?.to_owned()),
        expires_at: text("expires_at")?.parse().map_err(anyhow::Error::from)?,
        answer,
    })
}

pub(crate) async fn run(session: &Session, format: Format, command: Token) -> Result<(), Failure> {
    match command {
        Token::Issue {
            principal,
            scope,
            proof,
            ttl,
        } => {
            let asked = Asked {
                principal: &principal,
                scope: &scope,
                proof,
                ttl,
            };
            // A caller may have the right to act for others; a proof stands for itself.
            let iam = if proof.password || proof.api_key {
                session.iam_without_token()?
            } else {
                session.iam()?
            };
            let issued = issue(&iam, &asked).await?;
            match format {
                Format::Human => output::line(&issued.token.0),
                Format::Data(notation) => output::data(notation, &issued.answer),
            }
        }
        Token::Show => {
            let Secret(token) = session.own_token()?;
            match format {
                Format::Human => output::line(&token),
                Format::Data(notation) => output::data(notation, &json!({ "token": token })),
            }
        }
        Token::Verify { token } => verify(session, format, token).await,
        Token::Revoke {
            token: given,
            principal: whose,
            project,
        } => {
            let body = match (whose, project) {
                (Some(text), _) => {
                    let (kind, id) = principal(&text);
                    json!({ "principal_id": id, "principal_type": kind })
                }
                (None, Some(project)) => json!({ "project_id": project }),
                (None, None) => json!({ "token": token_of(session, given)?.0 }),
            };
            let path = ["api", "v1", "auth", "revoke"];
            let answer = session.iam()?.call(Call::post(&path, body)).await?;
            match format {
                Format::Human => output::fields(&answer),
                Format::Data(notation) => output::data(notation, &answer),
            }
        }
    }
}

async fn verify(session: &Session, format: Format, given: Option<String>) -> Result<(), Failure> {
    let Secret(token) = token_of(session, given)?;
    let path = ["api", "v1", "auth", "verify"];
    let call = Call::post(&path, json!({ "token": token }));
    let answer = session.iam()?.call(call).await?;
    match format {
        Format::Human => output::fields(&answer)?,
        Format::Data(notation) => output::data(notation, &answer)?,
    }
    if answer["valid"] == true {
        return Ok(());
    }
    Err(Failure::denied("the token is not valid"))
}

/// The token that is meant.
fn token_of(session: &Session, given: Option<String>) -> Result<Secret, Failure> {
    match given.as_deref() {
        None => session.own_token(),
        Some("-") => secret::ask("Token"),
        Some(token) => Ok(Secret(token.to_owned())),
    }
}
