//! Filters over lists, mappings and numbers.

use super::super::tests::truthy;
use super::{Call, DataFilter};
use crate::yaml;
use serde_json::{Map, Value as Json, json};

pub const FILTERS: &[(&str, DataFilter)] = &[
    ("bool", bool),
    ("int", int),
    ("float", float),
    ("combine", combine),
    ("dict2items", dict2items),
    ("items2dict", items2dict),
    ("union", |c| sets(c, |a, b| a.iter().chain(b).cloned().collect())),
    ("intersect", |c| sets(c, |a, b| a.iter().filter(|x| b.contains(x)).cloned().collect())),
    ("difference", |c| sets(c, |a, b| a.iter().filter(|x| !b.contains(x)).cloned().collect())),
    ("symmetric_difference", |c| {
        sets(c, |a, b| a.iter().filter(|x| !b.contains(x)).chain(b.iter().filter(|x| !a.contains(x))).cloned().collect())
    }),
    ("flatten", flatten),
    ("product", product),
    ("zip", |c| zip(c, None)),
    ("zip_longest", |c| zip(c, Some(c.arg(usize::MAX - 1, "fillvalue").cloned().unwrap_or(Json::Null)))),
    ("subelements", subelements),
    ("combinations", |c| arrangements(c, false)),
    ("permutations", |c| arrangements(c, true)),
    ("to_json", |c| json_text(c, None, false)),
    ("tojson", |c| json_text(c, None, false)),
    ("to_nice_json", |c| json_text(c, Some(4), true)),
    ("from_json", |c| serde_json::from_slice(text(c)?.as_bytes()).map_err(|e| format!("not valid JSON: {e}"))),
    ("to_yaml", |c| Ok(yaml_text(c, 2, true))),
    ("to_nice_yaml", |c| Ok(yaml_text(c, 4, false))),
    ("from_yaml", |c| yaml::parse_one("from_yaml", text(c)?).map(|n| n.to_json()).map_err(|e| e.to_string())),
    ("from_yaml_all", |c| {
        yaml::parse("from_yaml_all", text(c)?).map(|all| all.iter().map(yaml::Node::to_json).collect()).map_err(|e| e.to_string())
    }),
    ("log", |c| {
        let x = num(c.value())?;
        let result =
            c.arg(0, "base").map(num).transpose()?.map_or_else(|| x.ln(), |base| if base == 10.0 { x.log10() } else { x.log(base) });
        Ok(json!(result))
    }),
    ("pow", |c| Ok(json!(num(c.value())?.powf(num(c.arg(0, "y").ok_or("an exponent is needed")?)?)))),
    ("root", |c| Ok(json!(num(c.value())?.powf(1.0 / c.arg(0, "base").map(num).transpose()?.unwrap_or(2.0))))),
    ("human_readable", human_readable),
    ("human_to_bytes", human_to_bytes),
    ("rekey_on_member", rekey),
];

fn text(c: &Call) -> Result<&str, String> {
    c.value().as_str().ok_or_else(|| format!("text is needed, not {}", c.value()))
}

fn list(value: &Json) -> Result<Vec<Json>, String> {
    match value {
        Json::Array(items) => Ok(items.clone()),
        Json::Object(map) => Ok(map.keys().map(|k| Json::from(k.as_str())).collect()),
        Json::String(s) => Ok(s.chars().map(|c| Json::from(c.to_string())).collect()),
        other => Err(format!("a list is needed, not {other}")),
    }
}

fn num(value: &Json) -> Result<f64, String> {
    match value {
        Json::Number(n) => n.as_f64().ok_or_else(|| format!("{n} is out of range")),
        Json::Bool(b) => Ok(f64::from(u8::from(*b))),
        Json::String(s) => s.trim().parse().map_err(|_| format!("`{s}` is not a number")),
        other => Err(format!("a number is needed, not {other}")),
    }
}

