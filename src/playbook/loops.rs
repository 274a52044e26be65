//! `loop` and the older `with_…` forms, which become the same thing.

use super::read;
use crate::diag::{Diagnostic, Diagnostics};
use crate::play::LoopControl;
use crate::yaml::{Mapping, Node, Value};

/// The `with_…` forms there are here.
const FORMS: [&str; 7] = ["with_items", "with_list", "with_dict", "with_indexed_items", "with_sequence", "with_nested", "with_together"];

/// `with_…` forms of Ansible that are not here yet, with what to write instead.
const REFUSED: [(&str, &str); 11] = [
    ("with_first_found", "use `vars_files` with a nested list, or several tasks with `when`"),
    ("with_subelements", "write loop: \"{{ LIST | subelements('KEY') }}\""),
    ("with_fileglob", "name the files in a list"),
    ("with_filetree", "name the files in a list"),
    ("with_file", "write loop over the names, and read each with a lookup"),
    ("with_lines", "run the command in a task of its own and loop over its `stdout_lines`"),
    ("with_random_choice", "write loop: [\"{{ LIST | random }}\"]"),
    ("with_inventory_hostnames", "write loop: \"{{ groups['NAME'] }}\""),
    ("with_cartesian", "it is another name for `with_nested`"),
    ("with_flattened", "write loop: \"{{ LIST | flatten }}\""),
    ("with_vars", "write loop over the values themselves"),
];

/// A sequence longer than this is surely a mistake: each item is a task run.
const LONGEST: i64 = 1_000_000;

/// What a task loops over.
#[derive(Debug, Default)]
pub(crate) struct Loop {
    /// The items.
    pub items: Option<Node>,
    /// Flatten one level (`with_items`).
    pub flatten: bool,
    /// `loop_control`.
    pub control: LoopControl,
}

/// Whether `key` starts a loop.
pub(crate) fn is_loop(key: &str) -> bool {
    key == "loop" || key.starts_with("with_")
}

/// Reads the loop keywords of a task.
pub(crate) fn read(map: &Mapping, out: &mut Diagnostics) -> Loop {
    let mut found = Loop::default();
    let mut first: Option<&str> = None;
    for (key, value) in map.iter() {
        let Some(name) = key.as_str().filter(|k| is_loop(k)) else { continue };
        if let Some(first) = first {
            out.push(Diagnostic::error(&key.loc, format!("a task loops once: it has `{first}` and `{name}`")));
            continue;
        }
        first = Some(name);
        found.items = items(name, key, value, out);
        found.flatten = name == "with_items";
    }
    if let Some(node) = map.get("loop_control").filter(|n| !n.is_null()) {
        found.control = control(node, out);
        if first.is_none() {
            out.push(Diagnostic::error(&node.loc, "`loop_control` stands on a task without a loop"));
        }
    }
    if let Some(items) = &found.items {
        super::texts::template(items, out);
    }
    found
}

fn control(node: &Node, out: &mut Diagnostics) -> LoopControl {
    let Some(map) = read::mapping(node, "`loop_control`", out) else { return LoopControl::default() };
    let refused = [("break_when", "use `until`, or a `when` on each item"), ("extended_allitems", "leave it out")];
    read::keys(map, "`loop_control`", &["loop_var", "index_var", "label", "pause", "extended"], &refused, out);
    let get = |key: &str| map.get(key).filter(|n| !n.is_null());
    let control = LoopControl {
        loop_var: get("loop_var").and_then(|n| read::name(n, "loop_var", out)),
        index_var: get("index_var").and_then(|n| read::name(n, "index_var", out)),
        label: get("label").cloned(),
        pause: get("pause").and_then(|n| read::number_node(n, "pause", out)),
        extended: get("extended").and_then(|n| read::boolean(n, "extended", out)).unwrap_or(false),
    };
    for node in control.label.iter().chain(&control.pause) {
        super::texts::template(node, out);
    }
    control
}

