//! Plays: variables, tags, names, lists, what is reached.

use super::*;

#[test]
fn tags_select() {
    let files = [(
        "site.yml",
        "
- hosts: all
  tags: play
  pre_tasks:
    - {name: a, ping: , tags: always}
  tasks:
    - {name: b, ping: , tags: [x, y]}
    - {name: c, ping: }
    - {name: d, ping: , tags: [never, z]}
    - tags: x
      block: [{name: e, ping: }]
      always: []
  handlers:
    - {name: h, ping: }
- hosts: all
  tasks: [{name: f, ping: }]
",
    )];
    let picked = |only: &str, skip: &str| {
        let options = LoadOptions { tags: vec![only.into()], skip_tags: vec![skip.into()], ..LoadOptions::default() };
        let (site, _dir) = load_with(&files, &options).unwrap();
        assert_eq!(site.plays[0].play.handlers.len(), 1);
        let gather: Vec<bool> = site.plays.iter().map(|p| p.play.gather.is_some()).collect();
        (names(&tasks(&site)).concat(), gather)
    };
    assert_eq!(picked("", ""), ("abce".into(), vec![true, true]));
    // The second play has no tags of its own, so its facts are always gathered.
    assert_eq!(picked("x", ""), ("abe".into(), vec![false, true]));
    assert_eq!(picked("z", ""), ("ad".into(), vec![false, true]));
    assert_eq!(picked("play", "x"), ("acd".into(), vec![true, true]));
    assert_eq!(picked("untagged", ""), ("a".into(), vec![false, true]));
}

#[test]
fn variables_of_a_play_in_order() {
    let (mut site, _dir) = load_with(
        &[
            (
                "site.yml",
                "
- import_playbook: sub/play.yml
  vars: {a: imported, n: second}
  tags: it
  when: only
",
            ),
            (
                "sub/play.yml",
                "
- hosts: all
  vars: {a: play, b: play}
  vars_prompt: [{name: c, private: no}]
  vars_files: [first.yml, [none.yml, second.yml]]
  tasks: [{name: t, ping: , when: own}]
  handlers: [{name: h, ping: }]
",
            ),
            ("sub/first.yml", "b: file\nc: file\n"),
            ("sub/vars/second.yml", "e: 1\n"),
        ],
        &LoadOptions::default(),
    )
    .unwrap();
    let play = &mut site.plays[0];
    play.answer("c", "typed {{ x }}");
    play.answer("d", "typed");
    let value = |name: &str| play.play.vars.get(name).unwrap().key_text();
    assert_eq!(
        (value("a"), value("b"), value("c"), value("d"), value("e")),
        ("imported".into(), "file".into(), "file".into(), "typed".into(), "1".into())
    );
    assert!(play.play.vars.0.iter().any(|(n, v)| n == "c" && v.is_unsafe()));
    assert_eq!(play.tags, ["it"]);
    assert!(play.dir.ends_with("sub"));
    let all = tasks(&site);
    assert_eq!(texts(&all[0].when), ["only", "own"]);
    assert!(tasks_of(&site.plays[0].play.handlers)[0].when.is_empty());
}

#[test]
fn names_of_files_may_be_templates_of_what_is_known() {
    let (site, dir) = load_with(
        &[
            (
                "site.yml",
                "
- hosts: '{{ who }}'
  vars: {kind: web, file: '{{ kind }}.yml'}
  vars_files: ['{{ playbook_dir }}/sub/{{ file }}']
  tasks:
    - import_tasks: '{{ from_file }}.yml'
    - import_role: {name: '{{ r }}'}
      vars: {r: '{{ kind }}'}
",
            ),
            ("sub/web.yml", "from_file: more\n"),
            ("more.yml", "- {name: more, ping: }\n"),
            ("roles/web/tasks/main.yml", "- {name: web, ping: }\n"),
        ],
        &LoadOptions { extra: extra_vars(&["who=all".into()]).unwrap(), ..LoadOptions::default() },
    )
    .unwrap();
    assert_eq!(names(&tasks(&site)), ["more", "web"]);
    let extra = extra_vars(&["who=db".into()]).unwrap();
    assert_eq!(site.plays[0].pattern(&extra).unwrap(), "db");
    assert!(site.plays[0].pattern(&Vars::default()).unwrap_err().to_string().contains("who"));
    drop(dir);
}

