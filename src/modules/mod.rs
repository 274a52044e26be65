//! The modules: one planner a file. A module looks at the host through a view and answers with the
//! changes that are missing; it never touches anything itself.
//!
//! To add one: write its file with a `pub const MODULE: Module`, and add one line to [`MODULES`].

mod args;
mod assert;
mod at_boot;
mod attributes;
mod block_queue;
mod blockinfile;
mod checksum;
mod command;
mod copy;
mod datafs;
mod debug;
mod draft;
mod fail;
mod file;
mod find;
mod include_vars;
mod kubelet;
mod lineinfile;
mod link;
mod meta;
mod mount;
mod on_controller;
mod pam_limits;
mod paths;
mod ping;
mod plan;
mod replace;
mod service;
mod set_fact;
mod setup;
mod shell;
mod slurp;
mod spec;
mod stat;
mod sysctl;
mod systemd;
mod template;
#[cfg(test)]
mod tests;
mod times;

pub use args::{Args, boolean, coerce};
#[cfg(feature = "controller")]
pub use at_boot::{SYSCTL_FOLDERS, sysctl_at_boot};
pub use on_controller::ON_CONTROLLER;
pub use plan::{Context, Effect, Files, Plan, PlanError, SourceFile};
pub use spec::{Arg, FreeForm, Kind, Module};

/// Every module there is.
pub const MODULES: &[&Module] = &[
    &assert::MODULE,
    &block_queue::MODULE,
    &on_controller::AISNODE,
    &on_controller::NODE_LABEL,
    &on_controller::TAINT,
    &blockinfile::MODULE,
    &command::MODULE,
    &copy::MODULE,
    &datafs::MODULE,
    &debug::MODULE,
    &fail::MODULE,
    &file::MODULE,
    &find::MODULE,
    &include_vars::MODULE,
    &kubelet::MODULE,
    &lineinfile::MODULE,
    &link::MODULE,
    &meta::MODULE,
    &mount::MODULE,
    &pam_limits::MODULE,
    &ping::MODULE,
    &replace::MODULE,
    &service::MODULE,
    &set_fact::MODULE,
    &setup::MODULE,
    &shell::MODULE,
    &slurp::MODULE,
    &stat::MODULE,
    &sysctl::MODULE,
    &systemd::MODULE,
    &template::MODULE,
];

/// Where Ansible keeps the modules that come with it.
const BUILTIN: &[&str] = &["ansible.builtin", "ansible.legacy"];

/// The module a task names: its short name, or a full name from a collection it belongs to.
pub fn find(name: &str) -> Option<&'static Module> {
    MODULES.iter().copied().find(|m| m.answers_to(name))
}
