//! Which API server the hook talks to: what the options say; Kubespray's kubeconfig beside the inventory; a control plane host's.

use super::PostKubespray;
use crate::cli::CliError;
use crate::cli::onhosts::{Results, field, play_aside};
use crate::inventory::Inventory;
use crate::kube::{Access, KubeError, Server, connect, connect_from_host};
use base64::Engine as _;
use serde_json::json;
use std::path::Path;

/// Finds the API server.
pub async fn server(args: &PostKubespray, inventory: &Inventory) -> Result<Server, CliError> {
    let access = args.access.access();
    let why = match connect(&access).await {
        Err(KubeError::Config(why)) if access == Access::default() => why,
        other => return Ok(other?),
    };
    // With `kubeconfig_localhost: true`.
    if let Some(path) = inventory.dir().map(|d| Path::new(d).join("artifacts/admin.conf")).filter(|p| p.exists()) {
        eprintln!("Kubeconfig: {}", path.display());
        return Ok(connect(&Access { kubeconfig: Some(path), context: None }).await?);
    }
    from_host(args, inventory).await.map_err(|host| CliError::Failed(format!("{why}\n{host}")))
}

/// The kubeconfig of the first control plane host that has one.
async fn from_host(args: &PostKubespray, inventory: &Inventory) -> Result<Server, String> {
    let hosts = inventory.select("kube_control_plane").unwrap_or_default();
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
        let vars = inventory.vars(host);
        let address = vars.get("ansible_host").and_then(|n| n.as_str()).unwrap_or(host);
        let server = connect_from_host(&text, host, address).await.map_err(|e| format!("and that of {host} is of no use: {e}"))?;
        eprintln!("Kubeconfig: /etc/kubernetes/admin.conf of {host}, for {}", server.url);
        return Ok(server);
    }
    let first = results.failed.iter().next().map(|(host, why)| format!("; {host}: {why}")).unwrap_or_default();
    Err(format!("and no host of kube_control_plane gave its /etc/kubernetes/admin.conf{first}"))
}
