//! What the two sides say to each other.

use crate::diag::Loc;
use crate::host::{Diff, undo};
use crate::play::{Included, Play, Vars};
use crate::yaml::Node;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// Version of these messages. Both sides come from one build, so a difference is refused.
///
/// 2: what hosts know of each other comes in messages of its own ([`ToAgent::Known`]), no longer inside [`ToAgent::Go`]; and an
/// undoing that undoes nothing names the run before.
pub const VERSION: u32 = 2;

/// From the controller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToAgent {
    /// First message of a connection.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// Names this run in the journal and in the lock.
        run: String,
        /// Who runs it: `user@workstation`, for the lock and the journal.
        by: String,
        /// A dry run: predict on an overlay, touch nothing.
        check: bool,
        /// Send content diffs.
        diff: bool,
        /// Stop after this many changes, as when the line breaks: for rehearsing an interruption.
        stop_after: Option<u32>,
        /// The user the connection logged in as (tasks without `become` run as this user).
        login: String,
        /// What this run is, for lock and journal: `apply site.yml`.
        purpose: String,
        /// Take the lock. Without it nothing is held off: for looking, and where this run holds the host already.
        lock: bool,
        /// Seconds without a word from the controller after which the line counts as broken.
        silence: u64,
    },
    /// Run a play.
    Play(Box<PlayRun>),
    /// Answer to [`ToController::NeedFile`]; `None`: the controller has no such file.
    File {
        /// Path asked for.
        name: String,
        /// The file, or why not.
        file: Result<FileRef, String>,
    },
    /// Answer to [`ToController::NeedList`].
    List {
        /// Name asked for.
        name: String,
        /// See `modules::Files::list`.
        entries: Result<Option<Vec<String>>, String>,
    },
    /// Bytes of a file by hash, in order; an empty `bytes` with `last` ends it.
    Chunk {
        /// The file's hash.
        hash: String,
        /// The next bytes, base64.
        bytes: String,
        /// No more follow.
        last: bool,
    },
    /// Answer to [`ToController::NeedInclude`].
    Include {
        /// The key asked for.
        key: String,
        /// The tasks, or the errors as text.
        included: Result<Box<Included>, String>,
        /// As [`PlayRun::meets`].
        meets: Vec<u32>,
    },
    /// Answer to [`ToController::NeedModule`].
    Module {
        /// The task.
        task: u32,
        /// What it did, or why it failed.
        done: Result<Box<ModuleDone>, String>,
    },
    /// Gather facts and answer with [`ToController::Facts`].
    Facts {
        /// Subset names; empty: all.
        subset: Vec<String>,
    },
    /// Read the journal and answer with [`ToController::Journal`].
    Journal {
        /// Only this run.
        run: Option<String>,
    },
    /// Play the journal of a run back (in a dry run: say what that would do) and answer with [`ToController::Undo`].
    Undo {
        /// Which run; `None`: the newest that can be undone.
        run: Option<String>,
    },
    /// Still here.
    Heartbeat,
    /// Finish the change you are in, then stop, for this reason (Ctrl-C at the controller, a failure that is everybody's).
    Stop(String),
    /// Answer to [`ToController::Meet`]: go on.
    Go {
        /// Where the host waits.
        key: String,
        /// For `run_once`: what became of the task on the host that did it. `None`: do it yourself.
        once: Option<Result<Box<Once>, String>>,
    },
    /// What `hostvars` says of a host, where that is new to this one: before the `Go` of a meeting for it.
    Known {
        /// The host.
        host: String,
        /// Its variables.
        vars: Map<String, Json>,
    },
    /// Do a task for another host, and answer with [`ToController::Delegated`].
    Delegate {
        /// Names the question.
        id: u64,
        /// What to do.
        errand: Box<Errand>,
    },
    /// Answer to [`ToController::NeedDelegate`].
    Delegated {
        /// The task's id.
        task: u32,
        /// What became of it, or why it could not even be tried.
        done: Result<Box<Once>, String>,
    },
    /// Nothing more will come.
    Bye,
}

