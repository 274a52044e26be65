//! The names a template may read, found without parsing it: every identifier in its expressions that is no
//! attribute and no text. Rather one too many than one too few.

use std::collections::BTreeSet;

/// Adds the names in `text`; `bare`: all of it is an expression, otherwise only what stands in braces.
pub(crate) fn collect(text: &str, bare: bool, names: &mut BTreeSet<String>) {
    if bare {
        expression(text, names);
        return;
    }
    let mut rest = text;
    while let Some(at) = rest.find("{{").into_iter().chain(rest.find("{%")).min() {
        rest = &rest[at + 2..];
        let end = rest.find("}}").into_iter().chain(rest.find("%}")).min().unwrap_or(rest.len());
        // A brace inside a text ends this too early; then what follows is read as an expression as well.
        let closed = rest[..end].matches('\'').count().is_multiple_of(2) && rest[..end].matches('"').count().is_multiple_of(2);
        if closed {
            expression(&rest[..end], names);
            rest = &rest[end..];
        } else {
            expression(rest, names);
        }
    }
}

fn expression(text: &str, names: &mut BTreeSet<String>) {
    let mut chars = text.char_indices().peekable();
    let mut before = ' ';
    while let Some((at, c)) = chars.next() {
        if c == '\'' || c == '"' {
            let mut escaped = false;
            for (_, inner) in chars.by_ref() {
                if inner == c && !escaped {
                    break;
                }
                escaped = inner == '\\' && !escaped;
            }
        } else if c.is_alphabetic() || c == '_' {
            let mut end = at + c.len_utf8();
            while let Some((next, inner)) = chars.peek().copied().filter(|(_, i)| i.is_alphanumeric() || *i == '_') {
                end = next + inner.len_utf8();
                chars.next();
            }
            let word = &text[at..end];
            // `1.5` has no attribute, but a digit before the dot is no variable either.
            if before != '.' && !WORDS.contains(&word) {
                names.insert(word.to_owned());
            }
            before = 'a';
            continue;
        }
        if !c.is_whitespace() {
            before = c;
        }
    }
}

/// Jinja's own words.
const WORDS: &[&str] = &[
    "and",
    "or",
    "not",
    "in",
    "is",
    "if",
    "else",
    "elif",
    "endif",
    "for",
    "endfor",
    "set",
    "endset",
    "true",
    "false",
    "True",
    "False",
    "none",
    "None",
    "raw",
    "endraw",
    "filter",
    "endfilter",
    "macro",
    "endmacro",
    "loop",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str, bare: bool) -> Vec<String> {
        let mut names = BTreeSet::new();
        collect(text, bare, &mut names);
        names.into_iter().collect()
    }

    #[test]
    fn names_in_braces_only() {
        assert_eq!(
            names("password {{ a.b['c'].d | default(e) }} f {% if g is defined %}{{ h }}", false),
            ["a", "default", "defined", "e", "g", "h"]
        );
        assert_eq!(names("no template", false), [""; 0]);
        assert_eq!(names("{{ 'x }}' ~ y }} z", false), ["y", "z"]);
    }

    #[test]
    fn a_condition_is_all_expression() {
        assert_eq!(names("a.rc == 0 and 'b' not in c", true), ["a", "c"]);
    }
}
