//! Roles: where they are, what is in them, what they depend on, and their tasks in a play.

use super::files;
use super::keywords::{Frame, Keywords, REFUSED, SHARED};
use super::loader::{Draft, Loader};
use super::read;
use crate::diag::{Diagnostic, Loc};
use crate::play::{Item, Layer, LayerKind, Role, Vars};
use crate::yaml::{Mapping, Node, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A role that includes itself more often than this on one host does not end.
const MOST_CIRCLES: usize = 64;

/// One use of a role: what its own tasks, and the roles it brings along, need to know of it.
#[derive(Debug)]
pub(crate) struct RoleInstance {
    pub id: u32,
    pub name: String,
    pub path: PathBuf,
    defaults: Vars,
    vars: Vars,
    /// The roles that brought it here, outermost first.
    parents: Vec<Arc<RoleInstance>>,
}

impl RoleInstance {
    /// Its folder, then those of the roles that brought it here, nearest first.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        std::iter::once(self.path.clone()).chain(self.parents.iter().rev().map(|p| p.path.clone())).collect()
    }

    /// Whether `path` is among the roles that brought this one here, or is its own.
    pub(crate) fn within(&self, path: &Path) -> bool {
        self.path == path || self.parents.iter().any(|p| p.path == path)
    }
}

/// Files of a role other than `main`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct From {
    pub tasks: Option<String>,
    pub handlers: Option<String>,
    pub vars: Option<String>,
    pub defaults: Option<String>,
}

/// A role as a play, another role or a task asks for it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub name: String,
    /// The node that names it.
    pub node: Node,
    pub keywords: Keywords,
    /// Parameters beside the keywords (`{role: x, port: 80}`).
    pub params: Vars,
    pub from: From,
    /// See `play::Role::public`.
    pub public: bool,
    /// Brought by a task: run again although the same role with the same parameters has run (`None`: brought by a
    /// play or role, and as its meta says).
    pub allow_duplicates: Option<bool>,
    /// Included on the host: a circle may end by a condition.
    pub dynamic: bool,
}

/// What tells one use of a role from another.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    path: PathBuf,
    params: serde_json::Value,
    tags: Vec<String>,
    /// Brought by a task: Ansible takes that for other work than the same role brought by a play or role.
    imported: bool,
    /// All conditions around it.
    conditions: Vec<serde_json::Value>,
}

impl Key {
    /// Whether `later` is the same work, and cannot run where this one does not.
    fn covers(&self, later: &Self) -> bool {
        self.path == later.path
            && self.params == later.params
            && self.tags == later.tags
            && self.imported == later.imported
            && self.conditions.iter().all(|c| later.conditions.contains(c))
    }
}

/// What a role gives to a play.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    pub items: Vec<Item>,
    pub handlers: Vec<Item>,
    /// Its defaults with those of the roles it depends on below them.
    defaults: Vars,
    /// Likewise its `vars`.
    vars: Vars,
}

/// `meta/main.yml`.
#[derive(Default)]
struct Meta {
    dependencies: Vec<Node>,
    allow_duplicates: bool,
}

fn plain_json(vars: &Vars) -> serde_json::Value {
    serde_json::Value::Object(vars.0.iter().map(|(k, v)| (k.clone(), v.to_json())).collect())
}

impl Loader {
    /// An entry of `roles:` or of a role's `dependencies`.
    pub(crate) fn role_entry(&mut self, node: &Node, what: &str, draft: &Draft) -> Option<Wanted> {
        let plain = |name: String, node: &Node| Wanted {
            name,
            node: node.clone(),
            keywords: Keywords::default(),
            params: Vars::default(),
            from: From::default(),
            public: true,
            allow_duplicates: None,
            dynamic: false,
        };
        let Value::Map(map) = &node.value else {
            return self.known_now(node, what, &draft.names).map(|name| plain(name, node));
        };
        if map.get("src").is_some() && map.get("role").is_none() && map.get("name").is_none() {
            self.out.push(
                Diagnostic::error(&node.loc, "a role with `src` would have to be fetched, which is not supported")
                    .help("install it with ansible-galaxy and name it with `role`"),
            );
            return None;
        }
        let Some(name_node) = map.get("role").or_else(|| map.get("name")) else {
            self.out.push(Diagnostic::error(&node.loc, format!("{what} needs `role`")));
            return None;
        };
        let name = self.known_now(name_node, "role", &draft.names)?;
        let mut keywords_map = Mapping::default();
        let mut params = Vars::default();
        for (key, value) in map.iter() {
            let text = key.key_text();
            if text == "role" || text == "name" {
            } else if SHARED.contains(&text.as_str()) {
                keywords_map.0.push((key.clone(), value.clone()));
            } else if let Some((_, instead)) = REFUSED.iter().find(|(n, _)| *n == text) {
                self.out.push(read::refusal(key, &text, what, instead));
            } else if read::is_name(&text) {
                super::texts::template(value, &mut self.out);
                params.0.push((text, value.clone()));
            } else {
                self.out.push(Diagnostic::error(&key.loc, format!("{} cannot be the name of a role's parameter", read::shown(key))));
            }
        }
        let keywords = Keywords::read(&keywords_map, self.modules, &mut self.out);
        Some(Wanted { keywords, params, ..plain(name, name_node) })
    }

