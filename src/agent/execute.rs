//! One execution of a module: render its arguments, let it plan, then predict or perform what it planned.

use super::files::{Store, TaskFiles};
use super::run::PlayState;
use super::session::{Session, template_plan_error, template_verdict};
use super::task::module_name;
use super::verdict::{Verdict, unknown_inside};
use crate::diag::Loc;
use crate::host::act::Act;
use crate::host::apply::{self, Applied};
use crate::host::identity::{self, User};
use crate::host::{Change, ChangeError, Overlay, View};
use crate::modules::{Args, Context, Effect, Files, Module, Plan, PlanError};
use crate::play::{Action, Task};
use crate::protocol::{ChangeReport, Errand, Status, ToAgent, ToController, Told};
use crate::template::{OMIT, Scope, TemplateError};
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
        let user = match self.user_name(task, scope) {
            Ok(user) => user,
            Err(message) => return Verdict::outside(message),
        };
        let job = Job { module, args: &args, task: task.id, loc: &task.loc, check, diff, hidden, environment: &environment };
        match self.delegate(task, scope) {
            Ok(None) => {}
            Ok(Some(to)) => {
                return match self.errand_of(&job, state, scope, user) {
                    Ok(errand) => self.send_errand(&to, errand.user.is_some(), errand),
                    Err(e) => plan_verdict(e),
                };
            }
            Err(verdict) => return *verdict,
        }
        self.run_here(&job, user.as_deref(), &state.store, Texts::Scope(scope), meta, stopped)
    }

    /// Does a job on this host, as `user` (`None`: who logged in).
    fn run_here(
        &mut self,
        job: &Job<'_>,
        user: Option<&str>,
        store: &Store,
        texts: Texts<'_>,
        meta: &mut Vec<String>,
        stopped: &mut bool,
    ) -> Verdict {
        let name = user.unwrap_or(&self.settings.login);
        let logged_in = || if user.is_none() { User::logged_in(name) } else { None };
        let user = match User::lookup(self.real, name).map(|found| found.or_else(logged_in)) {
            Ok(Some(user)) => user,
            Ok(None) => return Verdict::outside(format!("there is no user {name} on this host")),
            Err(e) => return Verdict::outside(e.to_string()),
        };
        let guard = match identity::assume(&user) {
            Ok(guard) => guard,
            Err(e) => return Verdict::outside(e),
        };
        // A task that predicts in a run that acts (`check_mode: true`) gets an overlay of its own.
        let mut own = None;
        let plan = {
            let view: &dyn View = match (job.check, self.settings.check) {
                (true, true) => &self.overlay,
                (true, false) => own.insert(Overlay::new(self.real)),
                (false, _) => self.real,
            };
            self.plan(job, view, store, texts, &user)
        };
        let verdict = match plan {
            Ok(plan) => self.carry_out(plan, job, own, meta, stopped),
            Err(e) => plan_verdict(e),
        };
        drop(guard);
        verdict
    }

    fn plan(&self, job: &Job<'_>, view: &dyn View, store: &Store, texts: Texts<'_>, user: &User) -> Result<Plan, PlanError> {
        let files = TaskFiles { store, wire: self.wire, cache: &self.cache, task: job.task };
        // Modules that ask for more than their text run on the host that has the variables.
        let elsewhere = || PlanError::failed("this module needs variables of the host that delegated it");
        let context = Context {
            view,
            check: job.check,
            files: &files,
            render: &|text, name| match texts {
                Texts::Scope(scope) => self.engine.text(text, name, &template_scope(scope, job.args, name)).map_err(template_plan_error),
                Texts::Ready(text) => text.map(str::to_owned).ok_or_else(elsewhere),
            },
            evaluate: &|value| match texts {
                Texts::Scope(scope) => {
                    let node = Node::from_json(value, job.loc);
                    self.engine.condition(&node, scope).map(Json::from).map_err(template_plan_error)
                }
                Texts::Ready(_) => Err(elsewhere()),
            },
            lookup: &|name| match texts {
                Texts::Scope(scope) => match self.engine.expression(name, job.loc, scope) {
                    // What Ansible's `debug: var` says.
                    Err(TemplateError::Undefined(_)) => Ok(Json::from("VARIABLE IS NOT DEFINED!")),
                    other => other.map_err(template_plan_error),
                },
                Texts::Ready(_) => Err(elsewhere()),
            },
            environment: job.environment,
            user: (user.uid, user.gid, &user.name, &user.home),
            facts: &self.memory.facts,
            gather: &|subset, _patterns| Ok(crate::host::facts::gather(view, subset)),
            secret: job.hidden,
        };
        (job.module.plan)(job.args, &context)
    }

    /// A job as another host gets it.
    fn errand_of(&self, job: &Job<'_>, state: &PlayState, scope: &Scope, user: Option<String>) -> Result<Errand, PlanError> {
        let text = match (job.module.name, job.args.str("src")) {
            ("template", Some(src)) => {
                let files = TaskFiles { store: &state.store, wire: self.wire, cache: &self.cache, task: job.task };
                let source = files.get(src, "templates")?;
                let text =
                    String::from_utf8(source.content).map_err(|_| PlanError::failed(format!("{} is not UTF-8 text", source.path)))?;
                let scope = template_scope(scope, job.args, &source.path);
                Some(self.engine.text(&text, &source.path, &scope).map_err(template_plan_error)?)
            }
            _ => None,
        };
        Ok(Errand {
            task: job.task,
            loc: job.loc.clone(),
            module: job.module.name.to_owned(),
            args: job.args.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            text,
            environment: job.environment.to_vec(),
            user,
            check: job.check,
            diff: job.diff,
            hidden: job.hidden,
        })
    }

    /// Does what another host sent.
    pub fn errand(&mut self, errand: &Errand) -> Verdict {
        let Some(module) = crate::modules::find(&errand.module) else {
            return Verdict::failed(format!("{}: this agent has no module `{}`", errand.loc, errand.module));
        };
        let args = match Args::check(module, errand.args.clone()) {
            Ok(args) => args,
            Err(e) => return Verdict::failed(e.to_string()),
        };
        // Whatever the sender asks for, a dry run stays one.
        let check = errand.check || self.settings.check;
        let Errand { task, loc, diff, hidden, environment, .. } = errand;
        let job = Job { module, args: &args, task: *task, loc, check, diff: *diff, hidden: *hidden, environment };
        let texts = Texts::Ready(errand.text.as_deref());
        self.run_here(&job, errand.user.as_deref(), &Store::default(), texts, &mut vec![], &mut false)
    }

    fn carry_out(&mut self, plan: Plan, job: &Job<'_>, own: Option<Overlay<'_>>, meta: &mut Vec<String>, stopped: &mut bool) -> Verdict {
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
        let mut told = Told::default();
        for effect in plan.effects {
            match effect {
                Effect::SetFacts(facts, cacheable) => {
                    if cacheable {
                        told.facts.extend(facts.clone());
                    }
                    told.set.extend(facts);
                }
                Effect::HostFacts(facts) => told.facts.extend(facts),
                Effect::IncludeVars(vars) => told.vars.extend(vars),
                Effect::Meta(action) => meta.push(action),
            }
        }
        self.tell(told);
        if !plan.changes.is_empty() {
            if job.check {
                self.predict(&plan.changes, job, own, &mut verdict);
            } else {
                self.perform(&plan.changes, job, &mut verdict, stopped);
            }
        }
        self.doubt(&mut verdict);
        verdict.mark();
        verdict
    }

    /// A handler that was notified only perhaps changes something only perhaps.
    pub fn doubt(&self, verdict: &mut Verdict) {
        if self.perhaps && verdict.status == Status::Changed {
            verdict.status = Status::Unknown;
            verdict.message = "only if a task that notifies it changes something, which a dry run can't know".into();
        }
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

    fn predict(&mut self, changes: &[Change], job: &Job<'_>, own: Option<Overlay<'_>>, verdict: &mut Verdict) {
        let options = apply::Options { task: "", diff: job.diff && !job.hidden };
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
        if known < changes.len() && !self.settings.check {
            return not_run(job.args, verdict);
        }
        for change in &changes[known..] {
            let summary = change.describe_with(overlay);
            verdict.status = Status::Unknown;
            if told != Status::Unknown {
                verdict.message = format!("a dry run does not do this: {summary}");
            }
            verdict.changes.push(ChangeReport { summary, destroys: change.destroys(), diff: None, done: false });
        }
    }

    fn perform(&mut self, changes: &[Change], job: &Job<'_>, verdict: &mut Verdict, stopped: &mut bool) {
        let about = job.loc.to_string();
        self.note_ahead(&about);
        let options = apply::Options { task: &about, diff: job.diff && !job.hidden };
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
            other => return Err(Box::new(Verdict::outside(format!("{}: arguments must be a mapping, not {other}", args.loc)))),
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
                other => return Err(Box::new(Verdict::outside(format!("{}: `environment` must be a mapping, not {other}", node.loc)))),
            };
            for (name, value) in map {
                if let Some(why) = unknown_inside(&value) {
                    return Err(Box::new(Verdict::unknown(why)));
                }
                let value = match value {
                    Json::String(s) if s == OMIT => continue,
                    Json::String(s) => s,
                    // As Python writes it: `True`, `['a', 1]`.
                    other => {
                        let mut alone = Scope::new();
                        alone.push(super::variables::plain_layer([("value".to_owned(), other)]));
                        self.engine.text("{{ value }}", "environment", &alone).map_err(|e| Box::new(template_verdict(&e)))?
                    }
                };
                all.retain(|(known, _)| *known != name);
                all.push((name, value));
            }
        }
        Ok(all)
    }

    /// Whom a task becomes: `become_user` where `become` is on; `None`: it stays the login user.
    fn user_name(&self, task: &Task, scope: &Scope) -> Result<Option<String>, String> {
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
        let root = || "root".to_owned();
        Ok(becomes.then(|| named.as_ref().and_then(Json::as_str).map_or_else(root, str::to_owned)))
    }
}

