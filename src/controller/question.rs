//! Questions about host keys, put to the operator one at a time while the run goes on.

use super::event::Reporter;
use crate::transport::HostKeyQuestion;
use std::collections::VecDeque;
use std::io::{BufRead, IsTerminal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Questions that wait for the operator.
pub struct Questions {
    waiting: VecDeque<HostKeyQuestion>,
    open: Option<HostKeyQuestion>,
    answers: UnboundedReceiver<String>,
    answer: UnboundedSender<String>,
}

impl Default for Questions {
    fn default() -> Self {
        let (answer, answers) = unbounded_channel();
        Self { waiting: VecDeque::new(), open: None, answers, answer }
    }
}

impl Questions {
    /// Puts a question, as soon as no other is open. Where there is no terminal the answer is no.
    pub fn put(&mut self, question: HostKeyQuestion, reporter: &mut dyn Reporter) {
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            // Nobody listens any more where the host was given up meanwhile.
            let _ = question.answer.send(false);
            return;
        }
        self.waiting.push_back(question);
        self.next(reporter);
    }

    fn next(&mut self, reporter: &mut dyn Reporter) {
        if self.open.is_some() {
            return;
        }
        let Some(question) = self.waiting.pop_front() else { return };
        let HostKeyQuestion { host, kind, fingerprint, .. } = &question;
        reporter.question(&format!("\nThe host key of {host} is not known. {kind} {fingerprint}\nTrust it from now on (yes/no)? "));
        self.open = Some(question);
        let answer = self.answer.clone();
        // A thread of its own: reading from a terminal can't be broken off, and nothing else shall wait for it.
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line);
            let _ = answer.send(if read.is_ok() { line } else { String::new() });
        });
    }

    /// Waits for the operator's next answer.
    pub async fn answered(&mut self) -> String {
        match self.answers.recv().await {
            Some(line) => line,
            // This value holds a sender itself, so there is always one.
            None => std::future::pending().await,
        }
    }

    /// Hands an answer on, and puts the next question.
    pub fn take(&mut self, line: &str, reporter: &mut dyn Reporter) {
        if let Some(question) = self.open.take() {
            let _ = question.answer.send(line.trim().eq_ignore_ascii_case("yes"));
        }
        reporter.answered();
        self.next(reporter);
    }
}
