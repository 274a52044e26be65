//! One play on this host: sections, blocks, dynamic includes.

use super::files::Store;
use super::handlers::{Handlers, flush_handlers, notices, notify, pending_handlers};
use super::session::Session;
use super::together::Part;
use super::variables::{Layer, PlayLayers, plain_layer};
use super::verdict::Verdict;
use crate::play::{Action, Block, Include, Included, Item, Play, Task};
use crate::protocol::{PlayRun, Status, TaskReport, ToAgent, ToController, Told};
use crate::template::Scope;
use serde_json::{Map, Value as Json};
use std::collections::{HashMap, HashSet};

/// How a list of items ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// To its end.
    Go,
    /// A task failed.
    Failed,
    /// `meta: end_play` or `end_host`.
    End,
    /// The run is to stop.
    Stopped,
}

/// What belongs to the play that is running.
pub struct PlayState {
    /// Variable layers.
    pub layers: PlayLayers,
    /// The controller's files.
    pub store: Store,
    /// Loop variables of enclosing includes, and what `rescue` sees; outermost first.
    pub on_top: Vec<Layer>,
    /// The handlers, and which are to run.
    pub handlers: Handlers,
    includes: HashMap<String, Included>,
    done: HashSet<u32>,
    /// Tasks that read `hostvars`.
    pub meets: HashSet<u32>,
    /// What is read through it; `None`: anything.
    pub told: Option<Vec<String>>,
    /// Hosts begin each task together.
    pub in_step: bool,
    /// The last failure ends the run on all hosts.
    fatal: bool,
}

/// Runs a play and tells the controller how it ended.
pub fn run_play(session: &mut Session<'_>, run: PlayRun) {
    let PlayRun { play, vars, files, share, meets, told } = run;
    let mut state = PlayState {
        layers: PlayLayers::new(&play, &vars),
        store: Store::new(files),
        on_top: vec![],
        handlers: Handlers::new(&play, &session.journal),
        includes: play.includes.iter().cloned().collect(),
        done: HashSet::new(),
        meets: meets.into_iter().collect(),
        told,
        in_step: play.in_step,
        fatal: false,
    };
    session.visits.clear();
    let flow = play_flow(session, &mut state, &play);
    session.any_failed |= flow == Flow::Failed;
    let not_done: Vec<&Task> = play.sections.iter().flat_map(|items| tasks(items)).filter(|t| !state.done.contains(&t.id)).collect();
    session.wire.send(&ToController::PlayDone {
        failed: flow == Flow::Failed,
        fatal: flow == Flow::Failed && state.fatal,
        not_done: if flow == Flow::Go { 0 } else { u32::try_from(not_done.len()).unwrap_or(u32::MAX) },
        stopped: flow == Flow::Stopped,
        pending_handlers: pending_handlers(session, &mut state),
        variables: if share { state.layers.view(&session.engine, &session.memory, Some(&session.memory.names())) } else { Map::new() },
    });
}

fn play_flow(session: &mut Session<'_>, state: &mut PlayState, play: &Play) -> Flow {
    if let Some(subset) = &play.gather
        && session.gather_facts(play, subset).is_err()
    {
        return Flow::Failed;
    }
    for section in &play.sections {
        let flow = match run_items(session, state, section) {
            Flow::Go if !section.is_empty() => flush_handlers(session, state),
            flow => flow,
        };
        match flow {
            Flow::Go => {}
            Flow::Failed => {
                // As ansible-playbook --force-handlers: the failure stands, but what was notified still runs.
                if play.force_handlers && !session.wire.stopping() {
                    flush_handlers(session, state);
                }
                return Flow::Failed;
            }
            flow => return flow,
        }
    }
    Flow::Go
}

/// All tasks below `items` that run when nothing fails (`rescue` parts are left out).
pub fn tasks(items: &[Item]) -> Vec<&Task> {
    items
        .iter()
        .flat_map(|item| match item {
            Item::Task(task) => vec![&**task],
            Item::Block(block) => tasks(&block.block).into_iter().chain(tasks(&block.always)).collect(),
        })
        .collect()
}

