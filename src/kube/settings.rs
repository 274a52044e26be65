//! The settings a running cluster has, against those its spec gives. AIStore keeps its configuration itself and reads the spec's at its
//! very first start only, so the two may part without any object changing: a cluster that was deleted and deployed anew, or a change
//! by somebody else.

use super::members::{self, Map};
use super::pods::pods;
use super::running::{TOLD, note};
use super::{Info, KubeError, Progress, Server};
use serde_json::{Map as Object, Value as Json, json};
use std::fmt;

/// A setting that is not as the spec says.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// `mirror`, `enabled`.
    pub keys: Vec<String>,
    /// As it is; null: the cluster does not say.
    pub now: Json,
    /// As the spec says.
    pub wanted: Json,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path();
        // As `auth.secret`, which AIStore hides, too.
        if path.contains("secret") { write!(f, "{path}: changed") } else { write!(f, "{path}: {} → {}", self.now, self.wanted) }
    }
}

impl Setting {
    /// `mirror.enabled`.
    pub fn path(&self) -> String {
        self.keys.join(".")
    }

    /// How it is noted what the cluster answered.
    fn answer(&self) -> Json {
        json!([self.wanted, self.now])
    }
}

/// What differs. `told`: what the cluster answered after it was told such a setting before, by path; it writes some values its own way,
/// and does not show others.
pub fn differing(running: &Json, wanted: &Json, told: &Json) -> Vec<Setting> {
    let mut all = vec![];
    walk(&[], running, wanted, &mut all);
    all.retain(|s| told.get(s.path()) != Some(&s.answer()));
    all
}

fn walk(keys: &[String], running: &Json, wanted: &Json, all: &mut Vec<Setting>) {
    if let Json::Object(wanted) = wanted {
        for (key, value) in wanted {
            let keys = [keys, std::slice::from_ref(key)].concat();
            walk(&keys, running.get(key).unwrap_or(&Json::Null), value, all);
        }
    } else if !same(running, wanted) {
        all.push(Setting { keys: keys.to_vec(), now: running.clone(), wanted: wanted.clone() });
    }
}

/// Whether two values say the same: `60s` and `1m`, `1024KiB` and `1MiB`, `"3"` and `3`.
fn same(a: &Json, b: &Json) -> bool {
    let text = |json: &Json| match json {
        Json::String(s) => Some(s.trim().to_owned()),
        Json::Number(_) | Json::Bool(_) => Some(json.to_string()),
        _ => None,
    };
    // AIStore leaves out lists that are empty.
    if a == b || (a.is_null() && b.as_array().is_some_and(Vec::is_empty)) {
        return true;
    }
    let (Some(a), Some(b)) = (text(a), text(b)) else { return false };
    let both = |read: fn(&str) -> Option<i128>| read(&a).is_some_and(|a| read(&b) == Some(a));
    a == b || both(nanoseconds) || both(bytes)
}

/// `12.5` and `ms` of `12.5ms…`, and the rest.
fn amount(text: &str) -> Option<(f64, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(letters);
    Some((number.parse().ok()?, unit, rest))
}

#[expect(clippy::cast_possible_truncation, reason = "as saturates, and such amounts are nobody's")]
fn whole(number: f64) -> i128 {
    number.round() as i128
}

/// A duration as Go writes it.
fn nanoseconds(text: &str) -> Option<i128> {
    let mut total = 0i128;
    let mut rest = text;
    if text == "0" {
        return Some(0);
    }
    while !rest.is_empty() {
        let (number, unit, after) = amount(rest)?;
        let unit = match unit {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total = total.checked_add(whole(number * unit))?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

/// A size; AIStore reads `KB` and `K` as `KiB` in its configuration (`cos.SizeIEC`).
fn bytes(text: &str) -> Option<i128> {
    let (number, unit, rest) = amount(text)?;
    let power = match unit.trim().to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KI" | "KB" | "KIB" => 1,
        "M" | "MI" | "MB" | "MIB" => 2,
        "G" | "GI" | "GB" | "GIB" => 3,
        "T" | "TI" | "TB" | "TIB" => 4,
        _ => return None,
    };
    rest.is_empty().then(|| whole(number * 1024f64.powi(power)))
}

/// The settings as AIStore takes them: `{"mirror": {"enabled": true}}`.
fn nested(settings: &[Setting]) -> Json {
    let mut all = json!({});
    for setting in settings {
        let mut place = &mut all;
        for key in &setting.keys {
            place = &mut place[key];
        }
        *place = setting.wanted.clone();
    }
    all
}

/// Tells a cluster that is complete what it has otherwise than the spec.
pub async fn tell(server: &Server, info: &Info, map: &Map, told: &Json, progress: &mut dyn Progress) -> Result<(), KubeError> {
    let pods = pods(server, info).await?;
    let ask = || members::config(server, info, map, &pods);
    let settings = differing(&ask().await?, &info.config, told);
    if settings.is_empty() {
        return Ok(());
    }
    match members::set_config(server, info, map, &pods, &nested(&settings)).await {
        Ok(()) => {}
        Err(e) if e.is_passing() => return Err(e),
        // It serves all the same, and is asked again by the next run.
        Err(e) => {
            let paths: Vec<String> = settings.iter().map(Setting::path).collect();
            progress.line(&format!("configuration: the running cluster does not take {}: {e}", paths.join(", ")));
            return Ok(());
        }
    }
    for setting in &settings {
        progress.line(&format!("configuration: {setting}"));
    }
    let mut answered = Object::new();
    for setting in differing(&ask().await?, &info.config, &Json::Null) {
        answered.insert(setting.path(), setting.answer());
    }
    let answered = Json::Object(answered);
    if answered == *told { Ok(()) } else { note(server, info, TOLD, &json!(answered.to_string())).await }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_written_in_many_ways() {
        for (a, b) in [
            (json!("1m"), json!("60s")),
            (json!("1h30m"), json!("90m")),
            (json!("1.5s"), json!("1500ms")),
            (json!("0s"), json!("0")),
            (json!("1MiB"), json!("1024KiB")),
            (json!("64KiB"), json!(65536)),
            (json!(3), json!("3")),
            (json!(null), json!([])),
        ] {
            assert!(same(&a, &b), "{a} {b}");
        }
        for (a, b) in [
            (json!("1m"), json!("1s")),
            (json!("1MiB"), json!("1GiB")),
            (json!("80%"), json!("81%")),
            (json!(true), json!(false)),
            (json!(null), json!(0)),
            (json!(["a"]), json!(["b"])),
            (json!(""), json!("x")),
        ] {
            assert!(!same(&a, &b), "{a} {b}");
        }
    }

    #[test]
    fn only_what_differs_is_told_and_only_once() {
        let running = json!({"mirror": {"enabled": true, "copies": 2}, "timeout": {"a": "1m"}, "auth": {"secret": "****"}});
        let wanted = json!({"mirror": {"enabled": false}, "timeout": {"a": "60s"}, "auth": {"secret": "x"}, "backend": {"aws": {}}});
        let settings = differing(&running, &wanted, &json!({"auth.secret": ["x", "****"]}));
        assert_eq!(settings.iter().map(ToString::to_string).collect::<Vec<_>>(), ["mirror.enabled: true → false"]);
        assert_eq!(nested(&settings), json!({"mirror": {"enabled": false}}));
        // Another answer than then is told again.
        assert_eq!(differing(&running, &wanted, &json!({"auth.secret": ["x", "***"]})).len(), 2);
    }
}