    /// The folder of a role.
    pub(crate) fn role_folder(&mut self, wanted: &Wanted, draft: &Draft, beside: Option<&Path>) -> Option<PathBuf> {
        let name = files::expand_home(&wanted.name);
        let mut places: Vec<PathBuf> = vec![];
        if name.is_absolute() {
            places.push(name.clone());
        } else {
            places.push(draft.dir.join("roles").join(&name));
            places.extend(self.roles_path.iter().map(|p| p.join(&name)));
            places.extend(beside.and_then(Path::parent).map(|p| p.join(&name)));
            places.push(draft.dir.join(&name));
        }
        let places: Vec<PathBuf> = places.iter().map(|p| files::tidy(p)).collect();
        if let Some(found) = places.iter().find(|p| p.is_dir()) {
            return Some(found.clone());
        }
        let mut d = Diagnostic::error(&wanted.node.loc, format!("role `{}` is not there", wanted.name));
        let mut names: Vec<String> = vec![];
        for folder in places.iter().rev().skip(1).filter_map(|p| p.parent()) {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().filter(|e| e.path().is_dir());
            names.extend(entries.map(|e| e.file_name().to_string_lossy().into_owned()));
        }
        names.sort();
        d = d.nearest(&wanted.name, names.iter().map(String::as_str));
        if wanted.name.matches('.').count() == 2 {
            d = d.help("roles of collections are not supported yet: put its folder into roles/");
        }
        self.out.push(d.help(format!("looked for {}", files::list(&places))).help("other folders of roles: ANSIBLE_ROLES_PATH=DIR:DIR"));
        None
    }

    /// Loads a role and the roles it depends on; its tasks inherit `frame`.
    pub(crate) fn role(&mut self, wanted: &Wanted, frame: &Frame, draft: &mut Draft) -> Option<Compiled> {
        let beside = frame.role.as_ref().map(|r| r.path.clone());
        let path = self.role_folder(wanted, draft, beside.as_deref())?;
        let name = wanted.name.clone();
        let parents: Vec<Arc<RoleInstance>> = frame.role.iter().flat_map(|r| r.parents.iter().cloned().chain([r.clone()])).collect();
        // A role may import its own other task files, and an include may stop by a condition.
        let circles = parents.iter().filter(|p| p.path == path).count();
        let allowed = if wanted.dynamic { MOST_CIRCLES } else { usize::from(wanted.from.tasks.is_some()) };
        if circles > allowed {
            let chain: Vec<&str> = parents.iter().map(|p| p.name.as_str()).chain([name.as_str()]).collect();
            self.out.push(Diagnostic::error(&wanted.node.loc, format!("role `{name}` needs itself: {}", chain.join(" → "))));
            return None;
        }
        let meta = self.role_meta(&path);
        let own_defaults = self.role_vars(&path, "defaults", wanted.from.defaults.as_deref(), &wanted.node);
        let own_vars = self.role_vars(&path, "vars", wanted.from.vars.as_deref(), &wanted.node);
        let instance = Arc::new(RoleInstance {
            id: self.role_id(),
            name: name.clone(),
            path: path.clone(),
            defaults: own_defaults.clone(),
            vars: own_vars.clone(),
            parents: parents.clone(),
        });
        let frame = self.role_frame(wanted, frame, &instance, &own_vars);

        let mut compiled = Compiled::default();
        for node in &meta.dependencies {
            let Some(mut dependency) = self.role_entry(node, "a dependency", draft) else { continue };
            dependency.public = false;
            if let Some(c) = self.role(&dependency, &frame, draft) {
                compiled.items.extend(c.items);
                compiled.handlers.extend(c.handlers);
                compiled.defaults.0.extend(c.defaults.0);
                compiled.vars.0.extend(c.vars.0);
            }
        }
        let stacked = |below: &Vars, own: &Vars, of: fn(&RoleInstance) -> &Vars| {
            let outer = parents.iter().flat_map(|p| of(p).0.iter());
            Vars(below.0.iter().chain(outer).chain(&own.0).cloned().collect())
        };
        let outer_first = Vars(parents.iter().flat_map(|p| p.vars.0.iter()).chain(&compiled.vars.0).cloned().collect());
        draft.roles.push(Role {
            id: instance.id,
            name,
            path: files::absolute(&path).display().to_string(),
            defaults: stacked(&compiled.defaults, &own_defaults, |r| &r.defaults),
            vars: Vars(outer_first.0.into_iter().chain(own_vars.0.iter().cloned()).collect()),
            public: wanted.public,
        });
        compiled.defaults.0.extend(own_defaults.0);
        compiled.vars.0.extend(own_vars.0);

        let key = Key {
            path: path.clone(),
            params: serde_json::json!([plain_json(&wanted.params), plain_json(&wanted.keywords.vars), whens(&wanted.keywords.when)]),
            tags: wanted.keywords.tags.clone(),
            imported: wanted.allow_duplicates.is_some(),
            conditions: frame.when.iter().map(Node::to_json).collect(),
        };
        if !wanted.allow_duplicates.unwrap_or(meta.allow_duplicates) && draft.seen.iter().any(|k| k.covers(&key)) {
            return Some(compiled);
        }
        let tasks = self.role_list(&path, "tasks", wanted.from.tasks.as_deref(), &wanted.node);
        let mut left_out = false;
        if let Some((file, list)) = tasks {
            let inner = Frame { trail: vec![file], handlers: false, ..frame.clone() };
            let items = self.items(&list, &inner, draft);
            left_out = items.is_empty();
            compiled.items.extend(items);
        }
        // A role none of whose tasks are selected has not run.
        if !left_out {
            draft.seen.push(key);
        }
        let handlers = self.role_list(&path, "handlers", wanted.from.handlers.as_deref(), &wanted.node);
        if let Some((file, list)) = handlers {
            let inner = Frame { trail: vec![file], handlers: true, ..frame };
            compiled.handlers.extend(self.items(&list, &inner, draft));
        }
        Some(compiled)
    }

