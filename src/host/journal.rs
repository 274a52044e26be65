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
        // One write, so that a crash leaves at most the last line torn.
        file.write_all(&line)?;
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
        let mut file = std::fs::OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        let begin = Entry::RunBegin {
            at: now,
            run: self.info.run.clone(),
            by: self.info.by.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            purpose: self.info.purpose.clone(),
        };
        let mut line = serde_json::to_vec(&begin)?;
        line.push(b'\n');
        file.write_all(&line)?;
        File::open(&self.folder)?.sync_all()?;
        let files = files(&self.folder)?;
        for old in files.iter().take(files.len().saturating_sub(KEEP)) {
            // One that can't be removed does no harm.
            let _ = std::fs::remove_file(old);
        }
        Ok(file)
    }
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
mod tests {
    use super::*;
    use crate::host::change::{Remove, Run, SetSysctl, WriteFile};
    use std::os::unix::fs::PermissionsExt;

    fn journal(folder: &Path, run: &str) -> Journal {
        Journal::new(folder, RunInfo { run: run.into(), by: "ann@desk".into(), purpose: "apply site.yml".into() })
    }

    fn sysctl() -> Change {
        Change::SetSysctl(SetSysctl { key: "a.b".into(), value: "1".into() })
    }

    #[test]
    fn a_run_is_written_ahead_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("a/journal");
        let mut journal = journal(&folder, "r1");
        assert!(read(&folder, None).unwrap().is_empty(), "nothing changed, nothing written");
        let seq = journal.begin("tune", "set a.b: 0 → 1", &sysctl(), Ok(vec![sysctl()])).unwrap();
        let left = unfinished(&folder).unwrap().unwrap();
        assert_eq!((left.run.as_str(), left.done, left.open.as_slice()), ("r1", 0, &["set a.b: 0 → 1".to_owned()][..]));
        assert!(left.to_string().contains("perhaps not done: set a.b: 0 → 1"));
        journal.end(seq, None).unwrap();
        journal.finish(How::Stopped("the connection was lost".into())).unwrap();
        assert!(unfinished(&folder).unwrap().unwrap().to_string().contains("the connection was lost; 1 change made"));
        let lines = read(&folder, Some("r1")).unwrap();
        let entries: Vec<Entry> = lines.iter().map(|line| serde_json::from_value(line.clone()).unwrap()).collect();
        assert!(
            matches!(&entries[..], [Entry::RunBegin { by, .. }, Entry::ChangeBegin { seq: 1, undo: Ok(_), .. }, Entry::ChangeEnd { error: None, .. }, Entry::RunEnd { .. }] if by == "ann@desk")
        );
        assert_eq!(lines[1]["event"], "change_begin");
        assert!(read(&folder, Some("other")).unwrap().is_empty());
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&files(&folder).unwrap()[0])), (0o700, 0o600));
    }

    #[test]
    fn a_later_good_run_without_changes_closes_the_matter() {
        let folder = tempfile::tempdir().unwrap();
        journal(folder.path(), "r1").begin("t", "s", &sysctl(), Ok(vec![])).unwrap();
        assert!(unfinished(folder.path()).unwrap().is_some());
        journal(folder.path(), "r2").finish(How::Done).unwrap();
        assert_eq!(unfinished(folder.path()).unwrap(), None);
        journal(folder.path(), "r3").finish(How::Done).unwrap();
        assert_eq!(files(folder.path()).unwrap().len(), 2);
    }

    #[test]
    fn a_torn_last_line_is_left_out_and_a_broken_one_named() {
        let folder = tempfile::tempdir().unwrap();
        journal(folder.path(), "r1").begin("t", "s", &sysctl(), Ok(vec![])).unwrap();
        let file = files(folder.path()).unwrap().remove(0);
        let whole = std::fs::read(&file).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&file, &whole[..cut]).unwrap();
            assert!(read(folder.path(), None).unwrap().len() <= 2, "cut at {cut}");
            unfinished(folder.path()).unwrap();
        }
        std::fs::write(&file, b"{broken\n{}\n").unwrap();
        assert!(read(folder.path(), None).unwrap_err().contains("line 1 of the journal"));
        std::fs::write(&file, b"{}\n").unwrap();
        assert!(read(folder.path(), None).unwrap_err().ends_with("it is no entry of a journal"));
    }

    #[test]
    fn secrets_stay_out() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = journal(folder.path(), "r1");
        let write = WriteFile {
            path: "/etc/key".into(),
            content: b"hunter2".into(),
            mode: None,
            uid: None,
            gid: None,
            backup: false,
            validate: None,
            secret: true,
            follow: true,
        };
        let old = WriteFile { content: b"hunter1".into(), ..write.clone() };
        journal.begin("t", "write /etc/key", &Change::WriteFile(write), Ok(vec![Change::WriteFile(old)])).unwrap();
        let run = |secret| {
            let argv = vec!["login".into(), if secret { "hunter4" } else { "me" }.into()];
            Change::Run(Run { argv, chdir: None, stdin: Some("hunter3".into()), environment: vec![("P".into(), "hunter5".into())], secret })
        };
        journal.begin("t", "run a command", &run(true), Err("no".into())).unwrap();
        journal.begin("t", "run login", &run(false), Err("no".into())).unwrap();
        let text = std::fs::read_to_string(files(folder.path()).unwrap().remove(0)).unwrap();
        // aHVudGVy is `hunter` in base64.
        assert!(text.contains("login") && !text.contains("hunter") && !text.contains("aHVudGVy"), "{text}");
    }

    #[test]
    fn only_the_newest_runs_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        for i in 0..KEEP + 5 {
            std::fs::write(folder.path().join(format!("20200101T0000{i:02}Z-old.jsonl")), "").unwrap();
        }
        let change = Change::Remove(Remove { path: "/x".into() });
        journal(folder.path(), "new").begin("t", "s", &change, Ok(vec![])).unwrap();
        let files = files(folder.path()).unwrap();
        assert_eq!(files.len(), KEEP);
        assert!(files[KEEP - 1].to_string_lossy().contains("-new"));
    }
}
