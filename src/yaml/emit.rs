//! Data to text, the way PyYAML writes it, to the byte: what reads back as another type is quoted, long lines are
//! folded, sequences in mappings are not indented.

use super::quoting::{Style, escape, number_text, style};
use serde_json::{Map, Value as Json};

/// Longest line before it is folded; PyYAML's default.
pub const WIDTH: usize = 80;

/// Longest key written as `key: value`; PyYAML writes longer ones as `? key`.
const SIMPLE_KEY: usize = 128;

/// YAML text of `value`. `nice`: block style with four spaces a level, as Ansible's `to_nice_yaml`; otherwise
/// PyYAML's default: leaf collections in flow style, as `to_yaml`. Keys are sorted, as both do.
pub fn to_text(value: &Json, nice: bool) -> String {
    to_text_with(value, if nice { 4 } else { 2 }, !nice, true, WIDTH)
}

/// As [`to_text`], with indentation (2 to 9, as PyYAML takes it), flow style for leaf collections, sorting of keys and the
/// column behind which long texts are folded chosen.
pub fn to_text_with(value: &Json, indent: usize, flow_leaves: bool, sort: bool, width: usize) -> String {
    let step = if (2..=9).contains(&indent) { indent } else { 2 };
    let mut emitter = Emitter { out: String::new(), column: 0, white: true, fresh: true, step, flow_leaves, sort, width, flow: 0 };
    emitter.node(value, None, Place::Root);
    emitter.break_to(0);
    emitter.out
}

/// Where a node stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Item,
    Key,
    Value,
}

struct Emitter {
    out: String,
    /// Characters on the current line.
    column: usize,
    width: usize,
    /// The last thing written was white space (or nothing).
    white: bool,
    /// Nothing but indentation and indicators is on this line.
    fresh: bool,
    step: usize,
    flow_leaves: bool,
    sort: bool,
    /// How many flow collections are open.
    flow: usize,
}

impl Emitter {
    fn write(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    /// An indicator such as `-`; `apart`: with a space before it unless one is there.
    fn indicator(&mut self, text: &str, apart: bool, keeps_fresh: bool) {
        if apart && !self.white {
            self.write(" ");
        }
        self.white = false;
        self.fresh = self.fresh && keeps_fresh;
        self.write(text);
    }

    fn line_break(&mut self) {
        self.out.push('\n');
        self.column = 0;
        self.white = true;
        self.fresh = true;
    }

    /// Goes on at column `indent`: on this line if that is possible, else on the next.
    fn break_to(&mut self, indent: usize) {
        if !self.fresh || self.column > indent || (self.column == indent && !self.white) {
            self.line_break();
        }
        if self.column < indent {
            let gap = indent - self.column;
            self.write(&" ".repeat(gap));
            self.white = true;
        }
    }

    /// The indentation one level below `indent`; `None` is above the root.
    fn deeper(&self, indent: Option<usize>, flow: bool) -> usize {
        match indent {
            None => {
                if flow {
                    self.step
                } else {
                    0
                }
            }
            Some(indent) => indent + self.step,
        }
    }

    fn in_flow(&self, value: &Json) -> bool {
        let leaf = |v: &Json| !matches!(v, Json::Array(_) | Json::Object(_));
        self.flow > 0
            || match value {
                Json::Array(items) => items.is_empty() || (self.flow_leaves && items.iter().all(leaf)),
                Json::Object(map) => map.is_empty() || (self.flow_leaves && map.values().all(leaf)),
                _ => false,
            }
    }

    fn node(&mut self, value: &Json, indent: Option<usize>, place: Place) {
        match value {
            Json::Array(items) if self.in_flow(value) => self.flow_sequence(items, self.deeper(indent, true)),
            Json::Object(map) if self.in_flow(value) => self.flow_mapping(map, self.deeper(indent, true)),
            Json::Array(items) => {
                let level = match indent {
                    // A sequence that is a mapping's value stands as far left as its key.
                    Some(indent) if place == Place::Value && !self.fresh => indent,
                    _ => self.deeper(indent, false),
                };
                for item in items {
                    self.break_to(level);
                    self.indicator("-", true, true);
                    self.node(item, Some(level), Place::Item);
                }
            }
            Json::Object(map) => {
                let level = self.deeper(indent, false);
                for (key, item) in self.entries(map) {
                    self.break_to(level);
                    if simple(key) {
                        self.scalar(key, self.deeper(Some(level), true), Place::Key);
                        self.indicator(":", false, false);
                    } else {
                        self.indicator("?", true, true);
                        self.scalar(key, self.deeper(Some(level), true), Place::Value);
                        self.break_to(level);
                        self.indicator(":", true, true);
                    }
                    self.node(item, Some(level), Place::Value);
                }
            }
            Json::String(text) => self.scalar(text, self.deeper(indent, true), place),
            Json::Null => self.plain("null", false, 0),
            Json::Bool(b) => self.plain(if *b { "true" } else { "false" }, false, 0),
            Json::Number(number) => self.plain(&number_text(number), false, 0),
        }
    }

    fn entries<'m>(&self, map: &'m Map<String, Json>) -> Vec<(&'m String, &'m Json)> {
        let mut entries: Vec<_> = map.iter().collect();
        if self.sort {
            entries.sort_unstable_by(|a, b| a.0.cmp(b.0));
        }
        entries
    }

