//! What one load keeps: settings, files read, ids given out, everything wrong so far.

use super::files;
use super::include::Context;
use super::read;
use super::tags::Selection;
use crate::diag::{Diagnostic, Diagnostics, Loc};
use crate::play::{Become, Included, Item, Role, Vars};
use crate::yaml::{self, Node, Value};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a YAML file of a play larger than this surely is not.
const LARGEST: u64 = 16 << 20;

/// State of a load, and of the dynamic includes answered after it.
#[derive(Debug, Default)]
pub(crate) struct Loader {
    pub selection: Selection,
    pub roles_path: Vec<PathBuf>,
    pub extra: Vars,
    pub modules: super::action::Modules,
    pub inventory_dir: Option<PathBuf>,
    /// What `-b` and `--become-user` say.
    pub privilege: Become,
    pub out: Diagnostics,
    pub contexts: HashMap<u32, Arc<Context>>,
    pub answers: HashMap<(u32, String), Result<Included, Diagnostics>>,
    pub documents: HashMap<PathBuf, Option<Arc<Node>>>,
    pub tasks: u32,
    pub roles: u32,
}

/// One play while it is put together.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// The playbook's folder.
    pub dir: PathBuf,
    /// Variables that names of files and roles may use.
    pub names: Vars,
    pub roles: Vec<Role>,
    /// Handlers of roles, in the order they were met.
    pub handlers: Vec<Item>,
    /// Roles whose tasks are already in.
    pub seen: Vec<super::role::Key>,
    pub includes: Vec<(String, Included)>,
    /// Names notified without a template, where they stand.
    pub notified: Vec<Node>,
    /// A dynamic include could not be answered yet.
    pub open: bool,
    /// A handler was left out because something is wrong with it.
    pub handler_wrong: bool,
    /// Modules' names as written, by task id.
    pub written: HashMap<u32, String>,
}

impl Loader {
    pub(crate) fn task_id(&mut self) -> u32 {
        self.tasks += 1;
        self.tasks
    }

    pub(crate) fn role_id(&mut self) -> u32 {
        self.roles += 1;
        self.roles
    }

    /// The one document of a YAML file; `None` when it cannot be read, and then it has been said why.
    /// `from` is the place that names the file.
    pub(crate) fn document(&mut self, path: &Path, from: Option<&Loc>) -> Option<Arc<Node>> {
        if let Some(known) = self.documents.get(path) {
            return known.clone();
        }
        let node = self.read(path, from).map(Arc::new);
        self.documents.insert(path.to_path_buf(), node.clone());
        node
    }

    fn read(&mut self, path: &Path, from: Option<&Loc>) -> Option<Node> {
        let name = path.display().to_string();
        let failed = |why: String| {
            let message = format!("cannot read `{name}`: {why}");
            from.map_or_else(|| Diagnostic::bare(&message), |loc| Diagnostic::error(loc, &message))
        };
        let text = match read_text(path) {
            Ok(text) => text,
            Err(why) => {
                self.out.push(failed(why));
                return None;
            }
        };
        if text.starts_with("$ANSIBLE_VAULT") {
            let d = Diagnostic::error(&Loc::new(name, 1, 1), "files encrypted with ansible-vault are not supported yet");
            self.out.push(d.help("decrypt it for the run: ansible-vault decrypt --output - FILE, or give the values with -e @FILE"));
            return None;
        }
        match parse(&name, &text) {
            Ok((node, warnings)) => {
                self.out.0.extend(warnings);
                check_tags(&node, &mut self.out);
                Some(node)
            }
            Err(errors) => {
                self.out.0.extend(errors.0);
                None
            }
        }
    }

    /// The variables of a file.
    pub(crate) fn vars_file(&mut self, path: &Path, from: Option<&Loc>) -> Vars {
        match self.document(path, from) {
            Some(node) => read::vars(&node, "a file of variables", &mut self.out),
            None => Vars::default(),
        }
    }

    /// A name of a file, role or playbook, its templates rendered with what is known before any host is asked:
    /// `-e` and the play's own variables.
    pub(crate) fn known_now(&mut self, node: &Node, what: &str, vars: &Vars) -> Option<String> {
        let text = read::text(node, what, &mut self.out)?;
        if !read::is_template(node) {
            return Some(text);
        }
        match super::texts::render(node, &[vars, &self.extra]) {
            Ok(text) => Some(text),
            Err(why) => {
                self.out.push(Diagnostic::error(&node.loc, format!("`{what}` must be known before any host is asked: {why}")).help(
                    "it may use -e and the play's own variables; what depends on a host or its facts goes into include_tasks, \
                         include_role or include_vars",
                ));
                None
            }
        }
    }

