//! Forms that text in the cluster spec can have: Kubernetes' names, paths, sizes, images.

use super::value::{Form, Text};

macro_rules! forms {
    ($($(#[doc = $doc:literal])+ $Marker:ident as $Alias:ident = $words:literal, $pattern:literal, $numbers:literal, $wrong:expr;)+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
            pub struct $Marker;

            $(#[doc = $doc])+
            pub type $Alias = Text<$Marker>;

            impl Form for $Marker {
                const WORDS: &'static str = $words;
                const PATTERN: &'static str = $pattern;
                const NUMBERS: bool = $numbers;
                fn wrong(text: &str) -> Option<String> {
                    let check: fn(&str) -> Option<String> = $wrong;
                    check(text)
                }
            }
        )+
    };
}

forms! {
    /// Any text that is not empty.
    Any as Words = "text", "^[\\s\\S]+$", false, |t| empty(t);
    /// Any text, a number too, and empty as well.
    Loose as Scalar = "text or a number", "", true, |_| None;
    /// A DNS label that starts with a letter (RFC 1035), which service names need.
    Label as Name = "a name", "^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$", false, |t| dns_label(t, true);
    /// A name of a Kubernetes object: DNS labels joined by dots (RFC 1123).
    Subdomain as ObjectName = "an object name", "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", false, subdomain;
    /// A node's name in Kubernetes.
    Node as NodeName = "a node name", "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", false, subdomain;
    /// A domain.
    Dns as Domain = "a domain", "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", false, subdomain;
    /// A container image, with its tag or digest.
    Picture as Image = "an image", "^[^\\s@]+(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}|@sha256:[0-9a-f]{64})$", false, image;
    /// An absolute path without `..`.
    Absolute as AbsPath = "an absolute path", "^/[^\\s]+$", false, absolute;
    /// A size of storage: a whole number with a unit.
    Storage as Size = "a size", "^[1-9][0-9]*(Ki|Mi|Gi|Ti|Pi|Ei|k|M|G|T|P|E)?$", true, storage;
    /// A quantity of a resource, as Kubernetes writes it.
    Amount as Quantity = "a quantity", "^[0-9]+(\\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi|Ei|m|k|M|G|T|P|E)?$", true, quantity;
    /// A length of time, as Go and Kubernetes write it.
    Time as Duration = "a duration", "^([0-9]+(ms|h|m|s))+$", false, duration;
    /// A number of pods, or a percentage of them.
    Share as PodShare = "a number or a percentage", "^([0-9]+|100%|[1-9]?[0-9]%)$", true, share;
    /// A name in a certificate: a domain, or all names right below one.
    San as CertificateName = "a domain", "^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", false, |t| subdomain(t.strip_prefix("*.").unwrap_or(t));
    /// An IP address.
    Ip as Address = "an IP address", "^[0-9A-Fa-f.:]+$", false, |t| t.parse::<std::net::IpAddr>().is_err().then(|| "it is none".to_owned());
    /// A network in CIDR notation.
    Cidr as Network = "a network", "^[0-9A-Fa-f.:]+/[0-9]{1,3}$", false, network;
}

fn empty(text: &str) -> Option<String> {
    text.is_empty().then(|| "it is empty".to_owned())
}

/// Why `text` is no DNS label: at most 63 of a-z, 0-9 and `-`, with letters or digits at both ends.
pub fn dns_label(text: &str, letter_first: bool) -> Option<String> {
    let alnum = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if text.is_empty() {
        return Some("it is empty".into());
    }
    if let Some(c) = text.chars().find(|c| !alnum(*c) && *c != '-') {
        return Some(format!("it may hold a-z, 0-9 and `-`, and holds `{c}`"));
    }
    if text.len() > 63 {
        return Some(format!("it is {} characters long, and 63 are allowed", text.len()));
    }
    if letter_first && !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Some("it must start with a letter".into());
    }
    if !text.starts_with(alnum) || !text.ends_with(alnum) {
        return Some("it must start and end with a letter or a digit".into());
    }
    None
}

fn subdomain(text: &str) -> Option<String> {
    if text.len() > 253 {
        return Some(format!("it is {} characters long, and 253 are allowed", text.len()));
    }
    if text.is_empty() {
        return Some("it is empty".into());
    }
    text.split('.').find_map(|part| {
        let alnum = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if part.is_empty() {
            return Some("there is nothing between two dots".into());
        }
        if let Some(c) = part.chars().find(|c| !alnum(*c) && *c != '-') {
            return Some(format!("it may hold a-z, 0-9, `-` and `.`, and holds `{c}`"));
        }
        (!part.starts_with(alnum) || !part.ends_with(alnum)).then(|| "each part must start and end with a letter or a digit".into())
    })
}

/// Why `text` can't be a label's key (or an annotation's): a name of at most 63, and a domain before it if it has a `/`.
pub fn label_key_wrong(text: &str) -> Option<String> {
    let (domain, name) = text.rsplit_once('/').map_or((None, text), |(d, n)| (Some(d), n));
    domain.and_then(subdomain).or_else(|| if name.is_empty() { Some("its name is empty".into()) } else { label_value_wrong(name) })
}

/// Why `text` can't be a label's value: at most 63 of letters, digits, `-`, `_`, `.`, with letters or digits at both ends; or nothing.
pub fn label_value_wrong(text: &str) -> Option<String> {
    if text.len() > 63 {
        return Some(format!("`{text}` is {} characters long, and 63 are allowed", text.len()));
    }
    if let Some(c) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.')) {
        return Some(format!("it may hold letters, digits, `-`, `_` and `.`, and holds `{c}`"));
    }
    let ends =
        text.is_empty() || (text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.ends_with(|c: char| c.is_ascii_alphanumeric()));
    (!ends).then(|| "it must start and end with a letter or a digit".to_owned())
}

