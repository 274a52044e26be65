//! A run for machines: one JSON object a line, in the same order on every run.

use super::sequence::Sequencer;
use crate::controller::{Event, Reporter, Summary};
use serde_json::json;

/// Writes events as JSON lines on standard output.
#[derive(Default)]
pub struct Json {
    sequence: Sequencer,
    hosts: Vec<String>,
    /// How hosts ended, held back to the end of the play: they end in a different order on every run.
    ended: Vec<(String, serde_json::Value)>,
    /// Warnings about hosts, likewise.
    warnings: Vec<(String, serde_json::Value)>,
}

impl Json {
    /// The last line: the totals.
    pub fn recap(&self, summary: &Summary, run: &str, check: bool, seconds: f64) {
        line(
            &json!({"event": "recap", "run": run, "check": check, "seconds": seconds, "exit_code": summary.exit_code(), "summary": summary}),
        );
    }

    fn flush(&mut self) {
        while let Some(group) = self.sequence.next() {
            for (host, unit) in group.hosts {
                for report in unit {
                    line(&json!({"event": "result", "host": host, "report": report}));
                }
            }
        }
    }
}

fn line(value: &serde_json::Value) {
    println!("{value}");
}

impl Reporter for Json {
    fn event(&mut self, event: Event) {
        match event {
            Event::PlayStart { name, loc, hosts, tasks } => {
                self.sequence.start(&hosts);
                self.hosts.clone_from(&hosts);
                line(&json!({"event": "play_start", "play": name, "place": loc.to_string(), "hosts": hosts, "tasks": tasks}));
            }
            Event::PlaySkipped { name, reason } => line(&json!({"event": "play_skipped", "play": name, "reason": reason})),
            Event::Batch { number, of, hosts } => {
                self.sequence.start(&hosts);
                line(&json!({"event": "batch", "number": number, "of": of, "hosts": hosts}));
            }
            Event::Result { host, report } => {
                self.sequence.push(&host, *report);
                self.flush();
            }
            Event::HostDone { host, failed, not_done, pending_handlers } => {
                self.sequence.ended(&host);
                self.flush();
                let value = json!({"event": "host_done", "host": host, "failed": failed, "not_done": not_done, "pending_handlers": pending_handlers});
                self.ended.push((host, value));
            }
            Event::Unreachable { host, reason } => {
                self.sequence.ended(&host);
                self.flush();
                let value = json!({"event": "unreachable", "host": host, "reason": reason});
                self.ended.push((host, value));
            }
            Event::Warning { host, message } => {
                let value = json!({"event": "warning", "host": host, "message": message});
                match host {
                    Some(host) => self.warnings.push((host, value)),
                    None => line(&value),
                }
            }
            Event::Stopping => line(&json!({"event": "stopping"})),
            Event::PlayEnd => {
                self.sequence.finish();
                self.flush();
                for held in [&mut self.warnings, &mut self.ended] {
                    let mut held = std::mem::take(held);
                    held.sort_by_key(|(host, _)| self.hosts.iter().position(|h| h == host));
                    held.iter().for_each(|(_, value)| line(value));
                }
                line(&json!({"event": "play_end"}));
            }
            Event::Phase { .. } | Event::Pushing { .. } | Event::Started { .. } => {}
        }
    }
}
