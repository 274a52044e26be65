//! Jinja as Ansible uses it: environment, filters, tests, lookups, and lazily rendered variables.

#[cfg(feature = "controller")]
mod check;
mod compile;
mod convert;
mod emit;
mod engine;
mod error;
mod filters;
mod functions;
mod ghost;
mod lookups;
mod methods;
mod operators;
mod pattern;
mod scope;
mod tests;
mod time;
#[cfg(test)]
mod unit;

#[cfg(feature = "controller")]
pub use check::{check, referenced};
pub use engine::{Engine, OMIT};
pub use error::TemplateError;
pub use filters::{python_json, regex};
pub use lookups::Lookups;
pub use pattern::{Flags, Pattern, TooCostly};
pub use scope::{Scope, UNKNOWN, Var, unknown};
pub use tests::truthy;
