//! Where something stands in a file, and errors that say so.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A place in a file the operator wrote. Lines and columns count from 1.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Loc {
    /// The file's path as the operator gave it (or relative to the working folder).
    pub file: Arc<str>,
    /// Line, from 1; 0 where there is no line (a command-line argument, say).
    pub line: u32,
    /// Column in characters, from 1; 0 where unknown.
    pub column: u32,
    /// How many characters from `column` belong to the thing; 0 where unknown.
    pub len: u32,
}

impl Loc {
    /// The place `line`:`column` of `file`.
    pub fn new(file: impl Into<Arc<str>>, line: u32, column: u32) -> Self {
        Self { file: file.into(), line, column, len: 0 }
    }

    /// Something that stands in no file: `source` names it, such as `-e` or `--limit`.
    pub fn outside(source: &str) -> Self {
        Self::new(source, 0, 0)
    }
}

impl fmt::Display for Loc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => write!(f, "{}", self.file),
            (line, 0) => write!(f, "{}:{line}", self.file),
            (line, column) => write!(f, "{}:{line}:{column}", self.file),
        }
    }
}

impl fmt::Debug for Loc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Severity {
    /// The run cannot go on with this.
    Error,
    /// The run goes on; the operator should look at it.
    Warning,
}

/// One thing wrong in the operator's input: what, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong: one sentence, lower case, no full stop.
    pub message: String,
    /// Where it stands, if it stands in a file.
    pub loc: Option<Loc>,
    /// Printed right beside the marked text, such as "did you mean `scheduler`?".
    pub label: Option<String>,
    /// Lines of help below the excerpt: what is allowed, what to type.
    pub help: Vec<String>,
}

impl Diagnostic {
    /// An error at `loc`.
    pub fn error(loc: &Loc, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), loc: Some(loc.clone()), label: None, help: vec![] }
    }

    /// An error that stands in no file.
    pub fn bare(message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), loc: None, label: None, help: vec![] }
    }

    /// A warning at `loc`.
    pub fn warning(loc: &Loc, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(loc, message) }
    }

    /// Adds the words beside the marked text.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds a line of help.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Adds "did you mean …?" as the label when one of `known` is near `given`.
    pub fn nearest<'a>(self, given: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(given, known) {
            Some(name) => self.label(format!("did you mean `{name}`?")),
            None => self,
        }
    }
}

impl fmt::Display for Diagnostic {
    /// One line, for logs and for errors that cross the network.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(loc) = &self.loc {
            write!(f, "{loc}: ")?;
        }
        write!(f, "{}", self.message)?;
        if let Some(label) = &self.label {
            write!(f, " ({label})")?;
        }
        for help in &self.help {
            write!(f, "; {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}

/// Several diagnostics at once: a file is checked whole, so the operator mends it in one go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Whether any of them is an error.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|d| d.severity == Severity::Error)
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(d: Diagnostic) -> Self {
        Self(vec![d])
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, d) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{d}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// The name among `known` that `given` was most likely meant to be: at most a third of its
/// letters away (transpositions count once), and never a wholly different word.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (given.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (edit_distance(given, name), name))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, name)| name)
}

/// Edits (insert, delete, replace, swap of neighbours) that turn `a` into `b`.
fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_typos_and_refuses_strangers() {
        assert_eq!(nearest("sheduler", ["scheduler", "devices"]), Some("scheduler"));
        assert_eq!(nearest("hsots", ["hosts", "name"]), Some("hosts"));
        assert_eq!(nearest("banana", ["hosts", "name"]), None);
    }
}
