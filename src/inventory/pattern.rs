//! Which hosts a pattern means.

use super::{Inventory, LOCALHOST};
use crate::diag::{Diagnostic, Loc};
use crate::host::glob;
use crate::template::{Flags, Pattern};
use std::collections::HashSet;
use std::path::Path;

impl Inventory {
    /// The hosts `pattern` means (`web`, `all`, `web*`, `~web\d+`, `a:b` or `a,b`, `all:!db`, `web:&new`, `web[0]`,
    /// `web[0:2]`, `web[:2]`), each once: in the order of the patterns, and of the inventory within one. A name that is neither
    /// host nor group is an error, without a place: the caller knows where the pattern stands.
    pub fn select(&self, pattern: &str) -> Result<Vec<String>, Diagnostic> {
        self.evaluate(&self.split(pattern), None)
    }

    /// As [`Inventory::select`], but as Ansible does for a play: names that are neither host nor group mean nobody, and are
    /// told of in `missed`. Behind `!` one that looks misspelt is an error.
    pub fn select_known(&self, pattern: &str, missed: &mut Vec<Diagnostic>) -> Result<Vec<String>, Diagnostic> {
        self.evaluate(&self.split(pattern), Some(missed))
    }

    /// Those of `hosts` that `--limit LIMIT` leaves; `@file` in it stands for the patterns in that file, one a line.
    pub fn limit(&self, hosts: Vec<String>, limit: &str) -> Result<Vec<String>, Diagnostic> {
        let outside = Loc::outside("--limit");
        let mut patterns = vec![];
        for part in self.split(limit) {
            let Some(file) = part.strip_prefix('@') else {
                // Told here rather than for all at once, so that each error can have its place.
                self.evaluate(std::slice::from_ref(&part), None).map_err(|e| Diagnostic { loc: Some(outside.clone()), ..e })?;
                patterns.push(part);
                continue;
            };
            let text = std::fs::read_to_string(Path::new(file))
                .map_err(|e| Diagnostic::error(&outside, format!("the file `{file}` can't be read: {e}")))?;
            for (number, line) in text.lines().enumerate() {
                let line = line.trim();
                if !line.is_empty() {
                    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
                    let loc = Loc { len: small(line.chars().count()), ..Loc::new(file, small(number + 1), 1) };
                    self.evaluate(&[line.to_owned()], None).map_err(|e| Diagnostic { loc: Some(loc), ..e })?;
                    patterns.push(line.to_owned());
                }
            }
        }
        let kept: HashSet<String> = self.evaluate(&patterns, None)?.into_iter().collect();
        Ok(hosts.into_iter().filter(|h| kept.contains(h)).collect())
    }