fn items(form: &str, key: &Node, value: &Node, out: &mut Diagnostics) -> Option<Node> {
    let seq = |items: Vec<Node>| Some(Node::new(Value::Seq(items), value.loc.clone()));
    match form {
        "loop" | "with_list" => match &value.value {
            Value::Seq(_) => Some(value.clone()),
            Value::Str(_) if read::is_template(value) => Some(value.clone()),
            Value::Str(s) if read::is_name(s) => {
                let d = Diagnostic::error(&value.loc, format!("`{form}` must be a list, not text"));
                out.push(d.help(format!("to loop over the variable, write {form}: \"{{{{ {s} }}}}\"")));
                None
            }
            _ => {
                out.push(Diagnostic::error(
                    &value.loc,
                    format!("`{form}` must be a list or a template that gives one, not {}", value.kind()),
                ));
                None
            }
        },
        "with_items" => match &value.value {
            Value::Null => seq(vec![]),
            Value::Seq(_) => Some(value.clone()),
            Value::Str(_) if whole_template(value).is_some() => Some(value.clone()),
            _ => seq(vec![value.clone()]),
        },
        "with_dict" => match (&value.value, whole_template(value)) {
            (Value::Map(map), _) => seq(map
                .iter()
                .map(|(k, v)| {
                    let entry = [("key", k), ("value", v)].map(|(name, n)| (Node::text(name, n.loc.clone()), n.clone()));
                    Node::new(Value::Map(Mapping(entry.to_vec())), k.loc.clone())
                })
                .collect()),
            (_, Some(expr)) => Some(Node::text(format!("{{{{ ({expr}) | dict2items }}}}"), value.loc.clone())),
            _ => {
                out.push(Diagnostic::error(&value.loc, format!("`with_dict` must be a mapping, not {}", value.kind())));
                None
            }
        },
        "with_indexed_items" => {
            let items = literal_items(form, value, "write `loop` and `loop_control: {index_var: …}`", out)?;
            seq(flat(items)
                .into_iter()
                .enumerate()
                .map(|(i, item)| {
                    let index = Node::new(Value::Int(i64::try_from(i).unwrap_or(i64::MAX)), item.loc.clone());
                    Node::new(Value::Seq(vec![index, item.clone()]), item.loc.clone())
                })
                .collect())
        }
        "with_sequence" => sequence(value, out),
        "with_nested" => {
            let lists = lists(form, value, "write loop: \"{{ A | product(B) | list }}\"", out)?;
            let mut rows: Vec<Vec<Node>> = vec![vec![]];
            for list in lists {
                rows = rows.iter().flat_map(|row| list.iter().map(move |n| row.iter().cloned().chain([n.clone()]).collect())).collect();
            }
            seq(rows.into_iter().map(|row| Node::new(Value::Seq(row), value.loc.clone())).collect())
        }
        "with_together" => {
            let lists = lists(form, value, "write loop: \"{{ A | zip(B) | list }}\"", out)?;
            let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
            let cell = |list: &Vec<Node>, i: usize| list.get(i).cloned().unwrap_or_else(|| Node::new(Value::Null, value.loc.clone()));
            let row = |i| Node::new(Value::Seq(lists.iter().map(|list| cell(list, i)).collect()), value.loc.clone());
            seq((0..longest).map(row).collect())
        }
        other => {
            let refused = REFUSED.iter().find(|(n, _)| *n == other);
            out.push(match refused {
                Some((_, instead)) => read::refusal(key, other, "a task", instead),
                None => Diagnostic::error(&key.loc, format!("unknown keyword `{other}` of a task"))
                    .nearest(other, FORMS.iter().copied())
                    .help(format!("loops: loop, {}", FORMS.join(", "))),
            });
            None
        }
    }
}

/// The expression of a text that is one `{{ expression }}` and nothing else.
fn whole_template(node: &Node) -> Option<&str> {
    let inner = node.as_str()?.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!inner.contains("{{") && !inner.contains("}}")).then(|| inner.trim_start_matches('-').trim_end_matches('-').trim())
}

/// Items that hold no template: one that gave a list would have to be flattened first.
fn literal_items(form: &str, value: &Node, instead: &str, out: &mut Diagnostics) -> Option<Vec<Node>> {
    if read::is_template(value) {
        out.push(Diagnostic::error(&value.loc, format!("templates in `{form}` are not supported yet")).help(instead));
        return None;
    }
    match &value.value {
        Value::Seq(items) => Some(items.clone()),
        _ => {
            out.push(Diagnostic::error(&value.loc, format!("`{form}` must be a list, not {}", value.kind())));
            None
        }
    }
}

