//! `photonctl kv`.

use std::io::Read as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chainfire_client::{
    ChainFireClient, DeleteRequest, Encoding, GetResponse, GetWithRequest, PutRequest, ScanRequest,
    ScanResponse,
};
use serde_json::{Value, json};

use crate::{
    cli::{Connection, Kv},
    failure::Failure,
    output::{self, Format},
};

pub(crate) async fn run(
    connection: &Connection,
    format: Format,
    command: Kv,
) -> Result<(), Failure> {
    let mut client = connection.connect().await?;
    match command {
        Kv::Get {
            key,
            revision,
            stale,
            details,
        } => {
            let request = GetWithRequest {
                key,
                revision,
                stale,
            };
            let item = client.get_with(request).await?.into_inner();
            match format {
                Format::Data(notation) => output::data(notation, &shown(&item)),
                Format::Human if details => output::table(HEADINGS, &[row(&item)]),
                Format::Human => value_alone(&item),
            }
        }
        Kv::Put { key, value, lease } => {
            let (value, encoding) = value_of(value)?;
            let request = PutRequest {
                key,
                value,
                encoding: encoding.into(),
                lease,
            };
            let revision = client.put(request).await?.into_inner().revision;
            done(
                format,
                &format!("revision {revision}"),
                &json!({ "revision": revision }),
            )
        }
        Kv::Delete { key, prefix } => {
            let range_end = if prefix {
                prefix_end(&key)?
            } else {
                String::new()
            };
            let deleted = client
                .delete(DeleteRequest { key, range_end })
                .await?
                .into_inner();
            let value = json!({ "deleted": deleted.deleted, "revision": deleted.revision });
            done(
                format,
                &format!("deleted {}, revision {}", deleted.deleted, deleted.revision),
                &value,
            )
        }
        Kv::List {
            prefix,
            start,
            end,
            limit,
            page_token,
            revision,
            keys_only,
            stale,
        } => {
            let request = ScanRequest {
                prefix: prefix.unwrap_or_default(),
                start: start.unwrap_or_default(),
                end: end.unwrap_or_default(),
                limit: limit.unwrap_or_default(),
                page_token: page_token.unwrap_or_default(),
                revision,
                keys_only,
                stale,
            };
            list(&mut client, format, request).await
        }
    }
}

async fn list(
    client: &mut ChainFireClient,
    format: Format,
    request: ScanRequest,
) -> Result<(), Failure> {
    let found = if request.limit == 0 {
        whole(client, request).await?
    } else {
        client.scan(request).await?.into_inner()
    };
    let next = found.next_page_token;
    match format {
        Format::Data(notation) => {
            let items: Vec<Value> = found.items.iter().map(shown).collect();
            output::data(
                notation,
                &json!({
                    "items": items,
                    "count": found.count,
                    "revision": found.revision,
                    "next_page_token": (!next.is_empty()).then_some(next),
                }),
            )
        }
        Format::Human => {
            output::table(HEADINGS, &found.items.iter().map(row).collect::<Vec<_>>())?;
            if !next.is_empty() {
                eprintln!("more: --page-token {next}");
            }
            Ok(())
        }
    }
}

/// Every page as one, at the revision of the first.
async fn whole(
    client: &mut ChainFireClient,
    request: ScanRequest,
) -> Result<ScanResponse, Failure> {
    const PAGE: i64 = 1000;
    let mut request = ScanRequest {
        limit: PAGE,
        ..request
    };
    let mut whole = client.scan(request.clone()).await?.into_inner();
    loop {
        let next = std::mem::take(&mut whole.next_page_token);
        if next.is_empty() {
            return Ok(whole);
        }
        request.page_token = next;
        let page = client.scan(request.clone()).await?.into_inner();
        whole.items.extend(page.items);
        whole.next_page_token = page.next_page_token;
    }
}

const HEADINGS: &[&str] = &["KEY", "VALUE", "CREATED", "MODIFIED", "VERSION", "LEASE"];

fn row(item: &GetResponse) -> Vec<String> {
    let lease = if item.lease == 0 {
        "-".to_owned()
    } else {
        item.lease.to_string()
    };
    vec![
        item.key.clone(),
        value_text(item),
        item.create_revision.to_string(),
        item.mod_revision.to_string(),
        item.version.to_string(),
        lease,
    ]
}

/// A value in a table: binary ones say so.
pub(crate) fn value_text(item: &GetResponse) -> String {
    match item.encoding() {
        Encoding::Base64 => format!("base64:{}", item.value),
        Encoding::Utf8 | Encoding::Unspecified => item.value.clone(),
    }
}

pub(crate) fn shown(item: &GetResponse) -> Value {
    json!({
        "key": item.key,
        "value": item.value,
        "encoding": if item.encoding() == Encoding::Base64 { "base64" } else { "utf-8" },
        "create_revision": item.create_revision,
        "mod_revision": item.mod_revision,
        "version": item.version,
        "lease": item.lease,
    })
}

/// The value as it was stored: binary ones byte for byte, text with a line break so that the prompt stays its own line.
fn value_alone(item: &GetResponse) -> Result<(), Failure> {
    match item.encoding() {
        Encoding::Base64 => {
            let value = STANDARD.decode(&item.value).map_err(anyhow::Error::from)?;
            output::bytes(&value)
        }
        Encoding::Utf8 | Encoding::Unspecified => output::line(&item.value),
    }
}

fn value_of(argument: String) -> Result<(String, Encoding), Failure> {
    if argument != "-" {
        return Ok((argument, Encoding::Utf8));
    }
    /// Above the store's own limit, so that it is the store that refuses.
    const LIMIT: u64 = 16 << 20;
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(LIMIT)
        .read_to_end(&mut bytes)
        .map_err(anyhow::Error::from)?;
    Ok(match String::from_utf8(bytes) {
        Ok(text) => (text, Encoding::Utf8),
        Err(error) => (STANDARD.encode(error.as_bytes()), Encoding::Base64),
    })
}

/// The first key behind every key that begins with `prefix`: the next character in its last place.
///
/// Keys of this API are text, so is the end: between the last character and the next there is no other text.
fn prefix_end(prefix: &str) -> Result<String, Failure> {
    let mut end: Vec<char> = prefix.chars().collect();
    while let Some(last) = end.pop() {
        // Surrogates are no characters; a char range steps over them.
        if let Some(next) = (last..=char::MAX).nth(1) {
            end.push(next);
            return Ok(end.into_iter().collect());
        }
    }
    Err(Failure::usage("an empty prefix would delete every key"))
}

fn done(format: Format, text: &str, value: &Value) -> Result<(), Failure> {
    match format {
        Format::Human => output::line(text),
        Format::Data(notation) => output::data(notation, value),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_prefix_ends_behind_its_last_key() {
        assert_eq!(prefix_end("user:").unwrap(), "user;");
        assert_eq!(prefix_end("a\u{10ffff}").unwrap(), "b");
        assert_eq!(prefix_end("\u{d7ff}").unwrap(), "\u{e000}");
        assert_eq!(prefix_end("").unwrap_err().exit_code(), 2);
        for prefix in ["a", "é", "東", "z\u{7f}"] {
            let end = prefix_end(prefix).unwrap();
            for key in [prefix.to_owned(), format!("{prefix}\u{10ffff}\u{10ffff}")] {
                assert!(
                    prefix <= key.as_str() && key < end,
                    "{key:?} is not before {end:?}"
                );
            }
        }
    }
}
