//! Facts, under Ansible's names without their `ansible_` prefix, gathered from the host itself: no process is started.

mod disks;
mod hardware;
mod network;
mod system;

use super::View;
use serde_json::{Map, Value as Json};

/// One group of facts: the name `gather_subset` has for it, and what gathers it.
type Subset = (&'static str, fn(&dyn View, &mut Map<String, Json>));

/// What is always gathered.
const MIN: Subset = ("min", system::gather);
/// The subsets that can be chosen.
const SUBSETS: &[Subset] = &[("hardware", hardware::gather), ("network", network::gather), ("virtual", system::virtualization)];
/// What is gathered only when named: Ansible has no such facts, and they cost more.
const ASKED: Subset = ("disks", disks::gather);

/// Names `gather_subset` knows, for checking.
pub fn subset_names() -> impl Iterator<Item = &'static str> {
    ["all", MIN.0, ASKED.0].into_iter().chain(SUBSETS.iter().map(|(name, _)| *name))
}

/// Gathers facts. `subset`: names, `!name` takes one out, empty or `all` means everything; what is minimal is gathered
/// unless `!min` says otherwise; `disks` only when it is named. Facts that can't be read are left out.
pub fn gather(view: &dyn View, subset: &[String]) -> Map<String, Json> {
    let asks = |name: &str| subset.iter().any(|s| s == name);
    let everything = subset.is_empty() || asks("all") || subset.iter().all(|s| s.starts_with('!'));
    let wanted = |name: &str| (everything && !asks("!all") && !asks(&format!("!{name}"))) || asks(name);
    let mut facts = Map::new();
    if !asks("!min") {
        (MIN.1)(view, &mut facts);
    }
    for (name, gather) in SUBSETS {
        if wanted(name) {
            gather(view, &mut facts);
        }
    }
    if asks(ASKED.0) {
        (ASKED.1)(view, &mut facts);
    }
    let names = if subset.is_empty() { vec!["all".to_owned()] } else { subset.to_vec() };
    facts.insert("gather_subset".into(), names.into());
    facts
}

/// Adds a fact.
fn set(facts: &mut Map<String, Json>, name: &str, value: impl Into<Json>) {
    facts.insert(name.to_owned(), value.into());
}

/// A file's text without white space around it.
fn line(view: &dyn View, path: &str) -> Option<String> {
    let text = view.read_text(std::path::Path::new(path)).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::RealHost;

    #[test]
    fn this_machine_has_facts() {
        let facts = gather(&RealHost, &[]);
        for name in [
            "architecture",
            "kernel",
            "hostname",
            "distribution",
            "os_family",
            "memtotal_mb",
            "processor_vcpus",
            "devices",
            "mounts",
            "interfaces",
            "user_id",
            "date_time",
        ] {
            assert!(facts.contains_key(name), "{name} is missing: {:?}", facts.keys().collect::<Vec<_>>());
        }
        assert!(facts["memtotal_mb"].as_u64().unwrap() > 100);
        assert_eq!(facts["system"], "Linux");
        assert!(facts["interfaces"].as_array().unwrap().iter().any(|i| i == "lo"));
    }

    #[test]
    fn subsets_choose() {
        let facts = gather(&RealHost, &["!all".into(), "network".into()]);
        assert!(facts.contains_key("interfaces") && facts.contains_key("kernel") && !facts.contains_key("devices"));
        let facts = gather(&RealHost, &["!hardware".into()]);
        assert!(facts.contains_key("interfaces") && !facts.contains_key("devices"));
        assert!(!gather(&RealHost, &[]).contains_key("fettle_disks"), "nobody asked for it");
        assert!(gather(&RealHost, &["disks".into()]).contains_key("fettle_disks"));
    }
}
