//! Data to text, the way PyYAML writes it: what reads back as another type is quoted.

use super::Value;
use super::scalar::resolve;
use serde_json::Value as Json;

/// YAML text of `value`. `nice`: block style with four spaces a level, as Ansible's `to_nice_yaml`; otherwise
/// PyYAML's default: leaf collections in flow style, as `to_yaml`. Keys are sorted, as both do.
pub fn to_text(value: &Json, nice: bool) -> String {
    to_text_with(value, if nice { 4 } else { 2 }, !nice, true)
}

/// As [`to_text`], with indentation, flow style for leaf collections, and sorting of keys chosen.
pub fn to_text_with(value: &Json, indent: usize, flow_leaves: bool, sort: bool) -> String {
    let style = Style { indent: indent.max(1), flow_leaves, sort };
    let mut out = String::new();
    match value {
        Json::Array(items) if !items.is_empty() && !style.is_flow(value) => sequence(items, 0, style, &mut out),
        Json::Object(map) if !map.is_empty() && !style.is_flow(value) => mapping(map, 0, style, &mut out),
        leaf => {
            out.push_str(&inline(leaf, style));
            out.push('\n');
            // PyYAML ends a document that is one plain scalar explicitly.
            if !matches!(leaf, Json::Array(_) | Json::Object(_)) && !out.starts_with(['\'', '"']) {
                out.push_str("...\n");
            }
        }
    }
    out
}

#[derive(Clone, Copy)]
struct Style {
    indent: usize,
    flow_leaves: bool,
    sort: bool,
}

impl Style {
    fn is_flow(self, value: &Json) -> bool {
        let leaf = |v: &Json| !matches!(v, Json::Array(_) | Json::Object(_));
        match value {
            Json::Array(items) => items.is_empty() || (self.flow_leaves && items.iter().all(leaf)),
            Json::Object(map) => map.is_empty() || (self.flow_leaves && map.values().all(leaf)),
            _ => true,
        }
    }

    fn entries(self, map: &serde_json::Map<String, Json>) -> Vec<(&String, &Json)> {
        let mut entries: Vec<_> = map.iter().collect();
        if self.sort {
            entries.sort_by(|a, b| a.0.cmp(b.0));
        }
        entries
    }
}

fn mapping(map: &serde_json::Map<String, Json>, depth: usize, style: Style, out: &mut String) {
    for (i, (key, value)) in style.entries(map).into_iter().enumerate() {
        if i > 0 || !out.ends_with("- ") && !out.ends_with("-   ") {
            out.push_str(&" ".repeat(depth));
        }
        out.push_str(&scalar(key));
        out.push(':');
        match value {
            // Sequences in mappings are not indented, as PyYAML writes them.
            Json::Array(items) if !style.is_flow(value) => {
                out.push('\n');
                sequence(items, depth, style, out);
            }
            Json::Object(inner) if !style.is_flow(value) => {
                out.push('\n');
                mapping(inner, depth + style.indent, style, out);
            }
            Json::String(text) if text.contains('\n') => block(text, depth + style.indent, out),
            leaf => {
                out.push(' ');
                out.push_str(&inline(leaf, style));
                out.push('\n');
            }
        }
    }
}

fn sequence(items: &[Json], depth: usize, style: Style, out: &mut String) {
    for (i, item) in items.iter().enumerate() {
        if i > 0 || !out.ends_with("- ") && !out.ends_with("-   ") {
            out.push_str(&" ".repeat(depth));
        }
        out.push('-');
        out.push_str(&" ".repeat(style.indent - 1).replace(char::is_whitespace, " "));
        if style.indent == 1 {
            out.push(' ');
        }
        let inner = depth + style.indent.max(2);
        match item {
            Json::Array(below) if !style.is_flow(item) => sequence(below, inner, style, out),
            Json::Object(below) if !style.is_flow(item) => mapping(below, inner, style, out),
            Json::String(text) if text.contains('\n') => block(text, inner, out),
            leaf => {
                out.push_str(&inline(leaf, style));
                out.push('\n');
            }
        }
    }
}

