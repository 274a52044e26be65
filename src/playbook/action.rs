//! Which module a task calls, and its arguments as far as they can be checked without a host.

use super::loops;
use super::read;
use super::split;
use crate::diag::{Diagnostic, Diagnostics, nearest};
use crate::modules::{self, FreeForm, Module};
use crate::yaml::{Mapping, Node, Value};

/// Imports and includes: no modules, but they stand where modules stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    ImportTasks,
    IncludeTasks,
    ImportRole,
    IncludeRole,
}

impl Flow {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::ImportTasks => "import_tasks",
            Self::IncludeTasks => "include_tasks",
            Self::ImportRole => "import_role",
            Self::IncludeRole => "include_role",
        }
    }

    fn find(name: &str) -> Option<Self> {
        let short = name.strip_prefix("ansible.builtin.").or_else(|| name.strip_prefix("ansible.legacy.")).unwrap_or(name);
        [Self::ImportTasks, Self::IncludeTasks, Self::ImportRole, Self::IncludeRole].into_iter().find(|f| f.word() == short)
    }
}

/// What a task calls.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Called {
    Module(&'static Module),
    Flow(Flow),
}

/// The call as written.
pub(crate) struct Call {
    pub called: Called,
    /// The name as written, for lists.
    pub written: String,
    /// Where the name stands.
    pub key: Node,
    /// Free-form text or a mapping of arguments.
    pub value: Node,
}

/// The modules a task may call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Modules(pub &'static [&'static Module]);

impl Default for Modules {
    fn default() -> Self {
        Self(modules::MODULES)
    }
}

impl Modules {
    pub(crate) fn find(self, name: &str) -> Option<&'static Module> {
        self.0.iter().copied().find(|m| m.answers_to(name))
    }

    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|m| m.name)
    }
}

fn find(name: &str, modules: Modules) -> Option<Called> {
    Flow::find(name).map(Called::Flow).or_else(|| modules.find(name).map(Called::Module))
}

fn module_names(modules: Modules) -> impl Iterator<Item = &'static str> {
    let flows = ["import_tasks", "include_tasks", "import_role", "include_role"];
    modules.names().chain(flows)
}

/// Names other rooms of Ansible put where modules stand, with what to do instead.
const NOT_MODULES: &[(&str, &str)] = &[
    ("include", "write `include_tasks` or `import_tasks`"),
    ("import_playbook", "it stands among plays, not among tasks"),
    ("add_host", "name the host in the inventory"),
    ("group_by", "name the group in the inventory"),
];

/// Finds the one call among the keys of a task that `keywords` does not explain.
pub(crate) fn find_call(
    map: &Mapping,
    loc: &crate::diag::Loc,
    keywords: &[&str],
    refused: &[(&str, &str)],
    modules: Modules,
    out: &mut Diagnostics,
) -> Option<Call> {
    let mut calls: Vec<Call> = vec![];
    let mut strangers: Vec<(&Node, &str)> = vec![];
    let mut refusals = 0;
    for (key, value) in map.iter() {
        let Some(name) = key.as_str() else {
            out.push(Diagnostic::error(&key.loc, format!("a keyword of a task must be text, not {}", key.kind())));
            continue;
        };
        if name == "action" {
            calls.extend(from_action(value, modules, out));
            refusals += 1;
        } else if keywords.contains(&name) || loops::is_loop(name) {
        } else if let Some((_, instead)) = refused.iter().find(|(n, _)| *n == name) {
            out.push(read::refusal(key, name, "a task", instead));
            refusals += usize::from(name == "local_action");
        } else if let Some(called) = find(name, modules) {
            calls.push(Call { called, written: name.to_owned(), key: key.clone(), value: value.clone() });
        } else {
            strangers.push((key, name));
        }
    }
    for (key, name) in &strangers {
        out.push(stranger(key, name, calls.is_empty(), keywords, modules));
    }
    if let [first, second, ..] = calls.as_slice() {
        out.push(
            Diagnostic::error(&second.key.loc, format!("two modules in one task: `{}` and `{}`", first.written, second.written))
                .help("start a new task with `- `"),
        );
        return None;
    }
    if calls.is_empty() && strangers.is_empty() && refusals == 0 {
        out.push(Diagnostic::error(loc, "this task names no module").help("a task is keywords and one module with its arguments"));
    }
    calls.pop()
}

