//! `sysctl`: kernel parameters, now and at the next boot.

use super::at_boot::{sysctl_at_boot, sysctl_files};
use super::draft::Draft;
use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError, args::boolean, draft, paths};
use crate::host::change::{SetSysctl, WriteFile};
use crate::host::{Change, View, ViewError, normalise, same_value, sysctl_path};
use serde_json::{Value as Json, json};
use std::path::Path;

/// The module's description.
pub const MODULE: Module = Module {
    name: "sysctl",
    collections: &["ansible.posix"],
    aliases: &[],
    doc: "Sets a kernel parameter: in the running kernel and, for the next boot, in a file of sysctl.conf(5).\n\
          Stricter than Ansible's: `sysctl -p` is never run, so other lines of the file have no effect; the parameter itself \
          is set first, read back, and only then written to the file, so that a name or value the kernel does not take never \
          stays there. A parameter the kernel does not have fails in a dry run too. Where another file's line wins at the next boot, a \
          warning names it.",
    args: &[
        Arg::new("name", Kind::Str, "the parameter, `net.core.somaxconn` or `net/core/somaxconn`").required().alias(&["key"]),
        Arg::new("value", Kind::Str, "its value; blanks between fields count as one").alias(&["val"]),
        Arg::new("state", Kind::Choice(&["present", "absent"]), "whether the file has it; `absent` leaves the running kernel alone")
            .default("present"),
        Arg::new("sysctl_file", Kind::Path, "the file; its folder must exist").default(FILE),
        Arg::new("reload", Kind::Bool, "set it in the running kernel too").default("yes"),
        Arg::new("sysctl_set", Kind::Bool, "set it in the running kernel whatever `reload` says").default("no"),
        Arg::new("ignoreerrors", Kind::Bool, "a parameter the kernel does not have is only warned about").default("no"),
    ],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

const FILE: &str = "/etc/sysctl.conf";

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    let name = args.required("name")?.trim().to_owned();
    let path = sysctl_path(&name).map_err(PlanError::failed)?;
    let file = paths::absolute("sysctl_file", args.str("sysctl_file").unwrap_or(FILE), context)?;
    let present = args.str("state") != Some("absent");
    let value = match args.str("value").map(wanted) {
        Some(value) if !value.is_empty() => Some(value),
        _ if present => return Err(PlanError::failed(format!("`value` is needed to set {name}"))),
        _ => None,
    };
    let mut draft = Draft::new(context);
    let mut warnings = vec![];
    let live = args.bool("reload").unwrap_or(true) || args.bool("sysctl_set").unwrap_or(false);
    if let (true, true, Some(value)) = (present, live, &value) {
        let missing = draft.host.stat(&path, true)?.is_none();
        if missing && args.bool("ignoreerrors").unwrap_or(false) {
            warnings.push(format!("the kernel has no parameter {name} (yet): it is only written to {}", file.display()));
        } else if missing || !has(&draft.host, &path, value)? {
            draft.add(Change::SetSysctl(SetSysctl { key: name.clone(), value: value.clone() }))?;
        }
    }
    let before = draft.host.read_text_opt(&file)?;
    let after = edited(before.as_deref().unwrap_or_default(), &name, value.as_deref().filter(|_| present));
    if after != before.as_deref().unwrap_or_default() {
        draft.add(Change::WriteFile(WriteFile {
            path: file.clone(),
            content: after.into_bytes(),
            mode: before.is_none().then_some(0o644),
            uid: None,
            gid: None,
            backup: false,
            validate: None,
            secret: context.secret,
            follow: true,
        }))?;
    }
    if let (true, Some(value)) = (present, &value)
        && let Some((place, other)) = sysctl_at_boot(&sysctl_files(&draft.host), &name)
        && !same_value(&other, value)
    {
        warnings.push(format!("the next boot sets {name} to {other}: {place} wins over {}", file.display()));
    }
    let mut result = draft::fields(json!({"name": name, "state": if present { "present" } else { "absent" }}));
    result.extend(value.map(|v| ("value".to_owned(), Json::from(v))));
    Ok(Plan { warnings, ..draft.finish(result) })
}