/// Ansible's `bool`: texts that mean true; everything else that is not a boolean means false.
fn bool(c: &Call) -> Result<Json, String> {
    Ok(match c.value() {
        Json::Bool(b) => json!(b),
        Json::String(s) => json!(matches!(s.to_ascii_lowercase().as_str(), "yes" | "on" | "1" | "true")),
        Json::Number(n) => json!(n.as_f64() == Some(1.0)),
        _ => json!(false),
    })
}

fn int(c: &Call) -> Result<Json, String> {
    let default = c.arg(0, "default").cloned().unwrap_or(json!(0));
    let base = c.arg(1, "base").and_then(Json::as_u64).and_then(|b| u32::try_from(b).ok()).filter(|b| (2..=36).contains(b)).unwrap_or(10);
    Ok(match c.value() {
        Json::Number(n) => n.as_i64().map(|i| json!(i)).or_else(|| n.as_f64().map(|x| json!(x.trunc() as i64))).unwrap_or(default),
        Json::Bool(b) => json!(i64::from(*b)),
        Json::String(s) => {
            let clean = s.trim().replace('_', "");
            let digits = match base {
                16 => clean.strip_prefix("0x").unwrap_or(&clean),
                8 => clean.strip_prefix("0o").unwrap_or(&clean),
                2 => clean.strip_prefix("0b").unwrap_or(&clean),
                _ => &clean,
            };
            match i64::from_str_radix(digits, base) {
                Ok(i) => json!(i),
                Err(_) if base == 10 => clean.parse::<f64>().ok().filter(|x| x.is_finite()).map_or(default, |x| json!(x.trunc() as i64)),
                Err(_) => default,
            }
        }
        _ => default,
    })
}

fn float(c: &Call) -> Result<Json, String> {
    let default = c.arg(0, "default").cloned().unwrap_or(json!(0.0));
    Ok(num(c.value()).map_or(default, |x| json!(x)))
}

fn combine(c: &Call) -> Result<Json, String> {
    let recursive = c.flag(usize::MAX - 1, "recursive");
    let lists = c.str(usize::MAX - 1, "list_merge").unwrap_or("replace").to_owned();
    if !["replace", "keep", "append", "prepend", "append_rp", "prepend_rp"].contains(&lists.as_str()) {
        return Err(format!("list_merge can be replace, keep, append, prepend, append_rp or prepend_rp, not {lists}"));
    }
    let mut result = Map::new();
    let mut all = vec![];
    for arg in std::iter::once(c.value()).chain(c.rest()) {
        match arg {
            Json::Array(items) => all.extend(items.clone()),
            other => all.push(other.clone()),
        }
    }
    for part in all {
        match part {
            Json::Object(map) => merge(&mut result, map, recursive, &lists),
            other => return Err(format!("mappings are needed, not {other}")),
        }
    }
    Ok(Json::Object(result))
}

fn merge(into: &mut Map<String, Json>, from: Map<String, Json>, recursive: bool, lists: &str) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Json::Object(old)), Json::Object(new)) if recursive => merge(old, new, recursive, lists),
            (Some(Json::Array(old)), Json::Array(new)) if lists != "replace" => {
                *old = match lists {
                    "keep" => old.clone(),
                    "append" => old.iter().chain(&new).cloned().collect(),
                    "prepend" => new.iter().chain(old.iter()).cloned().collect(),
                    "append_rp" => old.iter().filter(|x| !new.contains(x)).chain(&new).cloned().collect(),
                    _ => new.iter().chain(old.iter().filter(|x| !new.contains(x))).cloned().collect(),
                };
            }
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

fn dict2items(c: &Call) -> Result<Json, String> {
    let (k, v) = (c.str(0, "key_name").unwrap_or("key"), c.str(1, "value_name").unwrap_or("value"));
    match c.value() {
        Json::Object(map) => Ok(map.iter().map(|(key, value)| json!({k: key, v: value})).collect()),
        other => Err(format!("a mapping is needed, not {other}")),
    }
}