/// A key that is neither keyword nor module.
fn stranger(key: &Node, name: &str, module_missing: bool, keywords: &[&str], modules: Modules) -> Diagnostic {
    if let Some((_, instead)) = NOT_MODULES.iter().find(|(n, _)| Some(*n) == name.rsplit('.').next()) {
        return Diagnostic::error(&key.loc, format!("`{name}` is not supported here")).help(*instead);
    }
    if !module_missing || (nearest(name, keywords.iter().copied()).is_some() && !name.contains('.')) {
        let d = Diagnostic::error(&key.loc, format!("unknown keyword `{name}` of a task"));
        return d.nearest(name, keywords.iter().copied());
    }
    unknown_module(key, name, modules)
}

fn unknown_module(key: &Node, name: &str, modules: Modules) -> Diagnostic {
    let (collection, short) = name.rsplit_once('.').map_or((None, name), |(c, s)| (Some(c), s));
    let d = Diagnostic::error(&key.loc, format!("unknown module `{name}`"));
    match (collection, modules.find(short)) {
        (Some(collection), Some(module)) => d.help(format!(
            "`{short}` is here as {}, not in collection `{collection}`",
            module.collections.iter().map(|c| format!("`{c}.{}`", module.name)).collect::<Vec<_>>().join(" or ")
        )),
        _ => {
            let names: Vec<&str> = module_names(modules).collect();
            read::listing(d.nearest(short, names.iter().copied()), "modules", &names)
        }
    }
}

/// `action: module key=value` or `action: {module: name, …}`.
fn from_action(value: &Node, modules: Modules, out: &mut Diagnostics) -> Option<Call> {
    let (name, rest) = match &value.value {
        Value::Str(text) => {
            let text = text.trim();
            let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
            (Node::text(name, value.loc.clone()), Node::text(rest.trim(), value.loc.clone()))
        }
        Value::Map(map) => {
            let Some(name) = map.get("module") else {
                out.push(Diagnostic::error(&value.loc, "`action` needs `module`"));
                return None;
            };
            let rest = map.0.iter().filter(|(k, _)| k.as_str() != Some("module")).cloned().collect();
            (name.clone(), Node::new(Value::Map(Mapping(rest)), value.loc.clone()))
        }
        _ => {
            out.push(Diagnostic::error(&value.loc, format!("`action` must be text or a mapping, not {}", value.kind())));
            return None;
        }
    };
    let written = read::literal(&name, "action", out)?;
    match find(&written, modules) {
        Some(called) => Some(Call { called, written, key: name, value: rest }),
        None => {
            out.push(unknown_module(&name, &written, modules));
            None
        }
    }
}

/// The arguments of a module call as a mapping: free-form text taken apart, `args` and `module_defaults`
/// filled in, names and literal values checked.
pub(crate) fn arguments(module: &Module, call: &Call, args: Option<&Node>, defaults: &[Node], out: &mut Diagnostics) -> Node {
    let mut entries = match &call.value.value {
        Value::Map(map) => map.0.clone(),
        Value::Null => vec![],
        Value::Str(text) => free_form(module, text, &call.value, out),
        Value::Int(_) | Value::Float(_) | Value::Bool(_) if module.free_form != FreeForm::No => {
            free_form(module, &call.value.key_text(), &call.value, out)
        }
        _ => {
            out.push(Diagnostic::error(
                &call.value.loc,
                format!("arguments of module `{}` must be a mapping or text, not {}", module.name, call.value.kind()),
            ));
            return Node::new(Value::Map(Mapping::default()), call.value.loc.clone());
        }
    };
    if let Some(args) = args.filter(|n| !n.is_null()) {
        match &args.value {
            Value::Map(map) => add_missing(module, &mut entries, map),
            Value::Str(text) if !read::is_template(args) => match split::parts(text, None) {
                Ok(parts) => {
                    let pair = |(k, v): (String, String)| (Node::text(k, args.loc.clone()), Node::text(v, args.loc.clone()));
                    add_missing(module, &mut entries, &Mapping(parts.pairs.into_iter().map(pair).collect()));
                    if let Some(rest) = parts.rest {
                        out.push(Diagnostic::error(&args.loc, format!("`{rest}` is no `key=value` pair")));
                    }
                }
                Err(why) => out.push(Diagnostic::error(&args.loc, why)),
            },
            _ => out.push(
                Diagnostic::error(&args.loc, "`args` must be a mapping; a template for all of it is not supported yet")
                    .help("write the arguments out; `{{ x | default(omit) }}` leaves one away"),
            ),
        }
    }
    // As Ansible: an inner level's defaults for a module take the place of an outer one's, all of them.
    let own = |node: &Node| {
        let (_, value) = node.as_map()?.iter().find(|(key, _)| module.answers_to(&key.key_text()))?;
        value.as_map().cloned()
    };
    if let Some(map) = defaults.iter().rev().find_map(own) {
        add_missing(module, &mut entries, &map);
    }
    let map = Mapping(entries);
    check_args(module, &map, out);
    missing(module, &map, &call.key, out);
    Node::new(Value::Map(map), call.value.loc.clone())
}

