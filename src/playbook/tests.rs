//! Whole playbooks in, plays out.

#[path = "../../tests/support/modules.rs"]
mod modules;
mod plays;
mod roles;
mod tasks;

use super::*;
use crate::modules as spec;
use crate::play::{Action, IncludeKind, Item, LayerKind, Task};

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

fn load_with(files: &[(&str, &str)], options: &LoadOptions) -> Result<(Site, tempfile::TempDir), String> {
    let dir = folder(files);
    let options = LoadOptions { roles_path: Some(vec![]), modules: Some(modules::MODULES), ..options.clone() };
    let prefix = format!("{}/", dir.path().display());
    match load(&[dir.path().join("site.yml")], &options) {
        Ok(site) => Ok((site, dir)),
        Err(errors) => Err(errors.to_string().replace(&prefix, "")),
    }
}

fn site(files: &[(&str, &str)]) -> Site {
    load_with(files, &LoadOptions::default()).unwrap().0
}

fn errors(files: &[(&str, &str)]) -> String {
    load_with(files, &LoadOptions::default()).unwrap_err()
}

fn tasks_of(items: &[Item]) -> Vec<&Task> {
    let mut tasks = vec![];
    for item in items {
        notify::each(item, &mut |task| tasks.push(task));
    }
    tasks
}

/// All tasks of the first play's sections.
fn tasks(site: &Site) -> Vec<&Task> {
    site.plays[0].play.sections.iter().flat_map(|s| tasks_of(s)).collect()
}

fn names(tasks: &[&Task]) -> Vec<String> {
    tasks.iter().map(|t| t.name.as_ref().map(Node::key_text).unwrap_or_default()).collect()
}

fn texts(nodes: &[Node]) -> Vec<String> {
    nodes.iter().map(Node::key_text).collect()
}

fn layers(task: &Task) -> Vec<(LayerKind, String)> {
    let pairs = |v: &Vars| v.0.iter().map(|(k, v)| format!("{k}={}", v.key_text())).collect::<Vec<_>>().join(",");
    task.layers.iter().map(|l| (l.kind, pairs(&l.vars))).collect()
}
