//! Kernel parameters as they are in effect, and as they will be after the next boot, against what AIStore's hosts need.
//! Kubespray writes its own, which may come after others' in the order of files.

use crate::cli::CliError;
use crate::cli::onhosts::field;
use crate::host::{normalise, same_value};
use crate::modules::sysctl_at_boot;
use crate::protocol::TaskReport;
use base64::Engine as _;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// A parameter and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    name: String,
    value: String,
}

/// What the profile `required` asks for.
pub fn required() -> Result<Vec<Wanted>, CliError> {
    let node = crate::yaml::parse_one("profiles/required.yml", include_str!("../../../profiles/required.yml"))?.to_json();
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let list = node["ais_required_sysctls"].as_array().cloned().unwrap_or_default();
    Ok(list.iter().map(|e| Wanted { name: text(&e["key"]), value: text(&e["value"]) }).collect())
}

/// For the play that looks.
pub fn question(wanted: &[Wanted]) -> Json {
    wanted.iter().map(|w| Json::from(format!("/proc/sys/{}", w.name.replace('.', "/")))).collect()
}

/// What differs on one host.
pub fn findings(wanted: &[Wanted], tasks: &BTreeMap<String, TaskReport>) -> Vec<String> {
    let values: BTreeMap<String, String> = files(tasks.get("sysctls")).into_iter().collect();
    let all = files(tasks.get("sysctl files"));
    let mut found = vec![];
    for w in wanted {
        let Some(now) = values.get(&format!("/proc/sys/{}", w.name.replace('.', "/"))) else {
            found.push(format!("{} can't be read; AIStore's hosts should have {}", w.name, w.value));
            continue;
        };
        let now = normalise(now);
        let right = same_value(&now, &w.value);
        let boot = sysctl_at_boot(&all, &w.name);
        let kept = boot.as_ref().is_some_and(|(_, value)| same_value(value, &w.value));
        let should = &w.value;
        match (right, kept, boot) {
            (true, true, _) => {}
            (true, false, Some((place, value))) => {
                found.push(format!("{} is {should}, and the next boot makes it {value} ({place})", w.name))
            }
            (true, false, None) => found.push(format!("{} is {should}, and no file keeps it over the next boot", w.name)),
            (false, true, _) => found.push(format!("{} is {now}, and should be {should}, as its file has it", w.name)),
            (false, false, Some((place, value))) => {
                found.push(format!("{} is {now}, and should be {should}; {place} has {value}", w.name));
            }
            (false, false, None) => found.push(format!("{} is {now}, and should be {should}", w.name)),
        }
    }
    found
}

/// Path and content of every file that a looping `slurp` read.
fn files(task: Option<&TaskReport>) -> Vec<(String, String)> {
    let items = task.and_then(|t| field(t, "results").as_array()).cloned().unwrap_or_default();
    let read = |item: &Json| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(item["content"].as_str()?).ok()?;
        Some((item["item"].as_str()?.to_owned(), String::from_utf8_lossy(&bytes).into_owned()))
    };
    items.iter().filter_map(read).collect()
}

/// One line for findings that many hosts share.
pub fn together(findings: &[(String, String)]) -> Vec<(String, String)> {
    let mut by_text: Vec<(&str, Vec<&str>)> = vec![];
    for (host, text) in findings {
        match by_text.iter_mut().find(|(t, _)| t == text) {
            Some((_, hosts)) => hosts.push(host),
            None => by_text.push((text, vec![host])),
        }
    }
    // More names than fit a line help nobody; --json has them all.
    const SHOWN: usize = 4;
    let names = |hosts: &[&str]| match hosts.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{} and {more} more", hosts[..SHOWN].join(", ")),
        _ => hosts.join(", "),
    };
    by_text.iter().map(|(text, hosts)| (names(hosts), (*text).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn slurped(files: &[(&str, &str)]) -> TaskReport {
        let encode = |t: &str| base64::engine::general_purpose::STANDARD.encode(t);
        let results: Vec<Json> = files.iter().map(|(p, t)| json!({"item": p, "content": encode(t)})).collect();
        serde_json::from_value(json!({"task": 1, "loc": {"file": "x", "line": 1, "column": 1, "len": 0}, "name": "x", "module": "slurp",
            "handler": false, "item": null, "summary": true, "status": "ok", "ignored": false, "rescued": false, "message": "", "changes": [],
            "result": {"results": results}, "warnings": [], "millis": 0}))
        .unwrap()
    }

    fn look(now: &str, files: &[(&str, &str)]) -> Vec<String> {
        let wanted = [Wanted { name: "net.core.somaxconn".into(), value: "65535".into() }];
        let tasks = BTreeMap::from([
            ("sysctls".to_owned(), slurped(&[("/proc/sys/net/core/somaxconn", now)])),
            ("sysctl files".to_owned(), slurped(files)),
        ]);
        findings(&wanted, &tasks)
    }

    #[test]
    fn the_file_that_comes_last_decides_about_the_next_boot() {
        let ours = ("/etc/sysctl.d/99-zz-ais-required.conf", "net.core.somaxconn=65535\n");
        assert_eq!(look("65535\n", &[ours]), Vec::<String>::new());
        assert_eq!(look("65535\n", &[]), ["net.core.somaxconn is 65535, and no file keeps it over the next boot"]);
        let later = ("/usr/lib/sysctl.d/99-zzz.conf", "# x\nnet/core/somaxconn = 128\n");
        assert_eq!(
            look("65535\n", &[later, ours]),
            ["net.core.somaxconn is 65535, and the next boot makes it 128 (/usr/lib/sysctl.d/99-zzz.conf:2)"]
        );
        // Of two files with one name the first folder's is read; a pattern gives way to the name.
        let masks = ("/etc/sysctl.d/99-zzz.conf", "net.core.* = 5\n");
        assert_eq!(look("65535\n", &[later, masks, ours]), Vec::<String>::new());
        assert_eq!(look("128\n", &[ours]), ["net.core.somaxconn is 128, and should be 65535, as its file has it"]);
        assert_eq!(look("128\n", &[]), ["net.core.somaxconn is 128, and should be 65535"]);
    }

    #[test]
    fn the_profile_is_read_and_hosts_share_lines() {
        assert!(required().unwrap().iter().any(|w| w.name == "net.core.somaxconn" && w.value == "65535"));
        let found: Vec<_> = (1..=6).map(|n| (format!("n{n}"), "x".to_owned())).collect();
        assert_eq!(together(&found), [("n1, n2, n3, n4 and 2 more".to_owned(), "x".to_owned())]);
    }
}
