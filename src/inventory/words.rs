//! Host lines cut into words the way a shell does.

/// One word of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The word without its quotes.
    pub text: String,
    /// Where it starts, in characters from 0.
    pub start: usize,
    /// How many characters it takes, quotes included.
    pub len: usize,
}

/// What is wrong with a line, and where (characters from 0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WordError {
    /// One sentence.
    pub message: String,
    /// Where.
    pub at: usize,
}

/// The words of `line`, and where a comment cut a word short (`pass#word`: Ansible ends the line there as well).
pub fn split(line: &str) -> Result<(Vec<Word>, Option<usize>), WordError> {
    let chars: Vec<char> = line.chars().collect();
    let mut words = vec![];
    let mut word: Option<Word> = None;
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let is_space = c.is_whitespace();
        if is_space || c == '#' {
            let cut = (c == '#' && word.is_some()).then_some(at);
            if let Some(mut done) = word.take() {
                done.len = at - done.start;
                words.push(done);
            }
            if c == '#' {
                return Ok((words, cut));
            }
            at += 1;
            continue;
        }
        let current = word.get_or_insert_with(|| Word { text: String::new(), start: at, len: 0 });
        match c {
            '\'' | '"' => at = quoted(&chars, at, &mut current.text)?,
            '\\' => match chars.get(at + 1) {
                Some(next) => {
                    current.text.push(*next);
                    at += 2;
                }
                None => return Err(WordError { message: "nothing follows the backslash at the end of the line".into(), at }),
            },
            c => {
                current.text.push(c);
                at += 1;
            }
        }
    }
    if let Some(mut done) = word.take() {
        done.len = at - done.start;
        words.push(done);
    }
    Ok((words, None))
}

/// Reads from the opening quote at `open` to behind the closing one.
fn quoted(chars: &[char], open: usize, out: &mut String) -> Result<usize, WordError> {
    let quote = chars.get(open).copied().unwrap_or('"');
    let mut at = open + 1;
    loop {
        match (chars.get(at), chars.get(at + 1)) {
            (None, _) => return Err(WordError { message: format!("the quote {quote} opened here is not closed"), at: open }),
            (Some(&c), _) if c == quote => return Ok(at + 1),
            // In double quotes a backslash hides a quote or another backslash and is itself otherwise.
            (Some('\\'), Some(&next)) if quote == '"' && matches!(next, '"' | '\\') => {
                out.push(next);
                at += 2;
            }
            (Some(&c), _) => {
                out.push(c);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        split(line).unwrap().0.into_iter().map(|w| w.text).collect()
    }

    #[test]
    fn cuts_as_a_shell_does() {
        // The right-hand sides are what Python's shlex.split(line, comments=True) gives.
        assert_eq!(texts("a b=c  d='e f' # g"), ["a", "b=c", "d=e f"]);
        assert_eq!(texts(r#"a x="q\"r" y='s"t' z=u\ v w="\n""#), ["a", "x=q\"r", "y=s\"t", "z=u v", "w=\\n"]);
        assert_eq!(texts("a x=''"), ["a", "x="]);
        assert_eq!(texts("a p=b#c"), ["a", "p=b"]);
    }

    #[test]
    fn tells_places() {
        let (words, cut) = split("ab  c='d'#x").unwrap();
        assert_eq!((words[1].start, words[1].len, cut), (4, 5, Some(9)));
        assert_eq!(split("a b='c").unwrap_err().at, 4);
        assert_eq!(split("a b\\").unwrap_err().at, 3);
    }
}
