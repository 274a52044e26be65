//! Dynamic inventories: programs that print one as JSON, and such JSON saved in a file.

use super::data::Data;
use crate::diag::{Diagnostic, Diagnostics, Loc};
use crate::yaml::Node;
use serde_json::{Map, Value as Json};
use std::path::Path;
use std::process::{Command, Stdio};

/// Largest output read: the same bound as for YAML files.
const OUTPUT_LIMIT: usize = 16 << 20;

/// Runs the program at `path` with `--list` (and with `--host NAME` where it gives no `_meta`), and reads what it prints.
pub fn run(path: &Path, data: &mut Data) -> Result<(), Diagnostics> {
    let loc = Loc::outside(&path.display().to_string());
    let json = output(path, &["--list"], &loc)?;
    let (hosts, meta) = read(&json, &loc, data)?;
    if meta {
        return Ok(());
    }
    for host in hosts {
        match output(path, &["--host", &host], &loc)? {
            Json::Object(vars) => set_host(&host, &vars, &loc, data),
            other => return Err(wrong(&loc, &format!("`--host {host}` printed {}", kind(&other)), "a mapping of variables")),
        }
    }
    Ok(())
}

/// Reads the JSON of a dynamic inventory. Returns its hosts, and whether it has `_meta.hostvars`.
pub fn read(json: &Json, loc: &Loc, data: &mut Data) -> Result<(Vec<String>, bool), Diagnostics> {
    let Json::Object(groups) = json else {
        return Err(wrong(loc, &format!("it is {}", kind(json)), "a mapping of groups"));
    };
    let mut hosts: Vec<String> = vec![];
    for (name, group) in groups.iter().filter(|(name, _)| *name != "_meta") {
        read_group(name, group, loc, data, &mut hosts)?;
    }
    let Some(meta) = groups.get("_meta") else { return Ok((hosts, false)) };
    match meta.get("hostvars") {
        None => Ok((hosts, false)),
        Some(Json::Object(hostvars)) => {
            for (host, vars) in hostvars {
                match vars {
                    // Variables of hosts that are in no group are dropped, as Ansible does.
                    Json::Object(vars) if hosts.contains(host) || data.hosts.contains_key(host) => set_host(host, vars, loc, data),
                    Json::Object(_) | Json::Null => {}
                    other => return Err(wrong(loc, &format!("`_meta.hostvars.{host}` is {}", kind(other)), "a mapping of variables")),
                }
            }
            Ok((hosts, true))
        }
        Some(other) => Err(wrong(loc, &format!("`_meta.hostvars` is {}", kind(other)), "a mapping of hosts")),
    }
}

fn read_group(name: &str, group: &Json, loc: &Loc, data: &mut Data, hosts: &mut Vec<String>) -> Result<(), Diagnostics> {
    data.group(name);
    let add = |list: &Json, data: &mut Data, hosts: &mut Vec<String>| {
        for host in strings(list).ok_or_else(|| wrong(loc, &format!("`{name}.hosts` is {}", kind(list)), "a list of names"))? {
            data.join(name, &host, loc);
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        Ok::<(), Diagnostics>(())
    };
    let Json::Object(parts) = group else { return add(group, data, hosts) };
    if let Some(unknown) = parts.keys().find(|k| !["hosts", "children", "vars"].contains(&k.as_str())) {
        return Err(wrong(loc, &format!("the group `{name}` has a `{unknown}`"), "`hosts`, `children` and `vars` only"));
    }
    if let Some(list) = parts.get("hosts") {
        add(list, data, hosts)?;
    }
    if let Some(list) = parts.get("children") {
        for child in strings(list).ok_or_else(|| wrong(loc, &format!("`{name}.children` is {}", kind(list)), "a list of names"))? {
            data.nest(name, &child, loc)?;
        }
    }
    match parts.get("vars") {
        None | Some(Json::Null) => {}
        Some(Json::Object(vars)) => {
            for (var, value) in vars {
                data.set_group(name, var, Node::from_json(value, loc))?;
            }
        }
        Some(other) => return Err(wrong(loc, &format!("`{name}.vars` is {}", kind(other)), "a mapping of variables")),
    }
    Ok(())
}

fn set_host(host: &str, vars: &Map<String, Json>, loc: &Loc, data: &mut Data) {
    for (name, value) in vars {
        data.set_host(host, name, Node::from_json(value, loc), loc);
    }
}

fn strings(json: &Json) -> Option<Vec<String>> {
    json.as_array()?.iter().map(|item| item.as_str().filter(|s| !s.is_empty()).map(str::to_owned)).collect()
}

#[allow(clippy::disallowed_methods, reason = "runs the operator's own inventory program on the operator's machine")]
fn output(path: &Path, arguments: &[&str], loc: &Loc) -> Result<Json, Diagnostics> {
    let command = format!("{} {}", path.display(), arguments.join(" "));
    // A name without a slash would be looked for in PATH.
    let program = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let done = Command::new(program).args(arguments).stdin(Stdio::null()).output().map_err(|e| {
        Diagnostic::error(loc, format!("the inventory program can't be run: {e}")).help(format!("it was run as `{command}`"))
    })?;
    if !done.status.success() {
        let mut error = Diagnostic::error(loc, format!("the inventory program failed: `{command}` ended with {}", done.status));
        for line in String::from_utf8_lossy(&done.stderr).lines().rev().take(5).collect::<Vec<_>>().into_iter().rev() {
            error = error.help(format!("it said: {line}"));
        }
        return Err(error.into());
    }
    if done.stdout.len() > OUTPUT_LIMIT {
        return Err(Diagnostic::error(loc, format!("`{command}` printed more than {OUTPUT_LIMIT} bytes")).into());
    }
    serde_json::from_slice(&done.stdout).map_err(|e| Diagnostic::error(loc, format!("`{command}` did not print JSON: {e}")).into())
}

fn wrong(loc: &Loc, what: &str, expected: &str) -> Diagnostics {
    Diagnostic::error(loc, format!("this dynamic inventory can't be used: {what}, where {expected} is expected")).into()
}

fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "nothing",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "text",
        Json::Array(_) => "a list",
        Json::Object(_) => "a mapping",
    }
}
