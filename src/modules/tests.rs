//! What modules plan on made-up hosts. Every plan is predicted, checked, and made again: then nothing may be missing.

use super::{Args, Context, Files, Plan, PlanError, SourceFile, find};
use crate::host::act::Act;
use crate::host::{Blank, Overlay, View};
use serde_json::{Map, Value as Json, json};
use std::path::Path;

mod edits;
mod files;
mod others;

/// Files on the workstation: (name, content).
const SOURCES: &[(&str, &str)] = &[
    ("a.conf", "one\n"),
    ("run.sh", "#!/bin/sh\n"),
    ("page.j2", "x={{ x }}\n"),
    ("tree/top", "top\n"),
    ("tree/sub/leaf", "leaf\n"),
    ("main.yml", "x: 1\ny: '{{ x }}'\n"),
    ("more/a.yml", "a: 1\n"),
    ("more/b.yaml", "b: 2\n"),
    ("more/c.txt", "c: 3\n"),
    ("more/deep/d.json", "{\"d\": 4}\n"),
];

struct Shelf;

impl Files for Shelf {
    fn get(&self, name: &str, _: &str) -> Result<SourceFile, PlanError> {
        let found = SOURCES.iter().find(|(n, _)| *n == name.trim_start_matches("./"));
        let (name, content) = found.ok_or_else(|| PlanError::failed(format!("no file {name}")))?;
        let mode = if name.ends_with(".sh") { 0o755 } else { 0o640 };
        Ok(SourceFile { path: format!("/play/{name}"), content: content.as_bytes().to_vec(), mode })
    }

    fn list(&self, name: &str, _: &str) -> Result<Option<Vec<String>>, PlanError> {
        let prefix = format!("{}/", name.trim_end_matches('/'));
        let mut all = std::collections::BTreeSet::new();
        for rest in SOURCES.iter().filter_map(|(n, _)| n.strip_prefix(&prefix)) {
            all.insert(rest.to_owned());
            for (i, _) in rest.match_indices('/') {
                all.insert(rest[..=i].to_owned());
            }
        }
        Ok((!all.is_empty()).then(|| all.into_iter().collect()))
    }
}

/// A host with accounts and these files, mode 0644 of root.
pub(super) fn host(files: &[(&str, &str)]) -> Overlay<'static> {
    let mut host = Overlay::new(&Blank);
    host.set_file("/etc/passwd", "root:x:0:0::/root:/bin/sh\nais:x:1000:1000::/home/ais:/bin/sh\n", 0o644, 0, 0);
    host.set_file("/etc/group", "root:x:0:\nais:x:1000:\n", 0o644, 0, 0);
    for (path, text) in files {
        host.set_file(path, *text, 0o644, 0, 0);
    }
    host
}

/// What the module plans.
pub(super) fn plan(host: &dyn View, module: &str, args: Json) -> Result<Plan, PlanError> {
    let module = find(module).unwrap_or_else(|| panic!("no module {module}"));
    let Json::Object(args) = args else { panic!("arguments are a mapping") };
    let args = Args::check(module, args)?;
    let facts = Map::new();
    let context = Context {
        view: host,
        check: true,
        files: &Shelf,
        render: &|text, _| Ok(text.replace("{{ x }}", "5")),
        evaluate: &|value| Ok(json!(value != "false")),
        lookup: &|name| if name == "known" { Ok(json!([1])) } else { Err(PlanError::failed(format!("{name} is undefined"))) },
        environment: &[("PLACE".to_owned(), "/srv".to_owned())],
        user: (0, 0, "root", "/root"),
        facts: &facts,
        gather: &|_, _| Ok(Map::from_iter([("kernel".to_owned(), json!("6.8")), ("processor_count".to_owned(), json!(2))])),
        secret: false,
    };
    (module.plan)(&args, &context)
}

/// Plans, predicts and checks each change, plans again: nothing may be missing then. Returns what would be done, and the result.
pub(super) fn settle(host: &mut Overlay<'_>, module: &str, args: Json) -> (Vec<String>, Map<String, Json>) {
    let first = plan(host, module, args.clone()).unwrap_or_else(|e| panic!("{module} {args}: {e}"));
    let mut said = vec![];
    for change in &first.changes {
        said.push(change.describe_with(host));
        change.predict(host).unwrap_or_else(|e| panic!("{module} {args}: {e}"));
        change.verify(host).unwrap_or_else(|e| panic!("{module} {args}: {e}"));
    }
    let second = plan(host, module, args.clone()).unwrap_or_else(|e| panic!("{module} {args} again: {e}"));
    assert!(second.changes.is_empty(), "{module} {args} again: {:?}", second.changes);
    (said, first.result)
}

/// What the file holds.
pub(super) fn text(host: &dyn View, path: &str) -> String {
    host.read_text(Path::new(path)).unwrap_or_else(|e| panic!("{e}"))
}

/// The message it fails with.
pub(super) fn failure(host: &dyn View, module: &str, args: Json) -> String {
    match plan(host, module, args.clone()) {
        Err(PlanError::Failed(message, _)) => message,
        other => panic!("{module} {args} should fail, but: {other:?}"),
    }
}

#[test]
fn every_module_describes_itself() {
    for module in super::MODULES {
        assert!(module.doc.ends_with('.'), "{}", module.name);
        let mut names: Vec<&str> = module.args.iter().flat_map(|a| a.aliases.iter().copied().chain([a.name])).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "an argument of {} is named twice", module.name);
        assert!(module.args.iter().all(|a| !a.doc.is_empty()), "{}", module.name);
    }
}
