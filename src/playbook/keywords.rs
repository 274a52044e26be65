//! The keywords that plays, blocks, roles, imports and tasks share, and how tasks inherit them.

use super::action::Modules;
use super::read;
use super::role::RoleInstance;
use crate::diag::{Diagnostic, Diagnostics};
use crate::play::{Become, Layer, LayerKind, Vars};
use crate::yaml::{Mapping, Node, Value};
use std::path::PathBuf;
use std::sync::Arc;

/// Keywords every level knows.
pub(crate) const SHARED: &[&str] = &[
    "name",
    "when",
    "tags",
    "vars",
    "become",
    "become_user",
    "become_method",
    "environment",
    "ignore_errors",
    "no_log",
    "check_mode",
    "diff",
    "module_defaults",
    "collections",
    "run_once",
    "delegate_to",
    "any_errors_fatal",
];

/// Keywords Ansible knows at every level and fettle does not, each with what to do instead.
pub(crate) const REFUSED: &[(&str, &str)] = &[
    ("async", "leave it out: a task may run as long as it takes"),
    ("become_exe", "sudo is looked up on the host's PATH"),
    ("become_flags", "leave it out: sudo is started with what it needs"),
    ("connection", "set it on the play, or `ansible_connection` in the inventory"),
    ("debugger", "leave it out; use -v and `debug` tasks"),
    ("delegate_facts", "gather the facts of that host in a play of its own"),
    ("ignore_unreachable", "an unreachable host never stops the others"),
    ("local_action", "write the module as usual, and `delegate_to: localhost` beside it"),
    ("poll", "leave it out: a task may run as long as it takes"),
    ("port", "set it on the play, or `ansible_port` in the inventory"),
    ("remote_user", "set it on the play, or `ansible_user` in the inventory; `become_user` changes the user of a task"),
    ("throttle", "use `serial` on the play, or -f for the whole run"),
    ("timeout", "leave it out; `command: timeout 60 …` limits a command"),
];

/// Collections whose modules fettle has; `collections` may list these.
const COLLECTIONS: &[&str] = &["ansible.builtin", "ansible.legacy", "ansible.posix", "community.general", "fettle"];

/// What one level (a play, block, role entry, import or task) says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keywords {
    pub name: Option<Node>,
    pub when: Vec<Node>,
    pub tags: Vec<String>,
    pub vars: Vars,
    pub privilege: Become,
    pub environment: Vec<Node>,
    pub ignore_errors: Option<Node>,
    pub no_log: Option<Node>,
    pub check_mode: Option<Node>,
    pub diff: Option<Node>,
    pub run_once: Option<Node>,
    pub delegate_to: Option<Node>,
    pub any_errors_fatal: Option<Node>,
    pub notify: Vec<Node>,
    pub module_defaults: Vec<Node>,
}

impl Keywords {
    /// Reads the shared keywords of `map`; its other keys are the caller's.
    pub(crate) fn read(map: &Mapping, modules: Modules, out: &mut Diagnostics) -> Self {
        let get = |key: &str| map.get(key).filter(|n| !n.is_null());
        let k = Self {
            name: get("name").and_then(|n| read::text_node(n, "name", out)),
            when: get("when").map(|n| read::conditions(n, "when", out)).unwrap_or_default(),
            tags: get("tags").map(|n| tags(n, out)).unwrap_or_default(),
            vars: get("vars").map(|n| read::vars(n, "`vars`", out)).unwrap_or_default(),
            privilege: privilege(map, out),
            environment: get("environment").map(|n| environment(n, out)).unwrap_or_default(),
            ignore_errors: get("ignore_errors").and_then(|n| read::boolean_node(n, "ignore_errors", out)),
            no_log: get("no_log").and_then(|n| read::boolean_node(n, "no_log", out)),
            check_mode: get("check_mode").and_then(|n| read::boolean_node(n, "check_mode", out)),
            diff: get("diff").and_then(|n| read::boolean_node(n, "diff", out)),
            run_once: get("run_once").and_then(|n| read::boolean_node(n, "run_once", out)),
            delegate_to: get("delegate_to").and_then(|n| read::text_node(n, "delegate_to", out)),
            any_errors_fatal: get("any_errors_fatal").and_then(|n| read::boolean_node(n, "any_errors_fatal", out)),
            notify: get("notify").map(|n| read::texts(n, "notify", out)).unwrap_or_default(),
            module_defaults: get("module_defaults").map(|n| module_defaults(n, modules, out)).unwrap_or_default(),
        };
        if let Some(list) = get("collections") {
            for node in read::texts(list, "collections", out) {
                let name = node.as_str().unwrap_or_default();
                if !COLLECTIONS.contains(&name) {
                    out.push(
                        Diagnostic::error(&node.loc, format!("collection `{name}` is not supported yet"))
                            .nearest(name, COLLECTIONS.iter().copied())
                            .help(format!("collections: {}", COLLECTIONS.join(", "))),
                    );
                }
            }
        }
        check(&k, out);
        k
    }
}

