//! `ping`: answers.

use super::draft::just;
use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError};
use serde_json::json;

/// The module's description.
pub const MODULE: Module = Module {
    name: "ping",
    collections: super::BUILTIN,
    aliases: &[],
    doc: "Answers, which shows that the host can be reached and the agent runs there. No ICMP.",
    args: &[Arg::new("data", Kind::Str, "what to answer; `crash` fails").default("pong")],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

fn plan(args: &Args, _: &Context<'_>) -> Result<Plan, PlanError> {
    match args.str("data").unwrap_or("pong") {
        "crash" => Err(PlanError::failed("crashed, as `data: crash` asks for")),
        data => Ok(just(json!({"ping": data}))),
    }
}
