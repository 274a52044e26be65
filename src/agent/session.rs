//! What lasts as long as the connection: settings, the host, the journal, variables.

use super::handlers::Notices;
use super::run::{PlayState, loop_layer, report_of, scope_of};
use super::variables::{Layer, Memory};
use super::verdict::{Verdict, unknown_inside};
use super::wire::Wire;
use crate::host::apply::StopFlag;
use crate::host::cache::Cache;
use crate::host::journal::Journal;
use crate::host::{Overlay, RealHost};
use crate::modules::PlanError;
use crate::play::{Action, Include, Play, Task};
use crate::protocol::{Status, TaskReport, ToController, Told};
use crate::template::{Engine, OMIT, Scope, TemplateError};
use crate::yaml::Node;
use serde_json::{Map, Value as Json};
use std::collections::HashMap;

/// What the controller said in its Hello.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names this run.
    pub run: String,
    /// Who runs it.
    pub by: String,
    /// What it is, for lock and journal.
    pub purpose: String,
    /// A dry run.
    pub check: bool,
    /// Send diffs.
    pub diff: bool,
    /// Stop after this many changes.
    pub stop_after: Option<u32>,
    /// The user who logged in.
    pub login: String,
}

/// One connection's worth of state.
pub struct Session<'a> {
    /// The line to the controller.
    pub wire: &'a Wire,
    /// From Hello.
    pub settings: Settings,
    /// Templates.
    pub engine: Engine,
    /// The real host.
    pub real: &'a RealHost,
    /// Predictions of a dry run.
    pub overlay: Overlay<'a>,
    /// Written from the first change on.
    pub journal: Journal,
    /// Changes made so far.
    pub made: u32,
    /// Some task of this run failed.
    pub any_failed: bool,
    /// Set when the run is to end.
    pub stop: StopFlag,
    /// Facts and variables.
    pub memory: Memory,
    /// File contents kept between runs.
    pub cache: Cache,
    /// How many enclosing blocks would rescue a failure.
    pub rescuable: usize,
    /// Task and result of the last failure, for `rescue`.
    pub last_failure: Option<(Json, Json)>,
    /// The handler now running was notified only perhaps (by a task a dry run can't know about).
    pub perhaps: bool,
    /// What the task now running would notify.
    pub notices: Notices,
    /// The run that notified the handler now running, and did not get to it.
    pub owing: Option<String>,
    /// What the task now running told beside its result, for hosts it is done for.
    pub told: Told,
    /// How often each task came to the point where hosts meet.
    pub visits: HashMap<u32, u32>,
}

