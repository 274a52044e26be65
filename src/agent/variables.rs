//! What this host knows across the plays of a run, and the scope a task sees.
//!
//! Precedence, low to high, as Ansible documents it: role defaults, inventory, facts, play vars and
//! vars_files, role vars, block and task vars, include_vars, set_fact and register, role parameters, include
//! parameters, extra vars, magic variables, loop variables.

use crate::play::{LayerKind, Play, Role, Task, Vars};
use crate::protocol::{HostVars, Told};
use crate::template::{Engine, Scope, TemplateError, Var, unknown};
use crate::yaml::Node;
use serde_json::{Map, Value as Json};
use std::collections::HashMap;
use std::sync::Arc;

/// One layer as the template engine takes it.
pub type Layer = Arc<HashMap<String, Var>>;

/// Variables that outlive a play.
pub struct Memory {
    /// `ansible_facts`.
    pub facts: Map<String, Json>,
    /// `set_fact` and `register`.
    set: HashMap<String, Var>,
    /// `include_vars`.
    included: HashMap<String, Var>,
    facts_layer: Layer,
    /// `hostvars`, as last heard.
    hostvars: Layer,
    /// What this host last told others of itself.
    told: Option<Map<String, Json>>,
}

impl Default for Memory {
    fn default() -> Self {
        let mut memory = Self {
            facts: Map::new(),
            set: HashMap::new(),
            included: HashMap::new(),
            facts_layer: Layer::default(),
            hostvars: Layer::default(),
            told: None,
        };
        // `ansible_facts` is there before anything is gathered.
        memory.facts_changed();
        memory
    }
}

impl Memory {
    /// Merges gathered facts.
    pub fn add_facts(&mut self, facts: Map<String, Json>) {
        self.facts.extend(facts);
        self.facts_changed();
    }

    /// Forgets all facts (`meta: clear_facts`).
    pub fn clear_facts(&mut self) {
        self.facts.clear();
        self.facts_changed();
    }

    fn facts_changed(&mut self) {
        let mut layer: HashMap<String, Var> =
            self.facts.iter().map(|(name, value)| (format!("ansible_{name}"), Var::Plain(Arc::new(value.clone())))).collect();
        layer.insert("ansible_facts".into(), Var::Plain(Arc::new(Json::Object(self.facts.clone()))));
        self.facts_layer = Arc::new(layer);
    }

    /// Sets a variable as `set_fact` and `register` do.
    pub fn set(&mut self, name: &str, value: Json) {
        self.set.insert(name.to_owned(), Var::Plain(Arc::new(value)));
    }

    /// Sets variables as `include_vars` does.
    pub fn include(&mut self, vars: Vec<(String, Node)>) {
        self.included.extend(vars.into_iter().map(|(name, node)| (name, Var::Template(Arc::new(node)))));
    }

    /// Takes what a task told, wherever it ran.
    pub fn take(&mut self, told: Told) {
        for (name, value) in told.set {
            self.set(&name, value);
        }
        if !told.facts.is_empty() {
            self.add_facts(told.facts);
        }
        self.include(told.vars);
    }

    /// The names of all facts and variables set so far.
    pub fn names(&self) -> Vec<String> {
        self.facts_layer.keys().chain(self.set.keys()).chain(self.included.keys()).cloned().collect()
    }

    /// What others have to be told of this host's variables: nothing if they know.
    pub fn news(&self, view: &Map<String, Json>) -> Option<Map<String, Json>> {
        (self.told.as_ref() != Some(view)).then(|| view.clone())
    }

    /// Takes what is new in `hostvars`, this host's own variables among it.
    pub fn hear(&mut self, own: &str, view: Map<String, Json>, others: Map<String, Json>) {
        let mut all = match self.hostvars.get("hostvars") {
            Some(Var::Plain(known)) => known.clone(),
            _ => Arc::new(Json::Object(Map::new())),
        };
        self.hostvars = Layer::default();
        if let Json::Object(hosts) = Arc::make_mut(&mut all) {
            hosts.extend(others);
            hosts.insert(own.to_owned(), Json::Object(view.clone()));
        }
        self.hostvars = Arc::new(HashMap::from([("hostvars".to_owned(), Var::Plain(all))]));
        self.told = Some(view);
    }
}

/// The layers of one play on this host, made once.
pub struct PlayLayers {
    inventory: Layer,
    play: Layer,
    extra: Layer,
    magic: Layer,
    roles: Vec<(Role, Layer, Layer)>,
}

impl PlayLayers {
    /// Makes the layers.
    pub fn new(play: &Play, vars: &HostVars) -> Self {
        let mut layers = Self {
            inventory: layer(&vars.inventory),
            play: layer(&play.vars),
            extra: layer(&vars.extra),
            magic: Arc::new(vars.magic.iter().map(|(k, v)| (k.clone(), Var::Plain(Arc::new(v.clone())))).collect()),
            roles: vec![],
        };
        layers.add_roles(play.roles.clone());
        layers
    }

