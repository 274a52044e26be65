//! One Kubernetes object, as it is rendered, applied and compared.

use serde_json::Value as Json;

/// A manifest: what `fettle render` prints and `fettle deploy` applies.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The whole manifest.
    pub json: Json,
}

impl Object {
    /// The text at a JSON pointer, or nothing.
    fn text(&self, pointer: &str) -> &str {
        self.json.pointer(pointer).and_then(Json::as_str).unwrap_or_default()
    }

    /// `apps/v1`, `v1`.
    pub fn api_version(&self) -> &str {
        self.text("/apiVersion")
    }

    /// `StatefulSet`.
    pub fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// `metadata.namespace`; `None` for what belongs to no namespace.
    pub fn namespace(&self) -> Option<&str> {
        Some(self.text("/metadata/namespace")).filter(|n| !n.is_empty())
    }

    /// `StatefulSet ais/ais-proxy`, for messages.
    pub fn title(&self) -> String {
        match self.namespace() {
            Some(namespace) => format!("{} {namespace}/{}", self.kind(), self.name()),
            None => format!("{} {}", self.kind(), self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_itself() {
        let object =
            Object { json: json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "ais-proxy", "namespace": "ais"}}) };
        assert_eq!(object.title(), "StatefulSet ais/ais-proxy");
        let bare = Object { json: json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ais"}}) };
        assert_eq!((bare.title().as_str(), bare.namespace()), ("Namespace ais", None));
    }
}
