//! `fettle status`: how a cluster is.

use super::cluster::{ClusterArgs, Ready, ready_for_what_is_there, run};
use super::{CliError, Exit};
use crate::kube::status::{NodeStatus, Status, status as ask};
use crate::kube::{Info, Role, Token};
use crate::report::{Paint, Tone, colour_wanted};
use clap::Args;
use std::io::IsTerminal;
use std::time::Duration;

/// Options of `fettle status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Token of an administrator, for clusters with authentication; otherwise $AIS_AUTHN_TOKEN or the file $AIS_AUTHN_TOKEN_FILE
    #[arg(long, value_name = "FILE")]
    token_file: Option<std::path::PathBuf>,
    /// Look again every two seconds until Ctrl-C
    #[arg(short, long)]
    watch: bool,
    /// For machines: one JSON object (with --watch one a line)
    #[arg(long)]
    json: bool,
}

/// Between two looks of `--watch`, as `watch` has it.
const PAUSE: Duration = Duration::from_secs(2);

/// Shows the status; exit code 0 if all is well, 2 if not.
pub fn status(args: &StatusArgs) -> Result<Exit, CliError> {
    run(
        async {
            let Ready { mut server, resolved, .. } = ready_for_what_is_there(&args.cluster).await?;
            server.token = Token::find(args.token_file.as_deref())?;
            let info = Info::new(&resolved);
            let paint = Paint { on: colour_wanted() };
            let clear = args.watch && std::io::stdout().is_terminal() && !args.json;
            loop {
                let status = ask(&server, &info).await;
                if clear {
                    print!("\x1b[H\x1b[2J");
                }
                match (&status, args.watch) {
                    (Ok(status), watch) if args.json && watch => println!("{}", status.to_json()),
                    (Ok(status), _) if args.json => println!("{:#}", status.to_json()),
                    (Ok(status), _) => lines(status, paint).iter().for_each(|line| println!("{line}")),
                    // Watching goes on: the API server may come back.
                    (Err(e), true) => eprintln!("{e}"),
                    (Err(_), false) => {}
                }
                if !args.watch || crate::out::is_closed() {
                    return Ok(Exit(if status?.is_well() { 0 } else { 2 }));
                }
                tokio::time::sleep(PAUSE).await;
            }
        },
        "stopped watching",
    )
}

fn lines(status: &Status, paint: Paint) -> Vec<String> {
    let (word, tone) = match (status.deployed, status.is_well()) {
        (false, _) => ("not deployed", Tone::Doubt),
        (true, true) => ("well", Tone::Good),
        (true, false) => ("not as the spec says", Tone::Bad),
    };
    let mut out = vec![
        format!("{} {} in namespace {}: {}", paint.text(Tone::Strong, "Cluster"), status.name, status.namespace, paint.text(tone, word)),
        format!("  endpoint    {}", status.endpoint),
        format!("  API server  {}", status.server),
    ];
    match &status.map {
        Ok(map) => out.push(format!("  cluster map version {}, id {}", map.version, map.uuid)),
        Err(why) if status.deployed => out.push(format!("  cluster map {}", paint.text(Tone::Bad, why))),
        Err(_) => {}
    }
    for (role, wanted) in [(Role::Proxy, status.wanted.0), (Role::Target, status.wanted.1)] {
        let nodes: Vec<&NodeStatus> = status.nodes.iter().filter(|n| n.role == role).collect();
        if nodes.is_empty() && !status.deployed {
            continue;
        }
        let ready = nodes.iter().filter(|n| n.ready).count();
        let plural = if role == Role::Proxy { "proxies" } else { "targets" };
        out.push(format!("{} {ready} of {wanted} ready", paint.text(Tone::Strong, plural)));
        let width = |f: fn(&NodeStatus) -> usize| nodes.iter().map(|n| f(n)).max().unwrap_or(0);
        let (pods, places, versions) = (width(|n| n.pod.len()), width(|n| n.node.len()), width(|n| n.version.len()));
        for node in nodes {
            let mut notes = vec![];
            if node.primary {
                notes.push("primary".to_owned());
            }
            if node.away {
                notes.push(paint.text(Tone::Doubt, "in maintenance"));
            }
            if node.ready && node.id.is_empty() && status.map.is_ok() {
                notes.push(paint.text(Tone::Doubt, "not in the cluster map"));
            }
            if node.restarts > 0 {
                notes.push(format!("{} restarts", node.restarts));
            }
            if !node.mountpaths.is_empty() {
                notes.push(node.mountpaths.join(" "));
            }
            if !node.stray.is_empty() {
                notes.push(paint.text(Tone::Bad, &node.stray));
            }
            if !node.why.is_empty() {
                notes.push(paint.text(Tone::Bad, &node.why));
            }
            let mark = if node.ready { paint.text(Tone::Good, "ready    ") } else { paint.text(Tone::Bad, "not ready") };
            let line = format!(
                "  {:<pods$}  {:<places$}  {:<versions$}  {mark}  {}  {}",
                node.pod,
                node.node,
                node.version,
                node.url,
                notes.join(", ")
            );
            out.push(line.trim_end().to_owned());
        }
    }
    out
}
