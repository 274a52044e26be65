//! What a run tells about itself, for whoever shows it.

use crate::diag::Loc;
use crate::protocol::TaskReport;
use serde::Serialize;

/// Where a host is before its play runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Its turn has not come (forks, `serial`).
    Waiting,
    /// The connection is being made.
    Connecting,
    /// The agent is being put in place.
    Pushing,
    /// The play runs.
    Running,
    /// The play is over.
    Done,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A play begins.
    PlayStart {
        /// Its name.
        name: String,
        /// Where it stands.
        loc: Loc,
        /// Its hosts, in inventory order.
        hosts: Vec<String>,
        /// Number of tasks, for progress (dynamic includes add to it).
        tasks: u32,
    },
    /// A play matched no host.
    PlaySkipped {
        /// Its name.
        name: String,
        /// Why, for the operator.
        reason: String,
    },
    /// A batch of `serial` begins.
    Batch {
        /// Number of the batch, from 1.
        number: usize,
        /// How many there are.
        of: usize,
        /// Its hosts.
        hosts: Vec<String>,
    },
    /// A host moved on.
    Phase {
        /// The host.
        host: String,
        /// Where it is now.
        phase: Phase,
    },
    /// Bytes of the agent sent.
    Pushing {
        /// The host.
        host: String,
        /// Sent so far.
        sent: u64,
        /// Of these.
        total: u64,
    },
    /// A task begins on a host.
    Started {
        /// The host.
        host: String,
        /// Its name.
        name: String,
    },
    /// A task, or one item of its loop, ended on a host.
    Result {
        /// The host.
        host: String,
        /// How.
        report: Box<TaskReport>,
    },
    /// The play is over on a host.
    HostDone {
        /// The host.
        host: String,
        /// It failed.
        failed: bool,
        /// Tasks not done.
        not_done: u32,
        /// Handlers notified but not run.
        pending_handlers: Vec<String>,
    },
    /// A host can't be reached, or the connection to it broke.
    Unreachable {
        /// The host.
        host: String,
        /// Why, and what to do.
        reason: String,
    },
    /// Something to look at.
    Warning {
        /// Which host it concerns, if one.
        host: Option<String>,
        /// What.
        message: String,
    },
    /// The operator asked to stop: changes under way finish, the rest does not begin.
    Stopping,
    /// A play is over on all its hosts.
    PlayEnd,
}

/// Whoever shows a run.
pub trait Reporter {
    /// Takes one event.
    fn event(&mut self, event: Event);
    /// Puts a question to the operator, who answers on standard input.
    fn question(&mut self, text: &str) {
        eprint!("{text}");
    }
    /// It was answered.
    fn answered(&mut self) {}
    /// Called about ten times a second, for moving parts.
    fn tick(&mut self) {}
}
