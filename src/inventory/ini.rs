//! INI inventories.

use super::data::Data;
use super::{literal, names, words};
use crate::diag::{Diagnostic, Diagnostics, Loc};
use crate::yaml::{Node, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// What the lines of a section are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hosts,
    Children,
    Vars,
    /// The section's head is wrong, which is told; its lines can't be judged.
    Unknown,
}

/// Reads an INI inventory into `data`. `file` names it in messages.
pub fn read(file: &str, text: &str, data: &mut Data) -> Result<(), Diagnostics> {
    let mut reader = Reader {
        file: file.into(),
        data,
        errors: Diagnostics::default(),
        declared: HashMap::new(),
        wanted: vec![],
        group: "ungrouped".into(),
        kind: Kind::Hosts,
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in text.lines().enumerate() {
        let skipped = line.chars().take_while(|c| c.is_whitespace()).count();
        let content = line.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        let place = Place { line: u32::try_from(number + 1).unwrap_or(u32::MAX), skipped };
        if let Err(e) = reader.line(content, place) {
            reader.errors.push(e);
        }
    }
    reader.finish();
    if reader.errors.has_errors() { Err(reader.errors) } else { Ok(()) }
}

/// A line, and how much white space its content comes after.
#[derive(Clone, Copy)]
struct Place {
    line: u32,
    skipped: usize,
}

struct Reader<'d> {
    file: Arc<str>,
    data: &'d mut Data,
    errors: Diagnostics,
    /// Groups that have a `[group]` or `[group:children]` section in this file.
    declared: HashMap<String, ()>,
    /// Groups named in `[x:vars]` or below `[x:children]`: they must be declared somewhere.
    wanted: Vec<(String, Loc, Kind)>,
    group: String,
    kind: Kind,
}

