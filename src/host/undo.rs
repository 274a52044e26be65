//! Playing a run's journal back, the newest change first.
//!
//! A change is undone only where the host still is as that change left it: what somebody changed since stays, and is named.
//! Changes to one thing undo in turn: the newest one's inverse brings back what the one before it left.

use super::act::Act;
use super::apply::{self, Options, StopFlag};
use super::change::{UnitAction, UnitChange};
use super::journal::Journal;
use super::{Change, ChangeError, Diff, FileKind, Overlay, View, ViewError};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// How the journal names a run that undid another: this, and the other's name.
pub const PURPOSE: &str = "undo ";

/// What became of a run's changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The run that is undone; `None`: the journal has none to undo.
    pub run: Option<Head>,
    /// Its changes, the newest first.
    pub steps: Vec<Step>,
    /// Where none of them is or would be undone: the run before it that can be asked for.
    pub older: Option<Head>,
}

/// A run as the journal has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its name.
    pub run: String,
    /// When it began, RFC 3339 in UTC.
    pub at: String,
    /// Whose it was.
    pub by: String,
    /// What it was: `apply site.yml`.
    pub purpose: String,
}

/// One change of that run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What it did.
    pub summary: String,
    /// What undoing it does.
    pub inverse: Vec<Inverse>,
    /// What became of that.
    pub end: End,
}

/// One change that undoes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inverse {
    /// What it does.
    pub summary: String,
    /// Before and after, where asked for.
    pub diff: Option<Diff>,
}

/// What became of undoing a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It is undone (in a dry run: would be).
    Undone,
    /// A dry run can't know, for this reason.
    Unknown(String),
    /// There is nothing that would undo it, for this reason.
    Stays(String),
    /// The host is not as the change left it.
    Refused(String),
    /// Undoing it failed.
    Failed(String),
}

/// One change to undo, from the journal.
struct Made {
    seq: u64,
    summary: String,
    change: Option<Change>,
    undo: Result<Vec<Change>, String>,
    /// How it ended; `None`: nobody noted that.
    error: Option<Option<String>>,
}

/// A run of the journal.
pub struct Record {
    /// Which.
    pub head: Head,
    made: Vec<Made>,
    /// The next older run that is not undone.
    older: Option<Head>,
}

fn word(entry: &Json, key: &str) -> String {
    entry[key].as_str().unwrap_or_default().to_owned()
}

/// What undid a run: an undoing that came to its end, and was not undone itself.
struct Undoings<'j> {
    /// The runs that undid another, and whether they came to their end.
    runs: Vec<(&'j Head, bool)>,
}

impl<'j> Undoings<'j> {
    fn of(entries: &[Json], heads: &'j [Head]) -> Self {
        let ended = |run: &str| entries.iter().any(|e| e["event"] == "run_end" && e["run"] == run && e["how"] == "done");
        let mut runs: Vec<(&Head, bool)> = vec![];
        // The newest first: whether an undoing counts, only later runs can tell.
        for head in heads.iter().rev().filter(|h| h.purpose.starts_with(PURPOSE)) {
            if !undid(&runs, &head.run) {
                runs.push((head, ended(&head.run)));
            }
        }
        Self { runs }
    }

    /// Whether `run` is undone.
    fn undid(&self, run: &str) -> bool {
        undid(&self.runs, run)
    }

    /// Whether an undoing of `run` that was cut off, or failed, got as far as to undo the change of this number.
    fn got_to(&self, entries: &[Json], run: &str, made: &Made) -> bool {
        let task = task(made.seq, run);
        let wanted = made.undo.as_ref().map_or(0, Vec::len);
        let of = |e: &Json| self.runs.iter().any(|(h, done)| !done && h.purpose.strip_prefix(PURPOSE) == Some(run) && e["run"] == h.run);
        let begun = entries.iter().filter(|e| e["event"] == "change_begin" && e["task"] == task.as_str() && of(e));
        let well = |begin: &Json| {
            let ends = |e: &&Json| e["event"] == "change_end" && e["run"] == begin["run"] && e["seq"] == begin["seq"];
            entries.iter().find(ends).is_some_and(|end| end["error"].is_null())
        };
        wanted > 0 && begun.filter(|e| well(e)).count() >= wanted
    }
}

fn undid(undoings: &[(&Head, bool)], run: &str) -> bool {
    undoings.iter().any(|(head, done)| *done && head.purpose.strip_prefix(PURPOSE) == Some(run))
}

/// How the journal names the task of undoing a change.
fn task(seq: u64, run: &str) -> String {
    format!("change {seq} of run {run}")
}

