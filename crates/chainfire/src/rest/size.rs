//! How large our own doors' answers may be, as they are sent: what bytes become as text is what counts.

use photon_core::Error;

use crate::app::AnswerLimit;

/// Of all the rows of one answer together. A list by pages ends its page there; what has no pages is refused.
pub(super) const ANSWER: AnswerLimit = AnswerLimit {
    bytes: MIB << 20,
    cost: item_bytes,
    per_byte: 6,
};
const MIB: usize = 64;

/// The names of an item's fields, its numbers at their longest, and what stands between items.
const AROUND_ITEM: usize = 256;

fn item_bytes(key: &[u8], value: &[u8]) -> usize {
    AROUND_ITEM + text_bytes(key) + text_bytes(value)
}

/// What [`Encoding::encode`](super::encoding::Encoding::encode) makes of bytes, as a JSON string.
fn text_bytes(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.bytes().map(escaped_bytes).sum(),
        Err(_) => bytes.len().div_ceil(3) * 4,
    }
}

fn escaped_bytes(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..=0x1f => 6,
        _ => 1,
    }
}

/// An answer that would be larger and has no pages.
pub(super) fn too_large() -> Error {
    let text = format!(
        "the answer would hold more than {MIB} MiB in all: give limits, or list it by pages"
    );
    Error::validation("limit", "required", text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use photon_proto::mvccpb::KeyValue;
    use proptest::prelude::*;

    use super::{super::item::Item, *};

    proptest! {
        #[test]
        fn no_item_is_sent_larger_than_it_was_counted(
            key in prop::collection::vec(any::<u8>(), 0..60),
            value in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..300),
                "\\PC{0,100}".prop_map(String::into_bytes),
                prop::collection::vec(0_u8..0x30, 0..300),
            ],
            number: i64,
        ) {
            let counted = item_bytes(&key, &value);
            let raw = key.len() + value.len();
            let item = Item::from(KeyValue {
                key: key.into(),
                value: value.into(),
                create_revision: number,
                mod_revision: number,
                version: number,
                lease: number,
            });
            let sent = serde_json::to_string(&item).unwrap().len() + ",".len();
            prop_assert!(sent <= counted, "{sent} > {counted}");
            // Not by much, either, and never less than what is held.
            prop_assert!(counted <= sent + AROUND_ITEM && raw <= counted);
            prop_assert!(counted <= AROUND_ITEM + raw.max(1) * ANSWER.per_byte + 8);
        }
    }
}
