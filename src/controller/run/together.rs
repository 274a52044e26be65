//! What hosts do together: one does a task for all, all wait for each other, one does a task for another, and a failure
//! that is everybody's.

use super::{Options, Run, errand};
use crate::controller::event::Event;
use crate::diag::Diagnostic;
use crate::inventory::Inventory;
use crate::play::Privilege;
use crate::playbook::PlaySource;
use crate::protocol::{Errand, Once, ToAgent, ToController, VERSION};
use crate::transport::{Kind, LinkEvent, Target, open};
use crate::yaml::Value;
use std::collections::{HashMap, HashSet};

/// What became of a task on the host that did it for all, or why nobody knows.
type Done = Result<Box<Once>, String>;

/// The hosts of a batch, where they wait, and what they were told.
#[derive(Default)]
pub(super) struct Together {
    /// In the order of the play.
    batch: Vec<usize>,
    /// Where hosts wait for all others.
    waiting: HashMap<usize, String>,
    /// Of those, who wait for what others know of themselves.
    listening: HashSet<usize>,
    /// All hosts of the batch take part, however many may run at once.
    pub(super) everyone: bool,
    /// Where hosts wait for a task that one does for all.
    asking: HashMap<usize, String>,
    /// These tasks: who does it, and what became of it.
    once: HashMap<String, (usize, Option<Done>)>,
    /// How many hosts of the batch failed, and how many may, in percent.
    failed: usize,
    may_fail: Option<f64>,
    /// All tasks have `any_errors_fatal`: a host that can't be reached ends the run for all, too.
    all_or_none: bool,
}

/// Agents that do tasks for other hosts.
#[derive(Default)]
pub(super) struct Delegates {
    /// By host, and whether as root: which connection, and how it goes there.
    links: HashMap<(String, bool), (usize, Target)>,
    /// Under way: who asked, for which task, and who does it.
    errands: HashMap<u64, (usize, u32, usize)>,
    next: u64,
}

