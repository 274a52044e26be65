//! What `-i` names: a file, a folder, a program, or a list of hosts.

use super::data::Data;
use super::{ini, names, script, tree};
use crate::diag::{Diagnostic, Diagnostics, Loc};
use crate::yaml;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Endings skipped in a folder of inventories: Ansible's defaults and those Kubespray adds.
const SKIPPED: [&str; 14] =
    [".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry", ".creds", ".gpg"];

/// Folders that are no inventories wherever they lie. The last three are Kubespray's, whose settings skip them too: what it
/// fetches (among it programs, which would be run), passwords, and patches for kubeadm.
const NO_INVENTORIES: [&str; 6] = ["host_vars", "group_vars", "vars_plugins", "artifacts", "credentials", "patches"];

/// Deepest folder in a folder.
const DEPTH_LIMIT: usize = 8;

/// Where a source was found.
pub struct Found {
    /// The folder beside which `group_vars` and `host_vars` are looked for.
    pub dir: PathBuf,
    /// The file, if it is one.
    pub file: Option<PathBuf>,
}

/// Reads the source `name` into `data`; nothing is found for a list of hosts.
pub fn read(name: &str, data: &mut Data) -> Result<Option<Found>, Diagnostics> {
    let path = Path::new(name);
    if name.contains(',') && !path.exists() {
        list(name, data)?;
        return Ok(None);
    }
    if path.is_dir() {
        folder(path, data, 0)?;
        return Ok(Some(Found { dir: path.to_path_buf(), file: None }));
    }
    file(path, data)?;
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(Some(Found { dir: dir.to_path_buf(), file: Some(path.to_path_buf()) }))
}

/// `a,b,`: hosts given on the command line.
fn list(text: &str, data: &mut Data) -> Result<(), Diagnostics> {
    let loc = Loc::outside("-i");
    for item in text.split(',').map(str::trim).filter(|i| !i.is_empty()) {
        let (hosts, port) = names::expand(item).map_err(|e| Diagnostic::error(&loc, format!("in `{text}`: {e}")))?;
        for host in &hosts {
            data.join("ungrouped", host, &loc);
            if let Some(port) = port {
                data.set_host(host, "ansible_port", yaml::Node::new(yaml::Value::Int(port.into()), loc.clone()), &loc);
            }
        }
    }
    Ok(())
}

/// All inventories in a folder, by name. `.ini` files count only where there is nothing else: Kubespray's settings skip
/// them, Ansible's do not.
fn folder(path: &Path, data: &mut Data, depth: usize) -> Result<(), Diagnostics> {
    let loc = Loc::outside(&path.display().to_string());
    if depth > DEPTH_LIMIT {
        return Err(Diagnostic::error(&loc, format!("inventory folders are nested more than {DEPTH_LIMIT} deep")).into());
    }
    let entries = std::fs::read_dir(path).map_err(|e| Diagnostic::error(&loc, format!("the folder can't be read: {e}")))?;
    let mut names: Vec<String> = vec![];
    for entry in entries {
        let entry = entry.map_err(|e| Diagnostic::error(&loc, format!("the folder can't be read: {e}")))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !(name.starts_with('.') || NO_INVENTORIES.contains(&name.as_str()) || SKIPPED.iter().any(|end| name.ends_with(end))) {
            names.push(name);
        }
    }
    names.sort();
    let (inis, others): (Vec<String>, Vec<String>) = names.into_iter().partition(|n| n.ends_with(".ini"));
    let files = if others.iter().any(|n| path.join(n).is_file()) { others } else { inis.iter().cloned().chain(others).collect() };
    for ini in inis.iter().filter(|ini| !files.contains(ini)) {
        let message = "this .ini file is not read, as its folder holds other inventories";
        let place = Loc::outside(&path.join(ini).display().to_string());
        data.warnings.push(Diagnostic::warning(&place, message).help(format!("to read it too, name it: -i {}", path.join(ini).display())));
    }
    if files.is_empty() && depth == 0 {
        return Err(Diagnostic::error(&loc, "there is no inventory in this folder").into());
    }
    let mut errors = Diagnostics::default();
    for name in files {
        let inner = path.join(name);
        let read = if inner.is_dir() { folder(&inner, data, depth + 1) } else { file(&inner, data) };
        if let Err(e) = read {
            errors.0.extend(e.0);
        }
    }
    if errors.has_errors() { Err(errors) } else { Ok(()) }
}

