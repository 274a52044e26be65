//! Options and first steps that all commands about a cluster share.

use super::CliError;
use crate::cluster::{LabelledNodes, Opened, Resolved, open, open_as_it_was};
use crate::inventory::Inventory;
use crate::kube::{Access, KubeError, Server, connect, kind};
use crate::report::colour_wanted;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Which cluster spec, and which Kubernetes cluster.
#[derive(Clone, Debug, Args)]
pub struct ClusterArgs {
    /// Cluster spec
    #[arg(value_name = "CLUSTER")]
    pub spec: PathBuf,
    /// Inventory, for specs that name its groups, and for what is done on hosts; may be given several times
    #[arg(short, long, value_name = "INVENTORY")]
    pub inventory: Vec<String>,
    #[command(flatten)]
    pub access: AccessArgs,
}

/// Which Kubernetes cluster; found as kubectl finds it.
#[derive(Clone, Debug, Args)]
pub struct AccessArgs {
    /// Kubeconfig; otherwise $KUBECONFIG, then ~/.kube/config
    #[arg(long, value_name = "FILE", help_heading = "Kubernetes")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; otherwise its current one
    #[arg(long, value_name = "CONTEXT", help_heading = "Kubernetes")]
    pub context: Option<String>,
}

impl AccessArgs {
    /// For connecting.
    pub fn access(&self) -> Access {
        Access { kubeconfig: self.kubeconfig.clone(), context: self.context.clone() }
    }
}

/// A spec, and the API server it is for.
pub struct Ready {
    /// The API server; it answered.
    pub server: Server,
    /// The spec.
    pub resolved: Resolved,
    /// The inventory, where one was given.
    pub inventory: Option<Inventory>,
}

/// Loads the spec, connects, and finds the spec's nodes, all of which Kubernetes must have.
pub async fn ready(args: &ClusterArgs) -> Result<Ready, CliError> {
    begin(args, true).await
}

/// The same for what is there already: nodes may have gone, and who may see one namespace only sees none.
pub async fn ready_for_what_is_there(args: &ClusterArgs) -> Result<Ready, CliError> {
    begin(args, false).await
}

async fn begin(args: &ClusterArgs, all_there: bool) -> Result<Ready, CliError> {
    let inventory = if args.inventory.is_empty() { None } else { Some(Inventory::load(&args.inventory, None)?) };
    // Wrong files are told before anything is asked over the network.
    crate::cluster::load(&args.spec)?;
    let server = connect(&args.access.access()).await?;
    server.version().await?;
    let nodes = match labelled(&server).await {
        Err(KubeError::Denied(_)) if !all_there => None,
        nodes => Some(nodes?),
    };
    let open = if all_there { open } else { open_as_it_was };
    let Opened { clusters, warnings } = open(std::slice::from_ref(&args.spec), inventory.as_ref(), nodes.as_ref())?;
    if !warnings.0.is_empty() {
        eprintln!("{}", crate::report::diagnostic::render(&warnings.0, colour_wanted()).trim_end());
    }
    let resolved = clusters.into_iter().next().ok_or_else(|| CliError::Failed("no cluster in the spec".into()))?;
    Ok(Ready { server, resolved, inventory })
}

/// All nodes with their labels.
pub async fn labelled(server: &Server) -> Result<LabelledNodes, KubeError> {
    Ok(match kind("Node") {
        Some(kind) => LabelledNodes::from_nodes(&server.list(kind, None, "").await?),
        None => LabelledNodes::default(),
    })
}

/// Runs asynchronous work to its end; Ctrl-C ends it between two steps and says `stopped`.
pub fn run<T>(work: impl Future<Output = Result<T, CliError>>, stopped: &str) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| CliError::Failed(e.to_string()))?;
    runtime.block_on(async {
        tokio::select! {
            result = work => result,
            () = crate::controller::interrupted() => Err(CliError::Failed(stopped.to_owned())),
        }
    })
}

/// `90s`, `10m`, `1h30m`; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time: write 90s, 10m or 1h30m");
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let (mut total, mut number) = (0u64, String::new());
    for c in text.chars() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            _ => return Err(wrong()),
        };
        let amount: u64 = number.parse().map_err(|_| wrong())?;
        total = amount.checked_mul(unit).and_then(|n| total.checked_add(n)).ok_or_else(wrong)?;
        number.clear();
    }
    if number.is_empty() && total > 0 { Ok(Duration::from_secs(total)) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for wrong in ["", "m", "10x", "5m3", "-1s", "99999999999999999999s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
