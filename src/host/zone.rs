//! The local time zone: `/etc/localtime` as RFC 8536 (TZif) has it, or what `TZ` names. Not by the C library, whose reader of `TZ`
//! brings scanf and four kinds of floating point with it: a fortieth of the agent.

use std::path::Path;
use std::sync::OnceLock;

/// Where zones are by name.
const FOLDER: &str = "/usr/share/zoneinfo";

/// What clocks show: seconds ahead of UTC, and the name of that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Seconds to add to UTC.
    pub offset: i64,
    /// `CET`.
    pub name: String,
}

#[derive(Debug, Default)]
struct Zone {
    /// From when on (seconds since 1970) which of `kinds` holds.
    changes: Vec<(i64, usize)>,
    kinds: Vec<Shown>,
    /// What holds after the last change.
    rule: Option<Rule>,
}

/// `CET-1CEST,M3.5.0,M10.5.0/3` (POSIX, Base Definitions 8.3).
#[derive(Debug, PartialEq)]
struct Rule {
    standard: Shown,
    summer: Option<(Shown, Day, Day)>,
}

/// A day of every year, and the second of it.
#[derive(Debug, PartialEq)]
struct Day {
    date: Date,
    second: i64,
}

#[derive(Debug, PartialEq)]
enum Date {
    /// `M`: month, week (5: the last), day of the week (0: Sunday).
    Week(i64, i64, i64),
    /// `J`: 1 to 365, no 29th of February.
    Julian(i64),
    /// 0 to 365.
    Ordinal(i64),
}

/// What clocks here show at this time (seconds since 1970).
pub fn shown(at: i64) -> Shown {
    static ZONE: OnceLock<Zone> = OnceLock::new();
    ZONE.get_or_init(|| here().unwrap_or_default()).shown(at)
}

/// Days since 1970 of a date of the Gregorian calendar (after Howard Hinnant's days_from_civil).
pub fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date (year, month, day) of a day since 1970 (after his civil_from_days).
pub fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

fn here() -> Option<Zone> {
    let Ok(named) = std::env::var("TZ") else { return file(Path::new("/etc/localtime")) };
    let named = named.trim_start_matches(':');
    if named.is_empty() {
        return None;
    }
    let path = Path::new(FOLDER).join(named);
    let plain = !path.components().any(|c| c == std::path::Component::ParentDir);
    if plain && let Some(zone) = file(&path) {
        return Some(zone);
    }
    rule(named).map(|rule| Zone { rule: Some(rule), ..Zone::default() })
}

fn file(path: &Path) -> Option<Zone> {
    // Larger than any zone's.
    let size = std::fs::metadata(path).ok().filter(|m| m.is_file())?.len();
    if size > 1 << 20 {
        return None;
    }
    parse(&std::fs::read(path).ok()?)
}

/// Reads a TZif file. Its first part has 32 bits a time; from version 2 on a second one has 64, and a rule behind it.
fn parse(bytes: &[u8]) -> Option<Zone> {
    let version = *bytes.get(4)?;
    if version == 0 {
        return part(bytes, 4).map(|(zone, _)| zone);
    }
    let skipped = part(bytes, 4)?.1;
    let rest = bytes.get(skipped..)?;
    let (mut zone, end) = part(rest, 8)?;
    let footer = std::str::from_utf8(rest.get(end..)?).ok()?;
    zone.rule = rule(footer.trim_matches('\n'));
    Some(zone)
}