/// What a file is, told from its ending, its rights and its first lines.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Program,
    Tree,
    Ini,
    Toml,
}

fn file(path: &Path, data: &mut Data) -> Result<(), Diagnostics> {
    let name = path.display().to_string();
    let loc = Loc::outside(&name);
    let bytes = std::fs::read(path).map_err(|e| {
        let error = Diagnostic::error(&loc, format!("the inventory can't be read: {e}"));
        let no_file = e.kind() == std::io::ErrorKind::NotFound;
        if no_file { error.help(format!("to name hosts instead of a file, end with a comma: -i {name},")) } else { error }
    })?;
    let executable = std::fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o111 != 0);
    if kind(path, &bytes, executable) == Kind::Program {
        return script::run(path, data);
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let line = e.as_bytes().iter().take(e.utf8_error().valid_up_to()).filter(|b| **b == b'\n').count() + 1;
        Diagnostic::error(&Loc::new(name.as_str(), u32::try_from(line).unwrap_or(u32::MAX), 0), "the file is not UTF-8 text here")
    })?;
    match kind(path, text.as_bytes(), false) {
        Kind::Toml => Err(Diagnostic::error(&loc, "TOML inventories are not supported").help("write it as INI or YAML").into()),
        Kind::Ini => ini::read(&name, &text, data),
        Kind::Tree | Kind::Program => {
            let (documents, warnings) = yaml::parse_with_warnings(&name, &text)?;
            data.warnings.extend(warnings);
            let root = match documents.as_slice() {
                [] => yaml::Node::new(yaml::Value::Null, Loc::new(name.as_str(), 1, 1)),
                [one] => one.clone(),
                [_, second, ..] => {
                    return Err(Diagnostic::error(&second.loc, "a second YAML document starts here, where one is expected").into());
                }
            };
            // What `--list` of a dynamic inventory printed, saved in a file.
            if root.as_map().is_some_and(|m| m.get("_meta").is_some()) {
                return script::read(&root.to_json(), &Loc::new(name.as_str(), 1, 1), data).map(|_| ());
            }
            tree::read(&root, data)
        }
    }
}

fn kind(path: &Path, bytes: &[u8], executable: bool) -> Kind {
    if executable && (bytes.starts_with(b"#!") || bytes.starts_with(b"\x7fELF")) {
        return Kind::Program;
    }
    match path.extension().and_then(|e| e.to_str()) {
        Some("yml" | "yaml" | "json") => Kind::Tree,
        Some("toml") => Kind::Toml,
        Some("ini") => Kind::Ini,
        _ => {
            let text = String::from_utf8_lossy(bytes);
            let first = text.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with(['#', ';'])).unwrap_or("");
            let bare = first.split(" #").next().unwrap_or(first).trim_end();
            if first.starts_with('{') || first.starts_with("---") || bare.ends_with(':') { Kind::Tree } else { Kind::Ini }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_it_looks_like() {
        let told = |name: &str, text: &str, x: bool| kind(Path::new(name), text.as_bytes(), x);
        assert_eq!(told("hosts", "[a]\nb\n", false), Kind::Ini);
        assert_eq!(told("hosts", "# c\n\nall: # everything\n  hosts:\n", false), Kind::Tree);
        assert_eq!(told("hosts", "{\"all\": {}}", false), Kind::Tree);
        assert_eq!(told("hosts.yaml", "[a]", false), Kind::Tree);
        assert_eq!(told("hosts.ini", "all:", false), Kind::Ini);
        assert_eq!(told("hosts", "#!/bin/sh\n", true), Kind::Program);
        assert_eq!(told("hosts", "node1\n", true), Kind::Ini);
    }
}
