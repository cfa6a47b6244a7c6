//! Messages between JSON and protobuf, by their descriptors.
//!
//! The mapping is proto3's: bytes are base64, 64-bit numbers are strings (numbers are taken too), enums are
//! names or numbers. Fields may be written in either spelling, are answered as `rpc.proto` spells them, and are
//! left out when empty. Unknown fields are ignored, as etcd does, so that newer clients can talk to older
//! servers; an unknown name of an enum is refused, because its meaning cannot be guessed.

use bytes::Buf as _;
use prost::Message as _;
use prost_reflect::{
    DeserializeOptions, DynamicMessage, Kind, MessageDescriptor, SerializeOptions,
};
use serde_json::Value;
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// A message from JSON; nothing at all is the empty message.
///
/// # Errors
/// `InvalidArgument` with the place and the cause.
pub(super) fn from_json(kind: &MessageDescriptor, json: &[u8]) -> Result<DynamicMessage, Status> {
    if json.iter().all(u8::is_ascii_whitespace) {
        return Ok(DynamicMessage::new(kind.clone()));
    }
    // Not strict, the library would ignore unknown enum names too.
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let message = serde_json::from_slice(json).and_then(|mut value: Value| {
        drop_unknown_fields(kind, &mut value);
        DynamicMessage::deserialize_with_options(kind.clone(), value, &options)
    });
    message.map_err(|error| {
        Status::invalid_argument(format!("the body is not a {}: {error}", kind.name()))
    })
}

fn drop_unknown_fields(kind: &MessageDescriptor, value: &mut Value) {
    let Value::Object(fields) = value else { return };
    fields.retain(|name, value| {
        let field = kind.get_field_by_json_name(name);
        let Some(field) = field.or_else(|| kind.get_field_by_name(name)) else {
            return false;
        };
        if let Kind::Message(inner) = field.kind() {
            match value {
                Value::Array(items) => {
                    for item in items {
                        drop_unknown_fields(&inner, item);
                    }
                }
                single => drop_unknown_fields(&inner, single),
            }
        }
        true
    });
}

/// A message as JSON.
///
/// # Errors
/// `Internal` when it cannot be written.
pub(super) fn to_json(message: &DynamicMessage) -> Result<Value, Status> {
    let options = SerializeOptions::new()
        .stringify_64_bit_integers(true)
        .use_enum_numbers(false)
        .use_proto_field_name(true)
        .skip_default_fields(true);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|error| Status::internal(format!("the answer cannot be written: {error}")))
}

/// gRPC's side: any message out, messages of one kind in.
#[derive(Clone, Debug)]
pub(super) struct Dynamic {
    pub(super) answers: MessageDescriptor,
}

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Out;
    type Decoder = In;

    fn encoder(&mut self) -> Out {
        Out
    }

    fn decoder(&mut self) -> In {
        In(self.answers.clone())
    }
}

#[derive(Debug)]
pub(super) struct Out;

impl Encoder for Out {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(into)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

#[derive(Debug)]
pub(super) struct In(MessageDescriptor);

impl Decoder for In {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        DynamicMessage::decode(self.0.clone(), bytes)
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use prost_reflect::DescriptorPool;
    use serde_json::json;

    use super::*;

    fn kind(name: &str) -> MessageDescriptor {
        let pool = DescriptorPool::decode(photon_proto::FILE_DESCRIPTOR_SET).unwrap();
        pool.get_message_by_name(name).unwrap()
    }

    fn through(name: &str, json: &str) -> Result<Value, Status> {
        to_json(&from_json(&kind(name), json.as_bytes())?)
    }

    #[test]
    fn both_spellings_both_numbers_and_unknown_fields_are_taken() {
        let expected =
            json!({"key": "Zm9v", "sort_order": "DESCEND", "revision": "7", "count_only": true});
        for given in [
            r#"{"key":"Zm9v","sort_order":"DESCEND","revision":"7","count_only":true}"#,
            r#"{"key":"Zm9v","sortOrder":2,"revision":7,"countOnly":true,"unheard_of":[1]}"#,
        ] {
            assert_eq!(
                through("etcdserverpb.RangeRequest", given).unwrap(),
                expected
            );
        }
    }

    #[test]
    fn names_are_as_etcd_spells_them() {
        let given = r#"{"ID":"9007199254740993","TTL":"0","grantedTTL":5,"keys":["YQ=="]}"#;
        assert_eq!(
            through("etcdserverpb.LeaseTimeToLiveResponse", given).unwrap(),
            json!({"ID": "9007199254740993", "grantedTTL": "5", "keys": ["YQ=="]})
        );
    }

    #[test]
    fn a_chosen_empty_message_is_not_left_out() {
        let given = r#"{"responses":[{"response_put":{}}]}"#;
        assert_eq!(
            through("etcdserverpb.TxnResponse", given).unwrap(),
            serde_json::from_str::<Value>(given).unwrap()
        );
    }

    #[test]
    fn unknown_fields_are_dropped_at_every_depth_and_unknown_names_are_not() {
        let given = r#"{"compare":[{"target":"CREATE","key":"YQ==","x":1}],"y":{},
            "success":[{"request_txn":{"success":[{"requestRange":{"key":"YQ==","z":[]}}]}}]}"#;
        let expected = json!({
            "compare": [{"target": "CREATE", "key": "YQ=="}],
            "success": [{"request_txn": {"success": [{"request_range": {"key": "YQ=="}}]}}],
        });
        assert_eq!(through("etcdserverpb.TxnRequest", given).unwrap(), expected);
        let given = r#"{"compare":[{"target":"CRAETE","key":"YQ=="}]}"#;
        let refused = through("etcdserverpb.TxnRequest", given).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    }

    #[test]
    fn nothing_is_the_empty_message_and_nonsense_is_refused() {
        assert_eq!(
            through("etcdserverpb.PutRequest", " \n").unwrap(),
            json!({})
        );
        for bad in [
            "{",
            "[]",
            r#"{"key":5}"#,
            r#"{"key":"%%"}"#,
            "{} {}",
            r#"{"lease":"x"}"#,
            r#"{"lease":1.5}"#,
        ] {
            let refused = through("etcdserverpb.PutRequest", bad).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{bad}");
        }
    }
}
