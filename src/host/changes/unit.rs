//! systemd units.

use super::run::{Captured, capture};
use crate::host::act::Act;
use crate::host::change::{UnitAction, UnitChange};
use crate::host::overlay::unit_name;
use crate::host::real::words;
use crate::host::rights::is_root_or;
use crate::host::{Change, ChangeError, FileKind, Outcome, Overlay, RealHost, UnitState, View};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

impl UnitAction {
    /// systemctl's word for it.
    fn verb(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload => "reload",
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Mask => "mask",
            Self::Unmask => "unmask",
            Self::DaemonReload => "daemon-reload",
        }
    }
}

fn property<'s>(state: &'s UnitState, name: &str) -> &'s str {
    state.properties.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str()).unwrap_or_default()
}

fn is_active(state: &UnitState) -> bool {
    matches!(state.active.as_str(), "active" | "reloading" | "refreshing" | "activating")
}

/// How often systemd has started it again by itself.
fn restarts(state: &UnitState) -> u32 {
    property(state, "NRestarts").parse().unwrap_or(0)
}

/// A service that does its work and ends: after a start it is not active.
fn ends_by_itself(state: &UnitState) -> bool {
    property(state, "Type") == "oneshot" && property(state, "RemainAfterExit") != "yes"
}

/// Whether systemd would start it at boot, or has nothing to enable in it.
fn is_enabled(state: &UnitState) -> bool {
    !matches!(state.file.as_str(), "" | "disabled" | "masked" | "masked-runtime" | "bad")
}

fn is_masked(state: &UnitState) -> bool {
    state.load == "masked" || state.file.starts_with("masked")
}

impl UnitChange {
    fn error(&self, why: &str) -> ChangeError {
        ChangeError::new(format!("cannot {} {}: {why}", self.action.verb(), self.unit))
    }

    /// What is known to fail before systemd is asked.
    fn check(&self, state: &UnitState, view: &dyn View) -> Result<(), ChangeError> {
        use UnitAction::{Disable, Enable, Mask, Reload, Restart, Start};
        let wants_file = matches!(self.action, Start | Restart | Reload | Enable | Disable);
        if wants_file && state.load == "not-found" {
            return Err(self.error("this host has no such unit"));
        }
        if matches!(self.action, Start | Restart | Enable) && is_masked(state) {
            return Err(self.error("it is masked; unmask it first (`masked: false`)"));
        }
        if matches!(self.action, Start | Restart) && matches!(state.load.as_str(), "error" | "bad-setting") {
            let (load, unit) = (&state.load, unit_name(&self.unit));
            return Err(self.error(&format!("systemd can't load it ({load}); what is wrong with it says: systemd-analyze verify {unit}")));
        }
        if self.action == Reload && is_active(state) && property(state, "CanReload") == "no" {
            return Err(self.error("its unit does not say how (no ExecReload=); restart it"));
        }
        // The mask is a link in this folder, under the unit's own name.
        let own = Path::new("/etc/systemd/system").join(unit_name(&self.unit));
        if self.action == Mask && !is_masked(state) && view.stat(&own, false)?.is_some_and(|s| s.kind == FileKind::File) {
            return Err(self.error(&format!("{} is where the mask would be; move it to /usr/local/lib/systemd/system", own.display())));
        }
        Ok(())
    }

    /// Whether systemd will do it for who asks. To others than root polkit may allow it, and nobody can ask that beforehand.
    fn allowed(&self, view: &dyn View) -> Result<(), ChangeError> {
        if is_root_or(view, None) {
            return Ok(());
        }
        let why = "whether systemd does this for a user who is not root shows when it is asked; with `become: true` it does";
        Err(ChangeError { unknown: Some(why.into()), ..self.error(why) })
    }

    fn run(&self) -> Result<Captured, ChangeError> {
        let mut argv = vec!["systemctl".to_owned(), "--no-pager".into(), "--no-ask-password".into(), self.action.verb().into()];
        if self.action != UnitAction::DaemonReload {
            argv.extend(["--".to_owned(), self.unit.clone()]);
        }
        let environment = [("LC_ALL".to_owned(), "C".to_owned())];
        capture(&argv, None, None, &environment).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => self.error("this host has no systemd (`systemctl` is not installed)"),
            _ => self.error(&format!("systemctl can't be run: {}", words(&e))),
        })
    }
}

/// How long a service must stay up that systemd takes for started as soon as its process is there. Programs that refuse their
/// configuration end well within it.
const SETTLE: Duration = Duration::from_secs(1);

/// Lines of the journal shown of a unit that failed.
const LAST_WORDS: &str = "6";

