//! Whether a cluster that has keys for authentication asks anybody for a token.

use super::Resolved;
use crate::diag::Diagnostic;

/// A warning where keys are given and nobody is asked: AIStore's `auth.client_auth_required` is off unless the configuration says so.
pub fn warning(r: &Resolved) -> Option<Diagnostic> {
    let (auth, config) = (r.cluster.auth.as_ref()?, &r.cluster.config);
    // `enabled` is its name before 5.0, and still understood.
    let asks = ["auth.client_auth_required", "auth.enabled"].iter().any(|path| config.get(path) == Some(&serde_json::Value::Bool(true)));
    let given = auth.signing_key_secret.is_some() || auth.issuer_ca_config_map.is_some();
    let text = "`auth` says how tokens are checked, and nothing asks for them: everybody who reaches the cluster may do everything";
    (given && !asks).then(|| {
        Diagnostic::warning(&auth.loc, text.to_owned()).help(
            "with a signing key: `config: {auth: {client_auth_required: true, signature: {method: HS256}}}`; with OIDC: \
             `client_auth_required: true` and `oidc.allowed_iss` (before AIStore 5.0 its name is `enabled`)",
        )
    })
}
