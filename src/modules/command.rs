//! `command` and, with its own file, `shell`: runs what the operator wrote. Nobody can predict what it does.

use super::attributes::refuse;
use super::draft::fields;
use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError, paths};
use crate::host::change::Run;
use crate::host::{Change, split_words};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};

/// The module's description.
pub const MODULE: Module = Module {
    name: "command",
    collections: super::BUILTIN,
    aliases: &[],
    doc: "Runs a program, without a shell: no pipes, no redirections.\n\
          Always counts as changed unless `creates` or `removes` say that it is not needed. A dry run does not run it: its \
          result, and what depends on it, is unknown then.",
    args: &[
        Arg::new("cmd", Kind::Str, "the command line, split into words as a shell does; may also stand right behind the module's name"),
        Arg::new("argv", Kind::StrList, "the program and its arguments as a list, in place of `cmd`"),
        CHDIR,
        CREATES,
        REMOVES,
        STDIN,
        NEWLINE,
        STRIP,
        Arg::new("expand_argument_vars", Kind::Bool, "replace `~` and `$NAME` in words").default("yes"),
    ],
    free_form: FreeForm::Raw,
    any_args: false,
    plan,
};

/// `chdir`.
pub(super) const CHDIR: Arg = Arg::new("chdir", Kind::Path, "folder to run in");
/// `creates`.
pub(super) const CREATES: Arg = Arg::new("creates", Kind::Path, "do nothing if this exists (may be a shell pattern)");
/// `removes`.
pub(super) const REMOVES: Arg = Arg::new("removes", Kind::Path, "do nothing unless this exists (may be a shell pattern)");
/// `stdin`.
pub(super) const STDIN: Arg = Arg::new("stdin", Kind::Str, "text for its standard input");
/// `stdin_add_newline`.
pub(super) const NEWLINE: Arg = Arg::new("stdin_add_newline", Kind::Bool, "end that text with a line break").default("yes");
/// `strip_empty_ends`.
pub(super) const STRIP: Arg =
    Arg::new("strip_empty_ends", Kind::Bool, "`false` is refused: line breaks at the end of output are always dropped").default("yes");

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    let mut argv = match (args.str_list("argv"), text(args)?) {
        (Some(argv), None) => argv,
        (None, Some(text)) => split_words(text).map_err(|e| PlanError::failed(format!("the command can't be split into words: {e}")))?,
        (Some(_), Some(_)) => return Err(PlanError::failed("`argv` and a command line exclude each other")),
        (None, None) => vec![],
    };
    if argv.is_empty() {
        return Err(PlanError::failed("no command is given"));
    }
    if args.bool("expand_argument_vars").unwrap_or(true) {
        for word in &mut argv {
            *word = paths::expand(word, context)?;
        }
    }
    run(args, context, argv.clone(), json!(argv))
}

/// The command line as text, from either place.
pub(super) fn text(args: &Args) -> Result<Option<&str>, PlanError> {
    match (args.str("_raw_params"), args.str("cmd")) {
        (Some(_), Some(_)) => Err(PlanError::failed("the command is given twice: as `cmd` and right behind the module's name")),
        (raw, cmd) => Ok(raw.or(cmd)),
    }
}

/// The plan to run `argv`, unless `creates` or `removes` say that it is not needed.
pub(super) fn run(args: &Args, context: &Context<'_>, argv: Vec<String>, shown: Json) -> Result<Plan, PlanError> {
    refuse(args, &[("strip_empty_ends", Some(json!(true)), "line breaks at the end of output are always dropped")])?;
    let chdir = paths::path(args, "chdir", context)?;
    for (name, wanted, words) in [("creates", true, "exists"), ("removes", false, "does not exist")] {
        let Some(text) = args.str(name) else { continue };
        let path = from(chdir.as_deref(), name, text, context)?;
        if paths::exists(context.view, &path)? == wanted {
            let result = fields(json!({
                "cmd": shown, "rc": 0, "stdout": format!("skipped, since {text} {words}"), "stderr": "",
                "stdout_lines": [format!("skipped, since {text} {words}")], "stderr_lines": [],
                "msg": format!("Did not run command since '{text}' {words}"),
            }));
            return Ok(Plan { result, ..Plan::default() });
        }
    }
    let stdin = args.str("stdin").map(|text| {
        let newline = args.bool("stdin_add_newline").unwrap_or(true);
        format!("{text}{}", if newline { "\n" } else { "" })
    });
    let run = Run { argv, chdir, stdin, environment: context.environment.to_vec(), secret: context.secret };
    Ok(Plan { changes: vec![Change::Run(run)], ..Plan::default() })
}

/// The path under `name`, which counts from `chdir`.
fn from(chdir: Option<&Path>, name: &str, text: &str, context: &Context<'_>) -> Result<PathBuf, PlanError> {
    let text = paths::expand(text, context)?;
    match chdir {
        _ if text.starts_with('/') => Ok(PathBuf::from(text)),
        Some(folder) => Ok(folder.join(text)),
        None => Err(PlanError::failed(format!("`{name}: {text}` is relative, but to nothing: write an absolute path, or give `chdir`"))),
    }
}
