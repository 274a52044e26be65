//! `find`: files below folders, by name, age, size, content.

use super::draft::fields;
use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError, attributes, checksum, paths, stat};
use crate::host::glob;
use crate::host::{FileKind, Stat};
use crate::template::{Flags, Pattern, TooCostly, regex};
use serde_json::{Map, Value as Json, json};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The module's description.
pub const MODULE: Module = Module {
    name: "find",
    collections: super::BUILTIN,
    aliases: &[],
    doc: "Finds files below folders, and returns what `stat` would tell of each.\nFolders that can't be read are named under `skipped_paths`.",
    args: &[
        Arg::new("paths", Kind::StrList, "the folders").required().alias(&["name", "path"]),
        Arg::new("patterns", Kind::StrList, "names to find: shell patterns, or Python's with `use_regex`").alias(&["pattern"]).default("*"),
        Arg::new("excludes", Kind::StrList, "names to leave out, written as `patterns`").alias(&["exclude"]),
        Arg::new("use_regex", Kind::Bool, "`patterns` and `excludes` are regular expressions, matched from the start of names")
            .default("no"),
        Arg::new("file_type", Kind::Choice(&["any", "directory", "file", "link"]), "what to find").default("file"),
        Arg::new("recurse", Kind::Bool, "look into folders below too").default("no"),
        Arg::new("depth", Kind::Int, "how many levels to look into; 1: only the folders themselves").default("no limit"),
        Arg::new("hidden", Kind::Bool, "find names that begin with a dot, and look into such folders").default("no"),
        Arg::new("follow", Kind::Bool, "look into linked folders").default("no"),
        Arg::new("age", Kind::Str, "at least this old; `-` before it: at most. Seconds, or with one of s, m, h, d, w"),
        Arg::new("age_stamp", Kind::Choice(&["atime", "ctime", "mtime"]), "which time counts as age").default("mtime"),
        Arg::new("size", Kind::Str, "at least this large; `-` before it: at most. Bytes, or with one of b, k, m, g, t"),
        Arg::new("contains", Kind::Str, "only files with a line that matches this pattern from its start"),
        Arg::new("read_whole_file", Kind::Bool, "`contains` is searched in the whole file at once").default("no"),
        Arg::new("mode", Kind::Mode, "only with these permissions"),
        Arg::new("exact_mode", Kind::Bool, "`mode` must be all there is; `false`: any of its bits").default("yes"),
        Arg::new("get_checksum", Kind::Bool, "return the checksum of each file").default("no"),
        Arg::new("checksum_algorithm", Kind::Choice(checksum::ALGORITHMS), "which checksum; there is no md5")
            .alias(&["checksum", "checksum_algo"])
            .default("sha1"),
        Arg::new("limit", Kind::Int, "stop after as many"),
    ],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

/// What names must match.
enum Names {
    Shell(Vec<String>),
    Regex(Vec<Pattern>),
}

impl Names {
    fn read(args: &Args, name: &str) -> Result<Option<Self>, PlanError> {
        let Some(patterns) = args.str_list(name) else { return Ok(None) };
        if !args.bool("use_regex").unwrap_or(false) {
            return Ok(Some(Self::Shell(patterns)));
        }
        let compile = |p: &String| regex::compile(p, Flags::default()).map_err(|e| PlanError::failed(format!("`{name}`: {e}")));
        Ok(Some(Self::Regex(patterns.iter().map(compile).collect::<Result<_, _>>()?)))
    }

    fn hit(&self, name: &str) -> Result<bool, PlanError> {
        match self {
            Self::Shell(patterns) => Ok(patterns.iter().any(|p| glob::matches(p, name))),
            Self::Regex(patterns) => {
                for pattern in patterns {
                    if pattern.match_start(name).map_err(failed)?.is_some() {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

fn failed(e: TooCostly) -> PlanError {
    PlanError::failed(format!("matching failed: {e}"))
}

/// A number with a unit: (at most rather than at least, number in the smallest unit).
fn measure(name: &str, text: &str, units: &[(char, f64)]) -> Result<(bool, f64), PlanError> {
    let (most, rest) = text.strip_prefix('-').map_or((false, text), |r| (true, r));
    let rest = rest.to_ascii_lowercase();
    let unit = units.iter().find(|(u, _)| rest.ends_with(*u));
    let digits = unit.map_or(rest.as_str(), |(u, _)| rest.trim_end_matches(*u));
    let number: f64 = digits.parse::<u32>().map(f64::from).map_err(|_| {
        let units: Vec<String> = units.iter().map(|(u, _)| u.to_string()).collect();
        PlanError::failed(format!("`{name}: {text}` is no whole number, with one of {} behind it", units.join(", ")))
    })?;
    Ok((most, number * unit.map_or(1.0, |(_, factor)| *factor)))
}

struct Search<'c, 'a> {
    args: &'a Args,
    context: &'a Context<'c>,
    patterns: Option<Names>,
    excludes: Option<Names>,
    contains: Option<Pattern>,
    age: Option<(bool, f64)>,
    size: Option<(bool, f64)>,
    mode: Option<u32>,
    now: f64,
    files: Vec<Json>,
    examined: u64,
    skipped: Map<String, Json>,
    seen: HashSet<PathBuf>,
    limit: usize,
}

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    const TIMES: &[(char, f64)] = &[('s', 1.0), ('m', 60.0), ('h', 3600.0), ('d', 86_400.0), ('w', 604_800.0)];
    const SIZES: &[(char, f64)] = &[('b', 1.0), ('k', 1024.0), ('m', 1_048_576.0), ('g', 1_073_741_824.0), ('t', 1_099_511_627_776.0)];
    let contains = args.str("contains").map(|text| {
        let pattern = regex::compile(text, Flags::default());
        pattern.map_err(|e| PlanError::failed(format!("`contains`: {e}")))
    });
    let mode = args.str("mode").map(|m| attributes::apply_mode(m, 0, false, 0).map_err(PlanError::failed)).transpose()?;
    let mut search = Search {
        args,
        context,
        patterns: Names::read(args, "patterns")?,
        excludes: Names::read(args, "excludes")?,
        contains: contains.transpose()?,
        age: args.str("age").map(|t| measure("age", t, TIMES)).transpose()?,
        size: args.str("size").map(|t| measure("size", t, SIZES)).transpose()?,
        mode,
        now: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
        files: vec![],
        examined: 0,
        skipped: Map::new(),
        seen: HashSet::new(),
        limit: args.int("limit").and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX),
    };
    for path in args.str_list("paths").unwrap_or_default() {
        let folder = paths::absolute("paths", &path, context)?;
        match context.view.stat(&folder, true)? {
            Some(stat) if stat.kind == FileKind::Directory => search.walk(&folder, 1)?,
            _ => {
                search.skipped.insert(path.clone(), json!(format!("'{path}' is not a directory")));
            }
        }
    }
    let msg = if search.skipped.is_empty() { "All paths examined" } else { "Not all paths examined, check skipped_paths" };
    let result = fields(json!({
        "files": search.files, "matched": search.files.len(), "examined": search.examined,
        "skipped_paths": search.skipped, "msg": msg,
    }));
    Ok(Plan { result, ..Plan::default() })
}

impl Search<'_, '_> {
    fn walk(&mut self, folder: &Path, level: i64) -> Result<(), PlanError> {
        let view = self.context.view;
        if !self.seen.insert(crate::host::Overlay::new(view).resolve(folder, true)?) {
            return Ok(());
        }
        let names = match view.list(folder) {
            Ok(names) => names,
            Err(e @ crate::host::ViewError::Unknown(_)) => return Err(e.into()),
            Err(e) => {
                self.skipped.insert(folder.to_string_lossy().into_owned(), json!(e.to_string()));
                return Ok(());
            }
        };
        let follow = self.args.bool("follow").unwrap_or(false);
        let deeper = self.args.bool("recurse").unwrap_or(false) && self.args.int("depth").is_none_or(|d| d <= 0 || level < d);
        for name in names {
            if self.files.len() >= self.limit {
                return Ok(());
            }
            if name.starts_with('.') && !self.args.bool("hidden").unwrap_or(false) {
                continue;
            }
            let path = folder.join(&name);
            let Some(stat) = view.stat(&path, false)? else { continue };
            self.examined += 1;
            if self.wanted(&name, &path, &stat)? {
                self.found(&path, &stat)?;
            }
            let enter = match stat.kind {
                FileKind::Directory => true,
                FileKind::Symlink if follow => view.stat(&path, true)?.is_some_and(|s| s.kind == FileKind::Directory),
                _ => false,
            };
            if enter && deeper {
                self.walk(&path, level + 1)?;
            }
        }
        Ok(())
    }

    fn wanted(&self, name: &str, path: &Path, stat: &Stat) -> Result<bool, PlanError> {
        let kind = match self.args.str("file_type").unwrap_or("file") {
            "any" => true,
            "directory" => stat.kind == FileKind::Directory,
            "link" => stat.kind == FileKind::Symlink,
            _ => stat.kind == FileKind::File,
        };
        if !kind
            || !self.patterns.as_ref().map_or(Ok(true), |p| p.hit(name))?
            || self.excludes.as_ref().map_or(Ok(false), |p| p.hit(name))?
        {
            return Ok(false);
        }
        let time = match self.args.str("age_stamp").unwrap_or("mtime") {
            "atime" => stat.atime,
            "ctime" => stat.ctime,
            _ => stat.mtime,
        };
        let fits = |limit: Option<(bool, f64)>, value: f64| match limit {
            None => true,
            Some((true, most)) => value <= most,
            Some((false, least)) => value >= least,
        };
        let mode = match self.mode {
            None => true,
            Some(mode) if self.args.bool("exact_mode").unwrap_or(true) => stat.mode == mode,
            Some(mode) => stat.mode & mode != 0,
        };
        if !mode || !fits(self.age, self.now - time) || !fits(self.size, stat.size as f64) {
            return Ok(false);
        }
        let Some(pattern) = self.contains.as_ref() else { return Ok(true) };
        if stat.kind != FileKind::File {
            return Ok(false);
        }
        let bytes = self.context.view.read(path)?;
        let text = String::from_utf8_lossy(&bytes);
        if self.args.bool("read_whole_file").unwrap_or(false) {
            return pattern.is_match(text.as_ref()).map_err(failed);
        }
        for line in text.lines() {
            if pattern.match_start(line).map_err(failed)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn found(&mut self, path: &Path, stat: &Stat) -> Result<(), PlanError> {
        let mut entry = stat::describe(path, stat, self.context)?;
        entry.remove("exists");
        if self.args.bool("get_checksum").unwrap_or(false) && stat.kind == FileKind::File {
            let bytes = self.context.view.read(path)?;
            entry.insert("checksum".into(), json!(checksum::by(self.args.str("checksum_algorithm").unwrap_or("sha1"), &bytes)));
        }
        self.files.push(Json::Object(entry));
        Ok(())
    }
}