    fn flow_sequence(&mut self, items: &[Json], level: usize) {
        self.indicator("[", true, false);
        self.white = true;
        self.flow += 1;
        for (i, item) in items.iter().enumerate() {
            self.next_in_flow(i, level);
            self.node(item, Some(level), Place::Item);
        }
        self.flow -= 1;
        self.indicator("]", false, false);
    }

    fn flow_mapping(&mut self, map: &Map<String, Json>, level: usize) {
        self.indicator("{", true, false);
        self.white = true;
        self.flow += 1;
        for (i, (key, item)) in self.entries(map).into_iter().enumerate() {
            self.next_in_flow(i, level);
            if simple(key) {
                self.scalar(key, self.deeper(Some(level), true), Place::Key);
                self.indicator(":", false, false);
            } else {
                self.indicator("?", true, false);
                self.scalar(key, self.deeper(Some(level), true), Place::Value);
                if self.column > self.width {
                    self.break_to(level);
                }
                self.indicator(":", true, false);
            }
            self.node(item, Some(level), Place::Value);
        }
        self.flow -= 1;
        self.indicator("}", false, false);
    }

    fn next_in_flow(&mut self, number: usize, level: usize) {
        if number > 0 {
            self.indicator(",", false, false);
        }
        if self.column > self.width {
            self.break_to(level);
        }
    }

    fn scalar(&mut self, text: &str, indent: usize, place: Place) {
        let split = place != Place::Key;
        match style(text, self.flow > 0, place == Place::Key) {
            Style::Plain => self.plain(text, split, indent),
            Style::Single => self.single_quoted(text, split, indent),
            Style::Double => self.double_quoted(text, split, indent),
        }
    }

    /// A plain text (it has no line feeds), folded at single spaces behind the 80th column.
    fn plain(&mut self, text: &str, split: bool, indent: usize) {
        if !self.white {
            self.write(" ");
        }
        self.white = false;
        self.fresh = false;
        for (run, spaces) in runs(text) {
            if !spaces {
                self.write(run);
            } else if run == " " && split && self.column > self.width {
                self.break_to(indent);
            } else {
                self.write(run);
            }
            self.white = false;
            self.fresh = false;
        }
    }

    fn single_quoted(&mut self, text: &str, split: bool, indent: usize) {
        self.indicator("'", true, false);
        let mut done = 0;
        for (run, spaces) in runs(text) {
            let (starts, ends) = (done == 0, done + run.len() == text.len());
            done += run.len();
            if run.starts_with('\n') {
                // The first line feed is folded away when read, so it is written twice.
                (0..=run.len()).for_each(|_| self.line_break());
                self.break_to(indent);
            } else if spaces && run == " " && split && self.column > self.width && !starts && !ends {
                self.break_to(indent);
            } else {
                self.write(&run.replace('\'', "''"));
                self.white = false;
                self.fresh = false;
            }
        }
        self.white = false;
        self.indicator("'", false, false);
    }

