//! What `--list-tasks`, `--list-tags` and `--list-hosts` show: the plays as selected by tags.

use super::{PlaySource, Site};
use crate::play::Item;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A play in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPlay {
    /// The playbook on the command line that led to it.
    pub playbook: PathBuf,
    /// Its `hosts` pattern.
    pub hosts: String,
    /// Its name.
    pub name: String,
    /// Its own tags, sorted.
    pub tags: Vec<String>,
    /// Its tasks in order; handlers, rescue and always parts are not listed, as with ansible-playbook.
    pub tasks: Vec<ListedTask>,
    /// All tags of its tasks and its own, sorted.
    pub task_tags: Vec<String>,
}

/// A task in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTask {
    /// Its name with its role's in front (`role : name`), or the module as written where it has none.
    pub name: String,
    /// Its tags with the play's, sorted.
    pub tags: Vec<String>,
}

impl Site {
    /// The plays in order.
    pub fn listed(&self) -> Vec<ListedPlay> {
        self.plays.iter().map(PlaySource::listed).collect()
    }
}

impl PlaySource {
    /// This play as a list shows it.
    pub fn listed(&self) -> ListedPlay {
        let own: BTreeSet<&str> = self.tags.iter().map(String::as_str).collect();
        let mut tasks = vec![];
        for item in self.play.sections.iter().flatten() {
            self.list(item, &mut tasks);
        }
        let all: BTreeSet<&str> = own.iter().copied().chain(tasks.iter().flat_map(|t| t.tags.iter().map(String::as_str))).collect();
        ListedPlay {
            playbook: self.root.clone(),
            hosts: super::play::hosts_text(Some(&self.hosts)),
            name: self.play.name.clone(),
            tags: own.iter().map(|t| (*t).to_owned()).collect(),
            task_tags: all.iter().map(|t| (*t).to_owned()).collect(),
            tasks,
        }
    }

    /// Its tasks, for `--list-tasks`.
    pub fn list_tasks(&self) -> Vec<ListedTask> {
        self.listed().tasks
    }

    /// Its tasks' tags and its own, for `--list-tags`. To list those of tasks tagged `never` too, as
    /// ansible-playbook does when no tags are asked for, load with the tags `all` and `never`.
    pub fn list_tags(&self) -> Vec<String> {
        self.listed().task_tags
    }

    fn list(&self, item: &Item, tasks: &mut Vec<ListedTask>) {
        match item {
            Item::Block(block) => block.block.iter().for_each(|item| self.list(item, tasks)),
            Item::Task(task) => {
                let role = task.role.and_then(|id| self.play.roles.iter().find(|r| r.id == id));
                let name = match &task.name {
                    Some(name) => match role {
                        Some(role) => format!("{} : {}", role.name, name.key_text()),
                        None => name.key_text(),
                    },
                    None => self.written.get(&task.id).cloned().unwrap_or_default(),
                };
                let tags: BTreeSet<&String> = task.tags.iter().chain(&self.tags).collect();
                tasks.push(ListedTask { name, tags: tags.into_iter().cloned().collect() });
            }
        }
    }
}

/// What ansible-playbook prints for these plays. `hosts` answers for `--list-hosts`: a play's hosts by its index.
pub(super) fn text(plays: &[ListedPlay], tasks: bool, tags: bool, hosts: Option<&dyn Fn(usize) -> Vec<String>>) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    let mut playbook: Option<&Path> = None;
    let mut number = 0;
    for (index, play) in plays.iter().enumerate() {
        if playbook != Some(&play.playbook) {
            playbook = Some(&play.playbook);
            number = 0;
            let _ = writeln!(out, "\nplaybook: {}", play.playbook.display());
        }
        number += 1;
        let _ = writeln!(out, "\n  play #{number} ({}): {}\tTAGS: [{}]", play.hosts, play.name, play.tags.join(","));
        if let Some(hosts) = hosts {
            let names = hosts(index);
            let _ = writeln!(out, "    pattern: {}\n    hosts ({}):", play.hosts, names.len());
            for name in names {
                let _ = writeln!(out, "      {name}");
            }
        }
        if tasks {
            let _ = writeln!(out, "    tasks:");
            for task in &play.tasks {
                let _ = writeln!(out, "      {}\tTAGS: [{}]", task.name, task.tags.join(", "));
            }
        }
        if tags {
            let _ = writeln!(out, "      TASK TAGS: [{}]", play.task_tags.join(", "));
        }
    }
    out
}

impl Site {
    /// The lists ansible-playbook prints: `--list-tasks`, `--list-tags`, and with `hosts` (a play's hosts by
    /// its index) `--list-hosts`, all in one. A role that is listed twice and runs once stands here once.
    pub fn list_text(&self, tasks: bool, tags: bool, hosts: Option<&dyn Fn(usize) -> Vec<String>>) -> String {
        text(&self.listed(), tasks, tags, hosts)
    }
}