    /// Cuts a pattern at commas, or at colons that are in no brackets and no IPv6 address.
    fn split(&self, pattern: &str) -> Vec<String> {
        let whole = pattern.trim();
        let parts: Vec<&str> = if whole.contains(',') {
            whole.split(',').collect()
        } else if self.data.hosts.contains_key(whole) || whole.parse::<std::net::Ipv6Addr>().is_ok() {
            vec![whole]
        } else {
            let mut depth = 0usize;
            whole
                .split(|c| {
                    match c {
                        '[' => depth += 1,
                        ']' => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                    c == ':' && depth == 0
                })
                .collect()
        };
        parts.into_iter().map(str::trim).filter(|p| !p.is_empty()).map(str::to_owned).collect()
    }

    /// First what is named, then what `&` keeps, then what `!` takes away; only the latter two start from all hosts.
    fn evaluate(&self, patterns: &[String], mut missed: Option<&mut Vec<Diagnostic>>) -> Result<Vec<String>, Diagnostic> {
        let starts = |p: &&String, c: char| p.starts_with(c);
        let mut one = |pattern: &str| match (self.one(pattern), &mut missed) {
            (Err(e), Some(missed)) if self.is_missing(pattern) => {
                missed.push(e);
                Ok(vec![])
            }
            (found, _) => found,
        };
        let regular: Vec<&String> = patterns.iter().filter(|p| !starts(p, '!') && !starts(p, '&')).collect();
        let mut hosts: Vec<String> = vec![];
        if regular.is_empty() && !patterns.is_empty() {
            hosts = self.hosts();
        }
        for pattern in regular {
            for host in one(pattern)? {
                if !hosts.contains(&host) {
                    hosts.push(host);
                }
            }
        }
        for pattern in patterns.iter().filter(|p| starts(p, '&')) {
            let kept = one(&pattern[1..])?;
            hosts.retain(|h| kept.contains(h));
        }
        for pattern in patterns.iter().filter(|p| starts(p, '!')) {
            // A name that looks like another one is not let pass here: hosts that were to be spared would not be.
            let gone = match self.one(&pattern[1..]) {
                Err(e) if e.label.is_some() => return Err(e),
                _ => one(&pattern[1..])?,
            };
            hosts.retain(|h| !gone.contains(h));
        }
        Ok(hosts)
    }

    /// Whether a pattern is the name of nothing, rather than wrong.
    fn is_missing(&self, pattern: &str) -> bool {
        let name = subscript(pattern).map_or(pattern, |(name, _)| name);
        !name.is_empty() && self.matching(name).is_err() && !name.starts_with('~')
    }

    /// The hosts of one pattern without `!` and `&`.
    fn one(&self, pattern: &str) -> Result<Vec<String>, Diagnostic> {
        if pattern.is_empty() {
            return Err(Diagnostic::bare("a host pattern is empty"));
        }
        if self.data.hosts.contains_key(pattern) && !self.data.groups.contains_key(pattern) {
            return Ok(vec![pattern.to_owned()]);
        }
        let (name, subscript) = subscript(pattern)?;
        let hosts = self.matching(name)?;
        let Some((first, last)) = subscript else { return Ok(hosts) };
        let count = i64::try_from(hosts.len()).unwrap_or(i64::MAX);
        let first = if first < 0 { count + first } else { first };
        if first < 0 || first >= count {
            let hosts = if count == 1 { "1 host".to_owned() } else { format!("{count} hosts") };
            return Err(Diagnostic::bare(format!("`{pattern}` asks for a host that is not there: `{name}` has {hosts}"))
                .help("counting starts at 0; [-1] is the last one"));
        }
        let last = last.map_or(first, |l| l.min(count - 1));
        Ok(hosts.into_iter().enumerate().filter(|(i, _)| (first..=last).contains(&(*i as i64))).map(|(_, h)| h).collect())
    }

    /// Groups that match, and hosts as well if no group does or the pattern has wildcards.
    fn matching(&self, pattern: &str) -> Result<Vec<String>, Diagnostic> {
        let wild = pattern.starts_with('~') || pattern.contains(['*', '?', '[']);
        let regex = match pattern.strip_prefix('~') {
            None => None,
            Some(regex) => Some(
                Pattern::new(regex, Flags::default())
                    .map_err(|e| Diagnostic::bare(format!("the pattern `{pattern}` is not a regular expression: {e}")))?,
            ),
        };
        let matches = |name: &str| match &regex {
            Some(regex) => regex.match_start(name).is_ok_and(|found| found.is_some()),
            None => glob::matches(pattern, name),
        };
        let mut found: Vec<String> = vec![];
        let mut any_group = false;
        for group in self.data.groups.keys().filter(|g| matches(g)) {
            any_group = true;
            found.extend(self.data.members(group));
        }
        if !any_group || wild {
            found.extend(self.hosts().into_iter().filter(|h| matches(h)));
        }
        let mut seen = HashSet::new();
        found.retain(|h| seen.insert(h.clone()));
        if !found.is_empty() || any_group || wild {
            return Ok(found);
        }
        if LOCALHOST.contains(&pattern) {
            return Ok(vec![pattern.to_owned()]);
        }
        let mut error = Diagnostic::bare(format!("no host and no group is named `{pattern}`")).nearest(pattern, self.data.names());
        if error.label.is_none() {
            let groups: Vec<&str> = self.data.groups.keys().map(String::as_str).filter(|g| *g != "ungrouped").take(12).collect();
            error = match self.data.hosts.len() {
                0 => error.help("the inventory has no hosts: name one with -i"),
                hosts => error.help(format!("the inventory has {hosts} hosts in the groups {}", groups.join(", "))),
            };
        }
        Err(error)
    }
}

/// First host taken (from the end if negative), and the last one if there may be more than one.
type Subscript = (i64, Option<i64>);

/// Cuts `[0]`, `[-1]`, `[0:2]` or `[1:]` off; the second number is the last one taken.
fn subscript(pattern: &str) -> Result<(&str, Option<Subscript>), Diagnostic> {
    if pattern.starts_with('~') {
        return Ok((pattern, None));
    }
    let Some((name, inside)) = pattern.strip_suffix(']').and_then(|p| p.rsplit_once('[')).filter(|(name, _)| !name.is_empty()) else {
        return Ok((pattern, None));
    };
    let whole = |text: &str| text.strip_prefix('-').unwrap_or(text).bytes().all(|b| b.is_ascii_digit());
    if inside.is_empty() || !inside.split(':').all(whole) {
        // Not a subscript but a set of characters, as in `node[abc]`.
        return Ok((pattern, None));
    }
    let bad = || Diagnostic::bare(format!("`[{inside}]` in `{pattern}` picks no hosts: write [0], [-1], [0:2] or [1:]"));
    let number = |text: &str| text.parse::<i64>().map_err(|_| bad());
    match inside.split_once(':') {
        None => Ok((name, Some((number(inside)?, None)))),
        // From the first on: `[:2]`.
        Some(("", last)) if !last.is_empty() && !last.starts_with('-') => Ok((name, Some((0, Some(number(last)?))))),
        Some((first, "")) if !first.starts_with('-') => Ok((name, Some((number(first)?, Some(i64::MAX))))),
        Some((first, last)) if !first.starts_with('-') && !last.starts_with('-') => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first { Err(bad()) } else { Ok((name, Some((first, Some(last))))) }
        }
        Some(_) => Err(bad()),
    }
}
