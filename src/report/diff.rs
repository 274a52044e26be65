//! Content before and after, as a unified diff.

use super::style::{Paint, Tone};
use crate::host::Diff;
use similar::{ChangeTag, TextDiff};

/// Most lines shown of one diff; the rest is counted.
const LIMIT: usize = 400;

/// The lines of a unified diff with three lines of context.
pub fn unified(diff: &Diff, paint: Paint) -> Vec<String> {
    let mut lines = vec![
        paint.text(Tone::Strong, &format!("--- {}", or(&diff.before_header, "before"))),
        paint.text(Tone::Strong, &format!("+++ {}", or(&diff.after_header, "after"))),
    ];
    let changes = TextDiff::from_lines(&diff.before, &diff.after);
    for hunk in changes.unified_diff().context_radius(3).iter_hunks() {
        lines.push(paint.text(Tone::Faint, hunk.header().to_string().trim_end()));
        for change in hunk.iter_changes() {
            let (sign, tone) = match change.tag() {
                ChangeTag::Delete => ("-", Tone::Bad),
                ChangeTag::Insert => ("+", Tone::Good),
                ChangeTag::Equal => (" ", Tone::Plain),
            };
            lines.push(paint.text(tone, &format!("{sign}{}", change.value().trim_end_matches('\n'))));
            if change.missing_newline() {
                lines.push(paint.text(Tone::Faint, "\\ no newline at the end"));
            }
        }
    }
    if lines.len() > LIMIT {
        let more = lines.len() - LIMIT;
        lines.truncate(LIMIT);
        lines.push(paint.text(Tone::Faint, &format!("… {more} more lines")));
    }
    lines
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_was_and_what_will_be() {
        let diff = Diff { before_header: "/etc/x".into(), after_header: "/etc/x".into(), before: "a\nb\n".into(), after: "a\nc\n".into() };
        let lines = unified(&diff, Paint { on: false });
        assert_eq!(lines, ["--- /etc/x", "+++ /etc/x", "@@ -1,2 +1,2 @@", " a", "-b", "+c"]);
    }
}
