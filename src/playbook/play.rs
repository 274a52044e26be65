//! Playbooks and plays: the top level of what an operator writes.

use super::files;
use super::keywords::{Frame, Keywords, REFUSED, SHARED};
use super::loader::{Draft, Loader};
use super::notify;
use super::read;
use super::{PlaySource, Prompt};
use crate::diag::{Diagnostic, Loc};
use crate::play::{Item, LayerKind, Play, Vars};
use crate::yaml::{Mapping, Node, Value};
use std::path::{Path, PathBuf};

/// Keywords of a play beside the shared ones.
const PLAY: &[&str] = &[
    "hosts",
    "vars_files",
    "vars_prompt",
    "gather_facts",
    "gather_subset",
    "serial",
    "max_fail_percentage",
    "pre_tasks",
    "tasks",
    "post_tasks",
    "handlers",
    "roles",
    "remote_user",
    "user",
    "port",
    "connection",
    "force_handlers",
    "order",
    "strategy",
];

/// What a play does not know, with what to do instead.
const NOT_PLAY: &[(&str, &str)] = &[
    ("fact_path", "leave it out: local facts are read from /etc/ansible/facts.d"),
    ("gather_timeout", "leave it out: facts are read natively, in milliseconds"),
];

/// What plays have in no Ansible either, with where it belongs.
const ELSEWHERE: &[(&str, &str)] = &[
    ("when", "put it on tasks, on a block around them, or on `import_playbook`"),
    ("loop", "put it on tasks"),
    ("block", "put it below `tasks`"),
    ("delegate_to", "put it on tasks, or make that host the play's own"),
];

const IMPORT: &[&str] = &["import_playbook", "ansible.builtin.import_playbook", "ansible.legacy.import_playbook"];

/// What `import_playbook` puts on the plays it brings.
#[derive(Clone, Default)]
struct Outer {
    when: Vec<Node>,
    tags: Vec<String>,
    vars: Vars,
    /// Playbooks that led here.
    trail: Vec<PathBuf>,
}

impl Loader {
    /// All plays of a playbook given on the command line.
    pub(crate) fn playbook(&mut self, path: &Path) -> Vec<PlaySource> {
        self.plays(path, None, &Outer::default())
    }

    fn plays(&mut self, path: &Path, from: Option<&Loc>, outer: &Outer) -> Vec<PlaySource> {
        let Some(document) = self.document(path, from) else { return vec![] };
        let list = match &document.value {
            Value::Seq(list) => list,
            Value::Null => {
                self.out.push(Diagnostic::error(&document.loc, format!("playbook `{}` is empty", path.display())));
                return vec![];
            }
            _ => {
                let d = Diagnostic::error(&document.loc, format!("a playbook must be a list of plays, not {}", document.kind()));
                let is_play = document.as_map().is_some_and(|m| m.get("hosts").is_some());
                self.out.push(if is_play { d.help("start each play with `- `") } else { d });
                return vec![];
            }
        };
        let mut outer = outer.clone();
        outer.trail.push(path.to_path_buf());
        let mut plays = vec![];
        for node in list {
            let Some(map) = node.as_map() else {
                self.out.push(Diagnostic::error(&node.loc, format!("a play must be a mapping, not {}", node.kind())));
                continue;
            };
            match map.iter().find(|(k, _)| k.as_str().is_some_and(|k| IMPORT.contains(&k))) {
                Some((key, name)) => plays.extend(self.import_playbook(key, name, map, path, &outer)),
                None => plays.extend(self.play(node, map, path, &outer)),
            }
        }
        plays
    }

    fn import_playbook(&mut self, key: &Node, name: &Node, map: &Mapping, path: &Path, outer: &Outer) -> Vec<PlaySource> {
        let word = key.key_text();
        read::keys(map, "`import_playbook`", &[word.as_str(), "name", "vars", "tags", "when"], &[], &mut self.out);
        let keywords = Keywords::read(map, self.modules, &mut self.out);
        let Some(name_text) =
            self.known_now(name, "import_playbook", &Vars(outer.vars.0.iter().chain(&keywords.vars.0).cloned().collect()))
        else {
            return vec![];
        };
        let file = files::tidy(&files::folder(path).join(files::expand_home(&name_text)));
        let Some(file) = self.existing(name, "playbook", &name_text, &[file]) else { return vec![] };
        if outer.trail.contains(&file) {
            self.out.push(Diagnostic::error(&name.loc, format!("playbook `{name_text}` imports itself")));
            return vec![];
        }
        let mut inner = outer.clone();
        inner.when.extend(keywords.when);
        inner.tags.extend(keywords.tags);
        // The outer import's variables win, as the play's own lose to both.
        inner.vars = Vars(keywords.vars.0.into_iter().chain(outer.vars.0.iter().cloned()).collect());
        self.plays(&file, Some(&name.loc), &inner)
    }