/// The value as the kernel is given it: words for yes and no are 1 and 0.
fn wanted(value: &str) -> String {
    let value = normalise(value);
    match boolean(&Json::from(value.as_str())) {
        Some(yes) if !value.contains('.') => if yes { "1" } else { "0" }.into(),
        _ => value,
    }
}

/// Whether the running kernel has this value. What can't be read back (write-only parameters) counts as another.
fn has(view: &dyn View, path: &Path, value: &str) -> Result<bool, PlanError> {
    if view.stat(path, true)?.is_some_and(|s| s.mode & 0o444 == 0) {
        return Ok(false);
    }
    match view.read_text(path) {
        Ok(text) => Ok(same_value(&normalise(&text), value)),
        Err(ViewError::NotFound(_)) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Name and value of a line of sysctl.conf(5); `None`: a comment or nothing.
pub fn setting(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.starts_with(['#', ';']) {
        return None;
    }
    let (name, value) = line.split_once('=')?;
    // A dash tells sysctl(8) to ignore errors.
    Some((name.trim().trim_start_matches('-').trim_start(), value.trim()))
}

/// Whether two names, with dots or slashes, are one parameter's.
pub fn same_name(a: &str, b: &str) -> bool {
    a == b || matches!((sysctl_path(a), sysctl_path(b)), (Ok(a), Ok(b)) if a == b)
}

/// The file's text with `name` set to `value`, or without it. The last of several lines is the one that counts; if it
/// is right already, nothing changes. Otherwise the first becomes the new one and the others go.
fn edited(text: &str, name: &str, value: Option<&str>) -> String {
    let is_it = |line: &str| setting(line).filter(|(n, _)| same_name(n, name)).map(|(_, v)| normalise(v));
    let last = text.lines().filter_map(is_it).next_back();
    if last.as_deref() == value {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut new = value.map(|v| format!("{name}={v}\n"));
    for line in text.split_inclusive('\n') {
        match (is_it(line), &mut new) {
            (None, _) => out.push_str(line),
            (Some(_), new) => {
                if let Some(new) = new.take() {
                    out.push_str(if line.trim_start().starts_with('-') { "-" } else { "" });
                    out.push_str(&new);
                }
            }
        }
    }
    if let Some(new) = new {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(&new);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_replaced_in_place() {
        let cases: [(&str, &str, Option<&str>, &str); 9] = [
            ("", "a.b", Some("1"), "a.b=1\n"),
            ("# x\na.b = 2\nc=3", "a.b", Some("1"), "# x\na.b=1\nc=3"),
            ("c=3", "a.b", Some("1"), "c=3\na.b=1\n"),
            ("a.b = 1\n", "a.b", Some("1"), "a.b = 1\n"),
            ("a/b = 1\n", "a.b", Some("1"), "a/b = 1\n"),
            ("a.b=1\n#a.b=5\na.b=2\n", "a.b", Some("1"), "a.b=1\n#a.b=5\n"),
            ("-a.b=2\n", "a.b", Some("1"), "-a.b=1\n"),
            ("x=1\na.b=1\na.b=2\n", "a.b", None, "x=1\n"),
            ("a.b = 4096\t87380   16777216\n", "a.b", Some("4096 87380 16777216"), "a.b = 4096\t87380   16777216\n"),
        ];
        for (before, name, value, after) in cases {
            assert_eq!(edited(before, name, value), after, "{before:?}");
        }
    }

    #[test]
    fn words_for_yes_and_no_are_numbers() {
        assert_eq!((wanted("yes"), wanted("False"), wanted(" 4096  1 ")), ("1".into(), "0".into(), "4096 1".into()));
    }
}