    /// Adds roles that came with a dynamic include.
    pub fn add_roles(&mut self, roles: Vec<Role>) {
        for role in roles {
            if !self.roles.iter().any(|(known, ..)| known.id == role.id) {
                let (defaults, vars) = (layer(&role.defaults), layer(&role.vars));
                self.roles.push((role, defaults, vars));
            }
        }
    }

    /// This host's variables as others see them, without any play's; `names`: only these.
    pub fn view(&self, engine: &Engine, memory: &Memory, names: Option<&[String]>) -> Map<String, Json> {
        let mut scope = Scope::new();
        for layer in [&self.inventory, &memory.facts_layer] {
            scope.push(layer.clone());
        }
        scope.push(Arc::new(memory.included.clone()));
        scope.push(Arc::new(memory.set.clone()));
        scope.push(self.extra.clone());
        let all: Vec<String> = match names {
            Some(_) => vec![],
            None => scope.names().chain(["inventory_hostname", "inventory_hostname_short", "group_names"]).map(str::to_owned).collect(),
        };
        scope.push(self.magic.clone());
        let value = |name: &String| {
            scope.get(name)?;
            match engine.variable(name, &scope) {
                Ok(value) => Some((name.clone(), value)),
                Err(TemplateError::Unknown(why)) => Some((name.clone(), unknown(&why))),
                // Who reads it is told that it is undefined.
                Err(_) => None,
            }
        };
        names.unwrap_or(&all).iter().filter_map(value).collect()
    }

    fn role(&self, task: &Task) -> Option<&(Role, Layer, Layer)> {
        task.role.and_then(|id| self.roles.iter().find(|(role, ..)| role.id == id))
    }

    /// The name of the role `task` belongs to.
    pub fn role_name(&self, task: &Task) -> Option<&str> {
        self.role(task).map(|(role, ..)| role.name.as_str())
    }

    /// The scope of `task`; `on_top` are loop and include variables, outermost first.
    pub fn scope(&self, memory: &Memory, task: &Task, on_top: &[Layer]) -> Scope {
        let own = self.role(task);
        let others = || self.roles.iter().filter(|(role, ..)| role.public && Some(role.id) != task.role);
        let mut scope = Scope::new();
        for (_, defaults, _) in others() {
            scope.push(defaults.clone());
        }
        if let Some((_, defaults, _)) = own {
            scope.push(defaults.clone());
        }
        scope.push(self.inventory.clone());
        scope.push(memory.facts_layer.clone());
        scope.push(self.play.clone());
        for (_, _, vars) in others() {
            scope.push(vars.clone());
        }
        if let Some((_, _, vars)) = own {
            scope.push(vars.clone());
        }
        push_layers(&mut scope, task, &[LayerKind::Block, LayerKind::Task]);
        scope.push(Arc::new(memory.included.clone()));
        scope.push(Arc::new(memory.set.clone()));
        push_layers(&mut scope, task, &[LayerKind::RoleParams]);
        push_layers(&mut scope, task, &[LayerKind::IncludeParams]);
        scope.push(self.extra.clone());
        scope.push(self.magic.clone());
        scope.push(memory.hostvars.clone());
        if let Some((role, ..)) = own {
            let names = self.roles.iter().map(|(r, ..)| Json::from(r.name.as_str())).collect();
            scope.push(Arc::new(HashMap::from([
                ("role_name".to_owned(), Var::Plain(Arc::new(Json::from(role.name.as_str())))),
                ("ansible_role_name".to_owned(), Var::Plain(Arc::new(Json::from(role.name.as_str())))),
                ("role_path".to_owned(), Var::Plain(Arc::new(Json::from(role.path.as_str())))),
                ("role_names".to_owned(), Var::Plain(Arc::new(Json::Array(names)))),
            ])));
        }
        for layer in on_top {
            scope.push(layer.clone());
        }
        scope
    }
}

fn push_layers(scope: &mut Scope, task: &Task, kinds: &[LayerKind]) {
    for vars in task.layers.iter().filter(|l| kinds.contains(&l.kind)) {
        scope.push(layer(&vars.vars));
    }
}

fn layer(vars: &Vars) -> Layer {
    Arc::new(vars.0.iter().map(|(name, node)| (name.clone(), Var::Template(Arc::new(node.clone())))).collect())
}

/// A layer of plain values (loop variables).
pub fn plain_layer(values: impl IntoIterator<Item = (String, Json)>) -> Layer {
    Arc::new(values.into_iter().map(|(name, value)| (name, Var::Plain(Arc::new(value)))).collect())
}
