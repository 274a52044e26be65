//! Diagnostics as the operator sees them: the place, the line itself, what is marked in it, and help.

use crate::diag::{Diagnostic, Loc, Severity};
use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::collections::HashMap;

/// Widest line shown; what is marked in a longer one is shown with as much around it as fits.
const WIDTH: usize = 140;

/// Largest file whose lines are shown: nothing larger is read as YAML or INI anyway.
const FILE_LIMIT: u64 = 16 << 20;

/// All of `diagnostics` as text, an empty line between two, with a line feed at the end. `colour`: with ANSI colours.
/// The lines shown are read from the files the diagnostics name; of one that can't be read just the place is shown.
pub fn render(diagnostics: &[Diagnostic], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii).term_width(WIDTH);
    let mut files: HashMap<String, Option<String>> = HashMap::new();
    let mut out = String::new();
    for (i, diagnostic) in diagnostics.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        let line = diagnostic.loc.as_ref().and_then(|loc| source_line(loc, &mut files));
        out.push_str(&renderer.render(&[group(diagnostic, line.as_deref())]));
        out.push('\n');
    }
    out
}

fn group<'a>(diagnostic: &'a Diagnostic, line: Option<&'a str>) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(diagnostic.message.as_str()));
    let mut label = diagnostic.label.as_deref();
    match (&diagnostic.loc, line) {
        (Some(loc), Some(line)) if loc.column > 0 => {
            let mut mark = AnnotationKind::Primary.span(span(loc, line));
            if let Some(label) = label.take() {
                mark = mark.label(label);
            }
            group = group.element(Snippet::source(line).line_start(loc.line as usize).path(loc.file.as_ref()).annotation(mark));
        }
        (Some(loc), _) => {
            let mut origin = Origin::path(loc.file.as_ref());
            if loc.line > 0 {
                origin = origin.line(loc.line as usize);
                if loc.column > 0 {
                    origin = origin.char_column(loc.column as usize);
                }
            }
            group = group.element(origin);
        }
        (None, _) => {}
    }
    if let Some(label) = label {
        group = group.element(Level::HELP.no_name().message(label));
    }
    for help in &diagnostic.help {
        group = group.element(Level::HELP.no_name().message(help.as_str()));
    }
    group
}

/// The bytes of `line` that `loc` marks: at least one character, and never beyond the line's end.
fn span(loc: &Loc, line: &str) -> std::ops::Range<usize> {
    let byte = |character: usize| line.char_indices().nth(character).map_or(line.len(), |(at, _)| at);
    let first = loc.column.saturating_sub(1) as usize;
    let start = byte(first);
    let end = byte(first.saturating_add(loc.len.max(1) as usize));
    start..end.max(start)
}

/// The line `loc` names.
fn source_line(loc: &Loc, files: &mut HashMap<String, Option<String>>) -> Option<String> {
    let wanted = (loc.line as usize).checked_sub(1)?;
    let text = files.entry(loc.file.to_string()).or_insert_with(|| {
        let small = std::fs::metadata(loc.file.as_ref()).is_ok_and(|m| m.is_file() && m.len() <= FILE_LIMIT);
        if small { std::fs::read(loc.file.as_ref()).ok().map(|b| String::from_utf8_lossy(&b).into_owned()) } else { None }
    });
    let text = text.as_deref()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // At the end of a file a scanner may stand one line below the last one.
    Some(text.lines().nth(wanted).unwrap_or("").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_line_and_marks_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tuning.yml");
        std::fs::write(&path, "- hosts: all\n  tasks:\n    - block_queue:\n        sheduler: mq-deadline\n").unwrap();
        let name = path.display().to_string();
        let loc = Loc { len: 8, ..Loc::new(name.as_str(), 4, 9) };
        let diagnostic = Diagnostic::error(&loc, "unknown argument `sheduler` of module `block_queue`")
            .label("did you mean `scheduler`?")
            .help("arguments: devices, scheduler, nr_requests");
        let text = render(&[diagnostic], false).replace(&name, "tuning.yml");
        assert_eq!(
            text,
            "error: unknown argument `sheduler` of module `block_queue`\n --> tuning.yml:4:9\n  |\n4 |         sheduler: mq-deadline\n  |         ^^^^^^^^ did you mean `scheduler`?\n  |\n  = arguments: devices, scheduler, nr_requests\n"
        );
    }

    #[test]
    fn without_a_file_only_the_place_is_shown() {
        let text = render(
            &[
                Diagnostic::error(&Loc::new("/nowhere/at all", 3, 7), "broken").label("here").help("mend it"),
                Diagnostic::warning(&Loc::outside("--limit"), "odd"),
                Diagnostic::bare("no inventory"),
            ],
            false,
        );
        assert_eq!(
            text,
            "error: broken\n--> /nowhere/at all:3:7\n = here\n = mend it\n\nwarning: odd\n--> --limit\n\nerror: no inventory\n"
        );
    }

    #[test]
    fn places_beyond_the_text_do_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.yml");
        std::fs::write(&path, "é: x\n").unwrap();
        let name = path.display().to_string();
        for (line, column, len) in [(1, 1, 1), (1, 2, 900), (1, 5, 0), (1, 99, 3), (2, 1, 1), (77, 4, 4)] {
            let text = render(&[Diagnostic::error(&Loc { len, ..Loc::new(name.as_str(), line, column) }, "odd")], true);
            assert!(text.contains("odd"), "{text}");
        }
    }
}
