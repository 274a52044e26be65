//! YAML to typed plays: roles, includes, tags, variables, and every check made before a host is touched.
//!
//! [`load`] reads playbooks and all they import, and answers with plays as they travel to hosts, or with
//! everything that is wrong in them at once. What depends on a host (a dynamic include with a template for
//! a name) is asked of the [`Site`] later, by task.
//!
//! | file | what it does |
//! |---|---|
//! | `play` | playbooks and plays |
//! | `compile` | tasks, blocks, imports |
//! | `include` | dynamic includes |
//! | `role` | roles and what they depend on |
//! | `keywords` | what all levels share, and inheritance |
//! | `action` | a task's module and its arguments |
//! | `split` | `key=value` text |
//! | `connecting` | variables that say how hosts are reached |
//! | `loops` | `loop` and `with_…` |
//! | `tags` | `--tags`, `--skip-tags` |
//! | `notify` | handlers that answer |
//! | `reach`, `words` | files, variables and rights a play needs |
//! | `hostvars` | which tasks read other hosts' variables, and which |
//! | `extra` | `-e` |
//! | `list` | `--list-tasks`, `--list-tags`, `--list-hosts` |
//! | `loader` | reading files, giving out ids, gathering errors |
//! | `read` | typed values out of YAML |
//! | `texts` | templates: checked, and names rendered |

mod action;
mod compile;
mod connecting;
mod extra;
mod files;
pub mod hostvars;
mod include;
mod keywords;
mod list;
mod loader;
mod loops;
mod notify;
mod play;
mod reach;
mod read;
mod role;
mod split;
mod tags;
mod texts;
mod words;

pub use connecting::is_about_connecting;
pub use extra::extra_vars;
pub use files::find_file;
pub use list::{ListedPlay, ListedTask};
pub use tags::Selection;

use crate::diag::{Diagnostic, Diagnostics, Loc, Severity};
use crate::modules::Module;
use crate::play::{Become, Included, Play, Privilege, Vars};
use crate::yaml::{Node, Value};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a load is told beside the playbooks' names.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// `--tags`; entries may hold commas. Empty: all.
    pub tags: Vec<String>,
    /// `--skip-tags`.
    pub skip_tags: Vec<String>,
    /// `-e`, as [`extra_vars`] reads it: names of files and roles may use these.
    pub extra: Vars,
    /// `-b`: tasks become root where nothing says otherwise.
    pub become_all: bool,
    /// `--become-user`: whom they become where nothing says otherwise.
    pub become_user: Option<String>,
    /// The inventory's folder: names of files may use it as `inventory_dir`.
    pub inventory_dir: Option<PathBuf>,
    /// Folders in which roles are looked for after `roles/` beside the playbook; `None`: [`roles_path`].
    pub roles_path: Option<Vec<PathBuf>>,
    /// The modules there are; `None`: fettle's own, [`crate::modules::MODULES`].
    pub modules: Option<&'static [&'static Module]>,
}

/// Where Ansible looks for roles beside the playbook: `ANSIBLE_ROLES_PATH` (separated by colons), or
/// `~/.ansible/roles`, `/usr/share/ansible/roles` and `/etc/ansible/roles`.
pub fn roles_path() -> Vec<PathBuf> {
    match std::env::var_os("ANSIBLE_ROLES_PATH").filter(|v| !v.is_empty()) {
        Some(list) => std::env::split_paths(&list).map(|p| files::expand_home(&p.to_string_lossy())).collect(),
        None => ["~/.ansible/roles", "/usr/share/ansible/roles", "/etc/ansible/roles"].iter().map(|p| files::expand_home(p)).collect(),
    }
}

/// All plays of a run.
#[derive(Debug)]
pub struct Site {
    /// The plays, in order.
    pub plays: Vec<PlaySource>,
    /// What the operator should look at; the run goes on.
    pub warnings: Diagnostics,
    loader: Mutex<loader::Loader>,
}

