//! `include_tasks` and `include_role`: what stands around them is remembered, and the answer is made from it,
//! at load where the name is written out, otherwise when a host has rendered it.

use super::action::{Call, Flow};
use super::compile::{ROLE_OPTIONS, flow_options, include_layer, task_places};
use super::keywords::{Frame, Keywords, REFUSED, SHARED};
use super::loader::{Draft, Loader};
use super::read;
use super::role::{From, Wanted};
use crate::diag::{Diagnostic, Diagnostics, Loc};
use crate::play::{Action, Include, IncludeKind, Included, Item, LayerKind, Vars};
use crate::yaml::{Mapping, Node};
use std::path::PathBuf;
use std::sync::Arc;

/// What an include's answer is made from.
#[derive(Debug)]
pub(crate) struct Context {
    kind: IncludeKind,
    /// What the included tasks inherit.
    frame: Frame,
    /// The node that names the file or role.
    node: Node,
    from: From,
    public: bool,
    dir: PathBuf,
    names: Vars,
}

impl Loader {
    pub(crate) fn include(&mut self, flow: Flow, call: &Call, map: &Mapping, node: &Node, frame: &Frame, draft: &mut Draft) -> Vec<Item> {
        let keywords = Keywords::read(map, self.modules, &mut self.out);
        let (kind, main, known): (_, _, &[&str]) = match flow {
            Flow::IncludeRole => (IncludeKind::Role, "name", ROLE_OPTIONS),
            _ => (IncludeKind::Tasks, "file", &["file", "apply"]),
        };
        let Some(options) = flow_options(call, map, main, known, &mut self.out) else { return vec![] };
        let (name, from, public) = if kind == IncludeKind::Role {
            let Some((name, choices)) = self.role_options(&options) else { return vec![] };
            if choices.allow_duplicates == Some(false) {
                let loc = options.entry("allow_duplicates").map_or(&node.loc, |(k, _)| &k.loc);
                let d = Diagnostic::error(loc, "`allow_duplicates: no` of `include_role` is not supported yet");
                self.out.push(d.help("use `import_role`, or guard it with `when`"));
            }
            (name, choices.from, choices.public.unwrap_or(false))
        } else {
            let Some(name) = options.get("file").cloned() else { return vec![] };
            (name, From::default(), false)
        };
        let Some(name) = read::text_node(&name, main, &mut self.out) else { return vec![] };
        super::texts::template(&name, &mut self.out);

        // The include's own keywords are its own; only its variables and `apply` reach what it includes.
        let mut inner = frame.clone();
        inner.layers.extend(include_layer(&keywords.vars));
        if let Some(apply) = options.get("apply").filter(|n| !n.is_null()) {
            inner = self.apply(apply, &inner);
        }
        let own = frame.inside(&keywords, LayerKind::IncludeParams);
        let rest = |(k, v): &(Node, Node)| {
            let key = k.key_text();
            (!["name", "role", "file", "apply"].contains(&key.as_str())).then(|| (key, v.clone()))
        };
        let include = Include {
            kind,
            name: name.clone(),
            options: options.0.iter().filter_map(rest).collect(),
            apply: options.get("apply").cloned(),
        };
        let task = self.common(Action::Include(include), map, node, &keywords, &own, draft);
        let id = task.id;
        let items = self.finish(task, call, &own, draft);
        if items.is_empty() {
            return items;
        }
        let context =
            Arc::new(Context { kind, frame: inner, node: name.clone(), from, public, dir: draft.dir.clone(), names: draft.names.clone() });
        self.contexts.insert(id, context.clone());
        if read::is_template(&name) {
            draft.open = true;
        } else {
            let text = name.key_text();
            if self.circular(&context, &text) {
                // It ends, if it ends, by a condition only the host knows.
                draft.open = true;
            } else if let Some(included) = self.answer(&context, &text, draft) {
                draft.includes.push((Include::key(id, &text), included.clone()));
                self.answers.insert((id, text), Ok(included));
            }
        }
        items
    }

    /// `apply`: the keywords of a block around what is included.
    fn apply(&mut self, apply: &Node, frame: &Frame) -> Frame {
        let Some(map) = read::mapping(apply, "`apply`", &mut self.out) else { return frame.clone() };
        let known: Vec<&str> = SHARED.iter().copied().chain(["notify"]).collect();
        read::keys(map, "`apply`", &known, REFUSED, &mut self.out);
        let keywords = Keywords::read(map, self.modules, &mut self.out);
        frame.inside(&keywords, LayerKind::Block)
    }

    /// Whether what is included is already being read.
    fn circular(&mut self, context: &Context, name: &str) -> bool {
        match context.kind {
            IncludeKind::Tasks => {
                let places = task_places(name, &context.frame, &context.dir);
                super::files::first_that_exists(&places).is_some_and(|file| context.frame.trail.contains(&file))
            }
            IncludeKind::Role => {
                let Some(role) = context.frame.role.clone() else { return false };
                self.included_role(context, name).is_some_and(|folder| role.within(&folder))
            }
        }
    }

