//! The loop on the host: evaluates tasks, lets modules plan, performs or predicts changes, reports.
//!
//! One process serves one run over one connection. It waits for the controller only where the controller
//! knows something it does not: a file it lacks, an include whose name was a template.

mod execute;
mod files;
mod handlers;
mod run;
mod serve;
mod session;
mod task;
mod together;
mod variables;
mod verdict;
mod wire;

pub use serve::{Exit, serve};