fn items2dict(c: &Call) -> Result<Json, String> {
    let (k, v) = (c.str(0, "key_name").unwrap_or("key"), c.str(1, "value_name").unwrap_or("value"));
    let mut map = Map::new();
    for item in list(c.value())? {
        let key = item.get(k).ok_or_else(|| format!("an item has no `{k}`: {item}"))?;
        let value = item.get(v).ok_or_else(|| format!("an item has no `{v}`: {item}"))?;
        map.insert(key.as_str().map_or_else(|| key.to_string(), str::to_owned), value.clone());
    }
    Ok(Json::Object(map))
}

fn sets(c: &Call, f: fn(&[Json], &[Json]) -> Vec<Json>) -> Result<Json, String> {
    let other = c.arg(0, "b").ok_or("a second list is needed")?;
    let mut unique: Vec<Json> = vec![];
    for item in f(&list(c.value())?, &list(other)?) {
        if !unique.contains(&item) {
            unique.push(item);
        }
    }
    Ok(Json::Array(unique))
}

fn flatten(c: &Call) -> Result<Json, String> {
    let levels = c.arg(0, "levels").and_then(Json::as_i64);
    let skip_nulls = c.arg(1, "skip_nulls").is_none_or(truthy);
    fn into(items: &[Json], levels: Option<i64>, skip: bool, out: &mut Vec<Json>) {
        for item in items {
            match item {
                Json::Null if skip => {}
                Json::Array(inner) if levels.is_none_or(|n| n > 0) => into(inner, levels.map(|n| n - 1), skip, out),
                other => out.push(other.clone()),
            }
        }
    }
    let mut out = vec![];
    into(&list(c.value())?, levels, skip_nulls, &mut out);
    Ok(Json::Array(out))
}

/// Most items a filter makes: products grow fast.
const LIMIT: usize = 1_000_000;

fn product(c: &Call) -> Result<Json, String> {
    let mut rows: Vec<Vec<Json>> = vec![vec![]];
    for arg in std::iter::once(c.value()).chain(c.rest()) {
        let items = list(arg)?;
        if rows.len().saturating_mul(items.len()) > LIMIT {
            return Err(format!("more than {LIMIT} combinations"));
        }
        rows = rows.iter().flat_map(|row| items.iter().map(|i| row.iter().cloned().chain(std::iter::once(i.clone())).collect())).collect();
    }
    Ok(rows.into_iter().map(Json::Array).collect())
}

fn zip(c: &Call, fill: Option<Json>) -> Result<Json, String> {
    let lists = std::iter::once(c.value()).chain(c.rest()).map(list).collect::<Result<Vec<_>, _>>()?;
    let lengths = lists.iter().map(Vec::len);
    let length = if fill.is_some() { lengths.max() } else { lengths.min() }.unwrap_or(0);
    Ok((0..length)
        .map(|i| lists.iter().map(|l| l.get(i).cloned().or_else(|| fill.clone()).unwrap_or(Json::Null)).collect::<Json>())
        .collect())
}

fn subelements(c: &Call) -> Result<Json, String> {
    let path = c.arg(0, "subelements").ok_or("the name of the inner list is needed")?;
    let skip = c.flag(1, "skip_missing");
    let keys: Vec<String> = match path {
        Json::String(s) => s.split('.').map(str::to_owned).collect(),
        Json::Array(a) => a.iter().filter_map(|k| k.as_str().map(str::to_owned)).collect(),
        other => return Err(format!("a name is needed, not {other}")),
    };
    let items = match c.value() {
        Json::Object(map) => map.values().cloned().collect(),
        other => list(other)?,
    };
    let mut out = vec![];
    for item in items {
        let mut inner = Some(&item);
        for key in &keys {
            inner = inner.and_then(|i| i.get(key));
        }
        match inner {
            Some(Json::Array(values)) => out.extend(values.iter().map(|v| json!([item, v]))),
            None if skip => {}
            None => return Err(format!("an item has no `{}`: {item}", keys.join("."))),
            Some(other) => return Err(format!("`{}` must be a list, not {other}", keys.join("."))),
        }
    }
    Ok(Json::Array(out))
}

