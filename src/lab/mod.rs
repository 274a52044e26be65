//! Throw-away test hosts on this machine.
