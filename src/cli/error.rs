//! How a command ends.

use crate::diag::{Diagnostic, Diagnostics};
use crate::report::diagnostic::render;

/// An exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(pub u8);

/// Why a command did not do its work.
#[derive(Debug)]
pub enum CliError {
    /// Something is wrong in the operator's files or options; no host was touched. Exit code 4, as
    /// ansible-playbook's parser errors.
    Input(Diagnostics),
    /// Anything else, in words for the operator. Exit code 1.
    Failed(String),
}

impl CliError {
    /// Its exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Input(_) => 4,
            Self::Failed(_) => 1,
        }
    }

    /// Prints it on standard error.
    pub fn print(&self) {
        use std::io::IsTerminal;
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        match self {
            Self::Input(all) => {
                eprintln!("{}", render(&all.0, colour).trim_end());
                eprintln!("No host was touched.");
            }
            Self::Failed(message) => eprintln!("{}", render(&[Diagnostic::bare(message.clone())], colour).trim_end()),
        }
    }
}

impl From<Diagnostics> for CliError {
    fn from(all: Diagnostics) -> Self {
        Self::Input(all)
    }
}

impl From<Diagnostic> for CliError {
    fn from(one: Diagnostic) -> Self {
        Self::Input(one.into())
    }
}

impl From<String> for CliError {
    fn from(message: String) -> Self {
        Self::Failed(message)
    }
}

impl From<crate::kube::KubeError> for CliError {
    fn from(error: crate::kube::KubeError) -> Self {
        Self::Failed(error.to_string())
    }
}
