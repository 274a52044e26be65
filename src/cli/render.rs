//! `fettle render` and `fettle schema`: what a cluster spec becomes, and what may stand in one.

use super::{CliError, Exit};
use crate::cluster::{self, Object, Resolved};
use crate::inventory::Inventory;
use crate::report::colour_wanted;
use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};

/// Options of `fettle render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// Cluster specs; several are checked against each other
    #[arg(required = true, value_name = "CLUSTER")]
    specs: Vec<PathBuf>,
    /// Inventory, for specs that name its groups; may be given several times
    #[arg(short, long, value_name = "INVENTORY")]
    inventory: Vec<String>,
    /// Write one file for each object into this folder (with several specs into a folder for each), in place of files that an earlier
    /// render wrote there
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// JSON: one List of Kubernetes
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

/// Options of `fettle schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    #[command(subcommand)]
    what: Schema,
}

#[derive(Debug, Subcommand)]
enum Schema {
    /// The JSON Schema of the cluster spec (draft 2020-12), for editors
    Cluster {
        /// The reference for people instead, as in docs/cluster.md
        #[arg(long)]
        markdown: bool,
    },
}

/// Prints a schema.
pub fn schema(args: &SchemaArgs) -> Exit {
    let Schema::Cluster { markdown } = args.what;
    if markdown {
        print!("{}", cluster::reference());
    } else {
        println!("{:#}", cluster::schema());
    }
    Exit(0)
}

/// Prints or writes the manifests.
pub fn render(args: &RenderArgs) -> Result<Exit, CliError> {
    let inventory = if args.inventory.is_empty() { None } else { Some(Inventory::load(&args.inventory, None)?) };
    let opened = cluster::open(&args.specs, inventory.as_ref(), None)?;
    if !opened.warnings.0.is_empty() {
        eprintln!("{}", crate::report::diagnostic::render(&opened.warnings.0, colour_wanted()).trim_end());
    }
    let mut rendered = vec![];
    for resolved in &opened.clusters {
        rendered.push((resolved, resolved.objects()?));
    }
    if let Some(folder) = &args.output {
        for (resolved, objects) in &rendered {
            let folder = if rendered.len() == 1 {
                folder.clone()
            } else {
                folder.join(format!("{}-{}", *resolved.cluster.namespace, *resolved.cluster.name))
            };
            let written = write(&folder, objects)?;
            println!("{}: {written}", folder.display());
        }
    } else {
        let all: Vec<Object> = once(rendered.iter().flat_map(|(_, objects)| objects.clone()));
        if args.json {
            let items: Vec<Json> = all.into_iter().map(|o| o.json).collect();
            println!("{:#}", json!({"apiVersion": "v1", "kind": "List", "items": items}));
        } else {
            print!("{}", cluster::to_yaml(&all));
        }
    }
    for (resolved, _) in &rendered {
        advise(resolved, args);
    }
    Ok(Exit(0))
}

/// Clusters may share a namespace, which is one object then.
fn once(objects: impl Iterator<Item = Object>) -> Vec<Object> {
    let mut all: Vec<Object> = vec![];
    for object in objects {
        if !all.contains(&object) {
            all.push(object);
        }
    }
    all
}

/// Manifests don't label nodes; somebody must.
fn advise(resolved: &Resolved, args: &RenderArgs) {
    let labels = resolved.labels();
    if labels.is_empty() {
        return;
    }
    let nodes: std::collections::BTreeSet<&str> = labels.iter().map(|(node, _, _)| node.as_str()).collect();
    let inventory: String = args.inventory.iter().map(|i| format!(" -i {i}")).collect();
    let spec = resolved.cluster.name.loc.file.clone();
    eprintln!("Labels of {} nodes are not in manifests: `fettle label {spec}{inventory}` puts them on.", nodes.len());
}

/// The first line of every file written here, by which a later render knows its own.
const HEADER: &str = "# Rendered by fettle from the cluster spec; change that and render again.\n";

fn write(folder: &Path, objects: &[Object]) -> Result<String, CliError> {
    let failed = |what: &Path, e: std::io::Error| CliError::Failed(format!("{} can't be written: {e}", what.display()));
    std::fs::create_dir_all(folder).map_err(|e| failed(folder, e))?;
    let mut files: Vec<(PathBuf, String)> = vec![];
    for (number, object) in objects.iter().enumerate() {
        let name = format!("{:03}-{}-{}.yaml", number + 1, object.kind().to_lowercase(), object.name());
        files.push((folder.join(name), format!("{HEADER}{}", cluster::document(&object.json))));
    }
    let mut removed = 0;
    for entry in std::fs::read_dir(folder).map_err(|e| failed(folder, e))?.flatten() {
        let path = entry.path();
        let ours = path.extension().is_some_and(|e| e == "yaml") && std::fs::read_to_string(&path).is_ok_and(|t| t.starts_with(HEADER));
        if ours && !files.iter().any(|(f, _)| *f == path) {
            std::fs::remove_file(&path).map_err(|e| failed(&path, e))?;
            removed += 1;
        }
    }
    let mut changed = 0;
    for (path, text) in &files {
        if std::fs::read_to_string(path).is_ok_and(|t| t == *text) {
            continue;
        }
        // A file of that name that somebody else wrote is not ours to replace.
        if std::fs::read_to_string(path).is_ok_and(|t| !t.starts_with(HEADER)) {
            return Err(CliError::Failed(format!("{} was not written by fettle render; move it away first", path.display())));
        }
        std::fs::write(path, text).map_err(|e| failed(path, e))?;
        changed += 1;
    }
    Ok(format!("{} objects, {changed} files written, {removed} removed", files.len()))
}