impl Run<'_> {
    /// A batch begins.
    pub(super) fn gather(&mut self, play: &PlaySource, batch: &[String]) {
        let may_fail = play.max_fail_percentage.as_ref().and_then(|n| super::known(play, n, self.options).ok()).and_then(|n| percent(&n));
        let batch = batch.iter().filter_map(|h| self.index.get(h).copied()).collect();
        let (mut tasks, mut fatal) = (0, 0);
        play.each_task(&mut |task| {
            tasks += 1;
            fatal += usize::from(task.any_errors_fatal.as_ref().is_some_and(|n| n.value == Value::Bool(true)));
        });
        self.together = Together { batch, may_fail, all_or_none: tasks > 0 && tasks == fatal, ..Together::default() };
    }

    /// A host waits at a place.
    pub(super) fn meet(&mut self, index: usize, key: String, once: bool, hostvars: bool) {
        if hostvars {
            self.together.listening.insert(index);
        }
        if once {
            self.together.asking.insert(index, key)
        } else {
            self.together.waiting.insert(index, key)
        };
    }

    /// A host did a task for all.
    pub(super) fn once_done(&mut self, index: usize, key: &str, done: Box<Once>) {
        if let Some((runner, result)) = self.together.once.get_mut(key)
            && *runner == index
        {
            *result = Some(Ok(done));
        }
    }

    /// Lets those go on who need not wait any longer. To be called after every event; `begun`: every host of the batch has
    /// begun.
    pub(super) fn settle(&mut self, begun: bool) {
        let busy: Vec<usize> = self.together.batch.iter().copied().filter(|i| self.hosts[*i].busy).collect();
        let (names, hosts) = (&self.names, &self.hosts);
        let t = &mut self.together;
        t.waiting.retain(|i, _| hosts[*i].busy);
        t.asking.retain(|i, _| hosts[*i].busy);
        t.listening.retain(|i| hosts[*i].busy);
        // Who was to do it and ended without a word takes the answer along.
        for (runner, result) in t.once.values_mut() {
            if result.is_none() && !hosts[*runner].busy {
                *result = Some(Err(format!("{} was to do it for all, and ended before it was done", names[*runner])));
            }
        }
        let mut answers: Vec<(usize, String, Option<Done>)> = vec![];
        for (index, key) in &t.asking {
            match t.once.get(key) {
                Some((_, Some(result))) => answers.push((*index, key.clone(), Some(result.clone()))),
                Some((_, None)) => {}
                // The first in the play's order that takes part; it comes here, or ends and makes room for the next one.
                None if busy.first() == Some(index) => answers.push((*index, key.clone(), None)),
                None => {}
            }
        }
        for (index, key, result) in &answers {
            t.asking.remove(index);
            if result.is_none() {
                t.once.insert(key.clone(), (*index, None));
            }
        }
        // All are here, or wait for one that is.
        if answers.is_empty() && !t.waiting.is_empty() && busy.iter().all(|i| t.waiting.contains_key(i) || t.asking.contains_key(i)) {
            // What hosts that have not begun will know of themselves is not known yet.
            t.everyone |= !t.listening.is_empty();
            if begun || t.listening.is_empty() {
                answers.extend(t.waiting.drain().map(|(index, key)| (index, key, None)));
            }
        }
        for (index, key, once) in answers {
            if once.is_none() && self.together.listening.remove(&index) {
                let news = self.hostvars.news(index, &self.names[index], self.inventory, &self.options.extra, &self.shared);
                if let Some(link) = &self.hosts[index].link {
                    link.send_row(news.into_iter());
                }
            }
            self.hosts[index].send(ToAgent::Go { key, once });
        }
    }

    /// A host's play ended badly: whether that ends everybody's run.
    pub(super) fn count_failure(&mut self, host: &str, fatal: bool) {
        self.together.failed += 1;
        let share = self.together.failed as f64 * 100.0 / self.together.batch.len().max(1) as f64;
        if fatal {
            self.abort(format!("a task failed on {host}, and `any_errors_fatal` makes that everybody's failure"));
        } else if self.together.may_fail.is_some_and(|most| share > most) {
            self.abort(format!(
                "{share:.0} % of the hosts failed, and `max_fail_percentage` allows {}",
                self.together.may_fail.unwrap_or(0.0)
            ));
        }
    }

    /// A host could not be reached, or not any more: whether that ends everybody's run.
    pub(super) fn count_unreachable(&mut self, host: &str) {
        if self.together.all_or_none {
            self.abort(format!("{host} is unreachable, and `any_errors_fatal` makes that everybody's failure"));
        }
    }

    /// All hosts end the change they are in, and the run is over.
    fn abort(&mut self, reason: String) {
        if self.aborted || self.stopping {
            return;
        }
        self.aborted = true;
        for host in self.hosts.iter().filter(|h| h.busy) {
            if let Some(link) = &host.link {
                link.send(ToAgent::Stop(reason.clone()));
            }
        }
        self.reporter.event(Event::Warning { host: None, message: format!("the run ends: {reason}") });
    }

    /// Has `errand` of the host `index` done on `to`.
    pub(super) fn delegate(&mut self, index: usize, task: u32, to: &str, root: bool, errand: Box<Errand>) {
        let link = match self.may_delegate(index, task, to, root, &errand).and_then(|()| self.delegate_link(to, root)) {
            Ok(link) => link,
            Err(reason) => {
                self.hosts[index].send(ToAgent::Delegated { task, done: Err(reason) });
                return;
            }
        };
        let id = self.delegates.next;
        self.delegates.next += 1;
        self.delegates.errands.insert(id, (index, task, link));
        self.hosts[link].send(ToAgent::Delegate { id, errand });
    }

    /// A host may be hostile: it has done elsewhere only what the play delegates.
    fn may_delegate(&self, index: usize, task: u32, to: &str, root: bool, errand: &Errand) -> Result<(), String> {
        let Some(written) = self.delegated.get(&task).filter(|_| task == errand.task) else {
            return Err("the play delegates no such task".into());
        };
        let vars = self.inventory.vars(&self.names[index]);
        let names = ["ansible_become", "ansible_become_user"];
        let open = self.options.become_all
            || names.iter().any(|v| vars.get(v).is_some() || self.options.extra.get(v).is_some())
            || written.layers.iter().any(|layer| names.iter().any(|v| layer.vars.get(v).is_some()))
            || self.site.plays.iter().any(|play| play.says(&names));
        errand::check(written, to, root, errand, open)
    }

    /// The connection over which `to` does others' tasks.
    fn delegate_link(&mut self, to: &str, root: bool) -> Result<usize, String> {
        if !self.inventory.knows(to) {
            return Err(format!("there is no host `{to}` in the inventory"));
        }
        let target = self.target(to).map_err(|e| e.to_string())?;
        // Who logs in as root is root already: a second agent would only find the first one's lock.
        let root = root && target.login() != "root";
        let key = (to.to_owned(), root);
        if let Some((index, known)) = self.delegates.links.get_mut(&key).filter(|(i, _)| self.hosts[*i].link.is_some()) {
            return known.join(&target).map(|()| *index).map_err(|what| {
                format!(
                    "this play connects to {to} otherwise than an earlier play of this run ({what}): run the playbooks one after the other"
                )
            });
        }
        if self.stopping || self.aborted {
            return Err("the run is being stopped".into());
        }
        let (login, silence) = (target.login().to_owned(), target.silence.as_secs());
        // A host that takes part in this run is held by it already; the workstation belongs to nobody.
        let lock = !self.ways.privileges.contains_key(to) && target.kind == Kind::Ssh;
        let index = self.hosts.len();
        let privilege = if root { Privilege::Root } else { Privilege::Connection };
        let link = open(target.clone(), privilege, self.sender.clone(), index);
        link.send(ToAgent::Hello {
            version: VERSION,
            // A run of its own in that host's journal; there may be several, by different users.
            run: format!("{}-d{}", self.options.run, index - self.index.len() + 1),
            by: self.options.by.clone(),
            check: self.options.check,
            diff: self.options.diff,
            stop_after: None,
            login,
            purpose: format!("{}, delegated tasks", self.options.purpose),
            lock,
            silence,
        });
        self.names.push(to.to_owned());
        self.hosts.push(super::Host { link: Some(link), delegate: true, ..super::Host::default() });
        self.delegates.links.insert(key, (index, target));
        Ok(index)
    }

    /// Takes an event of a connection that does others' tasks.
    pub(super) fn hear_delegate(&mut self, index: usize, event: LinkEvent) {
        let reason = match event {
            LinkEvent::Message(message) => match *message {
                ToController::Delegated { id, done } => {
                    if let Some((asker, task, _)) = self.delegates.errands.remove(&id) {
                        self.hosts[asker].send(ToAgent::Delegated { task, done: Ok(done) });
                    }
                    return;
                }
                ToController::Locked(holder) => holder.to_string(),
                ToController::Fatal(reason) => reason,
                message @ (ToController::Hello { .. }
                | ToController::NeedFile { .. }
                | ToController::NeedList { .. }
                | ToController::NeedContent { .. }) => {
                    self.message(index, message);
                    return;
                }
                // It runs no play, so it has nothing else to say.
                _ => return,
            },
            LinkEvent::Closed(Ok(())) => "its agent ended".into(),
            LinkEvent::Closed(Err(e)) => e.to_string(),
            LinkEvent::Question(question) => {
                self.questions.put(question, self.reporter);
                return;
            }
            LinkEvent::Answer(_) | LinkEvent::Connecting | LinkEvent::Pushing { .. } | LinkEvent::Ready => return,
        };
        self.hosts[index].link = None;
        let lost: Vec<u64> = self.delegates.errands.iter().filter(|(_, (.., l))| *l == index).map(|(id, _)| *id).collect();
        for id in lost {
            if let Some((asker, task, _)) = self.delegates.errands.remove(&id) {
                self.hosts[asker].send(ToAgent::Delegated { task, done: Err(reason.clone()) });
            }
        }
    }
}

/// That every host a play delegates to by name is one, and what may fail is a number.
pub(super) fn check(play: &PlaySource, inventory: &Inventory, options: &Options) -> Result<(), Diagnostic> {
    let mut found = Ok(());
    play.each_task(&mut |task| {
        let Some(node) = &task.delegate_to else { return };
        let name = node.as_str().unwrap_or_default().trim();
        if !name.contains("{{") && !name.contains("{%") && !inventory.knows(name) && found.is_ok() {
            let hosts = inventory.hosts();
            found = Err(Diagnostic::error(&node.loc, format!("there is no host `{name}` in the inventory to delegate to"))
                .nearest(name, hosts.iter().map(String::as_str).chain(["localhost"])));
        }
    });
    found?;
    let Some(node) = &play.max_fail_percentage else { return Ok(()) };
    match percent(&super::known(play, node, options)?) {
        Some(_) => Ok(()),
        None => Err(Diagnostic::error(&node.loc, "`max_fail_percentage` must be a number")),
    }
}

fn percent(node: &crate::yaml::Node) -> Option<f64> {
    node.to_json().as_f64().or_else(|| node.as_str()?.trim().trim_end_matches('%').parse().ok())
}