/// One execution of a module, everything rendered.
struct Job<'j> {
    module: &'static Module,
    args: &'j Args,
    /// The task's id, and where it stands.
    task: u32,
    loc: &'j Loc,
    check: bool,
    diff: bool,
    /// `no_log`.
    hidden: bool,
    environment: &'j [(String, String)],
}

/// What a template's text sees beside the task's variables; `path` is its file on the controller.
fn template_scope(scope: &Scope, args: &Args, path: &str) -> Scope {
    let mut scope = scope.clone();
    let mut values =
        vec![("template_path", path), ("template_fullpath", path), ("template_destpath", args.str("dest").unwrap_or_default())];
    // An inventory may say otherwise.
    if scope.get("ansible_managed").is_none() {
        values.push(("ansible_managed", "Ansible managed"));
    }
    scope.push(super::variables::plain_layer(values.into_iter().map(|(name, value)| (name.to_owned(), Json::from(value)))));
    scope
}

/// Where a planner's texts are rendered.
#[derive(Clone, Copy)]
enum Texts<'t> {
    /// Here, with these variables.
    Scope(&'t Scope),
    /// On the host that sent the errand; this is what came of it.
    Ready(Option<&'t str>),
}

fn plan_verdict(error: PlanError) -> Verdict {
    match error {
        PlanError::Unknown(why) => Verdict::unknown(&why),
        PlanError::Outside(message) => Verdict::outside(message),
        PlanError::Failed(message, fields) => {
            let mut verdict = Verdict::failed(message);
            // The fields' own `msg` is without what is said to the operator only.
            verdict.result.extend(fields);
            verdict
        }
    }
}

/// Takes what became of changes into a verdict.
fn note(applied: Applied, verdict: &mut Verdict) {
    verdict.result.extend(applied.fields());
    for done in applied.done {
        let mut performed = done.result.is_ok();
        match done.result {
            Ok(_) if verdict.status == Status::Ok => verdict.status = Status::Changed,
            Ok(_) => {}
            Err(ChangeError { unknown: Some(why), .. }) => {
                verdict.status = Status::Unknown;
                verdict.message = why;
            }
            Err(error) => {
                // Only a command that ran has a time it took.
                performed = error.fields.contains_key("delta");
                verdict.changed |= verdict.status == Status::Changed || performed;
                // Several filesystems are made at once, and each may fail for its own reason.
                if verdict.status != Status::Failed {
                    verdict.message.clone_from(&error.message);
                } else if !verdict.message.contains(&error.message) {
                    verdict.message = format!("{}\n{}", verdict.message, error.message);
                }
                verdict.status = Status::Failed;
                verdict.result.insert("msg".into(), Json::from(verdict.message.as_str()));
            }
        }
        verdict.changes.push(ChangeReport { summary: done.summary, destroys: done.destroys, diff: done.diff, done: performed });
    }
}

/// A command in a task that only predicts (`check_mode: true`) of a run that acts: as Ansible, it is skipped, and changed
/// where `creates` or `removes` said that it is needed.
fn not_run(args: &Args, verdict: &mut Verdict) {
    let needed = args.get("creates").is_some() || args.get("removes").is_some();
    verdict.status = if needed { Status::Changed } else { Status::Skipped };
    verdict.message = "Command would have run if not in check mode".into();
    verdict.result.insert("msg".into(), Json::from(verdict.message.as_str()));
    verdict.result.insert("rc".into(), Json::from(0));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Outcome;
    use crate::host::apply::Done;

    #[test]
    fn all_that_failed_at_once_is_told() {
        let done = |index, result| Done { index, summary: format!("format {index}"), destroys: None, diff: None, result };
        let failed = |why: &str| Err(ChangeError::new(why));
        let all =
            vec![done(0, Ok(Outcome::default())), done(1, failed("sdb: busy")), done(2, failed("sdc: bad")), done(3, failed("sdb: busy"))];
        let mut verdict = Verdict::plain(Status::Ok, "");
        note(Applied { done: all, stopped: 0 }, &mut verdict);
        assert_eq!((verdict.status, verdict.message.as_str()), (Status::Failed, "sdb: busy\nsdc: bad"));
        assert_eq!(verdict.result["msg"], "sdb: busy\nsdc: bad");
        assert_eq!(verdict.changes.iter().map(|c| c.done).collect::<Vec<_>>(), [true, false, false, false]);
    }
}
