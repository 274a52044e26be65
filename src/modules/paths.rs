//! Paths as arguments: `~` and variables expanded, patterns matched.

use super::{Args, Context, PlanError};
use crate::host::identity::User;
use crate::host::{FileKind, View, ViewError};
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

/// Whether `name` matches the shell pattern: `*`, `?`, `[a-z]`, `[!a-z]`.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // Where to go on when what follows the last `*` does not match: (pattern, name).
    let mut back: Option<(usize, usize)> = None;
    let (mut p, mut n) = (0, 0);
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            back = Some((p + 1, n));
            p += 1;
            continue;
        }
        if let Some(next) = name.get(n).and_then(|c| one(&pattern, p, *c)) {
            (p, n) = (next, n + 1);
            continue;
        }
        match back {
            Some((after, from)) => {
                back = Some((after, from + 1));
                (p, n) = (after, from + 1);
            }
            None => return false,
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

/// The place in the pattern behind what matches `c` at `p`; `None`: it does not match.
fn one(pattern: &[char], p: usize, c: char) -> Option<usize> {
    match pattern.get(p)? {
        '?' => Some(p + 1),
        '[' => {
            let negated = matches!(pattern.get(p + 1), Some('!' | '^'));
            let start = p + 1 + usize::from(negated);
            // A `]` right at the start is one of the characters.
            let end = pattern.iter().enumerate().skip(start + 1).find(|(_, c)| **c == ']').map(|(i, _)| i);
            let Some(end) = end else { return (c == '[').then_some(p + 1) };
            let set = pattern.get(start..end)?;
            let mut inside = false;
            let mut i = 0;
            while let Some(from) = set.get(i) {
                match (set.get(i + 1), set.get(i + 2)) {
                    (Some('-'), Some(to)) => {
                        inside |= (*from..=*to).contains(&c);
                        i += 3;
                    }
                    _ => {
                        inside |= *from == c;
                        i += 1;
                    }
                }
            }
            (inside != negated).then_some(end + 1)
        }
        other => (*other == c).then_some(p + 1),
    }
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
            let names = view.list(&folder)?.into_iter().filter(|n| matches(part, n) && (part.starts_with('.') || !n.starts_with('.')));
            next.extend(names.map(|n| folder.join(n)));
        }
        found = next;
    }
    Ok(!found.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_patterns_match_as_in_a_shell() {
        for (pattern, name, wanted) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.d", false),
            ("a?c", "abc", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("a*b*c", "axxbxxbc", true),
            ("[", "[", true),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, name), wanted, "{pattern} {name}");
        }
    }
}
