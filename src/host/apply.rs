//! Performing and predicting a task's changes, in order.

use super::act::Act;
use super::journal::Journal;
use super::real::DEVICES_AT_ONCE;
use super::{Change, ChangeError, Diff, Outcome, Overlay, View};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Told to stop: the change under way ends, no other begins.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Nobody has told so yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells so.
    pub fn stop(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether somebody has told so.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// One change that was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// Which of the changes given.
    pub index: usize,
    /// One line: what it does.
    pub summary: String,
    /// What it destroys.
    pub destroys: Option<String>,
    /// Before and after, where asked for and there is something to show.
    pub diff: Option<Diff>,
    /// Performed and verified (or predicted), or why not.
    pub result: Result<Outcome, ChangeError>,
}

/// What became of a task's changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// Those tried, in order. After a failure none is begun.
    pub done: Vec<Done>,
    /// How many were not begun because of the stop flag.
    pub stopped: usize,
}

impl Applied {
    /// The first failure, or the first change whose outcome can't be known.
    pub fn error(&self) -> Option<&ChangeError> {
        self.done.iter().find_map(|d| d.result.as_ref().err())
    }

    /// All changes' fields for the task's result, later ones over earlier ones, those of a failure too.
    pub fn fields(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut fields = serde_json::Map::new();
        for done in &self.done {
            let from = match &done.result {
                Ok(outcome) => &outcome.fields,
                Err(e) => &e.fields,
            };
            fields.extend(from.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
        fields
    }
}

/// What is being done, for those who watch.
#[derive(Debug)]
pub enum Step<'a> {
    /// The change of this index and this line begins.
    Begin(usize, &'a str),
    /// This one ended.
    End(&'a Done),
}

/// How a task's changes are performed or predicted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// The task's name, for the journal.
    pub task: &'a str,
    /// Make diffs.
    pub diff: bool,
}

/// A change before it is tried.
fn look(index: usize, change: &Change, view: &dyn View, options: Options<'_>) -> Done {
    Done {
        index,
        summary: change.describe_with(view),
        destroys: change.destroys(),
        diff: if options.diff { change.diff(view) } else { None },
        result: Ok(Outcome::default()),
    }
}

/// Performs `changes` in order: each is journaled, performed and verified through `view`. Filesystems that follow one
/// another are made, and mounted, at once. Stops at the first failure and when told to.
pub fn perform_all(
    changes: &[Change],
    view: &dyn View,
    journal: &mut Journal,
    stop: &StopFlag,
    options: Options<'_>,
    on: &mut dyn FnMut(Step<'_>),
) -> Applied {
    let mut applied = Applied::default();
    let mut rest = changes;
    while !rest.is_empty() {
        let index = changes.len() - rest.len();
        if stop.is_stopped() {
            applied.stopped = rest.len();
            break;
        }
        let more = (1..rest.len().min(DEVICES_AT_ONCE)).take_while(|i| rest[..*i].iter().all(|c| independent(c, &rest[*i]))).count();
        let (now, later) = rest.split_at(1 + more);
        rest = later;
        perform_batch(now, index, view, journal, options, on, &mut applied.done);
        if applied.error().is_some() {
            break;
        }
    }
    verify_again(changes, view, &mut applied);
    applied
}

/// Whether both take long and neither needs or hinders the other.
fn independent(a: &Change, b: &Change) -> bool {
    match (a, b) {
        (Change::MakeFilesystem(_), Change::MakeFilesystem(_)) => true,
        (Change::Mount(a), Change::Mount(b)) => {
            a.device.is_some()
                && b.device.is_some()
                && a.device != b.device
                && !a.target.starts_with(&b.target)
                && !b.target.starts_with(&a.target)
        }
        _ => false,
    }
}

/// What was done early may be undone by what was done later: the kernel ties some attributes to others, and systemd unmounts what it
/// has other plans for.
fn verify_again(changes: &[Change], view: &dyn View, applied: &mut Applied) {
    if applied.error().is_some() {
        return;
    }
    let several = changes.iter().filter(|c| matches!(c, Change::SetSysfs(_))).count() > 1;
    for done in &mut applied.done {
        let (change, what) = match changes.get(done.index) {
            Some(c @ Change::SetSysfs(_)) if several => (c, "another value that this task sets changed it again"),
            Some(c @ Change::Mount(_)) if changes.len() > 1 => (c, "it was mounted, and is not any more"),
            _ => continue,
        };
        if let Err(mut e) = change.verify(view) {
            e.message = format!("{what}: {}", e.message);
            done.result = Err(e);
        }
    }
}

/// Performs `changes` (the first is the `index`th of all) at once.
fn perform_batch(
    changes: &[Change],
    index: usize,
    view: &dyn View,
    journal: &mut Journal,
    options: Options<'_>,
    on: &mut dyn FnMut(Step<'_>),
    all: &mut Vec<Done>,
) {
    let mut begun: Vec<(&Change, Done, Option<u64>)> = vec![];
    for (i, change) in changes.iter().enumerate() {
        let mut done = look(index + i, change, view, options);
        let seq = match journal.begin(options.task, &done.summary, change, change.undo(view)) {
            Ok(seq) => Some(seq),
            Err(e) => {
                done.result = Err(e);
                None
            }
        };
        let failed = seq.is_none();
        begun.push((change, done, seq));
        if failed {
            break;
        }
    }
    if let (Err(e), Some((_, last, _))) = (journal.sync(), begun.last_mut())
        && last.result.is_ok()
    {
        last.result = Err(e);
    }
    // What can't be journaled is not done, nor is what was to be done beside it.
    if let Some((_, failed, _)) = begun.iter().find(|(_, d, _)| d.result.is_err()) {
        let why = failed.result.clone();
        for (_, done, _) in &mut begun {
            done.result.clone_from(&why);
        }
    } else {
        for (_, done, _) in &begun {
            on(Step::Begin(done.index, &done.summary));
        }
        let results = perform_at_once(&begun.iter().map(|(c, ..)| *c).collect::<Vec<_>>());
        for ((change, done, _), result) in begun.iter_mut().zip(results) {
            done.result = result.and_then(|outcome| match change.verify(view) {
                Ok(()) => Ok(outcome),
                Err(mut e) => {
                    e.fields.extend(outcome.fields);
                    Err(e)
                }
            });
        }
    }
    for (_, mut done, seq) in begun {
        if let Some(seq) = seq
            && let Err(e) = journal.end(seq, done.result.as_ref().err())
            && done.result.is_ok()
        {
            let why = super::real::words(&e);
            done.result = Err(ChangeError::new(format!("{}: done, but the journal can't be written any more: {why}", done.summary)));
        }
        on(Step::End(&done));
        all.push(done);
    }
}

/// Performs changes that don't depend on one another, each in a thread of its own where there are several.
fn perform_at_once(changes: &[&Change]) -> Vec<Result<Outcome, ChangeError>> {
    if let [one] = changes {
        return vec![one.perform()];
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = changes.iter().map(|change| scope.spawn(|| change.perform())).collect();
        let lost = || Err(ChangeError::new("the change was cut off by an error in fettle; please report it"));
        threads.into_iter().map(|t| t.join().unwrap_or_else(|_| lost())).collect()
    })
}

/// Predicts `changes` in order on `overlay`; stops at the first that is known to fail. From the first one on whose
/// outcome can't be known all are unknown: they are told, and so is everybody who looks at what they would touch.
pub fn predict_all(changes: &[Change], overlay: &mut Overlay<'_>, options: Options<'_>) -> Applied {
    let mut applied = Applied::default();
    let mut unknown: Option<ChangeError> = None;
    for (index, change) in changes.iter().enumerate() {
        let mut done = look(index, change, overlay, options);
        done.result = match &unknown {
            Some(e) => Err(e.clone()),
            None => change.predict(overlay),
        };
        let failed = match &done.result {
            Err(ChangeError { unknown: None, .. }) => true,
            Err(e @ ChangeError { unknown: Some(why), .. }) => {
                blur(change, overlay, why);
                unknown = Some(e.clone());
                false
            }
            Ok(_) => false,
        };
        applied.done.push(done);
        if failed {
            break;
        }
    }
    applied
}

/// Makes what `change` would touch unknown.
pub(super) fn blur(change: &Change, overlay: &mut Overlay<'_>, why: &str) {
    match change {
        Change::WriteFile(c) => overlay.mark_unknown(&c.path, why),
        Change::SetAttributes(c) => overlay.mark_unknown(&c.path, why),
        Change::MakeDirectory(c) => overlay.mark_unknown(&c.path, why),
        Change::MakeLink(c) => overlay.mark_unknown(&c.path, why),
        Change::Remove(c) => overlay.mark_unknown(&c.path, why),
        Change::Touch(c) => overlay.mark_unknown(&c.path, why),
        Change::SetSysfs(c) => overlay.mark_unknown(&c.path, why),
        Change::SetSysctl(c) => {
            // A key that names no file touches none.
            if let Ok(path) = super::changes::kernel::sysctl_path(&c.key) {
                overlay.mark_unknown(path, why);
            }
        }
        Change::SetMtu(c) => overlay.mark_unknown(Path::new("/sys/class/net").join(&c.link).join("mtu"), why),
        Change::MakeFilesystem(c) => overlay.mark_unknown(&c.disk.path, why),
        Change::Mount(c) | Change::Remount(c) => {
            overlay.mark_unknown(&c.target, why);
            if let Some(device) = &c.device {
                overlay.mark_unknown(device, why);
            }
        }
        Change::Unmount(c) => overlay.mark_unknown(&c.target, why),
        Change::Unit(c) => overlay.mark_unit_unknown(&c.unit, why),
        // Nobody knows what a command touches, whether it is known to run or not.
        Change::Run(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::RealHost;
    use crate::host::change::{MakeDirectory, Run, WriteFile};
    use crate::host::journal::{self, Entry, RunInfo};

    fn changes(folder: &Path) -> Vec<Change> {
        let dir = folder.join("d");
        let file = |name: &str, content: &str| {
            let content = content.into();
            Change::WriteFile(WriteFile {
                path: dir.join(name),
                content,
                mode: Some(0o600),
                uid: None,
                gid: None,
                backup: false,
                validate: None,
                secret: false,
                follow: true,
            })
        };
        vec![
            Change::MakeDirectory(MakeDirectory { path: dir.clone(), mode: Some(0o755), uid: None, gid: None }),
            file("a", "one\n"),
            file("a", "two\n"),
            file("no/b", "x"),
            file("c", "never"),
        ]
    }

    fn journal(folder: &Path) -> Journal {
        Journal::new(folder.join("journal"), RunInfo { run: "r".into(), by: "me".into(), purpose: "test".into() })
    }

    #[test]
    fn a_dry_run_and_an_apply_report_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let changes = changes(folder.path());
        let options = Options { task: "make things", diff: true };
        let predicted = predict_all(&changes, &mut Overlay::new(&RealHost), options);
        let mut steps = vec![];
        let applied = perform_all(&changes, &RealHost, &mut journal(folder.path()), &StopFlag::new(), options, &mut |step| match step {
            Step::Begin(i, _) => steps.push(format!("begin {i}")),
            Step::End(done) => steps.push(format!("end {} {}", done.index, done.result.is_ok())),
        });
        assert_eq!(predicted, applied);
        assert_eq!(applied.done.len(), 4, "the failure is the last");
        assert_eq!(applied.done[2].diff.as_ref().unwrap().before, "one\n");
        assert!(applied.error().unwrap().message.contains("does not exist"));
        assert_eq!(steps, ["begin 0", "end 0 true", "begin 1", "end 1 true", "begin 2", "end 2 true", "begin 3", "end 3 false"]);
        let entries = journal::read(&folder.path().join("journal"), None).unwrap();
        let entries = entries.into_iter().map(|e| serde_json::from_value(e).unwrap());
        let undo: Vec<_> = entries.filter_map(|e| if let Entry::ChangeBegin { undo, .. } = e { undo.ok() } else { None }).collect();
        assert_eq!(undo.len(), 4, "kept before anybody knows that the last one fails");
        for change in undo.iter().rev().flatten() {
            change.perform().unwrap();
        }
        assert_eq!(RealHost.list(folder.path()).unwrap(), ["journal"], "undone by the journal alone");
    }

    #[test]
    fn from_the_first_unknown_on_all_is_unknown_and_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("d");
        std::fs::create_dir(&dir).unwrap();
        let mut overlay = Overlay::new(&RealHost);
        // A filesystem that holds nobody knows what.
        overlay.add_mount(super::super::Mount {
            target: dir.clone(),
            source: "/dev/sdz".into(),
            device: (8, 250),
            root: "/".into(),
            fstype: "ext4".into(),
            options: vec![],
        });
        let outside = folder.path().join("outside");
        let mut changes = changes(folder.path()).split_off(1);
        changes.push(Change::MakeDirectory(MakeDirectory { path: outside.clone(), mode: None, uid: None, gid: None }));
        let applied = predict_all(&changes, &mut overlay, Options::default());
        let why = format!("what /dev/sdz holds shows once it is mounted on {}", dir.display());
        let told: Vec<_> = applied.done.iter().map(|d| d.result.clone().map_err(|e| e.unknown)).collect();
        assert_eq!(told, vec![Err(Some(why.clone())); changes.len()], "none of them is a failure");
        assert_eq!(overlay.stat(&outside, true), Err(crate::host::ViewError::Unknown(why)), "nobody takes it for what it was");
    }

    #[test]
    fn told_to_stop_it_ends_the_change_it_is_in() {
        let folder = tempfile::tempdir().unwrap();
        let stop = StopFlag::new();
        let told = stop.clone();
        let applied =
            perform_all(&changes(folder.path()), &RealHost, &mut journal(folder.path()), &stop, Options::default(), &mut |step| {
                if matches!(step, Step::Begin(1, _)) {
                    told.stop();
                }
            });
        assert_eq!((applied.done.len(), applied.stopped), (2, 3));
        assert!(applied.error().is_none());
        assert_eq!(RealHost.read(&folder.path().join("d/a")).unwrap(), b"one\n");
    }

    #[test]
    fn without_a_journal_nothing_is_done() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("journal"), "in the way").unwrap();
        let applied =
            perform_all(&changes(folder.path()), &RealHost, &mut journal(folder.path()), &StopFlag::new(), Options::default(), &mut |_| {});
        assert!(applied.error().unwrap().message.contains("nothing was changed: the journal"));
        assert_eq!(RealHost.list(folder.path()).unwrap(), ["journal"]);
    }

    #[test]
    fn several_are_performed_at_once() {
        let sleep = |text: &str| {
            Change::Run(Run {
                argv: vec!["/bin/sh".into(), "-c".into(), text.into()],
                chdir: None,
                stdin: None,
                environment: vec![],
                secret: false,
            })
        };
        let (a, b) = (sleep("sleep 0.5; echo a"), sleep("sleep 0.5; exit 3"));
        let begin = std::time::Instant::now();
        let results = perform_at_once(&[&a, &b, &a, &b]);
        assert!(begin.elapsed().as_millis() < 1900);
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true, false]);
    }
}
