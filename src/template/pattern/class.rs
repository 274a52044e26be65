//! Which characters a pattern means: classes, sets, and equality that ignores case.

/// One of `\d`, `\s`, `\w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Decimal digits.
    Digit,
    /// White space.
    Space,
    /// Letters, digits, the underscore.
    Word,
}

/// A class as written: `\D` is negated; under `(?a)` only ASCII counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    pub kind: Kind,
    pub negated: bool,
    pub ascii: bool,
}

/// The zeros of every script that has decimal digits: nine more follow each. From Unicode 14's list of decimal
/// digits (general category Nd), which is what Python 3.11 has.
const ZEROS: &[u32] = &[
    0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0, 0xf20, 0x1040, 0x1090,
    0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0,
    0xff10, 0x104a0, 0x10d30, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x11730, 0x118e0, 0x11950,
    0x11c50, 0x11d50, 0x11da0, 0x16a60, 0x16ac0, 0x16b50, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e950, 0x1fbf0,
];

impl Class {
    /// Whether `c` is in it.
    pub fn has(self, c: char) -> bool {
        let inside = match self.kind {
            _ if self.ascii && !c.is_ascii() => false,
            Kind::Digit => ZEROS.iter().any(|zero| (*zero..zero + 10).contains(&u32::from(c))),
            // Python counts the separators of files, groups, records and units, Unicode does not.
            Kind::Space => c.is_whitespace() || (!self.ascii && ('\x1c'..='\x1f').contains(&c)),
            Kind::Word => c.is_alphanumeric() || c == '_',
        };
        inside != self.negated
    }
}

/// A part of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// From one character to another, both included.
    Range(char, char),
    /// A class.
    Class(Class),
}

/// Whether case makes a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Case {
    /// It does.
    #[default]
    Exact,
    /// Not for ASCII's letters.
    Ascii,
    /// It does not.
    Any,
}

impl Case {
    /// Equal for characters that are taken as equal: with `Any` for `K` and the Kelvin sign, for `σ` and `ς`.
    pub fn fold(self, c: char) -> char {
        match self {
            Self::Exact => c,
            Self::Ascii => c.to_ascii_lowercase(),
            Self::Any => lower(upper(c)),
        }
    }
}

/// `[…]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    pub items: Vec<Item>,
    pub negated: bool,
    pub case: Case,
}

impl Set {
    /// Whether `c` is in it.
    pub fn has(&self, c: char) -> bool {
        let inside = |c: char| {
            self.items.iter().any(|item| match item {
                Item::Range(first, last) => (*first..=*last).contains(&c),
                Item::Class(class) => class.has(c),
            })
        };
        let hit = match self.case {
            Case::Exact => inside(c),
            Case::Ascii => inside(c) || inside(c.to_ascii_lowercase()) || inside(c.to_ascii_uppercase()),
            Case::Any => inside(c) || inside(lower(c)) || inside(upper(c)) || inside(Case::Any.fold(c)),
        };
        hit != self.negated
    }
}

fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// The upper-case character, where it is one (`ß` is none).
fn upper(c: char) -> char {
    let mut all = c.to_uppercase();
    match (all.next(), all.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}
