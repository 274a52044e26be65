//! `assert`: fails unless conditions hold.

use super::draft::{fields, just};
use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError};
use crate::template::truthy;
use serde_json::{Value as Json, json};

/// The module's description.
pub const MODULE: Module = Module {
    name: "assert",
    collections: super::BUILTIN,
    aliases: &[],
    doc: "Fails unless all conditions hold, naming the first that does not.",
    args: &[
        Arg::new("that", Kind::List, "conditions, as in `when`").required(),
        Arg::new("fail_msg", Kind::Any, "what to say when one does not hold (text, or a list of lines)")
            .alias(&["msg"])
            .default("Assertion failed"),
        Arg::new("success_msg", Kind::Any, "what to say when all hold (text, or a list of lines)").default("All assertions passed"),
        Arg::new("quiet", Kind::Bool, "say less: the result holds only the message").default("no"),
    ],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    let quiet = args.bool("quiet").unwrap_or(false);
    let message = |name: &str, default: &str| args.get(name).cloned().unwrap_or_else(|| Json::from(default));
    for condition in args.get("that").and_then(Json::as_array).into_iter().flatten() {
        if truthy(&(context.evaluate)(condition)?) {
            continue;
        }
        let message = message("fail_msg", "Assertion failed");
        let assertion = super::args::text(condition);
        let said = match &message {
            Json::Array(lines) => lines.iter().map(super::args::text).collect::<Vec<_>>().join("\n"),
            other => super::args::text(other),
        };
        let mut result = fields(json!({"msg": message}));
        if !quiet {
            result.extend(fields(json!({"assertion": condition, "evaluated_to": false})));
        }
        return Err(PlanError::Failed(format!("{said} ({assertion} does not hold)"), result));
    }
    Ok(just(json!({"msg": message("success_msg", "All assertions passed")})))
}
