//! `template`: a file rendered from a template.

use super::attributes::{Wanted, describe, refuse, with_attributes};
use super::copy::{BACKUP, DEST, FOLLOW, FORCE, Options, VALIDATE, base_name, destination, place};
use super::draft::{Draft, fields};
use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError, checksum};
use serde_json::json;

/// The module's description.
pub const MODULE: Module = Module {
    name: "template",
    collections: super::BUILTIN,
    aliases: &[],
    doc: "Renders a Jinja template from the workstation with the task's variables, and puts the result in place as `copy` does.\n\
          Line breaks right behind a block are dropped; a first line such as `#jinja2: lstrip_blocks: True` changes how.",
    args: with_attributes![
        Arg::new("src", Kind::Str, "the template, looked for in `templates` beside the play or role first").required(),
        DEST,
        FORCE,
        BACKUP,
        VALIDATE,
        FOLLOW,
        Arg::new("newline_sequence", Kind::Choice(&["\n", "\r", "\r\n", "\\n", "\\r", "\\r\\n"]), "what ends lines").default("\\n"),
        Arg::new("output_encoding", Kind::Str, "only `utf-8` is supported").default("utf-8"),
        Arg::new("trim_blocks", Kind::Bool, "drop the line break after a block").default("yes"),
        Arg::new("lstrip_blocks", Kind::Bool, "drop blanks before a block that begins a line").default("no"),
        Arg::new("block_start_string", Kind::Str, "only the default is supported").default("{%"),
        Arg::new("block_end_string", Kind::Str, "only the default is supported").default("%}"),
        Arg::new("variable_start_string", Kind::Str, "only the default is supported").default("{{"),
        Arg::new("variable_end_string", Kind::Str, "only the default is supported").default("}}"),
        Arg::new("comment_start_string", Kind::Str, "only the default is supported").default("{#"),
        Arg::new("comment_end_string", Kind::Str, "only the default is supported").default("#}"),
    ],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    let markers = "only Jinja's usual markers are supported";
    if !args.str("output_encoding").is_some_and(|e| e.eq_ignore_ascii_case("utf8")) {
        refuse(args, &[("output_encoding", Some(json!("utf-8")), "text is written as UTF-8")])?;
    }
    refuse(
        args,
        &[
            ("block_start_string", Some(json!("{%")), markers),
            ("block_end_string", Some(json!("%}")), markers),
            ("variable_start_string", Some(json!("{{")), markers),
            ("variable_end_string", Some(json!("}}")), markers),
            ("comment_start_string", Some(json!("{#")), markers),
            ("comment_end_string", Some(json!("#}")), markers),
        ],
    )?;
    let src = args.required("src")?;
    let file = context.files.get(src, "templates")?;
    let source = String::from_utf8(file.content).map_err(|_| PlanError::failed(format!("{} is not UTF-8 text", file.path)))?;
    let mut text = (context.render)(&with_settings(args, source), &file.path)?;
    match args.str("newline_sequence") {
        Some("\r\n" | "\\r\\n") => text = text.replace("\r\n", "\n").replace('\n', "\r\n"),
        Some("\r" | "\\r") => text = text.replace("\r\n", "\n").replace('\n', "\r"),
        _ => {}
    }
    let options = Options::read(args, context)?;
    let mut draft = Draft::new(context);
    let dest = destination(&mut draft, args.required("dest")?, base_name(src)?, &Wanted::default(), context)?;
    let sum = checksum::sha1(text.as_bytes());
    place(&mut draft, &dest, text.into_bytes(), Some(file.mode), &options)?;
    let mut result = fields(json!({"dest": dest, "checksum": sum, "src": file.path}));
    describe(&draft.host, &dest, true, &mut result);
    Ok(draft.finish(result))
}

/// The template with what arguments say about blocks in its first line, where its own settings stand: those come later, and
/// win.
fn with_settings(args: &Args, source: String) -> String {
    let given = |name, default| args.bool(name).filter(|on| *on != default);
    let settings: Vec<String> = [("trim_blocks", given("trim_blocks", true)), ("lstrip_blocks", given("lstrip_blocks", false))]
        .into_iter()
        .filter_map(|(name, on)| on.map(|on| format!("{name}:{}", if on { "True" } else { "False" })))
        .collect();
    if settings.is_empty() {
        return source;
    }
    match source.strip_prefix("#jinja2:") {
        Some(own) => format!("#jinja2: {},{own}", settings.join(",")),
        None => format!("#jinja2: {}\n{source}", settings.join(",")),
    }
}
