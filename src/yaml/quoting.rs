//! Which texts need quotes, and which: PyYAML's rules.

use super::Value;
use super::scalar::resolve;

/// The three ways to write a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// In single quotes.
    Single,
    /// In double quotes, with escapes.
    Double,
}

/// How a text is written: plain where it reads back as the same text.
pub fn style(text: &str, flow: bool, key: bool) -> Style {
    let chars: Vec<char> = text.chars().collect();
    let white = |c: Option<&char>| matches!(c, None | Some(' ' | '\t' | '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}'));
    let special = chars.iter().any(|c| *c != '\n' && escape(*c).is_some_and(|_| !matches!(c, '"' | '\\')) && u32::from(*c) <= 0xffff)
        || chars.contains(&'\u{feff}');
    let space_then_break = text.contains(" \n");
    if special || space_then_break || text.contains("\n ") {
        return Style::Double;
    }
    let multiline = text.contains('\n');
    let edge = text.starts_with([' ', '\n']) || text.ends_with([' ', '\n']);
    let (mut bad_block, mut bad_flow) = (false, false);
    if text.starts_with("---") || text.starts_with("...") {
        (bad_block, bad_flow) = (true, true);
    }
    for (at, c) in chars.iter().enumerate() {
        let followed = white(chars.get(at + 1));
        let preceded = at == 0 || white(chars.get(at - 1));
        match c {
            '#' if preceded => (bad_block, bad_flow) = (true, true),
            ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' if at == 0 => {
                (bad_block, bad_flow) = (true, true);
            }
            '-' if at == 0 && followed => (bad_block, bad_flow) = (true, true),
            '?' | ':' if at == 0 => {
                bad_flow = true;
                bad_block |= followed;
            }
            ':' => {
                bad_flow = true;
                bad_block |= followed;
            }
            ',' | '?' | '[' | ']' | '{' | '}' => bad_flow = true,
            _ => {}
        }
    }
    let plain = !(multiline || edge || if flow { bad_flow } else { bad_block });
    if plain && !reads_as_other(text) {
        Style::Plain
    } else if key && multiline {
        Style::Double
    } else {
        Style::Single
    }
}

/// Whether plain `text` would be read as something other than this text, by PyYAML: also dates, `=` and `<<`.
fn reads_as_other(text: &str) -> bool {
    text.is_empty() || text == "=" || text == "<<" || !matches!(resolve(text), Value::Str(_)) || looks_like_number(text) || is_date(text)
}

/// Whole numbers too large for [`resolve`], which PyYAML reads.
fn looks_like_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let hex = digits.strip_prefix("0x").is_some_and(|h| !h.is_empty() && h.chars().all(|c| c.is_ascii_hexdigit() || c == '_'));
    hex || (digits.len() > 17 && digits.starts_with(|c: char| c.is_ascii_digit()) && digits.chars().all(|c| c.is_ascii_digit() || c == '_'))
}

/// `2026-11-23`, with or without a time behind it.
fn is_date(text: &str) -> bool {
    let digits = |part: &str, from: usize, to: usize| (from..=to).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let mut parts = text.splitn(3, '-');
    let (Some(year), Some(month), Some(rest)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let day_end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (day, time) = rest.split_at(day_end);
    if !digits(year, 4, 4) || !digits(month, 1, 2) || !digits(day, 1, 2) {
        return false;
    }
    if time.is_empty() {
        return month.len() == 2 && day.len() == 2;
    }
    let clock = match time.strip_prefix(['T', 't']) {
        Some(clock) => clock,
        None if time.starts_with([' ', '\t']) => time.trim_start_matches([' ', '\t']),
        None => return false,
    };
    let mut fields = clock.splitn(3, ':');
    let (Some(hour), Some(minute), Some(rest)) = (fields.next(), fields.next(), fields.next()) else { return false };
    let (second, zone) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
    let zone = zone.strip_prefix('.').map_or(zone, |z| z.trim_start_matches(|c: char| c.is_ascii_digit())).trim_start_matches([' ', '\t']);
    let zone_right = match zone.strip_prefix(['+', '-']) {
        None => zone.is_empty() || zone == "Z",
        Some(offset) => match offset.split_once(':') {
            None => digits(offset, 1, 2),
            Some((hours, minutes)) => digits(hours, 1, 2) && digits(minutes, 2, 2),
        },
    };
    digits(hour, 1, 2) && digits(minute, 2, 2) && digits(second, 2, 2) && zone_right
}

/// How a character is written in double quotes, where it can't stand for itself.
pub fn escape(c: char) -> Option<String> {
    let short = match c {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\0' => "\\0",
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\t' => "\\t",
        '\n' => "\\n",
        '\u{b}' => "\\v",
        '\u{c}' => "\\f",
        '\r' => "\\r",
        '\u{1b}' => "\\e",
        '\u{85}' => "\\N",
        '\u{2028}' => "\\L",
        '\u{2029}' => "\\P",
        ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' => return None,
        _ => "",
    };
    if !short.is_empty() {
        return Some(short.to_owned());
    }
    let code = u32::from(c);
    Some(match code {
        0..=0xff => format!("\\x{code:02X}"),
        0x100..=0xffff => format!("\\u{code:04X}"),
        _ => format!("\\U{code:08X}"),
    })
}

/// A number as Python prints it.
pub fn number_text(number: &serde_json::Number) -> String {
    let Some(x) = number.as_f64().filter(|_| number.is_f64()) else { return number.to_string() };
    // Shortest digits that read back the same, in exponent form: `1.5e-7`.
    let text = format!("{x:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = x.to_string();
        return if plain.contains('.') { plain } else { format!("{plain}.0") };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    let dot = if digits.contains('.') { "" } else { ".0" };
    format!("{digits}{dot}e{sign}{:02}", exponent.abs())
}
