//! Runs a pattern's steps over a text, trying one way after the other.

use super::class::Case;
use super::compile::{Program, Step};
use super::node::{ENDLESS, One, Place};

/// Most steps of one search, besides [`STEPS_EACH`]: about a second. Patterns that try every way to split a text take
/// exponentially long; Python has no limit and would hang.
const STEPS: usize = 100_000_000;

/// Steps more for each byte of the text: many times what a search takes that tries little twice.
const STEPS_EACH: usize = 100;

/// Most ways not yet tried that are remembered, each 32 bytes.
const WAYS: usize = 8_000_000;

/// In a slot that holds nothing.
pub const NOWHERE: usize = usize::MAX;

/// Something to come back to.
enum Back {
    /// Go on with this step at this place.
    Way { step: usize, at: usize },
    /// Give a slot back what it held.
    Slot { slot: usize, held: usize },
    /// Many characters up to `at`: one less, if that leaves `least`; then go on with this step.
    Less { step: usize, least: usize, at: usize },
    /// Few characters up to `at`: one more, as the step before this one says, up to so many.
    More { step: usize, at: usize, left: u32 },
}

/// One search, or several one after another.
pub struct Run<'p, 't> {
    program: &'p Program,
    pub text: &'t str,
    slots: Vec<usize>,
    back: Vec<Back>,
    /// How many steps more it may take.
    pub left: usize,
}

/// Why a search was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pattern needs too many attempts on this text: make it more definite, for example without a repetition within a repetition")]
pub struct TooCostly;

impl<'p, 't> Run<'p, 't> {
    /// A search in `text`.
    pub fn new(program: &'p Program, text: &'t str) -> Self {
        let left = STEPS.saturating_add(text.len().saturating_mul(STEPS_EACH));
        Self { program, text, slots: vec![], back: vec![], left }
    }

    /// The groups' starts and ends of a match that begins at `start`, and that is not empty if `some`.
    pub fn match_at(&mut self, start: usize, some: bool) -> Result<Option<Vec<usize>>, TooCostly> {
        self.back.clear();
        self.slots.clear();
        self.slots.resize(self.program.slots, NOWHERE);
        let (mut step, mut at) = (0, start);
        loop {
            match self.go(step, at)? {
                Some(end) if some && end == start => {}
                Some(_) => return Ok(Some(std::mem::take(&mut self.slots))),
                None => {}
            }
            match self.another_way()? {
                Some(way) => (step, at) = way,
                None => return Ok(None),
            }
        }
    }

    fn next_char(&self, at: usize) -> Option<char> {
        self.text.get(at..)?.chars().next()
    }

    fn char_before(&self, at: usize) -> Option<char> {
        self.text.get(..at)?.chars().next_back()
    }

    /// Where `one` ends that begins at `at`.
    fn one(&self, one: &One, at: usize) -> Option<usize> {
        let c = self.next_char(at)?;
        let hit = match one {
            One::Char(wanted) => c == *wanted,
            One::Folded(case, wanted) => case.fold(c) == *wanted,
            One::Any => true,
            One::NotNewline => c != '\n',
            One::Set(set) => set.has(c),
        };
        hit.then(|| at + c.len_utf8())
    }

    fn place(&self, place: Place, at: usize) -> bool {
        let (before, rest) = (self.char_before(at), self.text.get(at..).unwrap_or_default());
        match place {
            Place::Start => at == 0,
            Place::LineStart => before.is_none_or(|c| c == '\n'),
            Place::End => rest.is_empty(),
            Place::LastLineEnd => rest.is_empty() || rest == "\n",
            Place::LineEnd => rest.is_empty() || rest.starts_with('\n'),
            Place::Word { negated, ascii } => {
                let word = |c: Option<char>| c.is_some_and(|c| (c.is_alphanumeric() && (!ascii || c.is_ascii())) || c == '_');
                // Python finds neither in an empty text.
                !self.text.is_empty() && (word(before) != word(rest.chars().next())) != negated
            }
        }
    }

    /// Where the text of a group ends that begins again at `at`.
    fn same(&self, group: usize, case: Case, at: usize) -> Option<usize> {
        let text = self.text.get(self.held(group * 2)..self.held(group * 2 + 1))?;
        if case == Case::Exact {
            return self.text.get(at..)?.starts_with(text).then(|| at + text.len());
        }
        text.chars().try_fold(at, |at, c| self.one(&One::Folded(case, case.fold(c)), at))
    }

    fn held(&self, slot: usize) -> usize {
        self.slots.get(slot).copied().unwrap_or(NOWHERE)
    }

    fn keep(&mut self, slot: usize, value: usize) {
        if let Some(place) = self.slots.get_mut(slot) {
            self.back.push(Back::Slot { slot, held: *place });
            *place = value;
        }
    }

