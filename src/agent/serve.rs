//! The agent's main loop.

use super::handlers::Notices;
use super::run::run_play;
use super::session::{Session, Settings};
use super::variables::Memory;
use super::wire::Wire;
use crate::host::apply::StopFlag;
use crate::host::cache::Cache;
use crate::host::journal::{self, How, Journal, RunInfo};
use crate::host::lock::{self, LockError};
use crate::host::{Overlay, RealHost, undo};
use crate::protocol::{Journal as JournalEntries, LockHolder, ToAgent, ToController, Told, VERSION};
use crate::template::Engine;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::PathBuf;

/// Why the agent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The controller said goodbye.
    Done,
    /// The controller went away in the middle.
    Lost,
    /// It could not start: another run holds the host, or the versions differ.
    Refused,
}

/// The agent's first line: everything behind it is frames. The controller waits for it, because before it there
/// may be noise of a login shell, or a question of sudo's.
const READY: &[u8] = b"FETTLE-READY\n";

/// Serves one connection: frames come from `from`, answers go to `to`.
pub fn serve(from: impl Read + Send + 'static, mut to: impl Write + Send + 'static) -> Exit {
    if to.write_all(READY).and_then(|()| to.flush()).is_err() {
        return Exit::Lost;
    }
    let stop = StopFlag::new();
    let wire = Wire::new(from, to, stop.clone());
    let wants_lock;
    let settings = match wire.receive() {
        Some(ToAgent::Hello { version, .. }) if version != VERSION => {
            wire.send(&ToController::Fatal(format!("this agent speaks version {VERSION} of the protocol, the controller {version}")));
            return Exit::Refused;
        }
        Some(ToAgent::Hello { run, by, check, diff, stop_after, login, purpose, silence, lock, .. }) => {
            wants_lock = lock;
            wire.silence(silence);
            Settings { run, by, purpose, check, diff, stop_after, login }
        }
        Some(other) => {
            wire.send(&ToController::Fatal(format!("expected a greeting, not {other:?}")));
            return Exit::Refused;
        }
        None => return Exit::Lost,
    };
    let real = RealHost;
    let folder = journal::folder();
    // The lock comes first: only its holder may say that an earlier run did not end well.
    let lock = if !wants_lock {
        None
    } else {
        match lock::acquire(!settings.check, &lock::Holder::me(&settings.by, &settings.purpose, &settings.run)) {
            Ok(lock) => Some(lock),
            Err(LockError::Held(holder)) => {
                let lock::Holder { by, purpose, since, run, pid } = holder;
                wire.send(&ToController::Locked(LockHolder { by, purpose, since, run, pid }));
                return Exit::Refused;
            }
            Err(e) => {
                wire.send(&ToController::Fatal(e.to_string()));
                return Exit::Refused;
            }
        }
    };
    let unfinished = if lock.is_some() {
        journal::unfinished(&folder).unwrap_or_else(|e| Some(journal::Unfinished { why: Some(e), ..Default::default() }))
    } else {
        None
    };
    wire.send(&ToController::Hello {
        version: VERSION,
        machine: nix::sys::utsname::uname().map(|u| u.machine().to_string_lossy().into_owned()).unwrap_or_default(),
        uid: nix::unistd::geteuid().as_raw(),
        unfinished: unfinished.map(|u| u.to_string()),
    });
    let info = RunInfo { run: settings.run.clone(), by: settings.by.clone(), purpose: settings.purpose.clone() };
    let mut session = Session {
        wire: &wire,
        settings,
        engine: Engine::new(),
        real: &real,
        overlay: Overlay::new(&real),
        journal: Journal::new(folder, info),
        made: 0,
        any_failed: false,
        stop,
        memory: Memory::default(),
        cache: cache_folder().map_or_else(Cache::none, |f| Cache::open(&f)),
        rescuable: 0,
        last_failure: None,
        perhaps: false,
        notices: Notices::default(),
        owing: None,
        told: Told::default(),
        visits: HashMap::new(),
    };
    let exit = talk(&mut session);
    // A dry run has a journal only where a task has `check_mode: false`.
    if !session.settings.check || session.journal.is_begun() {
        let how = match exit {
            Exit::Lost => How::Stopped("the connection to the controller was lost".into()),
            _ if session.wire.stopping() => How::Stopped(session.wire.why_stopped()),
            _ if session.any_failed => How::Failed,
            _ => How::Done,
        };
        // The run is over either way; what was done is in the journal already.
        let _ = session.journal.finish(how);
    }
    drop(lock);
    exit
}

fn talk(session: &mut Session<'_>) -> Exit {
    loop {
        match session.wire.next() {
            None => return if session.wire.lost() { Exit::Lost } else { Exit::Done },
            Some(ToAgent::Bye) => return Exit::Done,
            Some(ToAgent::Play(run)) => run_play(session, *run),
            Some(ToAgent::Facts { subset }) => session.wire.send(&ToController::Facts(crate::host::facts::gather(session.real, &subset))),
            Some(ToAgent::Journal { run }) => {
                let answer = match journal::read(&journal::folder(), run.as_deref()) {
                    Ok(entries) => ToController::Journal(JournalEntries { entries }),
                    Err(e) => ToController::Fatal(format!("the journal can't be read: {e}")),
                };
                session.wire.send(&answer);
            }
            Some(ToAgent::Delegate { id, errand }) => {
                let done = Box::new(session.run_errand(*errand));
                session.wire.send(&ToController::Delegated { id, done });
            }
            Some(ToAgent::Undo { run }) => {
                let answer = play_back(session, run.as_deref()).unwrap_or_else(ToController::Fatal);
                session.wire.send(&answer);
            }
            // Answers to questions nobody waits for any more.
            Some(_) => {}
        }
        if session.wire.lost() {
            return Exit::Lost;
        }
    }
}

/// Undoes a run, or says what that would do.
fn play_back(session: &mut Session<'_>, run: Option<&str>) -> Result<ToController, String> {
    let folder = journal::folder();
    let entries = journal::read(&folder, None).map_err(|e| format!("the journal can't be read: {e}"))?;
    let Some(record) = undo::choose(&entries, run)? else { return Ok(ToController::Undo(Box::default())) };
    let report = if session.settings.check {
        undo::predict(&record, session.real, session.settings.diff)
    } else {
        let purpose = format!("{}{}", undo::PURPOSE, record.head.run);
        let info = RunInfo { run: session.settings.run.clone(), by: session.settings.by.clone(), purpose };
        session.journal = Journal::new(folder, info);
        undo::perform(&record, session.real, &mut session.journal, &session.stop, session.settings.diff)
    };
    session.any_failed |= report.steps.iter().any(|s| matches!(s.end, undo::End::Failed(_)));
    Ok(ToController::Undo(Box::new(report)))
}

/// Where file contents are kept between runs: root's in `/var/cache`, others' in their cache folder.
fn cache_folder() -> Option<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return Some(PathBuf::from("/var/cache/fettle/files"));
    }
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".cache")))?;
    Some(base.join("fettle/files"))
}
