//! Reads a pattern in the syntax of Python's `re`.

use super::escape::literal;
use super::node::{ENDLESS, Flags, Greed, Node, One, Parsed, Place};

/// How deep groups may nest.
const DEPTH: usize = 100;

/// Reads `pattern`; the error says what is wrong at which character.
pub fn parse(pattern: &str, flags: Flags) -> Result<Parsed, String> {
    let mut reader =
        Reader { text: pattern.chars().collect(), at: 0, depth: 0, widths: vec![None], names: vec![], asked: vec![], before: None };
    let flags = reader.global_flags(flags)?;
    let node = reader.choice(flags)?;
    if reader.peek().is_some() {
        return Err(reader.wrong("unbalanced parenthesis"));
    }
    if let Some((group, at)) = reader.asked.iter().find(|(group, _)| *group >= reader.widths.len()) {
        return Err(format!("invalid group reference {group} at position {at}"));
    }
    Ok(Parsed { node, groups: reader.widths.len(), names: reader.names })
}

/// The pattern, and how far it is read.
pub struct Reader {
    pub text: Vec<char>,
    pub at: usize,
    depth: usize,
    /// Each group's least and greatest width in characters; `None` while it is open.
    widths: Vec<Option<(u32, u32)>>,
    names: Vec<(String, usize)>,
    /// Groups that conditions ask for, and where: these may come later.
    asked: Vec<(usize, usize)>,
    /// Within a look-behind: how many groups there were before the outermost.
    before: Option<usize>,
}

impl Reader {
    /// An error here.
    pub fn wrong(&self, what: &str) -> String {
        format!("{what} at position {}", self.at)
    }

    /// The next character.
    pub fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    /// Takes the next character.
    pub fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    /// Takes `text` if it is next.
    pub fn take(&mut self, text: &str) -> bool {
        let found = self.text.get(self.at..).is_some_and(|rest| text.chars().enumerate().all(|(i, c)| rest.get(i) == Some(&c)));
        if found {
            self.at += text.chars().count();
        }
        found
    }

    /// Everything up to `end`, which is taken too.
    fn until(&mut self, end: char, what: &str) -> Result<String, String> {
        let mut out = String::new();
        loop {
            match self.next() {
                Some(c) if c == end => return Ok(out),
                Some(c) => out.push(c),
                None => return Err(self.wrong(&format!("missing {end}, unterminated {what}"))),
            }
        }
    }

    /// `(?i)` and the like at the very start.
    fn global_flags(&mut self, mut flags: Flags) -> Result<Flags, String> {
        loop {
            let start = self.at;
            if flags.verbose {
                self.skip_blank();
            }
            if !(self.take("(?") && self.peek().is_some_and(|c| "aiLmsux".contains(c))) {
                self.at = start;
                return Ok(flags);
            }
            let mut new = flags;
            self.switch(&mut new, true)?;
            if self.next() != Some(')') {
                self.at = start;
                return Ok(flags);
            }
            flags = new;
        }
    }

    /// Letters of flags, to be turned on or off.
    fn switch(&mut self, flags: &mut Flags, on: bool) -> Result<(), String> {
        while let Some(c) = self.peek() {
            match c {
                'i' => flags.ignorecase = on,
                'm' => flags.multiline = on,
                's' => flags.dotall = on,
                'x' => flags.verbose = on,
                'a' if on => flags.ascii = true,
                'u' if on => flags.ascii = false,
                'L' => return Err(self.wrong("flag L, which is not for text,")),
                '-' | ':' | ')' => break,
                _ => return Err(self.wrong(&format!("unknown flag {c}"))),
            }
            self.at += 1;
        }
        Ok(())
    }

    /// In verbose patterns: white space and comments.
    fn skip_blank(&mut self) {
        while let Some(c) = self.peek() {
            if c == '#' {
                while self.next().is_some_and(|c| c != '\n') {}
            } else if c.is_ascii_whitespace() || c == '\x0b' {
                self.at += 1;
            } else {
                return;
            }
        }
    }

