//! Times as text.

use nix::libc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds and microseconds since 1970.
fn since_1970(at: SystemTime) -> (libc::time_t, u32) {
    let d = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    (libc::time_t::try_from(d.as_secs()).unwrap_or(libc::time_t::MAX), d.subsec_micros())
}

/// The calendar's fields, local (by `/etc/localtime`) or in UTC.
fn fields(seconds: libc::time_t, local: bool) -> libc::tm {
    // SAFETY: `tm` is plain data for which all zeroes are valid; both functions only write to it.
    unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        if local {
            libc::localtime_r(&seconds, &mut tm);
        } else {
            libc::gmtime_r(&seconds, &mut tm);
        }
        tm
    }
}

/// `2026-11-23T19:14:05Z`: RFC 3339 in UTC.
pub fn utc(at: SystemTime) -> String {
    let tm = fields(since_1970(at).0, false);
    let (year, month) = (tm.tm_year + 1900, tm.tm_mon + 1);
    format!("{year:04}-{month:02}-{:02}T{:02}:{:02}:{:02}Z", tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec)
}

/// `2026-11-23 19:14:05.123456` in local time, as Ansible's `start` and `end`.
pub fn local(at: SystemTime) -> String {
    let (seconds, micros) = since_1970(at);
    let tm = fields(seconds, true);
    let (year, month) = (tm.tm_year + 1900, tm.tm_mon + 1);
    format!("{year:04}-{month:02}-{:02} {:02}:{:02}:{:02}.{micros:06}", tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec)
}

/// `2026-11-23@19:14:05~` in local time: how Ansible ends the names of backups.
pub fn backup_suffix(at: SystemTime) -> String {
    let text = local(at);
    let (day, time) = text.split_once(' ').unwrap_or((&text, ""));
    format!("{day}@{}~", time.split('.').next().unwrap_or_default())
}

/// Seconds since 1970 of a local date and time, each field in its everyday range.
pub fn from_local(year: i32, month: i32, day: i32, hour: i32, minute: i32, second: i32) -> Option<i64> {
    // SAFETY: `tm` is plain data for which all zeroes are valid; mktime only reads and tidies it.
    let seconds = unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        (tm.tm_year, tm.tm_mon, tm.tm_mday) = (year - 1900, month - 1, day);
        (tm.tm_hour, tm.tm_min, tm.tm_sec, tm.tm_isdst) = (hour, minute, second, -1);
        libc::mktime(&mut tm)
    };
    (seconds != -1).then_some(seconds)
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
        assert_eq!(backup_suffix(at).len(), "2026-11-23@19:14:05~".len());
        assert_eq!(delta(Duration::from_micros(3_661_000_007)), "1:01:01.000007");
        assert_eq!(delta(Duration::from_secs(2 * 86400)), "2 days, 0:00:00.000000");
    }
}
