//! Paths as arguments: `~` and variables expanded, patterns matched.

use super::{Args, Context, PlanError};
use crate::host::change::MakeDirectory;
use crate::host::glob;
use crate::host::identity::User;
use crate::host::{Change, FileKind, View, ViewError};
use std::path::{Path, PathBuf};

/// `~`, `~user`, `$NAME` and `${NAME}` replaced; what is not known stays as it is, as Python's `os.path` does it.
pub(super) fn expand(text: &str, context: &Context<'_>) -> Result<String, PlanError> {
    let text = variables(text, context);
    let Some(rest) = text.strip_prefix('~') else { return Ok(text) };
    let (name, tail) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let home = if name.is_empty() {
        Some(context.user.3.to_owned())
    } else {
        User::lookup(context.view, name)?.filter(|u| u.name == name).map(|u| u.home)
    };
    Ok(match home {
        Some(home) => format!("{}{tail}", home.trim_end_matches('/')),
        None => text,
    })
}

fn variables(text: &str, context: &Context<'_>) -> String {
    let value = |name: &str| match context.environment.iter().rev().find(|(k, _)| k == name) {
        Some((_, value)) => Some(value.as_str()),
        None => match name {
            "HOME" => Some(context.user.3),
            "USER" | "LOGNAME" => Some(context.user.2),
            _ => None,
        },
    };
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, tail) = match after.strip_prefix('{').and_then(|a| a.split_once('}')) {
            Some((name, tail)) => (name, tail),
            None => after.split_at(after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len())),
        };
        match value(name).filter(|_| !name.is_empty()) {
            Some(value) => {
                out.push_str(value);
                rest = tail;
            }
            None => {
                out.push('$');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// An argument that is an absolute path, expanded, without slashes at its end.
pub(super) fn absolute(name: &str, text: &str, context: &Context<'_>) -> Result<PathBuf, PlanError> {
    let text = expand(text, context)?;
    if text.starts_with('/') {
        let short = text.trim_end_matches('/');
        return Ok(PathBuf::from(if short.is_empty() { "/" } else { short }));
    }
    Err(PlanError::failed(format!("`{name}` must be an absolute path, not `{text}`")))
}

/// The path under the argument `name`, if it is given.
pub(super) fn path(args: &Args, name: &str, context: &Context<'_>) -> Result<Option<PathBuf>, PlanError> {
    args.str(name).map(|text| absolute(name, text, context)).transpose()
}

/// The path under the argument `name`, which must be given.
pub(super) fn required(args: &Args, name: &str, context: &Context<'_>) -> Result<PathBuf, PlanError> {
    absolute(name, args.required(name)?, context)
}

/// Whether anything matches the path, whose components may be shell patterns (without any, a dangling link is nothing).
pub(super) fn exists(view: &dyn View, path: &Path) -> Result<bool, ViewError> {
    let text = path.to_string_lossy();
    if !text.contains(['*', '?', '[']) {
        return Ok(view.stat(path, true)?.is_some());
    }
    let mut found = vec![PathBuf::from("/")];
    for part in text.split('/').filter(|p| !p.is_empty()) {
        let mut next = vec![];
        for folder in found {
            if !part.contains(['*', '?', '[']) {
                next.extend(view.stat(&folder.join(part), false)?.map(|_| folder.join(part)));
                continue;
            }
            if !matches!(view.stat(&folder, true)?, Some(s) if s.kind == FileKind::Directory) {
                continue;
            }
            // As in a shell, hidden names match only a pattern that begins with a dot.
            let names =
                view.list(&folder)?.into_iter().filter(|n| glob::matches(part, n) && (part.starts_with('.') || !n.starts_with('.')));
            next.extend(names.map(|n| folder.join(n)));
        }
        found = next;
    }
    Ok(!found.is_empty())
}

/// The folders of root's to make so that all of these are there, parents first.
pub(super) fn missing_folders<'p>(view: &dyn View, wanted: impl IntoIterator<Item = &'p Path>) -> Result<Vec<Change>, ViewError> {
    let mut made: Vec<&Path> = vec![];
    for target in wanted {
        let mut chain: Vec<&Path> = target.ancestors().collect();
        chain.reverse();
        for folder in chain {
            if !made.contains(&folder) && view.stat(folder, true)?.is_none() {
                made.push(folder);
            }
        }
    }
    let make = |path: &Path| Change::MakeDirectory(MakeDirectory { path: path.to_owned(), mode: Some(0o755), uid: Some(0), gid: Some(0) });
    Ok(made.into_iter().map(make).collect())
}
