//! `kubelet`: which unsafe sysctls pods may ask for, set where this host's kubelet reads it.

mod config_yaml;
mod env_file;
mod unit;

use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError};
use crate::host::Change;
use crate::host::change::WriteFile;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use unit::Kubelet;

/// The module's description.
pub const MODULE: Module = Module {
    name: "kubelet",
    collections: &["fettle"],
    aliases: &[],
    doc: "Allows pods on this host to set unsafe sysctls.\n\
          Finds how the kubelet is started and edits the one place it reads: the flag in its environment file where it \
          stands there already, its configuration drop-in folder, its configuration file, or the environment file's \
          arguments. What is allowed already stays allowed; where nothing is missing, no byte is touched. \
          The kubelet is not restarted: notify a handler for that.",
    args: &[
        Arg::new("allowed_unsafe_sysctls", Kind::StrList, "sysctls to allow, names or patterns that end in `*`, such as `net.*`")
            .required(),
        Arg::new("config", Kind::Path, "edit this KubeletConfiguration file whatever the unit says"),
        Arg::new("required", Kind::Bool, "fail on a host that has no kubelet; `no` skips it").default("yes"),
    ],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

/// Configuration files tried where there is no unit to ask: Kubespray's, then kubeadm's.
const USUAL_CONFIGS: &[&str] = &["/etc/kubernetes/kubelet-config.yaml", "/var/lib/kubelet/config.yaml"];
/// Kubespray's environment file.
const USUAL_ENV: &str = "/etc/kubernetes/kubelet.env";
/// Our file in a `--config-dir` folder; kubelet merges these in name order, so a high number wins.
const DROP_IN: &str = "90-fettle-sysctls.conf";

/// Where the list is to be edited.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// The flag, in a variable of an environment file.
    Flag(PathBuf, String),
    /// A configuration file.
    Config(PathBuf),
    /// A drop-in in `--config-dir`; the list there replaces the one in the main configuration.
    DropIn(PathBuf, PathBuf),
}

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    let wanted = args.str_list("allowed_unsafe_sysctls").unwrap_or_default();
    if let Some(bad) = wanted.iter().find(|s| !valid(s)) {
        return Err(PlanError::failed(format!(
            "`{bad}` is no sysctl name or pattern: kubelet takes names like `net.core.somaxconn` and patterns like `net.*`"
        )));
    }
    let view = context.view;
    let kubelet = unit::look(view)?;
    let exists = |path: &str| view.stat(Path::new(path), true).map(|s| s.is_some());
    let mut plan = Plan::default();
    // A flag wins over every configuration, so where one allows all of it already, that is all there is to say.
    if let (Some(unit), Some(list)) = (&kubelet.unit, &kubelet.flag_in_unit)
        && wanted.iter().all(|w| list.iter().any(|have| covers(have, w)))
    {
        plan.result = result(unit, true, list, list);
        return Ok(plan);
    }
    let place = if let Some(path) = args.str("config") {
        Place::Config(path.into())
    } else if kubelet.unit.is_none() && !exists(USUAL_CONFIGS[0])? && !exists(USUAL_CONFIGS[1])? && !exists(USUAL_ENV)? {
        if args.bool("required").unwrap_or(true) {
            return Err(PlanError::failed(
                "there is no kubelet here: no kubelet.service, /etc/kubernetes/kubelet-config.yaml, /var/lib/kubelet/config.yaml or /etc/kubernetes/kubelet.env",
            ));
        }
        plan.skipped = Some("no kubelet on this host".into());
        return Ok(plan);
    } else {
        choose(&kubelet, &|path| view.stat(path, true).is_ok_and(|s| s.is_some()))?
    };
    let (path, current) = match &place {
        Place::Flag(path, _) => (path, kubelet.flag.as_ref().map(|(_, _, list)| list.clone()).unwrap_or_default()),
        Place::Config(path) => (path, config_yaml::list(path, &view.read_text(path)?).map_err(PlanError::failed)?.unwrap_or_default()),
        Place::DropIn(path, folder) => (path, merged(context, folder, kubelet.config.as_deref())?),
    };
    let missing: Vec<String> = wanted.iter().filter(|w| !current.iter().any(|have| covers(have, w))).cloned().collect();
    let all: Vec<String> = current.iter().chain(&missing).cloned().collect();
    plan.result = result(path, matches!(place, Place::Flag(..)), &all, &current);
    if missing.is_empty() {
        return Ok(plan);
    }
    let text = view.read_text_opt(path)?.unwrap_or_default();
    let new = match &place {
        Place::Flag(path, name) => {
            env_file::set_flag(&text, name, &all).map_err(|e| PlanError::failed(format!("{}: {e}", path.display())))?
        }
        Place::Config(path) => config_yaml::add(path, &text, &missing).map_err(PlanError::failed)?,
        Place::DropIn(path, _) if text.is_empty() => {
            let head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";
            config_yaml::add(path, head, &all).map_err(PlanError::failed)?
        }
        Place::DropIn(path, _) => {
            let own = config_yaml::list(path, &text).map_err(PlanError::failed)?.unwrap_or_default();
            let more: Vec<String> = all.iter().filter(|a| !own.contains(a)).cloned().collect();
            config_yaml::add(path, &text, &more).map_err(PlanError::failed)?
        }
    };
    plan.changes.push(Change::WriteFile(WriteFile {
        path: path.clone(),
        content: new.into_bytes(),
        // Kubespray's mode for these files; an existing file keeps its own.
        mode: view.stat(path, true)?.is_none().then_some(0o600),
        uid: None,
        gid: None,
        backup: false,
        validate: None,
        secret: context.secret,
        follow: true,
    }));
    Ok(plan)
}

