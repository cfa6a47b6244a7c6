//! How texts with a form of their own look in the OpenAPI document. Nothing here is built.

pub(crate) use photon_service::rest::IdText;
use utoipa::ToSchema;

/// What people call it: 1 to 200 bytes, no control characters, not only spaces.
#[derive(ToSchema)]
#[schema(value_type = String, min_length = 1, max_length = 200, example = "Production")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct LabelText(String);

/// A principal: its kind and its id.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    pattern = "^(user|service_account|service|group):[a-z0-9][a-z0-9._-]{0,62}$",
    example = "user:alice"
)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct PrincipalText(String);

/// A scope: the whole system, an org, a project.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    pattern = "^(system|(org|project):[a-z0-9][a-z0-9._-]{0,62})$",
    example = "project:shop"
)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct ScopeText(String);

/// Permissions: `<service>.<resource>.<verb>`, each a word or `*` for any.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    pattern = "^(\\*|[a-z][a-z0-9_]{0,62})(\\.(\\*|[a-z][a-z0-9_]{0,62})){2}$",
    example = "plasmavmc.vms.*"
)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct PatternText(String);

/// When it counts: all that is said must hold.
#[derive(ToSchema)]
#[schema(as = Condition)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct ConditionText {
    /// From this moment on.
    #[schema(format = DateTime, required = false)]
    not_before: Option<String>,
    /// Until this moment.
    #[schema(format = DateTime, required = false)]
    not_after: Option<String>,
    /// Only in these hours of the week, in UTC.
    #[schema(required = false)]
    window: Option<WindowText>,
    /// Only from these networks.
    #[schema(required = false, example = json!(["10.0.0.0/8"]))]
    source_networks: Vec<NetworkText>,
}

/// A network, `address/prefix`.
#[derive(ToSchema)]
#[schema(as = Network, value_type = String, pattern = "^[0-9a-fA-F:.]+/[0-9]{1,3}$", example = "10.0.0.0/8")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct NetworkText(String);

/// Hours on some days of the week, in UTC. With `until` not after `from` they go on past midnight.
#[derive(ToSchema)]
#[schema(as = WeeklyWindow)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct WindowText {
    /// None: every day.
    #[schema(required = false, example = json!(["mon", "fri"]))]
    days: Vec<DayText>,
    #[schema(pattern = "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$", example = "08:00")]
    from: String,
    #[schema(pattern = "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$", example = "18:00")]
    until: String,
}

/// A day of the week.
#[derive(ToSchema)]
#[schema(as = Day, rename_all = "lowercase")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) enum DayText {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}
