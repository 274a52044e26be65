//! Roles: their parts, what they depend on, and running once.

use super::*;

#[test]
fn roles_bring_their_parts_and_run_once() {
    let site = site(&[
        (
            "site.yml",
            "
- hosts: all
  roles:
    - base
    - role: web
      size: 80
      vars: {v: given}
      tags: w
      when: webby
    - {role: web, size: 81}
    - base
  tasks:
    - {name: t, ping: }
  handlers:
    - {name: restart, ping: }
",
        ),
        ("roles/base/tasks/main.yml", "- {name: base, ping: }\n"),
        ("roles/base/vars/main.yml", "v: base\nb: 1\n"),
        ("roles/base/defaults/main.yml", "d: base\n"),
        ("roles/web/meta/main.yml", "dependencies: [base, {role: log, level: '3'}]\n"),
        ("roles/web/tasks/main.yaml", "- import_tasks: more.yml\n"),
        ("roles/web/tasks/more.yml", "- {name: web, ping: , notify: restart web}\n"),
        ("roles/web/handlers/main.yml", "- {name: restart web, ping: }\n"),
        ("roles/web/defaults/main/a.yml", "d: web\n"),
        ("roles/web/vars/main.yml", "w: web\n"),
        ("roles/log/tasks/main.yml", "- {name: log, ping: }\n"),
        ("roles/log/defaults/main.yml", "d: log\nl: log\n"),
    ]);
    let play = &site.plays[0].play;
    let all = tasks(&site);
    // `base` once; `web` twice, with different parameters; `log` again, as the first use of `web` may be skipped.
    assert_eq!(names(&all), ["base", "log", "web", "log", "web", "t"]);
    let (log, web) = (all[1], all[2]);
    assert_eq!(web.tags, ["w"]);
    assert_eq!(texts(&web.when), ["webby"]);
    assert_eq!(layers(web), [(LayerKind::Block, "v=given".into()), (LayerKind::RoleParams, "size=80".into())]);
    assert_eq!(
        layers(log),
        [(LayerKind::Block, "v=given".into()), (LayerKind::RoleParams, "size=80".into()), (LayerKind::RoleParams, "level=3".into())]
    );
    let role = |id: Option<u32>| play.roles.iter().find(|r| Some(r.id) == id).unwrap();
    let web_role = role(web.role);
    assert_eq!((web_role.name.as_str(), web_role.public), ("web", true));
    // The roles it depends on stand below it: `base`, `log`, then its own.
    assert_eq!(web_role.defaults.get("d").unwrap().as_str(), Some("web"));
    assert_eq!(web_role.defaults.get("l").unwrap().as_str(), Some("log"));
    assert_eq!(web_role.vars.get("b").unwrap().to_json(), 1);
    assert!(web_role.path.ends_with("/roles/web") && web_role.path.starts_with('/'));
    // A role that is depended on sees the variables of the one that depends on it, its own defaults above them.
    let log_role = role(log.role);
    assert!(!log_role.public);
    assert_eq!(log_role.defaults.get("d").unwrap().as_str(), Some("log"));
    assert_eq!(log_role.vars.get("w").unwrap().as_str(), Some("web"));
    assert!(log.search_path[0].ends_with("roles/log") && log.search_path[1].ends_with("roles/web"));
    assert_eq!(names(&tasks_of(&play.handlers)), ["restart web", "restart web", "restart"]);
    let ids: BTreeSet<u32> = all.iter().map(|t| t.id).chain(tasks_of(&play.handlers).iter().map(|t| t.id)).collect();
    assert_eq!(ids.len(), all.len() + play.handlers.len());
}

#[test]
fn a_roles_own_vars_stand_above_what_its_parent_was_given() {
    let site = site(&[
        ("site.yml", "- hosts: all\n  roles: [{role: a, vars: {p: 1, q: 1}}]\n"),
        ("roles/a/meta/main.yml", "dependencies: [b]\n"),
        ("roles/a/tasks/main.yml", "- {name: a, ping: }\n"),
        ("roles/b/vars/main.yml", "p: 2\n"),
        ("roles/b/tasks/main.yml", "- {name: b, ping: }\n"),
    ]);
    let all = tasks(&site);
    assert_eq!((names(&all), layers(all[0])), (vec!["b".into(), "a".into()], vec![(LayerKind::Block, "q=1".into())]));
    assert_eq!(layers(all[1]), [(LayerKind::Block, "p=1,q=1".into())]);
}

#[test]
fn a_role_counts_as_run_only_where_it_surely_ran() {
    let site = site(&[
        (
            "site.yml",
            "
- hosts: all
  pre_tasks:
    - import_role: {name: user}
  roles: [dep]
  tasks:
    - include_role: {name: other}
      when: maybe
    - import_role: {name: third}
",
        ),
        ("roles/user/meta/main.yml", "dependencies: [dep]\n"),
        ("roles/other/meta/main.yml", "dependencies: [dep, late]\n"),
        ("roles/third/meta/main.yml", "dependencies: [late]\n"),
        ("roles/dep/tasks/main.yml", "- {name: dep, ping: }\n"),
        ("roles/late/tasks/main.yml", "- {name: late, ping: }\n"),
    ]);
    let sections: Vec<Vec<String>> = site.plays[0].play.sections.iter().map(|s| names(&tasks_of(s))).collect();
    assert_eq!(sections, [vec!["dep".to_owned()], vec![String::new(), "late".into()], vec![]]);
    assert_eq!(names(&tasks_of(&site.plays[0].play.includes[0].1.items)), ["late"]);
}

#[test]
fn import_role_takes_its_place_and_its_handlers_follow() {
    let site = site(&[
        (
            "site.yml",
            "
- hosts: all
  tasks:
    - {name: before, ping: }
    - import_role: {name: r, tasks_from: extra, defaults_from: other}
      vars: {x: 1}
      tags: t
    - import_role: name=r tasks_from=extra
    - {name: after, ping: , notify: 'r : h'}
  handlers:
    - {name: mine, ping: }
",
        ),
        ("roles/r/tasks/extra.yml", "- {name: extra, ping: }\n"),
        ("roles/r/defaults/other.yml", "d: other\n"),
        ("roles/r/handlers/main.yml", "- {name: h, ping: }\n"),
    ]);
    let all = tasks(&site);
    // Unlike under `roles:`, an import runs each time.
    assert_eq!(names(&all), ["before", "extra", "extra", "after"]);
    assert_eq!((layers(all[1]), all[1].tags.clone()), (vec![(LayerKind::Block, "x=1".into())], vec!["t".to_owned()]));
    assert!(site.plays[0].play.roles[0].public);
    assert_eq!(names(&tasks_of(&site.plays[0].play.handlers)), ["mine", "h", "h"]);
}