/// What the task returns: where the list is, whether that is a flag, the list then and now.
fn result(path: &Path, flag: bool, all: &[String], current: &[String]) -> Map<String, Value> {
    Map::from_iter(
        [("path", json!(path)), ("flag", json!(flag)), ("allowed_unsafe_sysctls", json!(all)), ("previous", json!(current))]
            .map(|(key, value)| (key.to_owned(), value)),
    )
}

/// Which place this kubelet reads.
fn choose(kubelet: &Kubelet, exists: &dyn Fn(&Path) -> bool) -> Result<Place, PlanError> {
    if kubelet.flag_in_unit.is_some() {
        return Err(PlanError::failed(
            "kubelet's unit or one of its drop-ins sets --allowed-unsafe-sysctls itself, and a flag wins over every configuration file: change it there",
        ));
    }
    if let Some((path, name, _)) = &kubelet.flag {
        return Ok(Place::Flag(path.clone(), name.clone()));
    }
    if let Some(folder) = &kubelet.config_dir {
        return Ok(Place::DropIn(folder.join(DROP_IN), folder.clone()));
    }
    if let Some(config) = &kubelet.config {
        return Ok(Place::Config(config.clone()));
    }
    for usual in USUAL_CONFIGS.iter().map(Path::new).filter(|_| kubelet.unit.is_none()) {
        if exists(usual) {
            return Ok(Place::Config(usual.to_owned()));
        }
    }
    // Flags only: the environment file whose arguments the command line expands.
    let name =
        ["KUBELET_ARGS", "KUBELET_EXTRA_ARGS"].into_iter().find(|n| kubelet.unit.is_none() || kubelet.expands.iter().any(|e| e == n));
    let file = kubelet.env_files.last().cloned().or_else(|| exists(Path::new(USUAL_ENV)).then(|| PathBuf::from(USUAL_ENV)));
    match (file, name) {
        (Some(file), Some(name)) => Ok(Place::Flag(file, name.to_owned())),
        _ => Err(PlanError::failed(format!(
            "{} starts a kubelet that reads no configuration file and no KUBELET_ARGS or KUBELET_EXTRA_ARGS: name its configuration with `config`",
            kubelet.unit.as_deref().unwrap_or(Path::new("the unit")).display()
        ))),
    }
}

/// The list in effect with a drop-in folder: the last file by name that sets it, else the main configuration's.
fn merged(context: &Context<'_>, folder: &Path, config: Option<&Path>) -> Result<Vec<String>, PlanError> {
    let names = match context.view.list(folder) {
        Ok(names) => names,
        Err(crate::host::ViewError::NotFound(_)) => {
            return Err(PlanError::failed(format!(
                "kubelet is started with --config-dir={}, which does not exist: make it first",
                folder.display()
            )));
        }
        Err(e) => return Err(e.into()),
    };
    let mut current = match config {
        Some(config) => config_yaml::list(config, &context.view.read_text(config)?).map_err(PlanError::failed)?.unwrap_or_default(),
        None => vec![],
    };
    for name in names.iter().filter(|n| n.ends_with(".conf")) {
        let path = folder.join(name);
        if let Some(list) = config_yaml::list(&path, &context.view.read_text(&path)?).map_err(PlanError::failed)? {
            if name.as_str() > DROP_IN && !list.is_empty() {
                return Err(PlanError::failed(format!(
                    "{} sets allowedUnsafeSysctls and is read after {DROP_IN}: change it there",
                    path.display()
                )));
            }
            current = list;
        }
    }
    Ok(current)
}

/// Whether allowing `have` allows `want` (kubelet's patterns: a trailing `*` matches any rest).
fn covers(have: &str, want: &str) -> bool {
    match have.strip_suffix('*') {
        Some(prefix) => want.trim_end_matches('*').starts_with(prefix),
        None => have == want,
    }
}

/// A sysctl name, or a prefix that ends in `*`, as kubelet validates them.
fn valid(name: &str) -> bool {
    let stem = name.strip_suffix(".*").or_else(|| name.strip_suffix('*')).unwrap_or(name);
    !stem.is_empty()
        && stem
            .split(['.', '/'])
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_names() {
        assert!(covers("net.*", "net.core.somaxconn"));
        assert!(covers("net.*", "net.*"));
        assert!(!covers("net.core.somaxconn", "net.*"));
        assert!(!covers("net.ipv4.*", "net.core.somaxconn"));
    }

    #[test]
    fn names_are_checked() {
        for good in ["net.*", "net.core.somaxconn", "kernel.shm*", "net.ipv4.conf.eth0-1.mtu"] {
            assert!(valid(good), "{good}");
        }
        for bad in ["", "*", "net.*.x", "Net.core", "net core"] {
            assert!(!valid(bad), "{bad}");
        }
    }

    #[test]
    fn flags_win_then_the_folder_then_the_file() {
        let mut kubelet =
            Kubelet { unit: Some("/etc/systemd/system/kubelet.service".into()), config: Some("/c.yaml".into()), ..Kubelet::default() };
        assert_eq!(choose(&kubelet, &|_| false).unwrap(), Place::Config("/c.yaml".into()));
        kubelet.config_dir = Some("/d".into());
        assert_eq!(choose(&kubelet, &|_| false).unwrap(), Place::DropIn(Path::new("/d").join(DROP_IN), "/d".into()));
        kubelet.flag = Some(("/e.env".into(), "KUBELET_ARGS".into(), vec![]));
        assert_eq!(choose(&kubelet, &|_| false).unwrap(), Place::Flag("/e.env".into(), "KUBELET_ARGS".into()));
        kubelet.flag_in_unit = Some(vec![]);
        assert!(choose(&kubelet, &|_| false).unwrap_err().to_string().contains("a flag wins"));
    }
}
