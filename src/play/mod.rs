//! A play as it travels to a host: typed, located, tags and static imports already resolved.
//!
//! The controller's `playbook` room makes it; the agent runs it. Text in [`Node`]s may still
//! hold templates: those are rendered on the host.

mod task;
mod vars;

pub use task::{Action, Become, Block, Include, IncludeKind, Included, Item, LoopControl, Privilege, Task};
pub use vars::{Layer, LayerKind, Vars};

use crate::diag::Loc;
use serde::{Deserialize, Serialize};

/// One play for one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Play {
    /// Its `name`, or its host pattern.
    pub name: String,
    /// Where it starts.
    pub loc: Loc,
    /// Which facts to gather first, as `gather_subset` names; `None`: gather nothing.
    pub gather: Option<Vec<String>>,
    /// Play `vars`, then `vars_files` (later entries win).
    pub vars: Vars,
    /// The roles the tasks come from; tasks name them by id.
    pub roles: Vec<Role>,
    /// The sections in order: pre_tasks, roles and tasks, post_tasks. Handlers are flushed after each.
    pub sections: Vec<Vec<Item>>,
    /// The handlers, in the order they run.
    pub handlers: Vec<Item>,
    /// What `include_tasks`/`include_role` with a literal name will ask for, by [`Include::key`].
    pub includes: Vec<(String, Included)>,
    /// Run notified handlers even on a host where a task failed.
    pub force_handlers: bool,
    /// No host begins a task before all are through with the one before: the play may have to stop on all of them.
    pub in_step: bool,
}

/// A role some tasks of a play come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// Unique within the run, given by the controller.
    pub id: u32,
    /// Its name, as in `role_name`.
    pub name: String,
    /// Its folder on the controller, as in `role_path`.
    pub path: String,
    /// `defaults/main.yml`.
    pub defaults: Vars,
    /// `vars/main.yml`.
    pub vars: Vars,
    /// Whether its defaults and vars are seen by the whole play (listed in `roles:`, or imported)
    /// rather than by its own tasks only (`include_role`).
    pub public: bool,
}
