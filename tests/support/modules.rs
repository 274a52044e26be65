//! A handful of modules as Ansible describes them, so that what the tests expect does not change with each
//! argument fettle's own modules learn. Whoever takes this in calls fettle's room of modules `spec`.

use super::spec::{Arg, FreeForm, Kind, Module, Plan};

/// A module that plans nothing.
const fn m(name: &'static str, args: &'static [Arg], free_form: FreeForm, any_args: bool) -> Module {
    Module {
        name,
        collections: &["ansible.builtin", "ansible.legacy"],
        aliases: &[],
        doc: "",
        args,
        free_form,
        any_args,
        plan: |_, _| Ok(Plan::default()),
    }
}
const PING: Module = m("ping", &[Arg::new("data", Kind::Str, "")], FreeForm::No, false);
const DEBUG: Module = m(
    "debug",
    &[Arg::new("msg", Kind::Any, ""), Arg::new("var", Kind::Any, ""), Arg::new("verbosity", Kind::Int, "")],
    FreeForm::No,
    false,
);
const COMMAND: Module = m(
    "command",
    &[
        Arg::new("cmd", Kind::Str, ""),
        Arg::new("argv", Kind::List, ""),
        Arg::new("chdir", Kind::Path, ""),
        Arg::new("creates", Kind::Path, ""),
    ],
    FreeForm::Raw,
    false,
);
const SHELL: Module = m(
    "shell",
    &[Arg::new("cmd", Kind::Str, ""), Arg::new("chdir", Kind::Path, ""), Arg::new("creates", Kind::Path, "")],
    FreeForm::Raw,
    false,
);
const FILE: Module = m(
    "file",
    &[
        Arg::new("path", Kind::Path, "").required().alias(&["dest", "name"]),
        Arg::new("mode", Kind::Mode, ""),
        Arg::new("state", Kind::Choice(&["absent", "directory", "file", "hard", "link", "touch"]), ""),
    ],
    FreeForm::No,
    false,
);
const COPY: Module = m(
    "copy",
    &[
        Arg::new("src", Kind::Path, ""),
        Arg::new("content", Kind::Any, ""),
        Arg::new("dest", Kind::Path, "").required(),
        Arg::new("backup", Kind::Bool, ""),
        Arg::new("mode", Kind::Mode, ""),
        Arg::new("remote_src", Kind::Bool, ""),
    ],
    FreeForm::No,
    false,
);
const TEMPLATE: Module =
    m("template", &[Arg::new("src", Kind::Path, "").required(), Arg::new("dest", Kind::Path, "").required()], FreeForm::No, false);
const LINEINFILE: Module = m(
    "lineinfile",
    &[Arg::new("path", Kind::Path, "").required().alias(&["dest", "name"]), Arg::new("line", Kind::Str, "")],
    FreeForm::No,
    false,
);
const SET_FACT: Module = m("set_fact", &[], FreeForm::No, true);
const ASSERT: Module = m("assert", &[Arg::new("that", Kind::List, "").required()], FreeForm::No, false);
const META: Module =
    m("meta", &[Arg::new("action", Kind::Choice(&["flush_handlers", "noop"]), "").required()], FreeForm::Into("action"), false);
const INCLUDE_VARS: Module =
    m("include_vars", &[Arg::new("file", Kind::Path, ""), Arg::new("name", Kind::Str, "")], FreeForm::Into("file"), false);

/// All of them.
pub const MODULES: &[&Module] =
    &[&PING, &DEBUG, &COMMAND, &SHELL, &FILE, &COPY, &TEMPLATE, &LINEINFILE, &SET_FACT, &ASSERT, &META, &INCLUDE_VARS];