    fn choice(&mut self, flags: Flags) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.wrong(&format!("more than {DEPTH} groups within each other")));
        }
        let mut branches = vec![self.sequence(flags)?];
        while self.take("|") {
            branches.push(self.sequence(flags)?);
        }
        self.depth -= 1;
        Ok(if branches.len() == 1 { branches.remove(0) } else { Node::Choice(branches) })
    }

    fn sequence(&mut self, flags: Flags) -> Result<Node, String> {
        let mut parts = vec![];
        loop {
            if flags.verbose {
                self.skip_blank();
            }
            let Some(c) = self.peek().filter(|c| !"|)".contains(*c)) else { break };
            let start = self.at;
            if let Some((min, max)) = self.times()? {
                let node = match parts.pop() {
                    None | Some(Node::Place(_)) => Err("nothing to repeat"),
                    Some(Node::Repeat { .. }) => Err("multiple repeat"),
                    Some(node) => Ok(node),
                };
                let greed = match self.peek() {
                    Some('?') => Greed::Lazy,
                    Some('+') => Greed::Possessive,
                    _ => Greed::Greedy,
                };
                self.at += usize::from(greed != Greed::Greedy);
                let node = node.map_err(|what| format!("{what} at position {start}"))?;
                parts.push(Node::Repeat { node: Box::new(node), min, max, greed });
                continue;
            }
            self.at += 1;
            let one = match c {
                '.' if flags.dotall => One::Any,
                '.' => One::NotNewline,
                '^' => {
                    parts.push(Node::Place(if flags.multiline { Place::LineStart } else { Place::Start }));
                    continue;
                }
                '$' => {
                    parts.push(Node::Place(if flags.multiline { Place::LineEnd } else { Place::LastLineEnd }));
                    continue;
                }
                '(' => {
                    parts.extend(self.group(flags)?);
                    continue;
                }
                '\\' => {
                    parts.push(self.escape(flags)?);
                    continue;
                }
                '[' => self.set(flags)?,
                c => literal(c, flags),
            };
            parts.push(Node::One(one));
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Node::Sequence(parts) })
    }

    /// `*`, `+`, `?`, `{2,3}`: how often at least and at most.
    fn times(&mut self) -> Result<Option<(u32, u32)>, String> {
        let start = self.at;
        let found = match self.next() {
            Some('*') => Some((0, ENDLESS)),
            Some('+') => Some((1, ENDLESS)),
            Some('?') => Some((0, 1)),
            Some('{') => {
                let low = self.number()?;
                let high = if self.take(",") { self.number()?.unwrap_or(ENDLESS) } else { low.unwrap_or(ENDLESS) };
                let given = self.text.get(start + 1) != Some(&'}');
                (given && self.take("}")).then_some((low.unwrap_or(0), high))
            }
            _ => None,
        };
        match found {
            // Braces that are no repetition are text.
            None => self.at = start,
            Some((min, max)) if min > max => return Err(self.wrong("min repeat greater than max repeat")),
            Some(_) => {}
        }
        Ok(found)
    }

    fn number(&mut self) -> Result<Option<u32>, String> {
        let mut digits = String::new();
        while let Some(c) = self.peek().filter(char::is_ascii_digit) {
            digits.push(c);
            self.at += 1;
        }
        match digits.parse() {
            _ if digits.is_empty() => Ok(None),
            Ok(n) if n < ENDLESS => Ok(Some(n)),
            _ => Err(self.wrong("the repetition number is too large")),
        }
    }

    /// Behind `(`; nothing for a comment.
    fn group(&mut self, flags: Flags) -> Result<Option<Node>, String> {
        let start = self.at - 1;
        if !self.take("?") {
            return self.remembered(None, flags, start).map(Some);
        }
        let node = match self.next() {
            Some('P') => match self.next() {
                Some('<') => {
                    let name = self.until('>', "name")?;
                    let valid = name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_numeric());
                    if name.is_empty() || !valid {
                        return Err(self.wrong(&format!("bad character in group name `{name}`")));
                    }
                    return self.remembered(Some(name), flags, start).map(Some);
                }
                Some('=') => {
                    let name = self.until(')', "name")?;
                    return Ok(Some(Node::Same { group: self.named(&name)?, case: flags.case() }));
                }
                _ => return Err(self.wrong("unknown extension ?P")),
            },
            Some(':') => self.choice(flags)?,
            Some('#') => {
                self.until(')', "comment")?;
                return Ok(None);
            }
            Some('>') => Node::Atomic(Box::new(self.choice(flags)?)),
            Some(c @ ('=' | '!')) => Node::Look { node: Box::new(self.choice(flags)?), behind: None, negated: c == '!' },
            Some('<') => {
                let negated = match self.next() {
                    Some('=') => false,
                    Some('!') => true,
                    _ => return Err(self.wrong("unknown extension ?<")),
                };
                let before = self.before;
                self.before = before.or(Some(self.widths.len()));
                let node = self.choice(flags)?;
                self.before = before;
                let (least, most) = self.width(&node);
                if least != most {
                    return Err(format!("look-behind requires fixed-width pattern at position {start}"));
                }
                Node::Look { node: Box::new(node), behind: Some(least), negated }
            }
            Some('(') => {
                let name = self.until(')', "name")?;
                let group = match name.parse::<usize>() {
                    Ok(0) => return Err(self.wrong("bad group number")),
                    Ok(number) if self.before.is_some() => self.closed(number)?,
                    Ok(number) => number,
                    Err(_) => self.named(&name)?,
                };
                self.asked.push((group, self.at));
                let yes = Box::new(self.sequence(flags)?);
                let no = Box::new(if self.take("|") { self.sequence(flags)? } else { Node::Sequence(vec![]) });
                if self.peek() == Some('|') {
                    return Err(self.wrong("conditional backref with more than two branches"));
                }
                Node::If { group, yes, no }
            }
            Some(c) if c == '-' || c.is_ascii_alphabetic() => {
                self.at -= 1;
                let mut inner = flags;
                self.switch(&mut inner, true)?;
                if self.take("-") {
                    self.switch(&mut inner, false)?;
                }
                if self.peek() == Some(')') {
                    return Err(self.wrong("global flags not at the start of the expression"));
                }
                if !self.take(":") {
                    return Err(self.wrong("missing :"));
                }
                self.choice(inner)?
            }
            _ => return Err(self.wrong("unexpected end of pattern, or unknown extension")),
        };
        self.close(start)?;
        // A sequence of its own, so that what is inside is never taken for a part of what is outside.
        Ok(Some(Node::Sequence(vec![node])))
    }

    fn close(&mut self, start: usize) -> Result<(), String> {
        if self.take(")") { Ok(()) } else { Err(format!("missing ), unterminated subpattern at position {start}")) }
    }

    fn remembered(&mut self, name: Option<String>, flags: Flags, start: usize) -> Result<Node, String> {
        let number = self.widths.len();
        self.widths.push(None);
        if let Some(name) = name {
            if self.names.iter().any(|(n, _)| *n == name) {
                return Err(self.wrong(&format!("redefinition of group name `{name}`")));
            }
            self.names.push((name, number));
        }
        let node = self.choice(flags)?;
        self.close(start)?;
        let width = self.width(&node);
        if let Some(slot) = self.widths.get_mut(number) {
            *slot = Some(width);
        }
        Ok(Node::Group(number, Box::new(node)))
    }

    fn named(&self, name: &str) -> Result<usize, String> {
        let found = self.names.iter().find(|(n, _)| n == name).map(|(_, number)| *number);
        self.closed(found.ok_or_else(|| self.wrong(&format!("unknown group name `{name}`")))?)
    }

    /// A group that can be referred to here.
    pub fn closed(&self, group: usize) -> Result<usize, String> {
        match self.widths.get(group) {
            Some(Some(_)) if self.before.is_some_and(|before| group >= before) => {
                Err(self.wrong("cannot refer to group defined in the same lookbehind subpattern"))
            }
            Some(Some(_)) => Ok(group),
            Some(None) if group > 0 => Err(self.wrong("cannot refer to an open group")),
            _ => Err(self.wrong(&format!("invalid group reference {group}"))),
        }
    }

    /// The fewest and the most characters `node` can match.
    fn width(&self, node: &Node) -> (u32, u32) {
        match node {
            Node::One(_) => (1, 1),
            Node::Place(_) | Node::Look { .. } => (0, 0),
            Node::Sequence(parts) => {
                parts.iter().map(|p| self.width(p)).fold((0, 0), |(a, b), (c, d)| (a.saturating_add(c), b.saturating_add(d)))
            }
            Node::Choice(branches) => {
                branches.iter().map(|b| self.width(b)).fold((u32::MAX, 0), |(least, most), (a, b)| (least.min(a), most.max(b)))
            }
            Node::Group(_, node) | Node::Atomic(node) => self.width(node),
            Node::Same { group, .. } => self.widths.get(*group).copied().flatten().unwrap_or((0, u32::MAX)),
            Node::Repeat { node, min, max, .. } => {
                let (least, most) = self.width(node);
                (least.saturating_mul(*min), most.saturating_mul(*max))
            }
            Node::If { yes, no, .. } => {
                let ((a, b), (c, d)) = (self.width(yes), self.width(no));
                (a.min(c), b.max(d))
            }
        }
    }
}