/// One part with times of `width` bytes, and where it ends.
fn part(bytes: &[u8], width: usize) -> Option<(Zone, usize)> {
    bytes.starts_with(b"TZif").then_some(())?;
    let number = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk::<4>()?) as usize);
    let (isut, isstd, leap, times, types, chars) = (number(20)?, number(24)?, number(28)?, number(32)?, number(36)?, number(40)?);
    let at_index = 44 + times * width;
    let at_types = at_index + times;
    let at_chars = at_types + types * 6;
    let end = at_chars + chars + leap * (width + 4) + isstd + isut;
    bytes.get(..end)?;
    let time = |at: usize| match width {
        4 => bytes.get(at..)?.first_chunk::<4>().map(|b| i64::from(i32::from_be_bytes(*b))),
        _ => bytes.get(at..)?.first_chunk::<8>().map(|b| i64::from_be_bytes(*b)),
    };
    let mut zone = Zone::default();
    for i in 0..types {
        let at = at_types + i * 6;
        let offset = i64::from(i32::from_be_bytes(*bytes.get(at..)?.first_chunk::<4>()?));
        let name = bytes.get(at_chars + usize::from(*bytes.get(at + 5)?)..at_chars + chars)?;
        let name = String::from_utf8_lossy(name.split(|b| *b == 0).next()?).into_owned();
        zone.kinds.push(Shown { offset, name });
    }
    for i in 0..times {
        zone.changes.push((time(44 + i * width)?, usize::from(*bytes.get(at_index + i)?)));
    }
    Some((zone, end))
}

impl Zone {
    fn shown(&self, at: i64) -> Shown {
        let passed = self.changes.iter().take_while(|(from, _)| *from <= at).last();
        match (passed, &self.rule) {
            (last, Some(rule)) if last == self.changes.last() => rule.shown(at),
            (Some((_, kind)), _) => self.kinds.get(*kind).cloned().unwrap_or_default(),
            // Before the first change the first kind holds.
            (None, _) => self.kinds.first().cloned().unwrap_or_else(|| Shown { offset: 0, name: "UTC".into() }),
        }
    }
}

impl Rule {
    fn shown(&self, at: i64) -> Shown {
        let Some((summer, from, to)) = &self.summer else { return self.standard.clone() };
        let year = date((at + self.standard.offset).div_euclid(86_400)).0;
        // Each end is told in the time that holds until then.
        let (from, to) = (from.in_year(year) - self.standard.offset, to.in_year(year) - summer.offset);
        let is_summer = if from < to { (from..to).contains(&at) } else { !(to..from).contains(&at) };
        if is_summer { summer.clone() } else { self.standard.clone() }
    }
}

impl Day {
    /// Seconds since 1970 by local clocks.
    fn in_year(&self, year: i64) -> i64 {
        let day = match self.date {
            Date::Week(month, week, weekday) => {
                let first = days(year, month, 1);
                // 1970 began on a Thursday.
                let mut day = first + (weekday - (first + 4)).rem_euclid(7) + (week - 1) * 7;
                let next = if month == 12 { days(year + 1, 1, 1) } else { days(year, month + 1, 1) };
                while day >= next {
                    day -= 7;
                }
                day
            }
            Date::Julian(n) => days(year, 1, 1) + n - 1 + i64::from(n >= 60 && days(year, 3, 1) - days(year, 2, 1) == 29),
            Date::Ordinal(n) => days(year, 1, 1) + n,
        };
        day * 86_400 + self.second
    }
}

fn rule(text: &str) -> Option<Rule> {
    let mut rest = text;
    let name = zone_name(&mut rest)?;
    let standard = Shown { offset: -clock(&mut rest)?, name };
    if rest.is_empty() {
        return Some(Rule { standard, summer: None });
    }
    let name = zone_name(&mut rest)?;
    let offset = if rest.starts_with(',') { standard.offset + 3600 } else { -clock(&mut rest)? };
    let mut day = || {
        rest = rest.strip_prefix(',')?;
        let date = match rest.as_bytes().first()? {
            b'M' => {
                rest = &rest[1..];
                let month = number(&mut rest)?;
                rest = rest.strip_prefix('.')?;
                let week = number(&mut rest)?;
                rest = rest.strip_prefix('.')?;
                Date::Week(month, week, number(&mut rest)?)
            }
            b'J' => {
                rest = &rest[1..];
                Date::Julian(number(&mut rest)?)
            }
            _ => Date::Ordinal(number(&mut rest)?),
        };
        let second = match rest.strip_prefix('/') {
            Some(time) => {
                rest = time;
                clock(&mut rest)?
            }
            // Two in the night.
            None => 7200,
        };
        Some(Day { date, second })
    };
    let (from, to) = (day()?, day()?);
    rest.is_empty().then_some(Rule { standard, summer: Some((Shown { offset, name }, from, to)) })
}

