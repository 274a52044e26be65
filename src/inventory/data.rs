//! Groups, hosts and how they hang together.

use super::LOCALHOST;
use crate::diag::{Diagnostic, Loc};
use crate::yaml::{Node, Value};
use indexmap::IndexMap;
use std::collections::HashSet;

/// Variables as written, by name.
pub type VarMap = IndexMap<String, Node>;

/// One group.
#[derive(Debug, Default)]
pub struct Group {
    /// Child groups, in the order written.
    pub children: Vec<String>,
    /// Hosts named in this very group.
    pub hosts: Vec<String>,
    /// Variables the inventory gives it.
    pub vars: VarMap,
    /// `ansible_group_priority`; Ansible's default is 1.
    pub priority: i64,
    /// Longest way from `all`; set by [`Data::finish`].
    pub depth: usize,
}

/// One host.
#[derive(Debug)]
pub struct Host {
    /// Variables the inventory gives it.
    pub vars: VarMap,
    /// Where it stands first.
    pub loc: Loc,
}

/// All that the sources say.
#[derive(Debug)]
pub struct Data {
    /// Groups in the order they came up; `all` and `ungrouped` are always there.
    pub groups: IndexMap<String, Group>,
    /// Hosts in the order they came up.
    pub hosts: IndexMap<String, Host>,
    /// What is odd and yet accepted.
    pub warnings: Vec<Diagnostic>,
}

impl Data {
    /// Nothing but the two groups that always exist.
    pub fn new() -> Self {
        let mut data = Self { groups: IndexMap::new(), hosts: IndexMap::new(), warnings: vec![] };
        data.group("all");
        data.group("ungrouped");
        data.group("all").children.push("ungrouped".into());
        data
    }

    /// The group `name`, made if need be.
    pub fn group(&mut self, name: &str) -> &mut Group {
        self.groups.entry(name.to_owned()).or_insert_with(|| Group { priority: 1, ..Group::default() })
    }

    /// The host `name`, made if need be.
    pub fn host(&mut self, name: &str, loc: &Loc) -> &mut Host {
        self.hosts.entry(name.to_owned()).or_insert_with(|| Host { vars: VarMap::new(), loc: loc.clone() })
    }

    /// Puts `host` into `group`.
    pub fn join(&mut self, group: &str, host: &str, loc: &Loc) {
        self.host(host, loc);
        let group = self.group(group);
        if !group.hosts.iter().any(|h| h == host) {
            group.hosts.push(host.to_owned());
        }
    }

    /// Makes `child` a child of `parent`; a ring is an error.
    pub fn nest(&mut self, parent: &str, child: &str, loc: &Loc) -> Result<(), Diagnostic> {
        self.group(child);
        if parent == child {
            return Err(Diagnostic::error(loc, format!("the group `{child}` can't be its own child")));
        }
        if self.below(child).contains(parent) {
            return Err(Diagnostic::error(
                loc,
                format!("the group `{child}` can't be a child of `{parent}`: `{parent}` is already below `{child}`"),
            ));
        }
        let group = self.group(parent);
        if !group.children.iter().any(|c| c == child) {
            group.children.push(child.to_owned());
        }
        Ok(())
    }

    /// Sets a variable of a group.
    pub fn set_group(&mut self, group: &str, name: &str, value: Node) -> Result<(), Diagnostic> {
        if name != "ansible_group_priority" {
            self.group(group).vars.insert(name.to_owned(), value);
            return Ok(());
        }
        let number = match &value.value {
            Value::Int(number) => Some(*number),
            Value::Str(text) => text.trim().parse().ok(),
            _ => None,
        };
        let number = number
            .ok_or_else(|| Diagnostic::error(&value.loc, format!("`ansible_group_priority` is a whole number, not {}", value.kind())))?;
        self.group(group).priority = number;
        Ok(())
    }

    /// Sets a variable of a host.
    pub fn set_host(&mut self, host: &str, name: &str, value: Node, loc: &Loc) {
        self.host(host, loc).vars.insert(name.to_owned(), value);
    }

