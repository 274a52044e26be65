//! Hosts, groups, variables and patterns, from INI and YAML inventories.
//!
//! | file | what it reads or does |
//! |---|---|
//! | `source` | what `-i` names: file, folder, script, list of hosts |
//! | `ini`, `words`, `literal` | INI inventories, their host lines, Python literals in them |
//! | `tree` | YAML and JSON inventories |
//! | `script` | programs that print an inventory |
//! | `names` | host names, ports, ranges |
//! | `folder` | `group_vars/` and `host_vars/` |
//! | `kubespray` | groups that Kubespray makes while it runs |
//! | `data` | groups, hosts and how they hang together |
//! | `pattern` | which hosts a pattern means |
//! | `show` | what `fettle inventory` prints |

mod data;
mod folder;
mod ini;
mod kubespray;
mod literal;
mod names;
mod pattern;
mod script;
mod show;
mod source;
mod tree;
mod words;

#[cfg(test)]
mod tests;

pub use show::{graph_text, host_json, list_json};

use crate::diag::{Diagnostic, Diagnostics, Loc};
use crate::play::Vars;
use crate::yaml::Node;
use data::{Data, VarMap};
use folder::Folder;
use indexmap::IndexMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Names that mean this machine even when no inventory names them.
const LOCALHOST: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// All hosts and groups, with their variables as written.
#[derive(Debug)]
pub struct Inventory {
    data: Data,
    /// `group_vars` and `host_vars` beside each source, in the order of the sources.
    beside_sources: Vec<Folder>,
    beside_playbook: Option<Folder>,
    sources: Vec<String>,
    dir: Option<String>,
    file: Option<String>,
    warnings: Vec<Diagnostic>,
    hostvars: OnceLock<Arc<serde_json::Value>>,
}

impl Inventory {
    /// Reads everything `sources` (what `-i` named) hold, and `group_vars` and `host_vars` beside them and in
    /// `playbook_dir`. Errors name file, line and column; a file is read on after an error, so all are told at once.
    pub fn load(sources: &[String], playbook_dir: Option<&Path>) -> Result<Self, Diagnostics> {
        let mut data = Data::new();
        let mut errors = Diagnostics::default();
        let mut dirs: Vec<PathBuf> = vec![];
        let (mut dir, mut file) = (None, None);
        for name in sources {
            let found = match source::read(name, &mut data) {
                Ok(found) => found,
                Err(e) => {
                    errors.0.extend(e.0);
                    continue;
                }
            };
            let Some(found) = found else { continue };
            if dir.is_none() {
                dir = Some(absolute(&found.dir));
                file = found.file.as_deref().map(absolute);
            }
            if !dirs.contains(&found.dir) {
                dirs.push(found.dir);
            }
        }
        kubespray::complete(&mut data);
        data.finish();
        let mut warnings = std::mem::take(&mut data.warnings);
        let mut beside_sources: Vec<Folder> = vec![];
        for dir in &dirs {
            match Folder::read(dir, &data, &mut warnings) {
                Ok(folder) => beside_sources.push(folder),
                Err(e) => errors.0.extend(e.0),
            }
        }
        let mut beside_playbook = None;
        if let Some(dir) = playbook_dir {
            let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
            // The same folder twice gives the same variables twice; once is enough.
            let same = dirs.iter().any(|d| absolute(d) == absolute(dir)) && dirs.len() == 1;
            if !same {
                match Folder::read(dir, &data, &mut warnings) {
                    Ok(folder) => beside_playbook = Some(folder),
                    Err(e) => errors.0.extend(e.0),
                }
            }
        }
        if errors.has_errors() {
            return Err(errors);
        }
        Ok(Self { data, beside_sources, beside_playbook, sources: sources.to_vec(), dir, file, warnings, hostvars: OnceLock::new() })
    }