    fn wanted(&self, context: &Context, name: &str) -> Wanted {
        Wanted {
            name: name.to_owned(),
            node: context.node.clone(),
            keywords: Keywords::default(),
            params: Vars::default(),
            from: context.from.clone(),
            public: context.public,
            allow_duplicates: Some(true),
            dynamic: true,
        }
    }

    /// The answer to an include; `None` when something is wrong with it, and that has been said.
    fn answer(&mut self, context: &Context, name: &str, draft: &mut Draft) -> Option<Included> {
        // What comes with the include is its own: roles and handlers met here go into the answer.
        let roles = std::mem::take(&mut draft.roles);
        let handlers = std::mem::take(&mut draft.handlers);
        // The include may be skipped: no role in it counts as run for what comes later.
        let seen = draft.seen.clone();
        let items = match context.kind {
            IncludeKind::Tasks => self.included_tasks(context, name, draft),
            IncludeKind::Role => self.role(&self.wanted(context, name), &context.frame, draft).map(|compiled| {
                draft.handlers.extend(compiled.handlers);
                compiled.items
            }),
        };
        draft.seen = seen;
        let roles = std::mem::replace(&mut draft.roles, roles);
        let handlers = std::mem::replace(&mut draft.handlers, handlers);
        items.map(|items| Included { items, handlers, roles })
    }

    fn included_tasks(&mut self, context: &Context, name: &str, draft: &mut Draft) -> Option<Vec<Item>> {
        let places = task_places(name, &context.frame, &context.dir);
        let file = self.existing(&context.node, "task file", name, &places)?;
        let list = self.document(&file, Some(&context.node.loc))?;
        let mut frame = context.frame.clone();
        frame.trail.push(file);
        Some(self.items(&list, &frame, draft))
    }

    /// What the playbook writes as the name of what `task` includes.
    pub(crate) fn include_name(&self, task: u32) -> Option<&Node> {
        self.contexts.get(&task).map(|context| &context.node)
    }

    /// What a host's name for an include leads to, where the playbook's own folders begin, and where the include stands.
    /// `None`: the playbook names it itself, or it is not there.
    pub(crate) fn led_to(&mut self, task: u32, name: &str) -> Option<(PathBuf, Vec<PathBuf>, Loc)> {
        let context = self.contexts.get(&task).cloned().filter(|context| read::is_template(&context.node))?;
        let Context { kind, frame, dir, .. } = &*context;
        let found = match kind {
            IncludeKind::Tasks => super::files::first_that_exists(&task_places(name, frame, dir))?,
            IncludeKind::Role => self.included_role(&context, name)?,
        };
        let roles = frame.role.iter().flat_map(|role| role.folders()).flat_map(|role| [super::files::folder(&role), role]);
        let own = frame.trail.iter().map(|file| super::files::folder(file)).chain([dir.clone()]);
        Some((found, roles.chain(own).chain(self.roles_path.iter().cloned()).collect(), context.node.loc.clone()))
    }

    /// The folder of an included role, if it is there.
    fn included_role(&mut self, context: &Context, name: &str) -> Option<PathBuf> {
        let draft = Draft { dir: context.dir.clone(), ..Draft::default() };
        let before = self.out.0.len();
        let beside = context.frame.role.as_ref().map(|role| role.path.clone());
        let folder = self.role_folder(&self.wanted(context, name), &draft, beside.as_deref());
        // That it is not there is said when it is loaded.
        self.out.0.truncate(before);
        folder
    }

    /// Answers a dynamic include whose name a host has rendered. Equal questions get the same answer, with the
    /// same task ids, whichever host asks.
    pub(crate) fn answer_later(&mut self, task: u32, name: &str) -> Result<Included, Diagnostics> {
        let key = (task, name.to_owned());
        if let Some(known) = self.answers.get(&key) {
            return known.clone();
        }
        let Some(context) = self.contexts.get(&task).cloned() else {
            return Err(Diagnostic::bare(format!("task {task} is no include")).into());
        };
        let mut draft = Draft { dir: context.dir.clone(), names: context.names.clone(), ..Draft::default() };
        let before = std::mem::take(&mut self.out);
        let included = self.answer(&context, name, &mut draft);
        let mut found = std::mem::replace(&mut self.out, before);
        super::unique(&mut found);
        let result = match included {
            Some(included) if !found.has_errors() => Ok(included),
            _ if found.has_errors() => Err(found),
            // The file is known to be wrong from an earlier question.
            _ => Err(Diagnostic::error(&context.node.loc, format!("`{name}` cannot be included: it has errors")).into()),
        };
        self.answers.insert(key, result.clone());
        result
    }
}
