//! The modules: one planner a file. A module looks at the host through a view and answers with the
//! changes that are missing; it never touches anything itself.
//!
//! To add one: write its file with a `pub const MODULE: Module`, and add one line to [`MODULES`].

mod args;
mod kubelet;
mod link;
mod plan;
mod spec;

pub use args::{Args, boolean, coerce};
pub use plan::{Context, Effect, Files, Plan, PlanError, SourceFile};
pub use spec::{Arg, FreeForm, Kind, Module};

/// Every module there is.
pub const MODULES: &[&Module] = &[&kubelet::MODULE, &link::MODULE];

/// The module a task names: its short name, or a full name from a collection it belongs to.
pub fn find(name: &str) -> Option<&'static Module> {
    MODULES.iter().copied().find(|m| m.answers_to(name))
}
