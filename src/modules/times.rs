//! Timestamps as arguments.

use super::PlanError;
use crate::host::clock;

/// A time an argument asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum When {
    /// As it is (a new file: now).
    Preserve,
    /// The time of the change.
    Now,
    /// Seconds since 1970.
    At(f64),
}

/// `preserve`, `now`, or a local date and time in `format` (`%Y %m %d %H %M %S` and literal text).
pub(super) fn read(name: &str, text: &str, format: &str) -> Result<When, PlanError> {
    match text {
        "preserve" => Ok(When::Preserve),
        "now" => Ok(When::Now),
        _ => {
            let seconds = parse(text, format)
                .map_err(|why| PlanError::failed(format!("`{name}: {text}` is no time in the format `{format}`: {why}")))?;
            Ok(When::At(seconds as f64))
        }
    }
}

fn parse(text: &str, format: &str) -> Result<i64, String> {
    let (mut year, mut month, mut day, mut hour, mut minute, mut second) = (1900, 1, 1, 0, 0, 0);
    let mut rest = text;
    let mut letters = format.chars();
    while let Some(c) = letters.next() {
        if c != '%' {
            rest = rest.strip_prefix(c).ok_or_else(|| format!("`{c}` is missing"))?;
            continue;
        }
        let (field, width, range) = match letters.next() {
            Some('Y') => (&mut year, 4, 1902..=9999),
            Some('m') => (&mut month, 2, 1..=12),
            Some('d') => (&mut day, 2, 1..=31),
            Some('H') => (&mut hour, 2, 0..=23),
            Some('M') => (&mut minute, 2, 0..=59),
            Some('S') => (&mut second, 2, 0..=60),
            other => return Err(format!("`%{}` is not supported", other.unwrap_or(' '))),
        };
        let digits = rest.get(..width).filter(|d| d.bytes().all(|b| b.is_ascii_digit())).ok_or("digits are missing")?;
        *field = digits.parse().ok().filter(|n| range.contains(n)).ok_or_else(|| format!("`{digits}` is out of range"))?;
        rest = rest.get(width..).unwrap_or_default();
    }
    if !rest.is_empty() {
        return Err(format!("`{rest}` is too much"));
    }
    Ok(clock::from_local(year, month, day, hour, minute, second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_local_and_checked() {
        let When::At(seconds) = read("t", "202611231915.30", "%Y%m%d%H%M.%S").unwrap() else { panic!() };
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds as u64);
        assert!(clock::local(at).starts_with("2026-11-23 19:15:30"));
        assert_eq!(read("t", "now", "").unwrap(), When::Now);
        for wrong in ["202613231915.30", "2026", "202611231915.30x", "tomorrow"] {
            assert!(read("t", wrong, "%Y%m%d%H%M.%S").is_err(), "{wrong}");
        }
    }
}
