//! The last lines of a run: what changed, what failed where and why, what was not done, what to type next.

use super::lines::ranges;
use super::printable::printable;
use super::style::{Paint, Tone};
use crate::controller::{Failure, HostSummary, Summary};
use std::time::Duration;

/// What the recap needs to know beside the totals.
pub struct About<'a> {
    /// Playbooks as named on the command line.
    pub playbooks: &'a str,
    /// A dry run.
    pub check: bool,
    /// How long it took.
    pub took: Duration,
    /// The command that would do it again, without `--limit`: `fettle apply site.yml -i hosts.ini`.
    pub command: &'a str,
    /// The inventory options: `-i hosts.ini`.
    pub inventory: &'a str,
    /// The run's id.
    pub run: &'a str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Changed(u32),
    Unchanged,
    Unknown,
    Stopped,
    Failed,
    Unreachable,
}

fn class(host: &HostSummary) -> Class {
    if host.unreachable.is_some() {
        Class::Unreachable
    } else if host.failed > 0 {
        Class::Failed
    } else if host.stopped {
        Class::Stopped
    } else if host.unknown > 0 {
        Class::Unknown
    } else if host.changed > 0 {
        Class::Changed(host.changes)
    } else {
        Class::Unchanged
    }
}

/// The recap as lines.
pub fn recap(summary: &Summary, about: &About<'_>, paint: Paint) -> Vec<String> {
    let count = summary.hosts.len() + summary.not_started.iter().filter(|h| !summary.hosts.contains_key(*h)).count();
    let took = if about.took.as_secs() >= 60 {
        format!("{} min {} s", about.took.as_secs() / 60, about.took.as_secs() % 60)
    } else {
        format!("{:.1} s", about.took.as_secs_f64())
    };
    let what = if about.check { "plan · " } else { "" };
    let mut out = vec![String::new(), paint.text(Tone::Strong, &format!("{what}{} · {} · {took}", about.playbooks, hosts_word(count)))];
    let mut classes: Vec<(Class, Vec<&String>)> = vec![];
    for (name, host) in &summary.hosts {
        let class = class(host);
        match classes.iter_mut().find(|(c, _)| *c == class) {
            Some((_, names)) => names.push(name),
            None => classes.push((class, vec![name])),
        }
    }
    classes.sort_by(|a, b| a.0.cmp(&b.0));
    for (class, names) in &classes {
        let listed = ranges(&names.iter().map(|n| (*n).clone()).collect::<Vec<_>>());
        let (tone, word) = match class {
            Class::Changed(n) => {
                let (verb, each) = (if about.check { "would change" } else { "changed" }, if names.len() == 1 { "" } else { " each" });
                (Tone::Change, format!("{} {verb}      {}{each}", names.len(), changes_word(*n)))
            }
            Class::Unchanged => (Tone::Good, format!("{} unchanged  ", names.len())),
            Class::Unknown => (Tone::Doubt, format!("{} with unknowns", names.len())),
            Class::Stopped => (Tone::Doubt, format!("{} stopped    ", names.len())),
            Class::Failed => (Tone::Bad, format!("{} failed     ", names.len())),
            Class::Unreachable => (Tone::Bad, format!("{} unreachable", names.len())),
        };
        out.push(format!("  {}   {listed}", paint.text(tone, &word)));
        // Hosts with the same story tell it once.
        let mut stories: Vec<(Vec<String>, Vec<String>)> = vec![];
        for name in names {
            let story = details(&summary.hosts[*name], class, paint);
            match stories.iter_mut().find(|(known, _)| *known == story) {
                Some((_, hosts)) => hosts.push((*name).clone()),
                None => stories.push((story, vec![(*name).clone()])),
            }
        }
        for (story, hosts) in stories {
            out.extend(story.into_iter().map(|line| format!("      {}  {line}", ranges(&hosts))));
        }
    }
    if !summary.not_started.is_empty() {
        out.push(format!(
            "  {}   {}",
            paint.text(Tone::Doubt, &format!("{} not begun  ", summary.not_started.len())),
            ranges(&summary.not_started)
        ));
    }
    if summary.interrupted {
        out.push(paint.text(Tone::Bad, "Stopped by you: after that no change was begun."));
    }
    if about.check {
        out.push("Nothing was changed.".into());
    }
    out.extend(next(summary, about));
    out
}

