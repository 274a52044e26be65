//! `fettle-agent`, the program on the host.

fn main() {}