/// A play, and what the controller needs to know to run it.
#[derive(Clone, Debug)]
pub struct PlaySource {
    /// The play as it travels.
    pub play: Play,
    /// `hosts`: a pattern or a list of patterns; may hold templates of `-e` and the play's variables.
    pub hosts: Node,
    /// `serial`: batch sizes (numbers or percentages; may hold templates); empty: all hosts at once.
    pub serial: Vec<Node>,
    /// `max_fail_percentage`: how many of a batch's hosts may fail (may hold a template).
    pub max_fail_percentage: Option<Node>,
    /// `order`: inventory (the default), reverse_inventory, sorted, reverse_sorted or shuffle.
    pub order: Option<String>,
    /// The play's own tags.
    pub tags: Vec<String>,
    /// The play's `become…`, or the command line's; tasks have inherited it.
    pub privilege: Become,
    /// `remote_user` (may hold templates).
    pub remote_user: Option<Node>,
    /// `port` (may hold templates).
    pub port: Option<Node>,
    /// `connection`: ssh, local or smart.
    pub connection: Option<Node>,
    /// What to ask the operator; see [`PlaySource::answer`].
    pub vars_prompt: Vec<Prompt>,
    /// The playbook's folder, as in `playbook_dir` (relative to the working folder if the playbook was).
    pub dir: PathBuf,
    /// The playbook's file.
    pub playbook: PathBuf,
    /// The playbook on the command line that led here.
    pub root: PathBuf,
    /// Files of the controller that tasks name without templates.
    pub files: Vec<StaticFile>,
    /// Some text mentions `hostvars`.
    pub uses_hostvars: bool,
    /// Some include can be answered only when a host has rendered its name.
    pub open: bool,
    /// How many of `play.vars` are the play's own `vars`; answers to prompts follow, then `vars_files`.
    own_vars: usize,
    /// Modules as written, by task id, for lists.
    written: HashMap<u32, String>,
    reach: reach::Reach,
}

/// A file a task is known to refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticFile {
    /// `<task id>:<subfolder>:<name>`, as the agent asks for it.
    pub key: String,
    /// Where it is.
    pub path: PathBuf,
}

/// An entry of `vars_prompt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The variable.
    pub name: String,
    /// What to ask.
    pub text: String,
    /// The value of an empty answer.
    pub default: Option<String>,
    /// Do not echo (the default).
    pub private: bool,
    /// Ask twice.
    pub confirm: bool,
    /// Where the entry stands.
    pub loc: Loc,
}

/// Reads playbooks, in order, with all they import.
///
/// # Errors
/// Everything that is wrong in any of the files, warnings included; nothing was done on any host.
pub fn load(playbooks: &[PathBuf], options: &LoadOptions) -> Result<Site, Diagnostics> {
    let mut loader = loader::Loader {
        selection: Selection::new(&options.tags, &options.skip_tags),
        roles_path: options.roles_path.clone().unwrap_or_else(roles_path),
        extra: options.extra.clone(),
        inventory_dir: options.inventory_dir.clone(),
        modules: options.modules.map(action::Modules).unwrap_or_default(),
        privilege: default_privilege(options),
        ..loader::Loader::default()
    };
    let mut plays = vec![];
    for path in playbooks {
        match missing(path) {
            Some(d) => loader.out.push(d),
            None => plays.extend(loader.playbook(path)),
        }
    }
    let mut out = std::mem::take(&mut loader.out);
    unique(&mut out);
    if out.has_errors() {
        return Err(out);
    }
    Ok(Site { plays, warnings: out, loader: Mutex::new(loader) })
}

/// What `-b` and `--become-user` say.
fn default_privilege(options: &LoadOptions) -> Become {
    Become {
        enabled: options.become_all.then(|| Node::new(Value::Bool(true), Loc::outside("-b"))),
        user: options.become_user.as_ref().map(|user| Node::text(user, Loc::outside("--become-user"))),
        ..Become::default()
    }
}

/// A playbook on the command line that is not there.
fn missing(path: &Path) -> Option<Diagnostic> {
    if path.is_file() || path.exists() && !path.is_dir() {
        return None;
    }
    let name = path.display();
    Some(if path.is_dir() {
        Diagnostic::bare(format!("playbook `{name}` is a folder")).help("name one of the files in it")
    } else {
        Diagnostic::bare(format!("playbook `{name}` is not there"))
    })
}

/// A file read twice is wrong only once. Errors first, as they are what stops the run; then files in the order
/// they were met, and each from top to bottom.
fn unique(out: &mut Diagnostics) {
    let mut kept: Vec<Diagnostic> = vec![];
    let mut files: HashMap<Arc<str>, usize> = HashMap::new();
    for d in std::mem::take(&mut out.0) {
        if let Some(loc) = &d.loc {
            let next = files.len();
            files.entry(loc.file.clone()).or_insert(next);
        }
        if !kept.contains(&d) {
            kept.push(d);
        }
    }
    kept.sort_by_key(|d| {
        let place = d.loc.as_ref().map(|l| (files.get(&l.file).copied(), l.line, l.column));
        (d.severity != Severity::Error, place)
    });
    out.0 = kept;
}