    fn play(&mut self, node: &Node, map: &Mapping, path: &Path, outer: &Outer) -> Option<PlaySource> {
        for (name, place) in ELSEWHERE {
            if let Some((key, _)) = map.entry(name) {
                self.out.push(Diagnostic::error(&key.loc, format!("a play has no `{name}`")).help(*place));
            }
        }
        let known: Vec<&str> = SHARED.iter().chain(PLAY).copied().chain(ELSEWHERE.iter().map(|(k, _)| *k)).collect();
        let refused: Vec<(&str, &str)> = REFUSED.iter().chain(NOT_PLAY).copied().filter(|(k, _)| !PLAY.contains(k)).collect();
        read::keys(map, "a play", &known, &refused, &mut self.out);
        let get = |key: &str| map.get(key).filter(|n| !n.is_null());
        let own = Mapping(map.0.iter().filter(|(k, _)| k.as_str() != Some("when")).cloned().collect());
        let mut keywords = Keywords::read(&own, self.modules, &mut self.out);
        for tag in &outer.tags {
            if !keywords.tags.contains(tag) {
                keywords.tags.push(tag.clone());
            }
        }
        let dir = files::folder(path);
        let mut vars = std::mem::take(&mut keywords.vars);
        vars.0.extend(outer.vars.0.iter().cloned());
        let own_vars = vars.0.len();
        let hosts = self.hosts(node, map);
        if let Some(files) = get("vars_files") {
            let more = self.vars_files(files, &vars, &dir);
            vars.0.extend(more.0);
        }

        let settings = self.settings(map);
        let mut draft = Draft { dir: dir.clone(), names: self.names(&dir, &vars), ..Draft::default() };
        let frame = Frame { trail: vec![path.to_path_buf()], privilege: self.privilege.clone(), ..Frame::default() }
            .inside(&keywords, LayerKind::Block);
        // Conditions of an import are for tasks and roles, not for handlers.
        let tasks_frame = Frame { when: outer.when.iter().cloned().chain(frame.when.iter().cloned()).collect(), ..frame.clone() };
        let section = |loader: &mut Self, key: &str, draft: &mut Draft| {
            get(key).map(|list| loader.items(list, &tasks_frame, draft)).unwrap_or_default()
        };
        // In the order they run, as a role that has run is left out later.
        let pre = section(self, "pre_tasks", &mut draft);
        let mut role_items = vec![];
        let mut handlers: Vec<Item> = vec![];
        for entry in get("roles").map(|n| read::list(n, "`roles`", &mut self.out).to_vec()).unwrap_or_default() {
            let Some(wanted) = self.role_entry(&entry, "a role", &draft) else { continue };
            if let Some(compiled) = self.role(&wanted, &tasks_frame, &mut draft) {
                role_items.extend(compiled.items);
                handlers.extend(compiled.handlers);
            }
        }
        role_items.extend(section(self, "tasks", &mut draft));
        let post = section(self, "post_tasks", &mut draft);
        let privilege = frame.privilege.clone();
        let handler_frame = Frame { handlers: true, ..frame };
        if let Some(list) = get("handlers") {
            handlers.extend(self.items(list, &handler_frame, &mut draft));
        }
        handlers.append(&mut draft.handlers);

        let name = keywords.name.as_ref().map(Node::key_text).unwrap_or_else(|| hosts_text(hosts.as_ref()));
        let gathers = match settings.gather_facts {
            Some(false) => false,
            // Unless the play has tags of its own, facts are gathered whatever tags are asked for.
            _ => keywords.tags.is_empty() || self.selection.selects(&keywords.tags),
        };
        let play = Play {
            name,
            loc: node.loc.clone(),
            gather: gathers.then_some(settings.subset),
            vars,
            roles: std::mem::take(&mut draft.roles),
            sections: vec![pre, role_items, post],
            handlers,
            includes: std::mem::take(&mut draft.includes),
            force_handlers: settings.force_handlers,
            in_step: false,
        };
        notify::check(&play, &draft, &mut self.out);
        let mut source = PlaySource {
            play,
            hosts: hosts?,
            serial: settings.serial,
            max_fail_percentage: settings.max_fail_percentage,
            order: settings.order,
            tags: keywords.tags,
            privilege,
            remote_user: settings.remote_user,
            port: settings.port,
            connection: settings.connection,
            vars_prompt: settings.prompts,
            dir,
            playbook: path.to_path_buf(),
            root: outer.trail.first().cloned().unwrap_or_else(|| path.to_path_buf()),
            files: vec![],
            uses_hostvars: false,
            open: draft.open,
            own_vars,
            written: draft.written,
            reach: super::reach::Reach::default(),
        };
        super::reach::look(&mut source, &mut self.out);
        Some(source)
    }

