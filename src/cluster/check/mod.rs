//! What AIStore or Kubernetes would refuse later and less clearly, said now, with the line and the reason.

mod access;
mod names;
mod nodes;
mod server;
mod settings;
mod storage;
mod together;

use super::resolve::Resolved;
use crate::diag::Diagnostics;

pub use access::on_host;
pub use together::check_together;

impl Resolved {
    /// All that can be known without asking a host or the API server. Errors come first.
    pub fn check(&self) -> Diagnostics {
        let mut out = Diagnostics::default();
        names::check(self, &mut out);
        nodes::check(self, &mut out);
        storage::check(self, &mut out);
        access::check(self, &mut out);
        server::check(self, &mut out);
        settings::check(self, &mut out);
        out.0.sort_by_key(|d| d.severity == crate::diag::Severity::Warning);
        out
    }
}
