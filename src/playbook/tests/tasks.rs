//! Tasks: inheritance, imports, includes, arguments, handlers.

use super::*;

#[test]
fn blocks_give_what_they_have_to_their_tasks() {
    let site = site(&[(
        "site.yml",
        r#"
- hosts: all
  become: yes
  environment: {A: play}
  ignore_errors: yes
  tags: p
  vars: {v: play}
  tasks:
    - when: outer
      tags: [a, b]
      become: no
      become_user: joe
      vars: {v: outer}
      environment: [{A: outer}]
      notify: topic
      block:
        - block:
            - name: one
              ping:
              when: [inner, most]
              tags: [b, c]
              become: yes
              vars: {v: task}
              environment: {A: task}
              ignore_errors: no
              notify: [more]
          vars: {w: inner}
    - name: two
      ping:
  handlers:
    - {name: more, ping: null, listen: topic}
"#,
    )]);
    let tasks = tasks(&site);
    let one = tasks[0];
    assert_eq!(texts(&one.when), ["outer", "inner", "most"]);
    assert_eq!(one.tags, ["p", "a", "b", "c"]);
    assert_eq!(one.privilege.enabled.as_ref().unwrap().to_json(), true);
    assert_eq!(one.privilege.user.as_ref().unwrap().as_str(), Some("joe"));
    use LayerKind::{Block, Task};
    assert_eq!(layers(one), [(Block, "v=outer".into()), (Block, "w=inner".into()), (Task, "v=task".into())]);
    assert_eq!(one.environment.iter().map(|e| e.to_json()["A"].clone()).collect::<Vec<_>>(), ["play", "outer", "task"]);
    assert_eq!(one.ignore_errors.as_ref().unwrap().to_json(), false);
    assert_eq!(texts(&one.notify), ["topic", "more"]);
    let two = tasks[1];
    assert_eq!(two.ignore_errors.as_ref().unwrap().to_json(), true);
    assert!(two.layers.is_empty() && two.when.is_empty());
    assert_eq!(site.plays[0].play.vars.get("v").unwrap().as_str(), Some("play"));
    assert_eq!(site.plays[0].play.handlers.len(), 1);
}

#[test]
fn rescue_and_always_keep_a_block() {
    let site = site(&[(
        "site.yml",
        "
- hosts: all
  tasks:
    - name: careful
      block: [{name: a, ping: }]
      rescue: [{name: b, ping: }]
      always: [{name: c, ping: }]
      when: x
",
    )]);
    let [Item::Block(block)] = site.plays[0].play.sections[1].as_slice() else { panic!("no block") };
    assert_eq!(block.name.as_deref(), Some("careful"));
    for (part, name) in [(&block.block, "a"), (&block.rescue, "b"), (&block.always, "c")] {
        let tasks = tasks_of(part);
        assert_eq!(names(&tasks), [name]);
        assert_eq!(texts(&tasks[0].when), ["x"]);
    }
}

#[test]
fn imports_inherit_and_includes_do_not() {
    let site = site(&[
        (
            "site.yml",
            "
- hosts: all
  tasks:
    - when: around
      block:
        - import_tasks: sub/a.yml
          when: imported
          tags: i
          vars: {x: 1}
        - include_tasks: {file: sub/a.yml, apply: {tags: applied, become: yes}}
          when: included
          tags: i
          vars: {x: 2}
",
        ),
        ("sub/a.yml", "- name: a\n  ping:\n- import_tasks: b.yml\n"),
        ("sub/b.yml", "- name: b\n  ping:\n  when: own\n"),
    ]);
    let all = tasks(&site);
    assert_eq!(names(&all), ["a", "b", ""]);
    assert_eq!(texts(&all[1].when), ["around", "imported", "own"]);
    assert_eq!((all[0].tags.clone(), layers(all[0])), (vec!["i".to_owned()], vec![(LayerKind::Block, "x=1".into())]));
    let include = all[2];
    assert_eq!((texts(&include.when), include.tags.clone()), (vec!["around".into(), "included".into()], vec!["i".to_owned()]));
    let (key, included) = &site.plays[0].play.includes[0];
    assert_eq!(*key, format!("{}:sub/a.yml", include.id));
    let inside = tasks_of(&included.items);
    assert_eq!(names(&inside), ["a", "b"]);
    assert_eq!((texts(&inside[0].when), inside[0].tags.clone()), (vec!["around".to_owned()], vec!["applied".to_owned()]));
    assert_eq!(layers(inside[0]), [(LayerKind::IncludeParams, "x=2".into())]);
    assert_eq!(inside[0].privilege.enabled.as_ref().unwrap().to_json(), true);
    // Asked again at run time, the answer is the same one.
    assert_eq!(site.include(include.id, "sub/a.yml").unwrap(), *included);
}

