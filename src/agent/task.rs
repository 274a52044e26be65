//! One task: its loop, its conditions, its tries, and what is said about it.

use super::run::{PlayState, loop_layer, report_of};
use super::session::{Session, millis, template_verdict};
use super::verdict::{Verdict, sum_up, unknown_inside};
use crate::play::{Action, Task};
use crate::protocol::{Status, ToController};
use crate::template::Scope;
use crate::yaml::Node;
use serde_json::{Map, Value as Json};
use std::time::{Duration, Instant};

/// What a task came to.
pub struct Outcome {
    /// Its verdict (of the whole loop).
    pub verdict: Verdict,
    /// `ignore_errors` took a failure.
    pub ignored: bool,
    /// `meta` actions it asks for.
    pub meta: Vec<String>,
    /// The run was stopped in the middle of it.
    pub stopped: bool,
}

impl Session<'_> {
    /// Runs a module task on this host and reports it.
    pub fn run_module_task(&mut self, state: &PlayState, task: &Task, handler: bool) -> Outcome {
        let started = Instant::now();
        let scope = self.scope(state, task);
        let name = self.task_name(task, &scope);
        self.wire.send(&ToController::Started { task: task.id, name: name.clone() });
        let hidden = self.flag(task.no_log.as_ref(), false, &scope).unwrap_or(true);
        let mut meta = vec![];
        let mut stopped = false;
        let mut verdict = match &task.items {
            None => self.run_item(state, task, &scope, hidden, &mut meta, &mut stopped),
            Some(node) => match self.loop_items(task, node, &scope) {
                Ok(items) if items.is_empty() => Verdict::skipped("no items in the list", None),
                Ok(items) => self.run_loop(state, task, &items, &name, (handler, hidden), &mut meta, &mut stopped),
                // As Ansible: a loop over something undefined is fine where the condition is false anyway.
                Err(verdict) => match self.conditions(&task.when, &scope) {
                    Err(skipped) if skipped.status == Status::Skipped => *skipped,
                    _ => *verdict,
                },
            },
        };
        if !hidden {
            verdict.fit();
        }
        if let Some(variable) = &task.register {
            self.memory.set(variable, Json::Object(verdict.result.clone()));
        }
        let ignored = verdict.status == Status::Failed && self.flag(task.ignore_errors.as_ref(), false, &scope).unwrap_or(false);
        if verdict.status == Status::Failed && !ignored {
            let about = serde_json::json!({"name": name, "action": module_name(task)});
            self.last_failure = Some((about, Json::Object(verdict.result.clone())));
        }
        let mut report = report_of(task, name, module_name(task), shown(&verdict, hidden));
        report.handler = handler;
        if let Some(run) = self.owing.take() {
            report.warnings.push(format!("notified by run {run}, which did not get to it"));
        }
        report.rescued = verdict.status == Status::Failed && !ignored && self.rescuable > 0;
        report.ignored = ignored || report.rescued;
        report.summary = task.items.is_some();
        report.millis = millis(started);
        self.wire.send(&ToController::Result(Box::new(report)));
        Outcome { verdict, ignored, meta, stopped }
    }

    #[expect(clippy::too_many_arguments, reason = "one call, and a struct for it would only be taken apart again")]
    fn run_loop(
        &mut self,
        state: &PlayState,
        task: &Task,
        items: &[Json],
        name: &str,
        (handler, hidden): (bool, bool),
        meta: &mut Vec<String>,
        stopped: &mut bool,
    ) -> Verdict {
        let mut ended = vec![];
        for (index, item) in items.iter().enumerate() {
            if self.wire.stopping() {
                *stopped = true;
                break;
            }
            let started = Instant::now();
            // Made anew for each item: an item may set facts that the next one reads.
            let mut scope = self.scope(state, task);
            scope.push(loop_layer(task, items, index));
            if index > 0 {
                self.pause(task.loop_control.pause.as_ref(), &scope);
            }
            let mut verdict = match unknown_inside(item) {
                Some(why) if !matches!(module_name(task), "set_fact" | "debug") => Verdict::unknown(why),
                _ => self.run_item(state, task, &scope, hidden, meta, stopped),
            };
            if !hidden {
                verdict.fit();
            }
            let label = match &task.loop_control.label {
                Some(node) => self.engine.render(node, &scope).unwrap_or_else(|_| item.clone()),
                None => item.clone(),
            };
            let label = if hidden { "(hidden: no_log)".to_owned() } else { one_line(&label) };
            let mut report = report_of(task, name.to_owned(), module_name(task), shown(&verdict, hidden));
            report.item = Some(label.clone());
            report.handler = handler;
            report.millis = millis(started);
            if verdict.status == Status::Failed {
                report.ignored = self.rescuable > 0 || self.flag(task.ignore_errors.as_ref(), false, &scope).unwrap_or(false);
            }
            self.wire.send(&ToController::Result(Box::new(report)));
            ended.push((item.clone(), label, verdict));
            if *stopped {
                break;
            }
        }
        sum_up(&ended, task.loop_control.loop_var.as_deref().unwrap_or("item"))
    }

    /// One item (or the whole task without a loop): conditions, then as many tries as `until` asks for.
    fn run_item(
        &mut self,
        state: &PlayState,
        task: &Task,
        scope: &Scope,
        hidden: bool,
        meta: &mut Vec<String>,
        stopped: &mut bool,
    ) -> Verdict {
        if let Err(verdict) = self.conditions(&task.when, scope) {
            return *verdict;
        }
        // As Ansible: `retries` alone tries until the task succeeds.
        let tries = match (&task.until, &task.retries) {
            (None, None) => 1,
            _ => 1 + self.number(task.retries.as_ref(), 3.0, scope) as u32,
        };
        let mut attempt = 1;
        loop {
            let mut verdict = self.execute(state, task, scope, hidden, meta, stopped);
            if tries > 1 {
                verdict.result.insert("attempts".into(), Json::from(attempt));
            }
            self.judge(task, scope, &mut verdict);
            if tries == 1 || verdict.status == Status::Unknown || verdict.outside || *stopped {
                return verdict;
            }
            let done = match &task.until {
                Some(until) => self.with_result(task, scope, &verdict, until),
                None => Ok(verdict.status != Status::Failed),
            };
            match done {
                Ok(true) => return verdict,
                Err(error) => return *error,
                Ok(false) if attempt >= tries => {
                    // As Ansible counts them: the retries.
                    verdict.result.insert("attempts".into(), Json::from(tries - 1));
                    verdict.changed |= verdict.status == Status::Changed;
                    verdict.status = Status::Failed;
                    if task.until.is_some() {
                        verdict.message = format!("gave up after {attempt} tries: `until` never held");
                        verdict.result.insert("msg".into(), Json::from(verdict.message.as_str()));
                    }
                    verdict.mark();
                    return verdict;
                }
                Ok(false) => {
                    attempt += 1;
                    self.pause(Some(task.delay.as_ref().unwrap_or(&Node::new(crate::yaml::Value::Int(5), task.loc.clone()))), scope);
                    if self.wire.stopping() {
                        *stopped = true;
                        return verdict;
                    }
                }
            }
        }
    }

    /// Lets `failed_when` and `changed_when` have their say.
    fn judge(&self, task: &Task, scope: &Scope, verdict: &mut Verdict) {
        if matches!(verdict.status, Status::Skipped | Status::Unknown) || verdict.outside {
            return;
        }
        if let Some(conditions) = &task.changed_when {
            match self.with_result(task, scope, verdict, conditions) {
                Ok(changed) if verdict.status == Status::Failed => verdict.changed = changed,
                Ok(true) => verdict.status = Status::Changed,
                Ok(false) => verdict.status = Status::Ok,
                Err(error) => {
                    *verdict = keep_changes(*error, verdict);
                    return;
                }
            }
            verdict.mark();
        }
        if let Some(conditions) = &task.failed_when {
            match self.with_result(task, scope, verdict, conditions) {
                Ok(true) => {
                    verdict.result.insert("failed_when_result".into(), Json::from(true));
                    if verdict.status != Status::Failed {
                        verdict.changed = verdict.is_changed();
                        verdict.status = Status::Failed;
                        verdict.message = "`failed_when` holds".into();
                    }
                }
                Ok(false) => {
                    verdict.result.insert("failed_when_result".into(), Json::from(false));
                    if verdict.status == Status::Failed {
                        verdict.status = if verdict.changed { Status::Changed } else { Status::Ok };
                        verdict.message.clear();
                    }
                }
                Err(error) => *verdict = keep_changes(*error, verdict),
            }
            verdict.mark();
        }
    }

    /// Whether all `conditions` hold where the registered variable is this verdict's result.
    fn with_result(&self, task: &Task, scope: &Scope, verdict: &Verdict, conditions: &[Node]) -> Result<bool, Box<Verdict>> {
        let mut scope = scope.clone();
        if let Some(name) = &task.register {
            scope.push(super::variables::plain_layer([(name.clone(), Json::Object(verdict.result.clone()))]));
        }
        for condition in conditions {
            match self.engine.condition(condition, &scope) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(e) => return Err(Box::new(template_verdict(&e))),
            }
        }
        Ok(true)
    }

    fn number(&self, node: Option<&Node>, default: f64, scope: &Scope) -> f64 {
        let Some(node) = node else { return default };
        match self.engine.render(node, scope) {
            Ok(Json::Number(n)) => n.as_f64().unwrap_or(default).max(0.0),
            Ok(Json::String(s)) => s.trim().parse::<f64>().unwrap_or(default).max(0.0),
            _ => default,
        }
    }

    /// Waits as `pause` or `delay` says, in small steps so that a stop is heard. A dry run does not wait.
    fn pause(&self, node: Option<&Node>, scope: &Scope) {
        if self.settings.check {
            return;
        }
        let until = Instant::now() + Duration::from_secs_f64(self.number(node, 0.0, scope).min(86_400.0));
        while Instant::now() < until && !self.wire.stopping() {
            std::thread::sleep(Duration::from_millis(50).min(until.saturating_duration_since(Instant::now())));
        }
    }
}