/// A list of lists without templates, each flattened one level.
fn lists(form: &str, value: &Node, instead: &str, out: &mut Diagnostics) -> Option<Vec<Vec<Node>>> {
    let items = literal_items(form, value, instead, out)?;
    let mut lists = vec![];
    for item in items {
        match item.value {
            Value::Seq(list) => lists.push(flat(list)),
            _ => lists.push(vec![item]),
        }
    }
    if lists.is_empty() {
        out.push(Diagnostic::error(&value.loc, format!("`{form}` needs at least one list")));
        return None;
    }
    Some(lists)
}

/// One level of lists opened.
fn flat(items: Vec<Node>) -> Vec<Node> {
    items
        .into_iter()
        .flat_map(|n| match n.value {
            Value::Seq(inner) => inner,
            _ => vec![n],
        })
        .collect()
}

/// `with_sequence: start=1 end=9 stride=2 format=disk%02d`, `count=4`, `1-9/2:disk%02d`.
fn sequence(value: &Node, out: &mut Diagnostics) -> Option<Node> {
    if read::is_template(value) {
        let d = Diagnostic::error(&value.loc, "templates in `with_sequence` are not supported yet");
        out.push(d.help("write loop: \"{{ range(START, END + 1) | list }}\""));
        return None;
    }
    let text = read::text(value, "with_sequence", out)?;
    match sequence_texts(&text) {
        Ok(texts) => Some(Node::new(Value::Seq(texts.into_iter().map(|t| Node::text(t, value.loc.clone())).collect()), value.loc.clone())),
        Err(why) => {
            let d = Diagnostic::error(&value.loc, format!("`with_sequence` {why}"));
            out.push(d.help("write `start=1 end=9 stride=2 format=disk%02d`, `count=4` or `1-9/2:disk%02d`"));
            None
        }
    }
}

fn number(text: &str) -> Result<i64, String> {
    let digits = text.trim();
    let (radix, body) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    i64::from_str_radix(body, radix).map_err(|_| format!("has `{digits}` where a whole number is needed"))
}

fn sequence_texts(text: &str) -> Result<Vec<String>, String> {
    let (mut start, mut end, mut count, mut stride, mut format) = (1, None, None, 1, "%d".to_owned());
    if text.contains('=') {
        for (key, value) in super::split::parts(text, None)?.pairs {
            match key.as_str() {
                "start" => start = number(&value)?,
                "end" => end = Some(number(&value)?),
                "count" => count = Some(number(&value)?),
                "stride" => stride = number(&value)?,
                "format" => format = value,
                other => return Err(format!("has no argument `{other}`")),
            }
        }
    } else {
        let (numbers, after) = text.split_once(':').map_or((text, None), |(n, f)| (n, Some(f)));
        if let Some(f) = after {
            format = f.to_owned();
        }
        let (range, step) = numbers.split_once('/').map_or((numbers, None), |(r, s)| (r, Some(s)));
        if let Some(s) = step {
            stride = number(s)?;
        }
        match range.split_once('-') {
            Some((s, e)) => (start, end) = (number(s)?, Some(number(e)?)),
            None => end = Some(number(range)?),
        }
    }
    let end = match (count, end) {
        (Some(_), Some(_)) => return Err("has both `count` and `end`".into()),
        (None, None) => return Err("needs `count` or `end`".into()),
        (Some(0), None) => return Ok(vec![]),
        (Some(n), None) => {
            let last = n.checked_sub(1).and_then(|n| n.checked_mul(stride)).and_then(|n| n.checked_add(start));
            last.ok_or_else(|| "has numbers that are too large".to_owned())?
        }
        (None, Some(e)) => e,
    };
    if stride == 0 {
        return Ok(vec![]);
    }
    if (stride > 0 && end < start) || (stride < 0 && end > start) {
        return Err(format!("cannot count from {start} to {end} in steps of {stride}"));
    }
    if (i128::from(end) - i128::from(start)) / i128::from(stride) >= i128::from(LONGEST) {
        return Err(format!("has more than {LONGEST} items"));
    }
    let mut texts = vec![];
    let mut n = start;
    while (stride > 0 && n <= end) || (stride < 0 && n >= end) {
        texts.push(formatted(&format, n)?);
        n = n.saturating_add(stride);
    }
    Ok(texts)
}