#[test]
fn what_a_play_reaches() {
    let (site, dir) = load_with(
        &[
            (
                "site.yml",
                r#"
- hosts: all
  tasks:
    - copy: {src: a.conf, dest: /a}
    - copy: {src: a.conf, dest: /a, remote_src: yes}
    - template: {src: t.j2, dest: "{{ target }}"}
      when: enabled and not other
    - copy: {src: "{{ x }}", dest: /a}
    - copy: {src: missing, dest: /b}
- hosts: all
  tasks:
    - debug: {msg: "{{ hostvars['a'].b }}"}
- hosts: all
  vars: {p: "{{ q }}"}
  tasks:
    - debug: {msg: "{{ vars['x'] }}"}
      become: "{{ maybe }}"
- hosts: all
  become: no
  tasks:
    - assert: {that: [one == 1]}
    - debug: {var: two}
"#,
            ),
            ("files/a.conf", ""),
            ("templates/t.j2", "{{ deep }} and {% for x in list %}{% endfor %}"),
        ],
        &LoadOptions::default(),
    )
    .unwrap();
    let [first, second, third, fourth] = site.plays.as_slice() else { panic!("four plays") };
    let ids: Vec<u32> = tasks(&site).iter().map(|t| t.id).collect();
    assert_eq!(
        first.files,
        [
            StaticFile { key: format!("{}:files:a.conf", ids[0]), path: dir.path().join("files/a.conf") },
            StaticFile { key: format!("{}:templates:t.j2", ids[2]), path: dir.path().join("templates/t.j2") },
        ]
    );
    let names = first.referenced().unwrap();
    for name in ["target", "enabled", "other", "deep", "list", "x"] {
        assert!(names.contains(name), "{name}");
    }
    assert!(!names.contains("missing") && !first.uses_hostvars);
    assert!(site.warnings.to_string().contains("`missing` is not there"));
    assert!(second.uses_hostvars && second.referenced().is_none());
    assert!(third.referenced().is_none());
    let names = fourth.referenced().unwrap();
    assert!(names.contains("one") && names.contains("two"));
    assert_eq!(first.privilege(false, None), Privilege::Connection);
    assert_eq!(first.privilege(true, None), Privilege::Root);
    assert_eq!(third.privilege(false, None), Privilege::Root);
    assert_eq!(fourth.privilege(true, None), Privilege::Connection);
}

#[test]
fn the_command_lines_become_is_a_default() {
    let text = "- hosts: all\n  tasks:\n    - ping:\n    - {ping: , become: no, become_user: joe}\n";
    let options = LoadOptions { become_all: true, become_user: Some("ann".into()), ..LoadOptions::default() };
    let (site, _dir) = load_with(&[("site.yml", text)], &options).unwrap();
    let seen = |t: &Task| (t.privilege.enabled.as_ref().unwrap().to_json(), t.privilege.user.as_ref().unwrap().key_text());
    let seen: Vec<_> = tasks(&site).into_iter().map(seen).collect();
    assert_eq!(seen, [(true.into(), "ann".to_owned()), (false.into(), "joe".to_owned())]);
    assert_eq!(site.plays[0].privilege(false, None), Privilege::Root);
}

#[test]
fn lists_look_like_ansibles() {
    let files = [
        (
            "site.yml",
            "
- hosts: [a, b]
  name: First
  tags: [p]
  roles: [{role: r, tags: q}]
  tasks:
    - {name: one, ping: }
    - ansible.builtin.ping:
    - name: careful
      block: [{name: two, ping: , tags: z}]
      rescue: [{name: three, ping: }]
- hosts: all
  tasks: [{name: f, ping: }]
",
        ),
        ("roles/r/tasks/main.yml", "- {name: in role, ping: }\n"),
    ];
    let (site, dir) = load_with(&files, &LoadOptions::default()).unwrap();
    let hosts = |play: usize| if play == 0 { vec!["a".to_owned()] } else { vec![] };
    let text = site.list_text(true, true, Some(&hosts)).replace(&dir.path().display().to_string(), "");
    let expected = "
playbook: /site.yml

  play #1 (a,b): First\tTAGS: [p]
    pattern: a,b
    hosts (1):
      a
    tasks:
      r : in role\tTAGS: [p, q]
      one\tTAGS: [p]
      ansible.builtin.ping\tTAGS: [p]
      two\tTAGS: [p, z]
      TASK TAGS: [p, q, z]

  play #2 (all): all\tTAGS: []
    pattern: all
    hosts (0):
    tasks:
      f\tTAGS: []
      TASK TAGS: []
";
    assert_eq!(text, expected);
}

