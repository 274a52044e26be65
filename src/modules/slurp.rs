//! `slurp`: a file's content as base64.

use super::draft::just;
use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError, paths};
use crate::host::FileKind;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

/// The module's description.
pub const MODULE: Module = Module {
    name: "slurp",
    collections: super::BUILTIN,
    aliases: &[],
    doc: "Reads a file of the host: its content is under `content`, as base64 (`| b64decode` makes it text).",
    args: &[Arg::new("src", Kind::Path, "the file").required().alias(&["path"])],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

fn plan(args: &Args, context: &Context<'_>) -> Result<Plan, PlanError> {
    let path = paths::required(args, "src", context)?;
    match context.view.stat(&path, true)? {
        None => Err(PlanError::failed(format!("{} does not exist", path.display()))),
        Some(stat) if stat.kind == FileKind::Directory => Err(PlanError::failed(format!("{} is a directory, not a file", path.display()))),
        Some(_) => {
            let content = STANDARD.encode(context.view.read(&path)?);
            Ok(just(json!({"content": content, "encoding": "base64", "source": path})))
        }
    }
}
