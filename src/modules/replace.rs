//! `replace`: every match of a pattern in a file.

use super::attributes::{Put, Wanted, describe, put, refuse, with_attributes};
use super::draft::{Draft, fields};
use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError, paths};
use crate::host::{FileKind, View};
use crate::template::{Flags, Pattern, TooCostly, regex};
use serde_json::json;
use std::ops::Range;
use std::path::Path;

/// The module's description.
pub const MODULE: Module = Module {
    name: "replace",
    collections: super::BUILTIN,
    aliases: &[],
    doc: "Replaces every match of a pattern in a file. Patterns are in Python's syntax; `^` and `$` match at every line.\n\
          It is up to the pattern not to match what it was replaced with: a second run would replace that again.",
    args: with_attributes![
        Arg::new("path", Kind::Path, "the file").required().alias(&["dest", "destfile", "name"]),
        Arg::new("regexp", Kind::Str, "the pattern").required(),
        Arg::new("replace", Kind::Str, "what to put in its place; `\\1` and `\\g<name>` are groups")
            .default("nothing: matches are removed"),
        Arg::new("after", Kind::Str, "only behind the first match of this pattern (`.` matches line breaks in it)"),
        Arg::new("before", Kind::Str, "only before the first match of this pattern (`.` matches line breaks in it)"),
        Arg::new("backup", Kind::Bool, "keep a copy of the old file beside it").default("no"),
        Arg::new("validate", Kind::Str, "a command that checks the new file (`%s`) before it takes its place"),
        Arg::new("encoding", Kind::Str, "only `utf-8` is supported").default("utf-8"),
    ],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    refuse(args, &[("encoding", Some(json!("utf-8")), "files are read and written as UTF-8")])?;
    let path = paths::required(args, "path", context)?;
    let wanted = Wanted::read(args, context)?;
    let mut draft = Draft::new(context);
    let before = existing(&draft, &path)?;
    let with = args.str("replace").unwrap_or_default();
    let (after, msg) = match section(args, &before)? {
        None => (before.clone(), "`after` and `before` match nothing in the file".to_owned()),
        Some(range) => {
            let pattern = compile("regexp", args.required("regexp")?, Flags { multiline: true, ..Flags::default() })?;
            let text = before.get(range.clone()).unwrap_or_default();
            let (new, count) = pattern.replace(text, 0, |found| regex::expand(with, found)).map_err(failed)?;
            let head = before.get(..range.start).unwrap_or_default();
            let tail = before.get(range.end..).unwrap_or_default();
            (format!("{head}{new}{tail}"), if count == 0 { String::new() } else { format!("{count} replacements made") })
        }
    };
    let changed = after != before;
    let content = changed.then(|| after.into_bytes());
    let (backup, validate) = (args.bool("backup").unwrap_or(false), args.str("validate").map(str::to_owned));
    put(&mut draft, &path, Put { content, wanted: &wanted, backup, validate, secret: context.secret, follow: true })?;
    let mut result = fields(json!({"msg": msg, "path": path}));
    describe(&draft.host, &path, true, &mut result);
    Ok(draft.finish(result))
}

/// The text of the file, which must exist.
fn existing(draft: &Draft<'_>, path: &Path) -> Result<String, PlanError> {
    match draft.host.stat(path, true)? {
        None => Err(PlanError::failed(format!("{} does not exist", path.display()))),
        Some(stat) if stat.kind == FileKind::Directory => Err(PlanError::failed(format!("{} is a directory", path.display()))),
        Some(_) => Ok(draft.host.read_text(path)?),
    }
}

fn failed(e: TooCostly) -> PlanError {
    PlanError::failed(format!("matching failed: {e}"))
}

fn compile(name: &str, pattern: &str, flags: Flags) -> Result<Pattern, PlanError> {
    regex::compile(pattern, flags).map_err(|e| PlanError::failed(format!("`{name}`: {e}")))
}

/// Where replacing happens; `None`: the marks are not there.
fn section(args: &Args, text: &str) -> Result<Option<Range<usize>>, PlanError> {
    let find = |name: &str, from: usize| -> Result<Option<Option<Range<usize>>>, PlanError> {
        let Some(pattern) = args.str(name).filter(|p| !p.is_empty()) else { return Ok(None) };
        let pattern = compile(name, pattern, Flags { dotall: true, ..Flags::default() })?;
        let found = pattern.search_from(text, from).map_err(failed)?;
        Ok(Some(found.and_then(|f| f.range(0))))
    };
    let start = match find("after", 0)? {
        None => 0,
        Some(None) => return Ok(None),
        Some(Some(range)) => range.end,
    };
    match find("before", start)? {
        None => Ok(Some(start..text.len())),
        Some(None) => Ok(None),
        Some(Some(range)) => Ok(Some(start..range.start)),
    }
}
