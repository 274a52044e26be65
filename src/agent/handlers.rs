//! Handlers: whom a task notifies, when they run, and those that an earlier run owes.
//!
//! The journal notes a notification before the notifying task's first change, and that the handler ran. So a handler that
//! failed, or that a run never got to, is notified from the start when the play is run again.

use super::run::{Flow, PlayState, run_task, tasks};
use super::session::Session;
use super::task::Outcome;
use crate::diag::Loc;
use crate::host::journal::{HandlerState, Journal, Owed};
use crate::play::{Item, Play, Task};
use crate::protocol::Status;
use serde_json::Value as Json;
use std::collections::HashMap;

/// A play's handlers.
pub struct Handlers {
    all: Vec<Item>,
    /// Notified ones by task id; `false`: only perhaps, by a task a dry run can't know about.
    notified: HashMap<u32, bool>,
    /// The play, as the journal names it.
    play: String,
    /// What earlier runs owe, until the handler is found: an include may bring it.
    owed: Vec<Owed>,
    /// The runs that owe the handlers found, by task id.
    owing: HashMap<u32, String>,
}

/// What the task now running would notify.
#[derive(Default)]
pub struct Notices {
    /// The play, as the journal names it.
    play: String,
    /// Handlers, as the journal names them.
    names: Vec<String>,
    /// The journal has them.
    noted: bool,
}

impl Handlers {
    /// Those of `play`, and what the journal says is owed to it.
    pub fn new(play: &Play, journal: &Journal) -> Self {
        // Not the whole path: it depends on the folder that fettle is called from.
        let file = play.loc.file.rsplit('/').next().unwrap_or_default();
        let name = format!("{file}: {}", play.name);
        let any = !play.handlers.is_empty() || play.includes.iter().any(|(_, i)| !i.handlers.is_empty());
        let owed = if any { journal.owed(&name) } else { vec![] };
        Self { all: play.handlers.clone(), notified: HashMap::new(), play: name, owed, owing: HashMap::new() }
    }

    /// Takes one that came with an include.
    pub fn add(&mut self, handler: Item) {
        if !self.all.contains(&handler) {
            self.all.push(handler);
        }
    }
}

/// The names that `task` notifies, and where they stand.
fn names<'t>(session: &Session<'_>, state: &PlayState, task: &'t Task) -> Result<Vec<(String, &'t Loc)>, String> {
    let mut all = vec![];
    if task.notify.is_empty() {
        return Ok(all);
    }
    let scope = session.scope(state, task);
    for node in &task.notify {
        match session.engine.render(node, &scope).map_err(|e| e.to_string())? {
            Json::Array(items) => all.extend(items.iter().filter_map(|i| Some((i.as_str()?.to_owned(), &node.loc)))),
            Json::String(name) => all.push((name, &node.loc)),
            other => return Err(format!("{}: `notify` must name handlers, not {other}", node.loc)),
        }
    }
    Ok(all)
}

/// What `task` will notify if it changes something, as far as can be told before it runs.
pub fn notices(session: &Session<'_>, state: &PlayState, task: &Task) -> Notices {
    let names = names(session, state, task).unwrap_or_default();
    let ids: Vec<u32> = names.iter().flat_map(|(name, _)| listeners(session, state, name)).collect();
    Notices { play: state.handlers.play.clone(), names: journal_names(session, state, &ids), noted: false }
}

impl Session<'_> {
    /// Notes in the journal what the task will notify, before its first change. That change's own entry is synced,
    /// and fails the task where the journal can't be written.
    pub fn note_ahead(&mut self, task: &str) {
        let Notices { play, names, noted } = &mut self.notices;
        if !*noted {
            *noted = names.iter().all(|name| self.journal.handler(play, name, task, HandlerState::Notified).is_ok());
        }
    }
}

/// Remembers the handlers that `task` notifies; `ahead`: what was noted of them while it ran.
pub fn notify(session: &mut Session<'_>, state: &mut PlayState, task: &Task, outcome: &Outcome, ahead: &Notices) -> Result<(), String> {
    let status = outcome.verdict.status;
    let mut ids = vec![];
    if matches!(status, Status::Changed | Status::Unknown) {
        for (name, place) in names(session, state, task)? {
            let found = listeners(session, state, &name);
            if found.is_empty() {
                return Err(format!("{place}: no handler is called `{name}` or listens to it"));
            }
            ids.extend(found);
        }
    }
    for id in &ids {
        *state.handlers.notified.entry(*id).or_default() |= status == Status::Changed;
        state.handlers.owing.remove(id);
    }
    // A task that failed may have changed something all the same, unless the play says that this does not matter.
    let failed = status == Status::Failed && !outcome.ignored && session.rescuable == 0;
    if outcome.stopped || failed {
        return Ok(());
    }
    let place = task.loc.to_string();
    // A dry run does something only where a task says `check_mode: false`.
    let acted = ahead.noted || !session.settings.check;
    let real = if acted && status == Status::Changed { journal_names(session, state, &ids) } else { vec![] };
    let mut note = |name: &String, what| {
        let noted = session.journal.handler(&state.handlers.play, name, &place, what);
        noted.map_err(|e| format!("{place}: the journal can't be written: {e}"))
    };
    if ahead.noted {
        ahead.names.iter().filter(|n| !real.contains(n)).try_for_each(|n| note(n, HandlerState::NotNeeded))?;
    }
    let late: Vec<&String> = real.iter().filter(|n| !(ahead.noted && ahead.names.contains(n))).collect();
    late.iter().try_for_each(|n| note(n, HandlerState::Notified))?;
    if !late.is_empty() {
        // What it changed is not this host's, so no change synced it.
        let _ = session.journal.sync();
    }
    Ok(())
}