/// The templates in these keywords are checked where they stand.
fn check(k: &Keywords, out: &mut Diagnostics) {
    for condition in &k.when {
        super::texts::condition(condition, out);
    }
    let plain = k.name.iter().chain(&k.environment).chain(&k.notify).chain(&k.module_defaults);
    let booleans = k.ignore_errors.iter().chain(&k.no_log).chain(&k.check_mode).chain(&k.diff);
    let others = k.run_once.iter().chain(&k.delegate_to).chain(&k.any_errors_fatal);
    let become_ = k.privilege.enabled.iter().chain(&k.privilege.user).chain(&k.privilege.method);
    for node in plain.chain(booleans).chain(others).chain(become_).chain(k.vars.0.iter().map(|(_, v)| v)) {
        super::texts::template(node, out);
    }
}

/// `tags`: a list, or text with commas.
pub(crate) fn tags(node: &Node, out: &mut Diagnostics) -> Vec<String> {
    let cut = |s: &str| -> Vec<String> { s.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect() };
    match &node.value {
        Value::Str(_) | Value::Int(_) => read::literal(node, "tags", out).map(|s| cut(&s)).unwrap_or_default(),
        Value::Seq(items) => items.iter().filter_map(|i| read::literal(i, "tags", out)).flat_map(|s| cut(&s)).collect(),
        _ => {
            out.push(Diagnostic::error(&node.loc, format!("`tags` must be text or a list of texts, not {}", node.kind())));
            vec![]
        }
    }
}

fn privilege(map: &Mapping, out: &mut Diagnostics) -> Become {
    let get = |key: &str| map.get(key).filter(|n| !n.is_null());
    let mut method = get("become_method").and_then(|n| read::text_node(n, "become_method", out));
    if let Some(node) = &method
        && node.as_str() != Some("sudo")
    {
        out.push(
            Diagnostic::error(&node.loc, format!("`become_method` {} is not supported yet", read::shown(node)))
                .help("only sudo is; leave `become_method` out"),
        );
        method = None;
    }
    Become {
        enabled: get("become").and_then(|n| read::boolean_node(n, "become", out)),
        user: get("become_user").and_then(|n| read::text_node(n, "become_user", out)),
        method,
        flags: None,
    }
}

/// `environment`: a mapping, a list of mappings, or a template that gives one.
fn environment(node: &Node, out: &mut Diagnostics) -> Vec<Node> {
    let one = |n: &Node, out: &mut Diagnostics| {
        let good = n.as_map().is_some() || (n.as_str().is_some() && read::is_template(n));
        if !good {
            out.push(Diagnostic::error(&n.loc, format!("`environment` must be a mapping, not {}", n.kind())));
        }
        good.then(|| n.clone())
    };
    match &node.value {
        Value::Seq(items) => items.iter().filter_map(|i| one(i, out)).collect(),
        _ => one(node, out).into_iter().collect(),
    }
}

