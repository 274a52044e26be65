//! The check before a run: syntax, and every filter, test, function and lookup by name.

use super::engine::{environment, is_template, prepare, single_expression, unqualify, words};
use super::filters::REFUSED;
use super::lookups::{Builtin, KNOWN, Lookups};
use super::tests::REFUSED as REFUSED_TESTS;
use crate::diag::{Diagnostic, Loc};
use crate::yaml::{Node, Value as Yaml};
use minijinja::machinery::{ast, parse, parse_expr};
use minijinja::{Environment, ErrorKind, Value};
use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let lookups: Arc<dyn Lookups> = Arc::new(Builtin);
    environment(&lookups)
});

/// Everything wrong in the texts of `node` that can be told without running them. `bare`: texts are expressions
/// without braces (`when`).
pub fn check(node: &Node, bare: bool) -> Vec<Diagnostic> {
    let mut found = vec![];
    walk(node, &mut |text, loc| {
        if bare && !is_template(text) {
            expression(text, loc, &mut found);
        } else if is_template(text) {
            let text = prepare(text);
            match single_expression(&text) {
                Some(inner) if parse_expr(inner).is_ok() => expression(inner, loc, &mut found),
                _ => template(&text, loc, &mut found),
            }
        }
    });
    found
}

/// Names of the variables the texts of `node` read.
pub fn referenced(node: &Node) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    walk(node, &mut |text, _| {
        let text = unqualify(text);
        if is_template(&text) {
            if let Ok(template) = ENVIRONMENT.template_from_str(&text) {
                names.extend(template.undeclared_variables(false));
            }
        }
        // A text without braces may be a condition; taking its words as names costs little.
        else if let Ok(expression) = ENVIRONMENT.compile_expression(&text) {
            names.extend(expression.undeclared_variables(false));
        }
    });
    names
}

fn walk(node: &Node, f: &mut dyn FnMut(&str, &Loc)) {
    if node.is_unsafe() {
        return;
    }
    match &node.value {
        Yaml::Str(text) => f(text, &node.loc),
        Yaml::Seq(items) => items.iter().for_each(|i| walk(i, f)),
        Yaml::Map(map) => {
            for (key, value) in map.iter() {
                walk(key, f);
                walk(value, f);
            }
        }
        _ => {}
    }
}

fn expression(text: &str, loc: &Loc, found: &mut Vec<Diagnostic>) {
    let text = unqualify(text.trim());
    match parse_expr(&text) {
        Ok(expr) => Names { loc, found }.expr(&expr),
        Err(e) => found.push(Diagnostic::error(loc, format!("`{text}` is not an expression: {}", words(&e)))),
    }
}

fn template(text: &str, loc: &Loc, found: &mut Vec<Diagnostic>) {
    match parse(text, "", Default::default()) {
        Ok(ast::Stmt::Template(root)) => Names { loc, found }.stmts(&root.children),
        Ok(_) => {}
        Err(e) => {
            let mut said = Diagnostic::error(loc, format!("the template can't be read: {}", words(&e)));
            if ["include", "import", "extends"].iter().any(|word| said.message.contains(word)) {
                said = said.help("a template can't include, import or extend another one: put the text into this one, or into a variable");
            }
            found.push(said);
        }
    }
}

/// Whether a filter (or test) of this name exists: calling it with nothing fails otherwise than "unknown".
fn known(kind: ErrorKind, name: &str) -> bool {
    let mut state = ENVIRONMENT.empty_state();
    let result = match kind {
        ErrorKind::UnknownFilter => state.apply_filter(name, &[Value::UNDEFINED]).map(|_| ()),
        _ => state.perform_test(name, &[Value::UNDEFINED]).map(|_| ()),
    };
    !matches!(result, Err(e) if e.kind() == kind)
}

struct Names<'a> {
    loc: &'a Loc,
    found: &'a mut Vec<Diagnostic>,
}