/// Python's `format % n` for one `%d`, `%x`, `%X`, `%o` or `%s`, with width and leading zeros.
fn formatted(format: &str, n: i64) -> Result<String, String> {
    let bad = || format!("has the bad format `{format}`");
    let (before, rest) = format.split_once('%').ok_or_else(bad)?;
    let kind_at = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let (width, rest) = rest.split_at(kind_at);
    let kind = rest.chars().next().ok_or_else(bad)?;
    let after = &rest[kind.len_utf8()..];
    if after.contains('%') || before.contains('%') {
        return Err(bad());
    }
    let zeros = width.starts_with('0');
    let width: usize = if width.is_empty() { 0 } else { width.parse().ok().filter(|w| *w <= 64).ok_or_else(bad)? };
    let digits = match kind {
        'd' | 'i' | 's' => n.unsigned_abs().to_string(),
        'x' => format!("{:x}", n.unsigned_abs()),
        'X' => format!("{:X}", n.unsigned_abs()),
        'o' => format!("{:o}", n.unsigned_abs()),
        _ => return Err(bad()),
    };
    let sign = if n < 0 { "-" } else { "" };
    let number = if zeros && kind != 's' {
        let width = width.saturating_sub(sign.len());
        format!("{sign}{digits:0>width$}")
    } else {
        format!("{:>width$}", format!("{sign}{digits}"))
    };
    Ok(format!("{before}{number}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Loc;
    use serde_json::json;

    fn run(form: &str, value: serde_json::Value) -> Result<serde_json::Value, String> {
        let loc = Loc::new("t.yml", 1, 1);
        let map = Mapping(vec![(Node::text(form, loc.clone()), Node::from_json(&value, &loc))]);
        let mut out = Diagnostics::default();
        let found = read(&map, &mut out);
        if out.has_errors() { Err(out.to_string()) } else { Ok(found.items.map(|n| n.to_json()).unwrap_or_default()) }
    }

    #[test]
    fn sequences() {
        let texts = |t: &str| sequence_texts(t).unwrap();
        assert_eq!(texts("start=0 end=4 stride=2 format=disk%02d"), ["disk00", "disk02", "disk04"]);
        assert_eq!(texts("count=3"), ["1", "2", "3"]);
        assert_eq!(texts("4-5:host%d"), ["host4", "host5"]);
        assert_eq!(texts("start=10 end=0 stride=-5"), ["10", "5", "0"]);
        assert_eq!(texts("count=0"), [""; 0]);
        assert!(sequence_texts("start=1 end=0").is_err() && sequence_texts("format=%d").is_err());
    }

    #[test]
    fn dictionaries_and_lists() {
        assert_eq!(run("with_dict", json!({"a": 1})), Ok(json!([{"key": "a", "value": 1}])));
        assert_eq!(run("with_dict", json!("{{ x }}")), Ok(json!("{{ (x) | dict2items }}")));
        assert_eq!(run("with_indexed_items", json!(["a", ["b"]])), Ok(json!([[0, "a"], [1, "b"]])));
        assert_eq!(run("with_nested", json!([[1, 2], ["a"]])), Ok(json!([[1, "a"], [2, "a"]])));
        assert_eq!(run("with_together", json!([[1, 2], ["a"]])), Ok(json!([[1, "a"], [2, null]])));
        assert_eq!(run("with_items", json!("one")), Ok(json!(["one"])));
    }

    #[test]
    fn what_cannot_be_done_exactly_is_refused() {
        assert!(run("with_nested", json!([["{{ a }}"], [1]])).unwrap_err().contains("product"));
        assert!(run("with_first_found", json!([])).unwrap_err().contains("not supported yet"));
        assert!(run("loop", json!("users")).unwrap_err().contains("{{ users }}"));
    }
}
