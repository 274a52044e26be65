//! `block_queue`: the IO scheduler and the other settings of disks' queues, now and after a reboot.

use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError};
use crate::host::block::{self, Disk};
use crate::host::change::{SetSysfs, WriteFile};
use crate::host::glob;
use crate::host::{Change, RESETS, View};
use serde_json::{Map, json};
use std::path::{Path, PathBuf};

/// The module's description.
pub const MODULE: Module = Module {
    name: "block_queue",
    collections: &["fettle"],
    aliases: &[],
    doc: "Sets the IO scheduler and other queue settings of disks, now and (by a udev rule) whenever they appear again.\n\
          A scheduler that a disk does not offer is refused with those it offers; a value that the kernel changes to another one \
          (it limits max_sectors_kb, say) is a failure that names both. Not every disk has every setting: one that is missing is refused.",
    args: &[
        Arg::new("devices", Kind::StrList, "disks: kernel names or patterns (`nvme*`), paths, serial numbers or WWNs").required(),
        Arg::new("scheduler", Kind::Str, "none, mq-deadline, kyber or bfq"),
        Arg::new("nr_requests", Kind::Int, "requests queued for a disk"),
        Arg::new("read_ahead_kb", Kind::Int, "read-ahead, KiB"),
        Arg::new("rq_affinity", Kind::Int, "0, 1: complete requests in the group of the core that asked, 2: on that core itself"),
        Arg::new("max_sectors_kb", Kind::Int, "largest request, KiB"),
        Arg::new("nomerges", Kind::Int, "0: merge requests, 1: simple merges only, 2: none"),
        Arg::new("add_random", Kind::Int, "whether the disk feeds the pool of entropy, 0 or 1"),
        Arg::new("wbt_lat_usec", Kind::Int, "latency that writeback throttling aims at, microseconds; 0: off"),
        Arg::new("persistent", Kind::Bool, "keep it over reboots").default("yes"),
        Arg::new("rules_file", Kind::Path, "the udev rules file; other disks' lines in it stay").default(RULES),
    ],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

/// Our rules: behind the distribution's 60-block-scheduler.rules, so that ours win.
const RULES: &str = "/etc/udev/rules.d/99-fettle-block.rules";

/// Settings in the order they are written: what another one resets ([`RESETS`]) after that one, and again where that changes.
const SETTINGS: &[&str] =
    &["scheduler", "nr_requests", "max_sectors_kb", "read_ahead_kb", "rq_affinity", "nomerges", "add_random", "wbt_lat_usec"];

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    let view = context.view;
    let disks = block::disks(view)?;
    let wanted: Vec<(&str, String)> =
        SETTINGS.iter().filter_map(|s| args.get(s).map(|v| (*s, v.as_str().map_or_else(|| v.to_string(), str::to_owned)))).collect();
    if wanted.is_empty() {
        return Err(PlanError::failed(format!("no setting is given: there are {}", SETTINGS.join(", "))));
    }
    let mut chosen: Vec<&Disk> = vec![];
    for spec in args.str_list("devices").unwrap_or_default() {
        let found: Vec<&Disk> = if spec.contains(['*', '?', '[']) {
            let all: Vec<&Disk> = disks.iter().filter(|d| glob::matches(&spec, &d.name)).collect();
            if all.is_empty() {
                return Err(PlanError::failed(format!(
                    "no disk matches `{spec}`; there are: {}",
                    disks.iter().map(|d| d.name.as_str()).collect::<Vec<_>>().join(", ")
                )));
            }
            all
        } else {
            vec![block::find(view, &disks, &spec).map_err(PlanError::failed)?]
        };
        for disk in found {
            if !chosen.iter().any(|d| d.name == disk.name) {
                chosen.push(disk);
            }
        }
    }
    let mut plan = Plan::default();
    let rules = PathBuf::from(args.str("rules_file").unwrap_or(RULES));
    let before = view.read_text_opt(&rules)?.unwrap_or_default();
    let mut text = before.clone();
    let mut results = vec![];
    for disk in chosen {
        let mut previous = Map::new();
        let mut new = vec![];
        for (setting, value) in &wanted {
            let path = Path::new("/sys/block").join(&disk.name).join("queue").join(setting);
            let now = current(view, &path, disk, setting, value)?;
            let reset = RESETS.iter().any(|(by, reset)| reset == setting && new.contains(by));
            if now != *value || reset {
                new.push(*setting);
                plan.changes.push(Change::SetSysfs(SetSysfs { path, value: value.clone(), reset }));
            }
            previous.insert((*setting).to_owned(), json!(now));
        }
        text = with_rule(&text, disk, &wanted);
        results.push(json!({"device": disk.path, "previous": previous}));
    }
    if args.bool("persistent").unwrap_or(true) && text != before {
        plan.changes.extend(super::paths::missing_folders(view, rules.parent())?);
        plan.changes.push(Change::WriteFile(WriteFile {
            path: rules,
            content: text.into_bytes(),
            mode: Some(0o644),
            uid: None,
            gid: None,
            backup: false,
            validate: None,
            secret: false,
            follow: true,
        }));
    }
    plan.result = Map::from_iter([("devices".to_owned(), json!(results))]);
    Ok(plan)
}