impl Reader<'_> {
    /// The place of `len` characters that start `at` characters into the content.
    fn loc(&self, place: Place, at: usize, len: usize) -> Loc {
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Loc { file: self.file.clone(), line: place.line, column: small(place.skipped + at + 1), len: small(len) }
    }

    fn line(&mut self, content: &str, place: Place) -> Result<(), Diagnostic> {
        if content.starts_with('[') && self.is_section(content) {
            return self.section(content, place);
        }
        match self.kind {
            Kind::Hosts => self.host(content, place),
            Kind::Vars => self.variable(content, place),
            Kind::Children => self.child(content, place),
            Kind::Unknown => Ok(()),
        }
    }

    /// `[2001:db8::1]:22` is a host; everything else that starts with a bracket is meant to be a section.
    fn is_section(&self, content: &str) -> bool {
        let first = content.split_whitespace().next().unwrap_or(content);
        !(self.kind == Kind::Hosts && names::expand(first).is_ok_and(|(n, _)| n.iter().all(|n| n.parse::<std::net::Ipv6Addr>().is_ok())))
    }

    fn section(&mut self, content: &str, place: Place) -> Result<(), Diagnostic> {
        let count = content.chars().count();
        self.kind = Kind::Unknown;
        let Some((inside, behind)) = content.get(1..).and_then(|rest| rest.split_once(']')) else {
            return Err(Diagnostic::error(&self.loc(place, 0, count), "this section's bracket is not closed").label("`]` is missing"));
        };
        let behind = behind.trim_start();
        if !behind.is_empty() && !behind.starts_with('#') {
            let at = count - behind.chars().count();
            return Err(Diagnostic::error(
                &self.loc(place, at, behind.chars().count()),
                "nothing but a comment may follow a section's name",
            ));
        }
        let (name, kind) = match inside.split_once(':') {
            None => (inside, "hosts"),
            Some((name, kind)) => (name, kind),
        };
        if name.is_empty() || name.contains(char::is_whitespace) {
            let loc = self.loc(place, 1, inside.chars().count());
            return Err(Diagnostic::error(&loc, format!("`{inside}` is not a group's name: it is empty or has a space in it")));
        }
        self.group = name.to_owned();
        self.kind = match kind {
            "hosts" => Kind::Hosts,
            "children" => Kind::Children,
            "vars" => Kind::Vars,
            other => {
                let loc = self.loc(place, 2 + name.chars().count(), other.chars().count());
                return Err(Diagnostic::error(&loc, format!("`{other}` is no kind of section"))
                    .nearest(other, ["hosts", "children", "vars"])
                    .help(format!("[{name}] lists hosts, [{name}:children] groups, [{name}:vars] variables")));
            }
        };
        if self.kind == Kind::Vars {
            self.wanted.push((name.to_owned(), self.loc(place, 1, name.chars().count()), Kind::Vars));
        } else {
            self.declared.insert(name.to_owned(), ());
        }
        if self.kind != Kind::Vars || self.data.groups.contains_key(name) {
            self.data.group(name);
        }
        Ok(())
    }

    fn host(&mut self, content: &str, place: Place) -> Result<(), Diagnostic> {
        let (words, cut) = words::split(content).map_err(|e| Diagnostic::error(&self.loc(place, e.at, 1), e.message))?;
        let Some((first, rest)) = words.split_first() else { return Ok(()) };
        let loc = self.loc(place, first.start, first.len);
        if first.text == "---" {
            return Err(Diagnostic::error(&loc, "`---` starts a YAML file, but this one is read as INI")
                .help("give the file the ending .yml, or take the line out"));
        }
        if first.text.contains('=') {
            return Err(Diagnostic::error(&loc, format!("a host's name is expected here, not `{}`", first.text))
                .help(format!("variables of a group stand below [{}:vars]", self.group)));
        }
        let (hosts, port) = names::expand(&first.text).map_err(|e| Diagnostic::error(&loc, e))?;
        let mut vars: Vec<(String, Node)> = vec![];
        if let Some(port) = port {
            vars.push(("ansible_port".into(), Node::new(Value::Int(port.into()), loc.clone())));
        }
        for word in rest {
            let place_of_word = self.loc(place, word.start, word.len);
            let Some((name, value)) = word.text.split_once('=') else {
                return Err(Diagnostic::error(&place_of_word, format!("`name=value` is expected here, not `{}`", word.text))
                    .help("one line a host; a value with spaces in it is quoted: name='a b'"));
            };
            if name.is_empty() {
                return Err(Diagnostic::error(&place_of_word, "a variable's name is missing in front of `=`"));
            }
            vars.push((name.to_owned(), literal::value(value, &place_of_word)));
        }
        if let Some(at) = cut {
            let message = "`#` starts a comment even inside a word: what follows is not part of the value";
            self.data.warnings.push(Diagnostic::warning(&self.loc(place, at, 1), message).help("put the value in quotes to keep the `#`"));
        }
        for host in &hosts {
            let group = self.group.clone();
            self.data.join(&group, host, &loc);
            for (name, value) in &vars {
                self.data.set_host(host, name, value.clone(), &loc);
            }
        }
        Ok(())
    }

    fn variable(&mut self, content: &str, place: Place) -> Result<(), Diagnostic> {
        let Some((name, value)) = content.split_once('=') else {
            let loc = self.loc(place, 0, content.chars().count());
            return Err(Diagnostic::error(&loc, format!("`name=value` is expected in [{}:vars], not `{content}`", self.group)));
        };
        let at = name.chars().count() + 1 + value.chars().take_while(|c| c.is_whitespace()).count();
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() {
            return Err(Diagnostic::error(&self.loc(place, 0, 1), "a variable's name is missing in front of `=`"));
        }
        let loc = self.loc(place, at, value.chars().count());
        let group = self.group.clone();
        self.data.set_group(&group, name, literal::value(value, &loc))
    }

    fn child(&mut self, content: &str, place: Place) -> Result<(), Diagnostic> {
        let name = content.split('#').next().unwrap_or(content).trim_end();
        let loc = self.loc(place, 0, name.chars().count());
        if name.contains(|c: char| c.is_whitespace() || matches!(c, ':' | ']' | '=')) {
            return Err(Diagnostic::error(&loc, format!("one group's name is expected in [{}:children], not `{name}`", self.group)));
        }
        self.wanted.push((name.to_owned(), loc.clone(), Kind::Children));
        let parent = self.group.clone();
        self.data.nest(&parent, name, &loc)
    }

    /// Groups that are referred to must be declared, here or in an earlier source.
    fn finish(&mut self) {
        let known: Vec<String> = self.declared.keys().cloned().chain(["all".into(), "ungrouped".into()]).collect();
        for (name, loc, kind) in std::mem::take(&mut self.wanted) {
            let filled = |g: &super::data::Group| !g.hosts.is_empty() || !g.children.is_empty();
            if known.contains(&name) || self.data.groups.get(&name).is_some_and(filled) {
                continue;
            }
            let what = match kind {
                Kind::Vars => format!("the group `{name}` gets variables here and is not defined"),
                _ => format!("the group `{name}` is named as a child and is not defined"),
            };
            let mut sorted: Vec<&str> = known.iter().map(String::as_str).filter(|k| *k != name).collect();
            sorted.sort_unstable();
            self.errors.push(Diagnostic::error(&loc, what).nearest(&name, sorted).help(format!("a section [{name}] defines it")));
        }
    }
}
