//! Text to tree.

use super::scalar::{float, integer, resolve};
use super::{Mapping, Node, Value};
use crate::diag::{Diagnostic, Diagnostics, Loc};
use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// Largest text read: above any configuration, below what would hurt.
const SIZE_LIMIT: usize = 16 << 20;
/// Deepest nesting: people stop at ten.
const DEPTH_LIMIT: usize = 128;
/// Most nodes of one text with its aliases written out: the bound against aliases of aliases of aliases.
const NODE_LIMIT: usize = 1_000_000;

/// All documents of `text`; `name` is the file's name in locations. Warnings are dropped.
pub fn parse(name: &str, text: &str) -> Result<Vec<Node>, Diagnostics> {
    parse_with_warnings(name, text).map(|(documents, _)| documents)
}

/// All documents of `text`, and warnings about what PyYAML accepts silently (a key given twice).
pub fn parse_with_warnings(name: &str, text: &str) -> Result<(Vec<Node>, Vec<Diagnostic>), Diagnostics> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let file: Arc<str> = name.into();
    if text.len() > SIZE_LIMIT {
        return Err(Diagnostic::error(
            &Loc::new(file, 1, 1),
            format!("the file has {} bytes, more than the {SIZE_LIMIT} read as YAML", text.len()),
        )
        .into());
    }
    let mut reader = Reader { parser: Parser::new_from_str(text), file, anchors: HashMap::new(), nodes: 0, warnings: vec![], text };
    let mut documents = vec![];
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentEnd => {}
            Event::DocumentStart(..) => {
                reader.anchors.clear();
                let (event, span) = reader.next()?;
                documents.push(reader.node(event, span, 0)?);
            }
            _ => return Err(reader.error(span, "this does not belong here")),
        }
    }
    Ok((documents, reader.warnings))
}

/// The one document of `text`; an empty text is null.
pub fn parse_one(name: &str, text: &str) -> Result<Node, Diagnostics> {
    let mut documents = parse(name, text)?;
    match documents.len() {
        0 => Ok(Node::new(Value::Null, Loc::new(name, 1, 1))),
        1 => Ok(documents.remove(0)),
        _ => Err(Diagnostic::error(&documents[1].loc, "a second YAML document starts here, where one is expected")
            .help("put it into a file of its own")
            .into()),
    }
}

/// The one document of the file at `path`.
pub fn load(path: &Path) -> Result<Node, Diagnostics> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|e| Diagnostic::error(&Loc::outside(&name), format!("the file can't be read: {e}")))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = good.iter().filter(|b| **b == b'\n').count() + 1;
        Diagnostic::error(&Loc::new(name.as_str(), u32::try_from(line).unwrap_or(0), 0), "the file is not UTF-8 text here")
    })?;
    parse_one(&name, &text)
}

