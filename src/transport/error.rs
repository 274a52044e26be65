//! Why a host could not be worked on. Every one of these ends as "unreachable" for its host only.

/// Why there is no connection, or none any more. The words go to the operator as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// No answer at this address.
    #[error("{0}")]
    Unreachable(String),
    /// The host key is unknown, changed or revoked.
    #[error("{0}")]
    HostKey(String),
    /// No way to log in worked.
    #[error("{0}")]
    Auth(String),
    /// There is no agent for this kind of machine, or it could not be put in place.
    #[error("{0}")]
    Agent(String),
    /// sudo refused.
    #[error("{0}")]
    Sudo(String),
    /// The connection broke in the middle.
    #[error("{0}")]
    Lost(String),
}
