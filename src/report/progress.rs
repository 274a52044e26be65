//! Progress of work that is not done on hosts: lines as things happen, and on a terminal one that moves.

use super::style::{Paint, Tone};
use crate::kube::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Without a terminal, what is waited for is repeated this often at most, …
const REPEAT: Duration = Duration::from_secs(10);

/// … and what was not said yet is told this long after the last: who waits says it every second, and what is over by then needs no line.
const NEW: Duration = Duration::from_millis(900);

/// Shows progress on standard output, or as JSON lines.
#[derive(Debug)]
pub struct Steps {
    bar: Option<ProgressBar>,
    paint: Paint,
    json: bool,
    last: Option<Instant>,
    /// What is waited for, as it was told.
    told: BTreeSet<String>,
}

impl Steps {
    /// For this terminal; `json`: a JSON object a line instead.
    pub fn new(paint: Paint, json: bool) -> Self {
        let live = !json && std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
        let bar = live.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout_with_hz(10));
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { bar, paint, json, last: None, told: BTreeSet::new() }
    }

    /// Removes the moving line.
    pub fn done(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.done();
    }
}

impl Progress for Steps {
    fn line(&mut self, text: &str) {
        if self.json {
            println!("{}", serde_json::json!({"event": "step", "text": text}));
            return;
        }
        let text = match text.split_once(": ") {
            Some((what, rest)) => format!("{}: {rest}", self.paint.text(Tone::Strong, what)),
            None => text.to_owned(),
        };
        match &self.bar {
            Some(bar) => bar.suspend(|| println!("{text}")),
            None => println!("{text}"),
        }
    }

    fn now(&mut self, text: &str) {
        let first = text.lines().next().unwrap_or_default();
        let pause = if self.told.contains(first) { REPEAT } else { NEW };
        match &self.bar {
            Some(bar) => bar.set_message(first.to_owned()),
            None if first.is_empty() || self.last.is_some_and(|at| at.elapsed() < pause) => {}
            None => {
                self.last = Some(Instant::now());
                self.told.insert(first.to_owned());
                if self.json {
                    println!("{}", serde_json::json!({"event": "waiting", "text": first}));
                } else {
                    println!("… {first}");
                }
            }
        }
    }
}
