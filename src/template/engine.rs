//! Rendering: nodes, conditions, expressions and whole template files.

use super::convert::{to_json, to_value};
use super::error::TemplateError;
use super::ghost::{Absence, Ghost, watch};
use super::lookups::{Builtin, Lookups};
use super::scope::{Scope, Var};
use super::{compile, emit, filters, functions, methods, operators, tests};
use crate::diag::{Diagnostic, Loc};
use crate::yaml::{Mapping, Node, Value as Yaml};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Object, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};
use serde_json::Value as Json;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// What `omit` stands for: an argument of this value counts as not given. No text of an operator's looks like it.
pub const OMIT: &str = "__fettle_omit_7c2f9f5e__";

/// Variables that refer to each other deeper than this go in a circle for all practical purposes.
const DEPTH_LIMIT: usize = 40;
/// Steps of one template: a bound against `range(10 ** 9)`, far above any real template.
const FUEL: u64 = 20_000_000;

/// Renders templates. Clones share everything.
#[derive(Clone)]
pub struct Engine {
    environment: Arc<Environment<'static>>,
    lookups: Arc<dyn Lookups>,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

thread_local! {
    /// Names of the variables being rendered, outermost first.
    static CHAIN: RefCell<Vec<String>> = const { RefCell::new(vec![]) };
}

impl Engine {
    /// An engine whose templates see nothing but their variables.
    pub fn new() -> Self {
        Self::with_lookups(Arc::new(Builtin))
    }

    /// An engine whose `lookup` asks `lookups`.
    pub fn with_lookups(lookups: Arc<dyn Lookups>) -> Self {
        Self { environment: Arc::new(environment(&lookups)), lookups }
    }

    /// Renders all text in `node`. A text that puts out exactly one value becomes that value with its type; `!unsafe`
    /// text stays as it is.
    pub fn render(&self, node: &Node, scope: &Scope) -> Result<Json, TemplateError> {
        if node.is_unsafe() {
            return Ok(node.to_json());
        }
        match &node.value {
            Yaml::Str(text) => self.render_str(text, &node.loc, scope),
            Yaml::Seq(items) => items.iter().map(|i| self.render(i, scope)).collect::<Result<Vec<_>, _>>().map(Json::Array),
            Yaml::Map(map) => self.render_map(map, scope),
            _ => Ok(node.to_json()),
        }
    }

    fn render_map(&self, map: &Mapping, scope: &Scope) -> Result<Json, TemplateError> {
        let mut rendered = serde_json::Map::new();
        for (key, value) in map.iter() {
            let name = match key.as_str() {
                Some(text) if is_template(text) => match self.render_str(text, &key.loc, scope)? {
                    Json::String(name) => name,
                    other => other.to_string(),
                },
                _ => key.key_text(),
            };
            rendered.insert(name, self.render(value, scope)?);
        }
        Ok(Json::Object(rendered))
    }

    fn render_str(&self, text: &str, loc: &Loc, scope: &Scope) -> Result<Json, TemplateError> {
        if !is_template(text) {
            return Ok(Json::String(text.to_owned()));
        }
        let text = prepare(text);
        if let Some(inner) = single_expression(&text)
            && let Ok(code) = compile::expression(inner)
        {
            return self.evaluate(loc, scope, |root| compile::value(&self.environment, &code, root));
        }
        self.evaluate(loc, scope, |root| {
            emit::native(text.ends_with('\n'), || compile::render(&self.environment, "", &text, syntax(), root))
        })
    }

    /// Whether a condition holds: a bare expression, a boolean, or text that is a template. As Ansible, a text that
    /// results is read as a boolean (`"yes"`, `"false"`) or evaluated once more; other values by Python's truth.
    pub fn condition(&self, node: &Node, scope: &Scope) -> Result<bool, TemplateError> {
        let value = match &node.value {
            Yaml::Str(text) if is_template(text) => self.render_str(text, &node.loc, scope)?,
            Yaml::Str(text) => self.expression(text, &node.loc, scope)?,
            Yaml::Seq(items) => {
                for item in items {
                    if !self.condition(item, scope)? {
                        return Ok(false);
                    }
                }
                return Ok(true);
            }
            _ => node.to_json(),
        };
        self.truth(value, &node.loc, scope)
    }

    fn truth(&self, value: Json, loc: &Loc, scope: &Scope) -> Result<bool, TemplateError> {
        match value {
            Json::Null => Ok(false),
            Json::Bool(b) => Ok(b),
            Json::Number(n) => Ok(n.as_f64() != Some(0.0)),
            Json::Array(items) => Ok(!items.is_empty()),
            Json::Object(map) => match map.get(super::UNKNOWN) {
                Some(why) => Err(TemplateError::Unknown(why.as_str().unwrap_or_default().to_owned())),
                None => Ok(!map.is_empty()),
            },
            Json::String(text) => match text.trim().to_ascii_lowercase().as_str() {
                "" | "no" | "false" | "off" | "0" | "none" => Ok(false),
                "yes" | "true" | "on" | "1" => Ok(true),
                _ => match self.expression(&text, loc, scope)? {
                    Json::String(_) => Ok(true),
                    other => self.truth(other, loc, scope),
                },
            },
        }
    }