/// Ids of the handlers `name` means: the one of that name (of several, as Ansible, the first of the last role or play that has one),
/// and all that listen to it.
fn listeners(session: &Session<'_>, state: &PlayState, name: &str) -> Vec<u32> {
    let mut ids = vec![];
    let mut named: Option<&Task> = None;
    for handler in tasks(&state.handlers.all) {
        let own = session.task_name(handler, &session.scope(state, handler));
        let role = state.layers.role_name(handler).map(|role| format!("{role} : {own}"));
        if (own == name || role.as_deref() == Some(name)) && named.is_none_or(|other| other.role != handler.role) {
            named = Some(handler);
        }
        if handler.listen.iter().any(|topic| topic == name) {
            ids.push(handler.id);
        }
    }
    ids.extend(named.map(|handler| handler.id).filter(|id| !ids.contains(id)));
    ids
}

/// A handler as the journal names it: `role : name`; one without a name by what it listens to.
fn journal_name(session: &Session<'_>, state: &PlayState, handler: &Task) -> String {
    let mut name = session.task_name(handler, &session.scope(state, handler));
    if handler.name.is_none() {
        name = format!("{name} (listens to {})", handler.listen.join(", "));
    }
    match state.layers.role_name(handler) {
        Some(role) => format!("{role} : {name}"),
        None => name,
    }
}

fn journal_names(session: &Session<'_>, state: &PlayState, ids: &[u32]) -> Vec<String> {
    let mut names = vec![];
    for handler in tasks(&state.handlers.all).into_iter().filter(|h| ids.contains(&h.id)) {
        let name = journal_name(session, state, handler);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Takes what earlier runs owe for notified, as far as the play has it.
fn take_owed(session: &Session<'_>, state: &mut PlayState) {
    for owed in std::mem::take(&mut state.handlers.owed) {
        let mut ids: Vec<u32> = vec![];
        for handler in tasks(&state.handlers.all) {
            if journal_name(session, state, handler) == owed.handler {
                // Of those of one name the last is meant, unless all listen.
                if handler.listen.is_empty() {
                    ids.clear();
                }
                ids.push(handler.id);
            }
        }
        for id in &ids {
            if state.handlers.notified.insert(*id, true).is_none() {
                state.handlers.owing.insert(*id, owed.run.clone());
            }
        }
        if ids.is_empty() {
            state.handlers.owed.push(owed);
        }
    }
}

/// Runs what was notified, in the order the handlers are written.
pub fn flush_handlers(session: &mut Session<'_>, state: &mut PlayState) -> Flow {
    take_owed(session, state);
    // A handler may notify another one: go on until nothing is pending.
    while !state.handlers.notified.is_empty() {
        let handlers = state.handlers.all.clone();
        let mut ran = false;
        for handler in tasks(&handlers) {
            let Some(certain) = state.handlers.notified.remove(&handler.id) else { continue };
            ran = true;
            session.perhaps = !certain;
            session.owing = state.handlers.owing.remove(&handler.id);
            let flow = run_task(session, state, handler, true);
            session.perhaps = false;
            if flow != Flow::Go {
                if flow == Flow::Stopped {
                    state.handlers.notified.insert(handler.id, certain);
                }
                return flow;
            }
            if !session.settings.check {
                let name = journal_name(session, state, handler);
                // Lost, the entry only makes the handler run once more.
                let _ = session.journal.handler(&state.handlers.play, &name, &handler.loc.to_string(), HandlerState::Ran);
            }
        }
        if !ran {
            break;
        }
    }
    Flow::Go
}

/// Names of handlers that were notified and did not run.
pub fn pending_handlers(session: &Session<'_>, state: &mut PlayState) -> Vec<String> {
    take_owed(session, state);
    tasks(&state.handlers.all)
        .into_iter()
        .filter(|h| state.handlers.notified.contains_key(&h.id))
        .map(|h| session.task_name(h, &session.scope(state, h)))
        .collect()
}