#[test]
fn everything_wrong_is_said_once_and_in_order() {
    let wrong = errors(&[
        (
            "site.yml",
            "- hosts: all\n  tasks:\n    - import_tasks: a.yml\n    - import_tasks: a.yml\n    - pnig:\n  gather_facts: sometimes\n",
        ),
        ("a.yml", "- debug: msgs=x\n"),
    ]);
    let lines: Vec<&str> = wrong.lines().map(|l| l.split(": ").next().unwrap()).collect();
    assert_eq!(lines, ["site.yml:5:7", "site.yml:6:17", "a.yml:1:10"]);
}

#[test]
fn variables_of_one_task_lead_nowhere_else() {
    let play = |task: &str| format!("- hosts: all\n  vars: {{ansible_port: 1}}\n  tasks:\n    - {task}\n");
    let told = |task: &str| errors(&[("site.yml", &play(task)), ("r/tasks/main.yml", "- ping:\n"), ("a.yml", "- ping:\n")]);
    let wanted = "`ansible_user` is not supported here: one connection serves a host for a whole run";
    for task in [
        "{ping: , vars: {ansible_user: joe}}",
        "{block: [{ping: }], vars: {ansible_user: joe}}",
        "{import_role: {name: r}, vars: {ansible_user: joe}}",
        "{include_tasks: a.yml, vars: {ansible_user: joe}}",
    ] {
        let told = told(task);
        assert!(told.starts_with("site.yml:4:") && told.contains(wanted), "{task}: {told}");
        assert_eq!(told.matches(wanted).count(), 1, "{told}");
    }
    let more = [
        ("site.yml", &*play("{include_role: {name: r}}")),
        ("roles/r/tasks/main.yml", "- set_fact: {ansible_port: 23}\n- include_vars: late.yml\n"),
        ("roles/r/vars/main.yml", "ansible_user: joe\n"),
        ("roles/r/vars/late.yml", "x: 1\nansible_password: y\n"),
        ("roles/r/defaults/main.yml", "ansible_user: joe\n"),
    ];
    let told = errors(&more);
    for (variable, place) in
        [("ansible_user", "vars/main.yml:1:15"), ("ansible_port", "tasks/main.yml:1:28"), ("ansible_password", "vars/late.yml:2:19")]
    {
        let wanted = format!("roles/r/{place}: `{variable}` is not supported here");
        assert!(told.contains(&wanted), "{wanted}: {told}");
    }
    // Another host's own variables count, and these lead nowhere.
    for task in ["{ping: , delegate_to: localhost, vars: {ansible_connection: local}}", "{ping: , vars: {ansible_remote_tmp: /tmp}}"] {
        assert_eq!(tasks(&site(&[("site.yml", &play(task))])).len(), 1);
    }
}

#[test]
fn the_variable_about_becoming_wins_over_the_keyword() {
    let play = |more: &str, task: &str| site(&[("site.yml", &format!("- hosts: all\n{more}  tasks:\n    - {{ping: , {task}}}\n"))]);
    let root = |site: &Site, said| site.plays[0].privilege(false, said) == Privilege::Root;
    let keyword = play("  become: true\n", "tags: []");
    assert!(root(&keyword, None) && root(&keyword, Some(true)) && !root(&keyword, Some(false)));
    let plain = play("", "tags: []");
    assert!(!root(&plain, None) && root(&plain, Some(true)));
    let own = play("", "vars: {ansible_become: true}");
    assert!(root(&own, None) && root(&own, Some(false)));
    assert!(!root(&play("", "become: true, vars: {ansible_become: false}"), None));
}