    /// The value of a bare expression.
    pub fn expression(&self, text: &str, loc: &Loc, scope: &Scope) -> Result<Json, TemplateError> {
        let plain = unqualify(text.trim());
        let code = compile::expression(&plain)
            .map_err(|e| TemplateError::Failed(Diagnostic::error(loc, format!("`{text}` is not an expression: {}", words(&e)))))?;
        self.evaluate(loc, scope, |root| compile::value(&self.environment, &code, root))
    }

    /// Renders a whole template file as Ansible's template module: the line break after a block is dropped, the one at
    /// the end is kept, and a first line `#jinja2: trim_blocks:False, lstrip_blocks:True` is obeyed and dropped.
    pub fn text(&self, source: &str, name: &str, scope: &Scope) -> Result<String, TemplateError> {
        let loc = Loc::new(name, 1, 1);
        let (mut trim, mut lstrip, mut keep) = (true, false, true);
        let mut body = source;
        if let Some(rest) = source.strip_prefix("#jinja2:") {
            let (header, after) = rest.split_once('\n').unwrap_or((rest, ""));
            body = after;
            for pair in header.split(',').map(str::trim).filter(|p| !p.is_empty()) {
                let (key, value) = pair.split_once([':', '=']).unwrap_or((pair, ""));
                let on = match value.trim().to_ascii_lowercase().as_str() {
                    "true" | "yes" => true,
                    "false" | "no" => false,
                    other => {
                        return Err(TemplateError::Failed(Diagnostic::error(
                            &loc,
                            format!("`#jinja2: {}` must be true or false, not `{other}`", key.trim()),
                        )));
                    }
                };
                match key.trim() {
                    "trim_blocks" => trim = on,
                    "lstrip_blocks" => lstrip = on,
                    "keep_trailing_newline" => keep = on,
                    other => {
                        return Err(TemplateError::Failed(
                            Diagnostic::error(&loc, format!("`#jinja2: {other}` is not supported"))
                                .help("there are trim_blocks, lstrip_blocks and keep_trailing_newline"),
                        ));
                    }
                }
            }
        }
        let mut environment = environment(&self.lookups);
        let syntax = SyntaxConfig::builder().trim_blocks(trim).lstrip_blocks(lstrip).keep_trailing_newline(keep).build();
        let syntax = syntax.map_err(|e| TemplateError::Failed(Diagnostic::error(&loc, words(&e))))?;
        environment.set_syntax(syntax.clone());
        let body = unqualify(body);
        let (result, absence) = watch(|| compile::render(&environment, name, &body, syntax, root(self, scope)));
        match (result, absence) {
            (_, Some(Absence::Unknown(why))) => Err(TemplateError::Unknown(why)),
            (Err(e), absence) => {
                Err(failure(&e, absence, &Loc::new(name, e.line().and_then(|l| u32::try_from(l).ok()).unwrap_or(0), 0), scope))
            }
            (Ok(_), Some(absence)) => Err(undefined(&absence, &loc, scope)),
            (Ok(text), None) => Ok(text),
        }
    }

    /// The value of a variable, rendered.
    pub fn variable(&self, name: &str, scope: &Scope) -> Result<Json, TemplateError> {
        match scope.get(name) {
            Some(Var::Plain(value)) => Ok(Json::clone(value)),
            Some(Var::Template(node)) => {
                if CHAIN.with_borrow(|chain| chain.iter().any(|n| n == name) || chain.len() >= DEPTH_LIMIT) {
                    let chain = CHAIN.with_borrow(|c| c.join(" → "));
                    return Err(TemplateError::Failed(Diagnostic::error(
                        &node.loc,
                        format!("variables refer to each other in a circle: {chain} → {name}"),
                    )));
                }
                CHAIN.with_borrow_mut(|chain| chain.push(name.to_owned()));
                let result = self.render(node, scope);
                CHAIN.with_borrow_mut(|chain| chain.pop());
                result
            }
            None => Err(undefined(&Absence::Undefined(name.to_owned()), &Loc::outside(name), scope)),
        }
    }

    /// Evaluates, watching for ghosts.
    fn evaluate(&self, loc: &Loc, scope: &Scope, f: impl FnOnce(Value) -> Result<Value, Error>) -> Result<Json, TemplateError> {
        let (result, absence) = watch(|| f(root(self, scope)).and_then(|value| to_json(&value)));
        match (result, absence) {
            (_, Some(Absence::Unknown(why))) => Err(TemplateError::Unknown(why)),
            (Err(e), absence) => Err(failure(&e, absence, loc, scope)),
            (Ok(_), Some(absence)) => Err(undefined(&absence, loc, scope)),
            (Ok(value), None) => Ok(value),
        }
    }
}

/// The variables as the template engine sees them.
struct Root {
    engine: Engine,
    scope: Scope,
    cache: std::sync::Mutex<HashMap<String, Value>>,
}

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("variables")
    }
}

