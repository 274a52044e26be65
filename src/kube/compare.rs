//! What differs between an object as it is and as it will be, leaving out what servers write by themselves.

use crate::cluster::amount;
use crate::host::Diff;
use serde_json::Value as Json;

/// What the server keeps about every object; no part of what anybody asked for.
const SERVERS_OWN: &[&str] = &["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"];

/// The object without what the server keeps about it.
pub fn essence(object: &Json) -> Json {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    if let Some(metadata) = object.pointer_mut("/metadata").and_then(Json::as_object_mut) {
        for name in SERVERS_OWN {
            metadata.remove(*name);
        }
    }
    object
}

/// The difference as a diff of YAML; `None`: there is none. Values of Secrets are not shown.
pub fn difference(title: &str, before: Option<&Json>, after: &Json) -> Option<Diff> {
    let (before, after) = (before.map(essence), essence(after));
    if before.as_ref() == Some(&after) {
        return None;
    }
    let text = |json: &Json| {
        let mut json = json.clone();
        if json["kind"] == "Secret" {
            hide(&mut json);
        }
        sort(&mut json);
        crate::cluster::document(&json)
    };
    Some(Diff {
        before_header: if before.is_some() { title.to_owned() } else { "nothing".into() },
        after_header: title.to_owned(),
        before: before.as_ref().map(text).unwrap_or_default(),
        after: text(&after),
    })
}

fn hide(secret: &mut Json) {
    use sha2::{Digest, Sha256};
    for part in ["data", "stringData"] {
        for (_, value) in secret[part].as_object_mut().into_iter().flatten() {
            let digest = Sha256::digest(value.to_string());
            *value = Json::from(format!("(secret, {:02x}{:02x}{:02x}{:02x})", digest[0], digest[1], digest[2], digest[3]));
        }
    }
}

/// Puts all keys in order: servers answer in an order of their own.
fn sort(json: &mut Json) {
    match json {
        Json::Object(map) => {
            map.sort_keys();
            map.values_mut().for_each(sort);
        }
        Json::Array(items) => items.iter_mut().for_each(sort),
        _ => {}
    }
}

/// Whether everything `wanted` says is so in `live`, which may say more (defaults the server filled in).
pub fn covers(live: &Json, wanted: &Json) -> bool {
    covers_in("", live, wanted)
}

/// The same for what stands under the key `name`.
fn covers_in(name: &str, live: &Json, wanted: &Json) -> bool {
    match (live, wanted) {
        (Json::Object(live), Json::Object(wanted)) => wanted.iter().all(|(key, value)| match live.get(key) {
            Some(live) if AMOUNTS.contains(&name) => live == value || same_amount(live, value),
            Some(live) => covers_in(key, live, value),
            None => is_nothing(value),
        }),
        (Json::Array(live), Json::Array(wanted)) => live.len() == wanted.len() && live.iter().zip(wanted).all(|(l, w)| covers(l, w)),
        (live, wanted) => live == wanted,
    }
}

/// What holds quantities of resources, which servers write in their own way: `1Ti` for `1024Gi`.
const AMOUNTS: &[&str] = &["requests", "limits", "capacity"];

fn same_amount(live: &Json, wanted: &Json) -> bool {
    let amount = |json: &Json| json.as_str().and_then(amount);
    // `700m` is not to the last bit what `0.7` is; and a byte of a petabyte is more than this.
    matches!((amount(live), amount(wanted)), (Some(a), Some(b)) if (a - b).abs() <= b.abs() * 4.0 * f64::EPSILON)
}

fn is_nothing(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Object(map) => map.is_empty(),
        Json::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn servers_own_words_are_no_difference() {
        let before =
            json!({"kind": "ConfigMap", "metadata": {"name": "a", "resourceVersion": "5", "managedFields": []}, "data": {"x": "1"}});
        let mut after = json!({"data": {"x": "1"}, "kind": "ConfigMap", "metadata": {"resourceVersion": "6", "name": "a"}, "status": {}});
        assert_eq!(difference("ConfigMap a", Some(&before), &after), None);
        after["data"]["x"] = json!("2");
        let diff = difference("ConfigMap a", Some(&before), &after).unwrap();
        assert!(diff.before.contains("x: \"1\"") && diff.after.contains("x: \"2\""), "{diff:?}");
    }

    #[test]
    fn secrets_stay_secret() {
        let secret = |value: &str| json!({"kind": "Secret", "metadata": {"name": "a"}, "data": {"key": value}});
        let diff = difference("Secret a", Some(&secret("aHVudGVyMg==")), &secret("aHVudGVyMw==")).unwrap();
        assert!(!format!("{diff:?}").contains("aHVudGVy"), "{diff:?}");
        assert_ne!(diff.before, diff.after);
    }

    #[test]
    fn defaults_are_covered() {
        let live = json!({"a": [{"name": "x", "mode": 420}], "b": 1});
        assert!(covers(&live, &json!({"a": [{"name": "x"}]})));
        assert!(covers(&live, &json!({"c": {}})));
        assert!(!covers(&live, &json!({"a": [{"name": "y"}]})));
        assert!(!covers(&live, &json!({"a": []})));
        assert!(!covers(&live, &json!({"c": 1})));
    }

    #[test]
    fn quantities_are_compared_by_what_they_mean() {
        let of = |name: &str, amount: &str| json!({"resources": {name: {"storage": amount}}});
        for (live, wanted) in
            [("1Ti", "1024Gi"), ("1T", "1000G"), ("500m", "0.5"), ("700m", "0.7"), ("1", "1000m"), ("322122547200m", "0.3Gi")]
        {
            assert!(covers(&of("requests", live), &of("requests", wanted)), "{live} {wanted}");
            assert!(covers(&of("limits", live), &of("limits", wanted)), "{live} {wanted}");
            // Labels, arguments and the like are text.
            assert!(!covers(&of("labels", live), &of("labels", wanted)), "{live} {wanted}");
        }
        for (live, wanted) in [("1Ti", "1T"), ("1Pi", "1125899906842623"), ("1Gi", "x"), ("x", "y")] {
            assert!(!covers(&of("requests", live), &of("requests", wanted)), "{live} {wanted}");
        }
    }
}
