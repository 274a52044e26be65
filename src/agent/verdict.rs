//! From what a module planned and what its changes returned to a result: `changed`, `failed`, and what
//! `changed_when` and `failed_when` say about them.

use crate::protocol::{ChangeReport, FRAME_LIMIT, Status};
use crate::template::{UNKNOWN, unknown};
use serde_json::{Map, Value as Json};

/// What one execution of a task (one item, one try) came to.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// How it ended.
    pub status: Status,
    /// One line for the operator.
    pub message: String,
    /// What was or would be changed.
    pub changes: Vec<ChangeReport>,
    /// The result as `register` gets it.
    pub result: Map<String, Json>,
    /// Things the operator should see.
    pub warnings: Vec<String>,
    /// It failed, but something was changed all the same: a command ran and did not end well.
    pub changed: bool,
    /// It failed before its module could say anything (a variable is not there, a file to copy is not): `failed_when` is
    /// about the module's result, so it has no say.
    pub outside: bool,
}

impl Verdict {
    /// An end without changes.
    pub fn plain(status: Status, message: impl Into<String>) -> Self {
        let message = message.into();
        let mut result = Map::new();
        if !message.is_empty() {
            result.insert("msg".into(), Json::from(message.clone()));
        }
        let mut verdict = Self { status, message, changes: vec![], result, warnings: vec![], changed: false, outside: false };
        verdict.mark();
        verdict
    }

    /// A failure.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::plain(Status::Failed, message)
    }

    /// A failure that is not the module's.
    pub fn outside(message: impl Into<String>) -> Self {
        Self { outside: true, ..Self::failed(message) }
    }

    /// Something was changed (or would be), well or not.
    pub fn is_changed(&self) -> bool {
        self.status == Status::Changed || self.status == Status::Failed && self.changed
    }

    /// Skipped by a condition.
    pub fn skipped(reason: &str, condition: Option<&str>) -> Self {
        let mut verdict = Self::plain(Status::Skipped, reason);
        verdict.result.remove("msg");
        verdict.result.insert("skip_reason".into(), Json::from(reason));
        if let Some(condition) = condition {
            verdict.message = format!("{reason}: {condition}");
            verdict.result.insert("false_condition".into(), Json::from(condition));
        }
        verdict
    }

    /// A dry run can't know: whoever reads the registered result learns why.
    pub fn unknown(why: &str) -> Self {
        let mut verdict = Self::plain(Status::Unknown, why);
        verdict.result.insert("msg".into(), unknown(why));
        verdict
    }

    /// Leaves out what no message can hold: first the differences, which are only there to be read. Without its result a task has failed.
    pub fn fit(&mut self) {
        if self.fits() {
            return;
        }
        if self.changes.iter_mut().filter_map(|c| c.diff.take()).count() > 0 {
            self.warnings
                .push(format!("the differences are not shown: they are over the {} MiB that a message can hold", FRAME_LIMIT >> 20));
        }
        if self.fits() {
            return;
        }
        let words =
            format!("its result is over the {} MiB that a message can hold: have less read, or written to a file", FRAME_LIMIT >> 20);
        let warnings = std::mem::take(&mut self.warnings);
        let changes = std::mem::take(&mut self.changes);
        *self = Self { changed: self.status == Status::Changed || self.is_changed(), warnings, changes, ..Self::failed(words) };
        self.mark();
    }

    fn fits(&self) -> bool {
        let size = serde_json::to_vec(&(&self.message, &self.changes, &self.result)).map_or(0, |bytes| bytes.len());
        // The report has a name and a place as well.
        size < FRAME_LIMIT as usize - (1 << 20)
    }

    /// Writes status into the result's own keys.
    pub fn mark(&mut self) {
        match self.status {
            Status::Unknown => {
                let why = unknown(&self.message);
                for key in ["changed", "failed", "rc", "stdout", "stderr", "stdout_lines", "stderr_lines"] {
                    self.result.insert(key.into(), why.clone());
                }
            }
            status => {
                self.result.insert("changed".into(), Json::from(self.is_changed()));
                self.result.insert("failed".into(), Json::from(status == Status::Failed));
                if status == Status::Skipped {
                    self.result.insert("skipped".into(), Json::from(true));
                }
            }
        }
    }
}

