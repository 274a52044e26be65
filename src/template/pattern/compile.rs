//! Turns a pattern's parts into steps.

use super::class::Case;
use super::node::{Greed, Node, One, Parsed, Place};

/// One step. Numbers called `to`, `or` are steps; those called `slot` are places where a run keeps numbers.
#[derive(Clone, Debug)]
pub enum Step {
    /// A character.
    One(One),
    /// As many characters as there are, at least `min` and at most `max`; less (lazy: more) if what follows asks for it.
    Many { one: One, min: u32, max: u32, lazy: bool },
    /// Nothing, at the right place.
    Place(Place),
    /// The text of a group.
    Same { group: usize, case: Case },
    /// Goes on there.
    Jump(usize),
    /// Goes on with the next step, and if that leads nowhere there.
    Or(usize),
    /// Goes on with the next step if the group matched, otherwise there.
    If { group: usize, or: usize },
    /// Keeps the place in the text.
    Keep(usize),
    /// Goes back to the place kept.
    Return(usize),
    /// Goes back this many characters.
    Back(u32),
    /// No round yet.
    Zero(usize),
    /// Decides on another round, which begins with the next step, a `Count`; behind the last, goes on there.
    Round { slot: usize, min: u32, max: u32, lazy: bool, or: usize },
    /// A round beyond the least number begins: counts it, and keeps where.
    Count(usize),
    /// Keeps how many ways not tried yet there are.
    Mark(usize),
    /// Forgets the ways noted since the mark.
    Forget(usize),
    /// Forgets them, and fails.
    Refuse(usize),
    /// All matched.
    Done,
}

/// A pattern's steps.
#[derive(Clone, Debug)]
pub struct Program {
    pub steps: Vec<Step>,
    /// How many slots a run needs. The first hold the groups' starts and ends.
    pub slots: usize,
}

/// The steps of a whole pattern.
pub fn compile(parsed: &Parsed) -> Program {
    let mut program = Program { steps: vec![Step::Keep(0)], slots: parsed.groups * 2 };
    program.add(&parsed.node);
    program.steps.extend([Step::Keep(1), Step::Done]);
    program
}

impl Program {
    fn slot(&mut self) -> usize {
        self.slots += 1;
        self.slots - 1
    }

    fn push(&mut self, step: Step) -> usize {
        self.steps.push(step);
        self.steps.len() - 1
    }

    /// Lets the step at `from` lead to the next one to come.
    fn lead(&mut self, from: usize) {
        let here = self.steps.len();
        if let Some(Step::Jump(to) | Step::Or(to) | Step::If { or: to, .. } | Step::Round { or: to, .. }) = self.steps.get_mut(from) {
            *to = here;
        }
    }

    fn add(&mut self, node: &Node) {
        match node {
            Node::One(one) => {
                self.push(Step::One(one.clone()));
            }
            Node::Place(place) => {
                self.push(Step::Place(*place));
            }
            Node::Same { group, case } => {
                self.push(Step::Same { group: *group, case: *case });
            }
            Node::Sequence(parts) => parts.iter().for_each(|part| self.add(part)),
            Node::Choice(branches) => self.choice(branches),
            Node::Group(number, node) => {
                self.push(Step::Keep(number * 2));
                self.add(node);
                self.push(Step::Keep(number * 2 + 1));
            }
            Node::Repeat { node, min, max, greed } => self.repeat(node, *min, *max, *greed),
            Node::Atomic(node) => self.atomic(|program| program.add(node)),
            Node::Look { node, behind, negated } => self.look(node, *behind, *negated),
            Node::If { group, yes, no } => {
                let or = self.push(Step::If { group: *group, or: 0 });
                self.add(yes);
                let over = self.push(Step::Jump(0));
                self.lead(or);
                self.add(no);
                self.lead(over);
            }
        }
    }

    fn choice(&mut self, branches: &[Node]) {
        let mut ends = vec![];
        for (i, branch) in branches.iter().enumerate() {
            if i + 1 == branches.len() {
                self.add(branch);
            } else {
                let or = self.push(Step::Or(0));
                self.add(branch);
                ends.push(self.push(Step::Jump(0)));
                self.lead(or);
            }
        }
        for end in ends {
            self.lead(end);
        }
    }

    fn repeat(&mut self, node: &Node, min: u32, max: u32, greed: Greed) {
        let lazy = greed == Greed::Lazy;
        if greed == Greed::Possessive {
            self.atomic(|program| program.repeat(node, min, max, Greed::Greedy));
        } else if let Node::One(one) = node {
            self.push(Step::Many { one: one.clone(), min, max, lazy });
        } else if (min, max) == (0, 1) && !lazy {
            let or = self.push(Step::Or(0));
            self.add(node);
            self.lead(or);
        } else {
            let slot = self.slot();
            // Where the last round began, in the slot behind.
            self.slot();
            self.push(Step::Zero(slot));
            let round = self.push(Step::Round { slot, min, max, lazy, or: 0 });
            self.push(Step::Count(slot));
            self.add(node);
            self.push(Step::Jump(round));
            self.lead(round);
        }
    }

    fn atomic(&mut self, inside: impl FnOnce(&mut Self)) {
        let slot = self.slot();
        self.push(Step::Mark(slot));
        inside(self);
        self.push(Step::Forget(slot));
    }

    fn look(&mut self, node: &Node, behind: Option<u32>, negated: bool) {
        let (mark, place) = (self.slot(), self.slot());
        self.push(Step::Mark(mark));
        let or = if negated { Some(self.push(Step::Or(0))) } else { None };
        self.push(Step::Keep(place));
        if let Some(width) = behind.filter(|w| *w > 0) {
            self.push(Step::Back(width));
        }
        self.add(node);
        match or {
            Some(or) => {
                self.push(Step::Refuse(mark));
                self.lead(or);
            }
            None => {
                self.push(Step::Forget(mark));
                self.push(Step::Return(place));
            }
        }
    }
}
