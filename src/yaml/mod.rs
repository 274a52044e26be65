//! A YAML tree in which every node knows its file, line and column, read the way PyYAML reads it.

mod node;

pub use node::{Mapping, Node, Value};
