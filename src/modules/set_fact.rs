//! `set_fact`: sets variables.

use super::draft::just;
use super::{Arg, Args, Context, Effect, FreeForm, Kind, Module, Plan, PlanError};
use serde_json::{Map, json};

/// The module's description.
pub const MODULE: Module = Module {
    name: "set_fact",
    collections: super::BUILTIN,
    aliases: &[],
    doc: "Sets variables of this host for the rest of the run, rendered now.\nAll arguments but `cacheable` are variables.",
    args: &[Arg::new("cacheable", Kind::Bool, "also make them facts, found under `ansible_facts`").default("no")],
    free_form: FreeForm::No,
    any_args: true,
    plan,
};

fn plan(args: &Args, _: &Context<'_>) -> Result<Plan, PlanError> {
    let facts: Map<_, _> = args.iter().filter(|(name, _)| *name != "cacheable").map(|(n, v)| (n.clone(), v.clone())).collect();
    if facts.is_empty() {
        return Err(PlanError::failed("no variable is given to set"));
    }
    if let Some(name) = facts.keys().find(|n| !is_name(n)) {
        return Err(PlanError::failed(format!("`{name}` is no name of a variable: letters, digits and underscores, no digit first")));
    }
    let mut plan = just(json!({"ansible_facts": facts.clone()}));
    plan.effects.push(Effect::SetFacts(facts, args.bool("cacheable").unwrap_or(false)));
    Ok(plan)
}

/// Whether a template could refer to it.
pub(super) fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_') && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}
