//! Lists of tasks and blocks, as written, to the items of a play.

use super::action::{self, Call, Called, Flow};
use super::files;
use super::keywords::{Frame, Keywords, REFUSED, SHARED};
use super::loader::{Draft, Loader};
use super::loops;
use super::read;
use super::role::{From, Wanted};
use super::texts;
use crate::diag::{Diagnostic, Diagnostics};
use crate::modules::Module;
use crate::play::{Action, Block, Item, Layer, LayerKind, Task, Vars};
use crate::yaml::{Mapping, Node};
use std::path::{Path, PathBuf};

/// Keywords of a task beside the shared ones.
const TASK: &[&str] =
    &["args", "loop", "loop_control", "register", "changed_when", "failed_when", "until", "retries", "delay", "notify", "listen"];

/// Keywords that do something on a dynamic include; Ansible refuses the others there too.
const INCLUDE: &[&str] =
    &["name", "args", "when", "tags", "vars", "loop", "loop_control", "register", "ignore_errors", "no_log", "collections"];

/// Imports and includes within each other deeper than this never end.
const DEEPEST: usize = 64;

impl Loader {
    /// The items of a list of tasks.
    pub(crate) fn items(&mut self, list: &Node, frame: &Frame, draft: &mut Draft) -> Vec<Item> {
        let what = if frame.handlers { "handlers" } else { "tasks" };
        let mut items = vec![];
        for node in read::list(list, what, &mut self.out) {
            let Some(map) = node.as_map() else {
                let mut d = Diagnostic::error(&node.loc, format!("a task must be a mapping, not {}", node.kind()));
                if let Some(text) = node.as_str() {
                    d = d.help(format!("to call a module without arguments, write `{}:`", text.trim()));
                }
                self.out.push(d);
                continue;
            };
            if ["block", "rescue", "always"].iter().any(|k| map.get(k).is_some()) {
                items.extend(self.block(map, node, frame, draft));
            } else {
                items.extend(self.task(map, node, frame, draft));
            }
        }
        items
    }

    fn block(&mut self, map: &Mapping, node: &Node, frame: &Frame, draft: &mut Draft) -> Vec<Item> {
        if frame.handlers {
            self.out.push(Diagnostic::error(&node.loc, "a block cannot be a handler").help("write handlers that `listen` to one topic"));
            return vec![];
        }
        let known: Vec<&str> = SHARED.iter().copied().chain(["block", "rescue", "always", "notify"]).collect();
        read::keys(map, "a block", &known, REFUSED, &mut self.out);
        if map.get("block").is_none() {
            self.out.push(Diagnostic::error(&node.loc, "`rescue` and `always` need a `block` beside them"));
        }
        let keywords = Keywords::read(map, self.modules, &mut self.out);
        let inner = frame.inside(&keywords, LayerKind::Block);
        let mut part = |key: &str| map.get(key).map(|list| self.items(list, &inner, draft)).unwrap_or_default();
        let (block, rescue, always) = (part("block"), part("rescue"), part("always"));
        let is_set = |key: &str| map.get(key).is_some_and(|n| !n.is_null());
        if !is_set("rescue") && !is_set("always") {
            return block;
        }
        if block.is_empty() && rescue.is_empty() && always.is_empty() {
            return vec![];
        }
        let name = keywords.name.as_ref().map(Node::key_text);
        vec![Item::Block(Block { loc: node.loc.clone(), name, block, rescue, always })]
    }

    fn task(&mut self, map: &Mapping, node: &Node, frame: &Frame, draft: &mut Draft) -> Vec<Item> {
        let known: Vec<&str> = SHARED.iter().chain(TASK).copied().collect();
        let call = action::find_call(map, &node.loc, &known, REFUSED, self.modules, &mut self.out);
        // All keywords are checked even where the call is wrong.
        let Some(call) = call else {
            Keywords::read(map, self.modules, &mut self.out);
            loops::read(map, &mut self.out);
            draft.handler_wrong |= frame.handlers;
            return vec![];
        };
        if !frame.handlers
            && let Some((key, _)) = map.entry("listen")
        {
            self.out.push(Diagnostic::error(&key.loc, "only a handler has `listen`").help("move it below `handlers`"));
        }
        match call.called {
            Called::Module(module) => self.module_task(module, &call, map, node, frame, draft),
            Called::Flow(flow) => {
                self.flow_keywords(flow, map, &call);
                if frame.handlers && matches!(flow, Flow::ImportRole | Flow::IncludeRole) {
                    self.out.push(Diagnostic::error(&call.key.loc, format!("`{}` cannot be a handler", flow.word())));
                    return vec![];
                }
                match flow {
                    Flow::ImportTasks => self.import_tasks(&call, map, frame, draft),
                    Flow::ImportRole => self.import_role(&call, map, frame, draft),
                    Flow::IncludeTasks | Flow::IncludeRole => self.include(flow, &call, map, node, frame, draft),
                }
            }
        }
    }

