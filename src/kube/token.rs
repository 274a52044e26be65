//! The token that nodes of a cluster with authentication ask for, from where AIStore's own command line takes it.

use super::KubeError;
use http::HeaderValue;
use std::fmt;
use std::path::{Path, PathBuf};

/// The header it travels in. `Authorization` is for the API server, which does not pass it on; AIStore takes this one as well
/// (its `tok.ExtractToken`).
pub(super) const HEADER: &str = "x-amz-security-token";

/// A token, and where it is from. It is never shown.
#[derive(Clone)]
pub struct Token {
    pub(super) value: HeaderValue,
    pub(super) from: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the token of {}", self.from)
    }
}

impl Token {
    /// From `file`; without one from `$AIS_AUTHN_TOKEN`, the token itself, or `$AIS_AUTHN_TOKEN_FILE`, as AIStore's `ais` does.
    /// `None`: there is none.
    pub fn find(file: Option<&Path>) -> Result<Option<Self>, KubeError> {
        let env = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
        if let Some(token) = env("AIS_AUTHN_TOKEN").filter(|_| file.is_none()) {
            return Self::read(&token.to_string_lossy(), "$AIS_AUTHN_TOKEN").map(Some);
        }
        let Some(file) = file.map(Path::to_path_buf).or_else(|| env("AIS_AUTHN_TOKEN_FILE").map(PathBuf::from)) else { return Ok(None) };
        let from = file.display().to_string();
        let text = std::fs::read_to_string(&file).map_err(|e| KubeError::Config(format!("the token file {from} can't be read: {e}")))?;
        Self::read(&text, &from).map(Some)
    }

    /// The token as it is, or as `ais auth login` writes it: `{"token": "…"}`.
    fn read(text: &str, from: &str) -> Result<Self, KubeError> {
        let wrong = |why: &str| KubeError::Config(format!("{from} holds no token: {why}"));
        let text = text.trim();
        let token = if text.starts_with('{') {
            let json: serde_json::Value = serde_json::from_str(text).map_err(|e| wrong(&format!("it is no JSON, line {}", e.line())))?;
            json["token"].as_str().ok_or_else(|| wrong("its JSON has no `token`"))?.to_owned()
        } else {
            text.to_owned()
        };
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(wrong("a token is one word of letters, digits and signs"));
        }
        let mut value = HeaderValue::from_str(&token).map_err(|_| wrong("it can't be sent in a header"))?;
        value.set_sensitive(true);
        Ok(Self { value, from: from.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_as_ais_writes_them_and_never_shown() {
        for text in ["eyJ.abc.def\n", "{\"token\": \"eyJ.abc.def\"}"] {
            let token = Token::read(text, "f").unwrap();
            assert_eq!(token.value, "eyJ.abc.def");
            assert!(!format!("{token:?}").contains("eyJ"));
        }
        for wrong in ["", "{}", "{\"token\": 5}", "two words", "{broken secret"] {
            let text = Token::read(wrong, "f").unwrap_err().to_string();
            assert!(text.starts_with("f holds no token: ") && !text.contains("secret"), "{text}");
        }
    }
}
