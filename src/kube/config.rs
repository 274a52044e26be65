//! Which cluster, and as whom: kubeconfigs are found as kubectl finds them.

use super::error::reasons;
use super::{KubeError, Server};
use ::kube::config::{KubeConfigOptions, Kubeconfig};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Seconds to wait for a connection: an API server that needs longer is not usable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the operator says about the cluster to talk to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// `--kubeconfig`; otherwise `$KUBECONFIG` (files with colons between), then `~/.kube/config`, then the pod's own account.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`; otherwise the kubeconfig's current one.
    pub context: Option<String>,
}

/// Finds the cluster. Nothing is asked of it yet.
pub async fn connect(access: &Access) -> Result<Server, KubeError> {
    let (kubeconfig, from) = match read(access)? {
        Some(found) => found,
        None if access.context.is_none() => match ::kube::Config::incluster() {
            Ok(config) => return server(config, "this pod's service account".into()),
            Err(_) => {
                return Err(KubeError::Config(
                    "no kubeconfig was found: name one with --kubeconfig, in $KUBECONFIG, or put it at ~/.kube/config".into(),
                ));
            }
        },
        None => {
            return Err(KubeError::Config(
                "--context is given, and no kubeconfig was found to look it up in: name one with --kubeconfig".into(),
            ));
        }
    };
    let known: Vec<&str> = kubeconfig.contexts.iter().map(|c| c.name.as_str()).collect();
    let Some(context) = access.context.clone().or_else(|| kubeconfig.current_context.clone()).filter(|c| !c.is_empty()) else {
        return Err(KubeError::Config(format!("{from} has no current context: choose one with --context: {}", known.join(", "))));
    };
    if !known.contains(&context.as_str()) {
        let near = crate::diag::nearest(&context, known.iter().copied()).map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default();
        return Err(KubeError::Config(format!("{from} has no context `{context}`{near}: it has {}", known.join(", "))));
    }
    let login = format!("context `{context}` of {from}");
    let options = KubeConfigOptions { context: Some(context), ..KubeConfigOptions::default() };
    let config = ::kube::Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|e| KubeError::Config(format!("{login} can't be used: {}", reasons(&e))))?;
    server(config, login)
}

fn server(mut config: ::kube::Config, login: String) -> Result<Server, KubeError> {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    let url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    let make = |config: ::kube::Config| ::kube::Client::try_from(config).map_err(|e| KubeError::from_client(&e, &url, &login, "connect"));
    let client = make(config.clone())?;
    config.default_retry = false;
    let impatient = make(config)?;
    Ok(Server { client, impatient, url, login })
}

/// The kubeconfig and its name for messages; `None`: there is none.
fn read(access: &Access) -> Result<Option<(Kubeconfig, String)>, KubeError> {
    if let Some(path) = &access.kubeconfig {
        // Named by hand: it must be there.
        return read_one(path).map(|c| Some((c, path.display().to_string())));
    }
    let home = || std::env::var_os("HOME").map(|h| Path::new(&h).join(".kube/config"));
    let named: Vec<PathBuf> = match std::env::var_os("KUBECONFIG").filter(|v| !v.is_empty()) {
        Some(list) => std::env::split_paths(&list).filter(|p| !p.as_os_str().is_empty()).collect(),
        None => home().into_iter().collect(),
    };
    // As kubectl: files of the list that are not there are passed over.
    let there: Vec<PathBuf> = named.into_iter().filter(|p| p.exists()).collect();
    let mut merged: Option<Kubeconfig> = None;
    for path in &there {
        let next = read_one(path)?;
        merged = Some(match merged {
            None => next,
            Some(first) => first.merge(next).map_err(|e| KubeError::Config(format!("{}: {}", path.display(), reasons(&e))))?,
        });
    }
    let names = there.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(":");
    Ok(merged.map(|config| (config, names)))
}

fn read_one(path: &Path) -> Result<Kubeconfig, KubeError> {
    Kubeconfig::read_from(path).map_err(|e| KubeError::Config(format!("kubeconfig {}: {}", path.display(), reasons(&e))))
}
