//! What the operator sees: live lines on a terminal, plain lines elsewhere, JSON for machines.

mod console;
pub mod diagnostic;
mod diff;
pub mod journal;
mod json;
mod keys;
mod lines;
mod live;
mod printable;
mod progress;
mod recap;
mod sequence;
mod style;
pub mod undo;

pub use console::Console;
pub use diff::unified;
pub use json::Json;
pub use lines::{Detail, ranges};
pub use printable::{clean_value, printable};
pub use progress::Steps;
pub use recap::{About, ansible_recap, recap};
pub use style::{Paint, Tone, colour_wanted, width};
