//! The spec's reference in Markdown, made from the table that reads it.

use super::spec::Cluster;
use super::table::{Described, describe};
use serde_json::Value as Json;

/// A heading and a table of fields for each section, from the whole file inwards. Sections that are the same are described once.
pub fn reference() -> String {
    let mut out = String::new();
    section("", &describe::<Cluster>(), &mut vec![], &mut out);
    out.trim_end().to_owned() + "\n"
}

/// `known`: the sections described so far, by what they are for.
fn section(path: &str, described: &Described, known: &mut Vec<(String, String)>, out: &mut String) {
    let heading = if path.is_empty() { "The file".to_owned() } else { format!("`{path}`") };
    if let Some((_, same)) = known.iter().find(|(about, _)| *about == described.about) {
        out.push_str(&format!("## {heading}\n\nAs `{same}`.\n\n"));
        return;
    }
    known.push((described.about.clone(), path.to_owned()));
    out.push_str(&format!("## {heading}\n\n{}\n\n", described.about));
    if !described.fields.is_empty() {
        out.push_str("| field | value | default | meaning |\n|---|---|---|---|\n");
    }
    for field in &described.fields {
        let default = match (&field.default, field.required) {
            (_, true) => "**required**".to_owned(),
            (Some(_), _) if field.shape.section.is_some() && field.shape.step.is_empty() => "as below".to_owned(),
            (Some(default), _) => default_text(default),
            (None, _) => "none".to_owned(),
        };
        let cell = |text: &str| text.replace('|', "\\|");
        out.push_str(&format!("| `{}` | {} | {} | {} |\n", field.name, cell(&field.shape.words), cell(&default), cell(&field.doc)));
    }
    if !described.fields.is_empty() {
        out.push('\n');
    }
    for field in &described.fields {
        if let Some(inner) = &field.shape.section {
            let dot = if path.is_empty() { "" } else { "." };
            section(&format!("{path}{dot}{}{}", field.name, field.shape.step), inner, known, out);
        }
    }
}

fn default_text(default: &Json) -> String {
    match default {
        Json::String(text) if text.is_empty() => "empty".to_owned(),
        Json::String(text) => format!("`{text}`"),
        Json::Array(items) if items.is_empty() => "none".to_owned(),
        Json::Object(map) if map.is_empty() => "none".to_owned(),
        other => format!("`{other}`"),
    }
}
