//! One execution of a module: render its arguments, let it plan, then predict or perform what it planned.

use super::files::TaskFiles;
use super::run::PlayState;
use super::session::{Session, template_plan_error, template_verdict};
use super::task::module_name;
use super::verdict::{Verdict, unknown_inside};
use crate::host::act::Act;
use crate::host::apply::{self, Applied};
use crate::host::identity::{self, User};
use crate::host::{Change, ChangeError, Overlay, View};
use crate::modules::{Args, Context, Effect, Module, Plan, PlanError};
use crate::play::{Action, Task};
use crate::protocol::{ChangeReport, Status, ToAgent, ToController};
use crate::template::{OMIT, Scope};
use crate::yaml::Node;
use serde_json::{Map, Value as Json};

/// Modules that may be given values a dry run does not know: they only pass them on.
const PASS_UNKNOWN: &[&str] = &["set_fact", "debug"];

impl Session<'_> {
    /// Runs a task's module once.
    pub fn execute(
        &mut self,
        state: &PlayState,
        task: &Task,
        scope: &Scope,
        hidden: bool,
        meta: &mut Vec<String>,
        stopped: &mut bool,
    ) -> Verdict {
        let Some(module) = crate::modules::find(module_name(task)) else {
            return Verdict::failed(format!("{}: this agent has no module `{}`", task.loc, module_name(task)));
        };
        let args = match self.arguments(module, task, scope) {
            Ok(args) => args,
            Err(verdict) => return *verdict,
        };
        let check = match self.flag(task.check_mode.as_ref(), self.settings.check, scope) {
            Ok(check) => check,
            Err(e) => return template_verdict(&e),
        };
        let diff = self.flag(task.diff.as_ref(), self.settings.diff, scope).unwrap_or(false) && !hidden;
        if crate::modules::ON_CONTROLLER.contains(&module.name) {
            return self.on_controller(module, &args, task, check, diff);
        }
        let environment = match self.environment(task, scope) {
            Ok(environment) => environment,
            Err(verdict) => return *verdict,
        };
        let user = match self.user(task, scope) {
            Ok(user) => user,
            Err(message) => return Verdict::failed(message),
        };
        let guard = match identity::assume(&user) {
            Ok(guard) => guard,
            Err(e) => return Verdict::failed(e),
        };
        // A task that predicts in a run that acts (`check_mode: true`) gets an overlay of its own.
        let mut own = None;
        let plan = {
            let view: &dyn View = match (check, self.settings.check) {
                (true, true) => &self.overlay,
                (true, false) => own.insert(Overlay::new(self.real)),
                (false, _) => self.real,
            };
            self.plan(module, &args, view, state, task, scope, check, hidden, &environment, &user)
        };
        let verdict = match plan {
            Ok(plan) => self.carry_out(plan, check, diff, hidden, own, task, meta, stopped),
            Err(PlanError::Unknown(why)) => Verdict::unknown(&why),
            Err(PlanError::Failed(message, fields)) => {
                let mut verdict = Verdict::failed(message);
                for (key, value) in fields {
                    verdict.result.entry(key).or_insert(value);
                }
                verdict
            }
        };
        drop(guard);
        verdict
    }

    #[expect(clippy::too_many_arguments, reason = "everything a planner may see, gathered here and only here")]
    fn plan(
        &self,
        module: &Module,
        args: &Args,
        view: &dyn View,
        state: &PlayState,
        task: &Task,
        scope: &Scope,
        check: bool,
        secret: bool,
        environment: &[(String, String)],
        user: &User,
    ) -> Result<Plan, PlanError> {
        let files = TaskFiles { store: &state.store, wire: self.wire, cache: &self.cache, task: task.id };
        let context = Context {
            view,
            check,
            files: &files,
            render: &|text, name| self.engine.text(text, name, scope).map_err(template_plan_error),
            evaluate: &|value| {
                let node = Node::from_json(value, &task.loc);
                self.engine.condition(&node, scope).map(Json::from).map_err(template_plan_error)
            },
            lookup: &|name| self.engine.expression(name, &task.loc, scope).map_err(template_plan_error),
            environment,
            user: (user.uid, user.gid, &user.name, &user.home),
            facts: &self.memory.facts,
            gather: &|subset, _patterns| Ok(crate::host::facts::gather(view, subset)),
            secret,
        };
        (module.plan)(args, &context)
    }

    #[expect(clippy::too_many_arguments, reason = "the settings of one execution, used once")]
    fn carry_out(
        &mut self,
        plan: Plan,
        check: bool,
        diff: bool,
        hidden: bool,
        own: Option<Overlay<'_>>,
        task: &Task,
        meta: &mut Vec<String>,
        stopped: &mut bool,
    ) -> Verdict {
        if let Some(reason) = plan.skipped {
            let mut verdict = Verdict::skipped(&reason, None);
            verdict.result.extend(plan.result);
            verdict.warnings = plan.warnings;
            return verdict;
        }
        let mut verdict = Verdict::plain(if plan.force_changed { Status::Changed } else { Status::Ok }, "");
        verdict.warnings = plan.warnings;
        verdict.result = plan.result;
        if let Some(Json::String(message)) = verdict.result.get("msg") {
            verdict.message.clone_from(message);
        }
        for effect in plan.effects {
            match effect {
                Effect::SetFacts(facts, cacheable) => {
                    for (name, value) in &facts {
                        self.memory.set(name, value.clone());
                    }
                    if cacheable {
                        self.memory.add_facts(facts);
                    }
                }
                Effect::HostFacts(facts) => self.memory.add_facts(facts),
                Effect::IncludeVars(vars) => self.memory.include(vars),
                Effect::Meta(action) => meta.push(action),
            }
        }
        if !plan.changes.is_empty() {
            if check {
                self.predict(&plan.changes, diff, hidden, own, &mut verdict);
            } else {
                self.perform(&plan.changes, diff, hidden, task, &mut verdict, stopped);
            }
        }
        if self.perhaps && verdict.status == Status::Changed {
            verdict.status = Status::Unknown;
            verdict.message = "only if a task that notifies it changes something, which a dry run can't know".into();
        }
        verdict.mark();
        verdict
    }

    /// Has the controller carry a module out.
    fn on_controller(&self, module: &Module, args: &Args, task: &Task, check: bool, diff: bool) -> Verdict {
        let question = ToController::NeedModule {
            task: task.id,
            module: module.name.to_owned(),
            args: args.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            check,
            diff,
        };
        let answer = self.wire.ask(&question, |message| match message {
            ToAgent::Module { task: id, done } if id == task.id => Some(done),
            _ => None,
        });
        match answer {
            None => Verdict::failed("the connection to the controller is gone"),
            Some(Err(message)) => Verdict::failed(message),
            Some(Ok(done)) => {
                let status = if done.changes.is_empty() { Status::Ok } else { Status::Changed };
                let mut verdict = Verdict::plain(status, "");
                verdict.result = done.result;
                verdict.warnings = done.warnings;
                verdict.changes = done.changes;
                verdict.mark();
                verdict
            }
        }
    }

    fn predict(&mut self, changes: &[Change], diff: bool, hidden: bool, own: Option<Overlay<'_>>, verdict: &mut Verdict) {
        let options = apply::Options { task: "", diff: diff && !hidden };
        let mut own = own;
        // Up to the first command: nobody knows what that would do, nor what comes after it in this task.
        let known = changes.iter().position(|c| matches!(c, Change::Run(_))).unwrap_or(changes.len());
        let applied = match own.as_mut() {
            Some(overlay) => apply::predict_all(&changes[..known], overlay, options),
            None => apply::predict_all(&changes[..known], &mut self.overlay, options),
        };
        note(applied, verdict);
        let told = verdict.status;
        if told == Status::Failed {
            return;
        }
        let overlay = own.as_ref().unwrap_or(&self.overlay);
        for change in &changes[known..] {
            let summary = change.describe_with(overlay);
            verdict.status = Status::Unknown;
            if told != Status::Unknown {
                verdict.message = format!("a dry run does not do this: {summary}");
            }
            verdict.changes.push(ChangeReport { summary, destroys: change.destroys(), diff: None, done: false });
        }
    }

    fn perform(&mut self, changes: &[Change], diff: bool, hidden: bool, task: &Task, verdict: &mut Verdict, stopped: &mut bool) {
        let about = task.loc.to_string();
        let options = apply::Options { task: &about, diff: diff && !hidden };
        let (made, limit, stop) = (&mut self.made, self.settings.stop_after, &self.stop);
        let applied = apply::perform_all(changes, self.real, &mut self.journal, stop, options, &mut |step| {
            if matches!(step, apply::Step::End(_)) {
                *made += 1;
                if limit.is_some_and(|limit| *made >= limit) {
                    stop.stop();
                }
            }
        });
        if applied.stopped > 0 {
            *stopped = true;
        }
        let left = applied.stopped;
        note(applied, verdict);
        if left > 0 && verdict.status != Status::Failed {
            verdict.status = Status::Failed;
            verdict.message = format!("stopped with {left} of its changes not begun");
            verdict.result.insert("msg".into(), Json::from(verdict.message.as_str()));
        }
    }

    /// Renders and checks a task's arguments.
    fn arguments(&self, module: &Module, task: &Task, scope: &Scope) -> Result<Args, Box<Verdict>> {
        let Action::Module { args, .. } = &task.action else { return Err(Box::new(Verdict::failed("not a module"))) };
        let rendered = self.engine.render(args, scope).map_err(|e| Box::new(template_verdict(&e)))?;
        let mut given = match rendered {
            Json::Object(map) => map,
            Json::Null => Map::new(),
            other => return Err(Box::new(Verdict::failed(format!("{}: arguments must be a mapping, not {other}", args.loc)))),
        };
        given.retain(|_, value| value.as_str() != Some(OMIT));
        drop_omitted(&mut given);
        if !PASS_UNKNOWN.contains(&module.name)
            && let Some(why) = given.values().find_map(unknown_inside)
        {
            return Err(Box::new(Verdict::unknown(why)));
        }
        Args::check(module, given).map_err(|e| Box::new(Verdict::failed(format!("{}: {e}", args.loc))))
    }

    fn environment(&self, task: &Task, scope: &Scope) -> Result<Vec<(String, String)>, Box<Verdict>> {
        let mut all: Vec<(String, String)> = vec![];
        for node in &task.environment {
            let rendered = self.engine.render(node, scope).map_err(|e| Box::new(template_verdict(&e)))?;
            let map = match rendered {
                Json::Object(map) => map,
                Json::Null => continue,
                other => return Err(Box::new(Verdict::failed(format!("{}: `environment` must be a mapping, not {other}", node.loc)))),
            };
            for (name, value) in map {
                if let Some(why) = unknown_inside(&value) {
                    return Err(Box::new(Verdict::unknown(why)));
                }
                let value = match value {
                    Json::String(s) if s == OMIT => continue,
                    Json::String(s) => s,
                    other => other.to_string(),
                };
                all.retain(|(known, _)| *known != name);
                all.push((name, value));
            }
        }
        Ok(all)
    }

    /// The user a task runs as: the login user, or `become_user` where `become` is on.
    fn user(&self, task: &Task, scope: &Scope) -> Result<User, String> {
        let keyword = |node: &Option<Node>, variable: &str| -> Result<Option<Json>, String> {
            // As in Ansible, the connection variable wins over the keyword.
            if scope.get(variable).is_some() {
                return self.engine.variable(variable, scope).map(Some).map_err(|e| e.to_string());
            }
            node.as_ref().map(|n| self.engine.render(n, scope).map_err(|e| e.to_string())).transpose()
        };
        let becomes = keyword(&task.privilege.enabled, "ansible_become")?;
        let becomes = becomes.as_ref().is_some_and(|v| crate::modules::boolean(v).unwrap_or(false));
        let named = if becomes { keyword(&task.privilege.user, "ansible_become_user")? } else { None };
        let name = match &named {
            Some(user) => user.as_str().unwrap_or("root"),
            None if becomes => "root",
            None => &self.settings.login,
        };
        match User::lookup(self.real, name) {
            Ok(Some(user)) => Ok(user),
            Ok(None) => Err(format!("there is no user {name} on this host")),
            Err(e) => Err(e.to_string()),
        }
    }
}

/// Takes what became of changes into a verdict.
fn note(applied: Applied, verdict: &mut Verdict) {
    verdict.result.extend(applied.fields());
    for done in applied.done {
        let ok = done.result.is_ok();
        match done.result {
            Ok(_) if verdict.status == Status::Ok => verdict.status = Status::Changed,
            Ok(_) => {}
            Err(ChangeError { unknown: Some(why), .. }) => {
                verdict.status = Status::Unknown;
                verdict.message = why;
            }
            Err(error) => {
                verdict.status = Status::Failed;
                verdict.message.clone_from(&error.message);
                verdict.result.insert("msg".into(), Json::from(error.message));
            }
        }
        verdict.changes.push(ChangeReport { summary: done.summary, destroys: done.destroys, diff: done.diff, done: ok });
    }
}

/// Drops omitted values inside mappings and lists too, as Ansible does.
fn drop_omitted(map: &mut Map<String, Json>) {
    for value in map.values_mut() {
        match value {
            Json::Object(inner) => {
                inner.retain(|_, v| v.as_str() != Some(OMIT));
                drop_omitted(inner);
            }
            Json::Array(items) => items.retain(|v| v.as_str() != Some(OMIT)),
            _ => {}
        }
    }
}
