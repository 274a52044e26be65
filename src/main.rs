//! `fettle`, the operator's program.

fn main() {}