/// `module_defaults`: module name to arguments. Checked here; put on the tasks by `action`.
fn module_defaults(node: &Node, modules: Modules, out: &mut Diagnostics) -> Vec<Node> {
    let Some(map) = read::mapping(node, "`module_defaults`", out) else { return vec![] };
    for (key, args) in map.iter() {
        let name = key.key_text();
        if name.starts_with("group/") {
            out.push(
                Diagnostic::error(&key.loc, format!("module group `{name}` is not supported yet")).help("name the modules one by one"),
            );
            continue;
        }
        let Some(module) = modules.find(&name) else {
            out.push(Diagnostic::error(&key.loc, format!("unknown module `{name}`")).nearest(&name, modules.names()));
            continue;
        };
        if let Some(args) = read::mapping(args, "a module's defaults", out) {
            super::action::check_args(module, args, out);
        }
    }
    vec![node.clone()]
}

/// What a task inherits at some point of a play.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frame {
    pub when: Vec<Node>,
    pub tags: Vec<String>,
    pub privilege: Become,
    /// `vars` on the roles around, outermost first; they stand below all blocks' variables.
    pub role_vars: Vec<Vars>,
    /// Variables of blocks, imports and includes, outermost first.
    pub layers: Vec<Layer>,
    pub environment: Vec<Node>,
    pub ignore_errors: Option<Node>,
    pub no_log: Option<Node>,
    pub check_mode: Option<Node>,
    pub diff: Option<Node>,
    pub run_once: Option<Node>,
    pub delegate_to: Option<Node>,
    pub any_errors_fatal: Option<Node>,
    pub notify: Vec<Node>,
    pub module_defaults: Vec<Node>,
    pub role: Option<Arc<RoleInstance>>,
    /// The files that led here, outermost first; the last is the one being read.
    pub trail: Vec<PathBuf>,
    /// Reading handlers.
    pub handlers: bool,
}

impl Frame {
    /// The frame inside something with these keywords, its variables as a layer of `kind`.
    pub(crate) fn inside(&self, k: &Keywords, kind: LayerKind) -> Self {
        let mut frame = self.clone();
        frame.when.extend(k.when.iter().cloned());
        for tag in &k.tags {
            if !frame.tags.contains(tag) {
                frame.tags.push(tag.clone());
            }
        }
        let or = |own: &Option<Node>, outer: &Option<Node>| own.clone().or_else(|| outer.clone());
        frame.privilege = Become {
            enabled: or(&k.privilege.enabled, &self.privilege.enabled),
            user: or(&k.privilege.user, &self.privilege.user),
            method: or(&k.privilege.method, &self.privilege.method),
            flags: or(&k.privilege.flags, &self.privilege.flags),
        };
        if !k.vars.is_empty() {
            frame.layers.push(Layer { kind, vars: k.vars.clone() });
        }
        frame.environment.extend(k.environment.iter().cloned());
        frame.ignore_errors = or(&k.ignore_errors, &self.ignore_errors);
        frame.no_log = or(&k.no_log, &self.no_log);
        frame.check_mode = or(&k.check_mode, &self.check_mode);
        frame.diff = or(&k.diff, &self.diff);
        frame.run_once = or(&k.run_once, &self.run_once);
        frame.delegate_to = or(&k.delegate_to, &self.delegate_to);
        frame.any_errors_fatal = or(&k.any_errors_fatal, &self.any_errors_fatal);
        frame.notify.extend(k.notify.iter().cloned());
        frame.module_defaults.extend(k.module_defaults.iter().cloned());
        frame
    }

    /// The layers of a task that stands here, outermost first.
    pub(crate) fn task_layers(&self) -> Vec<Layer> {
        let outer = self.role_vars.iter().map(|vars| Layer { kind: LayerKind::Block, vars: vars.clone() });
        outer.chain(self.layers.iter().cloned()).collect()
    }
}
