//! `systemd`: units of systemd.

use super::attributes::refuse;
use super::draft::{Draft, fields};
use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError};
use crate::host::change::{UnitAction, UnitChange};
use crate::host::{Change, UnitState, View, ViewError};
use serde_json::{Map, Value as Json, json};
use std::path::Path;

/// The module's description.
pub const MODULE: Module = Module {
    name: "systemd",
    collections: super::BUILTIN,
    aliases: &["systemd_service"],
    doc: "Starts, stops, enables, masks units of systemd.\n\
          `restarted` and `reloaded` always count as changed. `daemon_reload` with a `name` acts only where systemd has not yet \
          read that unit's files as they are; without a name, always.",
    args: &[
        NAME,
        STATE,
        ENABLED,
        Arg::new("masked", Kind::Bool, "whether nothing may start it"),
        Arg::new("daemon_reload", Kind::Bool, "make systemd read its unit files again first").alias(&["daemon-reload"]).default("no"),
        Arg::new("daemon_reexec", Kind::Bool, "`true` is refused: systemd itself is never restarted")
            .alias(&["daemon-reexec"])
            .default("no"),
        Arg::new("scope", Kind::Choice(&["system", "user", "global"]), "only `system` is supported").default("system"),
        Arg::new("no_block", Kind::Bool, "`true` is refused: what was started is looked at, which means waiting").default("no"),
        Arg::new("force", Kind::Bool, "`true` is refused: no file or link in a unit's way is overwritten"),
    ],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

/// `name`.
pub(super) const NAME: Arg = Arg::new("name", Kind::Str, "the unit; without a suffix, `.service` is meant").alias(&["service", "unit"]);
/// `state`.
pub(super) const STATE: Arg = Arg::new("state", Kind::Choice(&["started", "stopped", "restarted", "reloaded"]), "what it should be doing");
/// `enabled`.
pub(super) const ENABLED: Arg = Arg::new("enabled", Kind::Bool, "whether it starts at boot");

/// For modules that write what systemd reads at boot: has it read that again; `None`: it does not run here, or does not listen to
/// this user.
pub(super) fn reload(context: &Context<'_>) -> Result<Option<Change>, PlanError> {
    // How sd_booted(3) knows.
    let runs = context.user.0 == 0 && context.view.stat(Path::new("/run/systemd/system"), false)?.is_some();
    Ok(runs.then(|| change("", UnitAction::DaemonReload)))
}

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    let no = Some(json!(false));
    refuse(
        args,
        &[
            ("daemon_reexec", no.clone(), "systemd itself is never restarted"),
            ("scope", Some(json!("system")), "only units of the system are handled"),
            ("no_block", no.clone(), "what was started is looked at, which means waiting"),
            ("force", no, "no file or link in a unit's way is overwritten"),
        ],
    )?;
    let reload = args.bool("daemon_reload").unwrap_or(false);
    let Some(name) = args.str("name") else {
        if args.str("state").is_some() || args.bool("enabled").is_some() || args.bool("masked").is_some() || !reload {
            return Err(PlanError::failed("`name` is needed: which unit?"));
        }
        let mut draft = Draft::new(context);
        draft.add(change("", UnitAction::DaemonReload))?;
        return Ok(draft.finish(Map::new()));
    };
    manage(args, context, name, reload)
}

fn change(unit: &str, action: UnitAction) -> Change {
    Change::Unit(UnitChange { unit: unit.to_owned(), action })
}

/// Brings the unit `name` to the state that `state`, `enabled` and `masked` ask for.
pub(super) fn manage(args: &Args, context: &Context<'_>, name: &str, reload: bool) -> Result<Plan, PlanError> {
    if name.is_empty() || name.starts_with('-') || name.contains(|c: char| c.is_whitespace() || "/*?[".contains(c)) {
        return Err(PlanError::failed(format!("`{name}` is no name of a unit")));
    }
    let mut draft = Draft::new(context);
    let before = draft.host.unit(name)?;
    if reload && stale(&before) {
        draft.add(change("", UnitAction::DaemonReload))?;
    }
    let (state, enabled, masked) = (args.str("state"), args.bool("enabled"), args.bool("masked"));
    // A unit file that was just written is not known before the reload that is planned here.
    let expected = reload && !draft.changes.is_empty() && file_of(&draft.host, name)?;
    if before.load == "not-found" && !expected && (state.is_some() || enabled.is_some()) {
        return Err(PlanError::failed(format!(
            "this host has no unit {name}: is its package installed, and is the name right (systemctl list-unit-files)?"
        )));
    }
    if let Some(masked) = masked
        && masked != is_masked(&before)
    {
        draft.add(change(name, if masked { UnitAction::Mask } else { UnitAction::Unmask }))?;
    }
    if let Some(enabled) = enabled {
        let now = draft.host.unit(name)?;
        match (enabled, now.file.as_str()) {
            (true, "" | "disabled" | "masked" | "masked-runtime" | "bad" | "linked" | "linked-runtime" | "transient") => {
                draft.add(change(name, UnitAction::Enable))?;
            }
            (false, "enabled" | "enabled-runtime") => draft.add(change(name, UnitAction::Disable))?,
            _ => {}
        }
    }
    if let Some(state) = state {
        let now = draft.host.unit(name)?;
        let active = matches!(now.active.as_str(), "active" | "activating" | "reloading" | "refreshing");
        let action = match (state, active) {
            ("started", true) => None,
            ("stopped", _) => (active || now.active == "deactivating").then_some(UnitAction::Stop),
            ("restarted", true) => Some(UnitAction::Restart),
            ("reloaded", true) => Some(UnitAction::Reload),
            _ => Some(UnitAction::Start),
        };
        if let Some(action) = action {
            draft.add(change(name, action))?;
        }
    }
    let mut result = fields(json!({"name": name}));
    if let Some(state) = state {
        result.insert("state".into(), json!(if state == "stopped" { "stopped" } else { "started" }));
    }
    if let Some(enabled) = enabled {
        result.insert("enabled".into(), json!(enabled));
    }
    let status: Map<String, Json> = before.properties.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
    result.insert("status".into(), Json::Object(status));
    Ok(draft.finish(result))
}

fn is_masked(state: &UnitState) -> bool {
    state.load == "masked" || state.file.starts_with("masked")
}

/// Where systemd looks for unit files, first found first (systemd.unit(5)).
const FOLDERS: [&str; 5] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// The unit's full name.
fn full(name: &str) -> String {
    crate::host::unit_name(name)
}

/// Whether there is a file for the unit.
fn file_of(view: &dyn View, name: &str) -> Result<bool, ViewError> {
    for folder in FOLDERS {
        if view.stat(&Path::new(folder).join(full(name)), true)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether systemd must read the unit's files again. It says so itself; of files that are only predicted, the overlay does.
fn stale(state: &UnitState) -> bool {
    state.properties.iter().any(|(key, value)| key == "NeedDaemonReload" && value != "no")
}
