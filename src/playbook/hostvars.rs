//! Which tasks read other hosts' variables, and which of them: hosts meet before such a task, and tell each other only
//! these.

use super::{find_file, read, words};
use crate::play::{Action, Included, Item, Task};
use crate::yaml::{Node, Value};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// What texts read through `hostvars`.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// Names after `hostvars[…]`.
    pub names: BTreeSet<String>,
    /// Some text may read any of them.
    pub all: bool,
    /// Some text reads the workstation's, which is no host of the inventory.
    pub localhost: bool,
}

/// The names that each variable's own text mentions.
pub type Mentions = HashMap<String, BTreeSet<String>>;

impl Read {
    /// Looks through a text.
    pub fn see(&mut self, text: &str) {
        self.localhost |= text.contains("hostvars") && text.contains("localhost");
        for (at, word) in text.match_indices("hostvars") {
            match name_after(&text[at + word.len()..], text[..at].trim_end()) {
                Some(name) => self.names.extend((!name.is_empty()).then_some(name)),
                None => self.all = true,
            }
        }
    }
}

/// The variable read by what follows `hostvars`; empty: none is; `None`: nobody can say.
fn name_after(rest: &str, before: &str) -> Option<String> {
    let rest = rest.trim_start();
    // `map('extract', hostvars, 'name')` and `map('extract', hostvars, ['name', …])`
    if let Some(list) = rest.strip_prefix(',') {
        let extract = before.ends_with("'extract',") || before.ends_with("\"extract\",");
        return extract.then(|| literal(list.trim_start().trim_start_matches('[').trim_start()))?;
    }
    let member = if let Some(index) = rest.strip_prefix('[') {
        &index[closing(index)? + 1..]
    } else {
        let host = rest.strip_prefix('.')?;
        let member = host.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
        if member.len() == host.len() || member.starts_with('(') {
            return None;
        }
        member
    };
    let member = member.trim_start();
    if let Some(index) = member.strip_prefix('[') {
        return literal(index.trim_start());
    }
    if let Some(name) = member.strip_prefix('.') {
        let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
        let (name, after) = name.split_at(end);
        return match after.strip_prefix('(') {
            None => (!name.is_empty()).then(|| name.to_owned()),
            Some(argument) if name == "get" => literal(argument.trim_start()),
            Some(_) => None,
        };
    }
    let test = member.strip_prefix("is ").map(|t| t.trim_start().trim_start_matches("not ").trim_start());
    test.filter(|t| t.starts_with("defined") || t.starts_with("undefined")).map(|_| String::new())
}

/// Where the bracket that is open ends.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), _) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

/// A text in quotes, at the beginning, that is no part of a longer expression.
fn literal(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let (name, after) = text[1..].split_once(quote)?;
    after.trim_start().starts_with([',', ']', ')']).then(|| name.to_owned())
}

/// Adds the names `node` mentions; `bare`: its texts are expressions without braces.
pub fn mentions(node: &Node, bare: bool, names: &mut BTreeSet<String>) {
    match &node.value {
        Value::Str(text) if !node.is_unsafe() => text_mentions(text, bare, names),
        Value::Seq(items) => items.iter().for_each(|n| mentions(n, bare, names)),
        Value::Map(map) => map.iter().for_each(|(k, v)| {
            mentions(k, false, names);
            mentions(v, bare, names);
        }),
        _ => {}
    }
}

/// Adds the names a text mentions, and `vars` where it names variables by a value.
pub(crate) fn text_mentions(text: &str, bare: bool, names: &mut BTreeSet<String>) {
    words::collect(text, bare, names);
    if text.contains("hostvars") {
        names.insert("hostvars".into());
    }
    if ["'vars'", "\"vars\"", "varnames"].iter().any(|word| text.contains(word)) {
        names.insert("vars".into());
    }
}

/// Everything a task's own texts mention, and its template's; adds what these read of other hosts.
pub(crate) fn task_mentions(task: &Task, seen: &mut Read) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    super::reach::task_texts(task, &mut |node, bare| mentions(node, bare, &mut names));
    let mut any = names.contains("lookup") || names.contains("query");
    if let Action::Module { name, args, .. } = &task.action
        && name == "template"
        && let Some(src) = args.as_map().and_then(|m| m.get("src"))
    {
        let file = src.as_str().filter(|_| !read::is_template(src)).and_then(|n| find_file(&task.search_path, "templates", n).ok());
        match file.and_then(|path| std::fs::read_to_string(path).ok()) {
            Some(text) => {
                text_mentions(&text, false, &mut names);
                seen.see(&text);
                any |= ["include", "import", "extends"].iter().any(|word| text.contains(word));
            }
            None => any = true,
        }
    }
    // Which templates it takes only the host's run will tell: any of those beside it.
    if any {
        let folders = task.search_path.iter().map(|folder| Path::new(folder).join("templates"));
        folders.for_each(|folder| templates(&folder, 0, &mut names, seen));
    }
    names
}