#[test]
fn templated_includes_are_answered_later() {
    let (site, _dir) = load_with(
        &[
            (
                "site.yml",
                "
- hosts: all
  tasks:
    - include_tasks: '{{ name }}.yml'
      vars: {x: 1}
    - include_role: {name: '{{ r }}', tasks_from: other}
",
            ),
            ("a.yml", "- {name: a, ping: , tags: t}\n- include_tasks: b.yml\n"),
            ("b.yml", "- {name: b, ping: }\n"),
            ("wrong.yml", "- {name: a, pnig: }\n"),
            ("roles/r/tasks/other.yml", "- {name: other, ping: }\n"),
            ("roles/r/handlers/main.yml", "- {name: h, ping: }\n"),
            ("roles/r/defaults/main.yml", "d: 1\n"),
        ],
        &LoadOptions { skip_tags: vec!["t".into()], ..LoadOptions::default() },
    )
    .unwrap();
    assert!(site.plays[0].open && site.plays[0].referenced().is_none());
    let all = tasks(&site);
    let first = site.include(all[0].id, "a.yml").unwrap();
    let inside = tasks_of(&first.items);
    // The tagged task is left out; the include inside is there and answers in its turn.
    assert_eq!(inside.len(), 1);
    assert!(matches!(&inside[0].action, Action::Include(i) if i.kind == IncludeKind::Tasks));
    assert_eq!(layers(inside[0]), [(LayerKind::IncludeParams, "x=1".into())]);
    assert_eq!(names(&tasks_of(&site.include(inside[0].id, "b.yml").unwrap().items)), ["b"]);
    assert_eq!(site.include(all[0].id, "a.yml").unwrap(), first);

    let role = site.include(all[1].id, "r").unwrap();
    assert_eq!(names(&tasks_of(&role.items)), ["other"]);
    assert_eq!(names(&tasks_of(&role.handlers)), ["h"]);
    assert!(!role.roles[0].public && role.roles[0].defaults.get("d").is_some());

    let wrong = site.include(all[0].id, "wrong.yml").unwrap_err().to_string();
    assert!(wrong.contains("unknown module `pnig`"), "{wrong}");
    assert!(site.include(all[0].id, "nowhere.yml").unwrap_err().to_string().contains("is not there"));
    assert!(site.include(9999, "a.yml").is_err());
}

#[test]
fn an_include_of_itself_is_left_to_the_host() {
    let (site, _dir) = load_with(
        &[("site.yml", "- hosts: all\n  tasks:\n    - include_tasks: a.yml\n"), ("a.yml", "- include_tasks: a.yml\n  when: more\n")],
        &LoadOptions::default(),
    )
    .unwrap();
    let outer = tasks(&site)[0].id;
    let inner = tasks_of(&site.include(outer, "a.yml").unwrap().items)[0].id;
    let again = site.include(inner, "a.yml").unwrap();
    assert_ne!(tasks_of(&again.items)[0].id, inner);
}

#[test]
fn arguments_in_every_form() {
    let site = site(&[(
        "site.yml",
        r#"
- hosts: all
  module_defaults:
    file: {mode: "0600", state: touch}
  tasks:
    - file: path=/a mode='0644'
    - ansible.builtin.file: {path: /b}
      module_defaults: {ansible.builtin.file: {state: directory}}
    - action: file path=/c
    - action: {module: file, path: /d}
      args: {mode: "0700", path: /e}
    - command: dd if=/dev/zero of="/tmp/a b" creates=/tmp/x
    - command: {argv: [a, b]}
    - shell: |
        echo a=b
        echo c
      args: {chdir: /tmp}
    - meta: flush_handlers
"#,
    )]);
    let args: Vec<serde_json::Value> = tasks(&site)
        .iter()
        .map(|t| match &t.action {
            Action::Module { args, .. } => args.to_json(),
            Action::Include(_) => panic!("no module"),
        })
        .collect();
    use serde_json::json;
    assert_eq!(args[0], json!({"path": "/a", "mode": "0644", "state": "touch"}));
    // Inner defaults of a module replace the outer ones, all of them.
    assert_eq!(args[1], json!({"path": "/b", "state": "directory"}));
    assert_eq!(args[2], json!({"path": "/c", "mode": "0600", "state": "touch"}));
    assert_eq!(args[3], json!({"path": "/d", "mode": "0700", "state": "touch"}));
    assert_eq!(args[4], json!({"creates": "/tmp/x", "_raw_params": "dd if=/dev/zero of=\"/tmp/a b\""}));
    assert_eq!(args[5], json!({"argv": ["a", "b"]}));
    assert_eq!(args[6], json!({"_raw_params": "echo a=b\necho c\n", "chdir": "/tmp"}));
    assert_eq!(args[7].as_object().unwrap().len(), 1);
}