    /// All groups below `group`, itself included, level by level.
    fn descendants(&self, group: &str) -> Vec<String> {
        let mut found: Vec<String> = vec![group.to_owned()];
        let mut seen: HashSet<String> = found.iter().cloned().collect();
        let mut at = 0;
        while let Some(name) = found.get(at).cloned() {
            for child in self.groups.get(&name).map(|g| g.children.as_slice()).unwrap_or_default() {
                if seen.insert(child.clone()) {
                    found.push(child.clone());
                }
            }
            at += 1;
        }
        found
    }

    fn below(&self, group: &str) -> HashSet<String> {
        self.descendants(group).into_iter().collect()
    }

    /// The hosts of a group and of all groups below it, in order, each once.
    pub fn members(&self, group: &str) -> Vec<String> {
        let mut seen = HashSet::new();
        let mut hosts = vec![];
        for name in self.descendants(group) {
            for host in self.groups.get(&name).map(|g| g.hosts.as_slice()).unwrap_or_default() {
                if seen.insert(host.clone()) {
                    hosts.push(host.clone());
                }
            }
        }
        hosts
    }

    /// The groups `host` is in, directly or through child groups: parents first, then by priority, then by name.
    pub fn groups_of(&self, host: &str) -> Vec<String> {
        let mut inside: HashSet<&str> =
            self.groups.iter().filter(|(_, g)| g.hosts.iter().any(|h| h == host)).map(|(name, _)| name.as_str()).collect();
        // Upwards until nothing is added: rings are refused, so this ends.
        loop {
            let more: Vec<&str> = self
                .groups
                .iter()
                .filter(|(name, g)| !inside.contains(name.as_str()) && g.children.iter().any(|c| inside.contains(c.as_str())))
                .map(|(name, _)| name.as_str())
                .collect();
            if more.is_empty() {
                break;
            }
            inside.extend(more);
        }
        let mut names: Vec<(usize, i64, String)> = inside
            .into_iter()
            .filter_map(|name| self.groups.get(name).map(|group| (group.depth, group.priority, name.to_owned())))
            .collect();
        names.sort();
        names.into_iter().map(|(_, _, name)| name).collect()
    }

    /// Puts groups without parents below `all`, hosts without groups into `ungrouped`, and measures depths.
    pub fn finish(&mut self) {
        let nested: HashSet<String> = self.groups.values().flat_map(|g| g.children.iter().cloned()).collect();
        let tops: Vec<String> = self.groups.keys().filter(|g| *g != "all" && !nested.contains(*g)).cloned().collect();
        self.group("all").children.extend(tops);
        let grouped: HashSet<String> = self
            .groups
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "all" | "ungrouped"))
            .flat_map(|(_, g)| g.hosts.iter().cloned())
            .collect();
        let lonely: Vec<String> = self.hosts.keys().filter(|h| !grouped.contains(*h)).cloned().collect();
        let ungrouped = self.group("ungrouped");
        ungrouped.hosts.retain(|h| !grouped.contains(h));
        for host in lonely {
            if !ungrouped.hosts.contains(&host) {
                ungrouped.hosts.push(host);
            }
        }
        self.measure();
        for (name, host) in &self.hosts {
            if self.groups.contains_key(name) {
                let message = format!("`{name}` is the name of a host and of a group; in patterns it means the group");
                self.warnings.push(Diagnostic::warning(&host.loc, message));
            }
        }
    }

    /// Longest way from `all` to each group. Each round settles at least one level, and there are no rings.
    fn measure(&mut self) {
        for _ in 0..self.groups.len() {
            let mut wanted: Vec<(String, usize)> = vec![];
            for group in self.groups.values() {
                wanted.extend(group.children.iter().map(|child| (child.clone(), group.depth + 1)));
            }
            let mut moved = false;
            for (child, depth) in wanted {
                if let Some(group) = self.groups.get_mut(&child).filter(|g| g.depth < depth) {
                    group.depth = depth;
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
    }

    /// Names of all groups and hosts, for "did you mean".
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().chain(self.hosts.keys()).map(String::as_str).chain(LOCALHOST.iter().copied().take(1))
    }
}
