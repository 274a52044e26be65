//! Shell patterns for names, as fnmatch(3) has them. Takes the product of both lengths at most.

/// Whether `name` matches the shell pattern: `*`, `?`, `[a-z]`, `[!a-z]`.
pub fn matches(pattern: &str, name: &str) -> bool {
    walk(pattern, name, one)
}

/// The same with `*` and `?` only, upper and lower case alike: the patterns of ssh_config(5) and known_hosts.
pub fn matches_host(pattern: &str, name: &str) -> bool {
    walk(pattern, name, |pattern, p, c| match pattern.get(p)? {
        '?' => Some(p + 1),
        other => other.eq_ignore_ascii_case(&c).then_some(p + 1),
    })
}

/// `one`: the place in the pattern behind what matches the character at that place; `None`: it does not match.
fn walk(pattern: &str, name: &str, one: impl Fn(&[char], usize, char) -> Option<usize>) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // Where to go on when what follows the last `*` does not match: (pattern, name).
    let mut back: Option<(usize, usize)> = None;
    let (mut p, mut n) = (0, 0);
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            back = Some((p + 1, n));
            p += 1;
            continue;
        }
        if let Some(next) = name.get(n).and_then(|c| one(&pattern, p, *c)) {
            (p, n) = (next, n + 1);
            continue;
        }
        match back {
            Some((after, from)) => {
                back = Some((after, from + 1));
                (p, n) = (after, from + 1);
            }
            None => return false,
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

fn one(pattern: &[char], p: usize, c: char) -> Option<usize> {
    match pattern.get(p)? {
        '?' => Some(p + 1),
        '[' => {
            let negated = matches!(pattern.get(p + 1), Some('!' | '^'));
            let start = p + 1 + usize::from(negated);
            // A `]` right at the start is one of the characters.
            let end = pattern.iter().enumerate().skip(start + 1).find(|(_, c)| **c == ']').map(|(i, _)| i);
            let Some(end) = end else { return (c == '[').then_some(p + 1) };
            let set = pattern.get(start..end)?;
            let mut inside = false;
            let mut i = 0;
            while let Some(from) = set.get(i) {
                match (set.get(i + 1), set.get(i + 2)) {
                    (Some('-'), Some(to)) => {
                        inside |= (*from..=*to).contains(&c);
                        i += 3;
                    }
                    _ => {
                        inside |= *from == c;
                        i += 1;
                    }
                }
            }
            (inside != negated).then_some(end + 1)
        }
        other => (*other == c).then_some(p + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_patterns_match_as_in_a_shell() {
        for (pattern, name, wanted) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.d", false),
            ("web*", "we", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("n?", "n12", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("n[a]x", "nax", true),
            ("[]]", "]", true),
            ("a*b*c", "axxbxxbc", true),
            ("*b*d", "abc", false),
            ("[", "[", true),
            ("n[", "n[", true),
            ("", "", true),
            ("*", "", true),
            ("A", "a", false),
        ] {
            assert_eq!(matches(pattern, name), wanted, "{pattern} {name}");
        }
        assert!(!matches(&"*a".repeat(200), &"a".repeat(199)), "and it ends");
    }

    #[test]
    fn host_patterns_know_no_sets_and_no_case() {
        assert!(matches_host("[*.Example.com]:2222", "[a.example.com]:2222"));
        assert!(matches_host("node?", "NODE1") && !matches_host("node?", "node12"));
        assert!(!matches_host("node[12]", "node1"));
    }
}
