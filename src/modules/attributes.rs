//! Mode, owner and group as arguments, which most file modules share, and what results say about a file.

use super::draft::Draft;
use super::{Arg, Args, Context, Kind, PlanError};
use crate::host::change::{SetAttributes, WriteFile};
use crate::host::identity::{Group, User, group_name, user_name};
use crate::host::{Change, FileKind, Stat, View, umask};
use serde_json::{Map, Value as Json, json};
use std::path::Path;

/// `mode`.
pub(super) const MODE: Arg = Arg::new(
    "mode",
    Kind::Mode,
    "permissions: octal (quote it: '0644') or symbolic (`u=rwX,g-w`); not given: new files get 0666 less the umask, others keep theirs",
);
/// `owner`.
pub(super) const OWNER: Arg = Arg::new("owner", Kind::Str, "the owner, by name or number");
/// `group`.
pub(super) const GROUP: Arg = Arg::new("group", Kind::Str, "the group, by name or number");
/// Arguments of Ansible's that no Ubuntu host for AIStore needs: named so that they are refused, not overlooked.
pub(super) const SEUSER: Arg = Arg::new("seuser", Kind::Str, "refused: SELinux contexts are not set");
/// See [`SEUSER`].
pub(super) const SEROLE: Arg = Arg::new("serole", Kind::Str, "refused: SELinux contexts are not set");
/// See [`SEUSER`].
pub(super) const SETYPE: Arg = Arg::new("setype", Kind::Str, "refused: SELinux contexts are not set");
/// See [`SEUSER`].
pub(super) const SELEVEL: Arg = Arg::new("selevel", Kind::Str, "refused: SELinux contexts are not set");
/// See [`SEUSER`].
pub(super) const ATTRIBUTES: Arg = Arg::new("attributes", Kind::Str, "refused: file attributes of chattr(1) are not set").alias(&["attr"]);
/// See [`SEUSER`].
pub(super) const UNSAFE_WRITES: Arg =
    Arg::new("unsafe_writes", Kind::Bool, "`true` is refused: files are always replaced atomically").default("no");

/// A module's arguments, followed by those every file module has.
macro_rules! with_attributes {
    ($($arg:expr),* $(,)?) => {{
        use $crate::modules::attributes as a;
        &[$($arg,)* a::MODE, a::OWNER, a::GROUP, a::SEUSER, a::SEROLE, a::SETYPE, a::SELEVEL, a::ATTRIBUTES, a::UNSAFE_WRITES]
    }};
}
pub(super) use with_attributes;

/// `mode: preserve`: as the source's.
pub(super) const PRESERVE: &str = "preserve";

/// What a task wants a file's attributes to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// Mode as written.
    pub mode: Option<String>,
    /// Owner's number.
    pub uid: Option<u32>,
    /// Group's number.
    pub gid: Option<u32>,
}

/// Fails if an argument is given that can't be honoured: `(name, harmless value, why)`.
pub(super) fn refuse(args: &Args, refused: &[(&str, Option<Json>, &str)]) -> Result<(), PlanError> {
    for (name, harmless, why) in refused {
        if let Some(value) = args.get(name)
            && Some(value) != harmless.as_ref()
        {
            return Err(PlanError::failed(format!("argument `{name}: {value}` is not supported: {why}")));
        }
    }
    Ok(())
}

impl Wanted {
    /// Reads them from the arguments, refusing those that can't be honoured.
    pub fn read(args: &Args, context: &Context<'_>) -> Result<Self, PlanError> {
        let selinux = "SELinux contexts are not set";
        refuse(
            args,
            &[
                ("seuser", None, selinux),
                ("serole", None, selinux),
                ("setype", None, selinux),
                ("selevel", None, selinux),
                ("attributes", None, "file attributes of chattr(1) are not set"),
                ("unsafe_writes", Some(json!(false)), "files are always replaced atomically"),
            ],
        )?;
        let mode = args.str("mode").map(str::to_owned);
        if let Some(mode) = mode.as_deref().filter(|m| *m != PRESERVE) {
            apply_mode(mode, 0, false, 0o022).map_err(PlanError::failed)?;
        }
        let uid = args.str("owner").map(|name| uid(context.view, name)).transpose()?;
        let gid = args.str("group").map(|name| gid(context.view, name)).transpose()?;
        Ok(Self { mode, uid, gid })
    }