/// What became of a host. Texts that the host may have chosen are made safe for a terminal.
fn details(host: &HostSummary, class: &Class, paint: Paint) -> Vec<String> {
    let mut out = vec![];
    let mut said = |text: String| out.push(text);
    let about = |failure: &Failure| {
        let place = paint.text(Tone::Faint, &printable(&failure.place));
        format!("{}: {}  {place}", printable(&failure.task), printable(first(&failure.message)))
    };
    if let Some(reason) = &host.unreachable {
        said(printable(reason).into_owned());
    }
    for failure in &host.failures {
        said(about(failure));
    }
    if matches!(class, Class::Unknown) {
        for unknown in &host.unknowns {
            said(about(unknown));
        }
    }
    if matches!(class, Class::Failed | Class::Stopped | Class::Unknown) && host.changes > 0 {
        said(changes_word(host.changes));
    }
    if host.ran > 0 {
        let n = host.ran;
        said(format!("{n} command{} ran and count{} as no change", if n == 1 { "" } else { "s" }, if n == 1 { "s" } else { "" }));
    }
    if host.not_done > 0 {
        said(format!("{} not done", tasks_word(host.not_done)));
    }
    if !host.pending_handlers.is_empty() {
        let names = host.pending_handlers.join(", ");
        said(format!("handlers notified but not run (the next run of their play runs them): {}", printable(&names)));
    }
    out
}

fn next(summary: &Summary, about: &About<'_>) -> Vec<String> {
    let bad: Vec<String> =
        summary.hosts.iter().filter(|(_, h)| h.failed > 0 || h.stopped || h.unreachable.is_some()).map(|(n, _)| n.clone()).collect();
    let left: Vec<String> = bad.iter().cloned().chain(summary.not_started.iter().cloned()).collect();
    let mut out = vec![];
    let changed = summary.hosts.values().any(|h| h.changed > 0);
    if about.check {
        let apply = about.command.replacen("fettle plan", "fettle apply", 1);
        match (bad.is_empty(), changed || summary.hosts.values().any(|h| h.unknown > 0)) {
            (true, true) => out.push(format!("Next: {apply}")),
            (true, false) => {}
            (false, _) => out.push(format!("Next: look at {}, then  {apply}", ranges(&bad))),
        }
        return out;
    }
    // What was refused from the start has written none.
    if changed || summary.hosts.values().any(|h| h.changes + h.ran > 0) {
        out.push(format!("Journal: fettle journal {} --run {}", about.inventory, about.run));
    }
    if !left.is_empty() {
        out.push(format!("Again for what is left: {} -l {}", about.command, left.join(",")));
    }
    out
}

/// The recap in ansible-playbook's form.
pub fn ansible_recap(summary: &Summary, paint: Paint) -> Vec<String> {
    let mut out = vec![String::new(), format!("PLAY RECAP {}", "*".repeat(68))];
    for (name, h) in &summary.hosts {
        let unreachable = u8::from(h.unreachable.is_some());
        let tone = match class(h) {
            Class::Changed(_) => Tone::Change,
            Class::Unchanged => Tone::Good,
            Class::Unknown | Class::Stopped => Tone::Doubt,
            Class::Failed | Class::Unreachable => Tone::Bad,
        };
        out.push(format!(
            "{}: ok={:<4} changed={:<4} unreachable={unreachable:<4} failed={:<4} skipped={:<4} rescued={:<4} ignored={:<4} unknown={}",
            paint.text(tone, &format!("{name:<26}")),
            // As ansible-playbook counts: what `ignore_errors` took is ok, too.
            h.ok + h.ignored,
            h.changed,
            h.failed,
            h.skipped,
            h.rescued,
            h.ignored,
            h.unknown
        ));
    }
    out
}

fn first(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn hosts_word(n: usize) -> String {
    if n == 1 { "1 host".into() } else { format!("{n} hosts") }
}

fn changes_word(n: u32) -> String {
    if n == 1 { "1 change".into() } else { format!("{n} changes") }
}

fn tasks_word(n: u32) -> String {
    if n == 1 { "1 task".into() } else { format!("{n} tasks") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_do_not_drive_the_terminal() {
        let evil = || Failure { task: "a\u{1b}[2J".into(), place: "p\u{7}".into(), message: "b\u{1b}]0;owned\u{7}\nmore".into() };
        let mut summary = Summary::default();
        let host = summary.host("a");
        host.failed = 1;
        host.failures = vec![evil()];
        host.pending_handlers = vec!["h\u{9b}1m".into()];
        summary.host("b").unreachable = Some("c\u{1b}[31m".into());
        let host = summary.host("c");
        host.unknown = 1;
        host.unknowns = vec![evil()];
        let about = About { playbooks: "p.yml", check: true, took: Duration::ZERO, command: "fettle plan p.yml", inventory: "", run: "r" };
        let text = recap(&summary, &about, Paint { on: false }).join("\n");
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        for part in ["a\\x1b[2J: b\\x1b]0;owned\\x07  p\\x07", "c\\x1b[31m", "h\\x9b1m"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