fn arrangements(c: &Call, ordered: bool) -> Result<Json, String> {
    let items = list(c.value())?;
    let size = c.arg(0, "r").and_then(Json::as_u64).and_then(|n| usize::try_from(n).ok());
    let size = match (size, ordered) {
        (Some(n), _) => n,
        (None, true) => items.len(),
        (None, false) => return Err("the number of items to choose is needed".into()),
    };
    let mut out = vec![];
    fn choose(items: &[Json], size: usize, ordered: bool, taken: &mut Vec<usize>, out: &mut Vec<Json>) -> Result<(), String> {
        if taken.len() == size {
            out.push(taken.iter().map(|i| items[*i].clone()).collect());
            return if out.len() > LIMIT { Err(format!("more than {LIMIT} combinations")) } else { Ok(()) };
        }
        let from = if ordered { 0 } else { taken.last().map_or(0, |i| i + 1) };
        for i in from..items.len() {
            if !taken.contains(&i) {
                taken.push(i);
                choose(items, size, ordered, taken, out)?;
                taken.pop();
            }
        }
        Ok(())
    }
    choose(&items, size, ordered, &mut vec![], &mut out)?;
    Ok(Json::Array(out))
}

fn rekey(c: &Call) -> Result<Json, String> {
    let key = c.str(0, "key").ok_or("the name of a key is needed")?;
    let overwrite = c.str(1, "duplicates").unwrap_or("error") == "overwrite";
    let items = match c.value() {
        Json::Object(map) => map.values().cloned().collect(),
        other => list(other)?,
    };
    let mut map = Map::new();
    for item in items {
        let name = item.get(key).ok_or_else(|| format!("an item has no `{key}`: {item}"))?;
        let name = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
        if map.insert(name.clone(), item).is_some() && !overwrite {
            return Err(format!("`{name}` stands there twice"));
        }
    }
    Ok(Json::Object(map))
}

fn size(c: &Call, index: usize, name: &str) -> Option<usize> {
    c.arg(index, name).and_then(Json::as_u64).and_then(|n| usize::try_from(n).ok())
}

fn yaml_text(c: &Call, indent: usize, flow: bool) -> Json {
    let sort = c.arg(1, "sort_keys").is_none_or(truthy);
    let width = size(c, usize::MAX - 1, "width").unwrap_or(yaml::WIDTH);
    Json::String(yaml::to_text_with(c.value(), size(c, 0, "indent").unwrap_or(indent), flow, sort, width))
}

fn json_text(c: &Call, indent: Option<usize>, sort: bool) -> Result<Json, String> {
    let indent = size(c, 0, "indent").or(indent);
    let mut value = c.value().clone();
    if c.arg(1, "sort_keys").map_or(sort, truthy) {
        value.sort_all_objects();
    }
    let mut style = JsonStyle::python(indent);
    style.ascii = c.arg(usize::MAX - 1, "ensure_ascii").is_none_or(truthy);
    if let Some(separators) = c.arg(usize::MAX - 1, "separators") {
        match separators.as_array().map(|a| a.iter().map(Json::as_str).collect::<Vec<_>>()).as_deref() {
            Some([Some(comma), Some(colon)]) => (style.comma, style.colon) = (comma, colon),
            _ => return Err("separators are two texts, as (',', ':')".into()),
        }
    }
    Ok(Json::String(style.text(&value)))
}

/// JSON as Python's json.dumps writes it: a space behind colons and commas.
pub fn python_json(value: &Json, indent: Option<usize>) -> String {
    JsonStyle::python(indent).text(value)
}

/// What stands between the parts of a JSON text.
struct JsonStyle<'a> {
    /// Spaces a level; none: all in one line.
    indent: Option<usize>,
    comma: &'a str,
    colon: &'a str,
    /// Whether everything beyond ASCII is escaped.
    ascii: bool,
}

