//! Jinja as Ansible uses it: environment, filters, tests, lookups, and lazily rendered variables.

mod error;
mod scope;

pub use error::TemplateError;
pub use scope::{Scope, UNKNOWN, Var, unknown};
