//! `--step`: the operator is asked before each play begins on its hosts, or on a batch of them. Not before each task, as Ansible
//! does: hosts run the tasks of a play on their own, and a dry run has shown them before.

use super::event::Reporter;
use std::io::BufRead;
use tokio::sync::oneshot;

/// What the operator answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Run it.
    Yes,
    /// Leave it out.
    No,
    /// Run it, and ask no more.
    Continue,
    /// Ctrl-C, or nobody is there to answer: stop here.
    Stop,
}

/// Asks; as in Ansible, what is neither yes nor continue is no.
pub async fn ask(play: &str, hosts: &[String], reporter: &mut dyn Reporter) -> Answer {
    reporter.question(&format!("Run `{play}` on {}? (N)o/(y)es/(c)ontinue: ", hosts.join(", ")));
    let (sender, answer) = oneshot::channel();
    // A thread of its own: reading from a terminal can't be broken off, and Ctrl-C must not wait for it.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        // Nobody listens any more after Ctrl-C.
        let _ = sender.send(read.is_ok_and(|bytes| bytes > 0).then_some(line));
    });
    let answer = tokio::select! {
        line = answer => line.ok().flatten().map_or(Answer::Stop, |line| understood(&line)),
        () = super::interrupt::interrupted() => Answer::Stop,
    };
    reporter.answered();
    answer
}

fn understood(line: &str) -> Answer {
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Answer::Yes,
        "c" | "continue" => Answer::Continue,
        _ => Answer::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        let answers = ["y\n", " YES\n", "c\n", "continue\n", "\n", "n\n", "yep\n"].map(understood);
        use Answer::{Continue, No, Yes};
        assert_eq!(answers, [Yes, Yes, Continue, Continue, No, No, No]);
    }
}