    fn hosts(&mut self, node: &Node, map: &Mapping) -> Option<Node> {
        let Some((key, hosts)) = map.entry("hosts") else {
            let key = map.iter().next().map_or(&node.loc, |(k, _)| &k.loc);
            self.out.push(Diagnostic::error(key, "a play needs `hosts`").help("write `hosts: all`, a group, or a pattern"));
            return None;
        };
        let bad = match &hosts.value {
            Value::Str(s) if s.trim().is_empty() => Some("is empty".to_owned()),
            Value::Str(_) => None,
            Value::Seq(items) if items.is_empty() => Some("is empty".to_owned()),
            Value::Seq(items) => {
                items.iter().find(|i| i.as_str().is_none()).map(|i| format!("lists {} where a pattern is needed", i.kind()))
            }
            Value::Null => Some("is empty".to_owned()),
            _ => Some(format!("must be a pattern or a list of patterns, not {}", hosts.kind())),
        };
        if let Some(bad) = bad {
            let loc = if hosts.is_null() { &key.loc } else { &hosts.loc };
            self.out.push(Diagnostic::error(loc, format!("`hosts` {bad}")));
            return None;
        }
        super::texts::template(hosts, &mut self.out);
        Some(hosts.clone())
    }

    /// `vars_files`: each entry a file, or a list of which the first that exists is read.
    fn vars_files(&mut self, node: &Node, vars: &Vars, dir: &Path) -> Vars {
        let entries = match &node.value {
            Value::Str(_) => std::slice::from_ref(node),
            _ => read::list(node, "`vars_files`", &mut self.out),
        };
        let mut read_so_far = Vars::default();
        for entry in entries {
            let choices = match &entry.value {
                Value::Seq(list) => list.as_slice(),
                _ => std::slice::from_ref(entry),
            };
            let mut tried = vec![];
            let mut found = None;
            let mut name = String::new();
            for choice in choices {
                let known = self.names(dir, &Vars(vars.0.iter().chain(&read_so_far.0).cloned().collect()));
                let Some(text) = self.known_now(choice, "vars_files", &known) else {
                    found = Some(None);
                    break;
                };
                let path = files::expand_home(&text);
                let places: Vec<PathBuf> = [dir.join("vars").join(&path), dir.join(&path)].iter().map(|p| files::tidy(p)).collect();
                if let Some(file) = files::first_that_exists(&places) {
                    found = Some(Some(file));
                    break;
                }
                name = text;
                tried.extend(places);
            }
            match found {
                Some(Some(file)) => {
                    let more = self.vars_file(&file, Some(&entry.loc));
                    more.0.iter().for_each(|(_, v)| super::texts::template(v, &mut self.out));
                    read_so_far.0.extend(more.0);
                }
                Some(None) => {}
                None if choices.is_empty() => {}
                None => {
                    self.existing(entry, "vars file", &name, &tried);
                }
            }
        }
        read_so_far
    }