    /// What the tasks of a role inherit.
    fn role_frame(&mut self, wanted: &Wanted, outer: &Frame, instance: &Arc<RoleInstance>, own: &Vars) -> Frame {
        let mut keywords = wanted.keywords.clone();
        let given = std::mem::take(&mut keywords.vars);
        let mut frame = outer.inside(&keywords, LayerKind::Block);
        // A role's own vars stand above what was given to the roles that brought it here, and below what is given to it.
        for vars in &mut frame.role_vars {
            vars.0.retain(|(name, _)| own.get(name).is_none());
        }
        frame.role_vars.push(given);
        frame.role_vars.retain(|vars| !vars.is_empty());
        if !wanted.params.is_empty() {
            frame.layers.push(Layer { kind: LayerKind::RoleParams, vars: wanted.params.clone() });
        }
        frame.role = Some(instance.clone());
        frame
    }

    fn role_meta(&mut self, path: &Path) -> Meta {
        let mut meta = Meta::default();
        let Some(file) = files::first_that_exists(&files::role_part(path, "meta", None)) else { return meta };
        let Some(node) = self.document(&file, None) else { return meta };
        if files::first_that_exists(&files::role_part(path, "meta", Some("argument_specs"))).is_some() {
            self.no_specs(&Loc::new(file.display().to_string(), 0, 0));
        }
        if node.is_null() {
            return meta;
        }
        let Some(map) = read::mapping(&node, "a role's meta/main.yml", &mut self.out) else { return meta };
        let known = ["galaxy_info", "dependencies", "allow_duplicates", "collections", "argument_specs"];
        read::keys(map, "a role's meta/main.yml", &known, &[], &mut self.out);
        if let Some(node) = map.get("argument_specs") {
            self.no_specs(&node.loc);
        }
        if let Some(node) = map.get("dependencies") {
            meta.dependencies = read::list(node, "`dependencies`", &mut self.out).to_vec();
        }
        if let Some(node) = map.get("allow_duplicates").filter(|n| !n.is_null()) {
            meta.allow_duplicates = read::boolean(node, "allow_duplicates", &mut self.out).unwrap_or(false);
        }
        meta
    }

    fn no_specs(&mut self, loc: &Loc) {
        self.out.push(Diagnostic::warning(loc, "a role's argument specs are not checked yet: its parameters are taken as they are"));
    }

    /// `defaults` or `vars` of a role: the file, or every file of the folder `main`.
    fn role_vars(&mut self, role: &Path, part: &str, from: Option<&str>, node: &Node) -> Vars {
        let places = files::role_part(role, part, from);
        let found = match from {
            Some(name) => self.existing(node, &format!("file of role's {part}"), name, &places),
            None => files::first_that_exists(&places),
        };
        let Some(found) = found else { return Vars::default() };
        let list = if found.is_dir() { files::yaml_files(&found) } else { vec![found] };
        let mut vars = Vars::default();
        for file in list {
            vars.0.extend(self.vars_file(&file, Some(&node.loc)).0);
        }
        for (_, value) in &vars.0 {
            super::texts::template(value, &mut self.out);
        }
        vars
    }

    /// `tasks` or `handlers` of a role.
    fn role_list(&mut self, role: &Path, part: &str, from: Option<&str>, node: &Node) -> Option<(PathBuf, Arc<Node>)> {
        let places = files::role_part(role, part, from);
        let file = match from {
            Some(name) => self.existing(node, &format!("file of role's {part}"), name, &places)?,
            None => files::first_that_exists(&places)?,
        };
        let list = self.document(&file, Some(&node.loc))?;
        Some((file, list))
    }
}

fn whens(when: &[Node]) -> serde_json::Value {
    serde_json::Value::Array(when.iter().map(Node::to_json).collect())
}
