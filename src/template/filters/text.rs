//! Filters over text and paths.

use super::{Call, DataFilter};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value as Json, json};
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

pub const FILTERS: &[(&str, DataFilter)] = &[
    ("string", |c| Ok(Json::String(python(c.value())))),
    ("b64encode", |c| Ok(Json::String(STANDARD.encode(python(c.value()))))),
    ("b64decode", |c| {
        let bytes = STANDARD.decode(python(c.value()).trim()).map_err(|e| format!("not base64: {e}"))?;
        String::from_utf8(bytes).map(Json::String).map_err(|_| "the decoded bytes are not UTF-8 text".into())
    }),
    ("basename", |c| Ok(json!(python(c.value()).rsplit('/').next().unwrap_or_default()))),
    ("dirname", |c| Ok(json!(dirname(&python(c.value()))))),
    ("expanduser", |c| {
        let text = python(c.value());
        if text.starts_with('~') {
            Err("`~` means another folder for each user: the modules expand it themselves".into())
        } else {
            Ok(json!(text))
        }
    }),
    ("splitext", |c| {
        let text = python(c.value());
        let name = text.rsplit('/').next().unwrap_or_default();
        let dot = name.trim_start_matches('.').rfind('.').map(|i| text.len() - name.trim_start_matches('.').len() + i);
        Ok(dot.map_or_else(|| json!([text, ""]), |i| json!([&text[..i], &text[i..]])))
    }),
    ("relpath", relpath),
    ("path_join", |c| {
        let parts: Vec<String> = match c.value() {
            Json::Array(items) => items.iter().map(python).collect(),
            other => vec![python(other)],
        };
        let mut path = String::new();
        for part in parts {
            if part.starts_with('/') || path.is_empty() {
                path = part;
            } else {
                if !path.ends_with('/') {
                    path.push('/');
                }
                path.push_str(&part);
            }
        }
        Ok(json!(path))
    }),
    ("quote", |c| Ok(json!(quote(&if c.value().is_null() { String::new() } else { python(c.value()) })))),
    ("hash", |c| hash(c.str(0, "hashtype").unwrap_or("sha1"), &python(c.value()))),
    ("comment", |c| {
        let style = c.str(0, "style").unwrap_or("plain");
        let prefix = match style {
            "plain" => "# ",
            "erlang" => "% ",
            "c" => "// ",
            other => return Err(format!("the style `{other}` is not supported; there are plain, erlang and c")),
        };
        let mark = c.str(usize::MAX - 1, "decoration").unwrap_or(prefix).to_owned();
        let lines: Vec<String> = python(c.value()).lines().map(|l| format!("{mark}{l}").trim_end().to_owned()).collect();
        // Behind a given first or last text only the line break stands.
        let edge = |name| c.str(usize::MAX - 1, name).unwrap_or(mark.trim_end());
        Ok(json!(format!(
            "{}{}\n{}",
            match edge("prefix") {
                "" => String::new(),
                prefix => format!("{prefix}\n"),
            },
            lines.join("\n"),
            edge("postfix")
        )))
    }),
    ("indent", |c| {
        let width = match c.arg(0, "width") {
            Some(Json::String(s)) => s.clone(),
            other => " ".repeat(other.and_then(Json::as_u64).map_or(4, |n| n.min(1000) as usize)),
        };
        let (first, blank) = (c.flag(1, "first"), c.flag(2, "blank"));
        let text = python(c.value());
        let lines = text.split('\n').enumerate().map(|(i, line)| match (i, line) {
            (0, _) if !first => line.to_owned(),
            (1.., "") if !blank => String::new(),
            _ => format!("{width}{line}"),
        });
        Ok(json!(lines.collect::<Vec<_>>().join("\n")))
    }),
    ("truncate", |c| {
        let count = |index, name, default| c.arg(index, name).and_then(Json::as_u64).map_or(default, |n| n as usize);
        let (length, leeway) = (count(0, "length", 255), count(3, "leeway", 0));
        let (kill, end, text) = (c.flag(1, "killwords"), c.str(2, "end").unwrap_or("..."), python(c.value()));
        // Jinja's own leeway is 5 characters.
        let leeway = if c.arg(3, "leeway").is_some() { leeway } else { 5 };
        if text.chars().count() <= length.saturating_add(leeway) {
            return Ok(json!(text));
        }
        let cut: String = text.chars().take(length.saturating_sub(end.chars().count())).collect();
        let cut = if kill { &cut } else { cut.rsplit_once(' ').map_or(cut.as_str(), |(words, _)| words) };
        Ok(json!(format!("{cut}{end}")))
    }),
    ("sha1", |c| hash("sha1", &python(c.value()))),
    ("checksum", |c| hash("sha1", &python(c.value()))),
    ("to_uuid", |c| {
        let space = c.str(0, "namespace").unwrap_or(ANSIBLE_UUID);
        let space: String = space.chars().filter(|c| *c != '-').collect();
        let space = u128::from_str_radix(&space, 16).map_err(|_| format!("`{space}` is no UUID"))?;
        let digest = Sha1::new().chain_update(space.to_be_bytes()).chain_update(python(c.value())).finalize();
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        // Version 5 and the variant, as RFC 9562 has them.
        bytes[6] = bytes[6] & 0x0f | 0x50;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let text = hex(&bytes);
        Ok(json!([&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")))
    }),
    ("strftime", |c| {
        let seconds = match c.arg(0, "second") {
            Some(Json::Number(n)) => n.as_f64().unwrap_or(0.0) as i64,
            Some(Json::String(s)) => s.trim().parse::<f64>().map_err(|_| format!("`{s}` is not a number of seconds"))? as i64,
            _ => std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map(|d| d.as_secs() as i64).unwrap_or(0),
        };
        let _utc = c.flag(1, "utc");
        Ok(json!(super::super::time::strftime(&python(c.value()), seconds)))
    }),
];

/// A value as Python's `str()` prints it.
pub fn python(value: &Json) -> String {
    fn repr(value: &Json) -> String {
        match value {
            Json::String(s) if s.contains('\'') && !s.contains('"') => format!("\"{s}\""),
            Json::String(s) => format!("'{}'", s.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n").replace('\t', "\\t")),
            other => python(other),
        }
    }
    match value {
        Json::Null => "None".into(),
        Json::Bool(true) => "True".into(),
        Json::Bool(false) => "False".into(),
        Json::Number(n) => match n.as_f64().filter(|_| n.is_f64()) {
            Some(x) => float(x),
            None => n.to_string(),
        },
        Json::String(s) => s.clone(),
        Json::Array(items) => format!("[{}]", items.iter().map(repr).collect::<Vec<_>>().join(", ")),
        Json::Object(map) => format!(
            "{{{}}}",
            map.iter().map(|(k, v)| format!("{}: {}", repr(&Json::from(k.as_str())), repr(v))).collect::<Vec<_>>().join(", ")
        ),
    }
}

/// A number as Python's `repr` prints it: with an exponent of two digits below 1e-4 and from 1e16 on.
fn float(x: f64) -> String {
    let text = format!("{x:e}");
    match text.split_once('e').and_then(|(digits, power)| Some((digits, power.parse::<i32>().ok()?))) {
        Some((digits, power)) if !(-4..16).contains(&power) => {
            format!("{digits}e{}{:02}", if power < 0 { '-' } else { '+' }, power.abs())
        }
        _ if x.fract() == 0.0 => format!("{x:.1}"),
        _ => x.to_string(),
    }
}

fn dirname(path: &str) -> String {
    match path.rfind('/') {
        None => String::new(),
        Some(i) => {
            let head = &path[..=i];
            let trimmed = head.trim_end_matches('/');
            if trimmed.is_empty() { head.to_owned() } else { trimmed.to_owned() }
        }
    }
}

fn relpath(c: &Call) -> Result<Json, String> {
    let start = c.str(0, "start").ok_or("a start folder is needed")?;
    let path = python(c.value());
    if !path.starts_with('/') || !start.starts_with('/') {
        return Err("both paths must be absolute".into());
    }
    let parts = |p: &str| -> Vec<String> { p.split('/').filter(|s| !s.is_empty() && *s != ".").map(str::to_owned).collect() };
    let (path, start) = (parts(&path), parts(start));
    let common = path.iter().zip(&start).take_while(|(a, b)| a == b).count();
    let mut out: Vec<String> = vec!["..".to_owned(); start.len() - common];
    out.extend(path[common..].iter().cloned());
    Ok(json!(if out.is_empty() { ".".to_owned() } else { out.join("/") }))
}

/// A text quoted for the shell, as Python's `shlex.quote`.
fn quote(text: &str) -> String {
    let safe = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c));
    if safe { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\"'\"'")) }
}

/// The namespace of Ansible's `to_uuid`.
const ANSIBLE_UUID: &str = "361E6D51-FAEC-444A-9079-341386DA8E2E";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn hash(kind: &str, text: &str) -> Result<Json, String> {
    Ok(json!(match kind {
        "sha1" => hex(&Sha1::digest(text)),
        "sha224" => hex(&Sha224::digest(text)),
        "sha256" => hex(&Sha256::digest(text)),
        "sha384" => hex(&Sha384::digest(text)),
        "sha512" => hex(&Sha512::digest(text)),
        other => return Err(format!("`{other}` is not supported; there are sha1, sha224, sha256, sha384 and sha512")),
    }))
}