/// The templates below `folder` that mention `hostvars`; links may lead in a circle.
fn templates(folder: &Path, depth: u8, names: &mut BTreeSet<String>, seen: &mut Read) {
    for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() && depth < 8 {
            templates(&path, depth + 1, names, seen);
        } else if let Some(text) = std::fs::read_to_string(&path).ok().filter(|text| text.contains("hostvars")) {
            names.insert("hostvars".into());
            seen.see(&text);
        }
    }
}

/// Of tasks that only a host's run brought, those that read other hosts' variables; `lead` as [`leading`] says.
pub fn included_tasks(included: &Included, lead: &BTreeSet<String>) -> Vec<u32> {
    let mut ids = vec![];
    let mut more = Mentions::new();
    let vars = included.roles.iter().flat_map(|role| role.defaults.0.iter().chain(&role.vars.0));
    vars.for_each(|(name, node)| mentions(node, false, more.entry(name.clone()).or_default()));
    more.extend(lead.iter().map(|name| (name.clone(), BTreeSet::from(["hostvars".to_owned()]))));
    let lead = leading(&[&more]);
    let mut look = |item: &Item| {
        super::notify::each(item, &mut |task| {
            if task_mentions(task, &mut Read::default()).iter().any(|name| lead.contains(name.as_str())) {
                ids.push(task.id);
            }
        });
    };
    included.items.iter().chain(&included.handlers).for_each(&mut look);
    ids
}

/// Of the variables in `known`, those that lead to `hostvars`, and `hostvars` itself.
pub fn leading<'a>(known: &[&'a Mentions]) -> BTreeSet<&'a str> {
    let mut lead = BTreeSet::from(["hostvars"]);
    loop {
        let more: Vec<&str> = known
            .iter()
            .flat_map(|m| m.iter())
            .filter(|(name, mentioned)| !lead.contains(name.as_str()) && mentioned.iter().any(|n| lead.contains(n.as_str())))
            .map(|(name, _)| name.as_str())
            .collect();
        if more.is_empty() {
            break;
        }
        lead.extend(more);
    }
    if lead.len() > 1 {
        // A variable named by a value may be one of them.
        lead.insert("vars");
    }
    lead
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_of_other_hosts() {
        let read = |text: &str| {
            let mut read = Read::default();
            read.see(text);
            (read.names.into_iter().collect::<Vec<_>>().join(" "), read.all)
        };
        assert_eq!(
            read("{{ hostvars[h].ansible_default_ipv4.address }} {{ hostvars['a']['b'] }}"),
            ("ansible_default_ipv4 b".into(), false)
        );
        assert_eq!(read("hostvars[groups['all'][0]].x is defined and hostvars[h] is defined"), ("x".into(), false));
        assert_eq!(read("{{ hosts | map('extract', hostvars, ['facts', 'x']) }}"), ("facts".into(), false));
        assert_eq!(read("{{ hosts | map('extract', hostvars, 'y') }} {{ hostvars[h].get('z') }}"), ("y z".into(), false));
        for any in
            ["{% for h in hostvars %}", "{{ hostvars[h] }}", "{{ hostvars[h][x] }}", "{{ hostvars.items() }}", "{{ hostvars[h]['a' ~ b] }}"]
        {
            assert_eq!(read(any), (String::new(), true), "{any}");
        }
        assert_eq!(read("{{ hostvars.node1.x }}"), ("x".into(), false));
    }

    #[test]
    fn variables_lead_to_others() {
        let mention = |name: &str, of: &str| (name.to_owned(), BTreeSet::from([of.to_owned()]));
        let known = Mentions::from([mention("a", "b"), mention("b", "hostvars"), mention("c", "d")]);
        assert_eq!(leading(&[&known]), BTreeSet::from(["a", "b", "hostvars", "vars"]));
        assert_eq!(leading(&[]), BTreeSet::from(["hostvars"]));
    }
}