impl JsonStyle<'_> {
    fn python(indent: Option<usize>) -> Self {
        Self { indent, comma: if indent.is_some() { "," } else { ", " }, colon: ": ", ascii: true }
    }

    fn text(&self, value: &Json) -> String {
        let mut out = String::new();
        self.write(value, 0, &mut out);
        out
    }

    fn line(&self, depth: usize, out: &mut String) {
        if let Some(n) = self.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', n * depth));
        }
    }

    fn write(&self, value: &Json, depth: usize, out: &mut String) {
        match value {
            Json::Array(items) if !items.is_empty() => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push_str(self.comma);
                    }
                    self.line(depth + 1, out);
                    self.write(item, depth + 1, out);
                }
                self.line(depth, out);
                out.push(']');
            }
            Json::Object(map) if !map.is_empty() => {
                out.push('{');
                for (i, (key, item)) in map.iter().enumerate() {
                    if i > 0 {
                        out.push_str(self.comma);
                    }
                    self.line(depth + 1, out);
                    out.push_str(&quoted(key, self.ascii));
                    out.push_str(self.colon);
                    self.write(item, depth + 1, out);
                }
                self.line(depth, out);
                out.push('}');
            }
            Json::String(s) => out.push_str(&quoted(s, self.ascii)),
            Json::Number(_) => out.push_str(&super::text::python(value)),
            other => out.push_str(&other.to_string()),
        }
    }
}

/// A text in quotes; `ascii`: with everything beyond ASCII escaped, as Python does by default.
fn quoted(text: &str, ascii: bool) -> String {
    let plain = Json::from(text).to_string();
    if !ascii || plain.is_ascii() {
        return plain;
    }
    let mut out = String::new();
    for c in plain.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            let mut units = [0u16; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

/// Units of 1024, as Ansible's `human_readable` and `human_to_bytes` use them.
const UNITS: &[(char, f64)] = &[
    ('Y', 1_208_925_819_614_629_174_706_176.0),
    ('Z', 1_180_591_620_717_411_303_424.0),
    ('E', 1_152_921_504_606_846_976.0),
    ('P', 1_125_899_906_842_624.0),
    ('T', 1_099_511_627_776.0),
    ('G', 1_073_741_824.0),
    ('M', 1_048_576.0),
    ('K', 1024.0),
];

fn human_readable(c: &Call) -> Result<Json, String> {
    let bits = c.flag(0, "isbits");
    let unit = c.str(1, "unit").and_then(|u| u.chars().next()).map(|u| u.to_ascii_uppercase());
    let size = num(c.value())?;
    let base = if bits { "bits" } else { "Bytes" };
    let found = UNITS.iter().find(|(letter, limit)| unit.map_or(size >= *limit, |u| u == *letter));
    Ok(Json::String(match found {
        Some((letter, limit)) => format!("{:.2} {letter}{}", size / limit, if bits { "b" } else { "B" }),
        None => format!("{size:.2} {base}"),
    }))
}

fn human_to_bytes(c: &Call) -> Result<Json, String> {
    // Only says that the unit is written `Mb`; the number is the same.
    let _bits = c.flag(1, "isbits");
    let default = c.str(0, "default_unit").map(str::to_owned);
    let given = match c.value() {
        Json::String(s) => s.trim().to_owned(),
        other => other.to_string(),
    };
    let split = given.find(|ch: char| !ch.is_ascii_digit() && ch != '.').unwrap_or(given.len());
    let number: f64 = given[..split].parse().map_err(|_| format!("`{given}` is not a size"))?;
    let unit = given[split..].trim();
    let unit = if unit.is_empty() { default.unwrap_or_default() } else { unit.to_owned() };
    let factor = match unit.to_ascii_uppercase().chars().next() {
        None | Some('B') => 1.0,
        Some(letter) => UNITS.iter().find(|(l, _)| *l == letter).map(|(_, f)| *f).ok_or_else(|| format!("`{unit}` is no unit"))?,
    };
    Ok(json!((number * factor).round() as i64))
}
