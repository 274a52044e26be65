//! What a planner is given and what it answers.

use crate::host::{Change, View, ViewError};
use crate::yaml::Node;
use serde_json::{Map, Value as Json};

/// Gathers facts: subset names, then name patterns to keep (none: all).
pub type Gather<'a> = dyn Fn(&[String], &[String]) -> Result<Map<String, Json>, PlanError> + 'a;

/// What a planner may look at.
pub struct Context<'a> {
    /// The host: real in an apply, with predictions laid over it in a dry run.
    pub view: &'a dyn View,
    /// Whether this is a dry run. Only for results that Ansible words differently; plans must not depend on it.
    pub check: bool,
    /// Files on the controller that the play refers to.
    pub files: &'a dyn Files,
    /// Renders template text with the task's variables; `name` is for error messages.
    pub render: &'a dyn Fn(&str, &str) -> Result<String, PlanError>,
    /// Evaluates a bare expression or list item of `assert: that` with the task's variables.
    pub evaluate: &'a dyn Fn(&Json) -> Result<Json, PlanError>,
    /// Looks a variable up, rendered (for `debug: var`).
    pub lookup: &'a dyn Fn(&str) -> Result<Json, PlanError>,
    /// The task's environment, for `$VAR` in paths and for commands.
    pub environment: &'a [(String, String)],
    /// The user the task runs as: (uid, gid, name, home).
    pub user: (u32, u32, &'a str, &'a str),
    /// Facts gathered so far (`ansible_facts`).
    pub facts: &'a Map<String, Json>,
    /// Gathers facts (for `setup`): subset names and filter patterns.
    pub gather: &'a Gather<'a>,
    /// `no_log` is on: content must not appear in diffs.
    pub secret: bool,
}

/// One file the controller holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its full path on the controller, for messages.
    pub path: String,
    /// Its content.
    pub content: Vec<u8>,
    /// Its permission bits there.
    pub mode: u32,
}

/// Access to the controller's files, found along the task's search path.
pub trait Files {
    /// The file `name`, looked for in `subfolder` (`files`, `templates`, `vars`) of each folder of the
    /// search path, then in the folder itself.
    fn get(&self, name: &str, subfolder: &str) -> Result<SourceFile, PlanError>;
    /// The files below the folder `name`, as paths relative to it, sorted, folders with a trailing slash;
    /// `None` where `name` is not a folder.
    fn list(&self, name: &str, subfolder: &str) -> Result<Option<Vec<String>>, PlanError>;
}

/// A planner's answer.
#[derive(Debug, Default)]
pub struct Plan {
    /// What is missing, in the order to do it. None: the host is as asked.
    pub changes: Vec<Change>,
    /// The task's result (Ansible's keys for its modules), without `changed`.
    pub result: Map<String, Json>,
    /// What the result does beyond the host: facts, variables, control flow.
    pub effects: Vec<Effect>,
    /// Skipped, with this reason (`debug` below its verbosity).
    pub skipped: Option<String>,
    /// Things the operator should see.
    pub warnings: Vec<String>,
    /// Every change is done whatever the one before returned, and the result's `changed`
    /// is true even without changes (`ansible` modules that always report changed).
    pub force_changed: bool,
}

/// What a task does beyond the host.
#[derive(Debug)]
pub enum Effect {
    /// Sets variables for the rest of the run (`set_fact`); `true`: also as facts (`cacheable`).
    SetFacts(Map<String, Json>, bool),
    /// Facts gathered (`setup`): merged into `ansible_facts`.
    HostFacts(Map<String, Json>),
    /// Variables read from files, templates still in them (`include_vars`).
    IncludeVars(Vec<(String, Node)>),
    /// `meta: …`.
    Meta(String),
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// The task fails: message, and fields for its result.
    #[error("{0}")]
    Failed(String, Map<String, Json>),
    /// The task fails, by nothing that its module found on the host: a variable is not there, a file of the controller is
    /// not. Its `failed_when` has no say then.
    #[error("{0}")]
    Outside(String),
    /// A dry run can't know.
    #[error("unknown until applied: {0}")]
    Unknown(String),
}

impl PlanError {
    /// A failure of these words.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into(), Map::new())
    }
}

impl From<ViewError> for PlanError {
    fn from(e: ViewError) -> Self {
        match e {
            ViewError::Unknown(reason) => Self::Unknown(reason),
            other => Self::failed(other.to_string()),
        }
    }
}
