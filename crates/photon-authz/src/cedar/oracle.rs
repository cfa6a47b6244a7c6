//! Everything there is as one Cedar policy set: no index, no slice, nothing remembered. What the fast way is tested
//! against and measured against.

use std::collections::{HashMap, HashSet};

use super::{
    Answer, BUILT_IN, Facts, Model, Refused, Set, TYPES, text, uid, uid_of_principal, uid_of_scope,
};
use crate::{
    ADMIN, Binding, Decision, Policies, PrincipalRef, Question, Reason, Scope,
    condition::Moment,
    policies::{is_shut, unlocks},
    role::{self, SERVICES},
};

/// All policies at one moment, asked without any index. Costs about a microsecond for every binding there is.
#[derive(Debug)]
pub struct Oracle {
    all: Set,
    /// Only the bindings that make somebody a whole admin of the system.
    admins: Set,
}

impl Policies {
    /// The policies as they are now. None if Cedar does not take them, as with groups in a circle, which IAM does not
    /// write.
    #[must_use]
    pub fn oracle(&self) -> Option<Oracle> {
        Oracle::new(self).ok()
    }

    /// The answer of [`Oracle::decide`]. Slow: makes the oracle for this one question.
    #[must_use]
    pub fn decide_by_cedar(&self, question: &Question<'_>) -> Decision {
        self.oracle()
            .map_or(Decision::no(Reason::Evaluation), |oracle| {
                oracle.decide(self, question)
            })
    }
}

impl Oracle {
    fn new(policies: &Policies) -> Result<Self, Refused> {
        let whole_admin = |binding: &&Binding| {
            binding.role.as_str() == ADMIN
                && binding.scope == Scope::System
                && binding
                    .condition
                    .as_ref()
                    .is_none_or(crate::Condition::is_empty)
        };
        let mut admins = Model::default();
        for binding in policies.bindings().filter(whole_admin) {
            allow(&mut admins, policies, binding)?;
        }
        hierarchy(&mut admins, policies);

        let mut all = Model::default();
        for binding in policies.bindings() {
            allow(&mut all, policies, binding)?;
        }
        for rule in policies.deny_rules() {
            all.rule(rule)?;
        }
        for (service, _) in SERVICES {
            let Ok(name) = photon_core::Name::new(*service) else {
                continue;
            };
            if let Some(role) = role::compiled_of_service(&name) {
                let permissions = all.role(role)?;
                let policy = text::of_service(&PrincipalRef::service(name), &permissions);
                all.policy(&format!("{BUILT_IN}-{service}"), &policy)?;
            }
        }
        hierarchy(&mut all, policies);
        Ok(Self {
            all: all.finish()?,
            admins: admins.finish()?,
        })
    }

    /// The answer, if `policies` are those it was made of. Of the reasons for no, those of Cedar come first: a deny rule
    /// is named even where no binding would have allowed it.
    #[must_use]
    pub fn decide(&self, policies: &Policies, question: &Question<'_>) -> Decision {
        if let Some(reason) = policies.refused_anyhow(question) {
            return Decision::no(reason);
        }
        let place = policies.place(question.scope);
        if is_shut(question, &place) {
            return Decision::no(Reason::Disabled);
        }
        let facts = Facts {
            permission: question.permission,
            moment: Moment::at(question.now),
            source: question.source,
            least: place.least,
        };
        let ask = |set: &Set| {
            let principal = uid_of_principal(question.principal);
            set.ask(principal, uid_of_scope(question.scope), &facts)
        };
        if unlocks(question.permission)
            && let Answer::Allow(binding) = ask(&self.admins)
        {
            return Decision::Allow { binding };
        }
        match ask(&self.all) {
            Answer::Allow(binding) => Decision::Allow { binding },
            Answer::Forbid(rule) => Decision::no(Reason::DenyRule(rule)),
            Answer::Nothing if !place.known => Decision::no(Reason::ScopeUnknown),
            Answer::Nothing if place.closed => Decision::no(Reason::Disabled),
            Answer::Nothing => Decision::no(Reason::NoBinding),
            Answer::Failed => Decision::no(Reason::Evaluation),
        }
    }
}

fn allow(model: &mut Model, policies: &Policies, binding: &Binding) -> Result<(), Refused> {
    match policies.compiled(&binding.role) {
        Some(role) => model.binding(binding, role),
        None => Ok(()),
    }
}

/// Groups and their members, projects and their orgs.
fn hierarchy(model: &mut Model, policies: &Policies) {
    let mut groups_of: HashMap<&PrincipalRef, HashSet<_>> = HashMap::new();
    for group in policies.groups() {
        let parent = uid_of_principal(&PrincipalRef::group(group.id.clone()));
        for member in &group.members {
            groups_of.entry(member).or_default().insert(parent.clone());
        }
    }
    for (member, groups) in groups_of {
        model.entity(uid_of_principal(member), groups);
    }
    for project in policies.projects() {
        let org = uid(&TYPES.org, project.org.as_str());
        model.entity(
            uid(&TYPES.project, project.id.as_str()),
            HashSet::from([org]),
        );
    }
}
