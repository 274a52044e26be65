//! Times as text.

use super::zone::{self, date, days};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds and microseconds since 1970.
fn since_1970(at: SystemTime) -> (i64, u32) {
    let d = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(d.as_secs()).unwrap_or(i64::MAX / 2), d.subsec_micros())
}

/// `2026-11-23` and `19:14:05` of seconds since 1970, as a clock without a zone has them.
fn text(seconds: i64) -> (String, String) {
    let (year, month, day) = date(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    (format!("{year:04}-{month:02}-{day:02}"), format!("{:02}:{:02}:{:02}", second / 3600, second % 3600 / 60, second % 60))
}

/// `2026-11-23T19:14:05Z`: RFC 3339 in UTC.
pub fn utc(at: SystemTime) -> String {
    let (day, time) = text(since_1970(at).0);
    format!("{day}T{time}Z")
}

/// `2026-11-23 19:14:05.123456` in local time, as Ansible's `start` and `end`.
pub fn local(at: SystemTime) -> String {
    let (seconds, micros) = since_1970(at);
    let (day, time) = text(seconds + zone::shown(seconds).offset);
    format!("{day} {time}.{micros:06}")
}

/// `2026-11-23@19:14:05~` in local time: how Ansible ends the names of backups.
pub fn backup_suffix(at: SystemTime) -> String {
    let text = local(at);
    let (day, time) = text.split_once(' ').unwrap_or((&text, ""));
    format!("{day}@{}~", time.split('.').next().unwrap_or_default())
}

/// Seconds since 1970 of a local date and time, each field in its everyday range. An hour that a change of clocks leaves out is
/// taken as the hour after it, one that comes twice as the first.
pub fn from_local(year: i32, month: i32, day: i32, hour: i32, minute: i32, second: i32) -> i64 {
    let [year, month, day, hour, minute, second] = [year, month, day, hour, minute, second].map(i64::from);
    let local = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let first = local - zone::shown(local).offset;
    local - zone::shown(first).offset
}

/// `0:00:01.002003`, as Ansible's `delta`.
pub fn delta(d: Duration) -> String {
    let s = d.as_secs();
    let days = match s / 86400 {
        0 => String::new(),
        1 => "1 day, ".into(),
        n => format!("{n} days, "),
    };
    format!("{days}{}:{:02}:{:02}.{:06}", s % 86400 / 3600, s % 3600 / 60, s % 60, d.subsec_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_expected() {
        let at = UNIX_EPOCH + Duration::from_micros(1_795_461_245_000_042);
        assert_eq!(utc(at), "2026-11-23T19:14:05Z");
        assert!(local(at).ends_with(".000042"));
        let date = std::process::Command::new("date").args(["-d", "@1795461245", "+%Y-%m-%d %H:%M:%S"]).output().unwrap();
        assert_eq!(format!("{}.000042", String::from_utf8_lossy(&date.stdout).trim()), local(at));
        assert_eq!(from_local(1970, 1, 1, 0, 0, 0), -zone::shown(0).offset);
        assert_eq!(backup_suffix(at).len(), "2026-11-23@19:14:05~".len());
        assert_eq!(delta(Duration::from_micros(3_661_000_007)), "1:01:01.000007");
        assert_eq!(delta(Duration::from_secs(2 * 86400)), "2 days, 0:00:00.000000");
    }
}