/// A play and what one host needs to run it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlayRun {
    /// The play.
    pub play: Play,
    /// This host's variables.
    pub vars: HostVars,
    /// Files the play is known to refer to, keyed `<task id>:<subfolder>:<name>`.
    pub files: Vec<(String, FileRef)>,
    /// Tell the controller this host's facts and variables at the end: other hosts' plays read them.
    pub share: bool,
    /// Tasks, by id, that read `hostvars`: the hosts meet before them, and tell each other what they know.
    pub meets: Vec<u32>,
    /// The variables that are read through `hostvars`; `None`: any.
    pub told: Option<Vec<String>>,
}

/// A host's variables, by precedence, low to high.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostVars {
    /// Inventory, group_vars and host_vars, already in order of precedence.
    pub inventory: Vars,
    /// `-e`.
    pub extra: Vars,
    /// Magic variables: `inventory_hostname`, `groups`, `group_names`, `play_hosts`, ….
    pub magic: Map<String, Json>,
}

/// A file on the controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// Its path on the controller, for messages.
    pub path: String,
    /// SHA-256 of its content, hexadecimal.
    pub hash: String,
    /// Bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// The content itself (base64) where it is small; otherwise asked for by hash when missing.
    pub inline: Option<String>,
}

/// From the agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToController {
    /// Answer to Hello.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// `uname -m`.
        machine: String,
        /// The agent's effective user id.
        uid: u32,
        /// An earlier run that did not end well: run id, and what was and was not done, for the operator.
        unfinished: Option<String>,
    },
    /// Another run holds this host; the agent ends.
    Locked(LockHolder),
    /// A task begins (also said per loop item where it takes time).
    Started {
        /// Task id.
        task: u32,
        /// Its rendered name.
        name: String,
    },
    /// A task, or one item of its loop, or a handler, ended.
    Result(Box<TaskReport>),
    /// What is this file? Names are as the task has them.
    NeedFile {
        /// Key as in [`PlayRun::files`]: `<task id>:<subfolder>:<name>`.
        name: String,
    },
    /// What is in this folder?
    NeedList {
        /// Key as for NeedFile.
        name: String,
    },
    /// Send this file's content.
    NeedContent {
        /// Its hash.
        hash: String,
    },
    /// Resolve this dynamic include.
    NeedInclude {
        /// Task that includes.
        task: u32,
        /// Rendered file or role name.
        name: String,
    },
    /// Carry out a module that runs on the controller.
    NeedModule {
        /// The task.
        task: u32,
        /// The module's name.
        module: String,
        /// Its arguments, rendered and checked.
        args: Map<String, Json>,
        /// Predict only.
        check: bool,
        /// Say what differs.
        diff: bool,
    },
    /// This host is about to begin a task that hosts do together, and waits.
    Meet {
        /// Names the place: the task, and how often this host has come there.
        key: String,
        /// `run_once`: one host does it. Otherwise all do, when all are here.
        once: bool,
        /// It is for `hostvars`.
        hostvars: bool,
        /// This host's variables for it, unless they are as they were told before.
        told: Option<Map<String, Json>>,
    },
    /// What became of the `run_once` task this host was told to do.
    OnceDone {
        /// Where the others wait.
        key: String,
        /// How it ended.
        once: Box<Once>,
    },
    /// Have this done on another host.
    NeedDelegate {
        /// The task's id.
        task: u32,
        /// The other host.
        to: String,
        /// With root's rights.
        root: bool,
        /// What to do.
        errand: Box<Errand>,
    },
    /// What became of an errand.
    Delegated {
        /// Names the question.
        id: u64,
        /// How it ended.
        done: Box<Once>,
    },
    /// Facts asked for.
    Facts(Map<String, Json>),
    /// Journal asked for.
    Journal(Journal),
    /// What became of the run to undo.
    Undo(Box<undo::Report>),
    /// The play is over on this host.
    PlayDone {
        /// The host failed and takes no part in further plays.
        failed: bool,
        /// Tasks that were not done: after a failure, `meta: end_host`, or a stop.
        not_done: u32,
        /// The failure is everybody's (`any_errors_fatal`).
        fatal: bool,
        /// The run was stopped (by the operator, or because the line broke).
        stopped: bool,
        /// Names of handlers notified but not run.
        pending_handlers: Vec<String>,
        /// Facts and variables set so far (`set_fact`, `register`): other hosts' `hostvars` see them.
        variables: Map<String, Json>,
    },
    /// Still here: sent while a change takes long.
    Heartbeat,
    /// The agent cannot go on; it ends after this.
    Fatal(String),
}

