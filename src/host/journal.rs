//! What runs did to this host: written ahead of each change, kept on the host.
//!
//! One file a run that changed something, one JSON object a line ([`Entry`]). For root in [`ROOT_FOLDER`], otherwise in the
//! user's `~/.local/state/fettle/journal`; folders 0700, files 0600, for old contents may be confidential. The newest
//! [`KEEP`] runs are kept. A run that changed nothing and notified nobody leaves no file.
//!
//! Not kept: what is marked secret; contents over [`CONTENT_LIMIT`]; standard input and environment of commands.

mod handlers;

pub use handlers::{HandlerState, Owed};

use super::identity::{User, as_started};
use super::real::words;
use super::{Change, ChangeError, RealHost, clock};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Where root's journal is.
pub const ROOT_FOLDER: &str = "/var/lib/fettle/journal";

/// How many runs are kept: at a run an hour two days, at the usual few a week a year. Each takes at most what its
/// changes' old contents take.
pub const KEEP: usize = 50;

/// Most bytes of a new content kept with its change.
const CONTENT_LIMIT: usize = 64 << 10;

/// One line of the journal. Times (`at`) are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Entry {
    /// A run makes its first change.
    RunBegin {
        /// When.
        at: String,
        /// Which run.
        run: String,
        /// Who runs it: `user@workstation`.
        by: String,
        /// fettle's version.
        version: String,
        /// What it is: `apply site.yml`.
        purpose: String,
    },
    /// A change is about to be made.
    ChangeBegin {
        /// When.
        at: String,
        /// Which run.
        run: String,
        /// Counts the run's changes from 1.
        seq: u64,
        /// The task's name.
        task: String,
        /// One line: what it does.
        summary: String,
        /// The change itself; null where it is secret or large.
        change: Option<Box<Change>>,
        /// The changes that bring the state before back, or why there are none.
        undo: Result<Vec<Change>, String>,
    },
    /// It has been made and verified, or it failed.
    ChangeEnd {
        /// When.
        at: String,
        /// Which run.
        run: String,
        /// Which change.
        seq: u64,
        /// Why it failed; null: it did not.
        error: Option<String>,
    },
    /// What became of a handler that a task notifies.
    Handler {
        /// When.
        at: String,
        /// Which run.
        run: String,
        /// The play's file and name: who runs that play again runs the handler.
        play: String,
        /// The handler.
        handler: String,
        /// The task that notifies it, or the handler itself.
        task: String,
        /// What.
        state: HandlerState,
    },
    /// The run ended.
    RunEnd {
        /// When.
        at: String,
        /// Which run.
        run: String,
        /// How.
        how: How,
    },
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// All was done.
    Done,
    /// A task failed; the reason was reported.
    Failed,
    /// Stopped before its end, for this reason.
    Stopped(String),
}

/// Who runs what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunInfo {
    /// Names the run.
    pub run: String,
    /// `user@workstation`.
    pub by: String,
    /// What it is: `apply site.yml`.
    pub purpose: String,
}

/// Where this process's journal is: root's or the user's own, by whom the process was started as.
pub fn folder() -> PathBuf {
    let uid = nix::unistd::getuid();
    if uid.is_root() {
        return PathBuf::from(ROOT_FOLDER);
    }
    let home = User::by_uid(&RealHost, uid.as_raw()).ok().flatten().map(|u| u.home).or_else(|| std::env::var("HOME").ok());
    PathBuf::from(home.unwrap_or_else(|| "/".into())).join(".local/state/fettle/journal")
}

/// A run's journal, for writing.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    info: RunInfo,
    /// Opened at the first change.
    file: Option<File>,
    seq: u64,
}

impl Journal {
    /// The journal of this run in `folder` (see [`folder`]). Nothing is written before the first change.
    pub fn new(folder: impl Into<PathBuf>, info: RunInfo) -> Self {
        Self { folder: folder.into(), info, file: None, seq: 0 }
    }