fn root(engine: &Engine, scope: &Scope) -> Value {
    Value::from_object(Root { engine: engine.clone(), scope: scope.clone(), cache: std::sync::Mutex::default() })
}

impl Object for Root {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let known = self.cache.lock().ok().and_then(|cache| cache.get(key).cloned());
        if let Some(value) = known {
            return Some(value);
        }
        match self.scope.get(key) {
            None if functions::NAMES.contains(&key) => None,
            None if key == "vars" => Some(Value::from_object(Vars(self.clone()))),
            None => Some(Ghost::value(Absence::Undefined(key.to_owned()))),
            Some(_) => match self.engine.variable(key, &self.scope) {
                Ok(json) => {
                    let value = to_value(&json);
                    // A ghost is handed out anew each time, so that each reading counts.
                    if Ghost::of(&value).is_none()
                        && let Ok(mut cache) = self.cache.lock()
                    {
                        cache.insert(key.to_owned(), value.clone());
                    }
                    Some(value)
                }
                Err(TemplateError::Unknown(why)) => Some(Ghost::value(Absence::Unknown(why))),
                Err(TemplateError::Undefined(d)) => {
                    // The value of this variable reads something undefined: that is what the operator must mend.
                    Some(Ghost::value(Absence::Undefined(format!("{key}` needs `{}", d.message.split('`').nth(1).unwrap_or(key)))))
                }
                Err(TemplateError::Failed(d)) => Some(Value::from(Error::new(ErrorKind::InvalidOperation, format!("{d}")))),
            },
        }
    }
}

/// All variables as the mapping `vars`.
#[derive(Debug)]
struct Vars(Arc<Root>);

impl Object for Vars {
    // `vars[name]` and `name in vars`.
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str().filter(|name| self.0.scope.get(name).is_some())?;
        self.0.get_value_by_str(name)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.0.get_value_by_str(key)
    }
}

fn undefined(absence: &Absence, loc: &Loc, scope: &Scope) -> TemplateError {
    match absence {
        Absence::Unknown(why) => TemplateError::Unknown(why.clone()),
        Absence::Undefined(name) => {
            let first = name.rsplit('`').next().unwrap_or(name).split('.').next().unwrap_or(name);
            let mut names: Vec<&str> = scope.names().collect();
            names.sort_unstable();
            TemplateError::Undefined(Diagnostic::error(loc, format!("`{name}` is undefined")).nearest(first, names))
        }
    }
}

fn failure(e: &Error, absence: Option<Absence>, loc: &Loc, scope: &Scope) -> TemplateError {
    match absence {
        Some(absence) => undefined(&absence, loc, scope),
        None if e.kind() == ErrorKind::UndefinedError => TemplateError::Undefined(Diagnostic::error(loc, words(e))),
        None => TemplateError::Failed(Diagnostic::error(loc, words(e))),
    }
}

/// An engine's error in one line.
pub(super) fn words(e: &Error) -> String {
    let mut text = match e.detail() {
        Some(detail) => detail.to_owned(),
        None => e.kind().to_string(),
    };
    let mut source = std::error::Error::source(e);
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    text
}

/// Whether a text has anything to render.
pub(super) fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// The expression, if the text is exactly one `{{ … }}`: nothing before, nothing behind, not even a line break.
pub(super) fn single_expression(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("{{")?.strip_suffix("}}")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    Some(inner.strip_suffix('-').unwrap_or(inner).trim())
}

/// Collections whose filters and tests are known here by their short names.
const COLLECTIONS: &[&str] = &["ansible.builtin.", "ansible.utils.", "ansible.netcommon.", "community.general."];

/// Takes collection names off filters and tests (`| ansible.builtin.combine`, `is ansible.builtin.match`).
pub(super) fn unqualify(text: &str) -> String {
    if !COLLECTIONS.iter().any(|c| text.contains(c)) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    'next: while !rest.is_empty() {
        for collection in COLLECTIONS {
            if let Some(after) = rest.strip_prefix(collection) {
                let before = out.trim_end();
                if before.ends_with('|') || before.ends_with(" is") || before.ends_with(" not") {
                    rest = after;
                    continue 'next;
                }
            }
        }
        let mut chars = rest.chars();
        if let Some(c) = chars.next() {
            out.push(c);
        }
        rest = chars.as_str();
    }
    out
}

/// A text of a playbook as it is compiled.
pub(super) fn prepare(text: &str) -> String {
    compile::literal_backslashes(&unqualify(text))
}

/// The usual delimiters; a line break at the end stays.
fn syntax() -> SyntaxConfig {
    // These delimiters are known to be fine.
    SyntaxConfig::builder().keep_trailing_newline(true).build().unwrap_or_default()
}

/// The engine's environment with everything Ansible adds.
pub(super) fn environment(lookups: &Arc<dyn Lookups>) -> Environment<'static> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_syntax(syntax());
    env.set_unknown_method_callback(methods::call);
    env.set_fuel(Some(FUEL));
    env.set_formatter(emit::format);
    filters::add(&mut env);
    operators::add(&mut env);
    tests::add(&mut env);
    functions::add(&mut env, lookups);
    env
}
