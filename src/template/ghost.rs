//! Values that must not be read: undefined variables, and what a dry run does not know.
//!
//! A ghost may be passed on (a whole result, an item of a list) and asked whether it is defined. Anything else
//! that meets one makes the whole evaluation fail, even where the template engine itself would go on with
//! some made-up value: every ghost handed out is remembered, and one that nobody accounted for is an error.

use minijinja::value::{Enumerator, Object, ObjectRepr, Value};
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a ghost stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absence {
    /// A dry run does not know this; the text says why.
    Unknown(String),
    /// No such variable or attribute; the text names it.
    Undefined(String),
}

/// A value that must not be read.
#[derive(Debug)]
pub struct Ghost {
    /// What it stands for.
    pub absence: Absence,
    accounted: AtomicBool,
}

thread_local! {
    static SEEN: RefCell<Vec<Arc<Ghost>>> = const { RefCell::new(vec![]) };
}

impl Ghost {
    /// A ghost as a template value; it is remembered as handed out.
    pub fn value(absence: Absence) -> Value {
        let ghost = Arc::new(Self { absence, accounted: AtomicBool::new(false) });
        SEEN.with_borrow_mut(|seen| seen.push(ghost.clone()));
        Value::from_dyn_object(minijinja::value::DynObject::new(ghost))
    }

    /// The ghost in `value`, if it is one.
    pub fn of(value: &Value) -> Option<&Self> {
        value.downcast_object_ref::<Self>()
    }

    /// Whatever met the ghost knew what it is (`is defined`, `default`).
    pub fn account(&self) {
        self.accounted.store(true, Ordering::Relaxed);
    }
}

impl Object for Ghost {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, _key: &Value) -> Option<Value> {
        // `a.b.c` on something absent is absent; only the last one counts.
        self.account();
        Some(Self::value(self.absence.clone()))
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.account();
        Some(Self::value(match &self.absence {
            Absence::Undefined(name) => Absence::Undefined(format!("{name}.{key}")),
            unknown => unknown.clone(),
        }))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }

    fn is_true(self: &Arc<Self>) -> bool {
        false
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.absence {
            Absence::Unknown(why) => write!(f, "<unknown: {why}>"),
            Absence::Undefined(name) => write!(f, "<undefined: {name}>"),
        }
    }
}

/// Runs one evaluation and says which ghost, if any, was handed out in it and not accounted for. What is
/// unknown counts before what is undefined.
pub fn watch<R>(evaluate: impl FnOnce() -> R) -> (R, Option<Absence>) {
    let outer = SEEN.take();
    let result = evaluate();
    let seen = SEEN.replace(outer);
    let left = seen.iter().filter(|g| !g.accounted.load(Ordering::Relaxed));
    let first = left.min_by_key(|g| matches!(g.absence, Absence::Undefined(_)));
    (result, first.map(|g| g.absence.clone()))
}
