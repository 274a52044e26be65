//! `fail`: fails.

use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError};

/// The module's description.
pub const MODULE: Module = Module {
    name: "fail",
    collections: super::BUILTIN,
    aliases: &[],
    doc: "Fails with a message; of use with `when`.",
    args: &[Arg::new("msg", Kind::Str, "why").default("Failed as requested from task")],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

fn plan(args: &Args, _: &Context<'_>) -> Result<Plan, PlanError> {
    Err(PlanError::failed(args.str("msg").unwrap_or("Failed as requested from task")))
}
