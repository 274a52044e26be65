//! `meta`: steers the run itself.

use super::{Arg, Args, Context, Effect, FreeForm, Kind, Module, Plan, PlanError};
use serde_json::{Map, json};

/// The module's description.
pub const MODULE: Module = Module {
    name: "meta",
    collections: super::BUILTIN,
    aliases: &[],
    doc: "Steers the run: `flush_handlers` runs notified handlers now; `end_play`, `end_batch` and `end_host` end the play, \
          the batch of `serial`, or this host's part, without failing; `clear_facts` forgets facts; `clear_host_errors` \
          takes failed hosts in again; `reset_connection` and `noop` do nothing here.\n\
          `refresh_inventory`, `end_role` and others are refused.",
    args: &[Arg::new("free_form", Kind::Choice(ACTIONS), "what to do").required()],
    free_form: FreeForm::Into("free_form"),
    any_args: false,
    plan,
};

const ACTIONS: &[&str] =
    &["flush_handlers", "end_play", "end_host", "end_batch", "clear_facts", "clear_host_errors", "reset_connection", "noop"];

fn plan(args: &Args, _: &Context<'_>) -> Result<Plan, PlanError> {
    let action = args.required("free_form")?.to_owned();
    let result = Map::from_iter([("msg".to_owned(), json!(action))]);
    Ok(Plan { result, effects: vec![Effect::Meta(action)], ..Plan::default() })
}
