//! The namespace of several clusters: what one deploys takes no other's labels away.

use super::apply::{Applied, Options, apply};
use super::labels::owned;
use super::{Cause, Info, KubeError, Server, kind};
use crate::cluster::Object;
use serde_json::Value as Json;
use std::collections::BTreeSet;

/// Applies an object of the cluster. A namespace keeps the labels that fettle gave it before, as long as another cluster that fettle
/// made lives in it: whose they are nobody can tell. Another value for one of them is a conflict.
pub async fn apply_shared(server: &Server, info: &Info, object: &Object, options: Options) -> Result<Applied, KubeError> {
    let (Some(namespaces), Some(sets)) = (kind("Namespace").filter(|k| k.name == object.kind()), kind("StatefulSet")) else {
        return apply(server, object, options).await;
    };
    let before = server.get(namespaces, None, object.name()).await?;
    let labels = before.map(|before| differing(&before, &object.json)).unwrap_or_default();
    if labels.is_empty() {
        return apply(server, object, options).await;
    }
    let list = server.list(sets, Some(&info.namespace), &format!("app.kubernetes.io/managed-by={}", super::MANAGER)).await?;
    let others = others(info, &list);
    if others.is_empty() {
        return apply(server, object, options).await;
    }
    let mut whole = object.clone();
    let mut causes = vec![];
    for (key, was) in labels {
        match &mut whole.json["metadata"]["labels"][&key] {
            missing @ Json::Null => *missing = Json::from(was),
            would => causes.push(Cause {
                field: format!(".metadata.labels.{key}"),
                message: format!(
                    "is `{was}`, would be `{}`, and is the namespace of the cluster {} too",
                    would.as_str().unwrap_or_default(),
                    others.iter().copied().collect::<Vec<_>>().join(", ")
                ),
            }),
        }
    }
    if !causes.is_empty() && !options.force {
        return Err(KubeError::Conflict { what: format!("apply {}", object.title()), causes });
    }
    apply(server, &whole, options).await
}

/// Labels that fettle gave a namespace and that are not as `wanted` has them, with their values.
fn differing(before: &Json, wanted: &Json) -> Vec<(String, String)> {
    let value = |object: &Json, key: &str| object["metadata"]["labels"][key].as_str().map(str::to_owned);
    let own = owned(before).into_iter().filter_map(|key| Some((value(before, &key)?, key)));
    own.filter(|(was, key)| value(wanted, key).as_ref() != Some(was)).map(|(was, key)| (key, was)).collect()
}

/// The other clusters that StatefulSets are of.
fn others<'a>(info: &Info, sets: &'a [Json]) -> BTreeSet<&'a str> {
    let names = sets.iter().filter_map(|s| s["metadata"]["labels"]["app.kubernetes.io/name"].as_str());
    names.filter(|name| *name != info.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn labels_of_others_are_not_ours_to_keep() {
        let before = json!({"metadata": {"labels": {"a": "1", "b": "1", "c": "1", "d": "1"}, "managedFields": [
            {"manager": "fettle", "operation": "Apply", "fieldsV1": {"f:metadata": {"f:labels": {"f:a": {}, "f:b": {}, "f:c": {}}}}}]}});
        let wanted = json!({"metadata": {"labels": {"a": "1", "b": "2"}}});
        assert_eq!(differing(&before, &wanted), [("b".to_owned(), "1".to_owned()), ("c".to_owned(), "1".to_owned())]);
    }
}