/// The run called `wanted`, or else the newest one that changed something, undid nothing, and was not undone. `None`: there
/// is no such run. Changes that an undoing undid before it was cut off are left out; a run of which nothing else can be undone is
/// no newest one any more. `entries`: the whole journal, as [`super::journal::read`] gives it.
pub fn choose(entries: &[Json], wanted: Option<&str>) -> Result<Option<Record>, String> {
    let heads: Vec<Head> = entries
        .iter()
        .filter(|e| e["event"] == "run_begin")
        .map(|e| Head { run: word(e, "run"), at: word(e, "at"), by: word(e, "by"), purpose: word(e, "purpose") })
        .collect();
    let undoings = Undoings::of(entries, &heads);
    let changed = |run: &str| entries.iter().any(|e| e["event"] == "change_begin" && e["run"] == run);
    let open = |h: &Head| !h.purpose.starts_with(PURPOSE) && !undoings.undid(&h.run) && changed(&h.run);
    let mut runs = heads.iter().rev();
    let mut chosen = None;
    for head in runs.by_ref().filter(|h| wanted.map_or_else(|| open(h), |wanted| h.run == wanted)) {
        let (record, spent) = record(entries, head, &undoings)?;
        if wanted.is_some() || !spent {
            chosen = Some(record);
            break;
        }
    }
    let Some(mut chosen) = chosen else { return Ok(None) };
    // One that can't be read says so when it is asked for.
    chosen.older = runs.find(|h| open(h) && !record(entries, h, &undoings).is_ok_and(|(_, spent)| spent)).cloned();
    Ok(Some(chosen))
}

/// What there is to undo of a run, and whether an undoing that did not come to its end has undone all that can be.
fn record(entries: &[Json], head: &Head, undoings: &Undoings<'_>) -> Result<(Record, bool), String> {
    let mut record = Record { head: head.clone(), made: vec![], older: None };
    for entry in entries.iter().filter(|e| e["run"] == head.run.as_str()) {
        match entry["event"].as_str() {
            Some("change_begin") => record.made.push(made(entry)?),
            Some("change_end") => {
                if let Some(made) = record.made.iter_mut().find(|m| entry["seq"] == m.seq) {
                    made.error = Some(entry["error"].as_str().map(str::to_owned));
                }
            }
            _ => {}
        }
    }
    let all = record.made.len();
    record.made.retain(|made| !undoings.got_to(entries, &head.run, made));
    let spent = record.made.len() < all && record.made.iter().all(|made| kept(made).is_err());
    Ok((record, spent))
}

fn made(entry: &Json) -> Result<Made, String> {
    let summary = word(entry, "summary");
    let unread = |e: serde_json::Error| format!("what the journal has about `{summary}` can't be read by this version of fettle: {e}");
    let undo = match &entry["undo"]["Err"] {
        Json::String(why) => Err(why.clone()),
        _ => Ok(serde_json::from_value(entry["undo"]["Ok"].clone()).map_err(unread)?),
    };
    let change = serde_json::from_value(entry["change"].clone()).map_err(unread)?;
    Ok(Made { seq: entry["seq"].as_u64().unwrap_or_default(), change, undo, error: None, summary: summary.clone() })
}

/// Where changes are undone: really, or on an overlay.
trait Ground {
    fn view(&self) -> &dyn View;
    fn act(&mut self, seq: u64, changes: &[Change]) -> apply::Applied;
    /// Nobody can know what these would do.
    fn unknown(&mut self, changes: &[Change], why: &str);
    fn stopped(&self) -> bool;
}

struct Dry<'a> {
    overlay: Overlay<'a>,
    diff: bool,
}

impl Ground for Dry<'_> {
    fn view(&self) -> &dyn View {
        &self.overlay
    }

    fn act(&mut self, _: u64, changes: &[Change]) -> apply::Applied {
        apply::predict_all(changes, &mut self.overlay, Options { task: "", diff: self.diff })
    }

    fn unknown(&mut self, changes: &[Change], why: &str) {
        changes.iter().for_each(|c| apply::blur(c, &mut self.overlay, why));
    }

    fn stopped(&self) -> bool {
        false
    }
}

struct Real<'a> {
    view: &'a dyn View,
    journal: &'a mut Journal,
    stop: &'a StopFlag,
    diff: bool,
    run: &'a str,
}

impl Ground for Real<'_> {
    fn view(&self) -> &dyn View {
        self.view
    }

    fn act(&mut self, seq: u64, changes: &[Change]) -> apply::Applied {
        let task = task(seq, self.run);
        apply::perform_all(changes, self.view, self.journal, self.stop, Options { task: &task, diff: self.diff }, &mut |_| {})
    }

    fn unknown(&mut self, _: &[Change], _: &str) {}

    fn stopped(&self) -> bool {
        self.stop.is_stopped()
    }
}

/// What undoing `record` would do.
pub fn predict(record: &Record, view: &dyn View, diff: bool) -> Report {
    walk(record, &mut Dry { overlay: Overlay::new(view), diff })
}

/// Undoes `record`; the inverse of each inverse goes into `journal`.
pub fn perform(record: &Record, view: &dyn View, journal: &mut Journal, stop: &StopFlag, diff: bool) -> Report {
    walk(record, &mut Real { view, journal, stop, diff, run: &record.head.run })
}

