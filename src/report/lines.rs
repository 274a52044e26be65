//! What one host did in one task, as lines. Hosts with equal lines are shown once.

use super::diff::unified;
use super::style::{Paint, Tone};
use crate::protocol::{Status, TaskReport};

/// How much to show.
#[derive(Clone, Copy, Debug)]
pub struct Detail {
    /// `-v` count: 1 shows what is ok or skipped too, 2 the results, 3 times.
    pub verbosity: u8,
    /// A dry run: changes are predictions.
    pub check: bool,
    /// Colour.
    pub paint: Paint,
}

/// The lines for one host; empty: nothing the operator needs to see.
pub fn lines(unit: &[TaskReport], detail: Detail) -> Vec<String> {
    let mut all = vec![];
    let many = unit.len() > 1;
    for report in unit {
        // A loop's own report says nothing that its items did not, unless it has no items or failed by itself.
        if report.summary && many {
            continue;
        }
        one(report, detail, &mut all);
    }
    all
}

fn one(report: &TaskReport, detail: Detail, all: &mut Vec<String>) {
    let paint = detail.paint;
    let item = report.item.as_ref().map(|i| format!(" (item={i})")).unwrap_or_default();
    // What `changed_when` says is no change is shown only to those who ask.
    let quiet = report.status == Status::Ok && detail.verbosity == 0;
    for change in report.changes.iter().filter(|_| !quiet) {
        let (sign, tone) = match (report.status, change.done) {
            (_, true) => ("~", Tone::Change),
            (Status::Unknown, false) => ("?", Tone::Doubt),
            (_, false) => ("!", Tone::Bad),
        };
        all.push(format!("{} {}", paint.text(tone, sign), first_line(&change.summary)));
        if let Some(destroys) = &change.destroys {
            all.push(format!("  {}", paint.text(Tone::Bad, &format!("DESTROYS: {destroys}"))));
        }
        if let Some(diff) = &change.diff {
            all.extend(unified(diff, paint).into_iter().map(|l| format!("    {l}")));
        }
    }
    match report.status {
        Status::Failed if report.ignored => all.extend(said(paint, Tone::Doubt, "failed, and ignored", &report.message, &item)),
        Status::Failed => all.extend(said(paint, Tone::Bad, "failed", &report.message, &item)),
        // What is not done stands there already, each with its question mark.
        Status::Unknown if report.changes.iter().any(|c| !c.done) => {}
        Status::Unknown => all.extend(said(paint, Tone::Doubt, "? unknown", &report.message, &item)),
        Status::Changed if report.changes.is_empty() => all.extend(said(paint, Tone::Change, "~ changed", &report.message, &item)),
        Status::Ok | Status::Changed if report.module == "debug" => {
            all.extend(report.message.lines().map(str::to_owned));
            if report.message.is_empty() {
                let mut shown = report.result.clone();
                shown.retain(|key, _| !matches!(key.as_str(), "changed" | "failed"));
                all.extend(serde_json::to_string_pretty(&shown).unwrap_or_default().lines().map(str::to_owned));
            }
        }
        Status::Ok if detail.verbosity >= 1 => all.extend(said(paint, Tone::Good, "ok", &report.message, &item)),
        Status::Skipped if detail.verbosity >= 1 => all.extend(said(paint, Tone::Faint, "skipped", &report.message, &item)),
        _ => {}
    }
    all.extend(report.warnings.iter().map(|w| format!("{} {w}", paint.text(Tone::Doubt, "warning:"))));
    if report.status == Status::Failed {
        for key in ["stderr", "stdout"] {
            if let Some(text) = report.result.get(key).and_then(|v| v.as_str()).filter(|t| !t.trim().is_empty()) {
                all.extend(text.trim_end().lines().rev().take(20).collect::<Vec<_>>().into_iter().rev().map(|l| format!("    {l}")));
            }
        }
    }
    if detail.verbosity >= 2 && !report.result.is_empty() {
        all.extend(serde_json::to_string_pretty(&report.result).unwrap_or_default().lines().map(|l| format!("    {l}")));
    }
    if detail.verbosity >= 3 && !all.is_empty() {
        all.push(paint.text(Tone::Faint, &format!("{} ms", report.millis)));
    }
}

fn said(paint: Paint, tone: Tone, word: &str, message: &str, item: &str) -> Vec<String> {
    let mut text = message.lines();
    let head = match text.next() {
        Some(first) if !first.is_empty() => format!("{}{item}: {first}", paint.text(tone, word)),
        _ => format!("{}{item}", paint.text(tone, word)),
    };
    std::iter::once(head).chain(text.map(|l| format!("  {l}"))).collect()
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Names hosts in few words: all of them by number, few by name.
pub fn name_hosts(hosts: &[String], all: usize) -> String {
    match hosts {
        [one] => one.clone(),
        many if many.len() == all => format!("{all} hosts"),
        many if many.len() <= 3 => many.join(", "),
        many => format!("{} hosts: {}", many.len(), ranges(many)),
    }
}

/// `node01, node02, node03, x` as `node[01-03], x`.
pub fn ranges(hosts: &[String]) -> String {
    let split = |name: &str| {
        let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let (stem, number) = name.split_at(name.len() - digits);
        number.parse::<u64>().ok().map(|n| (stem.to_owned(), digits, n))
    };
    let mut parts: Vec<String> = vec![];
    let mut i = 0;
    while i < hosts.len() {
        let mut end = i;
        if let Some((stem, width, first)) = split(&hosts[i]) {
            while hosts
                .get(end + 1)
                .and_then(|h| split(h))
                .is_some_and(|(s, w, n)| s == stem && w == width && n == first + (end + 1 - i) as u64)
            {
                end += 1;
            }
            if end > i {
                parts.push(format!("{stem}[{first:0width$}-{:0width$}]", first + (end - i) as u64));
                i = end + 1;
                continue;
            }
        }
        parts.push(hosts[i].clone());
        i += 1;
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn hosts_are_named_in_few_words() {
        assert_eq!(ranges(&names(&["node01", "node02", "node03", "x"])), "node[01-03], x");
        assert_eq!(ranges(&names(&["node9", "node10"])), "node9, node10");
        assert_eq!(name_hosts(&names(&["a"]), 1), "a");
        assert_eq!(name_hosts(&names(&["a", "b"]), 2), "2 hosts");
        assert_eq!(name_hosts(&names(&["a", "b"]), 9), "a, b");
    }
}
