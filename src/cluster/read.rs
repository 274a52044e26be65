//! From a file to a [`Cluster`], and the file's JSON Schema.

use super::spec::Cluster;
use super::table::{Value, section_shape};
use crate::diag::{Diagnostic, Diagnostics};
use crate::yaml::{self, Node};
use serde_json::{Map, Value as Json, json};
use std::path::Path;

/// Reads the cluster spec in `path`. Errors name file, line and column.
pub fn load(path: &Path) -> Result<Cluster, Diagnostics> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|e| Diagnostic::bare(format!("the cluster spec {name} can't be read: {e}")).help("`fettle init` writes one"))?;
    read(&name, &text)
}

/// Reads a cluster spec from `text`; `name` stands in messages as the file's name.
pub fn read(name: &str, text: &str) -> Result<Cluster, Diagnostics> {
    let node = yaml::parse_one(name, text)?;
    let mut out = Diagnostics::default();
    tags(&node, &mut out);
    let cluster = Cluster::read(&node, "", &mut out);
    match cluster {
        Some(cluster) if !out.has_errors() => Ok(cluster),
        _ => Err(out),
    }
}

/// Tags mean something in playbooks; a spec has none.
fn tags(node: &Node, out: &mut Diagnostics) {
    if let Some(tag) = &node.tag {
        out.push(Diagnostic::error(&node.loc, format!("a cluster spec takes no tags, and this is `{tag}`")));
    }
    match &node.value {
        yaml::Value::Seq(items) => items.iter().for_each(|i| tags(i, out)),
        yaml::Value::Map(map) => map.iter().for_each(|(k, v)| {
            tags(k, out);
            tags(v, out);
        }),
        _ => {}
    }
}

/// The spec as data, with every default written out.
pub fn with_defaults(cluster: &Cluster) -> Json {
    cluster.to_json()
}

/// The JSON Schema (draft 2020-12) of the cluster spec, made from the table that reads it.
pub fn schema() -> Json {
    let shape = section_shape::<Cluster>();
    let mut schema = Map::from_iter([
        ("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema")),
        ("title".to_owned(), json!("fettle cluster spec")),
        ("description".to_owned(), json!(shape.section.map(|s| s.about).unwrap_or_default())),
    ]);
    if let Json::Object(rest) = shape.schema {
        schema.extend(rest);
    }
    Json::Object(schema)
}
