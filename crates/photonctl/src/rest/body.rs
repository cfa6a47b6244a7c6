//! The body of a change.

use serde_json::{Map, Value};

/// The fields of a body: those that are there.
#[derive(Default)]
pub(crate) struct Body(Map<String, Value>);

impl Body {
    pub(crate) fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn maybe(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }

    /// Lists that are empty are left out.
    pub(crate) fn list<T: Into<Value>>(self, name: &str, values: Vec<T>) -> Self {
        if values.is_empty() {
            return self;
        }
        self.set(name, values)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Body> for Value {
    fn from(body: Body) -> Self {
        Self::Object(body.0)
    }
}
