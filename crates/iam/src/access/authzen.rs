//! OpenID AuthZEN Authorization API 1.0: `POST /access/v1/evaluation` and `/evaluations`.
//!
//! Its words for ours:
//!
//! | AuthZEN | here |
//! |---|---|
//! | `subject {type, id}` | a principal: `user`, `service_account`, `service`, and its id |
//! | `action {name}` | a permission, `plasmavmc.vms.create` |
//! | `resource {type, id}` | the scope, if the type is `system`, `org` or `project`; of anything else `properties.scope` says where it is, as `project:shop` |
//! | `context` | `time` (RFC 3339), `source_address`, `min_revision` |
//!
//! Answers are in the standard's own form, in no envelope; refusals of the request itself look like everywhere else.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use jiff::Timestamp;
use photon_auth::Context;
use photon_authz::{Permission, PrincipalKind, PrincipalRef, Scope};
use photon_core::{Error, Name};
use photon_server::rest::{Json, RestError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    Answer, Check, Semantic,
    service::{self, MOST_AT_ONCE},
};
use crate::{app::App, rest::Failure};

/// The path of one question.
pub(crate) const EVALUATION: &str = "/access/v1/evaluation";
/// The path of several.
pub(crate) const EVALUATIONS: &str = "/access/v1/evaluations";

// The standard lets every object have members that a decision does not look at: unknown ones are not refused.

/// Who.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct Subject {
    /// `user`, `service_account` or `service`.
    #[serde(rename = "type")]
    #[schema(example = "user")]
    kind: String,
    #[schema(example = "alice")]
    id: String,
}

/// What.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct Action {
    /// A permission.
    #[schema(example = "plasmavmc.vms.create")]
    name: String,
}

/// On what.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct Resource {
    /// `project`, `org`, `system`, or anything else that `properties.scope` says the place of.
    #[serde(rename = "type")]
    #[schema(example = "project")]
    kind: String,
    #[schema(example = "shop")]
    id: String,
    /// `scope`: where it is, as `project:shop`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    properties: Option<Map<String, Value>>,
}

/// A question, or a part of one.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = EvaluationPart)]
pub(crate) struct EvaluationBody {
    #[serde(default)]
    subject: Option<Subject>,
    #[serde(default)]
    action: Option<Action>,
    #[serde(default)]
    resource: Option<Resource>,
    /// `time` (RFC 3339), `source_address`, `min_revision`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    context: Option<Map<String, Value>>,
}

/// A whole question, for the document.
#[derive(ToSchema)]
#[schema(as = EvaluationBody)]
#[expect(dead_code, reason = "only described, never built")]
struct WholeEvaluation {
    subject: Subject,
    action: Action,
    resource: Resource,
    /// `time` (RFC 3339), `source_address`, `min_revision`.
    #[schema(value_type = Option<Object>)]
    context: Option<Map<String, Value>>,
}

/// Several questions; what they have in common stands outside.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct EvaluationsBody {
    #[serde(flatten)]
    common: EvaluationBody,
    /// At most 100; without any it is one question.
    #[serde(default)]
    evaluations: Option<Vec<EvaluationBody>>,
    #[serde(default)]
    options: Option<Options>,
}

/// How several are answered.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub(crate) struct Options {
    /// `execute_all` (when absent), `deny_on_first_deny`, `permit_on_first_permit`.
    #[serde(default)]
    evaluations_semantic: Option<String>,
}

/// An answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DecisionView {
    decision: bool,
    context: DecisionContext,
}

/// Why.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DecisionContext {
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// By which binding.
    #[serde(skip_serializing_if = "Option::is_none")]
    granted_by: Option<String>,
    /// The store's revision that it was answered from.
    revision: i64,
}

/// Answers, in the order of the questions; with another semantic than `execute_all` maybe not to all.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DecisionList {
    evaluations: Vec<DecisionView>,
}

/// What several questions are answered with; what is one question, because there are no `evaluations`, has one answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Decisions {
    Each(DecisionList),
    One(DecisionView),
}

impl From<Answer> for DecisionView {
    fn from(answer: Answer) -> Self {
        Self {
            decision: answer.allowed,
            context: DecisionContext {
                reason: answer.reason,
                granted_by: answer.granted_by,
                revision: answer.revision,
            },
        }
    }
}

