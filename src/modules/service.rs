//! `service`: services, on hosts where systemd runs them.

use super::attributes::refuse;
use super::systemd::{ENABLED, NAME, STATE, manage};
use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError};
use serde_json::json;

/// The module's description.
pub const MODULE: Module = Module {
    name: "service",
    collections: super::BUILTIN,
    aliases: &[],
    doc: "Starts, stops and enables services. Only systemd is supported, so this is `systemd` with fewer arguments.",
    args: &[
        NAME.required(),
        STATE,
        ENABLED,
        Arg::new("use", Kind::Str, "which service manager; only `auto` and `systemd` are supported").default("auto"),
        Arg::new("arguments", Kind::Str, "refused: systemd takes no further arguments").alias(&["args"]),
        Arg::new("pattern", Kind::Str, "refused: systemd knows whether a service runs"),
        Arg::new("runlevel", Kind::Str, "refused: systemd has no run levels"),
        Arg::new("sleep", Kind::Int, "refused: systemd itself waits between stop and start"),
    ],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    if args.str("use") != Some("systemd") {
        refuse(args, &[("use", Some(json!("auto")), "systemd is the only service manager supported")])?;
    }
    refuse(
        args,
        &[
            ("arguments", None, "systemd takes no further arguments"),
            ("pattern", None, "systemd knows whether a service runs"),
            ("runlevel", None, "systemd has no run levels"),
            ("sleep", None, "systemd itself waits between stop and start"),
        ],
    )?;
    if args.str("state").is_none() && args.bool("enabled").is_none() {
        return Err(PlanError::failed("one of `state` and `enabled` is needed"));
    }
    manage(args, context, args.required("name")?, false)
}