impl UnitChange {
    /// Whether what was started is still there a moment later. Where the program itself tells systemd that it is ready, there is
    /// nothing to wait for.
    fn stays_up(&self, begin: SystemTime) -> Result<Outcome, ChangeError> {
        let mut state = RealHost.unit(&self.unit)?;
        let before = restarts(&state);
        if matches!(property(&state, "Type"), "simple" | "exec" | "idle") && is_active(&state) {
            std::thread::sleep(SETTLE);
            state = RealHost.unit(&self.unit)?;
        }
        // One that systemd starts again and again may be up at this moment.
        if state.active != "failed" && state.sub != "auto-restart" && restarts(&state) <= before {
            return Ok(Outcome::default());
        }
        let why = match property(&state, "Result") {
            "" | "success" => "it was started, but ended at once".to_owned(),
            result => format!("it was started, but ended at once ({result})"),
        };
        Err(self.error(&format!("{why}{}", self.last_words(begin))))
    }

    /// What the unit's journal got since `begin`, as lines to put behind an error.
    fn last_words(&self, begin: SystemTime) -> String {
        let unit = unit_name(&self.unit);
        let since = begin.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let argv = ["journalctl", "--quiet", "--no-pager", "--output=cat", "-n", LAST_WORDS, "--since", &format!("@{since}"), "-u", &unit];
        let output = capture(&argv.map(str::to_owned), None, None, &[("LC_ALL".to_owned(), "C".to_owned())]);
        let text = output.map(|o| o.stdout).unwrap_or_default();
        let lines: String = text.lines().filter(|l| !l.trim().is_empty()).map(|l| format!("\n  {l}")).collect();
        format!(" (on the host: journalctl -u {unit} -n 50){lines}")
    }
}

impl Act for UnitChange {
    fn describe(&self) -> String {
        match self.action {
            UnitAction::DaemonReload => "make systemd read its unit files again".into(),
            action => format!("{} {}", action.verb(), self.unit),
        }
    }

    fn predict(&self, overlay: &mut Overlay<'_>) -> Result<Outcome, ChangeError> {
        if self.action == UnitAction::DaemonReload {
            self.allowed(overlay)?;
            overlay.reload_units();
            return Ok(Outcome::default());
        }
        let mut state = overlay.unit(&self.unit)?;
        self.check(&state, overlay)?;
        self.allowed(overlay)?;
        let set = |state: &mut UnitState, active: &str, sub: &str| {
            state.active = active.into();
            state.sub = sub.into();
        };
        match self.action {
            UnitAction::Start | UnitAction::Restart if ends_by_itself(&state) => set(&mut state, "inactive", "dead"),
            UnitAction::Start if is_active(&state) => {}
            UnitAction::Start | UnitAction::Restart => {
                let sub = match (self.unit.rsplit_once('.').map(|(_, s)| s), property(&state, "Type")) {
                    (Some("timer"), _) => "waiting",
                    (Some("socket"), _) => "listening",
                    (Some("mount"), _) => "mounted",
                    (Some("target" | "slice"), _) => "active",
                    (_, "oneshot") => "exited",
                    _ => "running",
                };
                set(&mut state, "active", sub);
            }
            UnitAction::Stop => set(&mut state, "inactive", "dead"),
            UnitAction::Reload if !is_active(&state) => return Err(self.error("it is not active")),
            UnitAction::Enable if matches!(state.file.as_str(), "" | "disabled") => state.file = "enabled".into(),
            UnitAction::Disable if state.file.starts_with("enabled") => state.file = "disabled".into(),
            UnitAction::Mask => {
                state.file = "masked".into();
                state.load = "masked".into();
            }
            UnitAction::Unmask if is_masked(&state) => {
                // The file that was hidden shows only after it is unmasked; a disabled unit is the usual one.
                state.file = "disabled".into();
                state.load = "loaded".into();
            }
            _ => {}
        }
        let (active, sub, load, file) = (state.active.clone(), state.sub.clone(), state.load.clone(), state.file.clone());
        for (name, value) in &mut state.properties {
            match name.as_str() {
                "ActiveState" => value.clone_from(&active),
                "SubState" => value.clone_from(&sub),
                "LoadState" => value.clone_from(&load),
                "UnitFileState" => value.clone_from(&file),
                _ => {}
            }
        }
        // systemctl makes systemd read all units again after these.
        if matches!(self.action, UnitAction::Enable | UnitAction::Disable | UnitAction::Mask | UnitAction::Unmask) {
            overlay.reload_units();
        }
        overlay.set_unit(&self.unit, state);
        Ok(Outcome::default())
    }

