//! One run across many hosts: batches, stops, results.

mod ask;
mod batches;
mod event;
mod files;
mod interrupt;
mod kubernetes;
mod question;
mod run;
mod step;
mod summary;
mod variables;

pub use ask::{Answer, Question, UndoQuestion, ask};
pub use event::{Event, Phase, Reporter};
pub use interrupt::{heard, interrupted, listen};
pub use run::{Options, Targets, Via, run, select};
pub use summary::{Failure, HostSummary, Reached, Summary};
pub use variables::{before_connecting, templates};
