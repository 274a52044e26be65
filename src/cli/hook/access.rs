//! Which API server the hook talks to: what the operator names; Kubespray's kubeconfig beside the inventory; the operator's own
//! default; a control plane host's. What is beside an inventory is for its cluster, and `~/.kube/config` may be for any.

use super::PostKubespray;
use crate::cli::CliError;
use crate::cli::connect::target;
use crate::cli::onhosts::{Results, field, play_aside};
use crate::controller::Via;
use crate::inventory::Inventory;
use crate::kube::{Access, KubeError, Server, connect, connect_from_host, connect_moved};
use crate::play::Vars;
use crate::transport::Defaults;
use base64::Engine as _;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Finds the API server.
pub async fn server(args: &PostKubespray, inventory: &Inventory) -> Result<Server, CliError> {
    let access = args.access.access();
    let named = access != Access::default() || std::env::var_os("KUBECONFIG").is_some_and(|v| !v.is_empty());
    let beside = beside(inventory).filter(|_| access == Access::default());
    let why = match (&beside, named) {
        (Some(path), false) => return artifact(path, inventory).await,
        _ => match connect(&access).await {
            // $KUBECONFIG may name files that are not there.
            Err(KubeError::Config(why)) if access == Access::default() => why,
            other => return Ok(other?),
        },
    };
    if let Some(path) = beside {
        return artifact(&path, inventory).await;
    }
    from_host(args, inventory).await.map_err(|host| CliError::Failed(format!("{why}\n{host}")))
}

/// What Kubespray puts beside an inventory with `kubeconfig_localhost: true`.
fn beside(inventory: &Inventory) -> Option<PathBuf> {
    let folders = inventory.sources().iter().map(Path::new).filter(|p| p.exists());
    folders
        .map(|p| if p.is_dir() { p } else { p.parent().unwrap_or(Path::new("")) })
        .map(|folder| folder.join("artifacts/admin.conf"))
        .find(|p| p.is_file())
}

async fn artifact(path: &Path, inventory: &Inventory) -> Result<Server, CliError> {
    eprintln!("Kubeconfig: {}", path.display());
    let server = connect(&Access { kubeconfig: Some(path.to_owned()), context: None }).await?;
    let Err(e) = server.version().await else { return Ok(server) };
    if !e.is_passing() {
        return Err(e.into());
    }
    // Its address is often one that only the hosts reach.
    let addresses: Vec<String> = control_plane(inventory).iter().map(|host| address(inventory, host)).collect();
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let moved = connect_moved(&text, &path.display().to_string(), &addresses).await.ok_or(e)?;
    eprintln!("Its server does not answer here; {} does", moved.url);
    Ok(moved)
}

fn control_plane(inventory: &Inventory) -> Vec<String> {
    inventory.select("kube_control_plane").unwrap_or_default()
}

/// Where a host is reached.
fn address(inventory: &Inventory, host: &str) -> String {
    let found = target(inventory, &Vars::default(), host, &Via::default(), &Defaults::default());
    found.map_or_else(|_| host.to_owned(), |t| t.address)
}

/// The kubeconfig of the first control plane host that has one.
async fn from_host(args: &PostKubespray, inventory: &Inventory) -> Result<Server, String> {
    let hosts = control_plane(inventory);
    if hosts.is_empty() {
        return Err("and the inventory has no hosts in kube_control_plane to fetch it from".into());
    }
    let mut results = Results::default();
    let extra = json!({"hook_hosts": hosts.join(",")});
    let ran = play_aside("hook", include_str!("kubeconfig.yml"), &extra, inventory, &args.hosts, false, &mut results);
    if let Err(e) = ran {
        return Err(format!("and it could not be fetched from {}: {e:?}", hosts.join(", ")));
    }
    for host in &hosts {
        let Some(task) = results.hosts.get(host).and_then(|t| t.get("kubeconfig")) else { continue };
        let Some(content) = field(task, "content").as_str() else { continue };
        let text = base64::engine::general_purpose::STANDARD.decode(content).ok().and_then(|b| String::from_utf8(b).ok());
        let Some(text) = text else { continue };
        let found = connect_from_host(&text, host, &address(inventory, host)).await;
        let server = found.map_err(|e| format!("and that of {host} is of no use: {e}"))?;
        eprintln!("Kubeconfig: /etc/kubernetes/admin.conf of {host}, for {}", server.url);
        return Ok(server);
    }
    let first = results.failed.iter().next().map(|(host, why)| format!("; {host}: {why}")).unwrap_or_default();
    Err(format!("and no host of kube_control_plane gave its /etc/kubernetes/admin.conf{first}"))
}
