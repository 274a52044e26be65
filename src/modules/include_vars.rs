//! `include_vars`: variables from files, read when the task runs.

use super::attributes::refuse;
use super::draft::fields;
use super::set_fact::is_name;
use super::{Arg, Args, Context, Effect, FreeForm, Kind, Module, Plan, PlanError};
use crate::template::{Flags, Pattern, regex};
use crate::yaml::{self, Mapping, Node, Value};
use serde_json::{Map, Value as Json, json};

/// The module's description.
pub const MODULE: Module = Module {
    name: "include_vars",
    collections: super::BUILTIN,
    aliases: &[],
    doc: "Reads variables from a YAML or JSON file on the workstation, or from all such files of a folder, in order of their \
          names; of the same name, the later wins.",
    args: &[
        Arg::new(
            "file",
            Kind::Str,
            "the file, looked for in `vars` beside the play or role first; may stand right behind the module's name",
        )
        .alias(&["free-form"]),
        Arg::new("dir", Kind::Str, "a folder to read all files of"),
        Arg::new("name", Kind::Str, "put the variables into a mapping of this name"),
        Arg::new("depth", Kind::Int, "how many levels of folders to read; 0: all").default("0"),
        Arg::new("files_matching", Kind::Str, "read only files whose names match this pattern, in Python's syntax"),
        Arg::new("ignore_files", Kind::StrList, "patterns of names (to their ends) of files to leave out"),
        Arg::new("extensions", Kind::StrList, "what names of files end in").default("json, yaml, yml"),
        Arg::new("ignore_unknown_extensions", Kind::Bool, "leave other files out, in place of failing").default("no"),
        Arg::new("hash_behaviour", Kind::Choice(&["replace", "merge"]), "only `replace` is supported").default("replace"),
    ],
    free_form: FreeForm::Into("file"),
    any_args: false,
    plan,
};

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    refuse(args, &[("hash_behaviour", Some(json!("replace")), "mappings of the same name are not merged")])?;
    let files = match (args.str("file"), args.str("dir")) {
        (Some(_), Some(_)) => return Err(PlanError::failed("`file` and `dir` exclude each other")),
        (None, None) => return Err(PlanError::failed("one of `file` and `dir` is needed")),
        (Some(file), None) => {
            for name in ["depth", "files_matching", "ignore_files", "ignore_unknown_extensions"] {
                if args.get(name).is_some() {
                    return Err(PlanError::failed(format!("`{name}` is only for `dir`")));
                }
            }
            vec![file.to_owned()]
        }
        (None, Some(dir)) => names(args, context, dir)?,
    };
    let mut vars: Vec<(String, Node)> = vec![];
    let mut read = vec![];
    for file in files {
        let (path, entries) = load(context, &file)?;
        for (name, node) in entries {
            vars.retain(|(known, _)| *known != name);
            vars.push((name, node));
        }
        read.push(path);
    }
    if let Some(name) = args.str("name") {
        if !is_name(name) {
            return Err(PlanError::failed(format!("`name: {name}` is no name of a variable")));
        }
        let loc = crate::diag::Loc::outside(read.first().map_or("include_vars", String::as_str));
        let entries = vars.into_iter().map(|(k, v)| (Node::text(k, v.loc.clone()), v)).collect();
        vars = vec![(name.to_owned(), Node::new(Value::Map(Mapping(entries)), loc))];
    }
    let shown: Map<String, Json> = vars.iter().map(|(name, node)| (name.clone(), node.to_json())).collect();
    let result = fields(json!({"ansible_facts": shown, "ansible_included_var_files": read}));
    Ok(Plan { result, effects: vec![Effect::IncludeVars(vars)], ..Plan::default() })
}

/// The files of a folder that are meant, in order.
fn names(args: &Args, context: &Context<'_>, dir: &str) -> Result<Vec<String>, PlanError> {
    let all = context.files.list(dir, "vars")?.ok_or_else(|| PlanError::failed(format!("`dir: {dir}` is no folder")))?;
    let depth = usize::try_from(args.int("depth").unwrap_or(0)).map_err(|_| PlanError::failed("`depth` must not be negative"))?;
    let compile = |name: &str, text: &str| regex::compile(text, Flags::default()).map_err(|e| PlanError::failed(format!("`{name}`: {e}")));
    let matching = args.str("files_matching").map(|text| compile("files_matching", text)).transpose()?;
    let ignored = args.str_list("ignore_files").unwrap_or_default();
    let ignored = ignored.iter().map(|text| compile("ignore_files", &format!("{text}$"))).collect::<Result<Vec<_>, _>>()?;
    let extensions = args.str_list("extensions").unwrap_or_else(|| ["json", "yaml", "yml"].map(str::to_owned).to_vec());
    let matches = |pattern: &Pattern, name: &str| {
        pattern.is_match(name).map_err(|e| PlanError::failed(format!("matching the name {name} failed: {e}")))
    };
    let mut files = vec![];
    'files: for path in all.into_iter().filter(|p| !p.ends_with('/')) {
        let name = path.rsplit('/').next().unwrap_or_default();
        if depth > 0 && path.matches('/').count() >= depth {
            continue;
        }
        if let Some(pattern) = &matching
            && !matches(pattern, name)?
        {
            continue;
        }
        for pattern in &ignored {
            if matches(pattern, name)? {
                continue 'files;
            }
        }
        let known = name.rsplit_once('.').is_some_and(|(_, e)| extensions.iter().any(|x| x.trim_start_matches('.') == e));
        if !known {
            if args.bool("ignore_unknown_extensions").unwrap_or(false) {
                continue;
            }
            return Err(PlanError::failed(format!(
                "{dir}/{path} ends in none of {}: `ignore_unknown_extensions: true` leaves it out",
                extensions.join(", ")
            )));
        }
        files.push(format!("{}/{path}", dir.trim_end_matches('/')));
    }
    Ok(files)
}

/// A file's path and variables.
fn load(context: &Context<'_>, name: &str) -> Result<(String, Vec<(String, Node)>), PlanError> {
    let file = context.files.get(name, "vars")?;
    let text = String::from_utf8(file.content).map_err(|_| PlanError::failed(format!("{} is not UTF-8 text", file.path)))?;
    if text.starts_with("$ANSIBLE_VAULT;") {
        return Err(PlanError::failed(format!("{} is encrypted: vaults are not supported", file.path)));
    }
    let node = yaml::parse_one(&file.path, &text).map_err(|e| PlanError::failed(e.to_string()))?;
    let entries = match node.value {
        Value::Null => vec![],
        Value::Map(Mapping(entries)) => entries,
        _ => return Err(PlanError::failed(format!("{} must hold a mapping of variables, not {}", file.path, node.kind()))),
    };
    let mut vars = vec![];
    for (key, value) in entries {
        let name = key.key_text();
        if !is_name(&name) {
            return Err(PlanError::failed(format!("{}: `{name}` is no name of a variable", key.loc)));
        }
        vars.push((name, value));
    }
    Ok((file.path, vars))
}
