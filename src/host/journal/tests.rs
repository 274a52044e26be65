//! What is kept, how it is read back, and what goes.

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

#[test]
fn a_run_whose_clock_was_set_back_keeps_its_own_journal() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..KEEP {
        std::fs::write(folder.path().join(format!("99990101T0000{i:02}Z-old.jsonl")), "").unwrap();
    }
    journal(folder.path(), "new").begin("t", "s", &sysctl(), Ok(vec![])).unwrap();
    let files = files(folder.path()).unwrap();
    assert_eq!(files.len(), KEEP);
    assert!(files[0].to_string_lossy().contains("-new"), "{:?}", files[0]);
}

#[test]
fn what_a_full_disk_takes_of_a_line_goes_again() {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    // In a mount namespace of its own, which ends with the thread.
    let test = || {
        unshare(CloneFlags::CLONE_NEWNS).ok()?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).ok()?;
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some("size=16k")).ok()?;
        let mut journal = journal(path, "r1");
        let first = journal.begin("t", "small", &sysctl(), Ok(vec![])).unwrap();
        let large = "x".repeat(20_000);
        assert!(journal.begin("t", &large, &sysctl(), Ok(vec![])).unwrap_err().message.contains("nothing was changed"));
        journal.end(first, None).unwrap();
        let second = journal.begin("t", "small again", &sysctl(), Ok(vec![])).unwrap();
        assert_eq!((second, read(path, None).unwrap().len()), (2, 4), "no line is torn");
        Some(())
    };
    let done = std::thread::scope(|scope| scope.spawn(test).join().unwrap());
    assert!(done.is_some() || !nix::unistd::geteuid().is_root(), "root may mount");
}
