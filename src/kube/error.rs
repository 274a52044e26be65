//! What goes wrong between us and an API server, in words for the operator.

use std::fmt;

/// One field an API server complains of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The field, as the server writes it: `.spec.replicas`.
    pub field: String,
    /// Why.
    pub message: String,
}

/// Why a request was not fulfilled. Each names the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubeError {
    /// No usable kubeconfig, context or credentials were found; nothing was asked.
    Config(String),
    /// No answer: not reachable, wrong certificate, too slow. Trying again may help.
    Unreachable(String),
    /// 401 and 403: the credentials are not accepted, or don't allow this.
    Denied(String),
    /// 404.
    Missing(String),
    /// 409 on server-side apply: other managers own these fields.
    Conflict {
        /// The object.
        what: String,
        /// Field by field.
        causes: Vec<Cause>,
    },
    /// 409 otherwise: somebody changed the object meanwhile, or it exists already.
    Changed(String),
    /// 422 and 400: the server refuses the object.
    Invalid {
        /// The object and the server's words.
        what: String,
        /// Field by field, where the server says so.
        causes: Vec<Cause>,
    },
    /// AIStore does something that must end first. Trying again later helps.
    Busy(String),
    /// Anything else.
    Other(String),
}

impl fmt::Display for KubeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(text)
            | Self::Unreachable(text)
            | Self::Denied(text)
            | Self::Missing(text)
            | Self::Changed(text)
            | Self::Busy(text)
            | Self::Other(text) => f.write_str(text),
            Self::Conflict { what, causes } => {
                write!(f, "{what}: other managers own fields that would be changed")?;
                causes.iter().try_for_each(|c| write!(f, "; {}: {}", c.field, c.message))
            }
            Self::Invalid { what, causes } => {
                f.write_str(what)?;
                causes.iter().try_for_each(|c| write!(f, "; {}: {}", c.field, c.message))
            }
        }
    }
}

impl std::error::Error for KubeError {}

impl KubeError {
    /// Whether asking again later may help.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    /// From what the client library says. `doing`: what was attempted, such as "apply StatefulSet ais/ais-proxy".
    pub(super) fn from_client(error: &::kube::Error, server: &str, login: &str, doing: &str) -> Self {
        use ::kube::Error as E;
        match error {
            E::Api(status) => Self::from_status(status, server, login, doing),
            E::Service(inner) => {
                let reason = reasons(inner.as_ref());
                // OpenSSL's words for a server whose certificate our kubeconfig does not vouch for.
                if reason.contains("certificate verify failed") {
                    return Self::Config(format!(
                        "{doing}: the certificate of {server} is not signed by the authority that {login} names: is this the right cluster?"
                    ));
                }
                if reason.contains("certificate expired") || reason.contains("alert certificate") {
                    return Self::Denied(format!("{doing}: {server} does not accept the client certificate of {login}: {reason}"));
                }
                Self::Unreachable(format!("{doing}: no answer from {server}: {reason}"))
            }
            E::HyperError(inner) => Self::Unreachable(format!("{doing}: no answer from {server}: {}", reasons(inner))),
            E::Auth(inner) => Self::Config(format!("{doing}: the credentials of {login} can't be used: {}", reasons(inner))),
            other => Self::Other(format!("{doing}: {server}: {}", reasons(other))),
        }
    }

    /// From a pod that lets us in only with a token of AIStore's. `from`: where ours is from.
    pub(super) fn from_pod(status: &::kube::core::Status, pod: &str, from: Option<&str>, doing: &str) -> Self {
        let give = "--token-file FILE (`token_file` in a play), $AIS_AUTHN_TOKEN or $AIS_AUTHN_TOKEN_FILE, as for AIStore's own `ais`";
        Self::Denied(match (from, status.code) {
            (None, _) => format!("{doing}: {pod} asks for a token of AIStore's authentication: give an administrator's by {give}"),
            (Some(from), 401) => {
                format!("{doing}: {pod} does not accept the token of {from}: it is wrong or has expired; give another by {give}")
            }
            (Some(from), _) => format!("{doing}: the token of {from} may not do this at {pod}: give an administrator's by {give}"),
        })
    }

    /// From an answer of AIStore's own, behind the API server, in its words; `None`: it is none of those.
    pub(super) fn from_aistore(status: &::kube::core::Status, doing: &str) -> Option<Self> {
        // `cmn.ErrHTTP`. The client gives an answer that is no Status of Kubernetes as it came.
        let answer: serde_json::Value = serde_json::from_str(status.message.trim()).ok()?;
        let message = answer["message"].as_str().map(str::trim).filter(|m| !m.is_empty())?;
        let text = format!("{doing}: AIStore answers: {message}");
        Some(match status.code {
            _ if answer["tcode"] == "ErrBusy" => Self::Busy(text),
            404 => Self::Missing(text),
            409 => Self::Busy(text),
            // A node that starts or stops; 500 is how it refuses.
            429 | 502..=504 => Self::Unreachable(text),
            _ => Self::Other(text),
        })
    }

    fn from_status(status: &::kube::core::Status, server: &str, login: &str, doing: &str) -> Self {
        let causes: Vec<Cause> =
            status.details.iter().flat_map(|d| &d.causes).map(|c| Cause { field: c.field.clone(), message: c.message.clone() }).collect();
        let is_conflict = status.details.iter().flat_map(|d| &d.causes).any(|c| c.reason == "FieldManagerConflict");
        let message = status.message.trim();
        match status.code {
            401 => Self::Denied(format!(
                "{doing}: {server} does not accept the credentials of {login}: they are wrong or have expired; renew them, or choose others with --context"
            )),
            403 => Self::Denied(format!("{doing}: {login} may not do this on {server}: {message}")),
            404 => Self::Missing(format!("{doing}: {server}: {message}")),
            409 if is_conflict => Self::Conflict { what: doing.to_owned(), causes },
            409 => Self::Changed(format!("{doing}: {server}: {message}")),
            // The message of 422 repeats the causes; without causes it is all there is.
            422 if !causes.is_empty() => Self::Invalid { what: format!("{doing}: refused by {server}"), causes },
            400 | 422 => Self::Invalid { what: format!("{doing}: refused by {server}: {message}"), causes },
            429 | 500..=599 => Self::Unreachable(format!("{doing}: {server} answers {}: {message}", status.code)),
            code => Self::Other(format!("{doing}: {server} answers {code}: {message}")),
        }
    }
}

/// An error and what is behind it, without saying the same twice.
pub(super) fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(e) = inner {
        let more = e.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        inner = e.source();
    }
    text
}
