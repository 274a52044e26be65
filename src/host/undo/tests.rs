//! Runs on real files, played back.

use super::*;
use crate::host::RealHost;
use crate::host::change::{MakeDirectory, Run, WriteFile};
use crate::host::journal::{How, RunInfo, read};
use std::path::Path;

fn file(path: &Path, content: &str) -> Change {
    Change::WriteFile(WriteFile {
        path: path.to_owned(),
        content: content.into(),
        mode: Some(0o600),
        uid: None,
        gid: None,
        backup: false,
        validate: None,
        secret: false,
        follow: true,
    })
}

fn journal(folder: &Path, run: &str, purpose: &str) -> Journal {
    Journal::new(folder.join("journal"), RunInfo { run: run.into(), by: "me".into(), purpose: purpose.into() })
}

fn run(folder: &Path, run: &str, changes: &[Change]) {
    let mut journal = journal(folder, run, "apply x.yml");
    let applied = apply::perform_all(changes, &RealHost, &mut journal, &StopFlag::new(), Options::default(), &mut |_| {});
    assert_eq!(applied.error(), None);
    journal.finish(How::Done).unwrap();
}

fn ends(report: &Report) -> Vec<&End> {
    report.steps.iter().map(|s| &s.end).collect()
}

#[test]
fn a_run_is_played_back_newest_first_as_predicted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (dir, old) = (folder.join("d"), folder.join("old"));
    std::fs::write(&old, "before\n").unwrap();
    let made = Change::MakeDirectory(MakeDirectory { path: dir.clone(), mode: Some(0o755), uid: None, gid: None });
    let opaque = Change::Run(Run { argv: vec!["true".into()], chdir: None, stdin: None, environment: vec![], secret: false });
    run(folder, "r1", &[made, file(&dir.join("a"), "1"), file(&dir.join("a"), "2"), file(&old, "after\n"), opaque]);
    let entries = read(&folder.join("journal"), None).unwrap();
    let record = choose(&entries, None).unwrap().unwrap();
    let predicted = predict(&record, &RealHost, true);
    assert!(dir.exists(), "nothing is done yet");
    let mut log = journal(folder, "r2", "undo r1");
    let done = perform(&record, &RealHost, &mut log, &StopFlag::new(), true);
    log.finish(How::Done).unwrap();
    assert_eq!(predicted, done);
    let stays = End::Stays("what a command did can't be undone".into());
    assert_eq!(ends(&done), [&stays, &End::Undone, &End::Undone, &End::Undone, &End::Undone]);
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "before\n");
    assert!(!dir.exists());
    let entries = read(&folder.join("journal"), None).unwrap();
    assert!(choose(&entries, None).unwrap().is_none(), "undone, and undoing an undoing must be asked for by name");
    let again = choose(&entries, Some("r2")).unwrap().unwrap();
    assert!(predict(&again, &RealHost, false).steps.iter().all(|s| s.end == End::Undone));
    assert!(choose(&entries, Some("nosuch")).unwrap().is_none());
}

#[test]
fn what_changed_since_stays_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (dir, a) = (folder.join("d"), folder.join("a"));
    let made = Change::MakeDirectory(MakeDirectory { path: dir.clone(), mode: Some(0o755), uid: None, gid: None });
    run(folder, "r1", &[made, file(&a, "1"), file(&a, "2"), file(&folder.join("b"), "3")]);
    std::fs::write(&a, "mine").unwrap();
    std::fs::write(dir.join("data"), "mine").unwrap();
    let entries = read(&folder.join("journal"), None).unwrap();
    let report =
        perform(&choose(&entries, Some("r1")).unwrap().unwrap(), &RealHost, &mut journal(folder, "r2", "undo r1"), &StopFlag::new(), false);
    let refused = |i: usize| match &report.steps[i].end {
        End::Refused(why) => why.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(report.steps[0].end, End::Undone);
    assert!(refused(1).starts_with(&format!("changed since: {}", a.display())), "{}", refused(1));
    assert!(refused(2).starts_with(&format!("changed since: {}", a.display())), "the older one can't be undone either");
    assert_eq!(refused(3), format!("changed since: {} is not empty: it holds data", dir.display()));
    assert_eq!(std::fs::read_to_string(&a).unwrap(), "mine");
    assert_eq!(std::fs::read_to_string(dir.join("data")).unwrap(), "mine");
}