fn walk(record: &Record, ground: &mut dyn Ground) -> Report {
    let mut steps = vec![];
    for made in record.made.iter().rev() {
        let (inverse, end) = if ground.stopped() {
            (vec![], End::Failed("not begun: the run was stopped".into()))
        } else {
            match inverse(made, ground.view()) {
                Ok(changes) => act(ground, made.seq, changes),
                Err(End::Unknown(why)) => {
                    let undo = made.undo.as_deref().unwrap_or_default();
                    ground.unknown(undo, &why);
                    (undo.iter().map(|c| Inverse { summary: c.describe(), diff: None }).collect(), End::Unknown(why))
                }
                Err(end) => (vec![], end),
            }
        };
        steps.push(Step { summary: made.summary.clone(), inverse, end });
    }
    // systemd had read the files as that run left them.
    let reload = |c: &Change| matches!(c, Change::Unit(UnitChange { action: UnitAction::DaemonReload, .. }));
    let undone = steps.iter().any(|s| s.end == End::Undone);
    if undone && let Some(made) = record.made.iter().find(|m| m.change.as_ref().is_some_and(reload)) {
        let again = Change::Unit(UnitChange { unit: String::new(), action: UnitAction::DaemonReload });
        let (inverse, end) = act(ground, made.seq, &[again]);
        steps.push(Step { summary: made.summary.clone(), inverse, end });
    }
    let none = !ground.stopped() && !steps.iter().any(|s| matches!(s.end, End::Undone | End::Unknown(_)));
    Report { run: Some(record.head.clone()), steps, older: record.older.clone().filter(|_| none) }
}

fn act(ground: &mut dyn Ground, seq: u64, changes: &[Change]) -> (Vec<Inverse>, End) {
    let applied = ground.act(seq, changes);
    let end = match applied.error() {
        Some(ChangeError { unknown: Some(why), .. }) => End::Unknown(why.clone()),
        Some(e) => End::Failed(e.message.clone()),
        None if applied.stopped > 0 => End::Failed("only begun: the run was stopped".into()),
        None => End::Undone,
    };
    (applied.done.into_iter().map(|d| Inverse { summary: d.summary, diff: d.diff }).collect(), end)
}

/// The change that was made and those that undo it, as far as the journal has them, or why there are none.
fn kept(made: &Made) -> Result<(&Change, &[Change]), End> {
    if let Some(Some(why)) = &made.error {
        return Err(End::Stays(format!("it had failed: {why}")));
    }
    let undo = made.undo.as_ref().map_err(|why| End::Stays(why.clone()))?;
    let Some(change) = &made.change else {
        return Err(End::Stays("what it made was too large to be kept, so nobody can tell whether it changed since".into()));
    };
    if undo.is_empty() {
        return Err(End::Stays(match change {
            Change::Unit(UnitChange { unit, action: UnitAction::Restart | UnitAction::Reload }) => {
                format!("it was running before; restart {unit} if it is to see what is undone")
            }
            Change::Unit(UnitChange { action: UnitAction::DaemonReload, .. }) => "done again at the end".into(),
            _ => "there is nothing to bring back".into(),
        }));
    }
    Ok((change, undo))
}

/// The changes that undo `made` on the host as it is, or why there are none.
fn inverse<'m>(made: &'m Made, view: &dyn View) -> Result<&'m [Change], End> {
    let (change, undo) = kept(made)?;
    if let Err(e) = as_left(change, undo, view) {
        return Err(match e.unknown {
            Some(why) => End::Unknown(why),
            None if made.error.is_none() => {
                End::Refused(format!("it was cut off, and the host is not as it would have left it: {}", e.message))
            }
            None => End::Refused(format!("changed since: {}", e.message)),
        });
    }
    Ok(undo)
}

/// Whether the host is as `change` left it, and undoing it takes away nothing that came since.
fn as_left(change: &Change, undo: &[Change], view: &dyn View) -> Result<(), ChangeError> {
    change.verify(view)?;
    for inverse in undo {
        let Change::Remove(remove) = inverse else { continue };
        let path = &remove.path;
        match view.stat(path, false)? {
            Some(stat) if stat.kind == FileKind::Directory => {
                if let Some(first) = view.list(path)?.first() {
                    return Err(ChangeError::new(format!("{} is not empty: it holds {first}", path.display())));
                }
                // Below a mount that is to go, only the kernel sees what is there.
                if let Some(mount) = view.mounts()?.iter().find(|m| m.target == *path) {
                    return Err(ChangeError::new(format!("{} is mounted on {}", mount.source, path.display())));
                }
            }
            Some(stat) if matches!(change, Change::Touch(_)) && stat.size > 0 => {
                return Err(ChangeError::new(format!("{} was made empty, and is not empty any more", path.display())));
            }
            Some(_) => {}
            None => return Err(ViewError::NotFound(path.clone()).into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
