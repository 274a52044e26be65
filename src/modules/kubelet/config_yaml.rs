//! `allowedUnsafeSysctls` in a KubeletConfiguration, edited as text by its place in the file: layout, comments
//! and every other byte stay.

use crate::yaml::{self, Node, Value};
use std::path::Path;

const KEY: &str = "allowedUnsafeSysctls";

/// The list a configuration holds; `None`: the key is not there.
pub fn list(path: &Path, text: &str) -> Result<Option<Vec<String>>, String> {
    let root = yaml::parse_one(&path.display().to_string(), text).map_err(|e| e.to_string())?;
    entry(path, &root).map(|found| found.map(|(_, items)| items))
}

fn entry<'a>(path: &Path, root: &'a Node) -> Result<Option<(&'a Node, Vec<String>)>, String> {
    let map = match &root.value {
        Value::Map(map) => map,
        Value::Null => return Ok(None),
        _ => return Err(format!("{} is not a mapping", path.display())),
    };
    let Some(value) = map.get(KEY) else { return Ok(None) };
    let items = match &value.value {
        Value::Null => vec![],
        Value::Seq(items) => items
            .iter()
            .map(|i| i.as_str().map(str::to_owned).ok_or_else(|| format!("{}: `{KEY}` must be a list of texts", i.loc)))
            .collect::<Result<_, _>>()?,
        _ => return Err(format!("{}: `{KEY}` must be a list", value.loc)),
    };
    Ok(Some((value, items)))
}

/// The file's text with `missing` added to the list. The result is read again and compared: only the list may differ.
pub fn add(path: &Path, text: &str, missing: &[String]) -> Result<String, String> {
    let name = path.display().to_string();
    let root = yaml::parse_one(&name, text).map_err(|e| e.to_string())?;
    let new = match entry(path, &root)? {
        None => appended(text, missing),
        Some((value, items)) => grown(text, &root, value, &items, missing),
    };
    let cannot = || format!("{name}: `{KEY}` is written in a way that can't be edited safely; add {} by hand", missing.join(", "));
    let new = new.ok_or_else(cannot)?;
    let after = yaml::parse_one(&name, &new).map_err(|_| cannot())?;
    let mut wanted = match root.to_json() {
        serde_json::Value::Object(map) => map,
        _ => serde_json::Map::new(),
    };
    let all = entry(path, &root)?.map(|(_, items)| items).unwrap_or_default().into_iter().chain(missing.iter().cloned());
    wanted.insert(KEY.into(), all.collect());
    if after.to_json() == serde_json::Value::Object(wanted) { Ok(new) } else { Err(cannot()) }
}

/// The key and its list behind everything else, before a document end marker.
fn appended(text: &str, items: &[String]) -> Option<String> {
    let mut block = format!("{KEY}:\n");
    for item in items {
        block.push_str(&format!("- {}\n", scalar(item)));
    }
    let end = text.find("\n...").map(|i| i + 1).unwrap_or(text.len());
    let mut new = text[..end].to_owned();
    if !new.is_empty() && !new.ends_with('\n') {
        new.push('\n');
    }
    new.push_str(&block);
    new.push_str(&text[end..]);
    Some(new)
}

/// The list with more items, in the style it has.
fn grown(text: &str, root: &Node, value: &Node, items: &[String], missing: &[String]) -> Option<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (key, _) = root.as_map()?.entry(KEY)?;
    let offset_of = |line: u32, column: u32| -> Option<usize> {
        let index = usize::try_from(line).ok()?.checked_sub(1)?;
        let before: usize = lines.get(..index)?.iter().map(|l| l.len()).sum();
        let within: usize = lines.get(index)?.chars().take(usize::try_from(column).ok()?.checked_sub(1)?).map(char::len_utf8).sum();
        Some(before + within)
    };
    let seq = value.as_seq().unwrap_or_default();
    let joined = missing.iter().map(|i| scalar(i)).collect::<Vec<_>>().join(", ");
    let start = offset_of(value.loc.line, value.loc.column);
    if let Some(start) = start.filter(|s| text[*s..].starts_with('[')) {
        // A flow list: before its closing bracket, which is found behind the last item.
        let from = match seq.last() {
            Some(last) => {
                let at = offset_of(last.loc.line, last.loc.column)?;
                at + quoted_length(&text[at..])
            }
            None => start + 1,
        };
        let close = from + text[from..].find(']')?;
        let mut new = text.to_owned();
        let before = text[..close].trim_end();
        let gap = match (items.is_empty(), before.ends_with(',')) {
            (true, _) => "",
            (false, true) => " ",
            (false, false) => ", ",
        };
        new.insert_str(before.len(), &format!("{gap}{joined}"));
        return Some(new);
    }
    // A null that is written out.
    let written = |start: &usize| ["null", "Null", "NULL", "~"].into_iter().find(|n| text[*start..].starts_with(n));
    if let (Value::Null, Some((start, null))) = (&value.value, start.and_then(|s| Some((s, written(&s)?)))) {
        return Some(format!("{}[{joined}]{}", &text[..start], &text[start + null.len()..]));
    }
    let (insert_after, prefix) = match seq.last() {
        Some(last) => {
            let line = lines.get(usize::try_from(last.loc.line).ok()?.checked_sub(1)?)?;
            let dash = line.find('-')?;
            (last.loc.line, line[..dash].to_owned())
        }
        // `allowedUnsafeSysctls:` with nothing (or null) behind it.
        None => {
            let index = usize::try_from(key.loc.line).ok()?.checked_sub(1)?;
            let line = lines.get(index)?;
            let bare = line.split('#').next()?.trim_end();
            if !bare.ends_with(':') {
                return None;
            }
            let indent: String = line.chars().take(usize::try_from(key.loc.column).ok()?.checked_sub(1)?).collect();
            (key.loc.line, indent)
        }
    };
    let mut new = String::new();
    for (i, line) in lines.iter().enumerate() {
        new.push_str(line);
        if i + 1 == usize::try_from(insert_after).ok()? {
            if !line.ends_with('\n') {
                new.push('\n');
            }
            for item in missing {
                new.push_str(&format!("{prefix}- {}\n", scalar(item)));
            }
        }
    }
    Some(new)
}

