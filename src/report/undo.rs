//! What undoing a run did, or would do, as lines to read.

use super::diff::unified;
use super::style::{Paint, Tone};
use crate::host::undo::{End, Report};

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
    out
}
