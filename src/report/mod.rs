//! What the operator sees: live lines on a terminal, plain lines elsewhere, JSON for machines.

pub mod diagnostic;
