//! What an API server warns of beside its answers: deprecated versions, pods that a namespace's policy would not have.

use http::HeaderMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The warnings of a server so far, each once.
#[derive(Clone, Debug, Default)]
pub struct Warnings(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    all: Vec<String>,
    told: usize,
}

impl Warnings {
    /// Notes those of an answer.
    pub(super) fn note(&self, headers: &HeaderMap) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for value in headers.get_all(http::header::WARNING) {
            if let Some(text) = value.to_str().ok().and_then(text)
                && !seen.all.contains(&text)
            {
                seen.all.push(text);
            }
        }
    }

    /// Those that were not told before.
    pub fn fresh(&self) -> Vec<String> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = seen.all.get(seen.told..).unwrap_or_default().to_vec();
        seen.told = seen.all.len();
        fresh
    }
}

/// The text of a header: `299 - "text"`, with backslashes before quotes (RFC 7234, 5.5). Kubernetes warns with 299 only.
fn text(header: &str) -> Option<String> {
    let quoted = header.strip_prefix("299 ")?.split_once(' ')?.1.strip_prefix('"')?;
    let mut out = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some(format!("the API server warns: {out}")),
            '\\' => out.push(chars.next()?),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once() {
        let warnings = Warnings::default();
        let mut headers = HeaderMap::new();
        for value in
            [r#"299 - "would violate \"restricted\"""#, r#"299 - "old""#, r#"299 - "old""#, r#"199 - "no""#, "299 - \"cut off", "nonsense"]
        {
            headers.append(http::header::WARNING, value.parse().unwrap());
        }
        warnings.note(&headers);
        assert_eq!(warnings.fresh(), [r#"the API server warns: would violate "restricted""#, "the API server warns: old"]);
        warnings.note(&headers);
        assert!(warnings.fresh().is_empty());
    }
}
