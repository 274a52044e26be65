//! Which cluster, and as whom: kubeconfigs are found as kubectl finds them.

use super::error::reasons;
use super::{KubeError, Server, Warnings};
use ::kube::config::{AuthInfo, Cluster, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster};
use http::Uri;
use std::net::IpAddr;
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
    choose(kubeconfig, access.context.clone(), &from).await
}

async fn choose(kubeconfig: Kubeconfig, context: Option<String>, from: &str) -> Result<Server, KubeError> {
    let known: Vec<&str> = kubeconfig.contexts.iter().map(|c| c.name.as_str()).collect();
    let Some(context) = context.or_else(|| kubeconfig.current_context.clone()).filter(|c| !c.is_empty()) else {
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

/// Connects with the text of a kubeconfig that `host` gave, which is reached at `address`. A host is believed who it is and
/// what its cluster's keys are, nothing else: no programs to start, no files of this machine to read, and only HTTPS.
/// Where the address in it does not answer (hosts often name themselves by one that only they reach), the host is asked at `address`.
pub async fn connect_from_host(text: &str, host: &str, address: &str) -> Result<Server, KubeError> {
    let from = format!("/etc/kubernetes/admin.conf of {host}");
    let server = connect_text(text, &from, address, false).await?;
    let Err(e) = server.version().await else { return Ok(server) };
    if !e.is_passing() {
        return Err(e);
    }
    connect_moved(text, &from, &[address.to_owned()]).await.ok_or(e)
}

/// Connects with the text of a kubeconfig, called `from`, to the first of `addresses` that answers in its server's place: the
/// certificate must still be the one for the address that is written there. `None`: none answers.
pub async fn connect_moved(text: &str, from: &str, addresses: &[String]) -> Option<Server> {
    for address in addresses {
        if let Ok(server) = connect_text(text, from, address, true).await
            && server.version().await.is_ok()
        {
            return Some(server);
        }
    }
    None
}

async fn connect_text(text: &str, from: &str, address: &str, moved: bool) -> Result<Server, KubeError> {
    choose(of_host(text, address, moved).map_err(|why| KubeError::Config(format!("{from}: {why}")))?, None, from).await
}

/// What is taken of a host's kubeconfig. `moved`: its server is asked at `address` even if it names another machine.
fn of_host(text: &str, address: &str, moved: bool) -> Result<Kubeconfig, String> {
    let given = Kubeconfig::from_yaml(text).map_err(|e| reasons(&e))?;
    let mut taken = Kubeconfig { current_context: given.current_context, contexts: given.contexts, ..Kubeconfig::default() };
    for named in given.clusters {
        let Some(cluster) = named.cluster else { continue };
        let server = cluster.server.unwrap_or_default();
        let mut uri: Uri = server.parse().map_err(|_| format!("the server `{server}` is no URL"))?;
        if uri.scheme_str() != Some("https") || cluster.certificate_authority_data.is_none() {
            return Err(format!("it can't be told that {server} is the right server: no certificate-authority-data, or no https"));
        }
        let mut name = cluster.tls_server_name;
        let itself = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if moved || itself == "localhost" || itself.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()) {
            // From here that is another machine; the certificate still is the one for the host's own name of itself.
            let bracketed = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
            uri = format!("https://{bracketed}:{}", uri.port_u16().unwrap_or(443)).parse().map_err(|e| format!("{address}: {e}"))?;
            name = name.or(Some(itself));
        }
        let cluster = Cluster {
            server: Some(uri.to_string()),
            certificate_authority_data: cluster.certificate_authority_data,
            tls_server_name: name,
            ..Cluster::default()
        };
        taken.clusters.push(NamedCluster { name: named.name, cluster: Some(cluster), ..NamedCluster::default() });
    }
    for named in given.auth_infos {
        let Some(user) = named.auth_info else { continue };
        let auth_info = AuthInfo {
            client_certificate_data: user.client_certificate_data,
            client_key_data: user.client_key_data,
            token: user.token,
            ..AuthInfo::default()
        };
        if auth_info.client_key_data.is_none() && auth_info.token.is_none() {
            return Err(format!("user {} logs in neither with client-key-data nor with a token", named.name));
        }
        taken.auth_infos.push(NamedAuthInfo { name: named.name, auth_info: Some(auth_info), ..NamedAuthInfo::default() });
    }
    Ok(taken)
}

fn server(mut config: ::kube::Config, login: String) -> Result<Server, KubeError> {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    let url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    let make = |config: ::kube::Config| ::kube::Client::try_from(config).map_err(|e| KubeError::from_client(&e, &url, &login, "connect"));
    let client = make(config.clone())?;
    config.default_retry = false;
    let impatient = make(config)?;
    Ok(Server { client, impatient, url, login, warnings: Warnings::default(), token: None })
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
    let there: Vec<PathBuf> = named.iter().filter(|p| p.exists()).cloned().collect();
    if there.is_empty() && std::env::var_os("KUBECONFIG").is_some_and(|v| !v.is_empty()) && !named.is_empty() {
        let names = named.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
        return Err(KubeError::Config(format!("$KUBECONFIG names {names}, and no such file is there")));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "
current-context: a
clusters:
- name: c
  cluster: {server: 'https://127.0.0.1:6443', certificate-authority-data: QQ==, proxy-url: 'http://elsewhere'}
users:
- name: u
  user: {client-certificate-data: QQ==, client-key-data: Qg==, client-key: /etc/shadow, impersonate: other}
contexts:
- {name: a, context: {cluster: c, user: u}}
";

    #[test]
    fn of_a_hosts_kubeconfig_only_addresses_and_keys_are_taken() {
        let taken = of_host(GIVEN, "10.0.0.5", false).unwrap();
        let cluster = taken.clusters[0].cluster.as_ref().unwrap();
        assert_eq!(cluster.server.as_deref(), Some("https://10.0.0.5:6443/"));
        assert_eq!((cluster.tls_server_name.as_deref(), cluster.proxy_url.as_deref()), (Some("127.0.0.1"), None));
        let user = taken.auth_infos[0].auth_info.as_ref().unwrap();
        assert_eq!((user.client_key.as_deref(), user.impersonate.as_deref()), (None, None));
        // What is no loopback address stays; an IPv6 address of the host is put into brackets.
        let elsewhere = of_host(&GIVEN.replace("127.0.0.1", "api.example"), "10.0.0.5", false).unwrap();
        assert_eq!(elsewhere.clusters[0].cluster.as_ref().unwrap().server.as_deref(), Some("https://api.example:6443/"));
        let moved = of_host(&GIVEN.replace("127.0.0.1", "api.example"), "10.0.0.5", true).unwrap();
        let cluster = moved.clusters[0].cluster.as_ref().unwrap();
        let told = (cluster.server.as_deref(), cluster.tls_server_name.as_deref());
        assert_eq!(told, (Some("https://10.0.0.5:6443/"), Some("api.example")));
        let six = of_host(&GIVEN.replace("127.0.0.1", "[::1]"), "fd00::5", false).unwrap();
        assert_eq!(six.clusters[0].cluster.as_ref().unwrap().server.as_deref(), Some("https://[fd00::5]:6443/"));
        for (from, to) in [("https:", "http:"), ("certificate-authority-data: QQ==, ", ""), ("client-key-data: Qg==, ", "")] {
            assert!(of_host(&GIVEN.replace(from, to), "h", false).is_err(), "{to}");
        }
    }
}
