//! The house's own rules, kept by tests: imports run one way, the agent links no network code, rooms stay small.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The rooms from the top down, as in `src/lib.rs`.
const ROOMS: &[&str] = &[
    "cli",
    "lab",
    "controller",
    "report",
    "kube",
    "cluster",
    "transport",
    "playbook",
    "inventory",
    "agent",
    "protocol",
    "modules",
    "template",
    "play",
    "host",
    "yaml",
    "diag",
    "out",
];

/// Imports that run up the list all the same, each with its reason.
const EXCEPTIONS: &[(&str, &str, &str)] =
    &[("report", "controller", "the report shows the run's events and totals, whose types are the controller's")];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push(path);
        }
    }
}

fn room_of(path: &Path) -> String {
    let relative = path.strip_prefix(root().join("src")).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn the_map_in_lib_rs_is_the_one_tested_here() {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let listed: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("//! | `")).filter_map(|l| l.split('`').next()).collect();
    assert_eq!(listed, ROOMS);
}

#[test]
fn imports_run_one_way() {
    let mut files = vec![];
    sources(&root().join("src"), &mut files);
    let mut wrong = vec![];
    for path in files {
        let room = room_of(&path);
        let Some(place) = ROOMS.iter().position(|r| *r == room) else { continue };
        let text = std::fs::read_to_string(&path).unwrap();
        // Unit tests may look at anything.
        let code = text.split("#[cfg(test)]").next().unwrap_or("");
        for part in code.split("crate::").skip(1) {
            let used: String = part.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            let Some(other) = ROOMS.iter().position(|r| *r == used) else { continue };
            if other < place && !EXCEPTIONS.iter().any(|(a, b, _)| *a == room && *b == used) {
                wrong.push(format!("{}: {room} imports {used}, which is above it", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_agent_links_no_network_code() {
    let out = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--no-default-features", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let tree = String::from_utf8_lossy(&out.stdout).into_owned();
    for forbidden in
        ["ssh2", "libssh2-sys", "openssl", "openssl-sys", "rustls", "ring", "hyper", "kube", "tokio", "clap", "indicatif", "reqwest"]
    {
        assert!(!tree.lines().any(|l| l.split(' ').next() == Some(forbidden)), "the agent's library depends on {forbidden}:\n{tree}");
    }
    assert!(tree.contains("minijinja"), "the list of dependencies looks wrong:\n{tree}");
}

#[test]
fn the_agent_is_under_three_megabytes() {
    const LIMIT: u64 = 3_000_000;
    let agents = support::agents();
    assert!(!agents.is_empty());
    for agent in agents {
        let size = std::fs::metadata(&agent).unwrap().len();
        assert!(size < LIMIT, "{} has {size} bytes", agent.display());
    }
}

#[test]
fn building_fails_where_the_agent_is_too_large() {
    support::agents();
    let output = support::build_command().env("FETTLE_AGENT_LIMIT", "1000").output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && words.contains(" bytes, and must have fewer than 1000."), "{words}");
}

#[test]
fn files_hold_one_idea() {
    // A file this long is telling you something: CONTRIBUTING.md.
    const LIMIT: usize = 800;
    let mut files = vec![];
    sources(&root().join("src"), &mut files);
    let long: BTreeMap<_, _> = files
        .iter()
        .filter(|p| !p.to_string_lossy().contains("tests"))
        .map(|p| (p, std::fs::read_to_string(p).unwrap().split("#[cfg(test)]").next().unwrap_or("").lines().count()))
        .filter(|(_, n)| *n > LIMIT)
        .collect();
    assert!(long.is_empty(), "too long: {long:?}");
}