fn run_items(session: &mut Session<'_>, state: &mut PlayState, items: &[Item]) -> Flow {
    for item in items {
        let flow = match item {
            Item::Task(task) => run_task(session, state, task, false),
            Item::Block(block) => run_block(session, state, block),
        };
        if flow != Flow::Go {
            return flow;
        }
    }
    Flow::Go
}

fn run_block(session: &mut Session<'_>, state: &mut PlayState, block: &Block) -> Flow {
    session.rescuable += usize::from(!block.rescue.is_empty());
    let mut flow = run_items(session, state, &block.block);
    session.rescuable -= usize::from(!block.rescue.is_empty());
    if flow == Flow::Failed && !block.rescue.is_empty() {
        let (task, result) = session.last_failure.take().unwrap_or_default();
        state.on_top.push(plain_layer([("ansible_failed_task".to_owned(), task), ("ansible_failed_result".to_owned(), result)]));
        flow = run_items(session, state, &block.rescue);
        state.on_top.pop();
    }
    if flow == Flow::Stopped {
        return flow;
    }
    match run_items(session, state, &block.always) {
        Flow::Go => flow,
        worse => worse,
    }
}

pub fn run_task(session: &mut Session<'_>, state: &mut PlayState, task: &Task, handler: bool) -> Flow {
    if session.wire.stopping() {
        return Flow::Stopped;
    }
    if state.meets.contains(&task.id) && !session.meet_for_hostvars(state, task) {
        return Flow::Stopped;
    }
    match &task.action {
        Action::Include(include) => run_include(session, state, task, include),
        Action::Module { .. } => {
            let part = session.meet(state, task, &scope_of(session, state, task), handler);
            let place = match part {
                Part::Own => None,
                Part::ForAll(place) => Some(place),
                Part::Done(actions) => {
                    state.done.insert(task.id);
                    return metas(session, state, &actions);
                }
                Part::Over(flow) => {
                    if flow != Flow::Stopped {
                        state.done.insert(task.id);
                    }
                    return fatal(session, state, task, flow);
                }
            };
            session.told = Told::default();
            session.notices = notices(session, state, task);
            let outcome = session.run_module_task(state, task, handler);
            let ahead = std::mem::take(&mut session.notices);
            state.done.insert(task.id);
            if let Some(place) = place {
                session.tell_all(place, &outcome);
            }
            match metas(session, state, &outcome.meta) {
                Flow::Go => {}
                flow => return flow,
            }
            if let Err(message) = notify(session, state, task, &outcome, &ahead) {
                session.report(task, Verdict::failed(message), handler);
                return Flow::Failed;
            }
            if outcome.stopped {
                Flow::Stopped
            } else if outcome.verdict.status == Status::Failed && !outcome.ignored {
                fatal(session, state, task, Flow::Failed)
            } else {
                Flow::Go
            }
        }
    }
}

/// Remembers whether a failure is everybody's.
fn fatal(session: &Session<'_>, state: &mut PlayState, task: &Task, flow: Flow) -> Flow {
    if flow == Flow::Failed {
        // One that can't be rendered is: to stop is the safe side.
        state.fatal = session.flag(task.any_errors_fatal.as_ref(), false, &scope_of(session, state, task)).unwrap_or(true);
    }
    flow
}

fn metas(session: &mut Session<'_>, state: &mut PlayState, actions: &[String]) -> Flow {
    for action in actions {
        match meta(session, state, action) {
            Flow::Go => {}
            flow => return flow,
        }
    }
    Flow::Go
}

fn meta(session: &mut Session<'_>, state: &mut PlayState, action: &str) -> Flow {
    match action {
        "flush_handlers" => flush_handlers(session, state),
        "end_play" | "end_host" | "end_batch" => Flow::End,
        "clear_facts" => {
            session.memory.clear_facts();
            Flow::Go
        }
        // noop, reset_connection (one connection serves the run), clear_host_errors (this host has none).
        _ => Flow::Go,
    }
}