    /// What names may use in a playbook of the folder `dir` whose play has `vars`.
    pub(crate) fn names(&self, dir: &Path, vars: &Vars) -> Vars {
        let magic = [("playbook_dir", Some(dir)), ("inventory_dir", self.inventory_dir.as_deref())];
        let text = |path: &Path| Node::text(files::absolute(path).display().to_string(), Loc::outside("fettle"));
        let magic = magic.into_iter().filter_map(|(name, path)| Some((name.to_owned(), text(path?))));
        Vars(vars.0.iter().cloned().chain(magic).collect())
    }

    /// Where the file `node` names is among `places`; says so if it is nowhere.
    pub(crate) fn existing(&mut self, node: &Node, what: &str, name: &str, places: &[PathBuf]) -> Option<PathBuf> {
        let found = files::first_that_exists(places);
        if found.is_none() {
            let near = near_file(name, places);
            let mut d = Diagnostic::error(&node.loc, format!("{what} `{name}` is not there"));
            if let Some(near) = near {
                d = d.label(format!("did you mean `{near}`?"));
            }
            self.out.push(d.help(format!("looked for {}", files::list(places))));
        }
        found
    }
}

/// The file beside one of `places` whose name is nearest.
fn near_file(name: &str, places: &[PathBuf]) -> Option<String> {
    let folder = Path::new(name).parent().map(Path::to_path_buf).unwrap_or_default();
    let base = Path::new(name).file_name()?.to_string_lossy().into_owned();
    let mut names: Vec<String> = vec![];
    for dir in places.iter().filter_map(|p| p.parent()) {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        names.extend(entries.map(|e| e.file_name().to_string_lossy().into_owned()));
    }
    names.sort();
    let near = crate::diag::nearest(&base, names.iter().map(String::as_str).filter(|n| *n != base))?;
    Some(folder.join(near).display().to_string())
}

/// The one document of a file, and what is odd about it.
fn parse(name: &str, text: &str) -> Result<(Node, Vec<Diagnostic>), Diagnostics> {
    let (mut documents, warnings) = yaml::parse_with_warnings(name, text)?;
    match (documents.pop(), documents.is_empty()) {
        (Some(node), true) => Ok((node, warnings)),
        // None, or several: the room for YAML knows what to say.
        _ => yaml::parse_one(name, text).map(|node| (node, warnings)),
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let meta = std::fs::metadata(path).map_err(|e| plain(&e))?;
    if meta.is_dir() {
        return Err("it is a folder".into());
    }
    if meta.len() > LARGEST {
        return Err(format!("it is larger than {} MiB", LARGEST >> 20));
    }
    let bytes = std::fs::read(path).map_err(|e| plain(&e))?;
    String::from_utf8(bytes).map_err(|e| format!("byte {} is not UTF-8", e.utf8_error().valid_up_to()))
}

/// An operating system's error without its number.
fn plain(e: &std::io::Error) -> String {
    match e.kind() {
        std::io::ErrorKind::NotFound => "no such file".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => e.to_string(),
    }
}

/// Refuses tags that mean something fettle does not do: a vault's secret would travel as garbage.
pub(crate) fn check_tags(node: &Node, out: &mut Diagnostics) {
    match node.tag.as_deref() {
        None | Some("!unsafe") => {}
        Some("!vault" | "!vault-encrypted") => {
            out.push(
                Diagnostic::error(&node.loc, "values encrypted with ansible-vault are not supported yet")
                    .help("give the value with -e @FILE, or look it up from the environment"),
            );
            return;
        }
        Some(tag) => out.push(Diagnostic::error(&node.loc, format!("unknown YAML tag `{tag}`")).help("tags: !unsafe")),
    }
    match &node.value {
        Value::Seq(items) => items.iter().for_each(|i| check_tags(i, out)),
        Value::Map(map) => map.iter().for_each(|(k, v)| {
            check_tags(k, out);
            check_tags(v, out);
        }),
        _ => {}
    }
}
