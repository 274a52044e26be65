//! The moving part on a terminal: a line for each host that is at work, and one that counts the rest.

use super::keys::QuietKeys;
use crate::controller::{Event, Phase};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Most host lines at once; more hosts are counted in one line.
const ROWS: usize = 16;
/// Lines of a small terminal that stay free of host lines: for the count of the rest, and for what is printed.
const FREE: u16 = 4;
/// Nothing moves on the screen before this: short runs stay quiet.
const PATIENCE: Duration = Duration::from_millis(400);

struct Row {
    bar: Option<ProgressBar>,
    phase: Phase,
    task: String,
    position: u64,
    started: Instant,
}

/// The live lines.
pub struct Live {
    screen: MultiProgress,
    rest: Option<ProgressBar>,
    rows: HashMap<String, Row>,
    order: Vec<String>,
    tasks: u64,
    began: Instant,
    _keys: QuietKeys,
}

impl Live {
    /// Lines on standard output, at most ten draws a second.
    pub fn new() -> Self {
        Self {
            screen: MultiProgress::with_draw_target(ProgressDrawTarget::stdout_with_hz(10)),
            rest: None,
            rows: HashMap::new(),
            order: vec![],
            tasks: 0,
            began: Instant::now(),
            _keys: QuietKeys::new(),
        }
    }

    /// Prints a text above the lines.
    pub fn print(&self, text: &str) {
        self.screen.suspend(|| println!("{text}"));
    }

    /// Removes the lines.
    pub fn clear(&mut self) {
        for bar in self.rows.values_mut().filter_map(|row| row.bar.take()).chain(self.rest.take()) {
            bar.finish_and_clear();
            self.screen.remove(&bar);
        }
        // A screen that can't be cleared any more is gone: nobody sees the difference.
        let _ = self.screen.clear();
    }

    /// Takes one event.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::PlayStart { hosts, tasks, .. } => {
                self.clear();
                self.tasks = u64::from(*tasks).max(1);
                self.order.clone_from(hosts);
                self.rows = hosts
                    .iter()
                    .map(|h| {
                        (h.clone(), Row { bar: None, phase: Phase::Waiting, task: String::new(), position: 0, started: Instant::now() })
                    })
                    .collect();
                self.rest = None;
            }
            Event::Phase { host, phase } => self.row(host, |row| {
                row.phase = *phase;
                row.started = Instant::now();
            }),
            Event::Pushing { host, sent, total } => self.row(host, |row| {
                row.phase = Phase::Pushing;
                row.task = format!("sending the agent, {} of {} kB", sent / 1000, total / 1000);
            }),
            Event::Started { host, name } => self.row(host, |row| {
                row.phase = Phase::Running;
                row.task.clone_from(name);
            }),
            Event::Result { host, report } if report.item.is_none() => self.row(host, |row| row.position += 1),
            Event::HostDone { host, .. } | Event::Unreachable { host, .. } => {
                self.row(host, |row| row.phase = Phase::Done);
                if let Some(bar) = self.rows.get_mut(host).and_then(|row| row.bar.take()) {
                    bar.finish_and_clear();
                    self.screen.remove(&bar);
                }
            }
            Event::PlayEnd => self.clear(),
            _ => {}
        }
    }

    fn row(&mut self, host: &str, act: impl FnOnce(&mut Row)) {
        if let Some(row) = self.rows.get_mut(host) {
            act(row);
        }
    }

    /// Draws what has changed.
    pub fn tick(&mut self) {
        if self.began.elapsed() < PATIENCE {
            return;
        }
        let rows =
            console::Term::stdout().size_checked().map_or(ROWS, |(height, _)| usize::from(height.saturating_sub(FREE)).clamp(1, ROWS));
        let width = self.order.iter().map(|h| h.chars().count()).max().unwrap_or(0).min(30);
        let mut shown = self.rows.values().filter(|r| r.bar.is_some()).count();
        for host in &self.order {
            let Some(row) = self.rows.get_mut(host) else { continue };
            if !matches!(row.phase, Phase::Connecting | Phase::Pushing | Phase::Running) {
                continue;
            }
            if row.bar.is_none() {
                if shown >= rows {
                    continue;
                }
                let bar = ProgressBar::new(self.tasks);
                let bar = match &self.rest {
                    // The count of the others stays below.
                    Some(rest) => self.screen.insert_before(rest, bar),
                    None => self.screen.add(bar),
                };
                // The template is a constant that is known to be well-formed; the default serves otherwise.
                let style = ProgressStyle::with_template(" {prefix} {bar:20.cyan/dim} {pos:>3}/{len:<3} {wide_msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .progress_chars("██─");
                bar.set_style(style);
                bar.set_prefix(format!("{host:<width$}"));
                row.bar = Some(bar);
                shown += 1;
            }
            if let Some(bar) = &row.bar {
                bar.set_length(self.tasks.max(row.position));
                bar.set_position(row.position);
                let seconds = row.started.elapsed().as_secs();
                let text = match row.phase {
                    Phase::Connecting => "connecting".to_owned(),
                    _ => row.task.clone(),
                };
                bar.set_message(if seconds >= 2 { format!("{seconds:>3} s  {text}") } else { text });
            }
        }
        let done = self.rows.values().filter(|r| r.phase == Phase::Done).count();
        let hidden = self.rows.len() - done - shown;
        if hidden > 0 || self.rows.len() > rows {
            let rest = self.rest.get_or_insert_with(|| {
                let bar = self.screen.add(ProgressBar::new_spinner());
                bar.set_style(ProgressStyle::with_template(" {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
                bar
            });
            rest.set_message(format!("{} more: {done} done, {hidden} at work or waiting", self.rows.len() - shown));
        }
    }
}

impl Default for Live {
    fn default() -> Self {
        Self::new()
    }
}
