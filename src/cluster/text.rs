//! Objects as YAML text that people read: block style, files inside as they are, the same bytes every time.

use super::Object;
use serde_json::Value as Json;

/// The objects as one file of several documents.
pub fn to_yaml(objects: &[Object]) -> String {
    objects.iter().map(|o| format!("---\n{}", document(&o.json))).collect()
}

/// One document, without a marker before it.
pub fn document(json: &Json) -> String {
    let mut out = String::new();
    block(json, 0, &mut out);
    out
}

fn pad(depth: usize) -> String {
    "  ".repeat(depth)
}

/// `value` in block style; the cursor stands at the start of a line.
fn block(value: &Json, depth: usize, out: &mut String) {
    match value {
        Json::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                out.push_str(&format!("{}{}:", pad(depth), scalar(key)));
                after_key(value, depth, out);
            }
        }
        Json::Array(items) if !items.is_empty() => {
            for item in items {
                out.push_str(&format!("{}-", pad(depth)));
                after_dash(item, depth, out);
            }
        }
        other => out.push_str(&format!("{}{}\n", pad(depth), flow(other))),
    }
}

fn after_key(value: &Json, depth: usize, out: &mut String) {
    match value {
        Json::Object(map) if !map.is_empty() => {
            out.push('\n');
            block(value, depth + 1, out);
        }
        // As kubectl writes them: a list stands below its key without further indentation.
        Json::Array(items) if !items.is_empty() => {
            out.push('\n');
            block(value, depth, out);
        }
        Json::String(text) if literal(text) => {
            let chomp = if text.ends_with('\n') { "" } else { "-" };
            out.push_str(&format!(" |{chomp}\n"));
            for line in text.lines() {
                out.push_str(&if line.is_empty() { "\n".to_owned() } else { format!("{}{line}\n", pad(depth + 1)) });
            }
        }
        other => out.push_str(&format!(" {}\n", flow(other))),
    }
}

fn after_dash(item: &Json, depth: usize, out: &mut String) {
    match item {
        Json::Object(map) if !map.is_empty() => {
            // The first key stands beside the dash.
            let mut inner = String::new();
            block(item, depth + 1, &mut inner);
            out.push(' ');
            out.push_str(inner.trim_start_matches(' '));
        }
        Json::Array(items) if !items.is_empty() => {
            out.push('\n');
            block(item, depth + 1, out);
        }
        other => out.push_str(&format!(" {}\n", flow(other))),
    }
}

/// Whether a text can be written as a literal block: several lines, none of which would be read differently.
fn literal(text: &str) -> bool {
    text.contains('\n')
        && !text.starts_with([' ', '\n', '\t'])
        && !text.ends_with("\n\n")
        && text.chars().all(|c| c == '\n' || (!c.is_control() && !matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}')))
}

/// A value on one line.
fn flow(value: &Json) -> String {
    match value {
        Json::String(text) => scalar(text),
        // Empty mappings and lists; the rest is not asked for.
        other => other.to_string(),
    }
}

/// A text on one line: plain where every reader of YAML 1.1 and 1.2 takes it for text, else in double quotes.
pub(super) fn scalar(text: &str) -> String {
    const WORDS: &[&str] = &["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_');
    let inside = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '$' | '(' | ')' | '=' | '+' | ':' | '@' | ' '));
    let apart = text.contains(": ") || text.contains(" #") || text.ends_with([':', ' ']);
    if starts && inside && !apart && !WORDS.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    // JSON's escapes are YAML's; what JSON leaves as it is and YAML would not is written by number.
    let mut quoted = String::new();
    for c in Json::String(text.to_owned()).to_string().chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => quoted.push_str(&format!("\\u{:04x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_reads_back_the_same() {
        let all = json!({
            "plain": "docker.io/aistorage/aisnode:v5.0",
            "number": 5, "text": "5", "float": "1.5", "yes": "yes", "no": "No", "off": "off", "null": "null", "tilde": "~", "empty": "",
            "file": "{\n  \"a\": 1\n\n}\n", "lines": "a\nb", "odd": "  a\n", "tail": "a\n\n", "tab": "a\tb", "colon": "a: b", "end": "a:", "hash": "a #b",
            "escape": "\u{1}\u{85}\u{2028}é\"\\", "octal": "0644", "date": "2026-11-23", "time": "12:30:45", "dash": "-x=1", "star": "*a",
            "y": "y", "list": [], "map": {}, "nested": [{"a": [1, {"b": "c", "d": [[1, 2], []]}]}, "x", {"only": {"deep": ["z"]}}],
            "bool": true, "nothing": null, "=": "=", "<<": "x", "space ": "a ", "json": "[1]",
        });
        let text = document(&all);
        let back = crate::yaml::parse_one("t.yml", &text).unwrap().to_json();
        assert_eq!(back, all, "{text}");
    }

    #[test]
    fn files_stay_readable() {
        assert_eq!(document(&json!({"data": {"a.json": "{\n  \"b\": 1\n}\n"}})), "data:\n  a.json: |\n    {\n      \"b\": 1\n    }\n");
    }
}
