//! `blockinfile`: lines of a file between two marker lines.

use super::attributes::{Put, Wanted, describe, put, refuse, with_attributes};
use super::draft::{Draft, fields};
use super::file::make_directories;
use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError, paths};
use crate::host::{FileKind, View};
use crate::template::{Flags, regex};
use serde_json::json;

/// The module's description.
pub const MODULE: Module = Module {
    name: "blockinfile",
    collections: super::BUILTIN,
    aliases: &[],
    doc: "Keeps a block of lines in a file, between two marker lines of its own.\n\
          Two blocks in one file need two `marker`s.",
    args: with_attributes![
        Arg::new("path", Kind::Path, "the file").required().alias(&["dest", "destfile", "name"]),
        Arg::new("block", Kind::Str, "the lines; none: the block is removed").alias(&["content"]).default(""),
        Arg::new("state", Kind::Choice(&["present", "absent"]), "whether it is there").default("present"),
        Arg::new("marker", Kind::Str, "the marker lines; `{mark}` stands for `marker_begin` and `marker_end`").default(MARKER),
        Arg::new("marker_begin", Kind::Str, "the word in the first").default("BEGIN"),
        Arg::new("marker_end", Kind::Str, "the word in the last").default("END"),
        Arg::new("insertafter", Kind::Str, "a new block goes behind the last line that matches this pattern, or to `EOF`").default("EOF"),
        Arg::new("insertbefore", Kind::Str, "a new block goes before the last line that matches this pattern, or to `BOF`"),
        Arg::new("prepend_newline", Kind::Bool, "an empty line before the block").default("no"),
        Arg::new("append_newline", Kind::Bool, "an empty line behind the block").default("no"),
        Arg::new("create", Kind::Bool, "create the file, and its folder, if it does not exist").default("no"),
        Arg::new("backup", Kind::Bool, "keep a copy of the old file beside it").default("no"),
        Arg::new("validate", Kind::Str, "a command that checks the new file (`%s`) before it takes its place"),
        Arg::new("encoding", Kind::Str, "only `utf-8` is supported").default("utf-8"),
    ],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

/// Ansible's own, so that a block it wrote is found again.
const MARKER: &str = "# {mark} ANSIBLE MANAGED BLOCK";

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    refuse(args, &[("encoding", Some(json!("utf-8")), "files are read and written as UTF-8")])?;
    let path = paths::required(args, "path", context)?;
    let wanted = Wanted::read(args, context)?;
    let mut draft = Draft::new(context);
    let before = match draft.host.stat(&path, true)? {
        Some(stat) if stat.kind == FileKind::Directory => return Err(PlanError::failed(format!("{} is a directory", path.display()))),
        Some(_) => Some(draft.host.read_text(&path)?),
        None if args.bool("create").unwrap_or(false) => None,
        None => return Err(PlanError::failed(format!("{} does not exist; `create: true` creates it", path.display()))),
    };
    let (after, msg) = edited(args, before.as_deref().unwrap_or_default())?;
    let content = (after != before.as_deref().unwrap_or_default()).then(|| after.into_bytes());
    if before.is_none() && content.is_some() {
        make_directories(&mut draft, path.parent().unwrap_or(&path), &Wanted::default())?;
    }
    let msg = if content.is_some() { msg } else { "" };
    let (backup, validate) = (args.bool("backup").unwrap_or(false), args.str("validate").map(str::to_owned));
    put(&mut draft, &path, Put { content, wanted: &wanted, backup, validate, secret: context.secret, follow: true })?;
    let mut result = fields(json!({"msg": msg, "path": path}));
    describe(&draft.host, &path, true, &mut result);
    Ok(draft.finish(result))
}

/// The file's text with the block as asked for, and what that did.
fn edited(args: &Args, text: &str) -> Result<(String, &'static str), PlanError> {
    let marker = args.str("marker").unwrap_or(MARKER);
    let mark = |name: &str, default: &str| marker.replace("{mark}", args.str(name).unwrap_or(default));
    let (begin, end) = (mark("marker_begin", "BEGIN"), mark("marker_end", "END"));
    if begin == end || begin.contains('\n') || end.contains('\n') {
        return Err(PlanError::failed("`marker` must be one line that holds {mark}, so that begin and end of the block differ"));
    }
    let block = args.str("block").unwrap_or_default();
    let present = args.str("state") != Some("absent") && !block.is_empty();
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let find = |lines: &[String], wanted: &str| lines.iter().rposition(|l| bare(l) == wanted);
    let (mut at, msg) = match (find(&lines, &begin), find(&lines, &end)) {
        (Some(first), Some(last)) => {
            // Markers the wrong way round enclose the block all the same.
            let (low, high) = (first.min(last), first.max(last));
            lines.drain(low..=high);
            (low, if present { "Block updated" } else { "Block removed" })
        }
        _ if !present => return Ok((text.to_owned(), "")),
        _ => (place(args, &lines)?, "Block inserted"),
    };
    if present {
        if let Some(line) = at.checked_sub(1).and_then(|i| lines.get_mut(i))
            && !line.ends_with('\n')
        {
            line.push('\n');
        }
        let empty = |lines: &[String], i: usize| lines.get(i).is_some_and(|l| bare(l).is_empty());
        if args.bool("prepend_newline").unwrap_or(false) && at > 0 && !empty(&lines, at - 1) {
            lines.insert(at, "\n".into());
            at += 1;
        }
        let new: Vec<String> = [begin.as_str()].into_iter().chain(block.lines()).chain([end.as_str()]).map(|l| format!("{l}\n")).collect();
        let behind = at + new.len();
        lines.splice(at..at, new);
        if args.bool("append_newline").unwrap_or(false) && behind < lines.len() && !empty(&lines, behind) {
            lines.insert(behind, "\n".into());
        }
    }
    Ok((lines.concat(), msg))
}

/// The index of the line before which a new block goes.
fn place(args: &Args, lines: &[String]) -> Result<usize, PlanError> {
    let (name, pattern) = match (args.str("insertafter"), args.str("insertbefore")) {
        (Some(_), Some(_)) => return Err(PlanError::failed("`insertafter` and `insertbefore` exclude each other")),
        (None | Some("EOF"), None) => return Ok(lines.len()),
        (None, Some("BOF")) => return Ok(0),
        (Some(pattern), None) => ("insertafter", pattern),
        (None, Some(pattern)) => ("insertbefore", pattern),
    };
    let pattern = regex::compile(pattern, Flags::default()).map_err(|e| PlanError::failed(format!("`{name}`: {e}")))?;
    let mut found = None;
    for (i, line) in lines.iter().enumerate() {
        if pattern.is_match(bare(line)).map_err(|e| PlanError::failed(format!("matching failed: {e}")))? {
            found = Some(i);
        }
    }
    Ok(match found {
        Some(i) if name == "insertafter" => i + 1,
        Some(i) => i,
        None => lines.len(),
    })
}

/// A line without its line break.
fn bare(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}
