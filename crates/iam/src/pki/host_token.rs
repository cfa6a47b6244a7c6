//! One-time tokens that hosts join with: `pht_<id>_<32 random bytes>`, of which only SHA-256 is stored.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use photon_auth::{Context, Tell};
use photon_authz::Scope;
use photon_core::{Error, Id, Name, id::Kind};
use photon_store::{PageRequest, Record, Transaction};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::{
    app::App,
    audit::Act,
    contention::{Lost, contended},
    credential::Secret,
    hex,
    listing::{self, Ask, Listing},
    versioned::{Versioned, expect},
};

const PREFIX: &str = "pht_";
const SECRET_BYTES: usize = 32;
const SECRET_DIGITS: usize = 43;
/// Seconds that a token can be used, unless said otherwise.
const USUAL_TTL: u64 = 3600;
const SHORTEST_TTL: u64 = 60;
const LONGEST_TTL: u64 = 7 * 24 * 3600;
/// How long one that cannot be used any more is still listed.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24 * 7);
/// The most of those that are forgotten when another is made; each is two writes.
const MOST_FORGOTTEN: usize = 40;

/// The kind of a [`HostToken`]'s id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostTokenKind;

impl Kind for HostTokenKind {
    const PREFIX: &'static str = "hst";
}

/// The id of a [`HostToken`], `hst-<uuid>`.
pub(crate) type HostTokenId = Id<HostTokenKind>;

/// What is known of a token; not the token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HostToken {
    pub(crate) id: HostTokenId,
    /// The name of the host that may use it.
    pub(crate) host: Name,
    /// SHA-256 of the whole token, hex.
    sha256: String,
    pub(crate) created_at: Timestamp,
    pub(crate) created_by: String,
    pub(crate) expires_at: Timestamp,
    /// When it was used, and from where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) used_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) used_from: Option<String>,
}

impl Record for HostToken {
    const ROOT: &'static str = "/photon/iam/host-token/";

    fn index_keys(&self, _key: &str) -> Vec<String> {
        Vec::new()
    }
}

impl HostToken {
    /// Whether the presented token is this one and can be used now. Takes as long when there is none.
    pub(super) fn accepts(found: Option<&Self>, token: &str, now: Timestamp) -> bool {
        const NONE: &str = "0000000000000000000000000000000000000000000000000000000000000000";
        let stored = found.map_or(NONE, |found| found.sha256.as_str());
        let same = bool::from(stored.as_bytes().ct_eq(digest(token).as_bytes()));
        same && found.is_some_and(|found| found.used_at.is_none() && now < found.expires_at)
    }
}

/// A token to be made.
#[derive(Debug)]
pub(crate) struct NewHostToken {
    pub(crate) host: Name,
    pub(crate) ttl_seconds: Option<u64>,
}

/// A token that was made. It is not known to anybody else.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) token: Secret,
    pub(crate) shown: Versioned<HostToken>,
}

/// Makes a token.
pub(crate) async fn create(app: &App, ctx: &Context, new: &NewHostToken) -> Result<Made, Error> {
    ctx.allow(&Scope::System)?;
    let ttl = ttl_of(new.ttl_seconds)?;
    let longest = app.config.pki.longest_host();
    if new.host.as_str().len() > longest {
        let message = format!("host must be at most {longest} characters to fit into certificates");
        return Err(Error::validation("host", "length", message));
    }
    let now = crate::clock::now();
    let id = HostTokenId::generate();
    let token = generate(id)?;
    let record = HostToken {
        id,
        host: new.host.clone(),
        sha256: digest(token.expose()),
        created_at: now,
        created_by: ctx.caller.who.to_string(),
        expires_at: now + ttl,
        used_at: None,
        used_from: None,
    };
    let records = app.records::<HostToken>();
    let revision = contended(ctx, async || {
        let mut transaction = app.store.transaction();
        transaction.create(&records, &id.to_string(), &record)?;
        forget_old(app, &mut transaction, now).await?;
        let act = act(&record);
        // The token is in the answer, and nowhere else.
        Ok::<_, Lost>(app.commit_new(ctx, transaction, act, Tell::Once).await?)
    })
    .await?;
    Ok(Made {
        token,
        shown: Versioned::new(record, revision),
    })
}

/// Lists tokens, those that were used or have expired lately too.
pub(crate) async fn list(app: &App, ctx: &Context, ask: &Ask) -> Result<Listing<HostToken>, Error> {
    ctx.allow(&Scope::System)?;
    listing::list(&app.records::<HostToken>(), "", ask, |_| true).await
}

