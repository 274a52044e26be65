//! One order of output on every run: hosts run free of each other, but what they report is shown task by task,
//! hosts in inventory order, as soon as all hosts of the batch are past the task.

use crate::protocol::TaskReport;
use std::collections::{HashMap, VecDeque};

/// All reports of one task on one host: its loop's items, then its own.
pub type Unit = Vec<TaskReport>;

/// One task on all hosts that ran it at this point.
#[derive(Debug)]
pub struct Group {
    /// Host and reports, in inventory order.
    pub hosts: Vec<(String, Unit)>,
}

#[derive(Default)]
struct Line {
    whole: VecDeque<Unit>,
    part: Unit,
    ended: bool,
}

/// Puts hosts' reports into one order that depends only on what they report, not on when.
#[derive(Default)]
pub struct Sequencer {
    order: Vec<String>,
    lines: HashMap<String, Line>,
}

impl Sequencer {
    /// Begins a batch of `hosts`.
    pub fn start(&mut self, hosts: &[String]) {
        self.order = hosts.to_vec();
        self.lines = hosts.iter().map(|h| (h.clone(), Line::default())).collect();
    }

    /// Takes a report of `host`.
    pub fn push(&mut self, host: &str, report: TaskReport) {
        let Some(line) = self.lines.get_mut(host) else { return };
        let last = report.item.is_none();
        line.part.push(report);
        if last {
            line.whole.push_back(std::mem::take(&mut line.part));
        }
    }

    /// `host` reports nothing more in this batch.
    pub fn ended(&mut self, host: &str) {
        if let Some(line) = self.lines.get_mut(host) {
            line.ended = true;
            if !line.part.is_empty() {
                line.whole.push_back(std::mem::take(&mut line.part));
            }
        }
    }

    /// No host reports anything more, those included that never began: nothing is waited for any longer.
    pub fn finish(&mut self) {
        for host in self.order.clone() {
            self.ended(&host);
        }
    }

    /// The next task that all hosts are past, if there is one.
    pub fn next(&mut self) -> Option<Group> {
        // Until every running host shows what it did next, another could still belong in front.
        if self.lines.values().any(|l| l.whole.is_empty() && !l.ended) {
            return None;
        }
        let front = |l: &Line| l.whole.front().and_then(|u| u.first()).map(|r| (r.task, r.name.clone()));
        let key = self.order.iter().find_map(|h| self.lines.get(h).and_then(front))?;
        let mut hosts = vec![];
        for host in &self.order {
            let Some(line) = self.lines.get_mut(host) else { continue };
            if front(line).is_some_and(|(task, name)| task == key.0 && (task != 0 || name == key.1))
                && let Some(unit) = line.whole.pop_front()
            {
                hosts.push((host.clone(), unit));
            }
        }
        Some(Group { hosts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Loc;
    use crate::protocol::Status;

    fn report(task: u32) -> TaskReport {
        TaskReport {
            task,
            loc: Loc::outside("t"),
            name: format!("t{task}"),
            module: "ping".into(),
            handler: false,
            item: None,
            summary: false,
            status: Status::Ok,
            ignored: false,
            rescued: false,
            message: String::new(),
            changes: vec![],
            result: serde_json::Map::new(),
            warnings: vec![],
            millis: 0,
        }
    }

    fn drain(s: &mut Sequencer) -> Vec<String> {
        let mut all = vec![];
        while let Some(group) = s.next() {
            let hosts: Vec<&str> = group.hosts.iter().map(|(h, _)| h.as_str()).collect();
            all.push(format!("{}:{}", group.hosts[0].1[0].task, hosts.join(",")));
        }
        all
    }

    #[test]
    fn the_order_does_not_depend_on_who_is_fast() {
        let hosts = ["a".to_owned(), "b".to_owned()];
        let mut first = Sequencer::default();
        first.start(&hosts);
        first.push("b", report(1));
        first.push("b", report(2));
        assert!(drain(&mut first).is_empty(), "a may still come in front");
        first.push("a", report(1));
        assert_eq!(drain(&mut first), ["1:a,b"]);
        first.push("a", report(2));
        first.ended("a");
        first.ended("b");
        assert_eq!(drain(&mut first), ["2:a,b"]);
    }

    #[test]
    fn a_host_that_ended_holds_nobody_up() {
        let mut s = Sequencer::default();
        s.start(&["a".to_owned(), "b".to_owned()]);
        s.ended("a");
        s.push("b", report(1));
        assert_eq!(drain(&mut s), ["1:b"]);
    }

    #[test]
    fn what_hosts_did_is_told_though_others_never_began() {
        let mut s = Sequencer::default();
        s.start(&["a".to_owned(), "b".to_owned(), "c".to_owned()]);
        s.push("b", report(1));
        s.push("b", report(2));
        s.ended("b");
        let item = TaskReport { item: Some("x".into()), ..report(1) };
        s.push("c", item);
        assert!(drain(&mut s).is_empty());
        s.finish();
        assert_eq!(drain(&mut s), ["1:b,c", "2:b"]);
    }
}
