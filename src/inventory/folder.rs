//! `group_vars/` and `host_vars/`.

use super::data::{Data, VarMap};
use crate::diag::{Diagnostic, Diagnostics, Loc, nearest};
use crate::yaml::{self, Value};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Endings of files with variables; no ending comes first, as in Ansible.
const ENDINGS: [&str; 4] = ["", ".yml", ".yaml", ".json"];

/// Deepest folder in a folder of variables.
const DEPTH_LIMIT: usize = 8;

/// The variables that lie beside one inventory or playbook.
#[derive(Debug, Default)]
pub struct Folder {
    /// By group.
    pub groups: HashMap<String, VarMap>,
    /// By host.
    pub hosts: HashMap<String, VarMap>,
}

impl Folder {
    /// Reads `group_vars` and `host_vars` in `dir` for the groups and hosts of `data`.
    pub fn read(dir: &Path, data: &Data, warnings: &mut Vec<Diagnostic>) -> Result<Self, Diagnostics> {
        let mut errors = Diagnostics::default();
        let implicit = "localhost".to_owned();
        let groups = side(&dir.join("group_vars"), data.groups.keys(), warnings, &mut errors);
        let hosts = side(&dir.join("host_vars"), data.hosts.keys().chain([&implicit]), warnings, &mut errors);
        if errors.has_errors() { Err(errors) } else { Ok(Self { groups, hosts }) }
    }
}

fn side<'d>(
    dir: &Path,
    names: impl Iterator<Item = &'d String> + Clone,
    warnings: &mut Vec<Diagnostic>,
    errors: &mut Diagnostics,
) -> HashMap<String, VarMap> {
    let mut all = HashMap::new();
    if !dir.is_dir() {
        return all;
    }
    // A name with a slash (a path to a chroot, say) would lead out of the folder.
    for name in names.clone().filter(|n| !n.contains('/') && n.as_str() != "..") {
        let mut vars = VarMap::new();
        for file in files(dir, name, warnings, errors) {
            match read_file(&file, warnings) {
                Ok(more) => vars.extend(more),
                Err(e) => errors.0.extend(e.0),
            }
        }
        if !vars.is_empty() {
            all.insert(name.clone(), vars);
        }
    }
    strangers(dir, &names.map(String::as_str).collect::<Vec<_>>(), warnings);
    all
}

/// A file that is for nobody but nearly has somebody's name is most likely misspelt.
fn strangers(dir: &Path, names: &[&str], warnings: &mut Vec<Diagnostic>) {
    let mut found: Vec<String> =
        std::fs::read_dir(dir).into_iter().flatten().flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    found.sort();
    for file in found.iter().filter(|f| !f.starts_with('.') && !f.ends_with('~')) {
        let stem = ENDINGS.iter().skip(1).find_map(|e| file.strip_suffix(e)).unwrap_or(file);
        if names.contains(&stem) || names.contains(&file.as_str()) || stem.len() < 4 {
            continue;
        }
        // node7 is no slip for node1: it is another host that this inventory does not have.
        let letters = |name: &str| name.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
        if let Some(near) = nearest(stem, names.iter().copied()).filter(|near| letters(near) != letters(stem)) {
            let loc = Loc::outside(&dir.join(file).display().to_string());
            warnings
                .push(Diagnostic::warning(&loc, format!("these variables are for nobody: the inventory has no `{stem}`, but `{near}`")));
        }
    }
}

/// The files for `name`: `name`, `name.yml`, … whichever comes first; a folder stands for the files in it.
fn files(dir: &Path, name: &str, warnings: &mut Vec<Diagnostic>, errors: &mut Diagnostics) -> Vec<PathBuf> {
    let mut there = ENDINGS.iter().map(|end| dir.join(format!("{name}{end}"))).filter(|p| p.exists());
    let Some(first) = there.next() else { return vec![] };
    for other in there {
        let message = format!("this is not read: `{}` is found first", first.display());
        warnings.push(
            Diagnostic::warning(&Loc::outside(&other.display().to_string()), message).help("merge the two, as Ansible reads one only"),
        );
    }
    if !first.is_dir() {
        return vec![first];
    }
    let mut found = vec![];
    walk(&first, 0, &mut found, errors);
    found
}

fn walk(dir: &Path, depth: usize, found: &mut Vec<PathBuf>, errors: &mut Diagnostics) {
    let loc = Loc::outside(&dir.display().to_string());
    if depth > DEPTH_LIMIT {
        errors.push(Diagnostic::error(&loc, format!("folders of variables are nested more than {DEPTH_LIMIT} deep")));
        return;
    }
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) => {
            errors.push(Diagnostic::error(&loc, format!("the folder can't be read: {e}")));
            return;
        }
    };
    let mut names: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    for name in names.iter().filter(|n| !n.starts_with('.') && !n.ends_with('~')) {
        let path = dir.join(name);
        let ending = path.extension().and_then(|e| e.to_str()).map(|e| format!(".{e}")).unwrap_or_default();
        if path.is_dir() && ending.is_empty() {
            walk(&path, depth + 1, found, errors);
        } else if path.is_file() && ENDINGS.contains(&ending.as_str()) {
            found.push(path);
        }
    }
}

fn read_file(path: &Path, warnings: &mut Vec<Diagnostic>) -> Result<VarMap, Diagnostics> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|e| Diagnostic::error(&Loc::outside(&name), format!("the file can't be read: {e}")))?;
    if bytes.starts_with(b"$ANSIBLE_VAULT;") {
        let error = Diagnostic::error(&Loc::new(name.as_str(), 1, 1), "this file is encrypted with ansible-vault, which is not supported");
        return Err(error.help("decrypt it, or give the values with -e").into());
    }
    let text = String::from_utf8(bytes).map_err(|_| Diagnostic::error(&Loc::outside(&name), "the file is not UTF-8 text"))?;
    let (documents, more) = yaml::parse_with_warnings(&name, &text)?;
    warnings.extend(more);
    let mut documents = documents.into_iter();
    let Some(root) = documents.next() else { return Ok(VarMap::new()) };
    if let Some(second) = documents.next() {
        return Err(Diagnostic::error(&second.loc, "a second YAML document starts here, where one is expected").into());
    }
    match root.value {
        Value::Null => Ok(VarMap::new()),
        Value::Map(map) => Ok(map.0.into_iter().map(|(key, value)| (key.key_text(), value)).collect()),
        _ => Err(Diagnostic::error(&root.loc, format!("a file of variables is a mapping, not {}", root.kind())).help("name: value").into()),
    }
}