/// Why `text` can't be a node's name.
pub fn node_wrong(text: &str) -> Option<String> {
    subdomain(text)
}

fn image(text: &str) -> Option<String> {
    if text.chars().any(char::is_whitespace) || text.is_empty() {
        return Some("it is empty or holds a space".into());
    }
    if let Some((name, digest)) = text.split_once('@') {
        let hex = digest.strip_prefix("sha256:").is_some_and(|h| h.len() == 64 && h.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')));
        return (!hex || name.is_empty()).then(|| "a digest is `@sha256:` and 64 hexadecimal digits".into());
    }
    let last = text.rsplit('/').next().unwrap_or(text);
    match last.split_once(':') {
        None => Some("it has no tag; without one nobody knows what will run".into()),
        Some((name, tag)) => {
            let good = !name.is_empty()
                && tag.len() <= 128
                && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                && tag.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
            (!good).then(|| "its tag is not one".into())
        }
    }
}

fn absolute(text: &str) -> Option<String> {
    if !text.starts_with('/') {
        return Some("it must start with `/`".into());
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Some("it holds a space".into());
    }
    if text == "/" {
        return Some("it is the root of the filesystem".into());
    }
    if text.split('/').skip(1).any(|p| matches!(p, "" | "." | "..")) {
        return Some("it must be written without `//`, `.`, `..` and without `/` at its end".into());
    }
    if text.contains(':') {
        return Some("Kubernetes takes no `:` in paths of mounts".into());
    }
    None
}

/// Number and unit of a quantity: `5.8Ti` is 5.8 and 2^40.
fn parts(text: &str) -> Option<(&str, f64)> {
    const UNITS: &[(&str, f64)] = &[
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let (number, unit) = UNITS.iter().find_map(|(u, f)| text.strip_suffix(u).map(|n| (n, *f))).unwrap_or((text, 1.0));
    let (whole, rest) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |t: &str| !t.is_empty() && t.chars().all(|c| c.is_ascii_digit());
    (digits(whole) && digits(rest)).then_some((number, unit))
}

/// The amount a quantity means: `1Gi` is 1073741824, `500m` is 0.5. Nothing if it is no quantity.
pub fn amount(text: &str) -> Option<f64> {
    let (number, unit) = parts(text)?;
    Some(number.parse::<f64>().ok()? * unit)
}

fn quantity(text: &str) -> Option<String> {
    parts(text).is_none().then(|| "a quantity is a number and a unit: `500m`, `4`, `16Gi`".into())
}

fn storage(text: &str) -> Option<String> {
    let Some((number, unit)) = parts(text) else {
        return Some("a size is a whole number and a unit: `900Gi`, `7Ti`".into());
    };
    if number.contains('.') {
        // Kubernetes rounds up to whole bytes and some provisioners to whole units: the claim is larger than the disk then.
        let value = number.parse::<f64>().unwrap_or(0.0);
        let smaller = if unit >= 1e6 { format!("; write `{}`", next_unit_down(value, text)) } else { String::new() };
        return Some(format!("a fraction is rounded up, and a claim larger than its disk is never bound{smaller}"));
    }
    if unit < 1.0 {
        return Some("a size is a whole number of bytes".into());
    }
    number.chars().all(|c| c == '0').then(|| "it is zero".into())
}

/// A fractional size one unit smaller, rounded down: `5.8Ti` is `5939Gi`.
fn next_unit_down(value: f64, text: &str) -> String {
    let binary = text.ends_with('i');
    let units = ["k", "M", "G", "T", "P", "E"];
    let letter = text.trim_end_matches('i').chars().last().unwrap_or('G').to_string();
    let below = units.iter().position(|u| *u == letter).and_then(|i| i.checked_sub(1)).and_then(|i| units.get(i)).copied().unwrap_or("k");
    let factor = if binary { 1024.0 } else { 1000.0 };
    let below = if binary && below == "k" { "K" } else { below };
    format!("{}{below}{}", (value * factor).floor(), if binary { "i" } else { "" })
}

fn duration(text: &str) -> Option<String> {
    let mut rest = text;
    let wrong = || Some("a duration is numbers with units: `90s`, `5m`, `2160h`".to_owned());
    if rest.is_empty() {
        return wrong();
    }
    while !rest.is_empty() {
        let digits = rest.chars().take_while(char::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let Some(unit) = ["ms", "h", "m", "s"].iter().find(|u| after.starts_with(**u)) else { return wrong() };
        if number.is_empty() {
            return wrong();
        }
        rest = after.strip_prefix(unit).unwrap_or_default();
    }
    None
}

/// The seconds that a time means as Go writes it: `1h30m`, `1.5s`, `100ms`, `0`.
pub fn go_seconds(text: &str) -> Option<f64> {
    const UNITS: &[(&str, f64)] = &[("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    if text == "0" {
        return Some(0.0);
    }
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let (unit, factor) = UNITS.iter().find(|(u, _)| after.starts_with(u))?;
        total += number.parse::<f64>().ok()? * factor;
        rest = after.strip_prefix(unit)?;
    }
    (!text.is_empty()).then_some(total)
}

fn share(text: &str) -> Option<String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    let good = number.parse::<u32>().is_ok_and(|n| !text.ends_with('%') || n <= 100) && !number.starts_with('+');
    (!good).then(|| "write `1` or `10%`".into())
}

/// The network that a CIDR text is in, as Kubernetes wants it written: `10.1.2.3/8` is in `10.0.0.0/8`.
pub fn network_of(text: &str) -> Option<String> {
    use std::net::IpAddr;
    let (address, bits) = text.split_once('/')?;
    let bits: u32 = bits.parse().ok()?;
    let first: IpAddr = match address.parse().ok()? {
        IpAddr::V4(a) => std::net::Ipv4Addr::from(a.to_bits() & u32::MAX.checked_shl(32u32.checked_sub(bits)?).unwrap_or(0)).into(),
        IpAddr::V6(a) => std::net::Ipv6Addr::from(a.to_bits() & u128::MAX.checked_shl(128u32.checked_sub(bits)?).unwrap_or(0)).into(),
    };
    Some(if first == address.parse::<IpAddr>().ok()? { text.to_owned() } else { format!("{first}/{bits}") })
}

fn network(text: &str) -> Option<String> {
    let good = text.split_once('/').is_some_and(|(address, bits)| {
        let most = match address.parse::<std::net::IpAddr>() {
            Ok(std::net::IpAddr::V4(_)) => 32,
            Ok(std::net::IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        bits.parse::<u8>().is_ok_and(|b| b <= most) && !bits.starts_with('+')
    });
    (!good).then(|| "a network is an address and a number of bits: `10.0.0.0/8`".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_round_up_are_refused_with_what_to_write() {
        assert!(storage("7Ti").is_none() && storage("1000000").is_none());
        assert!(storage("5.8Ti").is_some_and(|w| w.ends_with("write `5939Gi`")), "{:?}", storage("5.8Ti"));
        assert!(storage("1.5G").is_some_and(|w| w.ends_with("write `1500M`")));
        assert!(storage("1.5Mi").is_some_and(|w| w.ends_with("write `1536Ki`")));
        assert!(storage("0Gi").is_some() && storage("100m").is_some() && storage("12GB").is_some() && storage("").is_some());
    }

    #[test]
    fn images_need_a_tag_or_a_digest() {
        for good in ["docker.io/aistorage/aisnode:v5.0", "registry.local:5000/aisnode:v5.0", &format!("a/b@sha256:{}", "0".repeat(64))] {
            assert_eq!(image(good), None, "{good}");
        }
        for wrong in ["aistorage/aisnode", "registry.local:5000/aisnode", "a b:c", "a@sha256:12", ":v1", "a:"] {
            assert!(image(wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn quantities_and_durations() {
        assert_eq!(amount("500m"), Some(0.5));
        assert_eq!(amount("2Gi"), Some(2_147_483_648.0));
        assert_eq!(amount("1e3"), None);
        assert!(duration("2160h").is_none() && duration("1h30m").is_none() && duration("100ms").is_none());
        assert!(duration("5").is_some() && duration("m").is_some() && duration("").is_some());
        assert!(share("10%").is_none() && share("0").is_none() && share("101%").is_some() && share("x").is_some());
        assert!(network("10.0.0.0/8").is_none() && network("fd00::/64").is_none() && network("10.0.0.0/33").is_some());
    }
}
