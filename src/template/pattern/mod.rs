//! Regular expressions as Python's `re` has them: its syntax, its classes, its way of trying, its look-around.
//!
//! Playbooks are written for that engine, and the agent has to stay small: the general engines are four times as long,
//! and none of them agrees with Python on `$`, `\Z`, empty matches and group names. Not built in: `\N{…}`, and letters
//! that differ in more than one character when their case changes.

mod class;
mod compile;
mod escape;
mod node;
mod parse;
mod run;
#[cfg(test)]
mod tests;

pub use node::Flags;
pub use run::TooCostly;

use compile::{Program, Step};
use node::{ENDLESS, One, Place};
use run::{NOWHERE, Run};
use std::ops::Range;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    program: Program,
    groups: usize,
    names: Vec<(String, usize)>,
}

/// What a pattern matched.
#[derive(Clone, Debug)]
pub struct Found<'p, 't> {
    pattern: &'p Pattern,
    text: &'t str,
    slots: Vec<usize>,
}

impl Pattern {
    /// Compiles `pattern`; the error says what is wrong at which character, in Python's words where it has any.
    pub fn new(pattern: &str, flags: Flags) -> Result<Self, String> {
        let parsed = parse::parse(pattern, flags)?;
        Ok(Self { program: compile::compile(&parsed), groups: parsed.groups, names: parsed.names })
    }

    /// The first match in `text`.
    pub fn search<'p, 't>(&'p self, text: &'t str) -> Result<Option<Found<'p, 't>>, TooCostly> {
        self.search_from(text, 0)
    }

    /// The first match that begins at byte `start` or behind it. What is before is still there for `^` and look-behind.
    pub fn search_from<'p, 't>(&'p self, text: &'t str, start: usize) -> Result<Option<Found<'p, 't>>, TooCostly> {
        self.from(&mut Run::new(&self.program, text), start, false)
    }

    /// A match at the very start of `text`.
    pub fn match_start<'p, 't>(&'p self, text: &'t str) -> Result<Option<Found<'p, 't>>, TooCostly> {
        Ok(Run::new(&self.program, text).match_at(0, false)?.map(|slots| Found { pattern: self, text, slots }))
    }

    /// Whether anything in `text` matches.
    pub fn is_match(&self, text: &str) -> Result<bool, TooCostly> {
        Ok(self.search(text)?.is_some())
    }

    /// All matches, from left to right, none overlapping another. An empty one may follow a match, but not another empty one
    /// at the same place.
    pub fn find_all<'p, 't>(&'p self, text: &'t str) -> Result<Vec<Found<'p, 't>>, TooCostly> {
        let mut run = Run::new(&self.program, text);
        let (mut all, mut at, mut some) = (vec![], 0, false);
        while let Some(found) = self.from(&mut run, at, some)? {
            let range = found.range(0).unwrap_or(at..at);
            (at, some) = (range.end, range.is_empty());
            all.push(found);
        }
        Ok(all)
    }

    /// `text` with its first `count` matches (0: all) replaced by what `with` makes of them, and how many those were.
    pub fn replace(&self, text: &str, count: usize, with: impl Fn(&Found<'_, '_>) -> String) -> Result<(String, usize), TooCostly> {
        let mut all = self.find_all(text)?;
        if count > 0 {
            all.truncate(count);
        }
        let (mut out, mut at) = (String::new(), 0);
        for found in &all {
            let range = found.range(0).unwrap_or(at..at);
            out.push_str(text.get(at..range.start).unwrap_or_default());
            out.push_str(&with(found));
            at = range.end;
        }
        out.push_str(text.get(at..).unwrap_or_default());
        Ok((out, all.len()))
    }

    /// The first match that begins at `start` or later; at `start` itself it must not be empty if `some`.
    fn from<'p, 't>(&'p self, run: &mut Run<'p, 't>, start: usize, some: bool) -> Result<Option<Found<'p, 't>>, TooCostly> {
        let (text, mut at) = (run.text, start);
        while let Some(rest) = text.get(at..) {
            // What every match begins with lets most places be passed over. The first step keeps the match's start.
            match self.program.steps.get(1) {
                Some(Step::One(One::Char(first))) => match rest.find(*first) {
                    Some(skip) => at += skip,
                    None => return Ok(None),
                },
                Some(Step::Place(Place::Start)) if at > 0 => return Ok(None),
                _ => {}
            }
            if let Some(slots) = run.match_at(at, some && at == start)? {
                return Ok(Some(Found { pattern: self, text, slots }));
            }
            // Whatever follows `.*` has been tried everywhere up to the end of the line.
            if let Some(Step::Many { one: one @ (One::Any | One::NotNewline), max: ENDLESS, .. }) = self.program.steps.get(1)
                && !(some && at == start)
            {
                match text.get(at..).and_then(|rest| rest.find('\n')).filter(|_| *one == One::NotNewline) {
                    Some(rest_of_line) => at += rest_of_line + 1,
                    None => return Ok(None),
                }
                continue;
            }
            at += text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
        }
        Ok(None)
    }
}

impl<'t> Found<'_, 't> {
    /// The text that group `number` matched; 0 is the whole match. `None`: no such group, or it took no part.
    pub fn get(&self, number: usize) -> Option<&'t str> {
        self.text.get(self.range(number)?)
    }

    /// The text that the group of this name matched.
    pub fn name(&self, name: &str) -> Option<&'t str> {
        let (_, number) = self.pattern.names.iter().find(|(n, _)| n == name)?;
        self.get(*number)
    }

    /// Where group `number` stands in the text, in bytes.
    pub fn range(&self, number: usize) -> Option<Range<usize>> {
        match (self.slots.get(number * 2)?, self.slots.get(number * 2 + 1)?) {
            (_, &NOWHERE) => None,
            _ if number >= self.pattern.groups => None,
            (start, end) => Some(*start..*end),
        }
    }

    /// How many groups the pattern has, the whole match included.
    pub fn len(&self) -> usize {
        self.pattern.groups
    }
}
