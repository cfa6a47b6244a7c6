//! Between records and bytes: versions up and down, unknown fields kept.

use bytes::Bytes;
use serde_json::Value;

use crate::record::{Fields, Origin, Record, Step};
use crate::{Error, Result};

const VERSION: &str = "v";

/// Reads a stored value of any version up to the newest.
pub(crate) fn decode<T: Record>(key: &str, bytes: &Bytes) -> Result<(T, Origin)> {
    let corrupt = |reason: String| Error::Corrupt {
        key: key.to_owned(),
        reason,
    };
    let value: Value = serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
    let Value::Object(mut fields) = value else {
        return Err(corrupt("not a JSON object".into()));
    };
    let version = fields
        .remove(VERSION)
        .and_then(|version| version.as_u64())
        .and_then(|version| u32::try_from(version).ok())
        .filter(|version| *version > 0)
        .ok_or_else(|| corrupt("no version in field v".into()))?;
    if version > T::newest() {
        return Err(Error::TooNew {
            key: key.to_owned(),
            found: version,
            known: T::newest(),
        });
    }
    for step in steps_after::<T>(version) {
        (step.up)(&mut fields).map_err(corrupt)?;
    }
    let value = T::deserialize(&Value::Object(fields.clone()))
        .map_err(|error| corrupt(error.to_string()))?;
    let origin = Origin {
        fields,
        version,
        bytes: bytes.clone(),
    };
    Ok((value, origin))
}

/// Writes a value in the version the gate allows, or the one it is already stored in if that is newer: then somebody
/// has seen that everybody can read it.
pub(crate) fn encode<T: Record>(
    key: &str,
    value: &T,
    origin: Option<&Origin>,
    gate: u32,
) -> Result<Bytes> {
    let corrupt = |reason: String| Error::Corrupt {
        key: key.to_owned(),
        reason,
    };
    let mut fields = fields_of(value).map_err(corrupt)?;
    if let Some(origin) = origin {
        let known: T = T::deserialize(&Value::Object(origin.fields.clone()))
            .map_err(|error| corrupt(error.to_string()))?;
        let known = fields_of(&known).map_err(corrupt)?;
        keep_unknown(&mut fields, &origin.fields, &known);
    }
    let version = gate.max(origin.map_or(1, |origin| origin.version));
    for step in steps_after::<T>(version).iter().rev() {
        (step.down)(&mut fields).map_err(corrupt)?;
    }
    fields.insert(VERSION.to_owned(), version.into());
    serde_json::to_vec(&fields)
        .map(Bytes::from)
        .map_err(|error| corrupt(error.to_string()))
}

/// The steps from a version (1 is the first) to the newest.
fn steps_after<T: Record>(version: u32) -> &'static [Step] {
    let done = usize::try_from(version - 1).unwrap_or(usize::MAX);
    T::STEPS.get(done..).unwrap_or_default()
}

fn fields_of<T: Record>(value: &T) -> Result<Fields, String> {
    match serde_json::to_value(value).map_err(|error| error.to_string())? {
        Value::Object(fields) if !fields.contains_key(VERSION) => Ok(fields),
        Value::Object(_) => Err("the record uses field v".into()),
        _ => Err("the record is not a JSON object".into()),
    }
}

/// Adds to `new` what was `stored` and is not `known`: the same value read and written by a program that knows only
/// the known fields.
fn keep_unknown(new: &mut Fields, stored: &Fields, known: &Fields) {
    for (name, stored) in stored {
        match (new.get_mut(name), known.get(name)) {
            (None, None) => {
                new.insert(name.clone(), stored.clone());
            }
            (Some(new), Some(known)) => keep_unknown_in(new, stored, known),
            // Removed on purpose, or a new meaning given.
            (None, Some(_)) | (Some(_), None) => {}
        }
    }
}

fn keep_unknown_in(new: &mut Value, stored: &Value, known: &Value) {
    match (new, stored, known) {
        (Value::Object(new), Value::Object(stored), Value::Object(known)) => {
            keep_unknown(new, stored, known);
        }
        (Value::Array(new), Value::Array(stored), Value::Array(known)) => {
            keep_unknown_elements(new, stored, known);
        }
        _ => {}
    }
}

/// Elements that did not change are found by what is known of them, wherever they moved. Others are taken for the
/// element in the same place if the length stayed.
fn keep_unknown_elements(new: &mut [Value], stored: &[Value], known: &[Value]) {
    if stored.len() != known.len() {
        return; // a custom representation; nothing can be said
    }
    let same_length = new.len() == known.len();
    let mut used = vec![false; known.len()];
    let mut changed = Vec::new();
    for (place, element) in new.iter_mut().enumerate() {
        let here = (known.get(place) == Some(&*element) && !used[place]).then_some(place);
        let found =
            here.or_else(|| (0..known.len()).find(|at| !used[*at] && known[*at] == *element));
        match found {
            Some(at) => {
                used[at] = true;
                *element = stored[at].clone();
            }
            None => changed.push(place),
        }
    }
    for place in changed {
        if same_length && !used[place] {
            keep_unknown_in(&mut new[place], &stored[place], &known[place]);
        }
    }
}

#[cfg(test)]
mod tests;