    fn perform(&self) -> Result<Outcome, ChangeError> {
        use UnitAction::{DaemonReload, Mask, Reload, Restart, Start};
        if matches!(self.action, Mask | Reload) {
            self.check(&RealHost.unit(&self.unit)?, &RealHost)?;
        }
        let begin = SystemTime::now();
        let output = self.run()?;
        if output.rc == 0 {
            return match self.action {
                Start | Restart => self.stays_up(begin),
                _ => Ok(Outcome::default()),
            };
        }
        // `See "systemctl status x.service" and …` is what comes below.
        let said = output.stderr.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with("See "));
        let said = said.collect::<Vec<_>>().join("; ");
        let mut e = match self.action {
            DaemonReload => ChangeError::new(format!("systemd could not read its unit files again: {said}")),
            Start | Restart | Reload => self.error(&format!("{said}{}", self.last_words(begin))),
            _ => self.error(&said),
        };
        e.fields.insert("rc".into(), json!(output.rc));
        Err(e)
    }

    fn verify(&self, view: &dyn View) -> Result<(), ChangeError> {
        if self.action == UnitAction::DaemonReload {
            return Ok(());
        }
        let state = view.unit(&self.unit)?;
        let active = format!("{} ({})", state.active, state.sub);
        let wrong = |expected: &str, found: &str| Err(ChangeError::new(format!("{} should be {expected} now, but is {found}", self.unit)));
        match self.action {
            UnitAction::Start | UnitAction::Restart | UnitAction::Reload => {
                let done = state.active == "inactive" && ends_by_itself(&state) && matches!(property(&state, "Result"), "" | "success");
                let up = is_active(&state) && state.sub != "auto-restart";
                if up || done { Ok(()) } else { wrong("active", &active) }
            }
            UnitAction::Stop if is_active(&state) => wrong("stopped", &active),
            UnitAction::Enable if !is_enabled(&state) => wrong("enabled", &state.file),
            UnitAction::Disable if state.file.starts_with("enabled") => wrong("disabled", &state.file),
            UnitAction::Mask if !is_masked(&state) => wrong("masked", &state.file),
            UnitAction::Unmask if is_masked(&state) => wrong("unmasked", &state.file),
            _ => Ok(()),
        }
    }

    fn undo(&self, before: &dyn View) -> Result<Vec<Change>, String> {
        if self.action == UnitAction::DaemonReload {
            return Ok(vec![]);
        }
        let state = before.unit(&self.unit).map_err(|e| e.to_string())?;
        let back = |action: UnitAction| vec![Change::Unit(UnitChange { unit: self.unit.clone(), action })];
        Ok(match self.action {
            UnitAction::Start | UnitAction::Restart if !is_active(&state) => back(UnitAction::Stop),
            UnitAction::Stop if is_active(&state) => back(UnitAction::Start),
            UnitAction::Enable if matches!(state.file.as_str(), "" | "disabled") => back(UnitAction::Disable),
            UnitAction::Disable if state.file.starts_with("enabled") => back(UnitAction::Enable),
            UnitAction::Mask if !is_masked(&state) => back(UnitAction::Unmask),
            UnitAction::Unmask if is_masked(&state) => back(UnitAction::Mask),
            _ => vec![],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Blank;

    fn unit(action: UnitAction) -> UnitChange {
        UnitChange { unit: "x.service".into(), action }
    }

    fn state(active: &str, file: &str, kind: &str) -> UnitState {
        UnitState {
            load: "loaded".into(),
            active: active.into(),
            sub: "dead".into(),
            file: file.into(),
            properties: vec![("Type".into(), kind.into()), ("ActiveState".into(), active.into())],
        }
    }

    #[test]
    fn predictions_satisfy_their_own_check_and_undo_brings_back() {
        use UnitAction::{Disable, Enable, Mask, Restart, Start, Stop, Unmask};
        for (before, action) in [
            (state("inactive", "disabled", "simple"), Start),
            (state("inactive", "disabled", "oneshot"), Start),
            (state("active", "enabled", "notify"), Stop),
            (state("failed", "enabled", "notify"), Restart),
            (state("inactive", "disabled", "simple"), Enable),
            (state("active", "enabled", "simple"), Disable),
            (state("inactive", "disabled", "simple"), Mask),
            (UnitState { load: "masked".into(), ..state("inactive", "masked", "simple") }, Unmask),
        ] {
            let mut over = Overlay::new(&Blank);
            over.set_unit("x", before.clone());
            let undo = unit(action).undo(&over).unwrap();
            unit(action).predict(&mut over).unwrap();
            unit(action).verify(&over).unwrap_or_else(|e| panic!("{action:?} of {before:?}: {e}"));
            for change in undo {
                change.predict(&mut over).unwrap();
            }
            let after = over.unit("x").unwrap();
            assert_eq!((is_active(&after), &after.file), (is_active(&before), &before.file), "{action:?}");
        }
    }

    #[test]
    fn what_cannot_work_is_predicted_to_fail() {
        let mut over = Overlay::new(&Blank);
        assert!(unit(UnitAction::Start).predict(&mut over).unwrap_err().message.contains("no such unit"));
        over.set_unit("x", UnitState { load: "masked".into(), ..state("inactive", "masked", "simple") });
        assert!(unit(UnitAction::Start).predict(&mut over).unwrap_err().message.contains("masked"));
        over.set_unit("x", state("failed", "enabled", "simple"));
        assert!(unit(UnitAction::Start).verify(&over).unwrap_err().message.contains("should be active now, but is failed"));
    }
}
