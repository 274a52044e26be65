//! What hosts say, made safe for a terminal: a host must not move the cursor, change colours or set titles.

use crate::controller::Event;
use crate::protocol::TaskReport;
use serde_json::Value as Json;
use std::borrow::Cow;

/// `text` with control characters shown as `\x1b`; line breaks and tabs stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    // C0 and C1 of ISO 6429, and what turns the reading direction round (Unicode's "bidirectional" controls).
    let bad = |c: char| (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.chars().any(bad) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            // A line that ends as on other systems.
            '\r' if matches!(rest.peek(), None | Some('\n')) => {}
            c if bad(c) && (c as u32) < 0x100 => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if bad(c) => out.push_str(&format!("\\u{{{:x}}}", c as u32)),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// The event with everything in it printable that a host may have said.
pub fn printable_event(mut event: Event) -> Event {
    match &mut event {
        Event::Result { report, .. } => clean_report(report),
        Event::Started { name: text, .. } | Event::Unreachable { reason: text, .. } | Event::Warning { message: text, .. } => clean(text),
        _ => {}
    }
    event
}

fn clean(text: &mut String) {
    if let Cow::Owned(safe) = printable(text) {
        *text = safe;
    }
}

fn clean_report(report: &mut TaskReport) {
    clean(&mut report.name);
    clean(&mut report.message);
    report.item.iter_mut().chain(&mut report.warnings).for_each(clean);
    for change in &mut report.changes {
        clean(&mut change.summary);
        change.destroys.iter_mut().for_each(clean);
        if let Some(diff) = &mut change.diff {
            clean(&mut diff.before);
            clean(&mut diff.after);
        }
    }
    report.result.values_mut().for_each(clean_value);
}

/// Makes every text in `value` printable.
pub fn clean_value(value: &mut Json) {
    match value {
        Json::String(text) => clean(text),
        Json::Array(all) => all.iter_mut().for_each(clean_value),
        Json::Object(all) => all.values_mut().for_each(clean_value),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_do_not_drive_the_terminal() {
        assert_eq!(printable("\u{1b}[2J\u{1b}]0;owned\u{7}hi\r\nthere\tall"), "\\x1b[2J\\x1b]0;owned\\x07hi\nthere\tall");
        assert_eq!(printable("safe\u{202e}txt.exe\u{9b}0m"), "safe\\u{202e}txt.exe\\x9b0m");
        assert!(matches!(printable("Grüße, 10 × 9.1 TiB\n"), Cow::Borrowed(_)));
    }
}
