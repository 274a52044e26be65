//! Journal entries as lines to read.

use super::style::{Paint, Tone};
use serde_json::Value as Json;

/// A host's entries (see `host::journal::Entry`) as lines, oldest first: a heading a run, a line a change.
pub fn lines(entries: &[Json], paint: Paint) -> Vec<String> {
    let mut out = vec![];
    for (i, entry) in entries.iter().enumerate() {
        let text = |key: &str| entry[key].as_str().unwrap_or("?");
        match text("event") {
            "run_begin" => {
                let head = format!("run {}  {}  {} by {}", text("run"), text("at"), text("purpose"), text("by"));
                out.push(paint.text(Tone::Strong, &head));
            }
            "change_begin" => {
                let end =
                    entries[i + 1..].iter().find(|e| e["event"] == "change_end" && e["run"] == entry["run"] && e["seq"] == entry["seq"]);
                let (tone, mark, note) = match end {
                    None => (Tone::Doubt, "?", "  begun; nobody noted its end".to_owned()),
                    Some(end) => match end["error"].as_str() {
                        None => (Tone::Change, "~", String::new()),
                        Some(error) => (Tone::Bad, "!", format!("  failed: {error}")),
                    },
                };
                let undo = match &entry["undo"]["Err"] {
                    Json::String(reason) => paint.text(Tone::Faint, &format!("  (can't be undone: {reason})")),
                    _ => String::new(),
                };
                out.push(format!(
                    "  {} {}  {}{note}{undo}",
                    paint.text(tone, mark),
                    text("summary"),
                    paint.text(Tone::Faint, text("task"))
                ));
            }
            "handler" if entry["state"] == "notified" => {
                let same = |e: &&Json| e["event"] == "handler" && e["play"] == entry["play"] && e["handler"] == entry["handler"];
                let later = entries[i + 1..]
                    .iter()
                    .filter(same)
                    .find(|e| e["state"] == "ran" || e["run"] == entry["run"] && e["state"] != "notified");
                let (tone, mark, note) = match later {
                    None => (Tone::Doubt, "?", "  it has not run".to_owned()),
                    Some(end) if end["state"] != "ran" => continue,
                    Some(end) if end["run"] == entry["run"] => (Tone::Change, ">", String::new()),
                    Some(end) => (Tone::Change, ">", format!("  it ran in run {}", end["run"].as_str().unwrap_or("?"))),
                };
                let task = paint.text(Tone::Faint, text("task"));
                out.push(format!("  {} notify {}  {task}{note}", paint.text(tone, mark), text("handler")));
            }
            "run_end" => {
                let how = match &entry["how"] {
                    Json::Object(map) => map.iter().next().map_or_else(String::new, |(k, v)| format!("{k}: {}", v.as_str().unwrap_or(""))),
                    other => other.as_str().unwrap_or("?").to_owned(),
                };
                out.push(format!("  {}", paint.text(Tone::Faint, &format!("ended {}: {how}", text("at")))));
            }
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_change_without_an_end_is_told() {
        let entries = [
            json!({"event": "run_begin", "at": "T", "run": "r1", "by": "me@here", "purpose": "apply x.yml"}),
            json!({"event": "change_begin", "at": "T", "run": "r1", "seq": 1, "task": "a.yml:1:1", "summary": "write /etc/x", "undo": {"Ok": []}}),
            json!({"event": "change_end", "at": "T", "run": "r1", "seq": 1, "error": null}),
            json!({"event": "change_begin", "at": "T", "run": "r1", "seq": 2, "task": "a.yml:2:1", "summary": "format /dev/sdb", "undo": {"Err": "what was there is gone"}}),
        ];
        let text = lines(&entries, Paint { on: false });
        assert_eq!(text[0], "run r1  T  apply x.yml by me@here");
        assert_eq!(text[1], "  ~ write /etc/x  a.yml:1:1");
        assert_eq!(text[2], "  ? format /dev/sdb  a.yml:2:1  begun; nobody noted its end  (can't be undone: what was there is gone)");
    }

    #[test]
    fn a_handler_is_told_with_when_it_ran() {
        let handler = |run: &str, state: &str| json!({"event": "handler", "at": "T", "run": run, "play": "p", "handler": "restart", "task": "a.yml:1:1", "state": state});
        let told = |entries: &[Json]| lines(entries, Paint { on: false });
        assert_eq!(told(&[handler("r1", "notified")]), ["  ? notify restart  a.yml:1:1  it has not run"]);
        assert_eq!(told(&[handler("r1", "notified"), handler("r1", "ran")]), ["  > notify restart  a.yml:1:1"]);
        assert_eq!(told(&[handler("r1", "notified"), handler("r2", "ran")]), ["  > notify restart  a.yml:1:1  it ran in run r2"]);
        assert!(told(&[handler("r1", "notified"), handler("r1", "not_needed")]).is_empty());
    }
}
