//! Handlers in the journal: what was notified and has not run is owed to the next run of that play.

use super::super::identity::as_started;
use super::super::undo::PURPOSE;
use super::{Entry, Journal, files};
use crate::host::clock;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::io;
use std::time::SystemTime;

/// What became of a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandlerState {
    /// Notified; written ahead of the notifying task's first change.
    Notified,
    /// It ran.
    Ran,
    /// The task that was to notify it did not, as it turned out (`changed_when`).
    NotNeeded,
}

/// A handler that an earlier run notified and did not get to, or that failed there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// The handler, as the journal names it.
    pub handler: String,
    /// The newest run that notified it.
    pub run: String,
}

impl Journal {
    /// Notes what became of a handler of `play`. Not synced: a change that follows does that.
    pub fn handler(&mut self, play: &str, handler: &str, task: &str, state: HandlerState) -> io::Result<()> {
        let entry = Entry::Handler {
            at: clock::utc(SystemTime::now()),
            run: self.info.run.clone(),
            play: play.to_owned(),
            handler: handler.to_owned(),
            task: task.to_owned(),
            state,
        };
        self.write(&entry).map(|_| ())
    }

    /// The handlers of `play` that are still to run. A run that was undone owes nothing; of what can't be read nothing is known
    /// (that the newest run's file can't be read is told at the start).
    pub fn owed(&self, play: &str) -> Vec<Owed> {
        let mut owed: Vec<Owed> = vec![];
        let mut undoes = None;
        for file in as_started(|| files(&self.folder)).unwrap_or_default() {
            let text = as_started(|| std::fs::read(&file)).unwrap_or_default();
            // Changes are most of a journal, and hold whole files: they are not even parsed.
            let wanted = |line: &&[u8]| !line.starts_with(b"{\"event\":\"change_");
            for line in text.split(|b| *b == b'\n').filter(wanted) {
                let Ok(entry) = serde_json::from_slice::<Json>(line) else { continue };
                let word = |key: &str| entry[key].as_str().unwrap_or_default();
                match word("event") {
                    "run_begin" => undoes = word("purpose").strip_prefix(PURPOSE).map(str::to_owned),
                    "run_end" if word("how") == "done" => owed.retain(|o| Some(&o.run) != undoes.as_ref()),
                    "handler" if word("play") == play => {
                        let (handler, run) = (word("handler").to_owned(), word("run").to_owned());
                        match word("state") {
                            "notified" => owed.push(Owed { handler, run }),
                            "not_needed" => owed.retain(|o| o.handler != handler || o.run != run),
                            _ => owed.retain(|o| o.handler != handler),
                        }
                    }
                    _ => {}
                }
            }
        }
        // Several runs may have notified it; each could be undone.
        owed.reverse();
        let mut newest: Vec<Owed> = vec![];
        for one in owed {
            if newest.iter().all(|o| o.handler != one.handler) {
                newest.push(one);
            }
        }
        newest
    }
}

#[cfg(test)]
mod tests {
    use super::super::{How, RunInfo};
    use super::HandlerState::{NotNeeded, Notified, Ran};
    use super::*;
    use std::path::Path;

    /// A journal whose file sorts behind those made before.
    fn run(folder: &Path, name: &str, purpose: &str) -> Journal {
        let behind = |n: usize| folder.join(format!("2020-{n:02}-{name}.jsonl"));
        let mut journal = Journal::new(folder, RunInfo { run: name.into(), by: "me".into(), purpose: purpose.into() });
        journal.file = Some(std::fs::File::create(behind(files(folder).unwrap().len())).unwrap());
        let entry = Entry::RunBegin { at: "T".into(), run: name.into(), by: "me".into(), version: "0".into(), purpose: purpose.into() };
        journal.write(&entry).unwrap();
        journal
    }

    fn owed(folder: &Path, play: &str) -> Vec<String> {
        let journal = Journal::new(folder, RunInfo::default());
        journal.owed(play).into_iter().map(|o| format!("{} by {}", o.handler, o.run)).collect()
    }

    #[test]
    fn what_was_notified_is_owed_until_it_ran() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert!(owed(folder, "p").is_empty(), "no journal yet");
        let mut first = run(folder, "r1", "apply x.yml");
        first.handler("p", "restart", "x.yml:3:1", Notified).unwrap();
        first.handler("p", "reload", "x.yml:4:1", Notified).unwrap();
        first.handler("p", "reload", "x.yml:4:1", NotNeeded).unwrap();
        assert_eq!(owed(folder, "p"), ["restart by r1"]);
        assert!(owed(folder, "another play").is_empty());
        first.finish(How::Failed).unwrap();
        run(folder, "r2", "apply other.yml").finish(How::Done).unwrap();
        assert_eq!(owed(folder, "p"), ["restart by r1"], "a run of something else does not settle it");
        let mut third = run(folder, "r3", "apply x.yml");
        third.handler("p", "restart", "x.yml:3:1", Notified).unwrap();
        third.handler("p", "restart", "x.yml:3:1", NotNeeded).unwrap();
        assert_eq!(owed(folder, "p"), ["restart by r1"], "what one run takes back another still owes");
        third.handler("p", "restart", "x.yml:9:1", Ran).unwrap();
        assert!(owed(folder, "p").is_empty());
    }

    #[test]
    fn a_run_that_was_undone_owes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        for name in ["r1", "r2"] {
            run(folder, name, "apply x.yml").handler("p", "restart", "x.yml:3:1", Notified).unwrap();
        }
        run(folder, "u1", "undo r2").finish(How::Failed).unwrap();
        assert_eq!(owed(folder, "p"), ["restart by r2"], "undoing it failed");
        run(folder, "u2", "undo r2").finish(How::Done).unwrap();
        assert_eq!(owed(folder, "p"), ["restart by r1"]);
        run(folder, "u3", "undo r1").finish(How::Done).unwrap();
        assert!(owed(folder, "p").is_empty());
    }
}
