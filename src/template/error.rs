//! Why a template could not be rendered.

use crate::diag::Diagnostic;

/// Why a template, condition or expression gave no value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TemplateError {
    /// It reads something a dry run cannot know; the text says what.
    #[error("unknown until applied: {0}")]
    Unknown(String),
    /// It reads an undefined variable.
    #[error("{0}")]
    Undefined(Diagnostic),
    /// Anything else: syntax, a filter's complaint, a loop of variables.
    #[error("{0}")]
    Failed(Diagnostic),
}