    /// Notes that `change` is about to be made: once [`Journal::sync`] has it on disk. The number is for [`Journal::end`].
    pub fn begin(&mut self, task: &str, summary: &str, change: &Change, undo: Result<Vec<Change>, String>) -> Result<u64, ChangeError> {
        let seq = self.seq + 1;
        let secret = is_secret(change) || undo.as_ref().is_ok_and(|all| all.iter().any(is_secret));
        let entry = Entry::ChangeBegin {
            at: clock::utc(SystemTime::now()),
            run: self.info.run.clone(),
            seq,
            task: task.to_owned(),
            summary: summary.to_owned(),
            change: if secret { None } else { recorded(change).map(Box::new) },
            undo: if secret { Err("it is secret, and secrets are not kept".into()) } else { undo },
        };
        match self.write(&entry) {
            Ok(_) => self.seq = seq,
            Err(e) => return Err(self.unwritable(&e)),
        }
        Ok(seq)
    }

    /// Has all on disk that was noted so far.
    pub fn sync(&self) -> Result<(), ChangeError> {
        let synced = self.file.as_ref().map_or(Ok(()), File::sync_data);
        synced.map_err(|e| self.unwritable(&e))
    }

    fn unwritable(&self, e: &io::Error) -> ChangeError {
        ChangeError::new(format!(
            "nothing was changed: the journal in {} can't be written: {}; make room or mend its rights",
            self.folder.display(),
            words(e)
        ))
    }

    /// Notes how the change of this number ended.
    pub fn end(&mut self, seq: u64, error: Option<&ChangeError>) -> io::Result<()> {
        let entry = Entry::ChangeEnd {
            at: clock::utc(SystemTime::now()),
            run: self.info.run.clone(),
            seq,
            error: error.map(|e| e.message.clone()),
        };
        self.write(&entry).map(|_| ())
    }

    /// Whether this run has written something.
    pub fn is_begun(&self) -> bool {
        self.file.is_some()
    }

    /// Notes how the run ended. A run without changes writes nothing, unless it is the one that ends well
    /// after one that did not.
    pub fn finish(&mut self, how: How) -> io::Result<()> {
        let after_unfinished = || how == How::Done && matches!(as_started(|| unfinished(&self.folder)), Ok(Some(_)));
        if self.file.is_none() && !after_unfinished() {
            return Ok(());
        }
        let entry = Entry::RunEnd { at: clock::utc(SystemTime::now()), run: self.info.run.clone(), how };
        self.write(&entry)?.sync_data()
    }

    /// Appends an entry, opening the file first where that is still to do.
    fn write(&mut self, entry: &Entry) -> io::Result<&File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => as_started(|| self.open())?,
        };
        let file = self.file.insert(file);
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        append(file, &line)?;
        Ok(file)
    }

    fn open(&self) -> io::Result<File> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let time = SystemTime::now();
        let now = clock::utc(time);
        // Names sort by time, also those of runs within one second.
        let micros = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.subsec_micros());
        let stamp: String = now.chars().filter(|c| c.is_ascii_digit() || *c == 'T').collect();
        let run: String = self.info.run.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect();
        let path = self.folder.join(format!("{stamp}{micros:06}Z-{run}.jsonl"));
        let mut file = std::fs::OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
        let begin = Entry::RunBegin {
            at: now,
            run: self.info.run.clone(),
            by: self.info.by.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            purpose: self.info.purpose.clone(),
        };
        let mut line = serde_json::to_vec(&begin)?;
        line.push(b'\n');
        if let Err(e) = append(&mut file, &line) {
            let _ = std::fs::remove_file(&path);
            return Err(e);
        }
        File::open(&self.folder)?.sync_all()?;
        let mut files = files(&self.folder)?;
        let all = files.len();
        // By name it may be the oldest: clocks are set back.
        files.retain(|old| *old != path);
        for old in files.iter().take(all.saturating_sub(KEEP)) {
            // One that can't be removed does no harm.
            let _ = std::fs::remove_file(old);
        }
        Ok(file)
    }
}

/// Adds a line in one write, so that a crash leaves at most the last line torn. What a full disk takes of it goes again: lines that
/// come later would stand behind it.
fn append(file: &mut File, line: &[u8]) -> io::Result<()> {
    let before = file.metadata()?.len();
    file.write_all(line).inspect_err(|_| {
        let _ = file.set_len(before);
    })
}

fn is_secret(change: &Change) -> bool {
    match change {
        Change::WriteFile(c) => c.secret,
        Change::Run(c) => c.secret,
        _ => false,
    }
}

