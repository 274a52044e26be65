//! Runs of `fettle` on labs, and what they told.

use super::{Lab, fettle, fettle_command};
use serde_json::Value as Json;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a test waits for something that takes a second or two.
const PATIENCE: Duration = Duration::from_secs(30);

/// All that a program printed.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What a run with `--json` told, event by event.
pub fn events(output: &Output) -> Vec<Json> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}\n{}", text(output)));
    String::from_utf8_lossy(&output.stdout).lines().map(parse).collect()
}

fn reports(output: &Output) -> impl Iterator<Item = (String, Json)> {
    let results = events(output).into_iter().filter(|e| e["event"] == "result");
    results.map(|mut e| (e["host"].as_str().unwrap_or_default().to_owned(), e["report"].take()))
}

fn word(value: &Json) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not text: {value}"))
}

/// What a run changed (or would change): host, task, change, done or not, in order.
pub fn changes(output: &Output) -> Vec<String> {
    reports(output)
        .flat_map(|(host, report)| {
            let changes = report["changes"].as_array().cloned().unwrap_or_default();
            changes.into_iter().map(move |c| format!("{host} | {} | {} | {}", word(&report["name"]), word(&c["summary"]), c["done"]))
        })
        .collect()
}

/// How every task, and every item of a loop, ended: host, task, item, status, in order.
pub fn outcomes(output: &Output) -> Vec<String> {
    let line = |(host, r): (String, Json)| {
        format!("{host} | {} | {} | {}", word(&r["name"]), r["item"].as_str().unwrap_or("-"), word(&r["status"]))
    };
    reports(output).map(line).collect()
}

/// `task: status` of every task as a whole, in order.
pub fn statuses(output: &Output) -> Vec<String> {
    let whole = reports(output).filter(|(_, r)| r["item"].is_null());
    whole.map(|(_, r)| format!("{}: {}", word(&r["name"]), word(&r["status"]))).collect()
}

/// What tasks of this name said, host by host.
pub fn said(output: &Output, name: &str) -> Vec<String> {
    let by_name = reports(output).filter(|(_, r)| r["name"] == name && r["item"].is_null());
    by_name.map(|(host, r)| format!("{host}: {}", word(&r["message"]))).collect()
}

/// A playbook in a folder of its own, which goes away with this value.
pub struct Playbook {
    folder: tempfile::TempDir,
}

impl Playbook {
    /// One of this text.
    pub fn new(text: &str) -> Self {
        let playbook = Self { folder: tempfile::tempdir().unwrap() };
        playbook.file("play.yml", text);
        playbook
    }

    /// One play on all hosts of a lab, without facts, of these tasks: each a line that begins with `- `.
    pub fn tasks(tasks: &str) -> Self {
        let lines: String = tasks.lines().map(|line| format!("    {line}\n")).collect();
        Self::new(&format!("- hosts: ais\n  gather_facts: false\n  tasks:\n{lines}"))
    }

    /// A file beside it.
    pub fn file(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The folder it is in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its path.
    pub fn path(&self) -> String {
        self.folder.path().join("play.yml").display().to_string()
    }
}

impl Lab {
    /// Runs `fettle` with this lab's inventory.
    pub fn fettle(&self, arguments: &[&str]) -> Output {
        fettle([arguments, &["-i", &self.inventory().display().to_string()]].concat())
    }

    /// Starts it.
    pub fn start_fettle(&self, arguments: &[&str]) -> Child {
        let mut command = fettle_command([arguments, &["-i", &self.inventory().display().to_string()]].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Waits until `script` succeeds on `host`; that it does not in time fails the test.
    pub fn wait_until(&self, host: &str, script: &str) {
        let begin = Instant::now();
        while !self.exec(host, script).status.success() {
            assert!(begin.elapsed() < PATIENCE, "{host}: `{script}` does not come true");
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}
