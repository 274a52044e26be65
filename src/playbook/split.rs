//! Free-form arguments (`copy: src=a dest="b c"`) cut into words and pairs by Ansible's rules.

/// Cuts `text` at spaces and newlines, but not inside quotes or Jinja braces. Runs of spaces and
/// newlines stay on the word before them, so that [`join`] gives the text back.
pub(crate) fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words: Vec<String> = vec![];
    let mut quote: Option<char> = None;
    // Open `{{`, `{%` and `{#`.
    let mut depth = [0usize; 3];
    let lines: Vec<&str> = text.split('\n').collect();
    for (number, line) in lines.iter().enumerate() {
        let mut continued = false;
        for (index, token) in line.split(' ').enumerate() {
            if token.is_empty() && index != 0 {
                last(&mut words).push(' ');
                continue;
            }
            let was_quoted = quote.is_some();
            if token == "\\" && !was_quoted {
                continued = true;
                continue;
            }
            quote = quote_after(token, quote);
            let was_open = depth.iter().any(|d| *d > 0);
            for (d, (open, close)) in depth.iter_mut().zip([("{{", "}}"), ("{%", "%}"), ("{#", "#}")]) {
                *d = (*d + token.matches(open).count()).saturating_sub(token.matches(close).count());
            }
            if was_open || was_quoted {
                let word = last(&mut words);
                if !(index == 0 && was_quoted) && index > 0 {
                    word.push(' ');
                }
                word.push_str(token);
            } else if !token.is_empty() {
                words.push(token.to_owned());
            }
        }
        if lines.len() > 1 && number + 1 != lines.len() && !continued {
            last(&mut words).push('\n');
        }
    }
    if quote.is_some() || depth.iter().any(|d| *d > 0) {
        return Err("quotes or braces are not closed".into());
    }
    Ok(words)
}

/// Puts [`words`] together again.
pub(crate) fn join(words: &[String]) -> String {
    let mut text = String::new();
    for word in words {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push(' ');
        }
        text.push_str(word);
    }
    text
}

/// What free-form text holds.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Parts {
    /// `key=value` pairs, unquoted.
    pub pairs: Vec<(String, String)>,
    /// The words that are no pairs, put together again.
    pub rest: Option<String>,
}

/// Splits `text` into pairs and the rest. With `only`, a word whose key is not accepted by it belongs to
/// the rest as it stands (a command's own `a=b`).
pub(crate) fn parts(text: &str, only: Option<&dyn Fn(&str) -> bool>) -> Result<Parts, String> {
    let mut parts = Parts::default();
    let mut rest: Vec<String> = vec![];
    for word in words(text)? {
        let plain = unescape(&word);
        match equals(&plain) {
            Some(at) => {
                let (key, value) = (&plain[..at], &plain[at + 1..]);
                if only.is_some_and(|accepts| !accepts(key)) {
                    rest.push(word);
                } else {
                    parts.pairs.push((key.trim().to_owned(), unquote(value.trim()).to_owned()));
                }
            }
            None if plain.contains('=') => rest.push(plain.replace("\\=", "=")),
            None => rest.push(word),
        }
    }
    if !rest.is_empty() {
        parts.rest = Some(join(&rest));
    }
    Ok(parts)
}

/// Where the `=` of a pair is: not at the start, and not after a backslash.
fn equals(word: &str) -> Option<usize> {
    word.match_indices('=').map(|(at, _)| at).find(|at| *at > 0 && !word[..*at].ends_with('\\'))
}

/// Without the quotes around it, if it has a matching pair.
pub(crate) fn unquote(text: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|t| t.strip_suffix(quote))
            && !inner.ends_with('\\')
        {
            return inner;
        }
    }
    text
}

/// Escapes as Python's text literals have them; any other backslash stays.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        match escaped(after) {
            Some((c, length)) => {
                out.push(c);
                rest = &after[length..];
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The character an escape stands for, and how many bytes after the backslash belong to it.
fn escaped(after: &str) -> Option<(char, usize)> {
    let number = |start: usize, digits: usize, radix: u32| {
        let code = after.get(start..start + digits)?;
        let all = code.chars().all(|c| c.is_digit(radix));
        let c = all.then(|| u32::from_str_radix(code, radix).ok().and_then(char::from_u32)).flatten()?;
        Some((c, start + digits))
    };
    Some(match after.chars().next()? {
        'n' => ('\n', 1),
        't' => ('\t', 1),
        'r' => ('\r', 1),
        'a' => ('\x07', 1),
        'b' => ('\x08', 1),
        'f' => ('\x0c', 1),
        'v' => ('\x0b', 1),
        c @ ('\\' | '\'' | '"') => (c, 1),
        'x' => number(1, 2, 16)?,
        'u' => number(1, 4, 16)?,
        'U' => number(1, 8, 16)?,
        '0'..='7' => {
            let digits = after.chars().take(3).take_while(|c| c.is_digit(8)).count();
            number(0, digits, 8)?
        }
        _ => return None,
    })
}

fn last(words: &mut Vec<String>) -> &mut String {
    if words.is_empty() {
        words.push(String::new());
    }
    let end = words.len() - 1;
    &mut words[end]
}

/// The quote still open after `token`.
fn quote_after(token: &str, mut quote: Option<char>) -> Option<char> {
    let mut before = None;
    for c in token.chars() {
        if (c == '"' || c == '\'') && before != Some('\\') {
            match quote {
                Some(q) if q == c => quote = None,
                Some(_) => {}
                None => quote = Some(c),
            }
        }
        before = Some(c);
    }
    quote
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parts(text, None).unwrap().pairs
    }

    fn pair(k: &str, v: &str) -> (String, String) {
        (k.into(), v.into())
    }

    #[test]
    fn quotes_and_braces_are_not_split() {
        assert_eq!(pairs(r#"src=a dest="b c" mode=0644"#), [pair("src", "a"), pair("dest", "b c"), pair("mode", "0644")]);
        assert_eq!(pairs("a={{ x | d('p q') }} b={{y}}"), [pair("a", "{{ x | d('p q') }}"), pair("b", "{{y}}")]);
        assert_eq!(pairs("msg={% if a b %}x{% endif %} c=d"), [pair("msg", "{% if a b %}x{% endif %}"), pair("c", "d")]);
    }

    #[test]
    fn a_command_keeps_its_own_pairs() {
        let known = |k: &str| k == "creates";
        let p = parts("dd if=/dev/zero  of='/tmp/a b' creates=/tmp/x", Some(&known)).unwrap();
        assert_eq!(p.pairs, [pair("creates", "/tmp/x")]);
        assert_eq!(p.rest.as_deref(), Some("dd if=/dev/zero  of='/tmp/a b'"));
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(parts("echo a\necho b", Some(&|_| false)).unwrap().rest.as_deref(), Some("echo a\necho b"));
        assert_eq!(join(&words("a \\\n  b").unwrap()), "a  b");
    }

    #[test]
    fn open_quotes_are_an_error() {
        assert!(words("echo 'a").is_err());
        assert!(words("echo {{ a").is_err());
    }

    #[test]
    fn escaped_equals_is_no_pair() {
        assert_eq!(parts(r"a\=b", None).unwrap(), Parts { pairs: vec![], rest: Some("a=b".into()) });
        assert_eq!(pairs(r"a=x\ny"), [pair("a", "x\ny")]);
    }
}
