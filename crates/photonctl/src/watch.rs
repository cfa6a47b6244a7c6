//! `photonctl watch`.

use chainfire_client::{Event, WatchRequest, event::Type};
use serde_json::{Value, json};

use crate::{
    cli::{Connection, Watch},
    failure::Failure,
    kv::{shown, value_text},
    output::{self, Format},
};

/// Prints changes until interrupted, or until `--count` of them. A broken connection is resumed.
pub(crate) async fn run(
    connection: &Connection,
    format: Format,
    options: Watch,
) -> Result<(), Failure> {
    let mut client = connection.connect().await?;
    let (prefix, key) = if options.exact {
        (String::new(), options.prefix)
    } else {
        (options.prefix, String::new())
    };
    let request = WatchRequest {
        prefix,
        key,
        from_revision: options.from_revision,
        with_previous: options.previous,
    };
    let mut watch = client.watch(request).await?;
    eprintln!("watching after revision {}", watch.revision());
    let mut left = options.count.unwrap_or(u64::MAX);
    while left > 0 {
        let message = tokio::select! {
            message = watch.next() => message?,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        for event in message
            .events
            .iter()
            .take(usize::try_from(left).unwrap_or(usize::MAX))
        {
            match format {
                Format::Human => output::line(&told(message.revision, event))?,
                Format::Data(notation) => {
                    output::one_of_many(notation, &as_json(message.revision, event))?
                }
            }
            left -= 1;
        }
    }
    Ok(())
}

fn told(revision: i64, event: &Event) -> String {
    let Some(item) = &event.item else {
        return revision.to_string();
    };
    let key = output::visible(&item.key);
    let previous = match &event.previous {
        Some(previous) => format!("  (was {})", output::visible(&value_text(previous))),
        None => String::new(),
    };
    match event.r#type() {
        Type::Delete => format!("{revision}  DELETE  {key}{previous}"),
        Type::Put | Type::Unspecified => {
            format!(
                "{revision}  PUT     {key}  {}{previous}",
                output::visible(&value_text(item))
            )
        }
    }
}

fn as_json(revision: i64, event: &Event) -> Value {
    let kind = match event.r#type() {
        Type::Delete => "delete",
        Type::Put | Type::Unspecified => "put",
    };
    json!({
        "revision": revision,
        "type": kind,
        "item": event.item.as_ref().map(shown),
        "previous": event.previous.as_ref().map(shown),
    })
}
