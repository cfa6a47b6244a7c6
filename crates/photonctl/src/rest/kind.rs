//! Kinds of things: where a service has them, how they are listed, and by what people know them.

use uuid::Uuid;

/// One kind.
#[derive(Debug)]
pub(crate) struct Kind {
    /// What people call one.
    pub(crate) what: &'static str,
    /// What its ids begin with.
    pub(crate) prefix: &'static str,
    /// Its word in paths: `/api/v1/<path>`.
    pub(crate) path: &'static str,
    /// The field of a list's answer that holds the rows.
    pub(crate) plural: &'static str,
    /// The field by which one is known, beside its id.
    pub(crate) known_by: &'static str,
    /// Whether lists can be asked for those that are known by a text; if not, all are looked at.
    pub(crate) is_asked_for: bool,
    /// Whether they belong to projects.
    pub(crate) is_owned: bool,
    /// The columns of its table.
    pub(crate) columns: &'static [&'static str],
}

impl Kind {
    /// Whether the text is an id of this kind. The service says whether there is one.
    pub(crate) fn is_id(&self, text: &str) -> bool {
        let rest = text.strip_prefix(self.prefix);
        let uuid = rest.and_then(|rest| rest.strip_prefix('-'));
        uuid.is_some_and(|uuid| {
            Uuid::try_parse(uuid).is_ok_and(|parsed| parsed.to_string() == uuid)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VPC: Kind = Kind {
        what: "VPC",
        prefix: "vpc",
        path: "vpcs",
        plural: "vpcs",
        known_by: "name",
        is_asked_for: true,
        is_owned: true,
        columns: &[],
    };

    #[test]
    fn an_id_is_known_by_its_kind() {
        let uuid = "0192f0c1-2345-7abc-8def-0123456789ab";
        assert!(VPC.is_id(&format!("vpc-{uuid}")));
        for other in [
            format!("port-{uuid}"),
            format!("vpc{uuid}"),
            format!("vpc-{}", uuid.to_uppercase()),
            format!("vpc-{}", uuid.replace('-', "")),
            "vpc-app".to_owned(),
            String::new(),
        ] {
            assert!(!VPC.is_id(&other), "{other}");
        }
    }
}
