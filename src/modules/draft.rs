//! A plan in the making: each change is predicted as it is added, so that the next step sees what it left.

use super::{Context, Plan, PlanError};
use crate::host::act::Act;
use crate::host::{Change, Overlay};
use serde_json::{Map, Value as Json};

/// Changes so far, and the host as they would leave it.
pub(super) struct Draft<'a> {
    /// The host with the changes so far.
    pub host: Overlay<'a>,
    /// The changes so far.
    pub changes: Vec<Change>,
}

impl<'a> Draft<'a> {
    /// Nothing changed yet.
    pub fn new(context: &Context<'a>) -> Self {
        Self { host: Overlay::new(context.view), changes: vec![] }
    }

    /// Adds a change. One that is known to fail fails the task before anything is done.
    pub fn add(&mut self, change: Change) -> Result<(), PlanError> {
        change.predict(&mut self.host).map_err(|e| match e.unknown {
            Some(why) => PlanError::Unknown(why),
            None => PlanError::Failed(e.message, e.fields),
        })?;
        self.changes.push(change);
        Ok(())
    }

    /// The plan, with this result.
    pub fn finish(self, result: Map<String, Json>) -> Plan {
        Plan { changes: self.changes, result, ..Plan::default() }
    }
}

/// A result's fields from an object written with `json!`.
pub(super) fn fields(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(map) => map,
        other => Map::from_iter([("value".to_owned(), other)]),
    }
}

/// A plan that changes nothing and has this result.
pub(super) fn just(value: Json) -> Plan {
    Plan { result: fields(value), ..Plan::default() }
}
