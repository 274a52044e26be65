//! What a play can reach: files on the controller, other hosts' variables, variables at all, root's rights.

use super::hostvars::{Mentions, Read, mentions, task_mentions};
use super::notify::each;
use super::read;
use super::{PlaySource, StaticFile, connecting, words};
use crate::diag::{Diagnostic, Diagnostics, Loc};
use crate::play::{Action, Include, Item, Privilege, Task};
use crate::yaml::{self, Node, Value};
use std::collections::{BTreeSet, HashMap};

/// Names a play's texts mention.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach {
    pub names: BTreeSet<String>,
    /// Some text may reach any variable.
    pub all: bool,
    /// Some text mentions `hostvars`.
    pub hostvars: bool,
    /// What is read of other hosts.
    pub read: Read,
    /// What each task mentions, by its id.
    pub tasks: HashMap<u32, BTreeSet<String>>,
    /// What each variable of the play and its roles mentions.
    pub variables: Mentions,
}

/// Modules with a file of the controller: argument names, and the subfolder it is looked for in.
const FILES: &[(&str, &[&str], &str)] = &[
    ("copy", &["src"], "files"),
    ("template", &["src"], "templates"),
    ("script", &["_raw_params", "cmd"], "files"),
    ("include_vars", &["file", "_raw_params"], "vars"),
];

/// Templates larger than this are not looked into.
const LARGEST: u64 = 1 << 20;

/// Fills in what `source` reaches.
pub(crate) fn look(source: &mut PlaySource, out: &mut Diagnostics) {
    let mut reach = Reach { all: source.open, ..Reach::default() };
    let mut files: Vec<StaticFile> = vec![];
    for (name, value) in &source.play.vars.0 {
        reach.define(name, value);
    }
    for role in source.play.roles.iter().chain(source.play.includes.iter().flat_map(|(_, i)| &i.roles)) {
        role.defaults.0.iter().chain(&role.vars.0).for_each(|(name, value)| reach.define(name, value));
        // Its defaults lose against what the inventory says, so they may be meant for others.
        if !role.public {
            connecting::late(role.vars.0.iter().map(|(name, value)| (name.clone(), value)), out);
        }
    }
    for item in items(source) {
        each(item, &mut |task| {
            task_texts(task, &mut |node, bare| reach.see(node, bare));
            let names = task_mentions(task, &mut reach.read);
            reach.hostvars |= names.contains("hostvars");
            reach.tasks.insert(task.id, names);
            let Action::Module { name, args, .. } = &task.action else { return };
            let Some((_, keys, subfolder)) = FILES.iter().find(|(module, ..)| module == name) else { return };
            let file = static_file(task, args, keys, subfolder, out);
            match (name.as_str(), &file) {
                ("template", Some(file)) => reach.see_template(file, out),
                ("include_vars", Some(file)) => reach.see_vars(file, out),
                // Which file it is, only the host's run will tell.
                ("include_vars", None) => reach.all = true,
                ("template", None) => reach.all |= args.as_map().is_some_and(|m| m.get("src").is_some()),
                _ => {}
            }
            files.extend(file);
        });
    }
    let mut in_step = source.max_fail_percentage.is_some();
    items(source).for_each(|item| each(item, &mut |task| in_step |= task.any_errors_fatal.is_some()));
    source.play.in_step = in_step;
    // Other hosts' variables may be built from anything.
    reach.all |= reach.hostvars;
    source.uses_hostvars = reach.hostvars;
    source.files = files;
    source.reach = reach;
}

impl Reach {
    /// Looks through a node; `bare`: its texts are expressions without braces.
    fn see(&mut self, node: &Node, bare: bool) {
        if node.is_unsafe() {
            return;
        }
        match &node.value {
            Value::Str(text) => self.see_text(text, bare),
            Value::Seq(items) => items.iter().for_each(|n| self.see(n, bare)),
            Value::Map(map) => map.iter().for_each(|(k, v)| {
                self.see(k, false);
                self.see(v, bare);
            }),
            _ => {}
        }
    }

    /// Looks through a variable.
    fn define(&mut self, name: &str, value: &Node) {
        mentions(value, false, self.variables.entry(name.to_owned()).or_default());
        self.see(value, false);
    }

    fn see_text(&mut self, text: &str, bare: bool) {
        self.read.see(text);
        self.hostvars |= text.contains("hostvars");
        let before = self.names.len();
        words::collect(text, bare, &mut self.names);
        // `vars['x']` and `lookup('vars', 'x')` name a variable by a value.
        if self.names.len() > before {
            self.all |= ["vars", "varnames"].iter().any(|n| self.names.contains(*n));
        }
        let mentions = |word: &str| text.contains(&format!("'{word}'")) || text.contains(&format!("\"{word}\""));
        self.all |=
            (text.contains("lookup") || text.contains("query") || text.contains("q(")) && (mentions("vars") || mentions("varnames"));
    }

    /// A template's file: what it reads, and what is wrong in it.
    fn see_template(&mut self, file: &StaticFile, out: &mut Diagnostics) {
        let small = std::fs::metadata(&file.path).is_ok_and(|m| m.len() <= LARGEST);
        match small.then(|| std::fs::read_to_string(&file.path).ok()).flatten() {
            Some(content) => {
                self.see_text(&content, false);
                // Its first line may be settings, which are read on the host.
                let body = if content.starts_with("#jinja2:") { content.split_once('\n').map_or("", |(_, body)| body) } else { &content };
                let loc = Loc::new(file.path.display().to_string(), 0, 0);
                super::texts::template(&Node::text(body, loc), out);
                // Another template may be brought in by name.
                self.all |= ["{% include", "{%- include", "{% import", "{%- import", "{% from", "{%- from", "{% extends", "{%- extends"]
                    .iter()
                    .any(|tag| content.contains(tag));
            }
            None => self.all = true,
        }
    }

