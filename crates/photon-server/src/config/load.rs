//! Reading a configuration: the TOML file, then the environment over it, then the types.
//!
//! `CHAINFIRE__REST__ADDRESS=0.0.0.0:8081` overrides `address` in `[rest]` when the prefix is `CHAINFIRE`.
//! A value that reads as a TOML number, truth value, array or inline table is one, unless the field wants
//! text; everything else is text.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use crate::fields::{FieldError, Tree, Unknown, read};

/// Why a configuration is not one. The text is meant for the person who wrote it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why, over several lines.
        message: String,
    },
    /// A key that does not exist, a value of the wrong type, something that is missing.
    #[error("{place}: {message}")]
    Field {
        /// `file:line`, or the environment variable.
        place: String,
        /// The key with its section, and what is wrong with it.
        message: String,
    },
    /// Values that are each fine and do not go together.
    #[error("{0}")]
    Invalid(String),
}

/// Reads a configuration from a file (none: only defaults) and the environment of this process.
pub fn load<T: DeserializeOwned>(path: Option<&Path>, env_prefix: &str) -> Result<T, ConfigError> {
    let environment = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
    load_from(path, env_prefix, environment)
}

/// As [`load`], from a given environment.
pub fn load_from<T: DeserializeOwned>(
    path: Option<&Path>,
    env_prefix: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ConfigError> {
    let text = match path {
        None => String::new(),
        Some(path) => std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?,
    };
    let file = path.unwrap_or(Path::new("configuration"));
    let table: toml::Table = toml::from_str(&text).map_err(|error| ConfigError::Syntax {
        path: file.to_owned(),
        message: error.to_string(),
    })?;

    let mut tree = to_tree(toml::Value::Table(table));
    let mut overrides = overrides(env_prefix, environment);
    for over in &overrides {
        over.apply(&mut tree)?;
    }

    loop {
        let error = match read(tree.clone(), Unknown::Refused) {
            Ok(config) => return Ok(config),
            Err(error) => error,
        };
        let field = error.field();
        let culprit = overrides.iter_mut().find(|over| over.covers(&field));
        match culprit {
            // The field wants text that happens to look like a number.
            Some(over) if !over.as_text && over.path.join(".") == field => {
                over.as_text = true;
                over.apply(&mut tree)?;
            }
            Some(over) => {
                return Err(ConfigError::Field {
                    place: over.variable.clone(),
                    message: error.to_string(),
                });
            }
            None => {
                let place = place(file, &text, &error);
                return Err(ConfigError::Field {
                    place,
                    message: error.to_string(),
                });
            }
        }
    }
}

struct Override {
    variable: String,
    path: Vec<String>,
    value: String,
    /// Whether the value is taken as text whatever it looks like.
    as_text: bool,
}

/// The environment's overrides in the order of their names, so that errors are the same every time.
fn overrides(
    prefix: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Vec<Override> {
    let start = format!("{prefix}__");
    let mut found: Vec<Override> = environment
        .into_iter()
        .filter_map(|(variable, value)| {
            let path = variable
                .strip_prefix(&start)?
                .split("__")
                .map(str::to_ascii_lowercase)
                .collect();
            Some(Override {
                variable,
                path,
                value,
                as_text: false,
            })
        })
        .collect();
    found.sort_by(|a, b| a.variable.cmp(&b.variable));
    found
}

impl Override {
    fn tree(&self) -> Tree {
        if !self.as_text
            && let Ok(mut table) = toml::from_str::<toml::Table>(&format!("value = {}", self.value))
            && table.len() == 1
            && let Some(value) = table.remove("value")
        {
            return to_tree(value);
        }
        Tree::String(self.value.clone())
    }

    fn apply(&self, root: &mut Tree) -> Result<(), ConfigError> {
        let mut at = root;
        for key in &self.path {
            let Tree::Object(entries) = at else {
                let message = format!("there is no section {}", self.path.join("."));
                return Err(ConfigError::Field {
                    place: self.variable.clone(),
                    message,
                });
            };
            let index = entries
                .iter()
                .position(|(name, _)| name == key)
                .unwrap_or_else(|| {
                    entries.push((key.clone(), Tree::Object(Vec::new())));
                    entries.len() - 1
                });
            at = &mut entries[index].1;
        }
        *at = self.tree();
        Ok(())
    }

    /// Whether this override wrote the field, something in it, or the section around it.
    fn covers(&self, field: &str) -> bool {
        let own = self.path.join(".");
        field == own
            || field.starts_with(&format!("{own}."))
            || own.starts_with(&format!("{field}.")) && !field.is_empty()
    }
}

fn to_tree(value: toml::Value) -> Tree {
    match value {
        toml::Value::String(text) => Tree::String(text),
        toml::Value::Integer(number) => match u64::try_from(number) {
            Ok(number) => Tree::Unsigned(number),
            Err(_) => Tree::Signed(number),
        },
        toml::Value::Float(number) => Tree::Float(number),
        toml::Value::Boolean(truth) => Tree::Bool(truth),
        toml::Value::Datetime(time) => Tree::String(time.to_string()),
        toml::Value::Array(items) => Tree::Array(items.into_iter().map(to_tree).collect()),
        toml::Value::Table(table) => Tree::Object(
            table
                .into_iter()
                .map(|(key, value)| (key, to_tree(value)))
                .collect(),
        ),
    }
}

/// `file:line` of the key, or of the nearest section around it that the file has.
fn place(file: &Path, text: &str, error: &FieldError) -> String {
    match line_of(text, error) {
        Some(line) => format!("{}:{line}", file.display()),
        None => file.display().to_string(),
    }
}

fn line_of(text: &str, error: &FieldError) -> Option<usize> {
    use crate::fields::Step;

    let document = DeTable::parse(text).ok()?;
    let mut value: Option<&DeValue<'_>> = None;
    let mut offset = None;
    for step in error.path() {
        let next = match (step, value) {
            (Step::Key(key), None) => document.get_ref().get_key_value(key.as_str()),
            (Step::Key(key), Some(DeValue::Table(table))) => table.get_key_value(key.as_str()),
            (Step::Index(index), Some(DeValue::Array(items))) => {
                let Some(item) = items.get(*index) else { break };
                offset = Some(item.span().start);
                value = Some(item.get_ref());
                continue;
            }
            _ => None,
        };
        let Some((key, found)) = next else { break };
        offset = Some(key.span().start);
        value = Some(found.get_ref());
    }
    offset.map(|offset| text[..offset].matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::io::Write as _;

    use serde::Deserialize;

    use super::*;
    use crate::config::{AuthConfig, LimitsConfig, ListenConfig, LogConfig, Mode};

    #[derive(Debug, PartialEq, Deserialize)]
    struct Service {
        rest: ListenConfig,
        #[serde(default)]
        auth: AuthConfig,
        #[serde(default)]
        limits: LimitsConfig,
        #[serde(default)]
        log: LogConfig,
        #[serde(default)]
        name: Option<String>,
    }

    fn from(text: &str, environment: &[(&str, &str)]) -> Result<Service, String> {
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let environment = environment
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        load_from(Some(file.path()), "SVC", environment).map_err(|error| {
            error
                .to_string()
                .replace(&file.path().display().to_string(), "svc.toml")
        })
    }

    const GOOD: &str = "[rest]\naddress = \"127.0.0.1:8081\"\n";

    #[test]
    fn defaults_are_the_strict_ones() {
        let config = from(GOOD, &[]).unwrap();
        assert_eq!(config.auth.mode, Mode::Enforce);
        assert_eq!(config.limits.body_bytes, 1024 * 1024);
        assert_eq!(config.log.level, "info");
        assert_eq!(config.rest.tls, None);
    }

    #[test]
    fn unknown_keys_are_named_with_their_line() {
        let error = from(&format!("{GOOD}adress = 1\n"), &[]).unwrap_err();
        assert!(
            error.starts_with("svc.toml:3: rest.adress is not a known field"),
            "{error}"
        );
        // The outermost struct does not deny unknown fields itself; the loader does.
        let error = from(&format!("{GOOD}\n[rset]\na = 1\n"), &[]).unwrap_err();
        assert_eq!(error, "svc.toml:4: rset is not a known field");
    }

    #[test]
    fn wrong_types_and_missing_keys_are_named() {
        let error = from("[rest]\naddress = \"nowhere\"\n", &[]).unwrap_err();
        assert!(
            error.starts_with("svc.toml:2: rest.address is not valid: invalid socket address"),
            "{error}"
        );
        let error = from(&format!("{GOOD}[limits]\nbody_bytes = \"big\"\n"), &[]).unwrap_err();
        assert!(
            error.starts_with("svc.toml:4: limits.body_bytes must be "),
            "{error}"
        );
        let error = from("[rest]\n", &[]).unwrap_err();
        assert_eq!(error, "svc.toml:1: rest.address is required");
        let error = from("", &[]).unwrap_err();
        assert_eq!(error, "svc.toml: rest is required");
        let error = from("[rest\n", &[]).unwrap_err();
        assert!(error.contains("line 1"), "{error}");
        let error = from(&format!("{GOOD}[auth]\nmode = \"lax\"\n"), &[]).unwrap_err();
        assert_eq!(
            error,
            "svc.toml:4: auth.mode must be one of dev, enforce, not lax"
        );
    }

    #[test]
    fn the_environment_overrides_and_adds() {
        let config = from(
            GOOD,
            &[
                ("SVC__REST__ADDRESS", "127.0.0.1:9999"),
                ("SVC__AUTH__MODE", "dev"),
                ("SVC__LIMITS__BODY_BYTES", "77"),
                ("SVC__NAME", "123"),
                ("OTHER__REST__ADDRESS", "x"),
                ("SVC_NAME", "x"),
            ],
        )
        .unwrap();
        assert_eq!(config.rest.address.port(), 9999);
        assert_eq!(config.auth.mode, Mode::Dev);
        assert_eq!(config.limits.body_bytes, 77);
        // A number where text is wanted is text.
        assert_eq!(config.name.as_deref(), Some("123"));
    }

    #[test]
    fn the_environment_alone_is_enough() {
        let environment = [("SVC__REST__ADDRESS".to_owned(), "[::1]:1".to_owned())];
        let config: Service = load_from(None, "SVC", environment).unwrap();
        assert_eq!(config.rest.address, "[::1]:1".parse().unwrap());
    }

    #[test]
    fn a_bad_variable_is_named() {
        let error = from(GOOD, &[("SVC__RSET__ADDRESS", "x")]).unwrap_err();
        assert_eq!(error, "SVC__RSET__ADDRESS: rset is not a known field");
        let error = from(GOOD, &[("SVC__LIMITS__BODY_BYTES", "big")]).unwrap_err();
        assert!(
            error.starts_with("SVC__LIMITS__BODY_BYTES: limits.body_bytes must be"),
            "{error}"
        );
        let error = from(GOOD, &[("SVC__REST__ADDRESS__PORT", "1")]).unwrap_err();
        assert!(
            error.starts_with("SVC__REST__ADDRESS__PORT: there is no section"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let error =
            load_from::<Service>(Some(Path::new("/nonexistent/x.toml")), "SVC", []).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nonexistent/x.toml");
    }
}