/// The change as it is kept.
fn recorded(change: &Change) -> Option<Change> {
    match change {
        Change::WriteFile(c) if c.content.len() > CONTENT_LIMIT => None,
        Change::Run(c) => {
            let mut c = c.clone();
            c.stdin = None;
            c.environment = vec![];
            Some(Change::Run(c))
        }
        other => Some(other.clone()),
    }
}

/// The journal's files, oldest first.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = vec![];
    match std::fs::read_dir(folder) {
        Ok(entries) => {
            for entry in entries {
                let path = entry?.path();
                if path.extension().is_some_and(|e| e == "jsonl") {
                    files.push(path);
                }
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    files.sort_unstable();
    Ok(files)
}

/// One file's entries, each an [`Entry`] as JSON. A last line that a crash tore is left out.
///
/// They stay JSON: who reads a journal wants times and words of it, and a reader for every change there is makes the
/// agent a good deal larger.
fn read_file(path: &Path) -> Result<Vec<Json>, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("the journal {} can't be read: {}", path.display(), words(&e)))?;
    let lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()).collect();
    let mut entries = vec![];
    for (i, line) in lines.iter().enumerate() {
        let why = match serde_json::from_slice::<Json>(line) {
            Ok(entry) if entry["event"].is_string() && entry["run"].is_string() => {
                entries.push(entry);
                continue;
            }
            Ok(_) => "it is no entry of a journal".to_owned(),
            Err(_) if i + 1 == lines.len() => continue,
            Err(e) => e.to_string(),
        };
        return Err(format!("line {} of the journal {} can't be read: {why}", i + 1, path.display()));
    }
    Ok(entries)
}

/// All entries in `folder`, oldest first, each an [`Entry`] as JSON; only `run`'s where one is named. No journal: no entries.
pub fn read(folder: &Path, run: Option<&str>) -> Result<Vec<Json>, String> {
    let files = files(folder).map_err(|e| format!("the journal in {} can't be read: {}", folder.display(), words(&e)))?;
    let mut entries = vec![];
    for file in files {
        entries.extend(read_file(&file)?.into_iter().filter(|e| run.is_none_or(|run| e["run"] == run)));
    }
    Ok(entries)
}

/// A run that did not come to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Which.
    pub run: String,
    /// Whose.
    pub by: String,
    /// What it was.
    pub purpose: String,
    /// When it began.
    pub since: String,
    /// Why it stopped, where it could still say.
    pub why: Option<String>,
    /// How many changes it made.
    pub done: usize,
    /// Changes begun of which nobody knows how they ended.
    pub open: Vec<String>,
}

impl std::fmt::Display for Unfinished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (changes, why) = (if self.done == 1 { "change" } else { "changes" }, self.why.as_deref().unwrap_or("it was cut off"));
        write!(
            f,
            "run {} ({} by {}, begun {}) did not come to its end: {why}; {} {changes} made",
            self.run, self.purpose, self.by, self.since, self.done
        )?;
        if !self.open.is_empty() {
            write!(f, "; begun, and perhaps not done: {}", self.open.join("; "))?;
        }
        Ok(())
    }
}

/// The newest run in `folder`, if it did not come to its end. To be asked while holding the lock, so that it is none still running.
pub fn unfinished(folder: &Path) -> Result<Option<Unfinished>, String> {
    let files = files(folder).map_err(|e| format!("the journal in {} can't be read: {}", folder.display(), words(&e)))?;
    let Some(newest) = files.last() else { return Ok(None) };
    let mut found = Unfinished::default();
    let mut open: Vec<(u64, String)> = vec![];
    for entry in read_file(newest)? {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let seq = entry["seq"].as_u64().unwrap_or_default();
        match text("event").as_str() {
            "run_begin" => {
                found =
                    Unfinished { run: text("run"), by: text("by"), purpose: text("purpose"), since: text("at"), ..Unfinished::default() }
            }
            "change_begin" => open.push((seq, text("summary"))),
            "change_end" => {
                open.retain(|(s, _)| *s != seq);
                found.done += usize::from(entry["error"].is_null());
            }
            "run_end" => match entry["how"]["stopped"].as_str() {
                Some(why) => found.why = Some(why.to_owned()),
                None => return Ok(None),
            },
            _ => {}
        }
    }
    found.open = open.into_iter().map(|(_, summary)| summary).collect();
    // A file torn within its first line tells of a run that had begun nothing.
    Ok((!found.run.is_empty()).then_some(found))
}

#[cfg(test)]
mod tests;
