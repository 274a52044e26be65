//! What undoing a run did, or would do, as lines to read.

use super::diff::unified;
use super::style::{Paint, Tone};
use crate::host::undo::{End, Head, Report};

/// How many changes ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Undone, or would be.
    pub undone: usize,
    /// A dry run can't know.
    pub unknown: usize,
    /// Nothing undoes them.
    pub stay: usize,
    /// Changed since.
    pub refused: usize,
    /// Undoing failed.
    pub failed: usize,
}

impl Counts {
    /// Those of one host.
    pub fn of(report: &Report) -> Self {
        let mut counts = Self::default();
        for step in &report.steps {
            *match &step.end {
                End::Undone => &mut counts.undone,
                End::Unknown(_) => &mut counts.unknown,
                End::Stays(_) => &mut counts.stay,
                End::Refused(_) => &mut counts.refused,
                End::Failed(_) => &mut counts.failed,
            } += 1;
        }
        counts
    }

    /// Of several hosts together.
    pub fn add(&mut self, other: Self) {
        self.undone += other.undone;
        self.unknown += other.unknown;
        self.stay += other.stay;
        self.refused += other.refused;
        self.failed += other.failed;
    }

    /// `12 undone, 2 stay`; `dry`: `12 to undo, 2 stay`.
    pub fn words(&self, dry: bool) -> String {
        let all = [
            (self.undone, if dry { "to undo" } else { "undone" }),
            (self.unknown, "unknown until then"),
            (self.stay, "can't be undone"),
            (self.refused, "refused: changed since"),
            (self.failed, "failed"),
        ];
        let words: Vec<String> = all.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if words.is_empty() { "nothing to undo".into() } else { words.join(", ") }
    }
}

/// Hosts on which the same is undone.
#[derive(Debug, PartialEq)]
pub struct Group {
    /// Their names.
    pub hosts: Vec<String>,
    /// What is undone on each of them; `at` is when the first of them began that run.
    pub report: Report,
}

/// Adds a host to those that report the same. Hosts begin a run within seconds of each other: that makes no difference.
pub fn add_to(groups: &mut Vec<Group>, host: &str, report: Report) {
    let begun = |report: &Report| report.run.as_ref().map(|run| run.at.clone());
    let one = |a: &Option<Head>, b: &Option<Head>| match (a, b) {
        (Some(a), Some(b)) => (&a.run, &a.by, &a.purpose) == (&b.run, &b.by, &b.purpose),
        _ => a == b,
    };
    let same = |known: &Report| one(&known.run, &report.run) && one(&known.older, &report.older) && known.steps == report.steps;
    match groups.iter_mut().find(|g| same(&g.report)) {
        Some(group) => {
            group.hosts.push(host.to_owned());
            if begun(&report) < begun(&group.report) {
                group.report.run = report.run;
            }
        }
        None => groups.push(Group { hosts: vec![host.to_owned()], report }),
    }
}

/// One host's lines: the run, then its changes, the newest first.
pub fn lines(report: &Report, paint: Paint) -> Vec<String> {
    let Some(head) = &report.run else { return vec!["its journal has no run to undo".into()] };
    let mut out = vec![paint.text(Tone::Strong, &format!("run {}  {}  {} by {}", head.run, head.at, head.purpose, head.by))];
    for step in &report.steps {
        let (tone, sign, why) = match &step.end {
            End::Undone => (Tone::Change, "~", None),
            End::Unknown(why) => (Tone::Doubt, "?", Some(format!("unknown until then: {why}"))),
            End::Stays(why) => (Tone::Faint, "=", Some(format!("stays: {why}"))),
            End::Refused(why) => (Tone::Bad, "!", Some(format!("refused: {why}"))),
            End::Failed(why) => (Tone::Bad, "!", Some(format!("failed: {why}"))),
        };
        let done: Vec<&str> = step.inverse.iter().map(|i| i.summary.as_str()).collect();
        let undoes = paint.text(Tone::Faint, &format!("undoes: {}", step.summary));
        match done.is_empty() {
            true => out.push(format!("{} {}", paint.text(tone, sign), step.summary)),
            false => out.push(format!("{} {}   {undoes}", paint.text(tone, sign), done.join("; "))),
        }
        out.extend(why.iter().flat_map(|w| w.lines()).map(|l| format!("    {l}")));
        for diff in step.inverse.iter().filter_map(|i| i.diff.as_ref()) {
            out.extend(unified(diff, paint).into_iter().map(|l| format!("    {l}")));
        }
    }
    if let Some(Head { run, by, purpose, .. }) = &report.older {
        out.push(format!("nothing of this can be undone now; the run before it is {run} ({purpose} by {by}): --run {run}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::undo::Step;

    #[test]
    fn hosts_that_began_at_different_seconds_are_told_once() {
        let report = |run: &str, at: &str, end: End| Report {
            run: Some(Head { run: run.into(), at: at.into(), by: "me".into(), purpose: "apply x.yml".into() }),
            steps: vec![Step { summary: "write /etc/x".into(), inverse: vec![], end }],
            older: None,
        };
        let before = |report: Report, at: &str| {
            let older = Head { run: "r0".into(), at: at.into(), by: "you".into(), purpose: "apply y.yml".into() };
            Report { older: Some(older), ..report }
        };
        let mut groups = vec![];
        for (host, report) in [
            ("a", report("r1", "T2", End::Undone)),
            ("b", report("r1", "T1", End::Undone)),
            ("c", report("r1", "T1", End::Refused("changed since".into()))),
            ("d", report("r2", "T1", End::Undone)),
            ("e", Report::default()),
            ("f", report("r1", "T3", End::Undone)),
            ("g", Report::default()),
            ("h", before(report("r1", "T1", End::Refused("changed since".into())), "T0")),
            ("i", before(report("r1", "T1", End::Refused("changed since".into())), "T00")),
        ] {
            add_to(&mut groups, host, report);
        }
        let hosts: Vec<String> = groups.iter().map(|g| g.hosts.join(" ")).collect();
        assert_eq!(hosts, ["a b f", "c", "d", "e g", "h i"]);
        assert_eq!(lines(&groups[0].report, Paint { on: false })[0], "run r1  T1  apply x.yml by me");
        let told = lines(&groups[4].report, Paint { on: false });
        assert_eq!(told[3], "nothing of this can be undone now; the run before it is r0 (apply y.yml by you): --run r0");
    }
}