/// Length of the scalar that `text` starts with inside a flow list.
fn quoted_length(text: &str) -> usize {
    match text.chars().next() {
        Some(quote @ ('"' | '\'')) => text[1..].find(quote).map_or(text.len(), |i| i + 2),
        _ => text.find([',', ']', '\n']).unwrap_or(text.len()),
    }
}

/// A list item as YAML text: sysctl names with a star need no quotes, anything unusual gets them.
fn scalar(item: &str) -> String {
    let plain =
        item.chars().all(|c| c.is_ascii_alphanumeric() || "._-/*".contains(c)) && item.starts_with(|c: char| c.is_ascii_alphabetic());
    if plain { item.to_owned() } else { format!("\"{}\"", item.replace('\\', "\\\\").replace('"', "\\\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(text: &str) -> String {
        add(Path::new("/etc/kubernetes/kubelet-config.yaml"), text, &["net.*".to_owned()]).unwrap()
    }

    #[test]
    fn a_new_key_goes_to_the_end_and_nothing_else_moves() {
        let text = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nfailSwapOn: True\ncontainerRuntimeEndpoint : unix:///x # odd spacing\n";
        assert_eq!(added(text), format!("{text}allowedUnsafeSysctls:\n- net.*\n"));
        assert_eq!(added("kind: K"), "kind: K\nallowedUnsafeSysctls:\n- net.*\n");
    }

    #[test]
    fn lists_grow_in_their_own_style() {
        assert_eq!(
            added("a: 1\nallowedUnsafeSysctls:\n- kernel.msg*\nb: 2\n"),
            "a: 1\nallowedUnsafeSysctls:\n- kernel.msg*\n- net.*\nb: 2\n"
        );
        assert_eq!(
            added("allowedUnsafeSysctls:\n  - \"kernel.msg*\"  # ours\nb: 2\n"),
            "allowedUnsafeSysctls:\n  - \"kernel.msg*\"  # ours\n  - net.*\nb: 2\n"
        );
        assert_eq!(added("allowedUnsafeSysctls: [\"kernel.msg*\"]\nb: 2\n"), "allowedUnsafeSysctls: [\"kernel.msg*\", net.*]\nb: 2\n");
        assert_eq!(added("allowedUnsafeSysctls: []\n"), "allowedUnsafeSysctls: [net.*]\n");
        assert_eq!(added("allowedUnsafeSysctls:\nb: 2\n"), "allowedUnsafeSysctls:\n- net.*\nb: 2\n");
        for null in ["null", "~"] {
            assert_eq!(added(&format!("allowedUnsafeSysctls: {null} # none\nb: ~\n")), "allowedUnsafeSysctls: [net.*] # none\nb: ~\n");
        }
        assert_eq!(added("allowedUnsafeSysctls: [\n  kernel.msg*,\n]\nb: 2\n"), "allowedUnsafeSysctls: [\n  kernel.msg*, net.*\n]\nb: 2\n");
    }

    #[test]
    fn what_it_holds_is_read() {
        let path = Path::new("k.yaml");
        assert_eq!(list(path, "a: 1\n").unwrap(), None);
        assert_eq!(list(path, "allowedUnsafeSysctls: [net.*]\n").unwrap().unwrap(), ["net.*"]);
        assert!(list(path, "allowedUnsafeSysctls: yes\n").unwrap_err().contains("must be a list"));
    }
}