struct Reader<'t> {
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    file: Arc<str>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    warnings: Vec<Diagnostic>,
    text: &'t str,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), Diagnostics> {
        loop {
            match self.parser.next_event() {
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok(found)) => return Ok(found),
                Some(Err(e)) => return Err(self.scan_error(&e)),
                None => return Ok((Event::StreamEnd, Span::default())),
            }
        }
    }

    fn loc(&self, span: Span) -> Loc {
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let (start, end) = (span.start, span.end);
        let len = if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { 0 };
        Loc { file: self.file.clone(), line: small(start.line()), column: small(start.col() + 1), len: small(len) }
    }

    fn error(&self, span: Span, message: &str) -> Diagnostics {
        Diagnostic::error(&self.loc(span), message).into()
    }

    /// The parser's complaint in plain words, with the usual mistakes named.
    fn scan_error(&self, e: &ScanError) -> Diagnostics {
        let marker = e.marker();
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let loc = Loc { file: self.file.clone(), line: small(marker.line()), column: small(marker.col() + 1), len: 1 };
        let mut diagnostic = Diagnostic::error(&loc, format!("this is not valid YAML: {}", e.info()));
        let near = |n: usize| n.checked_sub(1).and_then(|n| self.text.lines().nth(n)).unwrap_or("");
        let (line, above) = (near(marker.line()), near(marker.line().saturating_sub(1)));
        if let Some(hint) = hint(line).or_else(|| hint(above)) {
            diagnostic = diagnostic.help(hint);
        }
        diagnostic.into()
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Diagnostics> {
        self.count(1, span)?;
        if depth > DEPTH_LIMIT {
            return Err(self.error(span, "nested too deeply"));
        }
        let loc = self.loc(span);
        let (node, anchor) = match event {
            Event::Alias(id) => {
                let Some(target) = self.anchors.get(&id).cloned() else {
                    return Err(self.error(span, "this alias refers to an anchor that is not finished yet"));
                };
                self.count(size(&target), span)?;
                return Ok(target);
            }
            Event::Scalar(text, style, anchor, tag) => (self.scalar(&text, style, tag.as_deref(), loc)?, anchor),
            Event::SequenceStart(_, anchor, tag) => {
                only_tag(tag.as_deref(), "seq", &loc)?;
                let mut items = vec![];
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::SequenceEnd) {
                        break;
                    }
                    items.push(self.node(event, span, depth + 1)?);
                }
                (Node { value: Value::Seq(items), loc, tag: own_tag(tag.as_deref()) }, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                only_tag(tag.as_deref(), "map", &loc)?;
                let map = self.mapping(depth)?;
                (Node { value: Value::Map(map), loc, tag: own_tag(tag.as_deref()) }, anchor)
            }
            _ => return Err(self.error(span, "a value is expected here")),
        };
        if anchor != 0 {
            // The copy kept for aliases counts as well: anchors around anchors would add up unseen.
            self.count(size(&node), span)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn count(&mut self, more: usize, span: Span) -> Result<(), Diagnostics> {
        self.nodes += more;
        if self.nodes > NODE_LIMIT {
            return Err(self.error(span, &format!("with its aliases written out this file has more than {NODE_LIMIT} values")));
        }
        Ok(())
    }

    fn mapping(&mut self, depth: usize) -> Result<Mapping, Diagnostics> {
        let mut own: Vec<(Node, Node)> = vec![];
        let mut merged: Vec<(Node, Node)> = vec![];
        let mut merged_keys: HashSet<String> = HashSet::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let plain_merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = self.node(event, span, depth + 1)?;
            let (event, value_span) = self.next()?;
            let value = self.node(event, value_span, depth + 1)?;
            if plain_merge {
                self.merge(&value, &mut merged, &mut merged_keys)?;
                continue;
            }
            if matches!(key.value, Value::Seq(_) | Value::Map(_)) {
                return Err(self.key_error(&key));
            }
            let id = key_id(&key);
            match places.get(&id) {
                Some(&at) => {
                    let message =
                        format!("the key `{}` is given twice; this one counts, not the one in line {}", key.key_text(), own[at].0.loc.line);
                    self.warnings.push(Diagnostic::warning(&key.loc, message));
                    own[at].1 = value;
                }
                None => {
                    places.insert(id, own.len());
                    own.push((key, value));
                }
            }
        }
        // Merged keys come first, as PyYAML puts them; the mapping's own keys win.
        merged.retain(|(key, _)| !places.contains_key(&key_id(key)));
        merged.extend(own);
        Ok(Mapping(merged))
    }

    /// A list or mapping as a key: nearly always a template without quotes.
    fn key_error(&self, key: &Node) -> Diagnostics {
        let line = (key.loc.line as usize).checked_sub(1).and_then(|n| self.text.lines().nth(n)).unwrap_or("");
        let before = (key.loc.column as usize).saturating_sub(2);
        let rest: String = line.chars().skip(before).collect();
        if !rest.starts_with("{{") {
            return Diagnostic::error(&key.loc, format!("a key must be a plain value, not {}", key.kind())).into();
        }
        let loc = Loc { column: u32::try_from(before + 1).unwrap_or(u32::MAX), len: 2, ..key.loc.clone() };
        let value = rest.trim_end();
        let quoted = if value.contains(['"', '#']) { "\"{{ name }}\"".to_owned() } else { format!("\"{value}\"") };
        Diagnostic::error(&loc, "a value that starts with `{{` must be in quotes").help(format!("write {quoted}")).into()
    }

    /// Adds what `<<: value` brings; earlier mappings of a list win.
    fn merge(&self, value: &Node, merged: &mut Vec<(Node, Node)>, known: &mut HashSet<String>) -> Result<(), Diagnostics> {
        let mappings: Vec<&Node> = match &value.value {
            Value::Map(_) => vec![value],
            Value::Seq(items) => items.iter().collect(),
            _ => {
                return Err(
                    Diagnostic::error(&value.loc, format!("`<<` merges a mapping or a list of mappings, not {}", value.kind())).into()
                );
            }
        };
        for node in mappings {
            let Value::Map(map) = &node.value else {
                return Err(Diagnostic::error(&node.loc, format!("`<<` merges mappings, not {}", node.kind())).into());
            };
            for (key, value) in map.iter() {
                if known.insert(key_id(key)) {
                    merged.push((key.clone(), value.clone()));
                }
            }
        }
        Ok(())
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>, loc: Loc) -> Result<Node, Diagnostics> {
        let text_value = || Value::Str(text.to_owned());
        let cannot = |want: &str| Diagnostics::from(Diagnostic::error(&loc, format!("`{text}` is not {want}, as its tag says")));
        let value = match tag.and_then(Tag::core_suffix) {
            Some("str") => text_value(),
            Some("int") => Value::Int(integer(text).ok_or_else(|| cannot("a whole number"))?),
            Some("float") => Value::Float(float(text).or_else(|| integer(text).map(|i| i as f64)).ok_or_else(|| cannot("a number"))?),
            Some("bool") => match resolve(text) {
                value @ Value::Bool(_) => value,
                _ => return Err(cannot("a boolean")),
            },
            Some("null") => Value::Null,
            // A date stays text, with or without the tag.
            Some("timestamp") => text_value(),
            Some(other) => return Err(unsupported(other, &loc)),
            None if tag.is_none() && style == ScalarStyle::Plain => resolve(text),
            None => text_value(),
        };
        Ok(Node { value, loc, tag: own_tag(tag) })
    }
}

