//! `shell`: runs a text with a shell.

use super::command::{CHDIR, CREATES, NEWLINE, REMOVES, STDIN, STRIP};
use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError, command, paths};
use serde_json::json;

/// The module's description.
pub const MODULE: Module = Module {
    name: "shell",
    collections: super::BUILTIN,
    aliases: &[],
    doc: "Runs a text with a shell: pipes and redirections work.\n\
          Always counts as changed unless `creates` or `removes` say that it is not needed. A dry run does not run it: its \
          result, and what depends on it, is unknown then.",
    args: &[
        Arg::new("cmd", Kind::Str, "the text; may also stand right behind the module's name"),
        Arg::new("executable", Kind::Path, "the shell").default("/bin/sh"),
        CHDIR,
        CREATES,
        REMOVES,
        STDIN,
        NEWLINE,
        STRIP,
    ],
    free_form: FreeForm::Raw,
    any_args: false,
    plan,
};

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    let text = command::text(args)?.filter(|t| !t.trim().is_empty()).ok_or_else(|| PlanError::failed("no command is given"))?;
    let shell = match args.str("executable") {
        Some(shell) => paths::absolute("executable", shell, context)?.to_string_lossy().into_owned(),
        None => "/bin/sh".to_owned(),
    };
    command::run(args, context, vec![shell, "-c".into(), text.to_owned()], json!(text))
}
