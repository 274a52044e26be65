//! What a pattern consists of.

use super::class::{Case, Set};

/// A repetition without upper limit.
pub const ENDLESS: u32 = u32::MAX;

/// What is in force at some place of a pattern.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    pub ignorecase: bool,
    pub multiline: bool,
    pub dotall: bool,
    pub verbose: bool,
    pub ascii: bool,
}

impl Flags {
    /// Whether case makes a difference.
    pub fn case(self) -> Case {
        match self {
            Self { ignorecase: false, .. } => Case::Exact,
            Self { ascii: true, .. } => Case::Ascii,
            _ => Case::Any,
        }
    }
}

/// One character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum One {
    /// This one.
    Char(char),
    /// One that folds to this.
    Folded(Case, char),
    /// Any.
    Any,
    /// Any but a line break.
    NotNewline,
    /// One of a set.
    Set(Set),
}

/// A place between characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `\A`, `^`.
    Start,
    /// `^` with `m`.
    LineStart,
    /// `\Z`.
    End,
    /// `$`: at the end, or before a line break there.
    LastLineEnd,
    /// `$` with `m`.
    LineEnd,
    /// `\b`, or `\B` where negated.
    Word { negated: bool, ascii: bool },
}

/// How often to try first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greed {
    /// As often as possible.
    Greedy,
    /// As seldom as possible: `?` behind it.
    Lazy,
    /// As often as possible, and never less later: `+` behind it.
    Possessive,
}

/// A pattern's parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    One(One),
    Place(Place),
    /// Parts one after another.
    Sequence(Vec<Node>),
    /// One of these, the first that leads to a match.
    Choice(Vec<Node>),
    /// A group that is remembered, by number.
    Group(usize, Box<Node>),
    /// The text group number … matched.
    Same {
        group: usize,
        case: Case,
    },
    /// `min` to `max` times.
    Repeat {
        node: Box<Node>,
        min: u32,
        max: u32,
        greed: Greed,
    },
    /// `(?>…)`: once matched, never tried otherwise.
    Atomic(Box<Node>),
    /// What follows, or with a width what is before, matches (or does not).
    Look {
        node: Box<Node>,
        behind: Option<u32>,
        negated: bool,
    },
    /// The first if the group matched, otherwise the second.
    If {
        group: usize,
        yes: Box<Node>,
        no: Box<Node>,
    },
}

/// A pattern that was read.
#[derive(Debug)]
pub struct Parsed {
    pub node: Node,
    /// How many groups there are, the whole match included.
    pub groups: usize,
    /// Groups with a name.
    pub names: Vec<(String, usize)>,
}
