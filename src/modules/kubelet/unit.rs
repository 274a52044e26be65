//! How a host's kubelet is started: which flags, which environment files, which configuration.

use super::env_file::{self, Assignment};
use crate::host::{View, ViewError};
use std::path::{Path, PathBuf};

/// Where units and their drop-ins are, strongest first (systemd.unit(5)).
const UNIT_FOLDERS: &[&str] =
    &["/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// A kubelet's start-up, as far as its configuration goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kubelet {
    /// The unit file; `None`: there is none.
    pub unit: Option<PathBuf>,
    /// Environment files the unit reads that exist, weakest first.
    pub env_files: Vec<PathBuf>,
    /// Names of variables its command line expands.
    pub expands: Vec<String>,
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--config-dir`: a folder of `*.conf` drop-ins that are merged over the configuration in name order.
    pub config_dir: Option<PathBuf>,
    /// An environment file and variable that hold the flag for unsafe sysctls already. Flags win over configuration files.
    pub flag: Option<(PathBuf, String, Vec<String>)>,
    /// The flag's list where this module does not edit: in the unit itself or a drop-in.
    pub flag_in_unit: Option<Vec<String>>,
}

/// Looks at the kubelet of a host.
pub fn look(view: &dyn View) -> Result<Kubelet, ViewError> {
    let mut kubelet = Kubelet::default();
    let mut texts = vec![];
    for folder in UNIT_FOLDERS {
        let path = Path::new(folder).join("kubelet.service");
        if let Some(text) = view.read_text_opt(&path)? {
            kubelet.unit = Some(path);
            texts.push(text);
            break;
        }
    }
    if kubelet.unit.is_none() {
        return Ok(kubelet);
    }
    // Drop-ins of all folders apply in name order; a name in a stronger folder hides the same name in a weaker one.
    let mut drop_ins: Vec<(String, PathBuf)> = vec![];
    for folder in UNIT_FOLDERS {
        let folder = Path::new(folder).join("kubelet.service.d");
        let names = match view.list(&folder) {
            Ok(names) => names,
            Err(ViewError::NotFound(_)) => continue,
            Err(e) => return Err(e),
        };
        for name in names.into_iter().filter(|n| n.ends_with(".conf")) {
            if !drop_ins.iter().any(|(known, _)| *known == name) {
                let path = folder.join(&name);
                drop_ins.push((name, path));
            }
        }
    }
    drop_ins.sort_unstable();
    for (_, path) in drop_ins {
        texts.extend(view.read_text_opt(&path)?);
    }
    let mut exec = String::new();
    let mut environment: Vec<(String, String)> = vec![];
    let mut files: Vec<(PathBuf, bool)> = vec![];
    for text in &texts {
        for (key, value) in service_settings(text) {
            match key.as_str() {
                "ExecStart" => exec = value,
                "Environment" if value.is_empty() => environment.clear(),
                "Environment" => environment
                    .extend(words(&value).into_iter().filter_map(|w| w.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())))),
                "EnvironmentFile" if value.is_empty() => files.clear(),
                "EnvironmentFile" => files.push((PathBuf::from(value.trim_start_matches('-')), value.starts_with('-'))),
                _ => {}
            }
        }
    }
    let mut from_files: Vec<(PathBuf, Assignment)> = vec![];
    for (path, _) in files {
        if let Some(text) = view.read_text_opt(&path)? {
            from_files.extend(env_file::parse(&text).into_iter().map(|a| (path.clone(), a)));
            kubelet.env_files.push(path);
        }
    }
    kubelet.expands = words(&exec)
        .iter()
        .filter_map(|w| w.strip_prefix('$').map(|n| n.trim_start_matches('{').trim_end_matches('}').to_owned()))
        .collect();
    // The command line as it will be: files win over Environment= (systemd.exec(5)), the last file wins.
    let mut line = words(&exec);
    for name in &kubelet.expands {
        let from_file = from_files.iter().rev().find(|(_, a)| a.name == *name);
        match from_file {
            Some((path, assignment)) => {
                if let Some(range) = env_file::flag_value(&assignment.value) {
                    kubelet.flag = Some((path.clone(), name.clone(), list(&assignment.value[range])));
                }
                line.extend(words(&assignment.value));
            }
            None => {
                let value = environment.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).unwrap_or("");
                kubelet.flag_in_unit = env_file::flag_value(value).map(|range| list(&value[range])).or(kubelet.flag_in_unit);
                line.extend(words(value));
            }
        }
    }
    kubelet.flag_in_unit = env_file::flag_value(&exec).map(|range| list(&exec[range])).or(kubelet.flag_in_unit);
    kubelet.config = flag(&line, "--config");
    kubelet.config_dir = flag(&line, "--config-dir");
    Ok(kubelet)
}

/// The items of a flag's list.
fn list(text: &str) -> Vec<String> {
    text.trim_matches(['\'', '"']).split(',').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect()
}

/// The value of a path flag, in either spelling; the last one wins.
fn flag(line: &[String], name: &str) -> Option<PathBuf> {
    let mut found = None;
    for (i, word) in line.iter().enumerate() {
        if let Some(value) = word.strip_prefix(name).and_then(|w| w.strip_prefix('=')) {
            found = Some(value.to_owned());
        } else if word == name {
            found = line.get(i + 1).cloned();
        }
    }
    found.filter(|v| !v.is_empty()).map(PathBuf::from)
}

/// Settings of the `[Service]` section, continuations joined. An empty `ExecStart=` resets by being overwritten later.
fn service_settings(text: &str) -> Vec<(String, String)> {
    let mut all = vec![];
    let mut section = String::new();
    let mut pending = String::new();
    for line in text.lines() {
        let line = line.trim();
        if pending.is_empty() && (line.is_empty() || line.starts_with(['#', ';'])) {
            continue;
        }
        // A comment between continued lines is passed over.
        if !pending.is_empty() && line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(part) = line.strip_suffix('\\') {
            pending.push_str(part);
            pending.push(' ');
            continue;
        }
        let whole = format!("{}{line}", std::mem::take(&mut pending));
        if let Some(name) = whole.strip_prefix('[').and_then(|w| w.strip_suffix(']')) {
            section = name.to_owned();
        } else if section == "Service"
            && let Some((key, value)) = whole.split_once('=')
        {
            all.push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    all
}

/// Splits at white space, respecting quotes, which are taken off.
fn words(text: &str) -> Vec<String> {
    let mut all = vec![];
    let mut word = String::new();
    let mut quote = None;
    let mut started = false;
    for c in text.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), c) => word.push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                started = true;
            }
            (None, c) if c.is_whitespace() => {
                if started || !word.is_empty() {
                    all.push(std::mem::take(&mut word));
                    started = false;
                }
            }
            (None, c) => word.push(c),
        }
    }
    if started || !word.is_empty() {
        all.push(word);
    }
    all
}