impl Site {
    /// Answers a dynamic include: `task` is the including task's id, `name` the file or role it rendered.
    /// The tasks come complete: with `apply`, the include's `vars` and all that stands around it on them.
    /// Equal questions get equal answers, with the same task ids. A host names it, and a host may be hostile: what the
    /// playbook does not name itself must lie in the project or with its roles, in no hidden folder.
    ///
    /// # Errors
    /// What is wrong in the file or role, that it is not there, or that it is outside.
    pub fn include(&self, task: u32, name: &str) -> Result<Included, Diagnostics> {
        let mut loader = self.loader();
        if let Some((found, own, loc)) = loader.led_to(task, name) {
            let real = files::absolute(&found);
            let mut roots = own.iter().map(|folder| files::absolute(folder)).chain(self.projects());
            if !own.iter().any(|folder| files::below(&found, folder)) && !roots.any(|root| files::below(&real, &root)) {
                let outside = format!("`{name}` is outside the project, so it is included only by tasks that name it literally");
                return Err(Diagnostic::error(&loc, outside).into());
            }
        }
        loader.answer_later(task, name)
    }

    /// What the playbook writes as the name of what `task` includes; it may hold templates.
    pub fn include_name(&self, task: u32) -> Option<Node> {
        self.loader().include_name(task).cloned()
    }

    /// The folders around those of the playbooks.
    pub fn projects(&self) -> impl Iterator<Item = PathBuf> {
        let above = self.plays.iter().filter_map(|play| files::absolute(&play.dir).parent().map(Path::to_owned));
        above.filter(|folder| folder.parent().is_some())
    }

    fn loader(&self) -> MutexGuard<'_, loader::Loader> {
        // A panic while answering leaves nothing half-done that a later answer relies on.
        self.loader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PlaySource {
    /// With which rights the agent must be started; `default` is `-b`, `said` what `ansible_become` says, which wins over the
    /// keyword. Tasks that a host's own include brings (`open`) are not known here: they can become root only if something
    /// else in the play can.
    pub fn privilege(&self, default: bool, said: Option<bool>) -> Privilege {
        reach::privilege(self, default, said)
    }

    /// Looks at every task the play may run, handlers and known includes too.
    pub fn each_task(&self, look: &mut dyn FnMut(&crate::play::Task)) {
        reach::each_task(self, look);
    }

    /// The names of variables the play's texts mention (some are filters' or functions' names). Variables
    /// mentioned by those variables' own values are for the caller to follow. `None`: any variable may be
    /// reached, by `vars[…]`, `lookup('vars', …)`, `hostvars`, or a file or include that only a host's run
    /// will name.
    pub fn referenced(&self) -> Option<BTreeSet<String>> {
        (!self.reach.all).then(|| self.reach.names.clone())
    }

    /// What the play reads of other hosts' variables.
    pub fn hostvars_read(&self) -> &hostvars::Read {
        &self.reach.read
    }

    /// The variables that lead to `hostvars`; `inventory` are the inventory's, with what they mention.
    pub fn hostvars_lead(&self, inventory: &hostvars::Mentions) -> BTreeSet<String> {
        hostvars::leading(&[&self.reach.variables, inventory]).into_iter().map(str::to_owned).collect()
    }

    /// Tasks that read other hosts' variables, by what [`PlaySource::hostvars_lead`] says.
    pub fn hostvars_tasks(&self, lead: &BTreeSet<String>) -> Vec<u32> {
        self.reach.tasks.iter().filter(|(_, names)| names.iter().any(|n| lead.contains(n))).map(|(id, _)| *id).collect()
    }

    /// The host pattern as one text, its templates rendered with `extra` and the play's own variables.
    ///
    /// # Errors
    /// A template that needs more than these.
    pub fn pattern(&self, extra: &Vars) -> Result<String, Diagnostic> {
        let parts = self.hosts.as_seq().unwrap_or(std::slice::from_ref(&self.hosts));
        let texts: Result<Vec<String>, Diagnostic> = parts.iter().map(|part| self.known_now(part, extra)).collect();
        Ok(texts?.join(","))
    }

    /// A text of the play (`serial`, `remote_user`, `port`, a host pattern), its templates rendered with
    /// `extra` and the play's own variables.
    ///
    /// # Errors
    /// A template that needs more than these.
    pub fn known_now(&self, node: &Node, extra: &Vars) -> Result<String, Diagnostic> {
        if !read::is_template(node) {
            return Ok(node.key_text());
        }
        texts::render(node, &[&self.play.vars, extra]).map_err(|why| {
            Diagnostic::error(&node.loc, format!("this must be known before any host is asked: {why}"))
                .help("it may use -e and the play's own variables")
        })
    }

    /// Puts the answer to a prompt where it belongs: above the play's `vars`, below its `vars_files`.
    /// What is typed is never a template.
    pub fn answer(&mut self, prompt: &str, value: &str) {
        let mut node = Node::text(value, Loc::outside("vars_prompt"));
        node.tag = Some("!unsafe".into());
        let at = self.own_vars.min(self.play.vars.0.len());
        self.play.vars.0.insert(at, (prompt.to_owned(), node));
        self.own_vars = at + 1;
    }
}

#[cfg(test)]
mod tests;
