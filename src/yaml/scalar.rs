//! What a plain scalar means: PyYAML's resolution (YAML 1.1 as Ansible's users know it).

use super::Value;

/// Resolves a plain (unquoted) scalar.
pub fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Value::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => return Value::Bool(false),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Value::Str(text.to_owned());
    }
    integer(text).map(Value::Int).or_else(|| float(text).map(Value::Float)).unwrap_or_else(|| Value::Str(text.to_owned()))
}

/// An integer: decimal, `0` octal, `0x`, `0b`, base 60 (`1:30`), underscores anywhere but in front.
/// One that does not fit 64 bits is no integer here (it stays text, which loses nothing).
pub fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = sign(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let clean: String = digits.chars().filter(|c| *c != '_').collect();
    let value = if let Some(binary) = clean.strip_prefix("0b") {
        i128::from_str_radix(non_empty(binary, |c| matches!(c, '0' | '1'))?, 2).ok()?
    } else if let Some(hex) = clean.strip_prefix("0x") {
        i128::from_str_radix(non_empty(hex, |c| c.is_ascii_hexdigit())?, 16).ok()?
    } else if clean.contains(':') {
        // The first part has no leading zero (so `08:30` is text), the others are below 60.
        if !clean.starts_with(|c: char| matches!(c, '1'..='9')) {
            return None;
        }
        let mut parts = clean.split(':');
        let mut value = non_empty(parts.next()?, |c| c.is_ascii_digit())?.parse::<i128>().ok()?;
        for part in parts {
            value = value.checked_mul(60)?.checked_add(sixty(part)?)?;
        }
        value
    } else if clean.len() > 1 && clean.starts_with('0') {
        i128::from_str_radix(non_empty(&clean[1..], |c| matches!(c, '0'..='7'))?, 8).ok()?
    } else {
        non_empty(&clean, |c| c.is_ascii_digit())?.parse::<i128>().ok()?
    };
    i64::try_from(if negative { -value } else { value }).ok()
}

/// A float: it needs a dot, an exponent needs a sign; `.inf`, `.nan`, base 60 with a fraction.
pub fn float(text: &str) -> Option<f64> {
    let (negative, rest) = sign(text);
    let signed = |x: f64| if negative { -x } else { x };
    match rest {
        ".inf" | ".Inf" | ".INF" => return Some(signed(f64::INFINITY)),
        ".nan" | ".NaN" | ".NAN" if rest.len() == text.len() => return Some(f64::NAN),
        _ => {}
    }
    let clean: String = rest.chars().filter(|c| *c != '_').collect();
    let (mantissa, exponent) = match clean.find(['e', 'E']) {
        Some(at) => {
            let exponent = &clean[at + 1..];
            let digits = exponent.strip_prefix(['+', '-'])?;
            non_empty(digits, |c| c.is_ascii_digit())?;
            (&clean[..at], Some(exponent))
        }
        None => (clean.as_str(), None),
    };
    let (whole, fraction) = mantissa.split_once('.')?;
    if !fraction.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    if whole.contains(':') && exponent.is_none() {
        let mut parts = whole.split(':');
        let mut value = non_empty(parts.next()?, |c| c.is_ascii_digit())?.parse::<f64>().ok()?;
        for part in parts {
            value = value * 60.0 + sixty(part)? as f64;
        }
        let fraction = format!("0.{fraction}0").parse::<f64>().ok()?;
        return Some(signed(value + fraction));
    }
    if !whole.chars().all(|c| c.is_ascii_digit()) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    // PyYAML takes `.5` but neither `-.5` nor `+.5`.
    if whole.is_empty() && rest.len() != text.len() {
        return None;
    }
    let text = format!(
        "{}.{}{}",
        if whole.is_empty() { "0" } else { whole },
        if fraction.is_empty() { "0" } else { fraction },
        exponent.map(|e| format!("e{e}")).unwrap_or_default()
    );
    text.parse::<f64>().ok().map(signed)
}

fn sign(text: &str) -> (bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

fn sixty(part: &str) -> Option<i128> {
    let value: i128 = non_empty(part, |c| c.is_ascii_digit())?.parse().ok()?;
    (part.len() <= 2 && value < 60).then_some(value)
}

fn non_empty(text: &str, allowed: impl Fn(char) -> bool) -> Option<&str> {
    (!text.is_empty() && text.chars().all(allowed)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_as_pyyaml_does() {
        // Right-hand sides are what yaml.safe_load of PyYAML 6 gives.
        let table: &[(&str, Value)] = &[
            ("0644", Value::Int(420)),
            ("08", Value::Str("08".into())),
            ("0o644", Value::Str("0o644".into())),
            ("0x1F", Value::Int(31)),
            ("0b101", Value::Int(5)),
            ("1_000", Value::Int(1000)),
            ("-12", Value::Int(-12)),
            ("+12", Value::Int(12)),
            ("12:30:45", Value::Int(45045)),
            ("08:30", Value::Str("08:30".into())),
            ("1e3", Value::Str("1e3".into())),
            ("1.0e3", Value::Str("1.0e3".into())),
            ("1.0e+3", Value::Float(1000.0)),
            ("1.5", Value::Float(1.5)),
            (".5", Value::Float(0.5)),
            ("-.5", Value::Str("-.5".into())),
            ("1.", Value::Float(1.0)),
            ("-.inf", Value::Float(f64::NEG_INFINITY)),
            ("y", Value::Str("y".into())),
            ("n", Value::Str("n".into())),
            ("yes", Value::Bool(true)),
            ("Off", Value::Bool(false)),
            ("oN", Value::Str("oN".into())),
            ("2026-11-23", Value::Str("2026-11-23".into())),
            ("1.2.3", Value::Str("1.2.3".into())),
            ("10.0.0.1", Value::Str("10.0.0.1".into())),
            ("-", Value::Str("-".into())),
            (".", Value::Str(".".into())),
            ("~", Value::Null),
            ("", Value::Null),
        ];
        for (text, wanted) in table {
            assert_eq!(resolve(text), *wanted, "{text}");
        }
    }
}
