//! A YAML tree in which every node knows its file, line and column, read the way PyYAML reads it.

mod emit;
mod node;
mod parse;
mod quoting;
mod scalar;

pub use emit::{WIDTH, to_text, to_text_with};
pub use node::{Mapping, Node, Value};
pub use parse::{load, parse, parse_one, parse_with_warnings};
