//! Variables as written: templates still in them, locations still on them.

use crate::yaml::Node;
use serde::{Deserialize, Serialize};

/// Named variables, in the order written; a later entry of the same name wins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Vars(pub Vec<(String, Node)>);

impl Vars {
    /// The value of `name`: the last one set.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.0.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What put a layer of variables on a task; decides its precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LayerKind {
    /// A block's `vars` (outer blocks first).
    Block,
    /// The task's own `vars`.
    Task,
    /// Parameters of a role in `roles:` or of `include_role`/`import_role` (`vars` on it).
    RoleParams,
    /// `vars` on `include_tasks`/`import_tasks`.
    IncludeParams,
}

/// One layer of variables on a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// What it is.
    pub kind: LayerKind,
    /// The variables.
    pub vars: Vars,
}
