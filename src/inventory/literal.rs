//! Python literals: values in INI inventories are read as Python reads them, and are text otherwise.

use crate::diag::Loc;
use crate::yaml::{Mapping, Node, Value};

/// Deepest nesting of lists and mappings in one value.
const DEPTH_LIMIT: usize = 64;

/// `text` as Python's `ast.literal_eval` reads it: numbers, `True`, `False`, `None`, quoted text, lists, tuples, sets,
/// mappings; what is none of these is text as it stands. (Whole numbers beyond 64 bits and complex ones stay text.)
pub fn value(text: &str, loc: &Loc) -> Node {
    let mut reader = Reader { rest: text.trim_start_matches([' ', '\t']), loc };
    let read = reader.top().filter(|_| reader.at_end());
    Node::new(read.unwrap_or_else(|| Value::Str(text.to_owned())), loc.clone())
}

struct Reader<'a> {
    rest: &'a str,
    loc: &'a Loc,
}

impl Reader<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Whether nothing but a comment is left.
    fn at_end(&mut self) -> bool {
        self.space();
        self.rest.is_empty() || self.rest.starts_with('#')
    }

    fn eat(&mut self, text: &str) -> bool {
        self.space();
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// One value, or several with commas between them: a tuple, which becomes a list.
    fn top(&mut self) -> Option<Value> {
        let first = self.item(0)?;
        if !self.eat(",") {
            return Some(first);
        }
        let mut items = vec![self.node(first)];
        while !self.at_end() {
            let item = self.item(0)?;
            items.push(self.node(item));
            if !self.eat(",") {
                break;
            }
        }
        Some(Value::Seq(items))
    }

    fn node(&self, value: Value) -> Node {
        Node::new(value, self.loc.clone())
    }

    fn item(&mut self, depth: usize) -> Option<Value> {
        self.space();
        if depth > DEPTH_LIMIT {
            return None;
        }
        match self.rest.chars().next()? {
            '[' => {
                self.eat("[");
                self.items("]", depth).map(|(items, _)| Value::Seq(items))
            }
            '(' => {
                self.eat("(");
                let (mut items, comma) = self.items(")", depth)?;
                // Brackets around one value without a comma are just brackets.
                if items.len() == 1 && !comma { items.pop().map(|n| n.value) } else { Some(Value::Seq(items)) }
            }
            '{' => {
                self.eat("{");
                self.braces(depth)
            }
            '\'' | '"' => self.texts(),
            '+' | '-' | '.' | '0'..='9' => self.number(),
            _ => self.word(),
        }
    }

    /// Items up to `close`, and whether the last one was followed by a comma.
    fn items(&mut self, close: &str, depth: usize) -> Option<(Vec<Node>, bool)> {
        let mut items = vec![];
        let mut comma = false;
        while !self.eat(close) {
            if !items.is_empty() && !comma {
                return None;
            }
            let item = self.item(depth + 1)?;
            items.push(self.node(item));
            comma = self.eat(",");
        }
        Some((items, comma))
    }

    fn braces(&mut self, depth: usize) -> Option<Value> {
        if self.eat("}") {
            return Some(Value::Map(Mapping::default()));
        }
        let first = self.item(depth + 1)?;
        if !self.eat(":") {
            let mut items = vec![self.node(first)];
            if self.eat(",") {
                items.extend(self.items("}", depth)?.0);
            } else if !self.eat("}") {
                return None;
            }
            return Some(Value::Seq(items));
        }
        let mut entries: Vec<(Node, Node)> = vec![];
        let mut key = first;
        loop {
            if matches!(key, Value::Seq(_) | Value::Map(_)) {
                return None;
            }
            let item = self.item(depth + 1)?;
            let (key_node, item) = (self.node(key), self.node(item));
            match entries.iter_mut().find(|(k, _)| k.value == key_node.value) {
                Some(entry) => entry.1 = item,
                None => entries.push((key_node, item)),
            }
            let comma = self.eat(",");
            if self.eat("}") {
                return Some(Value::Map(Mapping(entries)));
            }
            if !comma {
                return None;
            }
            key = self.item(depth + 1)?;
            if !self.eat(":") {
                return None;
            }
        }
    }

    /// Quoted texts; several in a row are one.
    fn texts(&mut self) -> Option<Value> {
        let mut text = String::new();
        loop {
            let quote = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
            let triple: String = std::iter::repeat_n(quote, 3).collect();
            let close = if self.rest.starts_with(&triple) { triple } else { quote.to_string() };
            self.rest = self.rest.strip_prefix(close.as_str())?;
            loop {
                if let Some(rest) = self.rest.strip_prefix(close.as_str()) {
                    self.rest = rest;
                    break;
                }
                let c = self.rest.chars().next()?;
                self.rest = self.rest.get(c.len_utf8()..)?;
                if c == '\\' { self.escape(&mut text)? } else { text.push(c) }
            }
            self.space();
            if !self.rest.starts_with(['\'', '"']) {
                return Some(Value::Str(text));
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self, out: &mut String) -> Option<()> {
        let c = self.rest.chars().next()?;
        self.rest = self.rest.get(c.len_utf8()..)?;
        let code = |reader: &mut Self, digits: usize| {
            let number = u32::from_str_radix(reader.rest.get(..digits)?, 16).ok()?;
            reader.rest = reader.rest.get(digits..)?;
            char::from_u32(number)
        };
        match c {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'a' => out.push('\u{7}'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'v' => out.push('\u{b}'),
            '\\' | '\'' | '"' => out.push(c),
            'x' => out.push(code(self, 2)?),
            'u' => out.push(code(self, 4)?),
            'U' => out.push(code(self, 8)?),
            '0'..='7' => {
                let mut number = c.to_digit(8)?;
                for _ in 0..2 {
                    let Some(digit) = self.rest.chars().next().and_then(|c| c.to_digit(8)) else { break };
                    number = number * 8 + digit;
                    self.rest = self.rest.get(1..)?;
                }
                out.push(char::from_u32(number)?);
            }
            // Python leaves a backslash before anything else as it is.
            c => {
                out.push('\\');
                out.push(c);
            }
        }
        Some(())
    }

    fn word(&mut self) -> Option<Value> {
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        let value = match word {
            "True" => Value::Bool(true),
            "False" => Value::Bool(false),
            "None" => Value::Null,
            _ => return None,
        };
        self.rest = rest;
        Some(value)
    }

    fn number(&mut self) -> Option<Value> {
        let signs = self.rest.find(|c| !matches!(c, '+' | '-' | ' ')).unwrap_or(self.rest.len());
        let (sign, rest) = self.rest.split_at(signs);
        // Python's literal_eval takes one sign, no more.
        if sign.chars().filter(|c| *c != ' ').count() > 1 {
            return None;
        }
        let negative = sign.contains('-');
        let mut end = 0;
        let mut before = ' ';
        for (at, c) in rest.char_indices() {
            let exponent_sign = matches!(c, '+' | '-') && matches!(before, 'e' | 'E') && !rest.starts_with("0x") && !rest.starts_with("0X");
            if !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_') || exponent_sign) {
                break;
            }
            before = c;
            end = at + c.len_utf8();
        }
        let (digits, rest) = rest.split_at(end);
        let value = unsigned(digits)?;
        self.rest = rest;
        Some(match value {
            Value::Int(n) if negative => Value::Int(n.checked_neg()?),
            Value::Float(x) if negative => Value::Float(-x),
            other => other,
        })
    }
}

/// A number without sign, by Python's rules: `0644` is none, `1_000`, `0x1f`, `1e3` are.
fn unsigned(text: &str) -> Option<Value> {
    // Underscores stand between digits only.
    if text.starts_with('_') || text.ends_with('_') || text.contains("__") || text.contains("_.") || text.contains("._") {
        return None;
    }
    let clean = text.replace('_', "");
    let lower = clean.to_ascii_lowercase();
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = lower.strip_prefix(prefix) {
            return if digits.starts_with('+') { None } else { i64::from_str_radix(digits, radix).ok().map(Value::Int) };
        }
    }
    if clean.bytes().all(|b| b.is_ascii_digit()) {
        let leading_zero = clean.len() > 1 && clean.starts_with('0') && clean.bytes().any(|b| b != b'0');
        return if leading_zero { None } else { clean.parse().ok().map(Value::Int) };
    }
    let starts_right =
        clean.starts_with(|c: char| c.is_ascii_digit()) || clean.strip_prefix('.')?.starts_with(|c: char| c.is_ascii_digit());
    let letters_right = lower.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | '+' | '-'));
    if starts_right && letters_right { lower.parse().ok().map(Value::Float) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_as_python_does() {
        // The right-hand sides are what an INI inventory gives in Ansible.
        for (text, wanted) in [
            ("5", json!(5)),
            ("-5", json!(-5)),
            ("0", json!(0)),
            ("00", json!(0)),
            ("0644", json!("0644")),
            ("0o644", json!(420)),
            ("0x1F", json!(31)),
            ("1_000", json!(1000)),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000.0)),
            (".5", json!(0.5)),
            ("5.", json!(5.0)),
            ("True", json!(true)),
            ("False", json!(false)),
            ("None", json!(null)),
            ("true", json!("true")),
            ("yes", json!("yes")),
            ("10.0.0.1", json!("10.0.0.1")),
            ("2026-11-23", json!("2026-11-23")),
            ("1-2", json!("1-2")),
            ("'a b'", json!("a b")),
            ("\"a\\tb\"", json!("a\tb")),
            ("'a' 'b'", json!("ab")),
            ("'a' b", json!("'a' b")),
            ("[1, 'x', [True]]", json!([1, "x", [true]])),
            ("[1, x]", json!("[1, x]")),
            ("[1 2]", json!("[1 2]")),
            ("{'a': 1, 'b': [2]}", json!({"a": 1, "b": [2]})),
            ("{'a'}", json!(["a"])),
            ("{}", json!({})),
            ("()", json!([])),
            ("(1)", json!(1)),
            ("(1,)", json!([1])),
            ("1,2", json!([1, 2])),
            ("1,", json!([1])),
            ("5 # five", json!(5)),
            ("x # y", json!("x # y")),
            ("", json!("")),
            ("99999999999999999999", json!("99999999999999999999")),
            ("{{ x }}", json!("{{ x }}")),
            ("--5", json!("--5")),
            ("1__0", json!("1__0")),
        ] {
            assert_eq!(value(text, &Loc::outside("t")).to_json(), wanted, "{text}");
        }
    }

    #[test]
    fn hostile_values_stay_text() {
        for text in ["[".repeat(100_000), "(".repeat(1000), "'".into(), "'\\x".into(), "{1:".into(), "-".into(), "'\\u12é'".into()] {
            assert_eq!(value(&text, &Loc::outside("t")).as_str(), Some(text.as_str()));
        }
    }
}