/// A tag that is not one of YAML's own, as written.
fn own_tag(tag: Option<&Tag>) -> Option<Box<str>> {
    tag.filter(|t| t.core_suffix().is_none()).map(|t| t.original().into())
}

/// Refuses YAML's own tags on a collection, other than the one that says what it is anyway.
fn only_tag(tag: Option<&Tag>, allowed: &str, loc: &Loc) -> Result<(), Diagnostics> {
    match tag.and_then(Tag::core_suffix) {
        Some(other) if other != allowed => Err(unsupported(other, loc)),
        _ => Ok(()),
    }
}

fn unsupported(tag: &str, loc: &Loc) -> Diagnostics {
    Diagnostic::error(loc, format!("the tag `!!{tag}` is not supported here"))
        .help("supported are !!str, !!int, !!float, !!bool, !!null, !!seq, !!map")
        .into()
}

/// What makes two keys the same one: kind and value.
fn key_id(key: &Node) -> String {
    format!("{:?}", key.value)
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::Seq(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(map) => 1 + map.iter().map(|(k, v)| size(k) + size(v)).sum::<usize>(),
        _ => 1,
    }
}

/// Mistakes everybody makes once.
fn hint(line: &str) -> Option<&'static str> {
    if line.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t') {
        return Some("YAML is indented with spaces: there is a tab at the start of this line");
    }
    let value = line.split_once(": ").map_or("", |(_, v)| v.trim_start());
    let item = line.trim_start().strip_prefix("- ").unwrap_or("");
    if value.starts_with("{{") || item.starts_with("{{") {
        return Some("a value that starts with a template must be in quotes: \"{{ name }}\"");
    }
    let bare = !value.starts_with(['"', '\'']);
    if bare && value.contains(": ") {
        return Some("a value with a colon and a space in it must be in quotes");
    }
    let odd = |quote: char| line.matches(quote).count() % 2 == 1;
    if odd('"') || (odd('\'') && value.starts_with('\'')) {
        return Some("a quote is opened and not closed, or text follows behind the closing quote: put the whole value in quotes");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> serde_json::Value {
        parse_one("t.yml", text).unwrap().to_json()
    }

    #[test]
    fn every_node_knows_its_place() {
        let root = parse_one("t.yml", "a: 1\nb:\n  - x\n  - \"two words\"\n").unwrap();
        let map = root.as_map().unwrap();
        assert_eq!(map.entry("b").unwrap().0.loc.to_string(), "t.yml:2:1");
        let items = map.get("b").unwrap().as_seq().unwrap();
        assert_eq!((items[0].loc.to_string(), items[0].loc.len), ("t.yml:3:5".into(), 1));
        assert_eq!((items[1].loc.to_string(), items[1].loc.len), ("t.yml:4:5".into(), 11));
    }

    #[test]
    fn quotes_tags_and_block_text() {
        assert_eq!(
            json("a: '0644'\nb: !!str 12\nc: !!int '7'\nd: |\n  x\n  y\ne: >-\n  x\n  y\n"),
            serde_json::json!({"a": "0644", "b": "12", "c": 7, "d": "x\ny\n", "e": "x y"})
        );
        let node = parse_one("t.yml", "a: !unsafe '{{ x }}'\nb: !vault |\n  $ANSIBLE\n").unwrap();
        assert!(node.as_map().unwrap().get("a").unwrap().is_unsafe());
        assert_eq!(node.as_map().unwrap().get("b").unwrap().tag.as_deref(), Some("!vault"));
    }

    #[test]
    fn anchors_and_merge_keys() {
        let text = "base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\none: {<<: *b, x: 9}\ntwo:\n  <<: [*b, *m]\n";
        let value = json(text);
        assert_eq!(value["one"], serde_json::json!({"y": 2, "x": 9}));
        assert_eq!(value["two"], serde_json::json!({"x": 1, "y": 2, "z": 4}));
    }

    #[test]
    fn twice_given_keys_are_told() {
        let (documents, warnings) = parse_with_warnings("t.yml", "a: 1\na: 2\n").unwrap();
        assert_eq!(documents[0].to_json(), serde_json::json!({"a": 2}));
        assert_eq!(warnings[0].to_string(), "t.yml:2:1: the key `a` is given twice; this one counts, not the one in line 1");
    }

    #[test]
    fn empty_texts_several_documents_and_byte_order_marks() {
        assert!(parse_one("t.yml", "").unwrap().is_null());
        assert!(parse_one("t.yml", "# nothing\n").unwrap().is_null());
        assert!(parse_one("t.yml", "---\n").unwrap().is_null());
        assert_eq!(parse("t.yml", "a: 1\n---\nb: 2\n").unwrap().len(), 2);
        assert_eq!(json("\u{feff}a: 1\r\nb: 2\r\n"), serde_json::json!({"a": 1, "b": 2}));
    }

    #[test]
    fn usual_mistakes_are_explained() {
        let told = |text: &str| parse_one("t.yml", text).unwrap_err().to_string();
        assert!(told("a: {{ x }}\n").contains("in quotes"), "{}", told("a: {{ x }}\n"));
        assert!(told("a:\n\t- b\n").contains("a tab"), "{}", told("a:\n\t- b\n"));
        assert!(told("a: b: c\n").contains("colon"), "{}", told("a: b: c\n"));
        assert!(told("a: \"x\" y\nb: 1\n").starts_with("t.yml:1:"));
    }

    #[test]
    fn hostile_input_is_bounded() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for i in 1..9 {
            bomb.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(",")));
        }
        assert!(parse("t.yml", &bomb).unwrap_err().to_string().contains("more than 1000000 values"));
        assert!(parse("t.yml", &"[".repeat(5000)).is_err());
        assert!(parse("t.yml", &"- ".repeat(2000)).is_err());
    }
}