/// Answers whether somebody may do something somewhere.
#[utoipa::path(
    post, path = "/access/v1/evaluation", tag = "access", operation_id = "access_evaluation",
    request_body = WholeEvaluation,
    responses((status = 200, body = DecisionView), Failure)
)]
pub(crate) async fn evaluation(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<EvaluationBody>,
) -> Result<Response, RestError> {
    let min_revision = body.min_revision()?;
    let answer = service::check(&app, &ctx, &body.check()?, min_revision).await?;
    Ok(axum::Json(DecisionView::from(answer)).into_response())
}

/// Answers several questions from one state.
#[utoipa::path(
    post, path = "/access/v1/evaluations", tag = "access", operation_id = "access_evaluations",
    request_body = EvaluationsBody,
    responses((status = 200, body = Decisions), Failure)
)]
pub(crate) async fn evaluations(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<EvaluationsBody>,
) -> Result<axum::Json<Decisions>, RestError> {
    let Some(each) = body.evaluations.filter(|each| !each.is_empty()) else {
        let min_revision = body.common.min_revision()?;
        let answer = service::check(&app, &ctx, &body.common.check()?, min_revision).await?;
        return Ok(axum::Json(Decisions::One(answer.into())));
    };
    if each.len() > MOST_AT_ONCE {
        return Err(Error::validation(
            "evaluations",
            "length",
            format!("evaluations must have at most {MOST_AT_ONCE} entries"),
        )
        .into());
    }
    let semantic = body.options.unwrap_or_default().semantic()?;
    let mut checks = Vec::with_capacity(each.len());
    // One state answers all, so it must be as new as the most demanding of them wants.
    let mut min_revision = body.common.min_revision()?;
    for (index, one) in each.into_iter().enumerate() {
        let whole = one.or(&body.common);
        let read = || Ok::<_, Error>((whole.check()?, whole.min_revision()?));
        let (check, at_least) =
            read().map_err(|error| error.within(&format!("evaluations[{index}]")))?;
        checks.push(check);
        min_revision = min_revision.max(at_least);
    }
    let answers = service::batch(&app, &ctx, &checks, min_revision, semantic).await?;
    let list = DecisionList {
        evaluations: answers.into_iter().map(Into::into).collect(),
    };
    Ok(axum::Json(Decisions::Each(list)))
}

impl Options {
    fn semantic(self) -> Result<Semantic, Error> {
        match self.evaluations_semantic.as_deref() {
            None | Some("execute_all") => Ok(Semantic::All),
            Some("deny_on_first_deny") => Ok(Semantic::UntilDeny),
            Some("permit_on_first_permit") => Ok(Semantic::UntilPermit),
            Some(_) => Err(Error::validation(
                "options.evaluations_semantic",
                "enum",
                "options.evaluations_semantic must be execute_all, deny_on_first_deny or permit_on_first_permit",
            )),
        }
    }
}

impl EvaluationBody {
    /// What is missing, from the defaults.
    fn or(self, common: &Self) -> Self {
        Self {
            subject: self.subject.or_else(|| common.subject.clone()),
            action: self.action.or_else(|| common.action.clone()),
            resource: self.resource.or_else(|| common.resource.clone()),
            context: self.context.or_else(|| common.context.clone()),
        }
    }

    fn check(&self) -> Result<Check, Error> {
        let subject = self
            .subject
            .as_ref()
            .ok_or_else(|| Error::required("subject"))?;
        let action = self
            .action
            .as_ref()
            .ok_or_else(|| Error::required("action"))?;
        let resource = self
            .resource
            .as_ref()
            .ok_or_else(|| Error::required("resource"))?;
        Ok(Check {
            principal: Some(subject.principal()?),
            permission: Permission::parse_field("action.name", &action.name)?,
            scope: resource.scope()?,
            source: self.source()?,
            time: self.time()?,
        })
    }

    fn in_context(&self, member: &str) -> Option<&Value> {
        let found = self.context.as_ref()?.get(member)?;
        (!found.is_null()).then_some(found)
    }

    fn min_revision(&self) -> Result<Option<i64>, Error> {
        let Some(value) = self.in_context("min_revision") else {
            return Ok(None);
        };
        let revision = value.as_i64().filter(|revision| *revision >= 0);
        revision.map(Some).ok_or_else(|| {
            Error::validation(
                "context.min_revision",
                "type",
                "context.min_revision must be a whole number, not negative",
            )
        })
    }

    fn source(&self) -> Result<Option<IpAddr>, Error> {
        self.parsed("source_address", "an IP address", |text| text.parse().ok())
    }

