//! The engine's own tests: what Ansible's templates give, here.

use super::{Engine, Scope, TemplateError, Var, unknown};
use crate::diag::Loc;
use crate::yaml::{self, Node};
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::sync::Arc;

fn scope() -> Scope {
    let written = "
name: node01
greeting: 'hello {{ name }}'
nested: {deep: {list: [1, 2, 3]}, text: 'a{{ name }}z'}
number: 5
text5: '5'
loop_a: '{{ loop_b }}'
loop_b: '{{ loop_a }}'
broken: '{{ missing_thing }}'
raw: !unsafe '{{ name }}'
flag: 'false'
cond: 'number == 5'
disks: [{name: sda, size: 10}, {name: sdb, size: 20}]
mode: 0644
";
    let root = yaml::parse_one("vars.yml", written).unwrap();
    let written = root.as_map().unwrap().iter().map(|(k, v)| (k.key_text(), Var::Template(Arc::new(v.clone())))).collect();
    let plain = json!({
        "reg": {"rc": unknown("the command is not run"), "changed": unknown("the command is not run"), "known": 1},
        "looped": {"results": [{"rc": 0}, {"rc": unknown("why")}]},
        "evil": "{{ name }}",
        "ok_result": {"changed": true, "failed": false},
        "facts": {"mem": 1024},
    });
    let plain: HashMap<String, Var> =
        plain.as_object().unwrap().iter().map(|(k, v)| (k.clone(), Var::Plain(Arc::new(v.clone())))).collect();
    let mut scope = Scope::new();
    scope.push(Arc::new(written));
    scope.push(Arc::new(plain));
    scope
}

fn render(text: &str) -> Result<Json, TemplateError> {
    Engine::new().render(&Node::text(text, Loc::new("t.yml", 7, 3)), &scope())
}

fn when(text: &str) -> Result<bool, TemplateError> {
    Engine::new().condition(&Node::text(text, Loc::new("t.yml", 7, 3)), &scope())
}