fn same_arg(module: &Module, a: &Node, b: &Node) -> bool {
    let canonical = |n: &Node| {
        let text = n.key_text();
        module.arg(&text).map_or(text, |arg| arg.name.to_owned())
    };
    canonical(a) == canonical(b)
}

fn add_missing(module: &Module, entries: &mut Vec<(Node, Node)>, more: &Mapping) {
    for (key, value) in more.iter() {
        if !entries.iter().any(|(k, _)| same_arg(module, k, key)) {
            entries.push((key.clone(), value.clone()));
        }
    }
}

/// Text in place of a mapping.
fn free_form(module: &Module, text: &str, node: &Node, out: &mut Diagnostics) -> Vec<(Node, Node)> {
    let at = |text: String| Node { value: Value::Str(text), loc: node.loc.clone(), tag: node.tag.clone() };
    let known = |key: &str| module.arg(key).is_some();
    let only: Option<&dyn Fn(&str) -> bool> = if module.free_form == FreeForm::No { None } else { Some(&known) };
    let parts = match split::parts(text, only) {
        Ok(parts) => parts,
        Err(why) => {
            out.push(Diagnostic::error(&node.loc, format!("{why} in the arguments of module `{}`", module.name)));
            return vec![];
        }
    };
    let mut entries: Vec<(Node, Node)> = parts.pairs.into_iter().map(|(k, v)| (at(k), at(v))).collect();
    if let Some(rest) = parts.rest.filter(|r| !r.trim().is_empty()) {
        match module.free_form {
            FreeForm::Raw => entries.push((at("_raw_params".into()), at(rest))),
            FreeForm::Into(name) => entries.push((at(name.into()), at(rest))),
            FreeForm::No => out.push(
                Diagnostic::error(&node.loc, format!("`{}` is no argument of module `{}`", rest.trim(), module.name))
                    .help("write `key=value` pairs, or a mapping below the module's name"),
            ),
        }
    }
    entries
}

/// Names, double mentions, and literal values of arguments.
pub(crate) fn check_args(module: &Module, map: &Mapping, out: &mut Diagnostics) {
    let mut given: Vec<(&str, String)> = vec![];
    for (key, value) in map.iter() {
        let name = key.key_text();
        super::texts::argument(module, &name, value, out);
        let Some(arg) = module.arg(&name) else {
            if !module.any_args && name != "_raw_params" && !(read::has_braces(&name)) {
                let mut names: Vec<&str> = module.arg_names().collect();
                names.sort_unstable();
                let d = Diagnostic::error(&key.loc, format!("unknown argument `{name}` of module `{}`", module.name));
                let d = d.nearest(&name, names.iter().copied());
                out.push(if names.is_empty() { d.help("it has no arguments") } else { d.help(format!("arguments: {}", names.join(", "))) });
            }
            continue;
        };
        if let Some((_, other)) = given.iter().find(|(n, _)| *n == arg.name) {
            out.push(Diagnostic::error(
                &key.loc,
                format!("argument `{}` of module `{}` is given twice, as `{other}` and as `{name}`", arg.name, module.name),
            ));
        }
        given.push((arg.name, name.clone()));
        if !value.is_null()
            && !read::is_template(value)
            && let Err(want) = modules::coerce(arg.kind, value.to_json())
        {
            out.push(Diagnostic::error(&value.loc, format!("argument `{name}` of module `{}` {want}", module.name)));
        }
    }
}

/// Required arguments that are not there.
fn missing(module: &Module, map: &Mapping, key: &Node, out: &mut Diagnostics) {
    let given = |name: &str| map.iter().any(|(k, v)| !v.is_null() && module.arg(&k.key_text()).is_some_and(|a| a.name == name));
    let missing: Vec<&str> = module.args.iter().filter(|a| a.required && !given(a.name)).map(|a| a.name).collect();
    for name in &missing {
        out.push(
            Diagnostic::error(&key.loc, format!("argument `{name}` of module `{}` is missing", module.name))
                .help(format!("required: {}", module.args.iter().filter(|a| a.required).map(|a| a.name).collect::<Vec<_>>().join(", "))),
        );
    }
    if module.free_form == FreeForm::Raw && missing.is_empty() {
        let ways: Vec<&str> =
            ["_raw_params", "cmd", "argv"].into_iter().filter(|n| *n == "_raw_params" || module.arg(n).is_some()).collect();
        if !ways.iter().any(|n| map.get(n).is_some_and(|v| !v.is_null())) {
            out.push(Diagnostic::error(&key.loc, format!("module `{}` is given nothing to run", module.name)));
        }
    }
}