    /// Follows the steps from `step` at `at` to the end of a match, or until nothing fits.
    fn go(&mut self, mut step: usize, mut at: usize) -> Result<Option<usize>, TooCostly> {
        let program = self.program;
        loop {
            self.left = self.left.checked_sub(1).filter(|_| self.back.len() < WAYS).ok_or(TooCostly)?;
            let Some(todo) = program.steps.get(step) else { return Ok(None) };
            step += 1;
            let fits = match todo {
                Step::One(one) => self.one(one, at),
                Step::Many { one, min, max, lazy } => self.many(one, (*min, *max), *lazy, at, step)?,
                Step::Place(place) => self.place(*place, at).then_some(at),
                Step::Same { group, case } => self.same(*group, *case, at),
                Step::Jump(to) => {
                    step = *to;
                    continue;
                }
                Step::Or(or) => {
                    self.back.push(Back::Way { step: *or, at });
                    continue;
                }
                Step::If { group, or } => {
                    if self.held(group * 2 + 1) == NOWHERE {
                        step = *or;
                    }
                    continue;
                }
                Step::Keep(slot) => {
                    self.keep(*slot, at);
                    continue;
                }
                Step::Return(slot) => Some(self.held(*slot)),
                Step::Back(count) => (0..*count).try_fold(at, |at, _| Some(at - self.char_before(at)?.len_utf8())),
                Step::Zero(slot) => {
                    self.keep(*slot, 0);
                    self.keep(slot + 1, NOWHERE);
                    continue;
                }
                Step::Round { slot, min, max, lazy, or } => {
                    let done = self.held(*slot);
                    // A round that matched nothing would go on for ever.
                    let another = (*max == ENDLESS || done < *max as usize) && self.held(slot + 1) != at;
                    if done < *min as usize {
                        self.keep(*slot, done + 1);
                        step += 1;
                    } else if another && *lazy {
                        self.back.push(Back::Way { step, at });
                        step = *or;
                    } else if another {
                        self.back.push(Back::Way { step: *or, at });
                    } else {
                        step = *or;
                    }
                    continue;
                }
                Step::Count(slot) => {
                    self.keep(*slot, self.held(*slot) + 1);
                    self.keep(slot + 1, at);
                    continue;
                }
                Step::Mark(slot) => {
                    self.keep(*slot, self.back.len() + 1);
                    continue;
                }
                Step::Forget(slot) => {
                    self.forget(self.held(*slot));
                    continue;
                }
                Step::Refuse(slot) => {
                    let mark = self.held(*slot);
                    while self.back.len() > mark {
                        self.undo_one();
                    }
                    None
                }
                Step::Done => return Ok(Some(at)),
            };
            match fits {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
    }

    /// Matches `one` from `min` to `max` times, and notes how it may be matched otherwise; `step` is what follows.
    fn many(&mut self, one: &One, (min, max): (u32, u32), lazy: bool, start: usize, step: usize) -> Result<Option<usize>, TooCostly> {
        let (mut at, mut least, mut count) = (start, start, 0);
        while count < if lazy { min } else { max } {
            let Some(next) = self.one(one, at) else { break };
            at = next;
            count += 1;
            if count == min {
                least = at;
            }
        }
        self.left = self.left.checked_sub(at - start).ok_or(TooCostly)?;
        if count < min {
            return Ok(None);
        }
        if lazy && max > min {
            self.back.push(Back::More { step, at, left: if max == ENDLESS { ENDLESS } else { max - min } });
        } else if at > least {
            self.back.push(Back::Less { step, least, at });
        }
        Ok(Some(at))
    }

    /// Forgets the ways noted since `mark`; what slots held stays known, for the ways noted before.
    fn forget(&mut self, mark: usize) {
        let since = self.back.split_off(mark.min(self.back.len()));
        self.back.extend(since.into_iter().filter(|b| matches!(b, Back::Slot { .. })));
    }

    fn undo_one(&mut self) {
        if let Some(Back::Slot { slot, held }) = self.back.pop()
            && let Some(place) = self.slots.get_mut(slot)
        {
            *place = held;
        }
    }

    /// The last way noted that was not tried: a step and a place.
    fn another_way(&mut self) -> Result<Option<(usize, usize)>, TooCostly> {
        loop {
            self.left = self.left.checked_sub(1).ok_or(TooCostly)?;
            match self.back.last() {
                None => return Ok(None),
                Some(Back::Slot { .. }) => self.undo_one(),
                Some(Back::Way { step, at }) => {
                    let way = (*step, *at);
                    self.back.pop();
                    return Ok(Some(way));
                }
                Some(Back::Less { step, least, at }) => {
                    let (step, least, at) = (*step, *least, *at);
                    self.back.pop();
                    let less = at - self.char_before(at).map_or(0, char::len_utf8);
                    if less > least {
                        self.back.push(Back::Less { step, least, at: less });
                    }
                    return Ok(Some((step, less)));
                }
                Some(Back::More { step, at, left }) => {
                    let (step, at, left) = (*step, *at, *left);
                    self.back.pop();
                    let Some(Step::Many { one, .. }) = self.program.steps.get(step - 1) else { continue };
                    let Some(more) = self.one(one, at) else { continue };
                    match left {
                        ENDLESS => self.back.push(Back::More { step, at: more, left }),
                        2.. => self.back.push(Back::More { step, at: more, left: left - 1 }),
                        _ => {}
                    }
                    return Ok(Some((step, more)));
                }
            }
        }
    }
}
