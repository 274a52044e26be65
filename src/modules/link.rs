//! `link`: an interface's MTU, now and after a reboot.

mod boot;

use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError};
use crate::host::change::{SetMtu, WriteFile};
use crate::host::{Change, View, ViewError};
use serde_json::{Map, json};
use std::path::{Path, PathBuf};

/// The module's description.
pub const MODULE: Module = Module {
    name: "link",
    collections: &["fettle"],
    aliases: &[],
    doc: "Sets the MTU of network interfaces, now and (by a udev rule) whenever they appear again.\n\
          A network configuration on the host that sets another MTU for the interface would win at the next boot: \
          it is looked for in the files of netplan, systemd-networkd, NetworkManager, RHEL's network-scripts and ifupdown, and refused \
          with its place.",
    args: &[
        Arg::new("name", Kind::StrList, "interfaces").required().alias(&["names", "interface"]),
        Arg::new("mtu", Kind::Int, "bytes, 68 to 65535").required(),
        Arg::new("persistent", Kind::Bool, "keep it over reboots").default("yes"),
        Arg::new("rules_file", Kind::Path, "the udev rules file; other interfaces' lines in it stay").default(RULES),
    ],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

/// Our rules. A high number: the interface has its final name by then.
const RULES: &str = "/etc/udev/rules.d/99-fettle-link.rules";
/// The smallest MTU IPv4 allows (RFC 791), and the largest the kernel takes for an Ethernet-like device.
const MTU_RANGE: std::ops::RangeInclusive<i64> = 68..=65535;
/// Longest interface name the kernel allows (IFNAMSIZ less the closing zero).
const NAME_LIMIT: usize = 15;

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    let names = args.str_list("name").unwrap_or_default();
    let mtu = args.int("mtu").filter(|m| MTU_RANGE.contains(m)).and_then(|m| u32::try_from(m).ok());
    let mtu = mtu.ok_or_else(|| PlanError::failed("`mtu` must be from 68 to 65535"))?;
    let persistent = args.bool("persistent").unwrap_or(true);
    let rules = PathBuf::from(args.str("rules_file").unwrap_or(RULES));
    let mut plan = Plan::default();
    let mut links = vec![];
    let mut rules_text = context.view.read_text_opt(&rules)?.unwrap_or_default();
    let before = rules_text.clone();
    for name in &names {
        let now = current(context.view, name)?;
        let limits = limits(context.view, name)?;
        if let Some((least, most)) = limits
            && !(least..=most).contains(&mtu)
        {
            return Err(PlanError::failed(format!("{name} takes an MTU from {least} to {most}, not {mtu}")));
        }
        if persistent {
            if let Some((place, other)) = boot::contradiction(context.view, name, mtu)? {
                return Err(PlanError::failed(format!(
                    "{place} sets an MTU of {other} for {name} and would win at the next boot: change it there to {mtu}, or take it out"
                )));
            }
            rules_text = with_rule(&rules_text, name, mtu);
        }
        if now != mtu {
            plan.changes.push(Change::SetMtu(SetMtu { link: name.clone(), mtu }));
        }
        links.push(json!({"name": name, "mtu": mtu, "previous": now}));
    }
    if rules_text != before {
        plan.changes.extend(super::paths::missing_folders(context.view, rules.parent())?);
        plan.changes.push(Change::WriteFile(WriteFile {
            path: rules,
            content: rules_text.into_bytes(),
            mode: Some(0o644),
            uid: None,
            gid: None,
            backup: false,
            validate: None,
            secret: false,
            follow: true,
        }));
    }
    plan.result = Map::from_iter([("links".to_owned(), json!(links))]);
    Ok(plan)
}

/// The MTU an interface has.
fn current(view: &dyn View, name: &str) -> Result<u32, PlanError> {
    let plain = !name.is_empty() && name.len() <= NAME_LIMIT && !name.contains('/') && name != "." && name != "..";
    let text = if plain { view.read_text_opt(&Path::new("/sys/class/net").join(name).join("mtu"))? } else { None };
    let Some(text) = text else {
        let there: Vec<String> = view.list(Path::new("/sys/class/net"))?.into_iter().filter(|n| n != "lo").collect();
        return Err(PlanError::failed(format!("there is no interface {name:?} here; there are: {}", there.join(", "))));
    };
    text.trim().parse().map_err(|_| PlanError::failed(format!("/sys/class/net/{name}/mtu holds {:?}, not a number", text.trim())))
}

/// Least and most MTU, where the kernel tells (newer ones do not have these in sysfs; the change then finds out).
fn limits(view: &dyn View, name: &str) -> Result<Option<(u32, u32)>, PlanError> {
    let read = |file: &str| -> Result<Option<u32>, ViewError> {
        Ok(view.read_text_opt(&Path::new("/sys/class/net").join(name).join(file))?.and_then(|t| t.trim().parse().ok()))
    };
    Ok(read("min_mtu")?.zip(read("max_mtu")?))
}

/// The rules with exactly one pair of lines for `name`.
///
/// Two lines, because a rule sees the name an interface is given by an earlier rule in `NAME`, and the kernel's in
/// `KERNEL` where none was given.
fn with_rule(text: &str, name: &str, mtu: u32) -> String {
    let renamed = format!("ACTION==\"add\", SUBSYSTEM==\"net\", NAME==\"{name}\", ATTR{{mtu}}=\"{mtu}\"");
    let kernel = format!("ACTION==\"add\", SUBSYSTEM==\"net\", NAME==\"\", KERNEL==\"{name}\", ATTR{{mtu}}=\"{mtu}\"");
    let ours = |line: &str| {
        line.contains("ATTR{mtu}=") && (line.contains(&format!(" NAME==\"{name}\",")) || line.contains(&format!(" KERNEL==\"{name}\",")))
    };
    let mut lines: Vec<&str> = text.lines().filter(|l| !ours(l)).collect();
    if lines.is_empty() {
        lines.push("# MTU of network interfaces, kept by fettle.");
    }
    lines.push(&renamed);
    lines.push(&kernel);
    // Where both lines stand already, their place is kept, so that nothing changes.
    if text.lines().any(|l| l == renamed) && text.lines().any(|l| l == kernel) && text.lines().filter(|l| ours(l)).count() == 2 {
        return text.to_owned();
    }
    format!("{}\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_hold_one_pair_an_interface_and_stay_put() {
        let first = with_rule("", "eth1", 9000);
        assert_eq!(first.lines().count(), 3);
        assert_eq!(with_rule(&first, "eth1", 9000), first);
        let both = with_rule(&first, "eth2", 9000);
        assert_eq!(with_rule(&both, "eth1", 9000), both);
        let changed = with_rule(&both, "eth1", 1500);
        assert_eq!(changed.matches("1500").count(), 2);
        assert_eq!(changed.matches("9000").count(), 2);
        assert!(changed.contains("KERNEL==\"eth2\""));
    }
}
