//! What Python 3.11 answers to the same.

use super::run::Run;
use super::{Flags, Pattern};

/// Pattern, text, and all matches: each with its groups, `-` for one that took no part.
const MATCHES: &[(&str, &str, &str)] = &[
    ("a|b|ab", "ab", "a; b"),
    ("(a)(b)?", "aab", "a,a,-; ab,a,b"),
    ("(?:(a)|(b))*", "ab", "ab,a,b; ,-,-"),
    ("x*", "abxd", "; ; x; ; "),
    ("(?=b)|a", "ab", "a; "),
    ("a$", "a\n", "a"),
    ("a\\Z", "a\n", ""),
    ("(?m)^\\w+$", "ab\ncd\n", "ab; cd"),
    ("^GRUB=\"(.*?)( noxsave)?\"$", "GRUB=\"a b noxsave\"", "GRUB=\"a b noxsave\",a b, noxsave"),
    ("(?P<k>\\w+)=(?P=k)", "aa=aa ab=b", "aa=aa,aa; b=b,b"),
    ("(\\w)\\1", "hello all", "ll,l; ll,l"),
    ("(?i)(k)\\1", "kK", "kK,k"),
    ("(?<=\\d)(?=(?:\\d{3})+\\b)", "1234567", "; "),
    ("(?<!\\.)\\b\\w+", "a.b c", "a; c"),
    ("(?<=ab|cd)e", "abe cde e", "e; e"),
    ("(?>a+)ab", "aaab", ""),
    ("a++b|a", "aab", "aab"),
    ("a{2,3}?", "aaaaa", "aa; aa"),
    ("a{,2}b", "aaab", "aab"),
    ("x{a}{1", "x{a}{1", "x{a}{1"),
    ("(<)?\\w+(?(1)>|$)", "<a> b", "<a>,<; b,-"),
    ("[]^-]+[^]a-c\\d]", "x]^-x", "]^-x"),
    ("[\\w.-]+", "a.b-c é_1!", "a.b-c; é_1"),
    ("\\d+", "१२ 3", "१२; 3"),
    ("(?a)\\d+|\\w+", "१२é a3", "a3"),
    ("\\s", "a\u{1c}b\u{2003}", "\u{1c}; \u{2003}"),
    ("(?i)straße", "STRASSE Straße", "Straße"),
    ("(?i)[à-ÿ]+", "ÀÉ é", "ÀÉ; é"),
    ("(?i:A)b", "ab aB", "ab"),
    ("(?s).+", "a\nb", "a\nb"),
    ("(?s).*b", "a\nbc", "a\nb"),
    (".*?b|", "xa\nxb\n", "; ; ; xb; ; "),
    (".*b", "xa\nxb\nab", "xb; ab"),
    (".+", "a\nb", "a; b"),
    ("(?x) a b # both\n | c", "ab c", "ab; c"),
    ("\\bfoo\\b", "foo food", "foo"),
    ("\\Boo", "foo oo", "oo"),
    ("\\x41\\u00e9\\101\\0", "AéA\0", "AéA\0"),
    ("(a*)*", "aab", "aa,; ,; ,"),
    ("(a|b?)+?c", "abc", "abc,b"),
    ("(?:a?)*?b", "aab", "aab"),
    ("", "é", "; "),
    ("(?!a)\\w(?=b)", "ab cb", "c"),
    ("(?i)ſ", "s S", "s; S"),
    ("((a)|b)+", "aba", "aba,a,a"),
];

#[test]
fn patterns_match_what_they_match_in_python() {
    for (pattern, text, wanted) in MATCHES {
        let compiled = Pattern::new(pattern, Flags::default()).unwrap_or_else(|e| panic!("{pattern}: {e}"));
        let all = compiled.find_all(text).unwrap();
        let groups = |f: &super::Found<'_, '_>| (0..f.len()).map(|g| f.get(g).unwrap_or("-").to_owned()).collect::<Vec<_>>().join(",");
        assert_eq!(all.iter().map(groups).collect::<Vec<_>>().join("; "), *wanted, "{pattern} on {text}");
    }
}

#[test]
fn wrong_patterns_are_named_with_the_place() {
    for (pattern, wanted) in [
        ("(a", "missing ), unterminated subpattern at position 0"),
        ("a)", "unbalanced parenthesis at position 1"),
        ("[a", "unterminated character set at position 0"),
        ("*a", "nothing to repeat at position 0"),
        ("^*", "nothing to repeat at position 1"),
        ("a**", "multiple repeat at position 2"),
        ("a{3,2}", "min repeat greater than max repeat"),
        ("a{99999999999}", "too large"),
        ("\\q", "bad escape \\q"),
        ("a\\", "bad escape (end of pattern)"),
        ("\\1", "invalid group reference 1"),
        ("(?(2)a)", "invalid group reference 2"),
        ("(a\\1)", "cannot refer to an open group"),
        ("(?P<1>a)", "bad character in group name `1`"),
        ("(?P=no)", "unknown group name `no`"),
        ("(?P<n>a)(?P<n>b)", "redefinition of group name `n`"),
        ("(?<=a+)b", "look-behind requires fixed-width pattern"),
        ("(?<=(a)\\1)b", "same lookbehind"),
        ("(?<n>a)", "unknown extension ?<"),
        ("a(?i)", "global flags not at the start of the expression"),
        ("(?z)", "unknown flag z"),
        ("\\x1", "incomplete escape"),
        ("\\N{DASH}", "bad escape \\N"),
        ("[b-a]", "bad character range"),
        ("[\\d-a]", "bad character range"),
        ("(?#", "unterminated comment"),
    ] {
        let error = Pattern::new(pattern, Flags::default()).unwrap_err();
        assert!(error.contains(wanted), "{pattern}: {error}");
    }
    assert!(Pattern::new(&"(".repeat(1000), Flags::default()).unwrap_err().contains("more than 100 groups within each other"));
}

#[test]
fn a_search_that_would_not_end_is_given_up() {
    for (pattern, text) in [("(?:a|a)*b", "a".repeat(40)), ("(?:){4000000000}", String::new())] {
        let pattern = Pattern::new(pattern, Flags::default()).unwrap();
        let mut run = Run::new(&pattern.program, &text);
        run.left = 1_000_000;
        assert!(run.match_at(0, false).is_err());
    }
    // A long text is none.
    let long = "x = 1\n".repeat(100_000);
    assert!(!Pattern::new(".*y", Flags::default()).unwrap().is_match(&"x".repeat(1_000_000)).unwrap());
    let flags = Flags { multiline: true, ..Flags::default() };
    assert_eq!(
        Pattern::new("^x *= *(.*)$", flags).unwrap().replace(&long, 0, |f| f.get(1).unwrap().into()).unwrap(),
        ("1\n".repeat(100_000), 100_000)
    );
}

#[test]
fn replacing_and_names() {
    let pattern = Pattern::new("(?P<key>\\w+)=", Flags::default()).unwrap();
    assert_eq!(pattern.replace("a=1 b=2", 1, |f| format!("{}:", f.name("key").unwrap())).unwrap(), ("a:1 b=2".into(), 1));
    let found = pattern.search_from("a=1 b=2", 1).unwrap().unwrap();
    assert_eq!((found.get(1), found.range(1), found.get(2), found.name("no")), (Some("b"), Some(4..5), None, None));
    assert!(pattern.match_start(" a=").unwrap().is_none());
    assert_eq!(Pattern::new("x*", Flags::default()).unwrap().replace("abxd", 0, |_| "-".into()).unwrap().0, "-a-b--d-");
}
