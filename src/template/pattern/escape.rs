//! Reads what stands behind a backslash or a bracket.

use super::class::{Case, Class, Item, Kind, Set};
use super::node::{Flags, Node, One, Place};
use super::parse::Reader;

impl Reader {
    /// Behind a backslash outside a set.
    pub fn escape(&mut self, flags: Flags) -> Result<Node, String> {
        let word = |negated| Node::Place(Place::Word { negated, ascii: flags.ascii });
        let node = match self.peek() {
            Some('A') => Node::Place(Place::Start),
            Some('Z' | 'z') => Node::Place(Place::End),
            Some('b') => word(false),
            Some('B') => word(true),
            Some('1'..='9') => {
                let digits: String = self.text.iter().skip(self.at).take(3).take_while(|c| c.is_ascii_digit()).collect();
                // Three octal digits are a character.
                if digits.len() == 3 && digits.chars().all(|c| c < '8') {
                    return Ok(Node::One(literal(self.character()?, flags)));
                }
                let number: String = digits.chars().take(2).collect();
                self.at += number.len();
                let group = number.parse().unwrap_or(usize::MAX);
                return Ok(Node::Same { group: self.closed(group)?, case: flags.case() });
            }
            Some(c) => {
                if let Some(class) = class(c, flags) {
                    self.at += 1;
                    let set = Set { items: vec![Item::Class(class)], ..Set::default() };
                    return Ok(Node::One(One::Set(set)));
                }
                return Ok(Node::One(literal(self.character()?, flags)));
            }
            None => return Err(self.wrong("bad escape (end of pattern)")),
        };
        self.at += 1;
        Ok(node)
    }

    /// Behind a backslash: one that means a character.
    fn character(&mut self) -> Result<char, String> {
        let c = self.next().ok_or_else(|| self.wrong("bad escape (end of pattern)"))?;
        Ok(match c {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'f' => '\x0c',
            'v' => '\x0b',
            'a' => '\x07',
            'x' => self.hexadecimal(2)?,
            'u' => self.hexadecimal(4)?,
            'U' => self.hexadecimal(8)?,
            '0'..='9' => {
                self.at -= 1;
                let digits: String = self.text.iter().skip(self.at).take(3).take_while(|c| ('0'..='7').contains(*c)).collect();
                let code = u32::from_str_radix(&digits, 8).ok().filter(|code| *code <= 0o377);
                self.at += digits.len();
                code.and_then(char::from_u32).ok_or_else(|| self.wrong("bad octal escape"))?
            }
            c if c.is_ascii_alphabetic() => return Err(self.wrong(&format!("bad escape \\{c}"))),
            c => c,
        })
    }

    fn hexadecimal(&mut self, length: usize) -> Result<char, String> {
        let digits: String = self.text.iter().skip(self.at).take(length).take_while(|c| c.is_ascii_hexdigit()).collect();
        self.at += digits.len();
        let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == length);
        code.and_then(char::from_u32).ok_or_else(|| self.wrong("incomplete escape"))
    }

    /// Behind `[`.
    pub fn set(&mut self, flags: Flags) -> Result<One, String> {
        let start = self.at - 1;
        let mut set = Set { negated: self.take("^"), case: flags.case(), items: vec![] };
        let first = self.at;
        let open = || format!("unterminated character set at position {start}");
        loop {
            let c = self.next().ok_or_else(open)?;
            if c == ']' && self.at > first + 1 {
                return Ok(One::Set(set));
            }
            let low = self.member(c, flags)?;
            // A hyphen before the end is one.
            if self.peek() != Some('-') || self.text.get(self.at + 1) == Some(&']') {
                set.items.push(low);
                continue;
            }
            self.at += 1;
            let c = self.next().ok_or_else(open)?;
            match (low, self.member(c, flags)?) {
                (Item::Range(low, _), Item::Range(high, _)) if low <= high => set.items.push(Item::Range(low, high)),
                _ => return Err(self.wrong("bad character range")),
            }
        }
    }

    fn member(&mut self, c: char, flags: Flags) -> Result<Item, String> {
        if c != '\\' {
            return Ok(Item::Range(c, c));
        }
        if let Some(class) = self.peek().and_then(|c| class(c, flags)) {
            self.at += 1;
            return Ok(Item::Class(class));
        }
        let c = if self.take("b") { '\x08' } else { self.character()? };
        Ok(Item::Range(c, c))
    }
}

/// A character that means itself.
pub fn literal(c: char, flags: Flags) -> One {
    match flags.case() {
        Case::Exact => One::Char(c),
        case => One::Folded(case, case.fold(c)),
    }
}

fn class(c: char, flags: Flags) -> Option<Class> {
    let kind = match c.to_ascii_lowercase() {
        'd' => Kind::Digit,
        's' => Kind::Space,
        'w' => Kind::Word,
        _ => return None,
    };
    Some(Class { kind, negated: c.is_ascii_uppercase(), ascii: flags.ascii })
}
