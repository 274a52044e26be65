//! `fettle doc`: what a module does and takes.

use super::{CliError, Exit};
use crate::diag::{Diagnostic, Loc};
use crate::modules::{self, Kind, Module};
use clap::Args;

/// Which module.
#[derive(Debug, Args)]
pub struct DocArgs {
    /// The module; without one, all are listed
    module: Option<String>,
    /// For machines
    #[arg(long)]
    json: bool,
}

/// Prints the description of a module, or the list.
pub fn run(args: &DocArgs) -> Result<Exit, CliError> {
    match &args.module {
        None if args.json => {
            let all: Vec<_> = modules::MODULES.iter().map(|m| as_json(m)).collect();
            println!("{}", serde_json::Value::Array(all));
        }
        None => {
            let mut all: Vec<&Module> = modules::MODULES.to_vec();
            all.sort_by_key(|m| m.name);
            for module in all {
                let first = module.doc.split(['.', '\n']).next().unwrap_or_default();
                println!("{:<16} {first}", module.name);
            }
            println!("\nfettle doc MODULE tells about its arguments.");
        }
        Some(name) => {
            let module = modules::find(name).ok_or_else(|| {
                Diagnostic::error(&Loc::outside("fettle doc"), format!("there is no module `{name}`"))
                    .nearest(name, modules::MODULES.iter().map(|m| m.name))
                    .help("`fettle doc` lists all modules")
            })?;
            if args.json { println!("{}", as_json(module)) } else { print(module) }
        }
    }
    Ok(Exit(0))
}

fn print(module: &Module) {
    println!("{}", module.collections.iter().map(|c| format!("{c}.{}", module.name)).collect::<Vec<_>>().join(", "));
    if !module.aliases.is_empty() {
        println!("also: {}", module.aliases.join(", "));
    }
    println!("\n{}\n", module.doc.trim());
    for arg in module.args {
        let mut notes = vec![kind(arg.kind)];
        if arg.required {
            notes.push("required".into());
        }
        if let Some(default) = arg.default {
            notes.push(format!("default {default}"));
        }
        if !arg.aliases.is_empty() {
            notes.push(format!("also {}", arg.aliases.join(", ")));
        }
        println!("  {} ({})\n      {}", arg.name, notes.join("; "), arg.doc);
    }
}

fn kind(kind: Kind) -> String {
    match kind {
        Kind::Str => "text".into(),
        Kind::Bool => "yes or no".into(),
        Kind::Int => "whole number".into(),
        Kind::Float => "number".into(),
        Kind::Path => "path".into(),
        Kind::Mode => "file mode".into(),
        Kind::Choice(words) => words.join(" | "),
        Kind::StrList => "list of texts".into(),
        Kind::Dict => "mapping".into(),
        Kind::List => "list".into(),
        Kind::Any => "anything".into(),
    }
}

fn as_json(module: &Module) -> serde_json::Value {
    let args: Vec<_> = module
        .args
        .iter()
        .map(|a| serde_json::json!({"name": a.name, "aliases": a.aliases, "kind": kind(a.kind), "required": a.required, "default": a.default, "doc": a.doc}))
        .collect();
    serde_json::json!({"name": module.name, "collections": module.collections, "aliases": module.aliases, "doc": module.doc, "args": args})
}