    fn settings(&mut self, map: &Mapping) -> Settings {
        let get = |key: &str| map.get(key).filter(|n| !n.is_null());
        let out = &mut self.out;
        let mut s = Settings {
            gather_facts: get("gather_facts").and_then(|n| read::boolean(n, "gather_facts", out)),
            force_handlers: get("force_handlers").and_then(|n| read::boolean(n, "force_handlers", out)).unwrap_or(false),
            remote_user: get("remote_user").and_then(|n| read::text_node(n, "remote_user", out)),
            max_fail_percentage: get("max_fail_percentage").and_then(|n| read::number_node(n, "max_fail_percentage", out)),
            port: get("port").and_then(|n| read::number_node(n, "port", out)),
            ..Settings::default()
        };
        if let Some((key, _)) = map.entry("user") {
            out.push(Diagnostic::error(&key.loc, "`user` of a play is not supported").help("write `remote_user`"));
        }
        s.subset = get("gather_subset")
            .map(|n| {
                let nodes = read::texts(n, "gather_subset", out);
                nodes.iter().filter_map(|n| read::literal(n, "gather_subset", out)).flat_map(|t| commas(&t)).collect()
            })
            .unwrap_or_default();
        if s.subset.is_empty() {
            s.subset.push("all".into());
        }
        if let Some(n) = get("connection")
            && let Some(text) = read::literal(n, "connection", out)
        {
            let short = text.strip_prefix("ansible.builtin.").unwrap_or(&text);
            match short {
                "ssh" | "local" | "smart" => s.connection = Some(Node::text(short, n.loc.clone())),
                _ => out.push(
                    Diagnostic::error(&n.loc, format!("connection `{text}` is not supported yet"))
                        .nearest(&text, ["ssh", "local", "smart"])
                        .help("connections: ssh, local, smart (the same as ssh)"),
                ),
            }
        }
        if let Some(n) = get("strategy")
            && let Some(text) = read::literal(n, "strategy", out)
        {
            match text.strip_prefix("ansible.builtin.").unwrap_or(&text) {
                // Hosts never wait for each other inside a play; batches are made by `serial`.
                "linear" | "free" => {}
                _ => out.push(
                    Diagnostic::error(&n.loc, format!("strategy `{text}` is not supported yet"))
                        .help("strategies: linear, free; or leave it out"),
                ),
            }
        }
        if let Some(n) = get("order")
            && let Some(text) = read::literal(n, "order", out)
        {
            let known = ["inventory", "reverse_inventory", "sorted", "reverse_sorted", "shuffle"];
            if known.contains(&text.as_str()) {
                s.order = Some(text);
            } else {
                out.push(
                    Diagnostic::error(&n.loc, format!("`order` cannot be `{text}`"))
                        .nearest(&text, known)
                        .help(format!("orders: {}", known.join(", "))),
                );
            }
        }
        if let Some(n) = get("serial") {
            let list = n.as_seq().map_or_else(|| vec![n.clone()], <[Node]>::to_vec);
            for batch in list {
                let good = match &batch.value {
                    Value::Int(i) => *i > 0,
                    Value::Str(t) => {
                        read::is_template(&batch)
                            || t.trim().parse::<u32>().is_ok_and(|n| n > 0)
                            || t.trim().strip_suffix('%').and_then(|p| p.trim().parse::<f64>().ok()).is_some_and(|p| p > 0.0 && p <= 100.0)
                    }
                    _ => false,
                };
                if good {
                    super::texts::template(&batch, out);
                    s.serial.push(batch);
                } else {
                    out.push(
                        Diagnostic::error(
                            &batch.loc,
                            format!("`serial` must be a number of hosts or a percentage, not {}", read::shown(&batch)),
                        )
                        .help("write 1, \"30%\", or a list of batches such as [1, 5, \"20%\"]"),
                    );
                }
            }
        }
        s.prompts = get("vars_prompt").map(|n| self.prompts(n)).unwrap_or_default();
        s
    }

    fn prompts(&mut self, node: &Node) -> Vec<Prompt> {
        let out = &mut self.out;
        let mut prompts = vec![];
        for entry in read::list(node, "`vars_prompt`", out) {
            let Some(map) = read::mapping(entry, "an entry of `vars_prompt`", out) else { continue };
            let refused = [
                ("encrypt", "store the hash itself, or hash it with a filter"),
                ("salt", "leave it out"),
                ("salt_size", "leave it out"),
                ("unsafe", "leave it out: what is typed is never a template"),
            ];
            read::keys(map, "`vars_prompt`", &["name", "prompt", "default", "private", "confirm"], &refused, out);
            let get = |key: &str| map.get(key).filter(|n| !n.is_null());
            let Some(name) = get("name") else {
                out.push(Diagnostic::error(&entry.loc, "an entry of `vars_prompt` needs `name`"));
                continue;
            };
            let Some(name) = read::name(name, "name", out) else { continue };
            prompts.push(Prompt {
                text: get("prompt").and_then(|n| read::text(n, "prompt", out)).unwrap_or_else(|| name.clone()),
                default: get("default").and_then(|n| read::text(n, "default", out)),
                private: get("private").and_then(|n| read::boolean(n, "private", out)).unwrap_or(true),
                confirm: get("confirm").and_then(|n| read::boolean(n, "confirm", out)).unwrap_or(false),
                loc: entry.loc.clone(),
                name,
            });
        }
        prompts
    }
}

/// What only plays have.
#[derive(Default)]
struct Settings {
    gather_facts: Option<bool>,
    subset: Vec<String>,
    force_handlers: bool,
    remote_user: Option<Node>,
    port: Option<Node>,
    connection: Option<Node>,
    order: Option<String>,
    serial: Vec<Node>,
    max_fail_percentage: Option<Node>,
    prompts: Vec<Prompt>,
}

fn commas(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect()
}

/// The host pattern as one text.
pub(crate) fn hosts_text(hosts: Option<&Node>) -> String {
    match hosts.map(|n| &n.value) {
        Some(Value::Seq(items)) => items.iter().map(Node::key_text).collect::<Vec<_>>().join(","),
        Some(_) => hosts.map(Node::key_text).unwrap_or_default(),
        None => String::new(),
    }
}
