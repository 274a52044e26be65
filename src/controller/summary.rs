//! What a run came to, host by host.

use crate::protocol::{Status, TaskReport};
use indexmap::IndexMap;
use serde::Serialize;

/// A failed task, for the recap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Task name.
    pub task: String,
    /// Where it stands.
    pub place: String,
    /// Why.
    pub message: String,
}

/// One host's totals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HostSummary {
    /// Tasks that found everything as asked.
    pub ok: u32,
    /// Tasks that changed (or would change) something.
    pub changed: u32,
    /// Single changes made (or predicted).
    pub changes: u32,
    /// Tasks a dry run can't know about.
    pub unknown: u32,
    /// Tasks skipped.
    pub skipped: u32,
    /// Tasks failed.
    pub failed: u32,
    /// Failures taken by `ignore_errors`.
    pub ignored: u32,
    /// Failures taken by `rescue`.
    pub rescued: u32,
    /// Commands that ran and count as no change: `changed_when` says so, or they failed.
    pub ran: u32,
    /// Tasks that were not done.
    pub not_done: u32,
    /// It was told to stop before its end.
    pub stopped: bool,
    /// Handlers notified but not run.
    pub pending_handlers: Vec<String>,
    /// Why it could not be reached.
    pub unreachable: Option<String>,
    /// What failed.
    pub failures: Vec<Failure>,
    /// Why something is unknown, task by task.
    pub unknowns: Vec<Failure>,
}

/// The whole run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Hosts in inventory order.
    pub hosts: IndexMap<String, HostSummary>,
    /// The operator stopped the run.
    pub interrupted: bool,
    /// Hosts of plays, or of their batches, that were not begun: the run ended before, by a failure or the operator.
    pub not_started: Vec<String>,
    /// How hosts were reached, for questions to them afterwards.
    #[serde(skip)]
    pub reached: Reached,
}

/// What plays say about connecting, where it is the same for all their hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Who logs in, if not whom the inventory or the command line names.
    pub user: Option<String>,
    /// The port, likewise.
    pub port: Option<u16>,
    /// Some agent was started as root: its runs are in root's journal.
    pub root: bool,
}

impl HostSummary {
    /// Counts a report. Items of a loop count through the task's own report, except their changes.
    pub fn count(&mut self, report: &TaskReport) {
        if report.item.is_some() || !report.summary {
            let done = u32::try_from(report.changes.iter().filter(|c| c.done).count()).unwrap_or(u32::MAX);
            // `changed_when` may say that what a command did is no change.
            if matches!(report.status, Status::Ok | Status::Failed) && matches!(report.module.as_str(), "command" | "shell") {
                self.ran += done;
            } else if report.status != Status::Ok {
                self.changes += done;
            }
        }
        if report.item.is_some() {
            return;
        }
        let about = || Failure { task: report.name.clone(), place: report.loc.to_string(), message: report.message.clone() };
        match report.status {
            Status::Ok => self.ok += 1,
            Status::Changed => {
                self.ok += 1;
                self.changed += 1;
            }
            Status::Unknown => {
                self.unknown += 1;
                self.unknowns.push(about());
            }
            Status::Skipped => self.skipped += 1,
            Status::Failed if report.rescued => self.rescued += 1,
            Status::Failed if report.ignored => self.ignored += 1,
            Status::Failed => {
                self.failed += 1;
                self.failures.push(about());
            }
        }
    }
}

impl Summary {
    /// The totals of `host`.
    pub fn host(&mut self, host: &str) -> &mut HostSummary {
        self.hosts.entry(host.to_owned()).or_default()
    }

    /// The exit code ansible-playbook gives: 0 all well, 2 a host failed, 4 a host could not be reached,
    /// 99 interrupted by the operator. Failed and unreachable together: 2 | 4 = 6, as Ansible's flags add up.
    pub fn exit_code(&self) -> u8 {
        if self.interrupted {
            return 99;
        }
        let failed = self.hosts.values().any(|h| h.failed > 0 || h.stopped);
        let unreachable = self.hosts.values().any(|h| h.unreachable.is_some());
        u8::from(failed) * 2 + u8::from(unreachable) * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_ansible_playbooks() {
        let mut summary = Summary::default();
        summary.host("a").ok = 1;
        assert_eq!(summary.exit_code(), 0);
        summary.host("a").failed = 1;
        assert_eq!(summary.exit_code(), 2);
        summary.host("b").unreachable = Some("no route".into());
        assert_eq!(summary.exit_code(), 6);
        summary.interrupted = true;
        assert_eq!(summary.exit_code(), 99);
    }
}