    /// The mode something with `base` gets.
    pub fn mode(&self, base: u32, directory: bool, view: &dyn View) -> Result<Option<u32>, PlanError> {
        self.mode.as_deref().map(|m| apply_mode(m, base, directory, umask(view)).map_err(PlanError::failed)).transpose()
    }

    /// The change that gives what is at `path` these attributes; `None`: it has them.
    pub fn missing(&self, path: &Path, stat: &Stat, follow: bool, view: &dyn View) -> Result<Option<Change>, PlanError> {
        // Links have no mode of their own.
        let mode = if stat.kind == FileKind::Symlink { None } else { self.mode(stat.mode, stat.kind == FileKind::Directory, view)? };
        let mode = mode.filter(|m| *m != stat.mode);
        let (uid, gid) = (self.uid.filter(|u| *u != stat.uid), self.gid.filter(|g| *g != stat.gid));
        if mode.is_none() && uid.is_none() && gid.is_none() {
            return Ok(None);
        }
        // Setting an owner takes setuid and setgid bits away: they are asked for again.
        let special = stat.mode & 0o6000 != 0 && stat.kind != FileKind::Symlink && stat.kind != FileKind::Directory;
        let mode = mode.or_else(|| special.then_some(stat.mode));
        Ok(Some(Change::SetAttributes(SetAttributes { path: path.to_owned(), mode, uid, gid, follow })))
    }
}

/// The number of the user `name`.
fn uid(view: &dyn View, name: &str) -> Result<u32, PlanError> {
    match User::lookup(view, name)? {
        Some(user) => Ok(user.uid),
        None => name.parse().map_err(|_| PlanError::failed(format!("there is no user `{name}` on this host: create it first"))),
    }
}

/// The number of the group `name`.
fn gid(view: &dyn View, name: &str) -> Result<u32, PlanError> {
    match Group::lookup(view, name)? {
        Some(group) => Ok(group.gid),
        None => name.parse().map_err(|_| PlanError::failed(format!("there is no group `{name}` on this host: create it first"))),
    }
}

/// `mode` applied to `base`: octal digits replace it; clauses such as `u=rwX,g-w` change it.
pub(super) fn apply_mode(mode: &str, base: u32, directory: bool, umask: u32) -> Result<u32, String> {
    let wrong = || format!("`{mode}` is no file mode: write octal digits in quotes ('0644') or symbols (u=rw,go=r)");
    let digits = mode.strip_prefix("0o").unwrap_or(mode);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return u32::from_str_radix(digits, 8).ok().filter(|m| *m <= 0o7777).ok_or_else(wrong);
    }
    let mut result = base & 0o7777;
    for clause in mode.split(',') {
        let split = clause.find(['+', '-', '=']).ok_or_else(wrong)?;
        let (who, mut actions) = clause.split_at(split);
        if !who.chars().all(|c| "ugoa".contains(c)) {
            return Err(wrong());
        }
        // Without a class, all are meant, but for what the umask masks: as chmod(1).
        let (classes, mask) = if who.is_empty() { ("ugo", !umask & 0o777) } else { (if who.contains('a') { "ugo" } else { who }, 0o777) };
        while let Some(op) = actions.chars().next() {
            let rest = actions.get(1..).unwrap_or_default();
            let (letters, after) = rest.split_at(rest.find(['+', '-', '=']).unwrap_or(rest.len()));
            actions = after;
            let executable = directory || result & 0o111 != 0;
            for class in classes.chars() {
                let shift = shift(class);
                let mut bits = 0;
                let mut special = 0;
                for letter in letters.chars() {
                    match letter {
                        'r' => bits |= 4,
                        'w' => bits |= 2,
                        'x' => bits |= 1,
                        'X' if executable => bits |= 1,
                        'X' => {}
                        's' if class == 'u' => special |= 0o4000,
                        's' if class == 'g' => special |= 0o2000,
                        's' => {}
                        't' => special |= 0o1000,
                        'u' | 'g' | 'o' if letters.len() == 1 => bits |= (base >> self::shift(letter)) & 7,
                        _ => return Err(wrong()),
                    }
                }
                let bits = ((bits << shift) & mask) | special;
                match op {
                    '+' => result |= bits,
                    '-' => result &= !bits,
                    _ => {
                        let special = match class {
                            'u' => 0o4000,
                            'g' => 0o2000,
                            _ => 0,
                        };
                        let cleared = (7 << shift) | special;
                        // A directory keeps its setuid and setgid bits unless they are named, as with chmod(1).
                        let keep = if directory && class != 'o' { result & 0o6000 } else { 0 };
                        result = (result & !cleared) | bits | keep;
                    }
                }
            }
        }
    }
    Ok(result)
}