    fn see_vars(&mut self, file: &StaticFile, out: &mut Diagnostics) {
        let name = file.path.display().to_string();
        let Ok(text) = std::fs::read_to_string(&file.path) else {
            self.all = true;
            return;
        };
        match yaml::parse_one(&name, &text) {
            Ok(node) => {
                super::loader::check_tags(&node, out);
                super::texts::template(&node, out);
                self.see(&node, false);
                connecting::late(node.as_map().iter().flat_map(|m| m.iter()).map(|(key, value)| (key.key_text(), value)), out);
                for (key, value) in node.as_map().iter().flat_map(|m| m.iter()) {
                    mentions(value, false, self.variables.entry(key.key_text()).or_default());
                }
            }
            Err(errors) => out.0.extend(errors.0),
        }
    }
}

/// Every item a play may run.
fn items(source: &PlaySource) -> impl Iterator<Item = &Item> {
    let play = &source.play;
    let included = play.includes.iter().flat_map(|(_, i)| i.items.iter().chain(&i.handlers));
    play.sections.iter().flatten().chain(&play.handlers).chain(included)
}

/// Looks at every task.
pub(crate) fn each_task(source: &PlaySource, look: &mut dyn FnMut(&Task)) {
    items(source).for_each(|item| each(item, &mut |task| look(task)));
}

/// Whether the agent must be started as root: some task becomes another user.
pub(crate) fn privilege(source: &PlaySource, default: bool, said: Option<bool>) -> Privilege {
    let written = |enabled: Option<&Node>| match enabled.map(|n| &n.value) {
        None => default,
        Some(Value::Bool(b)) => *b,
        Some(_) => true,
    };
    let needs = |enabled: Option<&Node>| said.unwrap_or_else(|| written(enabled));
    let mut root = said == Some(true) || source.privilege.enabled.is_some() && needs(source.privilege.enabled.as_ref());
    for item in items(source) {
        each(item, &mut |task: &Task| {
            let own = task.layers.iter().rev().find_map(|layer| layer.vars.get("ansible_become"));
            root |= own.map_or_else(|| needs(task.privilege.enabled.as_ref()), |own| written(Some(own)));
        });
    }
    root |= source.open && said.unwrap_or(default);
    if root { Privilege::Root } else { Privilege::Connection }
}

/// Every text of a task, and whether it is an expression without braces.
pub(crate) fn task_texts<'a>(task: &'a Task, see: &mut dyn FnMut(&'a Node, bool)) {
    task_nodes(task, see);
    if let Action::Module { name, args, .. } = &task.action {
        bare_expressions(name, args, &mut |node| see(node, true));
    }
}

/// Every node of a task that may hold a template.
fn task_nodes<'a>(task: &'a Task, see: &mut dyn FnMut(&'a Node, bool)) {
    let lists = [&task.notify, &task.environment];
    lists.into_iter().flatten().for_each(|n| see(n, false));
    let options = [
        &task.name,
        &task.items,
        &task.ignore_errors,
        &task.retries,
        &task.delay,
        &task.check_mode,
        &task.diff,
        &task.no_log,
        &task.run_once,
        &task.delegate_to,
        &task.any_errors_fatal,
        &task.loop_control.label,
        &task.loop_control.pause,
        &task.privilege.enabled,
        &task.privilege.user,
    ];
    options.into_iter().flatten().for_each(|n| see(n, false));
    for condition in task
        .when
        .iter()
        .chain(task.changed_when.iter().flatten())
        .chain(task.failed_when.iter().flatten())
        .chain(task.until.iter().flatten())
    {
        see(condition, true);
    }
    task.layers.iter().flat_map(|layer| &layer.vars.0).for_each(|(_, v)| see(v, false));
    match &task.action {
        Action::Module { args, .. } => see(args, false),
        Action::Include(Include { name, options, .. }) => {
            see(name, false);
            options.iter().for_each(|(_, v)| see(v, false));
        }
    }
}

/// Arguments that are expressions without braces.
fn bare_expressions<'a>(module: &str, args: &'a Node, see: &mut dyn FnMut(&'a Node)) {
    let Some(map) = args.as_map() else { return };
    let arg = match module {
        "assert" => map.get("that"),
        "debug" => map.get("var"),
        _ => None,
    };
    match arg.map(|n| (n, &n.value)) {
        Some((_, Value::Seq(items))) => items.iter().for_each(see),
        Some((node, _)) => see(node),
        None => {}
    }
}

/// The controller's file a task names without a template, if it is there.
fn static_file(task: &Task, args: &Node, keys: &[&str], subfolder: &str, out: &mut Diagnostics) -> Option<StaticFile> {
    let map = args.as_map()?;
    // `remote_src` means the host's own file; a template for it leaves the question open.
    if map.get("remote_src").is_some_and(|n| n.value != Value::Bool(false)) {
        return None;
    }
    let (key, node) = keys.iter().find_map(|k| map.get(k).map(|n| (*k, n)))?;
    let text = node.as_str().filter(|_| !read::is_template(node))?;
    // A script's arguments follow its name.
    let name = if matches!(key, "_raw_params" | "cmd") && subfolder == "files" {
        super::split::unquote(super::split::words(text).ok()?.first()?.trim()).to_owned()
    } else {
        text.to_owned()
    };
    match super::find_file(&task.search_path, subfolder, &name) {
        // The agent asks for the entries of a folder one by one.
        Ok(path) => path.is_file().then(|| StaticFile { key: format!("{}:{subfolder}:{name}", task.id), path }),
        Err(why) => {
            out.push(Diagnostic::warning(&node.loc, why).help("it must be there when the task runs"));
            None
        }
    }
}
