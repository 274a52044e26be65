//! systemd's `EnvironmentFile` grammar, edited in place: every byte that is not part of the change stays.

use std::ops::Range;

/// One assignment in an environment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The variable.
    pub name: String,
    /// Its value, quotes and continuations resolved.
    pub value: String,
    /// Line it starts on, from 1.
    pub line: usize,
    /// Byte offset in the file at which more text can be added to the value (before a closing quote).
    pub end: usize,
    /// Whether the place at `end` is inside double quotes, single quotes, or neither.
    pub quote: Option<char>,
    /// For every byte of `value`, the byte range of the file it came from.
    spans: Vec<Range<usize>>,
}

impl Assignment {
    /// The range of the file that holds the part `part` of the value.
    pub fn span(&self, part: Range<usize>) -> Option<Range<usize>> {
        let first = self.spans.get(part.start)?;
        let last = self.spans.get(part.end.checked_sub(1)?)?;
        Some(first.start..last.end)
    }
}

/// Reads all assignments: comments (`#`, `;`) and lines without `=` are passed over, as systemd does.
pub fn parse(text: &str) -> Vec<Assignment> {
    let bytes = text.as_bytes();
    let mut all = vec![];
    let mut at = 0;
    let mut line = 1;
    while at < bytes.len() {
        let start_line = line;
        let rest = &text[at..];
        let first = rest.find(|c: char| !c.is_ascii_whitespace() || c == '\n').map_or(bytes.len(), |i| at + i);
        if first >= bytes.len() {
            break;
        }
        let end_of_line = text[first..].find('\n').map_or(bytes.len(), |i| first + i);
        let equals = text[first..end_of_line].find('=').map(|i| first + i);
        match (bytes[first], equals) {
            (b'\n', _) => {
                at = first + 1;
                line += 1;
            }
            (b'#' | b';', _) | (_, None) => {
                // A comment goes on behind a backslash too.
                at = end_of_line;
                while at < bytes.len() && at > 0 && bytes[at - 1] == b'\\' {
                    line += 1;
                    at = text[at + 1..].find('\n').map_or(bytes.len(), |i| at + 1 + i);
                }
                at = (at + 1).min(bytes.len());
                line += 1;
            }
            (_, Some(equals)) => {
                let name = text[first..equals].trim().to_owned();
                let (assignment, next, lines) = value(text, equals + 1, name, start_line);
                all.push(assignment);
                at = next;
                line += lines;
            }
        }
    }
    all
}

/// Reads a value that starts at `at`; returns it, where the next line starts, and how many lines it took.
fn value(text: &str, mut at: usize, name: String, line: usize) -> (Assignment, usize, usize) {
    let bytes = text.as_bytes();
    let mut value: Vec<u8> = vec![];
    let mut spans: Vec<Range<usize>> = vec![];
    let mut lines = 0;
    let mut quote: Option<char> = None;
    let mut end = at;
    let mut end_quote = None;
    while bytes.get(at).is_some_and(|b| matches!(b, b' ' | b'\t')) {
        at += 1;
        end = at;
    }
    let mut push = |byte: u8, from: Range<usize>, value: &mut Vec<u8>| {
        value.push(byte);
        spans.push(from);
    };
    while at < bytes.len() {
        let byte = bytes[at];
        match (quote, byte) {
            (None, b'\n') => {
                at += 1;
                lines += 1;
                break;
            }
            (Some(_), b'\n') => {
                push(byte, at..at + 1, &mut value);
                lines += 1;
                at += 1;
            }
            (None, b'"' | b'\'') => {
                quote = Some(char::from(byte));
                at += 1;
                (end, end_quote) = (at, quote);
            }
            (Some(q), b) if char::from(b) == q => {
                (end, end_quote) = (at, quote);
                quote = None;
                at += 1;
            }
            (q, b'\\') if q != Some('\'') => match bytes.get(at + 1) {
                Some(b'\n') => {
                    lines += 1;
                    at += 2;
                }
                // Inside double quotes a backslash is taken away only before these.
                Some(next) if q.is_none() || matches!(next, b'"' | b'\\' | b'`' | b'$') => {
                    push(*next, at..at + 2, &mut value);
                    at += 2;
                    if q.is_none() {
                        (end, end_quote) = (at, None);
                    }
                }
                _ => {
                    push(byte, at..at + 1, &mut value);
                    at += 1;
                }
            },
            (q, b) => {
                push(b, at..at + 1, &mut value);
                at += 1;
                if q.is_none() && !b.is_ascii_whitespace() {
                    (end, end_quote) = (at, None);
                }
            }
        }
    }
    let text = String::from_utf8_lossy(&value).into_owned();
    // Unquoted white space at the end does not belong to the value.
    let text = if end_quote.is_none() { text.trim_end().to_owned() } else { text };
    (Assignment { name, value: text, line, end, quote: end_quote, spans }, at, lines.max(1))
}