#[test]
fn notifications_need_an_answer() {
    let play = |handlers: &str| format!("- hosts: all\n  tasks:\n    - {{ping: , notify: Reload}}\n  handlers:\n    - {handlers}\n");
    for fine in ["{name: Reload, ping: }", "{name: x, ping: , listen: [Reload]}", "{name: '{{ x }}', ping: }"] {
        site(&[("site.yml", &play(fine))]);
    }
    let wrong = errors(&[("site.yml", &play("{name: reload, ping: }"))]);
    assert_eq!(wrong, "site.yml:3:24: no handler answers to `Reload` (did you mean `reload`?)");
    // A role that only a host names may bring the handler.
    site(&[("site.yml", "- hosts: all\n  tasks:\n    - {ping: , notify: Reload}\n    - include_role: {name: '{{ r }}'}\n")]);
    // A role that is named brings it now.
    site(&[
        ("site.yml", "- hosts: all\n  tasks:\n    - {ping: , notify: 'r : Reload'}\n    - include_role: {name: r}\n"),
        ("roles/r/handlers/main.yml", "- {name: Reload, ping: }\n"),
    ]);
}

#[test]
fn handlers_may_include() {
    let site = site(&[
        (
            "site.yml",
            "
- hosts: all
  tasks: [{ping: , notify: [more, imported]}]
  handlers:
    - {name: more, include_tasks: h.yml}
    - import_tasks: i.yml
",
        ),
        ("h.yml", "- {name: inside, ping: }\n"),
        ("i.yml", "- {name: imported, ping: , tags: x}\n"),
    ]);
    let handlers = tasks_of(&site.plays[0].play.handlers);
    assert_eq!(names(&handlers), ["more", "imported"]);
    assert_eq!(site.plays[0].play.includes.len(), 1);
}

#[test]
fn what_hosts_name_lies_in_the_project() {
    let outside = folder(&[("secret.yml", "- {name: secret, ping: }\n"), ("role/tasks/main.yml", "- {name: secret, ping: }\n")]);
    let out = |name: &str| outside.path().join(name).display().to_string();
    let play = format!(
        "- hosts: all\n  tasks:\n    - include_tasks: '{{{{ x }}}}'\n    - include_role: {{name: '{{{{ x }}}}'}}\n    - include_tasks: {}\n      when: x\n",
        out("secret.yml")
    );
    let around = folder(&[
        ("p/playbooks/site.yml", &play),
        ("p/playbooks/.git/hidden.yml", "- {name: hidden, ping: }\n"),
        ("p/playbooks/roles/r/tasks/main.yml", "- {name: role, ping: }\n"),
        ("p/shared/x.yml", "- {name: shared, ping: }\n"),
        ("roles/.dot/mine/tasks/main.yml", "- {name: mine, ping: }\n"),
    ]);
    // Links are the operator's own.
    std::os::unix::fs::symlink(outside.path().join("role"), around.path().join("p/playbooks/roles/linked")).unwrap();
    let options =
        LoadOptions { roles_path: Some(vec![around.path().join("roles/.dot")]), modules: Some(modules::MODULES), ..LoadOptions::default() };
    let site = load(&[around.path().join("p/playbooks/site.yml")], &options).unwrap();
    let all = tasks(&site);
    let ask = |task: usize, name: &str| match site.include(all[task].id, name) {
        Ok(included) => names(&tasks_of(&included.items)).join(","),
        Err(e) => e.to_string(),
    };
    let absolute = around.path().join("p/shared/x.yml").display().to_string();
    assert_eq!((ask(0, "../shared/x.yml"), ask(0, &absolute)), ("shared".into(), "shared".into()));
    assert_eq!((ask(1, "r"), ask(1, "linked"), ask(1, "mine")), ("role".into(), "secret".into(), "mine".into()));
    assert_eq!(ask(2, &out("secret.yml")), "secret", "the playbook names it itself");
    let up = "../".repeat(20);
    for name in [out("secret.yml"), format!("{up}{}", out("secret.yml")), ".git/hidden.yml".into(), "roles/../.git/hidden.yml".into()] {
        assert!(ask(0, &name).contains("is outside the project"), "{name}: {}", ask(0, &name));
    }
    for name in [out("role"), format!("{up}{}", out("role"))] {
        assert!(ask(1, &name).contains("is outside the project"), "{name}: {}", ask(1, &name));
    }
}