/// Where a class's bits stand.
fn shift(class: char) -> u32 {
    match class {
        'u' => 6,
        'g' => 3,
        _ => 0,
    }
}

/// Content and attributes a file should have.
pub(super) struct Put<'p> {
    /// New content; `None`: as it is.
    pub content: Option<Vec<u8>>,
    /// Attributes.
    pub wanted: &'p Wanted,
    /// Keep a copy of the old file.
    pub backup: bool,
    /// Check of the new content.
    pub validate: Option<String>,
    /// Content must not be shown.
    pub secret: bool,
    /// A link at the place is written through. Where not, there is none, and none may be put there meanwhile.
    pub follow: bool,
}

/// Adds what is missing for the file at `path` to be so.
pub(super) fn put(draft: &mut Draft<'_>, path: &Path, put: Put<'_>) -> Result<(), PlanError> {
    let stat = draft.host.stat(path, true)?;
    match (put.content, stat) {
        (Some(content), stat) => {
            let base = stat.as_ref().map_or_else(|| 0o666 & !umask(&draft.host), |s| s.mode);
            let mode = put.wanted.mode(base, false, &draft.host)?;
            draft.add(Change::WriteFile(WriteFile {
                path: path.to_owned(),
                content,
                mode,
                uid: put.wanted.uid,
                gid: put.wanted.gid,
                backup: put.backup,
                validate: put.validate,
                secret: put.secret,
                follow: put.follow,
            }))
        }
        (None, Some(stat)) => match put.wanted.missing(path, &stat, put.follow, &draft.host)? {
            Some(change) => draft.add(change),
            None => Ok(()),
        },
        (None, None) => Ok(()),
    }
}

/// A word for what is there, as results of Ansible's `file` have it.
pub(super) fn state_word(stat: &Stat) -> &'static str {
    match stat.kind {
        FileKind::Directory => "directory",
        FileKind::Symlink => "link",
        _ if stat.nlink > 1 => "hard",
        _ => "file",
    }
}

/// What results say about the file at `path` as the changes would leave it.
pub(super) fn describe(view: &dyn View, path: &Path, follow: bool, result: &mut Map<String, Json>) {
    // What a dry run can't know is left out.
    let Ok(Some(stat)) = view.stat(path, follow) else { return };
    result.insert("mode".into(), json!(format!("{:04o}", stat.mode)));
    result.insert("uid".into(), json!(stat.uid));
    result.insert("gid".into(), json!(stat.gid));
    result.insert("owner".into(), json!(user_name(view, stat.uid)));
    result.insert("group".into(), json!(group_name(view, stat.gid)));
    result.insert("size".into(), json!(stat.size));
    result.insert("state".into(), json!(state_word(&stat)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_as_chmod_reads_them() {
        for (mode, base, directory, wanted) in [
            ("0644", 0o777, false, 0o644),
            ("2775", 0, true, 0o2775),
            ("u=rwX,g=rX,o=", 0o600, false, 0o640),
            ("u=rwX,g=rX,o=", 0o600, true, 0o750),
            ("a+x", 0o644, false, 0o755),
            ("+x", 0o644, false, 0o755),
            ("+w", 0o444, false, 0o644),
            ("g-w,o-rwx", 0o777, false, 0o750),
            ("g=u", 0o740, false, 0o770),
            ("u+s,g+s", 0o755, false, 0o6755),
            ("+t", 0o777, true, 0o1777),
            ("o=r", 0o777, false, 0o774),
            ("u+rw-x", 0o100, false, 0o600),
            ("g=rx", 0o2770, true, 0o2750),
        ] {
            assert_eq!(apply_mode(mode, base, directory, 0o022).unwrap(), wanted, "{mode} on {base:o}");
        }
        for wrong in ["", "u", "u=q", "z+r", "0999", "77777", "u=rw,"] {
            assert!(apply_mode(wrong, 0, false, 0o022).is_err(), "{wrong}");
        }
    }
}