fn run_include(session: &mut Session<'_>, state: &mut PlayState, task: &Task, include: &Include) -> Flow {
    let scope = state.layers.scope(&session.memory, task, &state.on_top);
    let rounds = match session.include_rounds(task, include, &scope) {
        Ok(rounds) => rounds,
        Err(verdict) => {
            state.done.insert(task.id);
            let failed = verdict.status == Status::Failed;
            session.report(task, *verdict, false);
            return if failed { Flow::Failed } else { Flow::Go };
        }
    };
    state.done.insert(task.id);
    for (name, layer) in rounds {
        let included = match included(session, state, task, &name) {
            Ok(included) => included,
            Err(message) => {
                session.report(task, Verdict::failed(message), false);
                return Flow::Failed;
            }
        };
        session.report(task, Verdict::plain(Status::Ok, format!("included {name}")), false);
        state.layers.add_roles(included.roles);
        for handler in included.handlers {
            state.handlers.add(handler);
        }
        let depth = state.on_top.len();
        state.on_top.extend(layer);
        let flow = run_items(session, state, &included.items);
        state.on_top.truncate(depth);
        if flow != Flow::Go {
            return flow;
        }
    }
    Flow::Go
}

fn included(session: &Session<'_>, state: &mut PlayState, task: &Task, name: &str) -> Result<Included, String> {
    let wanted = Include::key(task.id, name);
    if let Some(known) = state.includes.get(&wanted) {
        return Ok(known.clone());
    }
    let answer = session.wire.ask(&ToController::NeedInclude { task: task.id, name: name.to_owned() }, |message| match message {
        ToAgent::Include { key, included, meets } if key == wanted => Some((included, meets)),
        _ => None,
    });
    let (included, meets) = answer.unwrap_or_else(|| (Err("the connection to the controller is gone".into()), vec![]));
    state.meets.extend(meets);
    included.map(|i| *i)
}

/// Variables of one loop round: item, index, and `ansible_loop` where asked for.
pub fn loop_layer(task: &Task, items: &[Json], index: usize) -> Layer {
    let control = &task.loop_control;
    let name = control.loop_var.clone().unwrap_or_else(|| "item".into());
    let mut values = vec![(name.clone(), items[index].clone()), ("ansible_loop_var".to_owned(), Json::from(name))];
    if let Some(index_var) = &control.index_var {
        values.push((index_var.clone(), Json::from(index)));
        values.push(("ansible_index_var".to_owned(), Json::from(index_var.as_str())));
    }
    if control.extended {
        let mut extended = serde_json::json!({
            "allitems": items, "index": index + 1, "index0": index, "revindex": items.len() - index, "revindex0": items.len() - index - 1,
            "first": index == 0, "last": index + 1 == items.len(), "length": items.len(),
        });
        if let Some(previous) = index.checked_sub(1).and_then(|i| items.get(i)) {
            extended["previtem"] = previous.clone();
        }
        if let Some(next) = items.get(index + 1) {
            extended["nextitem"] = next.clone();
        }
        values.push(("ansible_loop".to_owned(), extended));
    }
    plain_layer(values)
}

/// An empty report for `task`, to be filled in.
pub fn report_of(task: &Task, name: String, module: &str, verdict: Verdict) -> TaskReport {
    TaskReport {
        task: task.id,
        loc: task.loc.clone(),
        name,
        module: module.to_owned(),
        handler: false,
        item: None,
        summary: false,
        status: verdict.status,
        ignored: false,
        rescued: false,
        message: verdict.message,
        changes: verdict.changes,
        result: verdict.result,
        warnings: verdict.warnings,
        millis: 0,
    }
}

/// The scope a task has now.
pub fn scope_of(session: &Session<'_>, state: &PlayState, task: &Task) -> Scope {
    state.layers.scope(&session.memory, task, &state.on_top)
}
