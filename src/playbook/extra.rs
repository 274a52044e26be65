//! `-e`: variables from the command line.

use super::read;
use super::split;
use crate::diag::{Diagnostic, Diagnostics, Loc};
use crate::play::Vars;
use crate::yaml::{self, Node};
use std::path::Path;

/// Reads the values of `-e` in order: `key=value` pairs (whose values are text), a JSON or YAML mapping, or
/// `@FILE` with one. A later value of the same name wins.
///
/// # Errors
/// Every value that is none of these.
pub fn extra_vars(given: &[String]) -> Result<Vars, Diagnostics> {
    let mut vars = Vars::default();
    let mut out = Diagnostics::default();
    for text in given {
        match one(text, &mut out) {
            Some(more) => {
                vars.0.retain(|(name, _)| more.get(name).is_none());
                vars.0.extend(more.0);
            }
            None => debug_assert!(out.has_errors()),
        }
    }
    if out.has_errors() { Err(out) } else { Ok(vars) }
}

fn one(text: &str, out: &mut Diagnostics) -> Option<Vars> {
    let loc = Loc::outside("-e");
    if let Some(file) = text.strip_prefix('@') {
        let path = super::files::expand_home(file);
        let mut loader = super::loader::Loader::default();
        let document = loader.document(&path, Some(&loc));
        out.0.append(&mut loader.out.0);
        return mapping(&*document?, out);
    }
    if text.starts_with(['{', '[']) {
        return match yaml::parse_one("-e", text) {
            Ok(node) => {
                super::loader::check_tags(&node, out);
                mapping(&node, out)
            }
            Err(errors) => {
                out.0.extend(errors.0);
                None
            }
        };
    }
    let parts = match split::parts(text, None) {
        Ok(parts) => parts,
        Err(why) => {
            out.push(Diagnostic::error(&loc, format!("{why} in `{text}`")));
            return None;
        }
    };
    if let Some(rest) = parts.rest.filter(|r| !r.trim().is_empty()) {
        let d = Diagnostic::error(&loc, format!("`{}` is no `key=value` pair", rest.trim()));
        out.push(if Path::new(rest.trim()).is_file() { d.help(format!("to read the file, write -e @{}", rest.trim())) } else { d });
        return None;
    }
    let mut vars = Vars::default();
    for (name, value) in parts.pairs {
        if read::is_name(&name) {
            vars.0.push((name, Node::text(value, loc.clone())));
        } else {
            out.push(Diagnostic::error(&loc, format!("`{name}` cannot be the name of a variable")));
        }
    }
    Some(vars)
}

fn mapping(node: &Node, out: &mut Diagnostics) -> Option<Vars> {
    let before = out.0.len();
    let vars = read::vars(node, "a value of -e", out);
    (out.0.len() == before).then_some(vars)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn extra(given: &[&str]) -> serde_json::Value {
        let given: Vec<String> = given.iter().map(|s| (*s).to_owned()).collect();
        let vars = extra_vars(&given).unwrap();
        serde_json::Value::Object(vars.0.iter().map(|(k, v)| (k.clone(), v.to_json())).collect())
    }

    #[test]
    fn pairs_are_text_and_mappings_are_typed() {
        assert_eq!(extra(&["a=1 b='x y'"]), json!({"a": "1", "b": "x y"}));
        assert_eq!(extra(&[r#"{"a": 1, "b": [true]}"#, "a=2"]), json!({"b": [true], "a": "2"}));
    }

    #[test]
    fn files() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.yml");
        std::fs::write(&file, "a: 0644\nb: yes\n").unwrap();
        assert_eq!(extra(&[&format!("@{}", file.display())]), json!({"a": 420, "b": true}));
        assert!(extra_vars(&["@/nowhere/at/all".into()]).unwrap_err().to_string().contains("no such file"));
        assert!(extra_vars(&[file.display().to_string()]).unwrap_err().to_string().contains("-e @"));
    }

    #[test]
    fn what_is_no_mapping_is_refused() {
        assert!(extra_vars(&["[1]".into()]).is_err());
        assert!(extra_vars(&["a-b=1".into()]).is_err());
        assert!(extra_vars(&["{a: !vault x}".into()]).unwrap_err().to_string().contains("ansible-vault"));
    }
}
