//! One key as REST shows it.

use photon_proto::mvccpb::KeyValue;
use serde::Serialize;
use utoipa::ToSchema;

use super::encoding::{Encoding, KeyText};

/// A key, its value and where it stands in the store's history.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Item {
    #[serde(flatten)]
    pub(super) key: KeyText,
    /// The value; in base64 when `encoding` says so. Absent where only keys were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) value: Option<String>,
    /// How `value` stands for the bytes; absent with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) encoding: Option<Encoding>,
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
        let (value, encoding) = Encoding::encode(&kv.value);
        Self {
            value: Some(value),
            encoding: Some(encoding),
            ..Self::without_value(&kv)
        }
    }
}

impl Item {
    /// A key of which the value was not read.
    pub(super) fn without_value(kv: &KeyValue) -> Self {
        Self {
            key: KeyText::from(&kv.key),
            value: None,
            encoding: None,
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            version: kv.version,
            lease: kv.lease,
        }
    }
}
