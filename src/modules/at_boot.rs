//! Which of several files decides about a kernel parameter at the next boot, and about a limit at the next login.

use super::sysctl::{same_name, setting};
use crate::host::{View, glob, normalise};
use std::path::Path;

/// Where systemd-sysctl(8) reads; of files with one name the first folder's counts. /etc/sysctl.conf is read as the link
/// 99-sysctl.conf to it.
pub const SYSCTL_FOLDERS: [&str; 4] = ["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d"];

/// The line that decides about the parameter `name` at boot, as `file:line`, and its value. `files`: path and content of all
/// files of [`SYSCTL_FOLDERS`], in any order, and perhaps others that are read after them.
pub fn sysctl_at_boot(files: &[(String, String)], name: &str) -> Option<(String, String)> {
    let parts = |path: &str| {
        let (folder, name) = path.rsplit_once('/').unwrap_or_default();
        (SYSCTL_FOLDERS.iter().position(|f| *f == folder), name.to_owned())
    };
    let mut names: Vec<String> = files.iter().map(|(path, _)| parts(path)).filter(|(folder, _)| folder.is_some()).map(|(_, n)| n).collect();
    names.sort();
    names.dedup();
    let first = |name: &String| {
        let all = files.iter().filter(|(path, _)| matches!(parts(path), (Some(_), n) if n == *name));
        all.min_by_key(|(path, _)| parts(path).0)
    };
    let after = files.iter().filter(|(path, _)| parts(path).0.is_none());
    let mut last = None;
    for (path, text) in names.iter().filter_map(first).chain(after) {
        for (number, line) in text.lines().enumerate() {
            let Some((key, value)) = setting(line) else { continue };
            // A pattern gives way to any line that names the parameter itself.
            let exact = same_name(key, name);
            let pattern = key.contains('*') && glob::matches(&key.replace('/', "."), name);
            if exact || (pattern && !matches!(last, Some((true, _, _)))) {
                last = Some((exact, format!("{path}:{}", number + 1), normalise(value)));
            }
        }
    }
    last.map(|(_, place, value)| (place, value))
}

/// The files that a boot of this host reads parameters from.
pub(super) fn sysctl_files(view: &dyn View) -> Vec<(String, String)> {
    let mut files = conf_files(view, &SYSCTL_FOLDERS);
    // sysctl(8) --system reads it after all others; systemd does not, but for the link.
    if !matches!(view.stat(Path::new("/run/systemd/system"), true), Ok(Some(_))) {
        files.push(("/etc/sysctl.conf".into(), view.read_text(Path::new("/etc/sysctl.conf")).unwrap_or_default()));
    }
    files
}

/// Path and content of the files `*.conf` in these folders, by folder and name. What can't be read is empty: a link to
/// /dev/null takes the place of others too.
pub(super) fn conf_files(view: &dyn View, folders: &[&str]) -> Vec<(String, String)> {
    let mut all = vec![];
    for folder in folders {
        for name in view.list(Path::new(folder)).unwrap_or_default().into_iter().filter(|n| n.ends_with(".conf")) {
            let path = format!("{folder}/{name}");
            let text = view.read_text(Path::new(&path)).unwrap_or_default();
            all.push((path, text));
        }
    }
    all
}
