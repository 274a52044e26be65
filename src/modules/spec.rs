//! How a module describes itself: for checking tasks before a host is touched, and for `fettle doc`.

use super::{Args, Context, Plan, PlanError};

/// One module.
#[derive(Debug)]
pub struct Module {
    /// Short name: `lineinfile`.
    pub name: &'static str,
    /// Collections whose full name works too: `ansible.builtin`, `ansible.posix`, `fettle`.
    pub collections: &'static [&'static str],
    /// Other short names it answers to (`service` for `systemd`…).
    pub aliases: &'static [&'static str],
    /// What it does: one sentence, then as much as a user needs.
    pub doc: &'static str,
    /// Its arguments.
    pub args: &'static [Arg],
    /// Whether it takes free-form text (`command: echo hi`), found under `_raw_params`.
    pub free_form: FreeForm,
    /// Takes any argument name (`set_fact`).
    pub any_args: bool,
    /// The planner: pure, reads the host only through `Context::view`.
    pub plan: fn(&Args, &Context<'_>) -> Result<Plan, PlanError>,
}

/// What a module does with text in place of a mapping of arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeForm {
    /// Only `key=value` pairs.
    No,
    /// The whole text is `_raw_params`, leading/trailing `key=value` of known arguments taken out (command, shell).
    Raw,
    /// A single word or text is this argument's value (`meta: flush_handlers`, `include_vars: file.yml`).
    Into(&'static str),
}

/// One argument.
#[derive(Debug)]
pub struct Arg {
    /// Its name.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// What it holds.
    pub kind: Kind,
    /// Must be given.
    pub required: bool,
    /// Its value when not given, in words for the documentation (the agent has none); planners apply it themselves.
    pub default: Option<&'static str>,
    /// One sentence; empty in the agent.
    pub doc: &'static str,
}

/// Only the controller documents modules: these texts would be a good part of the agent.
const DOCUMENTED: bool = cfg!(feature = "controller");

/// What an argument holds. Values are coerced as Ansible does (`"yes"` is a boolean, `5` is text where text is wanted).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Str,
    /// A boolean: yes/no/on/off/true/false/1/0.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// A path; `~` and `$VAR` are expanded on the host.
    Path,
    /// A file mode: octal number, octal text, or symbolic (`u+rwX,g-w`).
    Mode,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts (a single text is split at commas).
    StrList,
    /// A mapping.
    Dict,
    /// A list of anything.
    List,
    /// Anything.
    Any,
}

impl Arg {
    /// An optional argument without default.
    pub const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, aliases: &[], kind, required: false, default: None, doc: if DOCUMENTED { doc } else { "" } }
    }

    /// It must be given.
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Other names.
    pub const fn alias(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Its default, for the documentation.
    pub const fn default(mut self, default: &'static str) -> Self {
        self.default = if DOCUMENTED { Some(default) } else { None };
        self
    }

    /// Whether `name` names it.
    pub fn answers_to(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }
}

impl Module {
    /// Whether a task's `name` means this module.
    pub fn answers_to(&self, name: &str) -> bool {
        let (collection, short) = match name.rsplit_once('.') {
            Some((collection, short)) => (Some(collection), short),
            None => (None, name),
        };
        (short == self.name || self.aliases.contains(&short)) && collection.is_none_or(|c| self.collections.contains(&c))
    }

    /// The argument `name` means.
    pub fn arg(&self, name: &str) -> Option<&Arg> {
        self.args.iter().find(|a| a.answers_to(name))
    }

    /// All argument names, for "did you mean".
    pub fn arg_names(&self) -> impl Iterator<Item = &'static str> {
        self.args.iter().map(|a| a.name)
    }
}