/// Takes a token back.
pub(crate) async fn delete(
    app: &App,
    ctx: &Context,
    id: HostTokenId,
    expected: Option<i64>,
) -> Result<i64, Error> {
    ctx.allow(&Scope::System)?;
    let records = app.records::<HostToken>();
    contended(ctx, async || {
        let found = records.get(&id.to_string()).await?;
        let found = found.ok_or_else(|| Error::not_found(format!("host token {id}")))?;
        expect(&found, expected)?;
        let mut transaction = app.store.transaction();
        transaction.delete(&records, &found)?;
        Ok::<_, Lost>(app.commit(ctx, transaction, act(&found.value)).await?)
    })
    .await
}

/// What a record about a token says.
pub(super) fn act(token: &HostToken) -> Act {
    Act::new("host_token", token.id, Scope::System)
        .detail("host", token.host.as_str())
        .detail("expires_at", token.expires_at.to_string())
}

/// Which token a text says it is.
pub(super) fn id_of(token: &str) -> Option<HostTokenId> {
    let (id, secret) = token.strip_prefix(PREFIX)?.split_once('_')?;
    let is_id = id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !is_id || secret.len() != SECRET_DIGITS {
        return None;
    }
    Uuid::try_parse(id).ok().map(HostTokenId::from_uuid)
}

/// Forgets some that nobody can use any more, so that they do not pile up.
async fn forget_old(app: &App, transaction: &mut Transaction, now: Timestamp) -> Result<(), Lost> {
    let records = app.records::<HostToken>();
    let request = PageRequest {
        limit: MOST_FORGOTTEN,
        ..PageRequest::default()
    };
    // Ids begin with their time: the oldest come first.
    for old in records.list(&request).await?.items {
        if old.value.expires_at + REMEMBERED < now {
            transaction.delete(&records, &old)?;
        }
    }
    Ok(())
}

fn ttl_of(seconds: Option<u64>) -> Result<SignedDuration, Error> {
    let seconds = seconds.unwrap_or(USUAL_TTL);
    if !(SHORTEST_TTL..=LONGEST_TTL).contains(&seconds) {
        let message = format!("ttl_seconds must be {SHORTEST_TTL} to {LONGEST_TTL}");
        return Err(Error::validation("ttl_seconds", "range", message));
    }
    let seconds = i64::try_from(seconds).map_err(Error::internal)?;
    Ok(SignedDuration::from_secs(seconds))
}

fn generate(id: HostTokenId) -> Result<Secret, Error> {
    let mut random = [0; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| Error::internal("no random bytes"))?;
    let secret = URL_SAFE_NO_PAD.encode(random);
    Ok(format!("{PREFIX}{}_{secret}", id.uuid().simple()).into())
}

fn digest(token: &str) -> String {
    hex::encode(&Sha256::digest(token))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn made(now: Timestamp) -> (Secret, HostToken) {
        let id = HostTokenId::generate();
        let token = generate(id).unwrap();
        let record = HostToken {
            id,
            host: "h1".parse().unwrap(),
            sha256: digest(token.expose()),
            created_at: now,
            created_by: "user:alice".to_owned(),
            expires_at: now + SignedDuration::from_secs(60),
            used_at: None,
            used_from: None,
        };
        (token, record)
    }

    #[test]
    fn a_token_is_good_once_and_for_a_while() {
        let now = crate::clock::now();
        let (token, mut record) = made(now);
        let token = token.expose();
        assert_eq!(id_of(token), Some(record.id));
        assert!(HostToken::accepts(Some(&record), token, now));
        assert!(!HostToken::accepts(None, token, now));
        let (other, _) = made(now);
        assert!(!HostToken::accepts(Some(&record), other.expose(), now));
        assert!(!HostToken::accepts(Some(&record), token, record.expires_at));
        record.used_at = Some(now);
        assert!(!HostToken::accepts(Some(&record), token, now));
        assert!(!serde_json::to_string(&record).unwrap().contains(token));
    }

    #[test]
    fn what_is_no_token_names_none() {
        let (token, _) = made(Timestamp::now());
        let token = token.expose().to_owned();
        for bad in [
            "",
            "pht_",
            &token[..token.len() - 1],
            &format!("{token}x"),
            &token.replacen("pht_", "phk_", 1),
            &token.to_uppercase(),
        ] {
            assert_eq!(id_of(bad), None, "{bad}");
        }
        for (seconds, good) in [
            (59, false),
            (60, true),
            (LONGEST_TTL, true),
            (u64::MAX, false),
        ] {
            assert_eq!(ttl_of(Some(seconds)).is_ok(), good, "{seconds}");
        }
    }
}