/// The flag this file is about.
pub const FLAG: &str = "--allowed-unsafe-sysctls";

/// Where `FLAG`'s list stands inside a value: its byte range.
pub fn flag_value(value: &str) -> Option<Range<usize>> {
    let mut from = 0;
    while let Some(found) = value[from..].find(FLAG) {
        let start = from + found;
        let after = start + FLAG.len();
        let word = start == 0 || value.as_bytes()[start - 1].is_ascii_whitespace();
        match value.as_bytes().get(after) {
            Some(b'=') if word => {
                let length = value[after + 1..].find(char::is_whitespace).unwrap_or(value.len() - after - 1);
                return Some(after + 1..after + 1 + length);
            }
            Some(b) if word && b.is_ascii_whitespace() => {
                let begin = after + (value[after..].len() - value[after..].trim_start().len());
                let length = value[begin..].find(char::is_whitespace).unwrap_or(value.len() - begin);
                return Some(begin..begin + length);
            }
            _ => from = after,
        }
    }
    None
}

/// The file's text with the flag in variable `name` set to exactly `list`; `Err` says why it can't be done safely.
pub fn set_flag(text: &str, name: &str, list: &[String]) -> Result<String, String> {
    let assignment = parse(text).into_iter().rev().find(|a| a.name == name).ok_or_else(|| format!("it does not set {name}"))?;
    let joined = list.join(",");
    let mut new = text.to_owned();
    match flag_value(&assignment.value) {
        Some(range) if range.is_empty() => return Err(format!("line {}: {FLAG} has an empty value", assignment.line)),
        Some(range) => {
            // Quotes around the list itself ('net.*') are part of the word kubelet would see; keep them out.
            let old = &assignment.value[range.clone()];
            let inner = range.start + (old.len() - old.trim_start_matches(['\'', '"']).len())
                ..range.end - (old.len() - old.trim_end_matches(['\'', '"']).len());
            let span = assignment.span(inner).ok_or_else(|| format!("line {}: the value of {FLAG} can't be located", assignment.line))?;
            new.replace_range(span, &joined);
        }
        None => {
            let gap = if assignment.value.is_empty() || assignment.value.ends_with(char::is_whitespace) { "" } else { " " };
            let addition = match assignment.quote {
                Some(_) => format!("{gap}{FLAG}={joined}"),
                // An unquoted value may hold spaces in this grammar; it ends at the end of the line.
                None => format!("{gap}{FLAG}={joined}"),
            };
            new.insert_str(assignment.end, &addition);
        }
    }
    let check = parse(&new);
    let got = check.iter().rev().find(|a| a.name == name).and_then(|a| flag_value(&a.value).map(|r| a.value[r].to_owned()));
    let others = |all: &[Assignment]| all.iter().filter(|a| a.name != name).map(|a| (a.name.clone(), a.value.clone())).collect::<Vec<_>>();
    if got.as_deref().map(|g| g.trim_matches(['\'', '"'])) != Some(joined.as_str()) || others(&check) != others(&parse(text)) {
        return Err(format!(
            "line {}: {name} is written in a way that can't be edited safely; add {FLAG}={joined} by hand",
            assignment.line
        ));
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBESPRAY: &str = "KUBE_LOG_LEVEL=\"--v=2\"\nKUBELET_ADDRESS=\"--node-ip=10.3.0.4\"\n\n\nKUBELET_ARGS=\"--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \\\n--config=/etc/kubernetes/kubelet-config.yaml \\\n--runtime-cgroups=/system.slice/containerd.service \\\n \"\nKUBELET_CLOUDPROVIDER=\"\"\n\nPATH=/usr/local/bin:/usr/bin\n";

    fn list(items: &[&str]) -> Vec<String> {
        items.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn reads_continuations_quotes_and_bare_values() {
        let all = parse(KUBESPRAY);
        let names: Vec<&str> = all.iter().map(|a| a.name.as_str()).collect();
        assert_eq!(names, ["KUBE_LOG_LEVEL", "KUBELET_ADDRESS", "KUBELET_ARGS", "KUBELET_CLOUDPROVIDER", "PATH"]);
        assert_eq!(
            all[2].value,
            "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --config=/etc/kubernetes/kubelet-config.yaml --runtime-cgroups=/system.slice/containerd.service  "
        );
        assert_eq!(all[3].value, "");
        assert_eq!(all[4].value, "/usr/local/bin:/usr/bin");
        assert_eq!(all[4].line, 11);
    }

    #[test]
    fn adds_the_flag_inside_the_quotes_and_nowhere_else() {
        let new = set_flag(KUBESPRAY, "KUBELET_ARGS", &list(&["net.*"])).unwrap();
        assert_eq!(new, KUBESPRAY.replace("\\\n \"\n", "\\\n --allowed-unsafe-sysctls=net.*\"\n"));
        let one_line = "KUBELET_ARGS=\"--v=2\"\n";
        assert_eq!(
            set_flag(one_line, "KUBELET_ARGS", &list(&["net.*"])).unwrap(),
            "KUBELET_ARGS=\"--v=2 --allowed-unsafe-sysctls=net.*\"\n"
        );
    }

    #[test]
    fn bare_values_grow_at_their_end() {
        let text = "KUBELET_EXTRA_ARGS=--node-ip=10.0.0.1\n# end\n";
        assert_eq!(
            set_flag(text, "KUBELET_EXTRA_ARGS", &list(&["net.core.somaxconn"])).unwrap(),
            "KUBELET_EXTRA_ARGS=--node-ip=10.0.0.1 --allowed-unsafe-sysctls=net.core.somaxconn\n# end\n"
        );
        assert_eq!(
            set_flag("KUBELET_EXTRA_ARGS=\n", "KUBELET_EXTRA_ARGS", &list(&["net.*"])).unwrap(),
            "KUBELET_EXTRA_ARGS=--allowed-unsafe-sysctls=net.*\n"
        );
    }

    #[test]
    fn an_existing_flag_is_changed_not_doubled() {
        let text = "A=\"--v=2 --allowed-unsafe-sysctls=kernel.msg* --x=y\"\n";
        assert_eq!(
            set_flag(text, "A", &list(&["kernel.msg*", "net.*"])).unwrap(),
            "A=\"--v=2 --allowed-unsafe-sysctls=kernel.msg*,net.* --x=y\"\n"
        );
        let quoted = "A=\"--allowed-unsafe-sysctls='net.core.somaxconn'\"\n";
        assert_eq!(
            set_flag(quoted, "A", &list(&["net.core.somaxconn", "net.*"])).unwrap(),
            "A=\"--allowed-unsafe-sysctls='net.core.somaxconn,net.*'\"\n"
        );
    }

    #[test]
    fn comments_do_not_count() {
        let text = "# KUBELET_ARGS=\"x\"\n; y=z\nKUBELET_ARGS='--v=2'\n";
        let all = parse(text);
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].value.as_str(), all[0].line, all[0].quote), ("--v=2", 3, Some('\'')));
    }
}
