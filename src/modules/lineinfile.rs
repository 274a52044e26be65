//! `lineinfile`: one line of a file.

use super::attributes::{Put, Wanted, describe, put, with_attributes};
use super::draft::{Draft, fields};
use super::file::make_directories;
use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError, paths};
use crate::host::{FileKind, View};
use crate::template::{Flags, Pattern, TooCostly, regex};
use serde_json::json;

/// The module's description.
pub const MODULE: Module = Module {
    name: "lineinfile",
    collections: super::BUILTIN,
    aliases: &[],
    doc: "Makes sure that a line is in a file, or that matching lines are not.\n\
          With `regexp` or `search_string`, the last matching line is replaced. Where none matches, the line is added unless it \
          is there already: at the end, or where `insertafter` or `insertbefore` say. Patterns are in Python's syntax.",
    args: with_attributes![
        Arg::new("path", Kind::Path, "the file").required().alias(&["dest", "destfile", "name"]),
        Arg::new("line", Kind::Str, "the line").alias(&["value"]),
        Arg::new("regexp", Kind::Str, "pattern of the line to replace or remove").alias(&["regex"]),
        Arg::new("search_string", Kind::Str, "plain text that the line to replace or remove holds"),
        Arg::new("state", Kind::Choice(&["present", "absent"]), "whether it is there").default("present"),
        Arg::new("backrefs", Kind::Bool, "fill `\\1` and the like in `line` from the match; without a match, do nothing").default("no"),
        Arg::new("insertafter", Kind::Str, "add behind the last line that matches this pattern, or at `EOF` or `BOF`").default("EOF"),
        Arg::new("insertbefore", Kind::Str, "add before the last line that matches this pattern, or at `BOF`"),
        Arg::new("firstmatch", Kind::Bool, "take the first match in place of the last").default("no"),
        Arg::new("create", Kind::Bool, "create the file, and its folder, if it does not exist").default("no"),
        Arg::new("backup", Kind::Bool, "keep a copy of the old file beside it").default("no"),
        Arg::new("validate", Kind::Str, "a command that checks the new file (`%s`) before it takes its place"),
        Arg::new("encoding", Kind::Str, "only `utf-8` is supported").default("utf-8"),
    ],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    super::attributes::refuse(args, &[("encoding", Some(json!("utf-8")), "files are read and written as UTF-8")])?;
    let path = paths::required(args, "path", context)?;
    let wanted = Wanted::read(args, context)?;
    let edit = Edit::read(args)?;
    let mut draft = Draft::new(context);
    let stat = draft.host.stat(&path, true)?;
    if stat.as_ref().is_some_and(|s| s.kind == FileKind::Directory) {
        return Err(PlanError::failed(format!("{} is a directory", path.display())));
    }
    let before = match &stat {
        Some(_) => draft.host.read_text(&path)?,
        None if edit.line.is_none() => return Ok(super::draft::just(json!({"msg": "file not present", "found": 0}))),
        None if args.bool("create").unwrap_or(false) => {
            let folder = path.parent().unwrap_or(&path);
            make_directories(&mut draft, folder, &Wanted::default())?;
            String::new()
        }
        None => return Err(PlanError::failed(format!("{} does not exist; `create: true` creates it", path.display()))),
    };
    let (after, found, msg) = match &edit.line {
        Some(line) => {
            let (after, msg) = edit.present(line, &before)?;
            (after, None, msg)
        }
        None => {
            let (after, found) = edit.absent(&before)?;
            (after, Some(found), if found == 0 { String::new() } else { format!("{found} line(s) removed") })
        }
    };
    let content = (after != before).then(|| after.into_bytes());
    // With `backrefs` and no match, even a missing file stays missing.
    let validate = args.str("validate").map(str::to_owned);
    let backup = args.bool("backup").unwrap_or(false);
    put(&mut draft, &path, Put { content, wanted: &wanted, backup, validate, secret: context.secret, follow: true })?;
    if draft.host.stat(&path, true)?.is_none() {
        draft = Draft::new(context);
    }
    let mut result = fields(json!({"msg": msg, "path": path}));
    if let Some(found) = found {
        result.insert("found".into(), json!(found));
    }
    describe(&draft.host, &path, true, &mut result);
    Ok(draft.finish(result))
}

/// Where a line goes that replaces none.
enum Place {
    Start,
    End,
    After(Pattern),
    Before(Pattern),
}

/// Which lines are meant.
enum Which {
    Pattern(Box<Pattern>),
    Text(String),
    /// Those equal to the line given.
    Equal(Option<String>),
}

struct Edit {
    /// The line there should be; `None`: those that match should not.
    line: Option<String>,
    which: Which,
    place: Place,
    backrefs: bool,
    first: bool,
}

fn compile(name: &str, pattern: &str) -> Result<Pattern, PlanError> {
    regex::compile(pattern, Flags::default()).map_err(|e| PlanError::failed(format!("`{name}`: {e}")))
}

fn failed(e: TooCostly) -> PlanError {
    PlanError::failed(format!("matching failed: {e}"))
}