impl Session<'_> {
    /// Gathers facts and reports it as the task Ansible shows.
    pub fn gather_facts(&mut self, play: &Play, subset: &[String]) -> Result<(), ()> {
        let started = std::time::Instant::now();
        self.wire.send(&ToController::Started { task: 0, name: "Gathering Facts".into() });
        let facts = crate::host::facts::gather(self.real, subset);
        self.memory.add_facts(facts);
        self.wire.send(&ToController::Result(Box::new(TaskReport {
            task: 0,
            loc: play.loc.clone(),
            name: "Gathering Facts".into(),
            module: "setup".into(),
            handler: false,
            item: None,
            summary: false,
            status: Status::Ok,
            ignored: false,
            rescued: false,
            message: String::new(),
            changes: vec![],
            result: Map::new(),
            warnings: vec![],
            millis: millis(started),
        })));
        Ok(())
    }

    /// Reports an end of `task` that came from no module.
    pub fn report(&self, task: &Task, verdict: Verdict, handler: bool) {
        let module = match &task.action {
            Action::Module { name, .. } => name.clone(),
            Action::Include(include) => include.kind.module().to_owned(),
        };
        let name = task.name.as_ref().and_then(|n| n.as_str().map(str::to_owned)).unwrap_or_else(|| module.clone());
        let mut report = report_of(task, name, &module, verdict);
        report.handler = handler;
        self.wire.send(&ToController::Result(Box::new(report)));
    }

    /// A task's name as shown: rendered where possible, as written otherwise, the module's name without one.
    pub fn task_name(&self, task: &Task, scope: &Scope) -> String {
        let module = match &task.action {
            Action::Module { name, .. } => name.as_str(),
            Action::Include(include) => include.kind.module(),
        };
        let Some(node) = &task.name else { return module.to_owned() };
        match self.engine.render(node, scope) {
            Ok(Json::String(text)) => text,
            Ok(other) if unknown_inside(&other).is_none() => other.to_string(),
            _ => node.as_str().unwrap_or(module).to_owned(),
        }
    }

    /// Whether all `conditions` hold; otherwise the verdict for the task.
    pub fn conditions(&self, conditions: &[Node], scope: &Scope) -> Result<(), Box<Verdict>> {
        for condition in conditions {
            match self.engine.condition(condition, scope) {
                Ok(true) => {}
                Ok(false) => {
                    let text = condition.as_str().map_or_else(|| condition.to_json().to_string(), str::to_owned);
                    return Err(Box::new(Verdict::skipped("condition is false", Some(&text))));
                }
                Err(e) => return Err(Box::new(template_verdict(&e))),
            }
        }
        Ok(())
    }

    /// The items a task loops over.
    pub fn loop_items(&self, task: &Task, node: &Node, scope: &Scope) -> Result<Vec<Json>, Box<Verdict>> {
        let rendered = self.engine.render(node, scope).map_err(|e| Box::new(template_verdict(&e)))?;
        if let Some(why) = rendered.as_object().and_then(|_| unknown_inside(&rendered)) {
            return Err(Box::new(Verdict::unknown(why)));
        }
        match rendered {
            Json::Array(items) if task.flatten_items => Ok(items
                .into_iter()
                .flat_map(|item| match item {
                    Json::Array(inner) => inner,
                    other => vec![other],
                })
                .collect()),
            Json::Array(items) => Ok(items),
            // with_items takes a single value as a list of one.
            other if task.flatten_items => Ok(vec![other]),
            other => Err(Box::new(Verdict::failed(format!(
                "{}: a loop needs a list, not {}",
                node.loc,
                Node::from_json(&other, &node.loc).kind()
            )))),
        }
    }

    /// Renders a boolean keyword such as `ignore_errors`.
    pub fn flag(&self, node: Option<&Node>, default: bool, scope: &Scope) -> Result<bool, TemplateError> {
        node.map_or(Ok(default), |n| self.engine.condition(n, scope))
    }

    /// The rounds of a dynamic include: the rendered name, and loop variables. `Err`: there is none to run.
    pub fn include_rounds(&self, task: &Task, include: &Include, scope: &Scope) -> Result<Vec<(String, Option<Layer>)>, Box<Verdict>> {
        let items = match &task.items {
            None => None,
            Some(node) => Some(self.loop_items(task, node, scope)?),
        };
        let layers: Vec<Option<Layer>> = match &items {
            None => vec![None],
            Some(items) => (0..items.len()).map(|i| Some(loop_layer(task, items, i))).collect(),
        };
        let mut rounds = vec![];
        let mut skipped = None;
        for layer in layers {
            let mut scope = scope.clone();
            if let Some(layer) = &layer {
                scope.push(layer.clone());
            }
            match self.conditions(&task.when, &scope) {
                Ok(()) => {}
                Err(verdict) if verdict.status == Status::Skipped => {
                    skipped = Some(verdict);
                    continue;
                }
                Err(verdict) => return Err(verdict),
            }
            match self.engine.render(&include.name, &scope).map_err(|e| Box::new(template_verdict(&e)))? {
                Json::String(name) if name != OMIT => rounds.push((name, layer)),
                other => match unknown_inside(&other) {
                    Some(why) => return Err(Box::new(Verdict::unknown(why))),
                    None => {
                        return Err(Box::new(Verdict::failed(format!(
                            "{}: the name of an include must be text, not {other}",
                            include.name.loc
                        ))));
                    }
                },
            }
        }
        match (rounds.is_empty(), skipped) {
            (true, Some(verdict)) => Err(verdict),
            (true, None) => Err(Box::new(Verdict::skipped("no items in the list", None))),
            _ => Ok(rounds),
        }
    }

    /// Scope of a task as things stand.
    pub fn scope(&self, state: &PlayState, task: &Task) -> Scope {
        scope_of(self, state, task)
    }
}

/// What a template's failure means for a task.
pub fn template_verdict(error: &TemplateError) -> Verdict {
    match error {
        TemplateError::Unknown(why) => Verdict::unknown(why),
        other => Verdict::outside(other.to_string()),
    }
}

/// What a template's failure means for a planner.
pub fn template_plan_error(error: TemplateError) -> PlanError {
    match error {
        TemplateError::Unknown(why) => PlanError::Unknown(why),
        other => PlanError::Outside(other.to_string()),
    }
}

/// Milliseconds since `started`.
pub fn millis(started: std::time::Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}