/// The result of a whole loop, as `register` gets it, from its items' results.
pub fn sum_up(items: &[(Json, String, Verdict)], loop_var: &str) -> Verdict {
    let worst = |status: Status| items.iter().any(|(_, _, v)| v.status == status);
    let status = if worst(Status::Failed) {
        Status::Failed
    } else if worst(Status::Unknown) {
        Status::Unknown
    } else if worst(Status::Changed) {
        Status::Changed
    } else if !items.is_empty() && items.iter().all(|(_, _, v)| v.status == Status::Skipped) {
        Status::Skipped
    } else {
        Status::Ok
    };
    let message = match status {
        Status::Failed => "one or more items failed".to_owned(),
        Status::Skipped => "all items skipped".to_owned(),
        Status::Unknown => {
            items.iter().find(|(_, _, v)| v.status == Status::Unknown).map(|(_, _, v)| v.message.clone()).unwrap_or_default()
        }
        _ => "all items completed".to_owned(),
    };
    let mut verdict = Verdict::plain(status, message);
    verdict.changed = items.iter().any(|(_, _, v)| v.is_changed());
    verdict.mark();
    let results = items
        .iter()
        .map(|(item, _, v)| {
            let mut result = v.result.clone();
            result.insert(loop_var.to_owned(), item.clone());
            result.insert("ansible_loop_var".into(), Json::from(loop_var));
            Json::Object(result)
        })
        .collect();
    verdict.result.insert("results".into(), Json::Array(results));
    verdict
}

/// Whether a value holds, anywhere inside, something a dry run cannot know; says what.
pub fn unknown_inside(value: &Json) -> Option<&str> {
    match value {
        Json::Object(map) => match map.get(UNKNOWN) {
            Some(why) => Some(why.as_str().unwrap_or("a result that a dry run does not have")),
            None => map.values().find_map(unknown_inside),
        },
        Json::Array(items) => items.iter().find_map(unknown_inside),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_as_bad_as_its_worst_item() {
        let item = |s| (Json::from(1), String::new(), Verdict::plain(s, ""));
        assert_eq!(sum_up(&[item(Status::Ok), item(Status::Changed)], "item").status, Status::Changed);
        assert_eq!(sum_up(&[item(Status::Changed), item(Status::Unknown)], "item").status, Status::Unknown);
        assert_eq!(sum_up(&[item(Status::Unknown), item(Status::Failed)], "item").status, Status::Failed);
        assert_eq!(sum_up(&[item(Status::Skipped), item(Status::Skipped)], "item").status, Status::Skipped);
        assert_eq!(sum_up(&[item(Status::Skipped), item(Status::Ok)], "item").status, Status::Ok);
        assert_eq!(sum_up(&[], "item").status, Status::Ok);
    }

    #[test]
    fn what_no_message_holds_is_left_out() {
        let diff = crate::host::Diff { before: "x".repeat(FRAME_LIMIT as usize), ..Default::default() };
        let change = ChangeReport { summary: "write /a".into(), destroys: None, diff: Some(diff), done: true };
        let mut verdict = Verdict { changes: vec![change.clone()], ..Verdict::plain(Status::Changed, "") };
        verdict.fit();
        assert_eq!((verdict.status, verdict.warnings.len(), &verdict.changes[0].diff), (Status::Changed, 1, &None));
        verdict.result.insert("content".into(), Json::from("x".repeat(FRAME_LIMIT as usize)));
        verdict.fit();
        assert_eq!((verdict.status, verdict.is_changed(), verdict.changes.len()), (Status::Failed, true, 1), "what was done is told");
        assert_eq!((&verdict.result["failed"], &verdict.result["changed"]), (&Json::from(true), &Json::from(true)));
        assert!(verdict.message.contains("64 MiB") && verdict.result.len() < 5 && verdict.warnings.len() == 1);
    }

    #[test]
    fn unknown_is_found_however_deep() {
        let value = serde_json::json!({"a": [1, {"b": unknown("the output of a command")}]});
        assert_eq!(unknown_inside(&value), Some("the output of a command"));
        assert_eq!(unknown_inside(&serde_json::json!({"a": 1})), None);
    }
}
