//! The controller's files, as tasks on this host see them: sent along, kept from an earlier run by
//! hash, or asked for.

use super::wire::Wire;
use crate::host::cache::Cache;
use crate::modules::{Files, PlanError, SourceFile};
use crate::protocol::{FileRef, ToAgent, ToController};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::cell::RefCell;
use std::collections::HashMap;

/// Files known so far in this play, by key.
#[derive(Default)]
pub struct Store {
    known: RefCell<HashMap<String, FileRef>>,
}

impl Store {
    /// Files that came with a play.
    pub fn new(files: Vec<(String, FileRef)>) -> Self {
        Self { known: RefCell::new(files.into_iter().collect()) }
    }
}

/// One task's view of the controller's files.
pub struct TaskFiles<'a> {
    /// All files of the play.
    pub store: &'a Store,
    /// The line to the controller.
    pub wire: &'a Wire,
    /// Where file contents are kept between runs.
    pub cache: &'a Cache,
    /// The task's id.
    pub task: u32,
}

impl TaskFiles<'_> {
    fn key(&self, name: &str, subfolder: &str) -> String {
        format!("{}:{subfolder}:{name}", self.task)
    }

    fn reference(&self, name: &str, subfolder: &str) -> Result<FileRef, PlanError> {
        let key = self.key(name, subfolder);
        if let Some(file) = self.store.known.borrow().get(&key) {
            return Ok(file.clone());
        }
        let question = ToController::NeedFile { name: key.clone() };
        let answer = self.wire.ask(&question, |message| match message {
            ToAgent::File { name, file } if name == key => Some(file),
            _ => None,
        });
        let file = answer.ok_or_else(gone)?.map_err(PlanError::Outside)?;
        self.store.known.borrow_mut().insert(key, file.clone());
        Ok(file)
    }

    fn content(&self, file: &FileRef) -> Result<Vec<u8>, PlanError> {
        if let Some(inline) = &file.inline {
            return STANDARD.decode(inline).map_err(|e| PlanError::Outside(format!("{}: damaged on the way: {e}", file.path)));
        }
        if let Some(content) = self.cache.get(&file.hash) {
            return Ok(content);
        }
        self.wire.send(&ToController::NeedContent { hash: file.hash.clone() });
        let mut content = Vec::new();
        loop {
            match self.wire.receive().ok_or_else(gone)? {
                ToAgent::Chunk { hash, bytes, last } if hash == file.hash => {
                    let bytes =
                        STANDARD.decode(bytes).map_err(|e| PlanError::Outside(format!("{}: damaged on the way: {e}", file.path)))?;
                    content.extend_from_slice(&bytes);
                    if last {
                        break;
                    }
                }
                _ => {}
            }
        }
        if crate::host::cache::hash(&content) != file.hash {
            return Err(PlanError::Outside(format!("{} changed on the controller while it was being sent: run again", file.path)));
        }
        self.cache.put(&file.hash, &content);
        Ok(content)
    }
}

impl Files for TaskFiles<'_> {
    fn get(&self, name: &str, subfolder: &str) -> Result<SourceFile, PlanError> {
        let file = self.reference(name, subfolder)?;
        let content = self.content(&file)?;
        Ok(SourceFile { path: file.path, content, mode: file.mode })
    }

    fn list(&self, name: &str, subfolder: &str) -> Result<Option<Vec<String>>, PlanError> {
        let key = self.key(name, subfolder);
        if self.store.known.borrow().contains_key(&key) {
            return Ok(None);
        }
        let question = ToController::NeedList { name: key.clone() };
        let answer = self.wire.ask(&question, |message| match message {
            ToAgent::List { name, entries } if name == key => Some(entries),
            _ => None,
        });
        answer.ok_or_else(gone)?.map_err(PlanError::Outside)
    }
}

fn gone() -> PlanError {
    PlanError::Outside("the connection to the controller is gone".into())
}
