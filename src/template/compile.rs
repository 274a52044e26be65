//! Compiling and running a text, with Python's operators in the places of the template engine's own.

use super::operators::{ITEM, MODULO};
use minijinja::machinery::{CodeGenerator, CompiledTemplate, Instruction, Instructions, TemplateConfig, Token, eval, make_string_output};
use minijinja::machinery::{parse_expr, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error};
use std::collections::BTreeMap;
use std::sync::Arc;

/// No place in the engine's table of known filters: look the filter up by its name each time.
const BY_NAME: u8 = u8::MAX;

/// Puts Python's operators in the places of the engine's own.
fn python_operators(code: &mut Instructions<'_>) {
    let mut at = 0;
    while let Some(instruction) = code.get_mut(at) {
        let test = |name| Instruction::PerformTest(name, Some(2), BY_NAME);
        match instruction {
            Instruction::Gt => *instruction = test("gt"),
            Instruction::Gte => *instruction = test("ge"),
            Instruction::Lt => *instruction = test("lt"),
            Instruction::Lte => *instruction = test("le"),
            Instruction::Rem => *instruction = Instruction::ApplyFilter(MODULO, Some(2), BY_NAME),
            Instruction::GetItem => *instruction = Instruction::ApplyFilter(ITEM, Some(2), BY_NAME),
            _ => {}
        }
        at += 1;
    }
}

/// An expression, compiled.
pub fn expression(text: &str) -> Result<Instructions<'_>, Error> {
    let parsed = parse_expr(text)?;
    let mut generator = CodeGenerator::new("<expression>", text);
    generator.compile_expr(&parsed);
    let (mut code, _) = generator.finish();
    python_operators(&mut code);
    Ok(code)
}

/// The value of a compiled expression.
pub fn value(env: &Environment<'static>, code: &Instructions<'_>, root: Value) -> Result<Value, Error> {
    let mut nothing = String::new();
    let (value, _) = eval(env, code, root, &BTreeMap::new(), &mut make_string_output(&mut nothing), AutoEscape::None)?;
    Ok(value.unwrap_or_default())
}

/// A whole template, rendered.
pub fn render(env: &Environment<'static>, name: &str, text: &str, syntax: SyntaxConfig, root: Value) -> Result<String, Error> {
    let config = TemplateConfig { syntax_config: syntax, default_auto_escape: Arc::new(|_: &str| AutoEscape::None) };
    let mut compiled = CompiledTemplate::new(name, text, &config)?;
    python_operators(&mut compiled.instructions);
    let mut out = String::new();
    eval(env, &compiled.instructions, root, &compiled.blocks, &mut make_string_output(&mut out), AutoEscape::None)?;
    Ok(out)
}

/// The text with backslashes doubled in the literals inside `{{ }}`. As in Ansible, a backslash there is a backslash,
/// for YAML has its own; in `{% %}`, in bare expressions and in template files Jinja's escapes hold.
pub fn literal_backslashes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut done, mut inside) = (0, false);
    if text.contains('\\') {
        // What can't be read is left as it is, and told by whoever compiles it.
        for (token, span) in tokenize(text, false, SyntaxConfig::default()).map_while(Result::ok) {
            match token {
                Token::VariableStart => inside = true,
                Token::VariableEnd => inside = false,
                Token::Str(_) | Token::String(_) if inside => {
                    let (from, to) = (span.start_offset as usize, span.end_offset as usize);
                    if let (Some(before), Some(literal)) = (text.get(done..from), text.get(from..to)) {
                        out.push_str(before);
                        let mut escaped = false;
                        for c in literal.chars() {
                            match c {
                                '\\' => out.push_str("\\\\"),
                                // A quote behind a backslash does not end the literal.
                                '"' | '\'' if escaped => out.extend(['\\', c]),
                                _ => out.push(c),
                            }
                            escaped = c == '\\' && !escaped;
                        }
                        done = to;
                    }
                }
                _ => {}
            }
        }
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}
