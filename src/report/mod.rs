//! What the operator sees: live lines on a terminal, plain lines elsewhere, JSON for machines.

mod console;
pub mod diagnostic;
mod diff;
pub mod journal;
mod json;
mod lines;
mod live;
mod recap;
mod sequence;
mod style;

pub use console::Console;
pub use json::Json;
pub use lines::{Detail, ranges};
pub use recap::{About, ansible_recap, recap};
pub use style::{Paint, Tone, colour_wanted, width};
