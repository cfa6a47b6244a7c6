//! Members of a body that are there, be it with nothing.

use serde::{Deserialize, Deserializer};

/// For `#[serde(default, deserialize_with = "given")]`: what is absent is `None`, `null` is `Some(None)`.
pub(crate) fn given<'de, T, D>(from: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[derive(Deserialize)]
    struct Body {
        #[serde(default, deserialize_with = "given")]
        port_id: Option<Option<String>>,
    }

    #[test]
    fn nothing_is_told_from_what_is_absent() {
        for (body, port_id) in [
            ("{}", None),
            (r#"{"port_id": null}"#, Some(None)),
            (r#"{"port_id": "p"}"#, Some(Some("p".to_owned()))),
        ] {
            let read: Body = serde_json::from_str(body).unwrap();
            assert_eq!(read.port_id, port_id, "{body}");
        }
    }
}
