//! A serde deserializer over a [`Tree`] whose errors are [`FieldError`]s.

use serde::{
    de::{
        DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer,
        MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
    },
    forward_to_deserialize_any,
};

use super::{FieldError, Tree, error::Step};

/// What happens to keys that the type does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// Whatever the type says (`deny_unknown_fields`).
    AsDeclared,
    /// They are errors, also where the type would ignore them.
    Refused,
}

/// Reads a value of type `T`.
pub(crate) fn read<T: DeserializeOwned>(tree: Tree, unknown: Unknown) -> Result<T, FieldError> {
    T::deserialize(Reader { tree, unknown })
}

struct Reader {
    tree: Tree,
    unknown: Unknown,
}

/// Numbers and truth values of untyped text are parsed when, and only when, the type asks for one.
macro_rules! from_text {
    ($($method:ident $visit:ident $type:ty, $expected:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
            match &self.tree {
                Tree::Untyped(text) => match text.parse::<$type>() {
                    Ok(value) => visitor.$visit(value),
                    Err(_) => Err(FieldError::not_parsed(text, &$expected)),
                },
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader {
    type Error = FieldError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        let unknown = self.unknown;
        match self.tree {
            Tree::Null => visitor.visit_unit(),
            Tree::Bool(value) => visitor.visit_bool(value),
            Tree::Signed(value) => visitor.visit_i64(value),
            Tree::Unsigned(value) => visitor.visit_u64(value),
            Tree::Float(value) => visitor.visit_f64(value),
            Tree::String(value) | Tree::Untyped(value) => visitor.visit_string(value),
            Tree::Array(items) => {
                let mut access = Items {
                    items: items.into_iter().enumerate(),
                    unknown,
                };
                let value = visitor.visit_seq(&mut access)?;
                match access.items.next() {
                    None => Ok(value),
                    Some((index, _)) => Err(FieldError::invalid_length(
                        index + 1 + access.items.len(),
                        &format!("{index}").as_str(),
                    )),
                }
            }
            Tree::Object(entries) => visitor.visit_map(Entries {
                entries: entries.into_iter(),
                value: None,
                unknown,
            }),
        }
    }

    from_text! {
        deserialize_bool visit_bool bool, "true or false";
        deserialize_i8 visit_i8 i8, "an 8-bit integer";
        deserialize_i16 visit_i16 i16, "a 16-bit integer";
        deserialize_i32 visit_i32 i32, "a 32-bit integer";
        deserialize_i64 visit_i64 i64, "an integer";
        deserialize_u8 visit_u8 u8, "an 8-bit integer of at least 0";
        deserialize_u16 visit_u16 u16, "a 16-bit integer of at least 0";
        deserialize_u32 visit_u32 u32, "a 32-bit integer of at least 0";
        deserialize_u64 visit_u64 u64, "an integer of at least 0";
        deserialize_f32 visit_f32 f32, "a number";
        deserialize_f64 visit_f64 f64, "a number";
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        match self.tree {
            Tree::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        let unknown = self.unknown;
        let one_of = || format!("one of {}", variants.join(", "));
        match self.tree {
            Tree::String(variant) | Tree::Untyped(variant) => visitor.visit_enum(Choice {
                variant,
                content: None,
                unknown,
            }),
            Tree::Object(mut entries) => match (entries.pop(), entries.len()) {
                (Some((variant, content)), 0) => visitor.visit_enum(Choice {
                    variant,
                    content: Some(content),
                    unknown,
                }),
                (_, others) => {
                    let keys = match others {
                        0 => "an object without keys".to_owned(),
                        others => format!("an object with {} keys", others + 1),
                    };
                    Err(FieldError::invalid_value(
                        Unexpected::Other(&keys),
                        &format!("an object with {}", one_of()).as_str(),
                    ))
                }
            },
            tree => Err(FieldError::invalid_type(
                tree.as_unexpected(),
                &one_of().as_str(),
            )),
        }
    }

    /// Derived structs would also read an array, field by field; nobody means that.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        match self.tree {
            Tree::Array(_) => Err(FieldError::invalid_type(Unexpected::Seq, &"an object")),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        match self.unknown {
            Unknown::AsDeclared => visitor.visit_unit(),
            Unknown::Refused => Err(FieldError::ignored()),
        }
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map identifier
    }
}

struct Items {
    items: std::iter::Enumerate<std::vec::IntoIter<Tree>>,
    unknown: Unknown,
}

impl<'de> SeqAccess<'de> for Items {
    type Error = FieldError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, FieldError> {
        let Some((index, tree)) = self.items.next() else {
            return Ok(None);
        };
        seed.deserialize(Reader {
            tree,
            unknown: self.unknown,
        })
        .map(Some)
        .map_err(|error| error.within(Step::Index(index)))
    }
}

struct Entries {
    entries: std::vec::IntoIter<(String, Tree)>,
    value: Option<(String, Tree)>,
    unknown: Unknown,
}

impl<'de> MapAccess<'de> for Entries {
    type Error = FieldError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, FieldError> {
        let Some((key, tree)) = self.entries.next() else {
            return Ok(None);
        };
        let read = seed.deserialize(key.as_str().into_deserializer())?;
        self.value = Some((key, tree));
        Ok(Some(read))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, FieldError> {
        let Some((key, tree)) = self.value.take() else {
            return Err(FieldError::custom("a value was read before its key"));
        };
        seed.deserialize(Reader {
            tree,
            unknown: self.unknown,
        })
        .map_err(|error| error.within(Step::Key(key)))
    }
}

struct Choice {
    variant: String,
    content: Option<Tree>,
    unknown: Unknown,
}

impl<'de> EnumAccess<'de> for Choice {
    type Error = FieldError;
    type Variant = Content;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Content), FieldError> {
        let variant = seed.deserialize(self.variant.as_str().into_deserializer())?;
        Ok((
            variant,
            Content {
                name: self.variant,
                tree: self.content,
                unknown: self.unknown,
            },
        ))
    }
}

struct Content {
    name: String,
    tree: Option<Tree>,
    unknown: Unknown,
}

impl Content {
    fn read<'de, T>(
        self,
        expected: &'static str,
        read: impl FnOnce(Reader) -> Result<T, FieldError>,
    ) -> Result<T, FieldError>
    where
        Reader: Deserializer<'de>,
    {
        let Some(tree) = self.tree else {
            return Err(FieldError::invalid_type(Unexpected::UnitVariant, &expected));
        };
        read(Reader {
            tree,
            unknown: self.unknown,
        })
        .map_err(|error| error.within(Step::Key(self.name)))
    }
}

impl<'de> VariantAccess<'de> for Content {
    type Error = FieldError;

    fn unit_variant(self) -> Result<(), FieldError> {
        match self.tree {
            None | Some(Tree::Null) => Ok(()),
            Some(_) => Err(FieldError::invalid_type(Unexpected::Map, &"a string")),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, FieldError> {
        self.read("an object", |reader| seed.deserialize(reader))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        self.read("an array", |reader| reader.deserialize_any(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        self.read("an object", |reader| reader.deserialize_any(visitor))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        name: String,
        #[serde(default)]
        ports: Vec<Port>,
        kind: Option<Kind>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Port {
        number: u16,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Plain,
        Sized { bytes: u64 },
    }

    fn strict(json: &str, unknown: Unknown) -> Result<Strict, (String, &'static str, String)> {
        let tree: Tree = serde_json::from_str(json).unwrap();
        read(tree, unknown)
            .map_err(|e: FieldError| (e.field(), e.problem.constraint(), e.to_string()))
    }

    #[test]
    fn good_input_reads_as_serde_json_reads_it() {
        for json in [
            r#"{"name":"a"}"#,
            r#"{"name":"a","ports":[{"number":1},{"number":65535}],"kind":"plain"}"#,
            r#"{"name":"","ports":[],"kind":{"sized":{"bytes":18446744073709551615}}}"#,
            r#"{"name":"a","kind":null}"#,
        ] {
            assert_eq!(
                strict(json, Unknown::AsDeclared).unwrap(),
                serde_json::from_str::<Strict>(json).unwrap(),
                "{json}"
            );
        }
    }

    #[test]
    fn problems_name_their_field() {
        for (json, field, constraint) in [
            ("{}", "name", "required"),
            (r#"{"name":1}"#, "name", "type"),
            (r#"{"name":null}"#, "name", "type"),
            (r#"{"name":"a","color":1}"#, "color", "unknown"),
            (r#"{"name":"a","name":"b"}"#, "name", "duplicate"),
            (
                r#"{"name":"a","ports":[{"number":1},{}]}"#,
                "ports[1].number",
                "required",
            ),
            (
                r#"{"name":"a","ports":[{"number":70000}]}"#,
                "ports[0].number",
                "value",
            ),
            (
                r#"{"name":"a","ports":[{"number":"1"}]}"#,
                "ports[0].number",
                "type",
            ),
            (r#"{"name":"a","kind":"round"}"#, "kind", "value"),
            (r#"{"name":"a","kind":"sized"}"#, "kind", "type"),
            (
                r#"{"name":"a","kind":{"sized":{}}}"#,
                "kind.sized.bytes",
                "required",
            ),
            (r"[]", "", "type"),
            (r"7", "", "type"),
        ] {
            let (got_field, got_constraint, text) = strict(json, Unknown::AsDeclared).unwrap_err();
            assert_eq!(
                (got_field.as_str(), got_constraint),
                (field, constraint),
                "{json}: {text}"
            );
        }
    }

    /// Nobody who sends JSON knows our types' names.
    #[test]
    fn messages_speak_of_json() {
        for (json, said) in [
            (r#"{"name":{}}"#, "name must be a string, not an object"),
            (r#"{"name":["a"]}"#, "name must be a string, not an array"),
            (r#"{"name":null}"#, "name must be a string, not null"),
            (r#"{"name":true}"#, "name must be a string, not true"),
            (r#"{"name":1.5}"#, "name must be a string, not a number"),
            (
                r#"{"name":"a","ports":{}}"#,
                "ports must be an array, not an object",
            ),
            (
                r#"{"name":"a","ports":[7]}"#,
                "ports[0] must be an object, not a number",
            ),
            (
                r#"{"name":"a","ports":[[7]]}"#,
                "ports[0] must be an object, not an array",
            ),
            (
                r#"{"name":"a","ports":[{"number":"x"}]}"#,
                "ports[0].number must be an integer, not a string",
            ),
            (
                r#"{"name":"a","ports":[{"number":1.5}]}"#,
                "ports[0].number must be an integer, not the number 1.5",
            ),
            (
                r#"{"name":"a","ports":[{"number":70000}]}"#,
                "ports[0].number must be an integer from 0 to 65535, not the number 70000",
            ),
            (
                r#"{"name":"a","kind":7}"#,
                "kind must be one of plain, sized, not a number",
            ),
            (
                r#"{"name":"a","kind":{}}"#,
                "kind must be an object with one of plain, sized, not an object without keys",
            ),
            (
                r#"{"name":"a","kind":{"plain":null,"sized":{"bytes":1}}}"#,
                "kind must be an object with one of plain, sized, not an object with 2 keys",
            ),
            (
                r#"{"name":"a","kind":"sized"}"#,
                "kind must be an object, not a string",
            ),
            (r"[]", "must be an object, not an array"),
            (r"7", "must be an object, not a number"),
            (r#""phk_secret""#, "must be an object, not a string"),
        ] {
            let (_, _, text) = strict(json, Unknown::AsDeclared).unwrap_err();
            assert_eq!(text, said, "{json}");
        }
    }

    #[test]
    fn unread_keys_are_refused_even_where_the_type_ignores_them() {
        let json = r#"{"name":"a","ports":[{"number":1,"color":"red"}]}"#;
        assert!(strict(json, Unknown::AsDeclared).is_ok());
        let (field, constraint, _) = strict(json, Unknown::Refused).unwrap_err();
        assert_eq!((field.as_str(), constraint), ("ports[0].color", "unknown"));
    }

    #[test]
    fn untyped_text_becomes_what_the_type_asks_for() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Wanted {
            limit: Option<u32>,
            desc: bool,
            prefix: String,
        }
        let object = |limit: &str| {
            Tree::Object(vec![
                ("limit".into(), Tree::Untyped(limit.into())),
                ("desc".into(), Tree::Untyped("true".into())),
                ("prefix".into(), Tree::Untyped("12".into())),
            ])
        };
        assert_eq!(
            read::<Wanted>(object("7"), Unknown::AsDeclared).unwrap(),
            Wanted {
                limit: Some(7),
                desc: true,
                prefix: "12".into()
            }
        );
        let error = read::<Wanted>(object("-1"), Unknown::AsDeclared).unwrap_err();
        assert_eq!(error.field(), "limit");
        assert_eq!(error.problem.constraint(), "type");
    }
}