/// Who holds a host's lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// `user@workstation`.
    pub by: String,
    /// What it does.
    pub purpose: String,
    /// Since when, RFC 3339 in UTC.
    pub since: String,
    /// Run id.
    pub run: String,
    /// Process on the host.
    pub pid: u32,
}

impl std::fmt::Display for LockHolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { by, purpose, since, run, pid } = self;
        write!(f, "{by} is running `{purpose}` here since {since} (run {run}, process {pid} on the host): wait for it to end")
    }
}

/// How a task, or one item of its loop, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The host already was as asked.
    Ok,
    /// Something was (in a dry run: would be) changed.
    Changed,
    /// A dry run can't know.
    Unknown,
    /// A condition did not hold.
    Skipped,
    /// It failed.
    Failed,
}

/// The result of a task, or of one item of its loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    /// Task id.
    pub task: u32,
    /// Where the task stands.
    pub loc: Loc,
    /// Its rendered name.
    pub name: String,
    /// Module name.
    pub module: String,
    /// The play's section: handlers are marked.
    pub handler: bool,
    /// For one item of a loop: its label. The task's own report comes after its items'.
    pub item: Option<String>,
    /// True on the report that sums up a loop.
    pub summary: bool,
    /// How it ended.
    pub status: Status,
    /// Failed, but `ignore_errors` or a `rescue` took it.
    pub ignored: bool,
    /// It was a `rescue`.
    pub rescued: bool,
    /// One line: why failed, skipped or unknown, or what `debug` says.
    pub message: String,
    /// What was (or would be) changed.
    pub changes: Vec<ChangeReport>,
    /// The result as `register` gets it. Redacted under `no_log`.
    pub result: Map<String, Json>,
    /// Things the operator should see.
    pub warnings: Vec<String>,
    /// Milliseconds.
    pub millis: u64,
}

/// One change in a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeReport {
    /// One line: "set net.core.somaxconn: 4096 → 65535".
    pub summary: String,
    /// What it destroys, named with its identity; `None`: nothing.
    pub destroys: Option<String>,
    /// Content before and after, where asked for and not secret.
    pub diff: Option<Diff>,
    /// Performed and verified (apply), or predicted (dry run).
    pub done: bool,
}

/// What a task that one host does for others came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Once {
    /// How it ended.
    pub status: Status,
    /// It failed, and `ignore_errors` took it.
    pub ignored: bool,
    /// One line for the operator.
    pub message: String,
    /// What was or would be changed.
    pub changes: Vec<ChangeReport>,
    /// The result as `register` gets it.
    pub result: Map<String, Json>,
    /// Things the operator should see.
    pub warnings: Vec<String>,
    /// What it told beside its result.
    pub told: Told,
    /// What `meta` asks of every host.
    pub meta: Vec<String>,
}

/// Variables a task sets beside its result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// `set_fact`.
    pub set: Map<String, Json>,
    /// `setup`, and `set_fact` with `cacheable`.
    pub facts: Map<String, Json>,
    /// `include_vars`.
    pub vars: Vec<(String, Node)>,
}

/// A task for another host, its templates rendered: that host learns nothing else of the one that sends it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Errand {
    /// The task's id: files are asked for by it.
    pub task: u32,
    /// Where the task stands.
    pub loc: Loc,
    /// The module.
    pub module: String,
    /// Its arguments.
    pub args: Map<String, Json>,
    /// For `template`: the text.
    pub text: Option<String>,
    /// Its environment.
    pub environment: Vec<(String, String)>,
    /// Whom it becomes; `None`: the user who logs in there.
    pub user: Option<String>,
    /// Predict only.
    pub check: bool,
    /// Send diffs.
    pub diff: bool,
    /// `no_log`.
    pub hidden: bool,
}

/// What a module did on the controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModuleDone {
    /// What was (or would be) changed.
    pub changes: Vec<ChangeReport>,
    /// Fields of the task's result.
    pub result: Map<String, Json>,
    /// Things the operator should see.
    pub warnings: Vec<String>,
}

/// Journal entries, oldest first, as JSON objects (see `host::journal`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    /// The entries.
    pub entries: Vec<Json>,
}