/// A setting's value now; for a scheduler the one in brackets, and whether the wanted one is offered.
fn current(view: &dyn View, path: &Path, disk: &Disk, setting: &str, value: &str) -> Result<String, PlanError> {
    let Some(text) = view.read_text_opt(path)? else {
        return Err(PlanError::failed(format!("{} has no setting {setting}", disk.name)));
    };
    let text = text.trim();
    if setting != "scheduler" {
        return Ok(text.to_owned());
    }
    let offered: Vec<&str> = text.split_whitespace().map(|w| w.trim_matches(['[', ']'])).collect();
    if !offered.contains(&value) {
        return Err(PlanError::failed(format!("{} does not offer the scheduler {value}; it offers: {}", disk.name, offered.join(", "))));
    }
    let chosen = text.split_whitespace().find(|w| w.starts_with('[')).unwrap_or(text);
    Ok(chosen.trim_matches(['[', ']']).to_owned())
}

/// The rules with exactly one line for `disk`, which keeps what it says about other settings: known by WWN or serial number where udev can see one, by name otherwise.
///
/// `ATTRS`, not `ATTR`: SCSI's `wwid` and NVMe's `serial` are those of the device above the disk.
fn with_rule(text: &str, disk: &Disk, wanted: &[(&str, String)]) -> String {
    let key = match (&disk.wwn, &disk.serial) {
        (Some(wwn), _) if rule_safe(wwn) => format!("ATTRS{{wwid}}==\"{wwn}\""),
        // Without a WWN the serial number is not SCSI's, which no attribute shows as text.
        (None, Some(serial)) if rule_safe(serial) && !disk.name.starts_with("sd") => format!("ATTRS{{serial}}==\"{serial}\""),
        _ => format!("KERNEL==\"{}\"", disk.name),
    };
    let head = format!("ACTION==\"add|change\", SUBSYSTEM==\"block\", ENV{{DEVTYPE}}==\"disk\", {key}");
    let ours = |l: &str| l.strip_prefix(&head).is_some_and(|rest| rest.starts_with(','));
    let values = SETTINGS.iter().filter_map(|setting| {
        let attribute = format!("ATTR{{queue/{setting}}}=\"");
        let kept = || {
            let of = |l: &'_ str| Some(l.split_once(&attribute)?.1.split_once('"')?.0.to_owned());
            text.lines().filter(|l| ours(l)).filter_map(of).next_back()
        };
        let value = wanted.iter().find(|(s, _)| s == setting).map(|(_, v)| v.clone()).or_else(kept)?;
        Some(format!(", {attribute}{value}\""))
    });
    let line: String = std::iter::once(head.clone()).chain(values).collect();
    if text.lines().filter(|l| ours(l)).eq([line.as_str()]) {
        return text.to_owned();
    }
    let mut lines: Vec<&str> = text.lines().filter(|l| !ours(l)).collect();
    if lines.is_empty() {
        lines.push("# Queue settings of disks, kept by fettle.");
    }
    lines.push(&line);
    format!("{}\n", lines.join("\n"))
}

/// Nothing that means something in a udev rule. Blanks don't (`t10.ATA     DISK` is a WWN).
fn rule_safe(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || "._-: ".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Blank, Overlay};

    fn disk(name: &str, wwn: Option<&str>) -> Disk {
        Disk {
            name: name.into(),
            path: Path::new("/dev").join(name),
            device: (8, 0),
            size: 1 << 30,
            serial: None,
            wwn: wwn.map(str::to_owned),
            model: None,
            rotational: true,
            removable: false,
            read_only: false,
            partitions: vec![],
            holders: vec![],
        }
    }

    #[test]
    fn a_scheduler_that_is_not_offered_is_refused_with_those_that_are() {
        let mut o = Overlay::new(&Blank);
        o.set_file("/sys/block/sda/queue/scheduler", "none [mq-deadline] bfq\n", 0o644, 0, 0);
        let path = Path::new("/sys/block/sda/queue/scheduler");
        assert_eq!(current(&o, path, &disk("sda", None), "scheduler", "bfq").unwrap(), "mq-deadline");
        assert_eq!(
            current(&o, path, &disk("sda", None), "scheduler", "deadline").unwrap_err().to_string(),
            "sda does not offer the scheduler deadline; it offers: none, mq-deadline, bfq"
        );
    }

    #[test]
    fn rules_hold_one_line_a_disk() {
        let wanted = [("scheduler", "none".to_owned())];
        let one = with_rule("", &disk("sda", None), &wanted);
        assert!(one.contains("KERNEL==\"sda\", ATTR{queue/scheduler}=\"none\""));
        assert_eq!(with_rule(&one, &disk("sda", None), &wanted), one);
        let two = with_rule(&one, &disk("sdb", Some("naa.5000")), &wanted);
        assert!(two.contains("ATTRS{wwid}==\"naa.5000\""));
        let changed = with_rule(&two, &disk("sda", None), &[("scheduler", "bfq".to_owned())]);
        assert_eq!((changed.matches("bfq").count(), changed.lines().count()), (1, 3));
        // Another task's settings of the disk stay, in the order in which they don't undo one another.
        let both = with_rule(&changed, &disk("sda", None), &[("read_ahead_kb", "128".to_owned())]);
        let all = with_rule(&both, &disk("sda", None), &[("max_sectors_kb", "640".to_owned())]);
        let line = r#"KERNEL=="sda", ATTR{queue/scheduler}="bfq", ATTR{queue/max_sectors_kb}="640", ATTR{queue/read_ahead_kb}="128""#;
        assert!(all.lines().any(|l| l.ends_with(line)) && all.lines().count() == 3, "{all}");
        for again in [("scheduler", "bfq"), ("read_ahead_kb", "128"), ("max_sectors_kb", "640")] {
            assert_eq!(with_rule(&all, &disk("sda", None), &[(again.0, again.1.to_owned())]), all, "each task is content");
        }
    }
}
