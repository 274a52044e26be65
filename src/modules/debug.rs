//! `debug`: shows a message or a variable.

use super::draft::fields;
use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError};
use crate::template::UNKNOWN;
use serde_json::{Map, Value as Json, json};

/// The module's description.
pub const MODULE: Module = Module {
    name: "debug",
    collections: super::BUILTIN,
    aliases: &[],
    doc: "Shows a message or the value of a variable.\n\
          Of a variable that is not defined `var` says so; in `msg` it is an error, as everywhere else.",
    args: &[
        Arg::new("msg", Kind::Any, "what to show").default("Hello world!"),
        Arg::new("var", Kind::Str, "a variable or expression, without braces, whose value to show"),
        Arg::new("verbosity", Kind::Int, "show it only from this verbosity (number of `-v`) on").default("0"),
    ],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    if args.get("msg").is_some() && args.get("var").is_some() {
        return Err(PlanError::failed("`msg` and `var` exclude each other"));
    }
    let wanted = args.int("verbosity").unwrap_or(0);
    if wanted > 0 {
        let verbosity = (context.lookup)("ansible_verbosity").ok().and_then(|v| v.as_i64()).unwrap_or(0);
        if verbosity < wanted {
            let skipped = Some(format!("verbosity {verbosity} is less than {wanted}"));
            return Ok(Plan { skipped, result: fields(json!({"skipped_reason": "Verbosity threshold not met."})), ..Plan::default() });
        }
    }
    let (name, value) = match args.str("var") {
        Some(var) => (var, (context.lookup)(var)?),
        None => ("msg", args.get("msg").cloned().unwrap_or_else(|| Json::from("Hello world!"))),
    };
    if let Some(why) = value.get(UNKNOWN) {
        return Err(PlanError::Unknown(super::args::text(why)));
    }
    Ok(Plan { result: Map::from_iter([(name.to_owned(), value)]), ..Plan::default() })
}
