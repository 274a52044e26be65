//! `setup`: gathers facts.

use super::attributes::refuse;
use super::{Arg, Args, Context, Effect, FreeForm, Kind, Module, Plan, PlanError, draft};
use crate::host::glob;
use serde_json::{Map, Value as Json, json};

/// The module's description.
pub const MODULE: Module = Module {
    name: "setup",
    collections: super::BUILTIN,
    aliases: &["gather_facts"],
    doc: "Gathers facts about the host: they are found under `ansible_facts`, and as `ansible_…` variables.",
    args: &[
        Arg::new("gather_subset", Kind::StrList, "which facts to gather; `!name` leaves one out").default("all"),
        Arg::new("filter", Kind::StrList, "return only facts whose names match one of these shell patterns"),
        Arg::new(
            "gather_timeout",
            Kind::Int,
            "seconds a fact may take; facts are read from the kernel's own files here, which keeps any such limit",
        )
        .default("10"),
        Arg::new("fact_path", Kind::Path, "refused: facts that programs on the host make up are not gathered"),
    ],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    refuse(args, &[("fact_path", Some(json!("/etc/ansible/facts.d")), "facts that programs on the host make up are not gathered")])?;
    let subset = args.str_list("gather_subset").unwrap_or_default();
    let patterns = args.str_list("filter").unwrap_or_default();
    let mut facts = (context.gather)(&subset, &patterns)?;
    // Names may be given with or without the prefix; `*` and nothing keep all.
    let keeps = |name: &str| patterns.iter().any(|p| glob::matches(p, name) || glob::matches(p, &format!("ansible_{name}")));
    if !patterns.is_empty() {
        facts = facts.into_iter().filter(|(name, _)| keeps(name)).collect();
    }
    let shown: Map<String, Json> = facts.iter().map(|(name, value)| (format!("ansible_{name}"), value.clone())).collect();
    Ok(Plan { result: draft::fields(json!({"ansible_facts": shown})), effects: vec![Effect::HostFacts(facts)], ..Plan::default() })
}
