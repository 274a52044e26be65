//! What hosts do together: tasks one host does for all (`run_once`), points where all wait for each other, and tasks that
//! another host does for this one (`delegate_to`).

use super::run::{Flow, PlayState};
use super::session::{Session, template_verdict};
use super::task::{Outcome, module_name};
use super::verdict::{Verdict, unknown_inside};
use crate::play::Task;
use crate::protocol::{Errand, Once, Status, ToAgent, ToController, Told};
use crate::template::{OMIT, Scope};
use serde_json::{Map, Value as Json};

/// Modules that touch no host: whom they are delegated to makes no difference.
const NOWHERE: &[&str] = &["assert", "debug", "fail", "include_vars", "meta", "set_fact"];

/// What this host has to do about a task.
pub enum Part {
    /// Do it, for itself alone.
    Own,
    /// Do it for all, and tell them at this place.
    ForAll(String),
    /// Another host did it for all, and what it asks for: only that is left.
    Done(Vec<String>),
    /// Nothing any more: how the play goes on.
    Over(Flow),
}

impl Session<'_> {
    /// Waits for the other hosts where they do `task` together.
    pub fn meet(&mut self, state: &PlayState, task: &Task, scope: &Scope, handler: bool) -> Part {
        let once = match self.flag(task.run_once.as_ref(), false, scope) {
            Ok(once) => once,
            Err(e) => {
                self.report(task, template_verdict(&e), handler);
                return Part::Over(Flow::Failed);
            }
        };
        if !once && !state.in_step {
            return Part::Own;
        }
        let visit = self.visits.entry(task.id).or_default();
        *visit += 1;
        let place = format!("{}#{visit}", task.id);
        let question = ToController::Meet { key: place.clone(), once, hostvars: false, told: None };
        let answer = self.wire.wait(&question, |message| match message {
            ToAgent::Go { key, once, .. } if key == place => Some(once),
            _ => None,
        });
        match answer {
            None => Part::Over(Flow::Stopped),
            Some(None) if once => Part::ForAll(place),
            Some(None) => Part::Own,
            Some(Some(Ok(done))) => self.take_over(task, *done, scope, handler),
            Some(Some(Err(message))) => {
                self.report(task, Verdict::failed(message), handler);
                Part::Over(Flow::Failed)
            }
        }
    }

    /// Waits until all hosts have come to `task`, tells them this one's variables, and hears theirs; `false`: the run stops.
    pub fn meet_for_hostvars(&mut self, state: &PlayState, task: &Task) -> bool {
        let view = state.layers.view(&self.engine, &self.memory, state.told.as_deref());
        let place = format!("{}h", task.id);
        let question = ToController::Meet { key: place.clone(), once: false, hostvars: true, told: self.memory.news(&view) };
        let mut others = Map::new();
        let answer = self.wire.wait(&question, |message| match message {
            ToAgent::Known { host, vars } => {
                others.insert(host, Json::Object(vars));
                None
            }
            ToAgent::Go { key, .. } if key == place => Some(()),
            _ => None,
        });
        if answer.is_none() {
            return false;
        }
        let own = self.engine.variable("inventory_hostname", &self.scope(state, task)).ok();
        self.memory.hear(own.as_ref().and_then(Json::as_str).unwrap_or_default(), view, others);
        true
    }

    /// Takes what another host did for all.
    fn take_over(&mut self, task: &Task, done: Once, scope: &Scope, handler: bool) -> Part {
        self.memory.take(done.told);
        if let Some(variable) = &task.register {
            self.memory.set(variable, Json::Object(done.result.clone()));
        }
        if done.status != Status::Failed || done.ignored {
            return Part::Done(done.meta);
        }
        let about = serde_json::json!({"name": task.name.as_ref().map(crate::yaml::Node::key_text), "action": module_name(task)});
        self.last_failure = Some((about, Json::Object(done.result)));
        let hidden = self.flag(task.no_log.as_ref(), false, scope).unwrap_or(true);
        let message = if hidden { "hidden because of no_log" } else { done.message.as_str() };
        let mut verdict = Verdict::failed(format!("it failed on the host that did it for all: {message}"));
        verdict.result.insert("run_once".into(), Json::from(true));
        self.report(task, verdict, handler);
        Part::Over(Flow::Failed)
    }

    /// Tells the other hosts what became of a task this one did for all.
    pub fn tell_all(&mut self, key: String, outcome: &Outcome) {
        let mut once = Box::new(once(outcome.verdict.clone(), outcome.ignored, std::mem::take(&mut self.told)));
        once.meta.clone_from(&outcome.meta);
        self.wire.send(&ToController::OnceDone { key, once });
    }

    /// The host that does `task` instead of this one.
    pub fn delegate(&self, task: &Task, scope: &Scope) -> Result<Option<String>, Box<Verdict>> {
        let Some(node) = task.delegate_to.as_ref().filter(|_| !NOWHERE.contains(&module_name(task))) else { return Ok(None) };
        let rendered = self.engine.render(node, scope).map_err(|e| Box::new(template_verdict(&e)))?;
        match rendered {
            Json::String(name) if name == OMIT || name.trim().is_empty() => Ok(None),
            Json::String(name) => {
                let own = self.engine.variable("inventory_hostname", scope).ok();
                Ok((own.as_ref().and_then(Json::as_str) != Some(name.trim())).then(|| name.trim().to_owned()))
            }
            other => Err(Box::new(match unknown_inside(&other) {
                Some(why) => Verdict::unknown(why),
                None => Verdict::failed(format!("{}: `delegate_to` must name a host, not {other}", node.loc)),
            })),
        }
    }

    /// Has `errand` done on `to`.
    pub fn send_errand(&mut self, to: &str, root: bool, errand: Errand) -> Verdict {
        let id = errand.task;
        let question = ToController::NeedDelegate { task: id, to: to.to_owned(), root, errand: Box::new(errand) };
        let answer = self.wire.ask(&question, |message| match message {
            ToAgent::Delegated { task, done } if task == id => Some(done),
            _ => None,
        });
        match answer {
            None => Verdict::failed("the connection to the controller is gone"),
            Some(Err(message)) => Verdict::failed(format!("it can't be delegated to {to}: {message}")),
            Some(Ok(done)) => {
                self.tell(done.told);
                let mut verdict = Verdict {
                    changed: done.result.get("changed") == Some(&Json::Bool(true)),
                    status: done.status,
                    message: done.message,
                    changes: done.changes,
                    result: done.result,
                    warnings: done.warnings,
                    outside: false,
                };
                for change in &mut verdict.changes {
                    change.summary = format!("-> {to}: {}", change.summary);
                }
                if verdict.status == Status::Failed {
                    verdict.message = format!("-> {to}: {}", verdict.message);
                }
                self.doubt(&mut verdict);
                verdict.result.insert(
                    "_ansible_delegated_vars".into(),
                    Json::Object(Map::from_iter([("ansible_delegated_host".to_owned(), Json::from(to))])),
                );
                verdict
            }
        }
    }

    /// Does another host's errand here.
    pub fn run_errand(&mut self, errand: Errand) -> Once {
        self.told = Told::default();
        let mut verdict = self.errand(&errand);
        verdict.fit();
        self.any_failed |= verdict.status == Status::Failed;
        once(verdict, false, std::mem::take(&mut self.told))
    }

    /// Takes what a task told, and keeps it for hosts it is done for.
    pub fn tell(&mut self, told: Told) {
        self.told.set.extend(told.set.clone());
        self.told.facts.extend(told.facts.clone());
        self.told.vars.extend(told.vars.clone());
        self.memory.take(told);
    }
}

fn once(verdict: Verdict, ignored: bool, told: Told) -> Once {
    let Verdict { status, message, changes, result, warnings, .. } = verdict;
    Once { status, ignored, message, changes, result, warnings, told, meta: vec![] }
}