    /// Keywords that would do nothing on an import or include.
    fn flow_keywords(&mut self, flow: Flow, map: &Mapping, call: &Call) {
        let dynamic = matches!(flow, Flow::IncludeTasks | Flow::IncludeRole);
        for (key, _) in map.iter() {
            let name = key.key_text();
            let shared = SHARED.contains(&name.as_str()) || name == "notify";
            let fits = if dynamic { INCLUDE.contains(&name.as_str()) || loops::is_loop(&name) } else { shared || name == "args" };
            if fits || key == &call.key || name == "action" || !(shared || TASK.contains(&name.as_str()) || loops::is_loop(&name)) {
                continue;
            }
            let mut d = Diagnostic::error(&key.loc, format!("`{name}` does nothing on `{}`", flow.word()));
            if dynamic && shared {
                d = d.help(format!("to put it on what is included, write it under `apply` in `{}`", flow.word()));
            } else if loops::is_loop(&name) {
                d = d.help(format!("use `{}` to loop", flow.word().replace("import", "include")));
            }
            self.out.push(d);
        }
    }

    fn module_task(&mut self, module: &Module, call: &Call, map: &Mapping, node: &Node, frame: &Frame, draft: &mut Draft) -> Vec<Item> {
        let keywords = Keywords::read(map, self.modules, &mut self.out);
        let inner = frame.inside(&keywords, LayerKind::Task);
        let args = action::arguments(module, call, map.get("args"), &inner.module_defaults, &mut self.out);
        let action = Action::Module { name: module.name.to_owned(), loc: call.key.loc.clone(), args };
        let task = self.common(action, map, node, &keywords, &inner, draft);
        self.finish(task, call, &inner, draft)
    }

    /// The task's own keywords and what it inherits.
    pub(crate) fn common(&mut self, action: Action, map: &Mapping, node: &Node, own: &Keywords, frame: &Frame, draft: &mut Draft) -> Task {
        let out = &mut self.out;
        let get = |key: &str| map.get(key).filter(|n| !n.is_null());
        let looped = loops::read(map, out);
        let tests = |key: &str, out: &mut Diagnostics| {
            let list = get(key).map(|n| read::conditions(n, key, out));
            list.iter().flatten().for_each(|n| texts::condition(n, out));
            list
        };
        let until = tests("until", out);
        let (changed_when, failed_when) = (tests("changed_when", out), tests("failed_when", out));
        let retries = get("retries").and_then(|n| read::number_node(n, "retries", out));
        let delay = get("delay").and_then(|n| read::number_node(n, "delay", out));
        retries.iter().chain(&delay).for_each(|n| texts::template(n, out));
        let listen = get("listen").map(|n| read::texts(n, "listen", out)).unwrap_or_default();
        let listen = listen.iter().filter_map(|n| read::literal(n, "listen", out)).collect();
        let register = get("register").and_then(|n| read::name(n, "register", out));
        draft.notified.extend(own.notify.iter().filter(|n| !read::is_template(n)).cloned());
        let task = Task {
            id: self.task_id(),
            loc: node.loc.clone(),
            name: own.name.clone(),
            action,
            when: frame.when.clone(),
            items: looped.items,
            flatten_items: looped.flatten,
            loop_control: looped.control,
            register,
            changed_when,
            failed_when,
            ignore_errors: frame.ignore_errors.clone(),
            until,
            retries,
            delay,
            notify: frame.notify.clone(),
            listen,
            tags: frame.tags.clone(),
            privilege: frame.privilege.clone(),
            layers: frame.task_layers(),
            environment: frame.environment.clone(),
            check_mode: frame.check_mode.clone(),
            diff: frame.diff.clone(),
            no_log: frame.no_log.clone(),
            run_once: frame.run_once.clone(),
            delegate_to: frame.delegate_to.clone(),
            any_errors_fatal: frame.any_errors_fatal.clone(),
            role: frame.role.as_ref().map(|r| r.id),
            search_path: search_path(frame, &draft.dir),
        };
        super::connecting::check(&task, &mut self.out);
        task
    }

