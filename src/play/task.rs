//! Tasks and blocks. What a task inherits from blocks, roles, imports and its play is already on it.

use super::{Layer, Role};
use crate::diag::Loc;
use crate::yaml::Node;
use serde::{Deserialize, Serialize};

/// A task or a block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Item {
    /// One task.
    Task(Box<Task>),
    /// A block. Only blocks with `rescue` or `always` stay blocks; others dissolve into their tasks.
    Block(Block),
}

/// A block with its rescue and always parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// Where it starts.
    pub loc: Loc,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The tasks.
    pub block: Vec<Item>,
    /// Run when one of them failed.
    pub rescue: Vec<Item>,
    /// Run in any case.
    pub always: Vec<Item>,
}

/// One task, with all that it inherits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Unique within the run, given by the controller.
    pub id: u32,
    /// Where the task starts.
    pub loc: Loc,
    /// Its `name` (may hold templates); without one, the module's name is shown.
    pub name: Option<Node>,
    /// What it does.
    pub action: Action,
    /// All conditions that must hold, those of enclosing blocks and includes first.
    pub when: Vec<Node>,
    /// The items of `loop` or `with_items`; without it the task runs once.
    pub items: Option<Node>,
    /// `with_items`: flatten one level, as Ansible does.
    pub flatten_items: bool,
    /// `loop_control`.
    pub loop_control: LoopControl,
    /// `register`.
    pub register: Option<String>,
    /// `changed_when`, all of which must hold.
    pub changed_when: Option<Vec<Node>>,
    /// `failed_when`, all of which must hold.
    pub failed_when: Option<Vec<Node>>,
    /// `ignore_errors` (a boolean or a template).
    pub ignore_errors: Option<Node>,
    /// `until`: repeat until it holds.
    pub until: Option<Vec<Node>>,
    /// `retries` (default 3 with `until`).
    pub retries: Option<Node>,
    /// `delay` between tries, in seconds (default 5).
    pub delay: Option<Node>,
    /// Handlers to notify when changed: names or `listen` topics.
    pub notify: Vec<Node>,
    /// For handlers: the topics it listens to.
    pub listen: Vec<String>,
    /// Tags, inherited ones included. The controller has already selected by them.
    pub tags: Vec<String>,
    /// `become`, `become_user`, `become_method` as inherited.
    pub privilege: Become,
    /// Variable layers, outermost first.
    pub layers: Vec<Layer>,
    /// `environment` mappings, outermost first.
    pub environment: Vec<Node>,
    /// `check_mode` (a boolean or a template).
    pub check_mode: Option<Node>,
    /// `diff` (a boolean or a template).
    pub diff: Option<Node>,
    /// `no_log` (a boolean or a template).
    pub no_log: Option<Node>,
    /// `run_once` (a boolean or a template): one host of the batch does it for all.
    pub run_once: Option<Node>,
    /// `delegate_to`: the host that does it instead of this one.
    pub delegate_to: Option<Node>,
    /// `any_errors_fatal` (a boolean or a template): a failure ends the run on all hosts.
    pub any_errors_fatal: Option<Node>,
    /// The role it belongs to, by [`Role::id`].
    pub role: Option<u32>,
    /// Folders in which relative `src` names are looked for, in order (role, file's folder, playbook's folder).
    pub search_path: Vec<String>,
}

/// `loop_control`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoopControl {
    /// `loop_var` (default `item`).
    pub loop_var: Option<String>,
    /// `index_var`.
    pub index_var: Option<String>,
    /// `label`: what to show for an item.
    pub label: Option<Node>,
    /// `pause` between items, in seconds.
    pub pause: Option<Node>,
    /// `extended`: define `ansible_loop`.
    pub extended: bool,
}

/// `become` settings, as written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Become {
    /// `become` (a boolean or a template).
    pub enabled: Option<Node>,
    /// `become_user` (default root).
    pub user: Option<Node>,
    /// `become_method` (only `sudo` is supported).
    pub method: Option<Node>,
    /// `become_flags`.
    pub flags: Option<Node>,
}

/// With which rights the agent must be started so that it can run a play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Privilege {
    /// The connection's own user is enough.
    Connection,
    /// It must be root (it drops rights per task).
    Root,
}

/// What a task does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// A module.
    Module {
        /// Its canonical short name, such as `lineinfile`.
        name: String,
        /// Where the module's name stands.
        loc: Loc,
        /// Its arguments: a mapping node. Free-form text is under `_raw_params`.
        args: Node,
    },
    /// `include_tasks` or `include_role`: decided on the host.
    Include(Include),
}

/// A dynamic include.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Include {
    /// Tasks or a role.
    pub kind: IncludeKind,
    /// The file or role name (may be a template).
    pub name: Node,
    /// `tasks_from`, `vars_from`, `defaults_from`, `handlers_from` of `include_role`, and `public`.
    pub options: Vec<(String, Node)>,
    /// `apply`: keywords put on every included task, as written.
    pub apply: Option<Node>,
}

/// What kind of dynamic include.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IncludeKind {
    /// `include_tasks`.
    Tasks,
    /// `include_role`.
    Role,
}

impl IncludeKind {
    /// The keyword.
    pub fn module(self) -> &'static str {
        match self {
            Self::Tasks => "include_tasks",
            Self::Role => "include_role",
        }
    }
}

impl Include {
    /// Under which name the controller files the answer for task `task` and rendered name `name`.
    pub fn key(task: u32, name: &str) -> String {
        format!("{task}:{name}")
    }
}

/// The controller's answer to a dynamic include.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Included {
    /// The tasks, selected by tags.
    pub items: Vec<Item>,
    /// Handlers that come with them.
    pub handlers: Vec<Item>,
    /// Roles that come with them.
    pub roles: Vec<Role>,
}