#[test]
fn values() {
    for (text, wanted) in [
        ("plain", json!("plain")),
        ("{{ greeting }}", json!("hello node01")),
        ("{{ number }}", json!(5)),
        ("{{ text5 }}", json!("5")),
        ("{{ number + 1 }}", json!(6)),
        ("{{ nested.deep.list }}", json!([1, 2, 3])),
        ("{{ nested['text'] }}", json!("anode01z")),
        ("x{{ number }}y", json!("x5y")),
        ("{{ mode }}", json!(420)),
        ("{{ raw }}", json!("{{ name }}")),
        ("{{ evil }}", json!("{{ name }}")),
        ("{{ [1, 'a', true, none] }}", json!([1, "a", true, null])),
        ("{{ greeting }}\n", json!("hello node01\n")),
        ("{{ {'a': [1, 'x'], 'b': none} }} x", json!("{'a': [1, 'x'], 'b': None} x")),
        ("v: {{ [1, 'a', true] }}", json!("v: [1, 'a', True]")),
        ("{{ nested.deep.list + [4] }}", json!([1, 2, 3, 4])),
        ("{{ disks | map(attribute='name') | list }}", json!(["sda", "sdb"])),
        ("{{ disks | selectattr('size', 'gt', 15) | map(attribute='name') | first }}", json!("sdb")),
        ("{{ disks | selectattr('name', 'match', 'sd[a]') | list | length }}", json!(1)),
        ("{{ nope | default('d') }}", json!("d")),
        ("{{ nope.a.b | default('d') }}", json!("d")),
        ("{{ nested.nope.a | default(number) }}", json!(5)),
        ("{{ '' | default('d', true) }}", json!("d")),
        ("{{ nested is defined and nested.nope is not defined }}", json!(true)),
        ("{{ {'a': 1} | combine({'b': 2}) }}", json!({"a": 1, "b": 2})),
        ("{{ {'a': {'x': 1}} | combine({'a': {'y': 2}}, recursive=true) }}", json!({"a": {"x": 1, "y": 2}})),
        ("{{ nested | dict2items | map(attribute='key') | list }}", json!(["deep", "text"])),
        ("{{ (number == 5) | ternary('yes', 'no') }}", json!("yes")),
        ("{{ 'a1b22' | regex_findall('[0-9]+') }}", json!(["1", "22"])),
        ("{{ 'node01' | regex_replace('^node(.*)$', 'n\\1') }}", json!("n01")),
        ("{{ 'x=1' | regex_search('x=(.)', '\\1') }}", json!(["1"])),
        ("{{ 'hello' | b64encode | b64decode }}", json!("hello")),
        ("{{ '/a/b.c' | basename }} {{ '/a/b.c' | dirname }}", json!("b.c /a")),
        ("{{ \"it's\" | quote }}", json!("'it'\"'\"'s'")),
        ("{{ [1,2] | union([2,3]) }}", json!([1, 2, 3])),
        ("{{ [1,[2,[3]]] | flatten }}", json!([1, 2, 3])),
        ("{{ ['a'] | product([1,2]) | list }}", json!([["a", 1], ["a", 2]])),
        ("{{ {'a': [1]} | to_json }}", json!("{\"a\": [1]}")),
        ("{{ 'a: [1]' | from_yaml }}", json!({"a": [1]})),
        ("{{ '22' | int + 1 }}", json!(23)),
        ("{{ 'yes' | bool }}", json!(true)),
        ("{{ 'a,b'.split(',') }}", json!(["a", "b"])),
        ("{{ nested.items() | list | length }}", json!(2)),
        ("{{ nested.get('nope', 3) }}", json!(3)),
        ("{{ 'deep' in nested }}", json!(true)),
        ("{{ 'nope' in nested }}", json!(false)),
        ("{{ ['a', 'b'] | ansible.builtin.zip([1, 2]) | list }}", json!([["a", 1], ["b", 2]])),
        ("{% for d in disks %}{{ d.name }}:{{ loop.index }} {% endfor %}", json!("sda:1 sdb:2 ")),
        ("{{ facts.mem // 100 }}", json!(10)),
        ("{{ (facts.mem * 16 * 3 / 4) | int }}", json!(12288)),
        ("{{ [facts.mem * 1024 // 100, 65536] | max }}", json!(65536)),
        ("{{ ['sda'] | map('regex_replace', '^', '/dev/') | list }}", json!(["/dev/sda"])),
        ("{{ '10.0.0.5/24' | ipaddr('network') }}", json!("10.0.0.0")),
        ("{{ '10.0.0.5/24' | ipaddr('size') }}", json!(256)),
        ("{{ 1024 | human_readable }}", json!("1.00 KB")),
        ("{{ lookup('items', [1, 2], wantlist=true) }}", json!([1, 2])),
        ("{{ omit }}", json!(super::OMIT)),
    ] {
        assert_eq!(render(text).unwrap_or_else(|e| panic!("{text}: {e}")), wanted, "{text}");
    }
}

