//! Finding what a play refers to on the controller: files, task files, parts of roles.

use std::path::{Component, Path, PathBuf};

/// The file `name` as a task means it: looked for in `subfolder` of each folder of `search_path`, then in
/// the folder itself, folder by folder. Absolute names and `~/…` stand for themselves. The error names
/// every place tried.
pub fn find_file(search_path: &[String], subfolder: &str, name: &str) -> Result<PathBuf, String> {
    let name_path = expand_home(name);
    let tried: Vec<PathBuf> = if name_path.is_absolute() {
        vec![name_path]
    } else {
        search_path
            .iter()
            .flat_map(|folder| [Path::new(folder).join(subfolder).join(&name_path), Path::new(folder).join(&name_path)])
            .map(|p| tidy(&p))
            .collect()
    };
    first_that_exists(&tried).ok_or_else(|| format!("`{name}` is not there; looked for {}", list(&tried)))
}

/// The first of `paths` that exists.
pub(crate) fn first_that_exists(paths: &[PathBuf]) -> Option<PathBuf> {
    paths.iter().find(|p| p.exists()).cloned()
}

/// Paths for a message.
pub(crate) fn list(paths: &[PathBuf]) -> String {
    let mut seen: Vec<String> = vec![];
    for path in paths {
        let text = path.display().to_string();
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    seen.join(", ")
}

/// `~/x` in the home folder of whoever runs fettle.
pub(crate) fn expand_home(name: &str) -> PathBuf {
    match (name.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(name),
    }
}

/// Without `.` parts, and with `a/../` taken out where `a` is a plain name.
pub(crate) fn tidy(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// The folder a file stands in.
pub(crate) fn folder(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Whether `path` leads below `folder` as it stands, through nothing hidden.
pub(crate) fn below(path: &Path, folder: &Path) -> bool {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(name) if !name.to_string_lossy().starts_with('.'));
    path.strip_prefix(folder).is_ok_and(|rest| rest.components().all(plain))
}

/// From the root: for `role_path` and `playbook_dir`.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    let given = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    given.canonicalize().or_else(|_| std::path::absolute(given)).unwrap_or_else(|_| given.to_path_buf())
}

/// Endings of YAML files, in the order Ansible tries them.
pub(crate) const ENDINGS: [&str; 3] = [".yml", ".yaml", ".json"];

/// The file of a role's part (`tasks`, `vars`, …): `main` with any ending or, where `from` names one, that.
pub(crate) fn role_part(role: &Path, part: &str, from: Option<&str>) -> Vec<PathBuf> {
    let folder = role.join(part);
    let mut names: Vec<PathBuf> = ENDINGS.iter().map(|e| folder.join(format!("{}{e}", from.unwrap_or("main")))).collect();
    let bare = folder.join(from.unwrap_or("main"));
    if from.is_some() {
        names.insert(0, bare);
    } else {
        names.push(bare);
    }
    names
}

/// The YAML files below a folder, sorted, folders entered, hidden files and backups left out.
pub(crate) fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return vec![] };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    let mut out = vec![];
    for path in paths {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        if path.is_dir() {
            out.extend(yaml_files(&path));
        } else if ENDINGS.iter().any(|e| name.ends_with(e)) || !name.contains('.') {
            out.push(path);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subfolder_comes_first_and_the_error_names_all() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::create_dir_all(a.join("files")).unwrap();
        std::fs::create_dir_all(&b).unwrap();
        std::fs::write(b.join("x"), "").unwrap();
        let path = [a.display().to_string(), b.display().to_string()];
        assert_eq!(find_file(&path, "files", "x").unwrap(), b.join("x"));
        std::fs::write(a.join("x"), "").unwrap();
        assert_eq!(find_file(&path, "files", "x").unwrap(), a.join("x"));
        std::fs::write(a.join("files/x"), "").unwrap();
        assert_eq!(find_file(&path, "files", "x").unwrap(), a.join("files/x"));
        let error = find_file(&path, "files", "y").unwrap_err();
        assert!(error.contains("a/files/y") && error.contains("b/y"), "{error}");
    }

    #[test]
    fn hidden_folders_and_ways_out_are_not_below() {
        let below = |path: &str, folder: &str| below(Path::new(path), Path::new(folder));
        assert!(below("/p/roles/x", "/p") && below("tasks/x.yml", "") && below("/p/.r/x", "/p/.r"));
        assert!(!below("/p/../etc/x", "/p") && !below("/p/.git/x", "/p") && !below("/etc/x", "") && !below("/pp/x", "/p"));
    }

    #[test]
    fn tidy_paths() {
        assert_eq!(tidy(Path::new("a/./b/../c")), Path::new("a/c"));
        assert_eq!(tidy(Path::new("../a")), Path::new("../a"));
    }
}