/// An error in a condition about a result does not undo what was done.
fn keep_changes(mut error: Verdict, before: &Verdict) -> Verdict {
    error.changes.clone_from(&before.changes);
    error.warnings.clone_from(&before.warnings);
    error.changed = before.is_changed();
    error.mark();
    error
}

/// The module's name.
pub fn module_name(task: &Task) -> &str {
    match &task.action {
        Action::Module { name, .. } => name,
        Action::Include(include) => include.kind.module(),
    }
}

/// What of a verdict may be shown under `no_log`.
fn shown(verdict: &Verdict, hidden: bool) -> Verdict {
    if !hidden {
        return verdict.clone();
    }
    let mut shown = verdict.clone();
    let note = "hidden because of no_log";
    shown.result = Map::from_iter([("censored".to_owned(), Json::from(note)), ("changed".to_owned(), Json::from(verdict.is_changed()))]);
    if !shown.message.is_empty() {
        shown.message = note.into();
    }
    shown.warnings.clear();
    for change in &mut shown.changes {
        change.summary = note.into();
        change.diff = None;
    }
    shown
}

/// An item as one line: text as it is, data as JSON.
fn one_line(item: &Json) -> String {
    match item {
        Json::String(s) => s.clone(),
        other => other.to_string(),
    }
}