    fn double_quoted(&mut self, text: &str, split: bool, indent: usize) {
        self.indicator("\"", true, false);
        let chars: Vec<char> = text.chars().collect();
        let mut waiting = String::new();
        for (at, &c) in chars.iter().enumerate() {
            let escaped = escape(c);
            if let Some(escaped) = &escaped {
                self.write(&std::mem::take(&mut waiting));
                self.write(escaped);
            }
            let may_break = c == ' ' || waiting.is_empty();
            if at > 0 && at + 1 < chars.len() && may_break && self.column + waiting.chars().count() > self.width && split {
                self.write(&std::mem::take(&mut waiting));
                self.write("\\");
                self.white = false;
                self.fresh = false;
                self.break_to(indent);
                self.white = false;
                self.fresh = false;
                // What comes next: this character, or the one behind it if this one is written already.
                let next = if escaped.is_some() { chars.get(at + 1) } else { Some(&c) };
                if next == Some(&' ') {
                    self.write("\\");
                }
            }
            if escaped.is_none() {
                waiting.push(c);
            }
        }
        self.write(&waiting);
        self.white = false;
        self.indicator("\"", false, false);
    }
}

/// Cuts text into runs of spaces, runs of line feeds and what is between them; `true`: a run of spaces.
fn runs(text: &str) -> Vec<(&str, bool)> {
    let kind = |c: char| match c {
        ' ' => 1,
        '\n' => 2,
        _ => 0,
    };
    let mut found = vec![];
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| kind(c) != kind(first)).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(end);
        found.push((run, first == ' '));
        rest = behind;
    }
    found
}

/// Whether a key can stand on one line with its value.
fn simple(key: &str) -> bool {
    !key.is_empty() && !key.contains('\n') && key.chars().count() < SIMPLE_KEY
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nice_text_is_what_pyyaml_writes() {
        let value = json!({"b": [1, {"x": "yes", "y": null}, [1, [2]], []], "a": {"k": "v: w", "n": "0644"}, "e": [], "m": "one\ntwo\n"});
        assert_eq!(
            to_text(&value, true),
            "a:\n    k: 'v: w'\n    n: '0644'\nb:\n- 1\n-   x: 'yes'\n    y: null\n-   - 1\n    -   - 2\n- []\ne: []\nm: 'one\n\n    two\n\n    '\n"
        );
    }

    #[test]
    fn terse_text_puts_leaves_into_flow_style() {
        assert_eq!(to_text(&json!({"a": [1, 2], "b": {"c": [3]}}), false), "a: [1, 2]\nb:\n  c: [3]\n");
        assert_eq!(to_text(&json!("x"), false), "x\n");
        assert_eq!(to_text(&json!(["a,b", "k:v", "=", "<<", "2026-11-23"]), false), "['a,b', 'k:v', '=', '<<', '2026-11-23']\n");
        assert_eq!(to_text(&json!({"": 1}), false), "{? '' : 1}\n");
    }

    #[test]
    fn long_lines_are_folded() {
        let words = "word ".repeat(20);
        let words = words.trim_end();
        assert_eq!(
            to_text(&json!({ "k": words }), true),
            format!("k: {}\n    {}\n", "word ".repeat(16).trim_end(), "word ".repeat(4).trim_end())
        );
    }

    #[test]
    fn numbers_are_pythons() {
        assert_eq!(to_text(&json!([1.0, 1e16, 1.5e-7, 0.0001, -2.5]), false), "[1.0, 1.0e+16, 1.5e-07, 0.0001, -2.5]\n");
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
            "<<",
            "=",
            "a \n b",
            "99999999999999999999",
            "\u{1f600} x",
        ] {
            for nice in [true, false] {
                let value = json!({"k": text, "l": [text, {"m": text}], text: 1});
                let written = to_text(&value, nice);
                let read = crate::yaml::parse_one("t", &written).unwrap_or_else(|e| panic!("{text:?}: {e}\n{written}")).to_json();
                assert_eq!(read, value, "{text:?} was written as\n{written}");
            }
        }
    }
}
