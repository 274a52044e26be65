//! Every name a task notifies must be answered by a handler.

use super::loader::Draft;
use super::read::{is_template, listing};
use crate::diag::{Diagnostic, Diagnostics};
use crate::play::{Item, Play, Task};
use std::collections::BTreeSet;

/// Reports names that no handler of the play answers to.
pub(crate) fn check(play: &Play, draft: &Draft, out: &mut Diagnostics) {
    // Handlers may still come with an include whose name only a host knows; and what is wrong with a handler
    // has been said.
    if draft.open || draft.handler_wrong {
        return;
    }
    let role_name = |id: u32| {
        let included = play.includes.iter().flat_map(|(_, i)| &i.roles);
        play.roles.iter().chain(included).find(|r| r.id == id).map(|r| r.name.as_str())
    };
    let mut names: BTreeSet<String> = BTreeSet::new();
    let mut rendered = false;
    let included = play.includes.iter().flat_map(|(_, i)| &i.handlers);
    // What an include inside a handler brings can be notified too.
    let inside = play.includes.iter().flat_map(|(_, i)| &i.items);
    let mut see = |task: &Task| {
        names.extend(task.listen.iter().cloned());
        if let Some(name) = &task.name {
            rendered |= is_template(name);
            let name = name.key_text();
            if let Some(role) = task.role.and_then(role_name) {
                names.insert(format!("{role} : {name}"));
            }
            names.insert(name);
        }
    };
    play.handlers.iter().chain(included).for_each(|item| each(item, &mut see));
    if play.handlers.iter().any(|i| matches!(i, Item::Task(t) if matches!(t.action, crate::play::Action::Include(_)))) {
        inside.for_each(|item| each(item, &mut see));
    }
    if rendered {
        return;
    }
    for node in &draft.notified {
        let name = node.key_text();
        if names.contains(&name) {
            continue;
        }
        let mut d =
            Diagnostic::error(&node.loc, format!("no handler answers to `{name}`")).nearest(&name, names.iter().map(String::as_str));
        if names.is_empty() {
            d = d.help("the play has no handlers");
        } else {
            // A handler of a role answers to two names; one is enough here.
            let short: Vec<&str> = names.iter().map(String::as_str).filter(|n| !n.contains(" : ")).collect();
            d = listing(d, "handlers", &short);
        }
        out.push(d);
    }
}

/// Every task in `item`, in order.
pub(crate) fn each<'a>(item: &'a Item, see: &mut dyn FnMut(&'a Task)) {
    match item {
        Item::Task(task) => see(task),
        Item::Block(block) => block.block.iter().chain(&block.rescue).chain(&block.always).for_each(|i| each(i, see)),
    }
}