impl Edit {
    fn read(args: &Args) -> Result<Self, PlanError> {
        let (regexp, search) = (args.str("regexp"), args.str("search_string"));
        let backrefs = args.bool("backrefs").unwrap_or(false);
        if regexp.is_some() && search.is_some() {
            return Err(PlanError::failed("`regexp` and `search_string` exclude each other"));
        }
        let line = args.str("line").map(str::to_owned);
        let present = args.str("state") != Some("absent");
        if present && line.is_none() {
            return Err(PlanError::failed("`line` is needed with `state: present`"));
        }
        if present && backrefs && regexp.is_none() {
            return Err(PlanError::failed("`backrefs` needs `regexp`"));
        }
        if !present && regexp.is_none() && search.is_none() && line.is_none() {
            return Err(PlanError::failed("one of `line`, `regexp` and `search_string` is needed with `state: absent`"));
        }
        let which = match (regexp, search) {
            (Some(pattern), _) => Which::Pattern(Box::new(compile("regexp", pattern)?)),
            (None, Some(text)) => Which::Text(text.to_owned()),
            (None, None) => Which::Equal(line.clone()),
        };
        let place = match (args.str("insertafter"), args.str("insertbefore")) {
            (Some(_), Some(_)) => return Err(PlanError::failed("`insertafter` and `insertbefore` exclude each other")),
            (Some("BOF"), _) | (_, Some("BOF")) => Place::Start,
            (None | Some("EOF"), None) => Place::End,
            (Some(pattern), None) => Place::After(compile("insertafter", pattern)?),
            (None, Some(pattern)) => Place::Before(compile("insertbefore", pattern)?),
        };
        let first = args.bool("firstmatch").unwrap_or(false);
        Ok(Self { line: line.filter(|_| present), which, place, backrefs, first })
    }

    fn matches(&self, line: &str) -> Result<bool, PlanError> {
        Ok(match &self.which {
            Which::Pattern(pattern) => pattern.is_match(line).map_err(failed)?,
            Which::Text(text) => line.contains(text.as_str()),
            Which::Equal(wanted) => wanted.as_deref() == Some(line),
        })
    }

    /// The last line (or the first, if `firstmatch`) for which `holds`.
    fn find(&self, lines: &[&str], holds: impl Fn(&str) -> Result<bool, PlanError>) -> Result<Option<usize>, PlanError> {
        let mut found = None;
        for (i, line) in lines.iter().enumerate() {
            if holds(bare(line))? {
                found = Some(i);
                if self.first {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// The text with the line in it, and what was done.
    fn present(&self, line: &str, before: &str) -> Result<(String, String), PlanError> {
        let mut lines: Vec<&str> = before.split_inclusive('\n').collect();
        let matched = match self.which {
            Which::Equal(_) => None,
            _ => self.find(&lines, |l| self.matches(l))?,
        };
        // A match is replaced. Without one, a line that is there already stays where it is.
        let replaced = match matched {
            Some(i) => Some(i),
            None => lines.iter().rposition(|l| bare(l) == line),
        };
        if let Some(i) = replaced {
            let old = lines.get(i).copied().unwrap_or_default();
            let mut new = line.to_owned();
            if let (true, Some(_), Which::Pattern(pattern)) = (self.backrefs, matched, &self.which)
                && let Some(found) = pattern.search(bare(old)).map_err(failed)?
            {
                new = regex::expand(line, &found);
            }
            if !new.ends_with('\n') {
                new.push('\n');
            }
            if old == new {
                return Ok((before.to_owned(), String::new()));
            }
            if let Some(slot) = lines.get_mut(i) {
                *slot = &new;
            }
            return Ok((lines.concat(), "line replaced".into()));
        }
        if self.backrefs {
            return Ok((before.to_owned(), String::new()));
        }
        let at = match &self.place {
            Place::Start => Some(0),
            Place::End => None,
            Place::After(pattern) => self.find(&lines, |l| pattern.is_match(l).map_err(failed))?.map(|i| i + 1),
            Place::Before(pattern) => self.find(&lines, |l| pattern.is_match(l).map_err(failed))?,
        };
        let at = at.unwrap_or(lines.len());
        let new = format!("{line}\n");
        // A last line without a line break gets one before anything follows it.
        let gap = if at == lines.len() && !before.is_empty() && !before.ends_with('\n') { "\n" } else { "" };
        let (head, tail) = lines.split_at(at.min(lines.len()));
        Ok(([head.concat().as_str(), gap, &new, tail.concat().as_str()].concat(), "line added".into()))
    }

    /// The text without the lines meant, and how many those were.
    fn absent(&self, before: &str) -> Result<(String, usize), PlanError> {
        let mut after = String::new();
        let mut found = 0;
        for line in before.split_inclusive('\n') {
            if self.matches(bare(line))? {
                found += 1;
            } else {
                after.push_str(line);
            }
        }
        Ok((after, found))
    }
}

/// A line without its line break.
fn bare(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}