/// `CET`, or `<+03>`.
fn zone_name(rest: &mut &str) -> Option<String> {
    if let Some(quoted) = rest.strip_prefix('<') {
        let (name, behind) = quoted.split_once('>')?;
        *rest = behind;
        return Some(name.to_owned());
    }
    let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (name, behind) = rest.split_at_checked(end).filter(|(name, _)| name.len() >= 3)?;
    *rest = behind;
    Some(name.to_owned())
}

/// `[+-]hh[:mm[:ss]]`, in seconds.
fn clock(rest: &mut &str) -> Option<i64> {
    let sign = if rest.starts_with('-') { -1 } else { 1 };
    *rest = rest.trim_start_matches(['+', '-']);
    let mut seconds = number(rest)? * 3600;
    for unit in [60, 1] {
        if let Some(behind) = rest.strip_prefix(':') {
            *rest = behind;
            seconds += number(rest)? * unit;
        }
    }
    Some(sign * seconds)
}

fn number(rest: &mut &str) -> Option<i64> {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, behind) = rest.split_at_checked(end)?;
    *rest = behind;
    // Days of a year and hours of a week have three digits at most.
    digits.parse::<u16>().ok().filter(|n| *n < 1000).map(i64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_the_calendars() {
        assert_eq!((days(1970, 1, 1), days(2000, 3, 1), days(1969, 12, 31)), (0, 11_017, -1));
        for day in (-200_000..200_000).step_by(37) {
            let (year, month, d) = date(day);
            assert_eq!(days(year, month, d), day);
        }
    }

    #[test]
    fn rules_are_read_and_followed() {
        let berlin = rule("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        // 2026: from 29 March 01:00 UTC to 25 October 01:00 UTC.
        let at = |day: i64, second: i64| berlin.shown(day * 86_400 + second).name;
        let (march, october) = (days(2026, 3, 29), days(2026, 10, 25));
        assert_eq!([at(march, 3599), at(march, 3600), at(october, 3599), at(october, 3600)], ["CET", "CEST", "CEST", "CET"]);
        // South of the equator summer goes over the new year.
        let sydney = rule("AEST-10AEDT,M10.1.0,M4.1.0/3").unwrap();
        assert_eq!((sydney.shown(0).name.as_str(), sydney.shown(days(2026, 7, 1) * 86_400).offset), ("AEDT", 36_000));
        assert_eq!(rule("<+0530>-5:30").unwrap().standard, Shown { offset: 19_800, name: "+0530".into() });
        assert_eq!(rule("EST5EDT,J60,J300").unwrap().summer.unwrap().1.in_year(2024), days(2024, 3, 1) * 86_400 + 7200);
        for wrong in ["", "X", "CET", "CET-1CEST,M3.5", "CET-1CEST,M3.5.0,M10.5.0/3x", "CET99999"] {
            assert!(rule(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_none_and_no_panic() {
        // Version 2: nothing in the first part, one change to CET in the second, and a rule.
        let mut bytes = b"TZif2".to_vec();
        bytes.extend([0; 15]);
        bytes.extend([0u32; 6].iter().flat_map(|n| n.to_be_bytes()));
        bytes.extend(b"TZif2");
        bytes.extend([0; 15]);
        bytes.extend([0u32, 0, 0, 1, 2, 8].iter().flat_map(|n| n.to_be_bytes()));
        bytes.extend(1000i64.to_be_bytes());
        bytes.push(1);
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x0e, 0x10, 0, 4]);
        bytes.extend(b"LMT\0CET\0\nCET-1\n");
        for cut in 0..bytes.len() {
            let _ = parse(&bytes[..cut]);
        }
        let zone = parse(&bytes).unwrap();
        assert_eq!((zone.shown(999).name.as_str(), zone.shown(1000).name.as_str(), zone.shown(2000).offset), ("LMT", "CET", 3600));
    }

    #[test]
    fn it_shows_what_date_shows() {
        let at = 1_795_461_245;
        let said = std::process::Command::new("date").args(["-d", &format!("@{at}"), "+%z %Z"]).output().unwrap();
        let shown = shown(at);
        let expected = format!("{:+03}{:02} {}", shown.offset / 3600, shown.offset.abs() % 3600 / 60, shown.name);
        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), expected);
    }
}
