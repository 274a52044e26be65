//! Host names as an inventory writes them: ranges and ports.

/// Most hosts one line may mean: far above any rack, and a slip such as `[1:100000000]` is told, not obeyed.
const RANGE_LIMIT: usize = 65_536;

/// The host names `pattern` means, and the port if it ends in one (`node[01:50].lan:2222`).
pub fn expand(pattern: &str) -> Result<(Vec<String>, Option<u16>), String> {
    let (name, port) = split_port(pattern)?;
    let mut names = vec![];
    ranges(name, &mut names)?;
    Ok((names, port))
}

/// Cuts a port off: `name:22`, `[::1]:22`; a bare IPv6 address has none.
fn split_port(pattern: &str) -> Result<(&str, Option<u16>), String> {
    if let Some((inside, behind)) = pattern.strip_prefix('[').and_then(|rest| rest.split_once(']'))
        && inside.parse::<std::net::Ipv6Addr>().is_ok()
    {
        return match behind.strip_prefix(':') {
            Some(port) => Ok((inside, Some(port_number(port)?))),
            None if behind.is_empty() => Ok((inside, None)),
            None => Err(format!("`{behind}` behind the address `[{inside}]` is no port")),
        };
    }
    let colons: Vec<usize> = outside_brackets(pattern);
    match colons.as_slice() {
        [at] => Ok((&pattern[..*at], Some(port_number(&pattern[at + 1..])?))),
        [] => Ok((pattern, None)),
        _ if pattern.parse::<std::net::Ipv6Addr>().is_ok() => Ok((pattern, None)),
        _ => Err(format!("`{pattern}` is neither a host name nor an IPv6 address")),
    }
}

/// Where colons stand that are in no brackets.
fn outside_brackets(text: &str) -> Vec<usize> {
    let mut depth = 0usize;
    let mut found = vec![];
    for (at, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            ':' if depth == 0 => found.push(at),
            _ => {}
        }
    }
    found
}

fn port_number(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        _ if text.is_empty() => Err("a host name can't end in `:`, which announces a port".into()),
        _ => Err(format!("`{text}` is not a port (1 to 65535)")),
    }
}

/// Writes out the first range of `name` and then those behind it.
fn ranges(name: &str, out: &mut Vec<String>) -> Result<(), String> {
    let Some((head, inside, tail)) = first_range(name) else {
        if out.len() >= RANGE_LIMIT {
            return Err(format!("this means more than {RANGE_LIMIT} hosts"));
        }
        out.push(name.to_owned());
        return Ok(());
    };
    for item in range(inside)? {
        ranges(&format!("{head}{item}{tail}"), out)?;
    }
    Ok(())
}

/// The first `[…:…]`: what is before, inside, behind it.
fn first_range(name: &str) -> Option<(&str, &str, &str)> {
    let (head, rest) = name.split_once('[')?;
    let (inside, tail) = rest.split_once(']')?;
    inside.contains(':').then_some((head, inside, tail))
}

/// The items of `first:last` or `first:last:step`; `last` is included.
fn range(inside: &str) -> Result<Vec<String>, String> {
    let bad = || format!("`[{inside}]` is not a range such as [01:50], [a:f] or [0:10:2]");
    let parts: Vec<&str> = inside.split(':').collect();
    let (first, last, step) = match parts.as_slice() {
        [first, last] => (*first, *last, 1usize),
        [first, last, step] => (*first, *last, step.parse::<usize>().ok().filter(|s| *s > 0).ok_or_else(bad)?),
        _ => return Err(bad()),
    };
    let first = if first.is_empty() { "0" } else { first };
    let letter = |text: &str| text.chars().next().filter(|c| c.is_ascii_alphabetic() && text.len() == 1);
    if let (Some(a), Some(b)) = (letter(first), letter(last)) {
        if a.is_ascii_lowercase() != b.is_ascii_lowercase() || a > b {
            return Err(format!("the range `[{inside}]` ends before it begins"));
        }
        return Ok((a..=b).step_by(step).map(String::from).collect());
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return Err(bad());
    }
    let padded = first.len() > 1 && first.starts_with('0');
    if padded && first.len() != last.len() {
        return Err(format!("the ends of the range `[{inside}]` must have the same number of digits, as the first has a leading zero"));
    }
    let (a, b) = (first.parse::<u64>().map_err(|_| bad())?, last.parse::<u64>().map_err(|_| bad())?);
    if a > b {
        return Err(format!("the range `[{inside}]` ends before it begins"));
    }
    if (b - a) / step as u64 >= RANGE_LIMIT as u64 {
        return Err(format!("the range `[{inside}]` means more than {RANGE_LIMIT} hosts"));
    }
    let width = if padded { first.len() } else { 0 };
    Ok((a..=b).step_by(step).map(|n| format!("{n:0width$}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pattern: &str) -> Vec<String> {
        expand(pattern).unwrap().0
    }

    #[test]
    fn ranges_are_written_out() {
        assert_eq!(names("n[08:11]"), ["n08", "n09", "n10", "n11"]);
        assert_eq!(names("n[a:c].lan"), ["na.lan", "nb.lan", "nc.lan"]);
        assert_eq!(names("n[0:10:5]"), ["n0", "n5", "n10"]);
        assert_eq!(names("r[1:2]n[1:2]"), ["r1n1", "r1n2", "r2n1", "r2n2"]);
        assert_eq!(names("n[:2]"), ["n0", "n1", "n2"]);
    }

    #[test]
    fn ports_and_addresses() {
        assert_eq!(expand("a:2222").unwrap(), (vec!["a".into()], Some(2222)));
        assert_eq!(expand("n[1:2]:22").unwrap(), (vec!["n1".into(), "n2".into()], Some(22)));
        assert_eq!(expand("[fd00::1]:22").unwrap(), (vec!["fd00::1".into()], Some(22)));
        assert_eq!(expand("fd00::1").unwrap(), (vec!["fd00::1".into()], None));
    }

    #[test]
    fn wrong_ranges_say_why() {
        for (pattern, part) in [
            ("n[01:9]", "same number of digits"),
            ("n[5:1]", "ends before it begins"),
            ("n[a:]", "is not a range"),
            ("n[1:100000000]", "more than 65536"),
            ("n[1:400]n[1:400]", "more than 65536"),
            ("n:", "can't end in `:`"),
            ("n:x", "is not a port"),
            ("n[1:2:0]", "is not a range"),
        ] {
            let told = expand(pattern).unwrap_err();
            assert!(told.contains(part), "{pattern}: {told}");
        }
    }
}