impl Names<'_> {
    fn say(&mut self, message: String, given: &str, names: &[&str]) {
        self.found.push(Diagnostic::error(self.loc, message).nearest(given, names.iter().copied()));
    }

    fn filter(&mut self, name: &str) {
        if let Some((_, reason)) = REFUSED.iter().find(|(n, _)| *n == name) {
            self.found.push(Diagnostic::error(self.loc, format!("the filter `{name}` is not supported")).help(*reason));
        } else if !known(ErrorKind::UnknownFilter, name) {
            self.say(format!("there is no filter `{name}`"), name, FILTERS);
        }
    }

    fn test(&mut self, name: &str) {
        if REFUSED_TESTS.contains(&name) {
            let d =
                Diagnostic::error(self.loc, format!("the test `{name}` looks at the workstation's files, and templates run on the host"));
            self.found.push(d.help("look at the host with the stat module instead"));
        } else if !known(ErrorKind::UnknownTest, name) {
            self.say(format!("there is no test `{name}`"), name, TESTS);
        }
    }

    fn call(&mut self, call: &ast::Call<'_>) {
        if let ast::Expr::Var(var) = &call.expr
            && matches!(var.id, "lookup" | "query" | "q")
            && let Some(ast::CallArg::Pos(ast::Expr::Const(name))) = call.args.first()
            && let Some(name) = name.value.as_str()
        {
            let short = name.strip_prefix("ansible.builtin.").unwrap_or(name);
            if !KNOWN.contains(&short) {
                let why = match short {
                    "env" | "file" | "fileglob" | "pipe" | "template" | "password" | "lines" | "ini" | "csvfile" | "url" => {
                        "templates are rendered on the host, which has neither the workstation's files nor its environment: give the value with -e or vars_files".to_owned()
                    }
                    _ => format!("there are the lookups {}", KNOWN.join(", ")),
                };
                self.found.push(
                    Diagnostic::error(self.loc, format!("the lookup `{name}` is not supported"))
                        .nearest(short, KNOWN.iter().copied())
                        .help(why),
                );
            }
        }
        self.expr(&call.expr);
        self.args(&call.args);
    }

    fn args(&mut self, args: &[ast::CallArg<'_>]) {
        for arg in args {
            match arg {
                ast::CallArg::Pos(e) | ast::CallArg::Kwarg(_, e) | ast::CallArg::PosSplat(e) | ast::CallArg::KwargSplat(e) => self.expr(e),
            }
        }
    }

    fn expr(&mut self, expr: &ast::Expr<'_>) {
        use ast::Expr;
        match expr {
            Expr::Var(_) | Expr::Const(_) => {}
            Expr::Slice(s) => {
                self.expr(&s.expr);
                for part in [&s.start, &s.stop, &s.step].into_iter().flatten() {
                    self.expr(part);
                }
            }
            Expr::UnaryOp(u) => self.expr(&u.expr),
            Expr::BinOp(b) => {
                self.expr(&b.left);
                self.expr(&b.right);
            }
            Expr::Compare(c) => {
                self.expr(&c.expr);
                for op in &c.ops {
                    self.expr(&op.expr);
                }
            }
            Expr::IfExpr(i) => {
                self.expr(&i.test_expr);
                self.expr(&i.true_expr);
                if let Some(e) = &i.false_expr {
                    self.expr(e);
                }
            }
            Expr::Filter(f) => {
                self.filter(f.name);
                if let Some(e) = &f.expr {
                    self.expr(e);
                }
                self.named(f.name, &f.args);
                self.args(&f.args);
            }
            Expr::Test(t) => {
                self.test(t.name);
                self.expr(&t.expr);
                self.args(&t.args);
            }
            Expr::GetAttr(g) => self.expr(&g.expr),
            Expr::GetItem(g) => {
                self.expr(&g.expr);
                self.expr(&g.subscript_expr);
            }
            Expr::Call(c) => self.call(c),
            Expr::List(l) => l.items.iter().for_each(|e| self.expr(e)),
            Expr::Tuple(l) => l.items.iter().for_each(|e| self.expr(e)),
            Expr::Map(m) => m.keys.iter().chain(&m.values).for_each(|e| self.expr(e)),
        }
    }

    /// Filters and tests named in arguments: `map('lower')`, `select('match', …)`, `selectattr('a', 'search', …)`.
    fn named(&mut self, filter: &str, args: &[ast::CallArg<'_>]) {
        let text = |i: usize| match args.get(i) {
            Some(ast::CallArg::Pos(ast::Expr::Const(c))) => c.value.as_str().map(str::to_owned),
            _ => None,
        };
        match filter {
            "map" => {
                if let Some(name) = text(0) {
                    self.filter(name.rsplit('.').next().unwrap_or(&name));
                }
            }
            "select" | "reject" => {
                if let Some(name) = text(0) {
                    self.test(name.rsplit('.').next().unwrap_or(&name));
                }
            }
            "selectattr" | "rejectattr" => {
                if let Some(name) = text(1) {
                    self.test(name.rsplit('.').next().unwrap_or(&name));
                }
            }
            _ => {}
        }
    }

    fn stmts(&mut self, all: &[ast::Stmt<'_>]) {
        use ast::Stmt;
        for stmt in all {
            match stmt {
                Stmt::EmitExpr(e) => self.expr(&e.expr),
                Stmt::ForLoop(f) => {
                    self.expr(&f.iter);
                    if let Some(e) = &f.filter_expr {
                        self.expr(e);
                    }
                    self.stmts(&f.body);
                    self.stmts(&f.else_body);
                }
                Stmt::IfCond(i) => {
                    self.expr(&i.expr);
                    self.stmts(&i.true_body);
                    self.stmts(&i.false_body);
                }
                Stmt::WithBlock(w) => {
                    w.assignments.iter().for_each(|(_, e)| self.expr(e));
                    self.stmts(&w.body);
                }
                Stmt::Set(s) => self.expr(&s.expr),
                Stmt::SetBlock(s) => {
                    if let Some(e) = &s.filter {
                        self.expr(e);
                    }
                    self.stmts(&s.body);
                }
                Stmt::FilterBlock(f) => {
                    self.expr(&f.filter);
                    self.stmts(&f.body);
                }
                Stmt::Macro(m) => self.stmts(&m.body),
                Stmt::Do(d) => self.call(&d.call),
                _ => {}
            }
        }
    }
}

/// Filters by name, for "did you mean".
const FILTERS: &[&str] = &[
    "abs",
    "attr",
    "b64decode",
    "b64encode",
    "basename",
    "batch",
    "bool",
    "capitalize",
    "checksum",
    "combine",
    "comment",
    "d",
    "default",
    "dict2items",
    "dictsort",
    "difference",
    "dirname",
    "extract",
    "first",
    "flatten",
    "float",
    "format",
    "from_json",
    "from_yaml",
    "groupby",
    "hash",
    "human_readable",
    "human_to_bytes",
    "indent",
    "int",
    "intersect",
    "ipaddr",
    "ipv4",
    "ipv6",
    "items",
    "items2dict",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "mandatory",
    "map",
    "max",
    "min",
    "path_join",
    "product",
    "quote",
    "regex_escape",
    "regex_findall",
    "regex_replace",
    "regex_search",
    "reject",
    "rejectattr",
    "relpath",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "sha1",
    "sort",
    "split",
    "splitext",
    "strftime",
    "string",
    "subelements",
    "sum",
    "symmetric_difference",
    "ternary",
    "title",
    "to_json",
    "to_nice_json",
    "to_nice_yaml",
    "to_uuid",
    "to_yaml",
    "trim",
    "truncate",
    "type_debug",
    "union",
    "unique",
    "upper",
    "urlencode",
    "zip",
    "zip_longest",
];

/// Tests by name, for "did you mean".
const TESTS: &[&str] = &[
    "all",
    "any",
    "boolean",
    "changed",
    "contains",
    "defined",
    "divisibleby",
    "eq",
    "equalto",
    "even",
    "failed",
    "falsy",
    "false",
    "float",
    "ge",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lower",
    "lt",
    "mapping",
    "match",
    "ne",
    "none",
    "number",
    "odd",
    "regex",
    "sameas",
    "search",
    "sequence",
    "skipped",
    "startingwith",
    "string",
    "subset",
    "succeeded",
    "success",
    "superset",
    "true",
    "truthy",
    "undefined",
    "upper",
    "version",
    "version_compare",
];