#[test]
fn an_undoing_that_was_cut_off_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (a, b) = (folder.join("a"), folder.join("b"));
    run(folder, "r0", &[file(&b, "0")]);
    run(folder, "r1", &[file(&a, "1"), file(&a, "2"), file(&b, "3")]);
    let chosen = |wanted: Option<&str>| choose(&read(&folder.join("journal"), None).unwrap(), wanted).unwrap();
    let left = |record: &Record| record.made.iter().map(|m| m.seq).collect::<Vec<_>>();
    let whole = chosen(None).unwrap();
    let cut = |name: &str, how: Option<How>, parts: std::ops::Range<usize>| {
        let mut log = journal(folder, name, "undo r1");
        let made = chosen(Some("r1")).unwrap().made.drain(parts).collect();
        let report = perform(&Record { head: whole.head.clone(), made, older: None }, &RealHost, &mut log, &StopFlag::new(), false);
        assert!(report.steps.iter().all(|s| s.end == End::Undone), "{report:?}");
        how.map_or(Ok(()), |how| log.finish(how)).unwrap();
    };
    // Killed behind its first change, then failed behind the next.
    cut("u1", None, 2..3);
    let rest = chosen(None).unwrap();
    assert_eq!((rest.head.run.as_str(), left(&rest)), ("r1", vec![1, 2]), "not r0, though an undoing of r1 is there");
    cut("u2", Some(How::Failed), 1..2);
    let rest = chosen(None).unwrap();
    assert_eq!((rest.head.run.as_str(), left(&rest)), ("r1", vec![1]));
    cut("u3", Some(How::Done), 0..1);
    assert_eq!(chosen(None).unwrap().head.run, "r0");
    assert_eq!((a.exists(), std::fs::read_to_string(&b).unwrap()), (false, "0".to_owned()));
    // Undoing the last undoing makes a run that can be undone of it again.
    let back = chosen(Some("u3")).unwrap();
    let mut log = journal(folder, "u4", "undo u3");
    assert_eq!(ends(&perform(&back, &RealHost, &mut log, &StopFlag::new(), false)), [&End::Undone]);
    log.finish(How::Done).unwrap();
    assert_eq!(chosen(None).unwrap().head.run, "r1");
}

#[test]
fn an_undoing_that_can_go_no_further_does_not_hide_the_runs_before() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (a, b) = (folder.join("a"), folder.join("b"));
    let opaque = Change::Run(Run { argv: vec!["true".into()], chdir: None, stdin: None, environment: vec![], secret: false });
    run(folder, "r0", &[file(&a, "0")]);
    run(folder, "r1", &[file(&b, "1"), opaque.clone()]);
    run(folder, "r2", &[file(&a, "2")]);
    let chosen = |wanted: Option<&str>| choose(&read(&folder.join("journal"), None).unwrap(), wanted).unwrap();
    let older = |record: &Record| predict(record, &RealHost, false).older.map(|h| h.run);
    // By hand, behind the run: nothing of it is undone, and the one before is named.
    std::fs::write(&a, "mine").unwrap();
    let refused = chosen(None).unwrap();
    assert_eq!((refused.head.run.as_str(), older(&refused).as_deref()), ("r2", Some("r1")));
    std::fs::write(&a, "2").unwrap();
    assert_eq!(older(&chosen(None).unwrap()), None, "it is undone itself");
    // All is undone that can be, but the undoing was cut off before it could say that it ended, or was stopped there.
    for (name, run, how) in [("u1", "r2", None), ("u2", "r1", Some(How::Stopped("Ctrl-C".into())))] {
        let record = chosen(None).unwrap();
        assert_eq!(record.head.run, run);
        let mut log = journal(folder, name, &format!("undo {run}"));
        assert!(ends(&perform(&record, &RealHost, &mut log, &StopFlag::new(), false)).contains(&&End::Undone));
        how.map_or(Ok(()), |how| log.finish(how)).unwrap();
    }
    assert_eq!(chosen(None).unwrap().head.run, "r0");
    assert_eq!(older(&chosen(Some("r2")).unwrap()).as_deref(), Some("r0"), "r1 is undone as well");
    // What only can't be undone is not passed over: nothing was tried of it.
    run(folder, "r3", &[opaque]);
    let stays = chosen(None).unwrap();
    assert_eq!((stays.head.run.as_str(), older(&stays).as_deref()), ("r3", Some("r0")));
}