/// Text of several lines as a literal block where that keeps it, quoted otherwise.
fn block(text: &str, depth: usize, out: &mut String) {
    let plain =
        !text.starts_with([' ', '\n']) && text.chars().all(|c| c == '\n' || !c.is_control()) && !text.lines().any(|l| l.ends_with(' '));
    if !out.ends_with(' ') {
        out.push(' ');
    }
    if !plain {
        out.push_str(&double_quoted(text));
        out.push('\n');
        return;
    }
    let body = text.strip_suffix('\n');
    out.push_str(match body {
        None => "|-\n",
        Some(b) if b.ends_with('\n') => "|+\n",
        Some(_) => "|\n",
    });
    for line in body.unwrap_or(text).split('\n') {
        if !line.is_empty() {
            out.push_str(&" ".repeat(depth));
        }
        out.push_str(line);
        out.push('\n');
    }
}

fn inline(value: &Json, style: Style) -> String {
    match value {
        Json::Null => "null".into(),
        Json::Bool(b) => b.to_string(),
        Json::Number(n) => n.to_string(),
        Json::String(text) => scalar(text),
        Json::Array(items) => format!("[{}]", items.iter().map(|i| inline(i, style)).collect::<Vec<_>>().join(", ")),
        Json::Object(map) => {
            let entries: Vec<String> =
                style.entries(map).into_iter().map(|(k, v)| format!("{}: {}", scalar(k), inline(v, style))).collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

/// A text as a scalar on one line.
fn scalar(text: &str) -> String {
    if text.chars().any(|c| c.is_control()) {
        return double_quoted(text);
    }
    let first = text.chars().next();
    let reads_as_text = matches!(resolve(text), Value::Str(_));
    let safe_start = first.is_some_and(|c| !c.is_whitespace() && !"-?:,[]{}#&*!|>'\"%@`=".contains(c))
        || (text.starts_with('-') && text.len() > 1 && !text.starts_with("- ") && !text.starts_with("--"));
    let safe_inside =
        !text.contains(": ") && !text.contains(" #") && !text.ends_with([':', ' ']) && !text.contains(['[', ']', '{', '}', ',']);
    // Dates stay text here, but PyYAML would read them as dates.
    let date = text.len() >= 8 && text.as_bytes().iter().take(4).all(u8::is_ascii_digit) && text.as_bytes().get(4) == Some(&b'-');
    if reads_as_text && safe_start && safe_inside && !date { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

fn double_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nice_text_reads_as_pyyaml_would_write_it() {
        let value = json!({"b": [1, {"x": "yes", "y": null}], "a": {"k": "v: w", "n": "0644"}, "e": [], "m": "one\ntwo\n"});
        assert_eq!(
            to_text(&value, true),
            "a:\n    k: 'v: w'\n    n: '0644'\nb:\n-   1\n-   x: 'yes'\n    y: null\ne: []\nm: |\n    one\n    two\n"
        );
    }

    #[test]
    fn terse_text_puts_leaves_into_flow_style() {
        assert_eq!(to_text(&json!({"a": [1, 2], "b": {"c": [3]}}), false), "a: [1, 2]\nb:\n  c: [3]\n");
        assert_eq!(to_text(&json!("x"), false), "x\n...\n");
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        for text in [
            "",
            "yes",
            "0644",
            "1.0",
            "~",
            "a: b",
            "- x",
            "#no",
            " lead",
            "tail ",
            "it's",
            "tab\there",
            "{x}",
            "*a",
            "2026-11-23",
            "line\n\nline",
            "trail\n\n",
            "x:",
            "-",
            "--- x",
            "a,b",
        ] {
            for nice in [true, false] {
                let value = json!({"k": text, "l": [text, {"m": text}]});
                let written = to_text(&value, nice);
                let read = crate::yaml::parse_one("t", &written).unwrap_or_else(|e| panic!("{text:?}: {e}\n{written}")).to_json();
                assert_eq!(read, value, "{text:?} was written as\n{written}");
            }
        }
    }
}
