//! A run on the screen: results as lines in a stable order, and on a terminal a live line a host below them.

use super::lines::{Detail, lines, name_hosts};
use super::live::Live;
use super::printable::printable_event;
use super::sequence::{Group, Sequencer};
use super::style::{Paint, Tone, width};
use crate::controller::{Event, Reporter};
use std::time::{Duration, Instant};

/// How often a run without live lines says how far it is, so that a log is never silent for long.
const PROGRESS: Duration = Duration::from_secs(10);

/// Shows a run to a person.
pub struct Console {
    detail: Detail,
    live: Option<Live>,
    sequence: Sequencer,
    hosts: Vec<String>,
    /// What is to be looked at on hosts, held back to the end of the play: hosts say it in a different order on every run.
    warnings: Vec<(String, String)>,
    batch: usize,
    ended: usize,
    last_word: Instant,
    /// A heading that is printed only if something comes under it.
    heading: Option<String>,
    /// While a question is open: what is to be printed behind it.
    kept: Option<Vec<String>>,
}

impl Console {
    /// A console; `live`: standard output is a terminal.
    pub fn new(detail: Detail, live: bool) -> Self {
        Self {
            detail,
            live: live.then(Live::new),
            sequence: Sequencer::default(),
            hosts: vec![],
            warnings: vec![],
            batch: 0,
            ended: 0,
            last_word: Instant::now(),
            heading: None,
            kept: None,
        }
    }

    /// Prints lines above the live part.
    pub fn print(&mut self, text: &str) {
        self.last_word = Instant::now();
        if let Some(kept) = &mut self.kept {
            kept.push(text.to_owned());
            return;
        }
        match &self.live {
            Some(live) => live.print(text),
            None => println!("{text}"),
        }
    }

    fn paint(&self) -> Paint {
        self.detail.paint
    }

    fn flush(&mut self) {
        while let Some(group) = self.sequence.next() {
            self.group(&group);
        }
    }

    fn warn(&mut self, message: &str) {
        self.print(&format!("{} {message}", self.paint().text(Tone::Doubt, "warning:")));
    }

    /// Prints what is to be looked at on hosts, once for all of which the same is said.
    fn warn_of_hosts(&mut self) {
        let mut warnings = std::mem::take(&mut self.warnings);
        warnings.sort_by_key(|(host, _)| self.hosts.iter().position(|h| h == host));
        let mut grouped: Vec<(String, Vec<String>)> = vec![];
        for (host, message) in warnings {
            match grouped.iter_mut().find(|(known, _)| *known == message) {
                Some((_, hosts)) => hosts.push(host),
                None => grouped.push((message, vec![host])),
            }
        }
        for (message, hosts) in grouped {
            let hosts = name_hosts(&hosts, 0);
            self.warn(&format!("{hosts}: {message}"));
        }
    }

    fn group(&mut self, group: &Group) {
        let mut outcomes: Vec<(Vec<String>, Vec<String>)> = vec![];
        for (host, unit) in &group.hosts {
            let lines = lines(unit, self.detail);
            match outcomes.iter_mut().find(|(_, known)| *known == lines) {
                Some((hosts, _)) => hosts.push(host.clone()),
                None => outcomes.push((vec![host.clone()], lines)),
            }
        }
        outcomes.retain(|(_, lines)| !lines.is_empty());
        let Some(report) = group.hosts.first().and_then(|(_, unit)| unit.first()) else { return };
        if outcomes.is_empty() {
            return;
        }
        if let Some(heading) = self.heading.take() {
            self.print(&heading);
        }
        let name = if report.handler { format!("{} (handler)", report.name) } else { report.name.clone() };
        let place = report.loc.to_string();
        let gap = width().saturating_sub(name.chars().count() + place.chars().count()).max(2);
        self.print(&format!("\n{}{}{}", self.paint().text(Tone::Strong, &name), " ".repeat(gap), self.paint().text(Tone::Faint, &place)));
        for (hosts, lines) in outcomes {
            let label = name_hosts(&hosts, self.hosts.len());
            let wide = label.chars().count() > 20;
            if wide {
                self.print(&format!("  {label}"));
            }
            for (i, line) in lines.iter().enumerate() {
                let left = if i == 0 && !wide { label.as_str() } else { "" };
                self.print(&format!("  {left:<10} {line}"));
            }
        }
    }
}

impl Reporter for Console {
    fn event(&mut self, event: Event) {
        let event = printable_event(event);
        if let Some(live) = &mut self.live {
            live.event(&event);
        }
        match event {
            Event::PlayStart { name, loc, hosts, .. } => {
                self.hosts.clone_from(&hosts);
                self.batch = hosts.len();
                self.ended = 0;
                self.sequence.start(&hosts);
                if self.detail.verbosity >= 1 {
                    self.print(&format!("\nplay · {name} · {} · {loc}", name_hosts(&hosts, 0)));
                }
            }
            Event::PlaySkipped { name, reason } => self.print(&format!("play · {name} · skipped: {reason}")),
            Event::Batch { number, of, hosts } => {
                self.sequence.start(&hosts);
                self.batch = hosts.len();
                self.ended = 0;
                let text = format!("\nbatch {number} of {of} · {}", name_hosts(&hosts, 0));
                self.heading = Some(self.paint().text(Tone::Faint, &text));
            }
            Event::Result { host, report } => {
                self.sequence.push(&host, *report);
                self.flush();
            }
            Event::HostDone { host, .. } => {
                self.ended += 1;
                self.sequence.ended(&host);
                self.flush();
            }
            Event::Unreachable { host, reason } => {
                self.ended += 1;
                self.sequence.ended(&host);
                self.flush();
                self.print(&format!("\n{host}  {}: {reason}", self.paint().text(Tone::Bad, "unreachable")));
            }
            Event::Warning { host: Some(host), message } => self.warnings.push((host, message)),
            Event::Warning { host: None, message } => self.warn(&message),
            Event::Stopping => self.print("\nStopping: changes under way are finished first. Ctrl-C again to leave at once."),
            Event::PlayEnd => {
                self.sequence.finish();
                self.flush();
                self.warn_of_hosts();
            }
            Event::Phase { .. } | Event::Pushing { .. } | Event::Started { .. } => {}
        }
    }

    fn question(&mut self, text: &str) {
        if let Some(live) = &mut self.live {
            live.clear();
        }
        eprint!("{text}");
        self.kept.get_or_insert_default();
    }

    fn answered(&mut self) {
        for text in self.kept.take().unwrap_or_default() {
            self.print(&text);
        }
    }

    fn tick(&mut self) {
        // Nothing is drawn over a question.
        if self.kept.is_some() {
            return;
        }
        if let Some(live) = &mut self.live {
            live.tick();
        } else if self.last_word.elapsed() >= PROGRESS {
            self.last_word = Instant::now();
            eprintln!("… {} of {} hosts done", self.ended, self.batch);
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.answered();
        if let Some(live) = &mut self.live {
            live.clear();
        }
    }
}
