//! `pam_limits`: limits that logins get.

use super::at_boot::conf_files;
use super::attributes::{Put, Wanted, put};
use super::draft::{Draft, fields};
use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError, paths};
use crate::host::View;
use serde_json::json;
use std::path::Path;

/// The module's description.
pub const MODULE: Module = Module {
    name: "pam_limits",
    collections: &["community.general"],
    aliases: &[],
    doc: "Sets a limit in a file of limits.conf(5), for sessions that begin after it.\n\
          A line for the same domain, type and item is replaced in place; the file is created if need be. Services of systemd \
          do not read these files: they have their own `LimitNOFILE=`. Where a later line wins, a warning names it.",
    args: &[
        Arg::new("domain", Kind::Str, "user, `@group`, `*`, or another word limits.conf(5) knows").required(),
        Arg::new("limit_type", Kind::Choice(&["hard", "soft", "-"]), "`-` is both").required(),
        Arg::new("limit_item", Kind::Choice(ITEMS), "what is limited").required(),
        Arg::new("value", Kind::Str, "a whole number, or `unlimited`, `infinity` or `-1`, which mean the same").required(),
        Arg::new("use_min", Kind::Bool, "keep the value that is there if it is smaller").default("no"),
        Arg::new("use_max", Kind::Bool, "keep the value that is there if it is larger").default("no"),
        Arg::new("dest", Kind::Path, "the file").default(FILE),
        Arg::new("comment", Kind::Str, "a comment to put behind a line that is written").default(""),
        Arg::new("backup", Kind::Bool, "keep a copy of the old file beside it").default("no"),
    ],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

const FILE: &str = "/etc/security/limits.conf";

/// As in limits.conf(5), pam 1.5.
const ITEMS: &[&str] = &[
    "core",
    "data",
    "fsize",
    "memlock",
    "nofile",
    "rss",
    "stack",
    "cpu",
    "nproc",
    "as",
    "maxlogins",
    "maxsyslogins",
    "priority",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "chroot",
];

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    let dest = paths::absolute("dest", args.str("dest").unwrap_or(FILE), context)?;
    let (use_min, use_max) = (args.bool("use_min").unwrap_or(false), args.bool("use_max").unwrap_or(false));
    if use_min && use_max {
        return Err(PlanError::failed("`use_min` and `use_max` exclude each other"));
    }
    let limit = Limit {
        domain: args.required("domain")?,
        kind: args.required("limit_type")?,
        item: args.required("limit_item")?,
        value: args.required("value")?.trim(),
        comment: args.str("comment").map(str::trim).filter(|c| !c.is_empty()),
        use_min,
        use_max,
    };
    if limit.domain.is_empty() || limit.domain.contains(|c: char| c.is_whitespace() || c == '#') {
        return Err(PlanError::failed(format!("`domain: {}` is no single word", limit.domain)));
    }
    if limit.comment.is_some_and(|c| c.contains('\n')) {
        return Err(PlanError::failed("`comment` must be a single line"));
    }
    if amount(limit.item, limit.value).is_none() {
        return Err(PlanError::failed(format!("`value: {}` is no limit: a whole number, unlimited, infinity or -1", limit.value)));
    }
    let mut draft = Draft::new(context);
    let before = draft.host.read_text_opt(&dest)?;
    let (after, line) = limit.edited(before.as_deref().unwrap_or_default())?;
    let content = (Some(&after) != before.as_ref()).then(|| after.into_bytes());
    let wanted = Wanted { mode: before.is_none().then(|| "0644".to_owned()), ..Wanted::default() };
    let backup = args.bool("backup").unwrap_or(false);
    put(&mut draft, &dest, Put { content, wanted: &wanted, backup, validate: None, secret: context.secret, follow: true })?;
    let mut files = vec![(FILE.to_owned(), draft.host.read_text_opt(Path::new(FILE))?.unwrap_or_default())];
    files.extend(conf_files(&draft.host, &["/etc/security/limits.d"]));
    let warnings = limit.overruled(&files, &dest);
    Ok(Plan { warnings, ..draft.finish(fields(json!({"msg": line, "dest": dest}))) })
}

struct Limit<'a> {
    domain: &'a str,
    kind: &'a str,
    item: &'a str,
    value: &'a str,
    comment: Option<&'a str>,
    use_min: bool,
    use_max: bool,
}

/// The amount a value stands for, unlimited as the largest there is; `None`: it stands for none. `nice` and `priority`
/// may be negative, -1 included.
fn amount(item: &str, value: &str) -> Option<i64> {
    match value {
        "unlimited" | "infinity" => Some(i64::MAX),
        "-1" if !matches!(item, "nice" | "priority") => Some(i64::MAX),
        _ => value.parse().ok().filter(|n| *n >= 0 || matches!(item, "nice" | "priority")),
    }
}

impl Limit<'_> {
    /// The file's text with the limit in it, and its line.
    fn edited(&self, text: &str) -> Result<(String, String), PlanError> {
        let mut out = String::new();
        let mut found = None;
        for line in text.split_inclusive('\n') {
            let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
            let value = match words.as_slice() {
                [domain, kind, item, value] if (*domain, *kind, *item) == (self.domain, self.kind, self.item) => *value,
                _ => {
                    out.push_str(line);
                    continue;
                }
            };
            let (old, asked) = (amount(self.item, value), amount(self.item, self.value));
            let keep = match (old, asked) {
                (Some(old), Some(asked)) => old == asked || (self.use_max && old > asked) || (self.use_min && old < asked),
                (None, _) if self.use_max || self.use_min => {
                    return Err(PlanError::failed(format!("`{}` in the file is no limit that could be compared", line.trim())));
                }
                _ => false,
            };
            if keep {
                out.push_str(line);
                found = Some(line.trim_end().to_owned());
            } else {
                out.push_str(&self.line());
                out.push('\n');
                found = Some(self.line());
            }
        }
        let line = match found {
            Some(line) => line,
            None => {
                if !out.is_empty() && !out.ends_with('\n') {
                    out.push('\n');
                }
                out.push_str(&self.line());
                out.push('\n');
                self.line()
            }
        };
        Ok((out, line))
    }

    /// What logins get instead, where a line for the same domain comes later in `files`, the files that pam_limits(8) reads. Lines
    /// for users win over those for groups, and these over `*`, wherever they stand: they are meant to.
    fn overruled(&self, files: &[(String, String)], dest: &Path) -> Vec<String> {
        let mut warnings = vec![];
        for kind in ["soft", "hard"].into_iter().filter(|k| self.kind == "-" || *k == self.kind) {
            let (mut own, mut last) = (None, None);
            for (path, text) in files {
                for (number, line) in text.lines().enumerate() {
                    let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
                    let [domain, other, item, value] = words[..] else { continue };
                    if (domain, item) != (self.domain, self.item) || (other != "-" && other != kind) {
                        continue;
                    }
                    let value = amount(item, value).ok_or(value);
                    if Path::new(path) == dest && other == self.kind {
                        own = Some(value);
                    }
                    last = Some((value, format!("{path}:{}: {}", number + 1, words.join(" "))));
                }
            }
            if let (Some(own), Some((value, line))) = (own, last)
                && own != value
            {
                warnings.push(format!("logins get another {kind} limit of {} for {}, by {line}", self.item, self.domain));
            }
        }
        warnings
    }

    fn line(&self) -> String {
        let comment = self.comment.map(|c| format!("\t#{c}")).unwrap_or_default();
        format!("{}\t{}\t{}\t{}{comment}", self.domain, self.kind, self.item, self.value)
    }
}