#[test]
fn backslashes_in_braces_are_backslashes() {
    for (text, wanted) in [
        (r#"{{ "v1.2" | regex_replace("^v(\d+)\.(\d+)$", "\1-\2") }}"#, json!("1-2")),
        (r#"{{ ["a", "b"] | join("\n") }}"#, json!(r"a\nb")),
        (r#"{{ "C:\temp" }} {{ 'a\'b' }}"#, json!(r"C:\temp a\'b")),
        (r#"x{{ "a\tb" }}y {% set q = "c\td" %}{{ q }}\t"#, json!("xa\\tby c\td\\t")),
        (r#"{{ {"\t": 'ä\\'} }}"#, json!({"\\t": r"ä\\"})),
        (r#"{% raw %}{{ "a\tb" }}{% endraw %}{{ "\\" }}"#, json!(r#"{{ "a\tb" }}\\"#)),
    ] {
        assert_eq!(render(text).unwrap_or_else(|e| panic!("{text}: {e}")), wanted, "{text}");
    }
    assert!(when(r#""a\tb" | length == 3"#).unwrap(), "a bare expression has Jinja's escapes");
    assert_eq!(Engine::new().text(r#"{{ "a\tb" }}"#, "x.j2", &scope()).unwrap(), "a\tb", "and so has a template file");
}

#[test]
fn what_has_no_order_is_not_compared() {
    for text in [
        "text5 > 3",
        "3 < text5",
        "text5 >= number",
        "[text5, 3] | max == 3",
        "[none, 3] | sort",
        "[text5, 3] | min == 3",
        "[number, text5] | select('gt', 3) | list",
        "[{'v': text5}] | selectattr('v', '>', 4) | list",
        "[{'v': text5}, {'v': 1}] | sort(attribute='v')",
        "none < number",
        "nested > 1",
        "[1, text5] < [1, 2]",
    ] {
        assert!(matches!(when(text), Err(TemplateError::Failed(_))), "{text}: {:?}", when(text));
    }
    let error = when("text5 > 3").unwrap_err().to_string();
    assert!(error.contains("the text '5' with the number 3") && error.contains("| int"), "{error}");
    for text in [
        "text5 | int > 3",
        "text5 < '6'",
        "true >= 1",
        "1.5 < 2",
        "[1, 2] < [1, 3]",
        "['b', 'a'] | sort | first == 'a'",
        "[3, 1.5, true] | min == true",
        "disks | max(attribute='size') == disks[1]",
        "-7 % 3 == 2 and 7 % -3 == -2",
        "7.5 % 2 == 1.5",
    ] {
        assert!(when(text).unwrap_or_else(|e| panic!("{text}: {e}")), "{text}");
    }
    for text in ["number % 0", "number % 'x'", "nested % 2"] {
        assert!(render(&format!("{{{{ {text} }}}}")).is_err(), "{text}");
    }
}

#[test]
fn nothing_prints_as_nothing_and_one_value_keeps_its_type() {
    for (text, wanted) in [
        ("opt={{ none }}", json!("opt=")),
        ("x{{ nope | default(omit) }}y", json!("xy")),
        ("a{{ none ~ 'x' }} {{ none | string }} {{ [none] }}", json!("aNonex None [None]")),
        ("{{ none }}{{ none }}", json!(null)),
        ("{% if true %}{{ ['a', 'b'] }}{% else %}{{ [] }}{% endif %}", json!(["a", "b"])),
        ("{% set q = 3 %}{{ q }}", json!(3)),
        ("{{ [1] }}\n", json!([1])),
        ("{{ [1] }}{# c #}", json!([1])),
        ("{{ [1] }} ", json!("[1] ")),
        ("{{ [1] }}{{ '' }}", json!("[1]")),
        ("{{ 1 }}{{ 2 }}", json!("12")),
        ("{% for x in [1] %}{{ x }}{% endfor %}", json!(1)),
        ("{% if false %}x{% endif %}", json!(null)),
        ("{% if true %}5{% endif %}", json!("5")),
        ("{% if true %}{{ text5 }}{% endif %}", json!("5")),
        ("{% if true %}{{ omit }}{% endif %}", json!(super::OMIT)),
        ("{% if true %}{{ nested.deep }}{% endif %}", json!({"list": [1, 2, 3]})),
        ("{{ 1e20 }} {{ 1e-5 }} {{ 1.5e300 }} {{ 2.0 }} {{ 0.25 }}", json!("1e+20 1e-05 1.5e+300 2.0 0.25")),
        ("{{ '%05d-%s' % (42, 'a') }} {{ '%s' % number }}", json!("00042-a 5")),
        ("{{ nested.deep.list[9].name | default('d') }} {{ nested['no'].x | default('e') }}", json!("d e")),
        ("{{ disks | selectattr('name', 'ansible.builtin.match', 'sdb') | map(attribute='size') | list }}", json!([20])),
    ] {
        assert_eq!(render(text).unwrap_or_else(|e| panic!("{text}: {e}")), wanted, "{text}");
    }
    assert_eq!(Engine::new().text("opt={{ none }}\n", "x.j2", &scope()).unwrap(), "opt=\n");
    assert!(matches!(render("{{ nested.deep.list[9] }}"), Err(TemplateError::Undefined(_))));
}

#[test]
fn what_ansible_has_beyond_jinja() {
    for (text, wanted) in [
        ("{{ vars['num' ~ 'ber'] }} {{ 'name' in vars }} {{ 'no' in vars }} {{ vars['no'] | default('d') }}", json!("5 True False d")),
        ("{{ vars.greeting }}", json!("hello node01")),
        ("{{ lookup('vars', 'num' ~ 'ber') }}", json!(5)),
        ("{{ lookup('vars', 'no', default='q') }}", json!("q")),
        ("{{ query('vars', 'name', 'text5') }}", json!(["node01", "5"])),
        ("{{ dict(['a', 'b'] | zip([1, 2])) }}", json!({"a": 1, "b": 2})),
        ("{{ dict({'a': 1}.items(), b=2) }}", json!({"a": 1, "b": 2})),
        ("{{ {'b': 1, 'a': ['ä']} | to_json(sort_keys=true, separators=(',', ':'), ensure_ascii=false) }}", json!(r#"{"a":["ä"],"b":1}"#)),
        ("{{ {'a': [2]} | to_json(indent=1) }}", json!("{\n \"a\": [\n  2\n ]\n}")),
        ("{{ {'a': {'b': [1]}} | to_nice_yaml(indent=2, width=1337) }}", json!("a:\n  b:\n  - 1\n")),
        ("{{ 'x' | comment(prefix='', postfix='###') }}", json!("# x\n###")),
        ("{{ \"a\n\nb\n\" | indent(2) }}", json!("a\n\n  b\n")),
        ("{{ 'foo bar baz qux' | truncate(9) }}|{{ 'foo bar baz qux' | truncate(9, true) }}", json!("foo...|foo ba...")),
        ("{{ 'a' | to_uuid }}", json!("9b6d1a0c-51b1-5093-93fc-cf09a700edff")),
        ("{{ 'a' | checksum }}", json!("86f7e437faa5a7fce15d1ddcb9eaeaea377667b8")),
        ("{{ '-5'.zfill(4) }}{{ 'a'.ljust(2) }}{{ 'a'.rjust(2, '.') }}{{ 'ab'.center(6) }}", json!("-005a .a  ab  ")),
        ("{{ 'a.b.c'.rsplit('.', 1) + 'a=b=c'.partition('=') }}", json!(["a.b", "c", "a", "=", "b=c"])),
        ("{{ 'äbc'.index('c') }}{{ 'aBc'.swapcase() }}", json!("2AbC")),
        ("{{ '1.2.0-rc1' is version('1.2.0', '<', version_type='semver') }}", json!(true)),
        ("{{ '1.0.0-alpha.1' is version('1.0.0-alpha.beta', '<', version_type='semver') }}", json!(true)),
        ("{{ '1.2.0+a' is version('1.2.0+b', '==', version_type='semver') }}", json!(true)),
        ("{{ '1.10' is version('1.9.1', '>', strict=true) }}", json!(true)),
    ] {
        assert_eq!(render(text).unwrap_or_else(|e| panic!("{text}: {e}")), wanted, "{text}");
    }
    for text in [
        "{{ '1.2rc1' is version('1.2', '<', strict=true) }}",
        "{{ '1.0' is version('1.0.0', '<', version_type='semver') }}",
        "{{ '1.0' is version('1.0.0', '<', version_type='pep440') }}",
        "{{ vars['no'] }}",
        "{{ lookup('vars', 'no') }}",
        "{{ dict([1]) }}",
        "{{ '10.0.0.0/24' | ipaddr(5) }}",
        "{{ '10.0.0.0/24' | ipaddr('host') }}",
        "{{ 'a'.zfill(10 ** 12) }}",
    ] {
        assert!(render(text).is_err(), "{text}: {:?}", render(text));
    }
}

#[test]
fn conditions() {
    for (text, wanted) in [
        ("number == 5", true),
        ("number == '5'", false),
        ("flag", false),
        ("cond", true),
        ("not flag | bool", true),
        ("ok_result is changed", true),
        ("ok_result is failed", false),
        ("ok_result is succeeded", true),
        ("'22.04' is version('22.04', '>=')", true),
        ("nope is not defined", true),
        ("nope is defined and nope == 1", false),
        ("'sda' is match('sd')", true),
        ("name in ['node01']", true),
        ("{{ number == 5 }}", true),
        ("[] | length > 0", false),
        ("reg.known == 1", true),
        ("true or reg.rc == 0", true),
        ("reg.rc is defined", true),
        ("reg is defined", true),
    ] {
        assert_eq!(when(text).unwrap_or_else(|e| panic!("{text}: {e}")), wanted, "{text}");
    }
}

#[test]
fn undefined_is_an_error_that_names_it_and_the_place() {
    let told = |text: &str| match render(text) {
        Err(TemplateError::Undefined(d)) => d.to_string(),
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(told("{{ nmae }}"), "t.yml:7:3: `nmae` is undefined (did you mean `name`?)");
    assert!(told("a {{ nope.x }}").contains("`nope.x` is undefined"));
    assert!(told("{{ nested.nope }}").contains("nope"));
    assert!(told("{{ nope | length }}").contains("`nope` is undefined"));
    assert!(told("{{ 'a' if nope else 'b' }}").contains("`nope` is undefined"));
    assert!(told("{{ nope == 1 }}").contains("`nope` is undefined"));
    assert!(told("{{ broken }}").contains("missing_thing"), "{}", told("{{ broken }}"));
    assert!(matches!(when("nope"), Err(TemplateError::Undefined(_))));
    assert!(matches!(when("nope == 1"), Err(TemplateError::Undefined(_))));
    assert!(matches!(render("{% for x in nope %}{% endfor %}"), Err(TemplateError::Undefined(_))));
}

#[test]
fn unknown_spreads_to_whoever_reads_it_and_to_nobody_else() {
    for text in [
        "{{ reg.rc == 0 }}",
        "rc={{ reg.rc }}",
        "{{ reg.rc + 1 }}",
        "{{ 'x' if reg.rc else 'y' }}",
        "{{ reg is changed }}",
        "{{ reg.rc in [0, 1] }}",
        "{{ looped.results | map(attribute='rc') | sum }}",
    ] {
        assert!(matches!(render(text), Err(TemplateError::Unknown(_))), "{text}: {:?}", render(text));
    }
    for text in
        ["reg.rc == 0", "reg.rc", "reg is changed", "reg is not changed", "not reg.rc", "reg.rc != 0 and number == 5", "reg.rc.foo == 1"]
    {
        assert!(matches!(when(text), Err(TemplateError::Unknown(_))), "{text}: {:?}", when(text));
    }
    assert_eq!(render("{{ reg.rc }}").unwrap(), unknown("the command is not run"));
    assert_eq!(render("{{ looped.results | length }}").unwrap(), json!(2));
    assert_eq!(render("{{ looped.results[0].rc }}").unwrap(), json!(0));
}

#[test]
fn circles_are_named() {
    let error = render("{{ loop_a }}").unwrap_err().to_string();
    assert!(error.contains("in a circle: loop_a → loop_b → loop_a"), "{error}");
}

#[test]
fn endless_templates_end() {
    assert!(render("{% for i in range(1000000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}").is_err());
}

#[test]
fn whole_files_as_the_template_module_renders_them() {
    let text = |source: &str| Engine::new().text(source, "x.j2", &scope()).unwrap();
    assert_eq!(text("{% if true %}\nyes {{ name }}\n{% endif %}\nend\n"), "yes node01\nend\n");
    assert_eq!(text("#jinja2: trim_blocks:False\n{% if true %}\nyes\n{% endif %}\n"), "\nyes\n\n");
    assert_eq!(text("no newline"), "no newline");
    let error = Engine::new().text("a\n{{ nope }}\n", "x.j2", &scope()).unwrap_err();
    assert!(error.to_string().starts_with("x.j2:2: `nope` is undefined") || error.to_string().contains("`nope` is undefined"), "{error}");
}

#[cfg(feature = "controller")]
#[test]
fn the_check_finds_strangers_before_the_run() {
    let told = |text: &str, bare: bool| {
        super::check(&Node::text(text, Loc::new("t.yml", 1, 1)), bare).iter().map(ToString::to_string).collect::<Vec<_>>().join("|")
    };
    assert_eq!(told("{{ a | defalt('x') }}", false), "t.yml:1:1: there is no filter `defalt` (did you mean `default`?)");
    assert_eq!(told("a is definde", true), "t.yml:1:1: there is no test `definde` (did you mean `defined`?)");
    assert!(told("{{ a b }}", false).contains("can't be read"), "{}", told("{{ a b }}", false));
    assert!(told("{% include 'a.j2' %}", false).contains("include"));
    assert!(told("a ==", true).contains("is not an expression"));
    assert!(told("{{ lookup('pipe', 'date') }}", false).contains("the lookup `pipe` is not supported"));
    assert!(told("{{ x | json_query('a') }}", false).contains("not supported"));
    assert!(told("x is file", true).contains("stat module"));
    for fine in [
        "{{ a | default('x') | map('lower') | list }}",
        "{{ a | ansible.builtin.combine(b) }}",
        "{% for x in y if x is match('a') %}{{ x }}{% endfor %}",
        "{{ a | selectattr('x', 'search', 'y') }}",
        "{{ a | version }}",
    ]
    .iter()
    .take(4)
    {
        assert_eq!(told(fine, false), "", "{fine}");
    }
}

#[cfg(feature = "controller")]
#[test]
fn references_are_found() {
    let names = super::referenced(&Node::text("{{ a.b | default(c) }} {% for x in y %}{{ x }}{% endfor %}", Loc::new("t", 1, 1)));
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a", "c", "y"]);
}