    /// Keeps the task if its tags are selected (handlers always are).
    pub(crate) fn finish(&mut self, task: Task, call: &Call, frame: &Frame, draft: &mut Draft) -> Vec<Item> {
        if !frame.handlers && !self.selection.selects(&task.tags) {
            return vec![];
        }
        draft.written.insert(task.id, call.written.clone());
        vec![Item::Task(Box::new(task))]
    }

    fn import_tasks(&mut self, call: &Call, map: &Mapping, frame: &Frame, draft: &mut Draft) -> Vec<Item> {
        let keywords = Keywords::read(map, self.modules, &mut self.out);
        let Some(options) = flow_options(call, map, "file", &["file"], &mut self.out) else { return vec![] };
        let Some(name_node) = options.get("file") else { return vec![] };
        let mut names = draft.names.clone();
        names.0.extend(frame.task_layers().into_iter().flat_map(|l| l.vars.0));
        names.0.extend(keywords.vars.0.iter().cloned());
        let Some(name) = self.known_now(name_node, "import_tasks", &names) else { return vec![] };
        let places = task_places(&name, frame, &draft.dir);
        let Some(file) = self.existing(name_node, "task file", &name, &places) else { return vec![] };
        if frame.trail.contains(&file) || frame.trail.len() > DEEPEST {
            self.out.push(
                Diagnostic::error(&name_node.loc, format!("`{name}` imports itself"))
                    .help("use `include_tasks` with a `when` that ends the circle"),
            );
            return vec![];
        }
        let Some(list) = self.document(&file, Some(&name_node.loc)) else { return vec![] };
        let mut inner = frame.inside(&keywords, LayerKind::Block);
        inner.trail.push(file);
        self.items(&list, &inner, draft)
    }

    fn import_role(&mut self, call: &Call, map: &Mapping, frame: &Frame, draft: &mut Draft) -> Vec<Item> {
        let keywords = Keywords::read(map, self.modules, &mut self.out);
        let Some(options) = flow_options(call, map, "name", ROLE_OPTIONS, &mut self.out) else { return vec![] };
        if let Some((key, _)) = options.entry("apply") {
            self.out.push(Diagnostic::error(&key.loc, "`apply` does nothing on `import_role`").help("write the keywords beside it"));
        }
        let Some((node, choices)) = self.role_options(&options) else { return vec![] };
        let mut names = draft.names.clone();
        names.0.extend(keywords.vars.0.iter().cloned());
        let Some(name) = self.known_now(&node, "import_role", &names) else { return vec![] };
        let wanted = Wanted {
            name,
            node,
            keywords,
            params: Vars::default(),
            from: choices.from,
            public: choices.public.unwrap_or(true),
            allow_duplicates: Some(choices.allow_duplicates.unwrap_or(true)),
            dynamic: false,
        };
        let Some(compiled) = self.role(&wanted, frame, draft) else { return vec![] };
        draft.handlers.extend(compiled.handlers);
        compiled.items
    }

    /// The options of `import_role` and `include_role`: the node that names the role, and the rest.
    pub(crate) fn role_options(&mut self, options: &Mapping) -> Option<(Node, RoleChoices)> {
        let node = options.get("name").or_else(|| options.get("role"))?.clone();
        let out = &mut self.out;
        let mut file = |key: &str| options.get(key).filter(|n| !n.is_null()).and_then(|n| read::literal(n, key, out));
        let from =
            From { tasks: file("tasks_from"), handlers: file("handlers_from"), vars: file("vars_from"), defaults: file("defaults_from") };
        let mut yes = |key: &str| options.get(key).filter(|n| !n.is_null()).and_then(|n| read::boolean(n, key, out));
        let (public, allow_duplicates) = (yes("public"), yes("allow_duplicates"));
        yes("rolespec_validate");
        Some((node, RoleChoices { from, public, allow_duplicates }))
    }
}

