//! What keys show on the terminal while lines move on it.

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};
use std::io::{Stdin, stdin};

/// While this lives, Ctrl-C does not show as `^C`: that would push the live lines down by one, and leave one of them behind.
pub struct QuietKeys {
    before: Option<Termios>,
}

impl QuietKeys {
    /// Where standard input is no terminal, there is nothing to do.
    pub fn new() -> Self {
        let terminal = stdin();
        let before = tcgetattr(&terminal).ok().filter(|_| in_front(&terminal));
        if let Some(before) = &before {
            let mut quiet = before.clone();
            quiet.local_flags.remove(LocalFlags::ECHOCTL);
            // Without it the screen is less tidy, and that is all.
            let _ = tcsetattr(&terminal, SetArg::TCSANOW, &quiet);
        }
        Self { before }
    }
}

impl Drop for QuietKeys {
    fn drop(&mut self) {
        let terminal = stdin();
        if let Some(before) = self.before.as_ref().filter(|_| in_front(&terminal)) {
            let _ = tcsetattr(&terminal, SetArg::TCSANOW, before);
        }
    }
}

/// Whether the terminal is ours: one in the background is stopped when it touches the settings (tcsetattr(3), SIGTTOU).
fn in_front(terminal: &Stdin) -> bool {
    tcgetpgrp(terminal).is_ok_and(|group| group == getpgrp())
}
