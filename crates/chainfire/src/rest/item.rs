//! One key as REST shows it.

use photon_proto::mvccpb::KeyValue;
use serde::Serialize;
use utoipa::ToSchema;

use super::encoding::Encoding;

/// A key, its value and where it stands in the store's history.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Item {
    /// The key; in base64 when `key_encoding` says so.
    #[schema(example = "user:123")]
    pub(super) key: String,
    /// Present only for keys that are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key_encoding: Option<Encoding>,
    /// The value; in base64 when `encoding` says so.
    pub(super) value: String,
    /// How `value` stands for the bytes.
    pub(super) encoding: Encoding,
    /// The revision that created the key.
    pub(super) create_revision: i64,
    /// The revision that last changed it.
    pub(super) mod_revision: i64,
    /// How often it was written since it was created.
    pub(super) version: i64,
    /// The lease it ends with; 0 for none.
    pub(super) lease: i64,
}

impl From<KeyValue> for Item {
    fn from(kv: KeyValue) -> Self {
        let (key, key_encoding) = Encoding::encode(&kv.key);
        let (value, encoding) = Encoding::encode(&kv.value);
        Self {
            key,
            key_encoding: (key_encoding != Encoding::Utf8).then_some(key_encoding),
            value,
            encoding,
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            version: kv.version,
            lease: kv.lease,
        }
    }
}