    fn time(&self) -> Result<Option<Timestamp>, Error> {
        self.parsed("time", "a time as in RFC 3339", |text| text.parse().ok())
    }

    fn parsed<T>(
        &self,
        member: &str,
        what: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.in_context(member) else {
            return Ok(None);
        };
        value.as_str().and_then(parse).map(Some).ok_or_else(|| {
            let field = format!("context.{member}");
            Error::validation(&field, "format", format!("{field} must be {what}"))
        })
    }
}

impl Subject {
    fn principal(&self) -> Result<PrincipalRef, Error> {
        let kind = self.kind.parse::<PrincipalKind>().ok();
        let Some(kind) = kind.filter(|kind| *kind != PrincipalKind::Group) else {
            return Err(Error::validation(
                "subject.type",
                "enum",
                "subject.type must be one of user, service_account, service",
            ));
        };
        Ok(PrincipalRef::new(
            kind,
            Name::parse_field("subject.id", &self.id)?,
        ))
    }
}

impl Resource {
    fn scope(&self) -> Result<Scope, Error> {
        let id = || Name::parse_field("resource.id", &self.id);
        match self.kind.as_str() {
            "" => Err(Error::required("resource.type")),
            "system" => Ok(Scope::System),
            "org" => Ok(Scope::Org(id()?)),
            "project" => Ok(Scope::Project(id()?)),
            _ => {
                const FIELD: &str = "resource.properties.scope";
                let properties = self.properties.as_ref();
                let scope = properties.and_then(|properties| properties.get("scope"));
                match scope {
                    Some(Value::String(scope)) => Scope::parse_field(FIELD, scope),
                    Some(_) => Err(Error::validation(
                        FIELD,
                        "type",
                        format!("{FIELD} must be a text"),
                    )),
                    None => Err(Error::required(FIELD)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn body(json: Value) -> EvaluationBody {
        serde_json::from_value(json).unwrap()
    }

    fn good() -> Value {
        json!({
            "subject": {"type": "user", "id": "alice", "properties": {"department": "sales"}},
            "action": {"name": "plasmavmc.vms.create"},
            "resource": {"type": "vm", "id": "Any Text", "properties": {"scope": "project:shop"}},
            "context": {
                "time": "2026-11-22T12:00:00Z", "source_address": "10.0.0.1", "min_revision": 7, "other": {},
            },
        })
    }

    #[test]
    fn a_question_in_the_standards_words() {
        let body = body(good());
        let check = body.check().unwrap();
        assert_eq!(check.principal.unwrap().to_string(), "user:alice");
        assert_eq!(check.scope.to_string(), "project:shop");
        assert_eq!(check.source, Some("10.0.0.1".parse().unwrap()));
        assert!(check.time.is_some());
        assert_eq!(body.min_revision().unwrap(), Some(7));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (pointer, value, field) in [
            ("/subject", Value::Null, "subject"),
            ("/subject/type", json!("group"), "subject.type"),
            ("/subject/id", json!("A/B"), "subject.id"),
            ("/action", Value::Null, "action"),
            ("/action/name", json!("create"), "action.name"),
            ("/resource", Value::Null, "resource"),
            (
                "/resource/properties",
                json!({}),
                "resource.properties.scope",
            ),
            (
                "/resource/properties/scope",
                json!(1),
                "resource.properties.scope",
            ),
            (
                "/resource/properties/scope",
                json!("shop"),
                "resource.properties.scope",
            ),
            ("/context/time", json!("today"), "context.time"),
            (
                "/context/source_address",
                json!("here"),
                "context.source_address",
            ),
        ] {
            let mut json = good();
            *json.pointer_mut(pointer).unwrap() = value;
            let error = body(json).check().unwrap_err();
            assert_eq!(error.details().unwrap()["field"], field, "{pointer}");
        }
        for bad in [json!(-1), json!("7"), json!(1.5)] {
            let mut json = good();
            json["context"]["min_revision"] = bad;
            assert!(body(json).min_revision().is_err());
        }
    }

    #[test]
    fn an_evaluation_is_completed_from_what_all_have_in_common() {
        let one = body(json!({"resource": {"type": "org", "id": "acme"}}));
        let check = one.or(&body(good())).check().unwrap();
        assert_eq!(check.scope.to_string(), "org:acme");
        assert_eq!(check.permission.to_string(), "plasmavmc.vms.create");
    }
}
