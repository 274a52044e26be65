//! What hosts say, and what each is answered.

use super::{Run, errand};
use crate::controller::event::{Event, Phase};
use crate::controller::files::list;
use crate::controller::kubernetes;
use crate::play::{Include, Included};
use crate::playbook::find_file;
use crate::playbook::hostvars::included_tasks;
use crate::protocol::{ToAgent, ToController, VERSION};
use crate::transport::LinkEvent;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};

impl Run<'_> {
    /// Takes one event; `true`: the host has nothing more to do in this batch.
    pub(super) fn hear(&mut self, index: usize, event: LinkEvent) -> bool {
        if self.hosts[index].delegate {
            self.hear_delegate(index, event);
            return false;
        }
        let host = self.names[index].clone();
        match event {
            LinkEvent::Connecting => self.reporter.event(Event::Phase { host, phase: Phase::Connecting }),
            LinkEvent::Pushing { sent, total } => self.reporter.event(Event::Pushing { host, sent, total }),
            LinkEvent::Question(question) => self.questions.put(question, self.reporter),
            LinkEvent::Ready => self.reporter.event(Event::Phase { host, phase: Phase::Running }),
            LinkEvent::Closed(result) => {
                let busy = self.hosts[index].busy;
                self.hosts[index].link = None;
                if self.hosts[index].out {
                    return busy;
                }
                if busy {
                    let reason = match result {
                        Err(e) => e.to_string(),
                        Ok(()) => "the agent ended in the middle of a play; `fettle journal` says what was done".into(),
                    };
                    self.unreachable(index, reason);
                    return true;
                }
            }
            LinkEvent::Message(message) => return self.message(index, *message),
            LinkEvent::Answer(answer) => {
                if let Some(link) = &self.hosts[index].link {
                    link.send(*answer);
                }
            }
        }
        false
    }

    pub(super) fn message(&mut self, index: usize, message: ToController) -> bool {
        let host = self.names[index].clone();
        let link = |run: &Self, message: ToAgent| {
            if let Some(link) = &run.hosts[index].link {
                link.send(message);
            }
        };
        match message {
            ToController::Hello { version, unfinished, .. } => {
                self.hosts[index].greeted = true;
                if version != VERSION {
                    self.unreachable(
                        index,
                        format!("its agent speaks version {version} of the protocol, this fettle {VERSION}: build both anew"),
                    );
                    return true;
                }
                if let Some(message) = unfinished {
                    self.reporter.event(Event::Warning { host: Some(host), message });
                }
            }
            ToController::Locked(holder) => {
                self.unreachable(index, holder.to_string());
                return true;
            }
            ToController::Started { name, .. } => self.reporter.event(Event::Started { host, name }),
            ToController::Result(report) => {
                self.summary.host(&host).count(&report);
                self.reporter.event(Event::Result { host, report });
            }
            ToController::NeedFile { name } => {
                let file = self.find(&name).and_then(|path| self.files.reference(&path));
                link(self, ToAgent::File { name, file });
            }
            ToController::NeedList { name } => {
                let entries = self.find(&name).and_then(|path| list(&path));
                link(self, ToAgent::List { name, entries });
            }
            ToController::NeedContent { hash } => {
                if let Some(link) = &self.hosts[index].link {
                    link.send_row(self.files.chunks(&hash));
                }
            }
            ToController::NeedInclude { task, name } => {
                let included = self.included(task, &name).map(Box::new);
                if let Ok(included) = &included {
                    self.remember(&included.items);
                    self.remember(&included.handlers);
                }
                let meets = included.as_ref().map_or_else(|_| vec![], |i| included_tasks(i, &self.hostvars.lead));
                link(self, ToAgent::Include { key: Include::key(task, &name), included, meets });
            }
            ToController::NeedModule { task, module, args, check, diff } => {
                let request = kubernetes::Request { task, module, args, check, diff, node: self.node(&host), local: self.is_local(&host) };
                let sender = self.sender.clone();
                // A cluster may take minutes; the run goes on hearing from its hosts.
                std::thread::spawn(move || {
                    let done = kubernetes::carry_out(&request).map(Box::new);
                    let _ = sender.send((index, LinkEvent::Answer(Box::new(ToAgent::Module { task: request.task, done }))));
                });
            }
            ToController::Meet { key, once, hostvars, told } => {
                if let Some(told) = told {
                    self.hostvars.hear(&host, told);
                }
                self.meet(index, key, once, hostvars);
            }
            ToController::OnceDone { key, once } => self.once_done(index, &key, once),
            ToController::NeedDelegate { task, to, root, errand } => self.delegate(index, task, &to, root, errand),
            ToController::PlayDone { failed, fatal, not_done, stopped, pending_handlers, variables } => {
                self.hosts[index].busy = false;
                if !variables.is_empty() {
                    self.shared.insert(host.clone(), variables);
                    self.hostvars.forget(&host);
                }
                let totals = self.summary.host(&host);
                totals.not_done += not_done;
                totals.stopped |= stopped;
                totals.pending_handlers.extend(pending_handlers.iter().cloned());
                if failed || stopped {
                    self.hosts[index].out = true;
                }
                if failed {
                    self.count_failure(&host, fatal);
                }
                self.reporter.event(Event::HostDone { host, failed, not_done, pending_handlers });
                return true;
            }
            ToController::Fatal(reason) => {
                self.unreachable(index, reason);
                return true;
            }
            ToController::Heartbeat
            | ToController::Facts(_)
            | ToController::Journal(_)
            | ToController::Undo(_)
            | ToController::Delegated { .. } => {}
        }
        false
    }

    /// The host's name in Kubernetes, or why it has none.
    fn node(&self, host: &str) -> Result<String, String> {
        crate::cluster::node_name(self.inventory, host, &crate::diag::Loc::outside("inventory")).map_err(|e| e.to_string())
    }

    /// Whether the host is this machine itself.
    fn is_local(&self, host: &str) -> bool {
        self.target(host).is_ok_and(|t| t.kind == crate::transport::Kind::Local)
    }

    /// What `task` includes by `name`. A host renders the name, and it may be hostile: it must be what the playbook writes.
    fn included(&self, task: u32, name: &str) -> Result<Included, String> {
        let written = self.site.include_name(task).ok_or_else(|| format!("task {task} is no include"))?;
        if !errand::agrees(&written, &Json::from(name)) {
            return Err(format!("{}: the play includes `{}`, not `{name}`", written.loc, written.key_text()));
        }
        self.site.include(task, name).map_err(|e| e.to_string())
    }

    /// The controller's file behind `<task>:<subfolder>:<name>`. A host names it, and a host may be hostile: the search
    /// path is the task's own as sent, and what is found must lie in the project, in no hidden folder.
    fn find(&self, key: &str) -> Result<PathBuf, String> {
        let mut parts = key.splitn(3, ':');
        let (task, subfolder, name) =
            (parts.next().and_then(|t| t.parse().ok()).unwrap_or(0), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let Some(search) = self.search.get(&task) else { return Err(format!("task {task} is none of this run's")) };
        let found = find_file(search, subfolder, name)?;
        if self.site.plays.iter().flat_map(|p| &p.files).any(|f| f.path == found) {
            return Ok(found);
        }
        let real = found.canonicalize().map_err(|e| format!("{}: {e}", found.display()))?;
        let inside = |root: &Path| {
            real.strip_prefix(root).is_ok_and(|rest| !rest.components().any(|c| c.as_os_str().to_string_lossy().starts_with('.')))
        };
        let roots = search.iter().filter_map(|s| Path::new(s).canonicalize().ok());
        if roots.chain(self.site.projects()).any(|root| inside(&root)) {
            return Ok(found);
        }
        Err(format!("{} is outside the project, so it is sent only to tasks that name it literally", found.display()))
    }

    pub(super) fn unreachable(&mut self, index: usize, reason: String) {
        let host = self.names[index].clone();
        self.drop_host(index);
        self.summary.host(&host).unreachable = Some(reason.clone());
        self.reporter.event(Event::Unreachable { host: host.clone(), reason });
        if !self.hosts[index].delegate {
            self.count_unreachable(&host);
        }
    }
}