    /// What is odd and yet accepted: a group and a host of one name, a key given twice, …
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// What `-i` named.
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// The folder of the first source, absolute; none for a list of hosts.
    pub fn dir(&self) -> Option<&str> {
        self.dir.as_deref()
    }

    /// The first source if it is a file, absolute.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// Whether there is such a host; this machine always is, as `localhost`.
    pub fn knows(&self, host: &str) -> bool {
        self.data.hosts.contains_key(host) || LOCALHOST.contains(&host)
    }

    /// The host that Kubespray reaches all others through: it is called `bastion`.
    pub fn bastion(&self) -> Option<&str> {
        self.data.hosts.get_key_value("bastion").map(|(name, _)| name.as_str()).filter(|_| kubespray::is_kubespray(&self.data))
    }

    /// All hosts' variables as templates see them, made by `make` when they are first asked for.
    pub fn once_for_all(&self, make: impl FnOnce() -> serde_json::Value) -> Arc<serde_json::Value> {
        self.hostvars.get_or_init(|| Arc::new(make())).clone()
    }

    /// All hosts, in the order of the inventory (groups in the order written, ungrouped hosts first, as Ansible has it).
    pub fn hosts(&self) -> Vec<String> {
        self.data.members("all")
    }

    /// Every group with its hosts, those of its child groups included.
    pub fn groups(&self) -> IndexMap<String, Vec<String>> {
        self.data.groups.keys().map(|name| (name.clone(), self.data.members(name))).collect()
    }

    /// The groups `host` is in, sorted by name, without `all`.
    pub fn group_names(&self, host: &str) -> Vec<String> {
        let mut names: Vec<String> = self.data.groups_of(host).into_iter().filter(|g| g != "all").collect();
        names.sort();
        names
    }

    /// The variables of `host`, merged in the order of Ansible's precedence list (its numbers 3 to 10):
    /// group variables of the inventory, `group_vars/all` beside it, then beside the playbook, other `group_vars`
    /// likewise, host variables of the inventory, `host_vars` beside it, then beside the playbook. Among groups
    /// parents come before children, then `ansible_group_priority` counts, then the name.
    pub fn vars(&self, host: &str) -> Vars {
        let mut merged = VarMap::new();
        let groups = self.data.groups_of(host);
        let others: Vec<&String> = groups.iter().filter(|g| *g != "all").collect();
        let mut put = |vars: Option<&VarMap>| {
            for (name, node) in vars.into_iter().flatten() {
                merged.insert(name.clone(), node.clone());
            }
        };
        let known = self.data.hosts.get(host);
        for group in std::iter::once("all").chain(others.iter().map(|g| g.as_str())) {
            put(self.data.groups.get(group).map(|g| &g.vars));
        }
        let folders = || self.beside_sources.iter().chain(&self.beside_playbook);
        for folder in folders() {
            put(folder.groups.get("all"));
        }
        for folder in folders() {
            for group in &others {
                put(folder.groups.get(*group));
            }
        }
        match known {
            Some(known) => put(Some(&known.vars)),
            None => put(Some(&implicit(host))),
        }
        for folder in folders() {
            put(folder.hosts.get(host));
        }
        Vars(merged.into_iter().collect())
    }

    /// Own variables of a group: the inventory's and those of `group_vars`.
    fn group_vars(&self, group: &str) -> VarMap {
        let mut merged = self.data.groups.get(group).map(|g| g.vars.clone()).unwrap_or_default();
        for folder in self.beside_sources.iter().chain(&self.beside_playbook) {
            merged.extend(folder.groups.get(group).cloned().unwrap_or_default());
        }
        merged
    }
}

/// The variables of `localhost` when no inventory has it.
fn implicit(host: &str) -> VarMap {
    let mut vars = VarMap::new();
    if LOCALHOST.contains(&host) {
        vars.insert("ansible_connection".into(), Node::text("local", Loc::outside("implicit localhost")));
    }
    vars
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()).components().collect::<PathBuf>().display().to_string()
}