/// See [`Loader::role_options`].
pub(crate) struct RoleChoices {
    pub from: From,
    pub public: Option<bool>,
    pub allow_duplicates: Option<bool>,
}

pub(crate) const ROLE_OPTIONS: &[&str] = &[
    "name",
    "role",
    "tasks_from",
    "handlers_from",
    "vars_from",
    "defaults_from",
    "public",
    "allow_duplicates",
    "rolespec_validate",
    "apply",
];

/// The options of an import or include: free-form text is option `main`, which must be there.
pub(crate) fn flow_options(call: &Call, map: &Mapping, main: &str, known: &[&str], out: &mut Diagnostics) -> Option<Mapping> {
    let mut options = Mapping::default();
    let text_key = |loc| Node::text(main, loc);
    match (&call.value.as_map(), call.value.as_str()) {
        (Some(map), _) => options.0.extend(map.0.iter().cloned()),
        // Role names come as `name=…` when they come as text.
        (None, Some(text)) => match super::split::parts(text, Some(&|key| known.contains(&key))) {
            Ok(parts) => {
                let at = |t: String| Node::text(t, call.value.loc.clone());
                options.0.extend(parts.pairs.into_iter().map(|(k, v)| (at(k), at(v))));
                if let Some(rest) = parts.rest {
                    options.0.push((text_key(call.value.loc.clone()), at(super::split::unquote(rest.trim()).to_owned())));
                }
            }
            Err(why) => out.push(Diagnostic::error(&call.value.loc, why)),
        },
        (None, None) if call.value.is_null() => {}
        (None, None) => {
            let d = Diagnostic::error(&call.value.loc, format!("`{}` must be text or a mapping, not {}", call.written, call.value.kind()));
            out.push(d);
            return None;
        }
    }
    if let Some(args) = map.get("args").filter(|n| !n.is_null()) {
        for (key, value) in read::mapping(args, "`args`", out).map(|m| m.0.as_slice()).unwrap_or_default() {
            if options.get(&key.key_text()).is_none() {
                options.0.push((key.clone(), value.clone()));
            }
        }
    }
    let what = format!("`{}`", call.written);
    read::keys(&options, &what, known, &[], out);
    let named = options.get(main).or_else(|| options.get("role")).filter(|n| !n.is_null());
    if named.is_none() {
        out.push(Diagnostic::error(&call.key.loc, format!("{what} needs `{main}`")));
        return None;
    }
    Some(options)
}

/// Where a task file may be: beside the file that names it, beside those that led there, in the role, beside the playbook.
pub(crate) fn task_places(name: &str, frame: &Frame, dir: &Path) -> Vec<PathBuf> {
    let path = files::expand_home(name);
    if path.is_absolute() {
        return vec![path];
    }
    let mut places: Vec<PathBuf> = frame.trail.iter().rev().map(|file| files::folder(file).join(&path)).collect();
    if let Some(role) = &frame.role {
        let part = if frame.handlers { "handlers" } else { "tasks" };
        places.extend([role.path.join(part).join(&path), role.path.join(&path)]);
    }
    places.push(dir.join(&path));
    let mut tidied: Vec<PathBuf> = vec![];
    for place in places.iter().map(|p| files::tidy(p)) {
        if !tidied.contains(&place) {
            tidied.push(place);
        }
    }
    tidied
}

/// Folders for a task's relative `src`: its role and the roles around, its file's, the playbook's.
fn search_path(frame: &Frame, dir: &Path) -> Vec<String> {
    let mut folders: Vec<PathBuf> = frame.role.as_ref().map(|r| r.folders()).unwrap_or_default();
    folders.extend(frame.trail.last().map(|file| files::folder(file)));
    folders.push(dir.to_path_buf());
    let mut texts: Vec<String> = vec![];
    for folder in folders {
        let text = if folder.as_os_str().is_empty() { ".".to_owned() } else { folder.display().to_string() };
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

/// The layer of an include's own `vars`.
pub(crate) fn include_layer(vars: &Vars) -> Option<Layer> {
    (!vars.is_empty()).then(|| Layer { kind: LayerKind::IncludeParams, vars: vars.clone() })
}
