//! `/etc/fstab`, edited by the line: comments, order and spacing of everything else stay.

use std::path::{Path, PathBuf};

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What is mounted: `UUID=…`, a path, ….
    pub source: String,
    /// Where; `none` for swap.
    pub target: PathBuf,
    /// Filesystem type.
    pub fstype: String,
    /// Options.
    pub options: Vec<String>,
    /// The line it stands on, from 1; 0 for one that is not in a file yet.
    pub line: usize,
}

/// A file of entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fstab {
    /// Each with what ends it, which nothing does for a last line without a newline.
    lines: Vec<String>,
}

impl Fstab {
    /// Reads a text. Lines that are no entries are kept as they are.
    pub fn parse(text: &str) -> Self {
        Self { lines: text.split_inclusive('\n').map(str::to_owned).collect() }
    }

    /// All entries, in order.
    pub fn entries(&self) -> Vec<Entry> {
        self.lines.iter().enumerate().filter_map(|(i, line)| entry(line, i + 1)).collect()
    }

    /// The entry for this mount point. Two of them are an error that names their lines: nobody knows which is meant.
    pub fn at(&self, target: &Path) -> Result<Option<Entry>, String> {
        let mut found: Vec<Entry> = self.entries().into_iter().filter(|e| same(&e.target, target)).collect();
        match found.len() {
            0 => Ok(None),
            1 => Ok(found.pop()),
            _ => {
                let lines = found.iter().map(|e| e.line.to_string()).collect::<Vec<_>>().join(" and ");
                Err(format!("/etc/fstab has two entries for {} (lines {lines}): remove one", target.display()))
            }
        }
    }

    /// Puts `wanted` in the place of the entry for its mount point, or behind everything else. What stands behind an entry's
    /// six fields, a comment for instance, stays there.
    pub fn set(&mut self, wanted: &Entry) -> Result<(), String> {
        let text = line(wanted);
        let old = self.at(&wanted.target)?;
        match old.and_then(|old| self.lines.get_mut(old.line.checked_sub(1)?)) {
            Some(slot) => *slot = format!("{text}{}", rest(slot)),
            None => {
                let end = if self.lines.first().is_some_and(|l| l.ends_with("\r\n")) { "\r\n" } else { "\n" };
                if let Some(last) = self.lines.last_mut().filter(|l| !l.ends_with('\n')) {
                    last.push_str(end);
                }
                self.lines.push(format!("{text}{end}"));
            }
        }
        Ok(())
    }

    /// Takes the entry for this mount point out; `false`: there was none.
    pub fn remove(&mut self, target: &Path) -> Result<bool, String> {
        let Some(old) = self.at(target)? else { return Ok(false) };
        self.lines.remove(old.line - 1);
        Ok(true)
    }

    /// The file's text.
    pub fn text(&self) -> String {
        self.lines.concat()
    }
}

/// `/ais/sda` and `/ais/sda/` are one place.
fn same(a: &Path, b: &Path) -> bool {
    a.components().eq(b.components())
}

fn entry(line: &str, number: usize) -> Option<Entry> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let mut fields = line.split_whitespace().map(unescape);
    let (source, target, fstype) = (fields.next()?, fields.next()?, fields.next()?);
    let options = fields.next().unwrap_or_else(|| "defaults".into());
    Some(Entry { source, target: PathBuf::from(target), fstype, options: options.split(',').map(str::to_owned).collect(), line: number })
}

fn line(entry: &Entry) -> String {
    format!("{}\t{}\t{}\t{}\t0 0", escape(&entry.source), escape(&entry.target.to_string_lossy()), entry.fstype, entry.options.join(","))
}

/// What follows a line's six fields, and its end.
fn rest(line: &str) -> &str {
    let body = line.trim_end();
    let mut rest = body.trim_start();
    for _ in 0..6 {
        rest = rest.trim_start();
        rest = rest.find(char::is_whitespace).map_or("", |at| &rest[at..]);
    }
    &line[body.len() - rest.len()..]
}

/// Spaces, tabs, newlines and backslashes as octal (fstab(5)).
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            ' ' | '\t' | '\n' | '\\' => out.push_str(&format!("\\{:03o}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|c| u8::from_str_radix(c, 8).ok());
        match code {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# the root\nUUID=aa / ext4 errors=remount-ro 0 1\n\nUUID=bb\t/ais/sda  xfs  noatime 0 0\n/dev/x /with\\040space ext4 defaults 0 0";

    fn wanted(target: &str, options: &str) -> Entry {
        Entry {
            source: "UUID=cc".into(),
            target: target.into(),
            fstype: "xfs".into(),
            options: options.split(',').map(str::to_owned).collect(),
            line: 0,
        }
    }

    #[test]
    fn only_the_entry_changes() {
        let mut fstab = Fstab::parse(TEXT);
        assert_eq!(fstab.text(), TEXT);
        assert_eq!(fstab.at(Path::new("/with space")).unwrap().unwrap().line, 5);
        fstab.set(&wanted("/ais/sda", "noatime,nofail")).unwrap();
        assert_eq!(fstab.text(), TEXT.replace("UUID=bb\t/ais/sda  xfs  noatime 0 0", "UUID=cc\t/ais/sda\txfs\tnoatime,nofail\t0 0"));
        fstab.set(&wanted("/ais/sdb", "x")).unwrap();
        assert!(fstab.text().ends_with("defaults 0 0\nUUID=cc\t/ais/sdb\txfs\tx\t0 0\n"));
        assert!(fstab.remove(Path::new("/ais/sdb/")).unwrap());
        assert!(!fstab.remove(Path::new("/ais/sdb")).unwrap());
    }

    #[test]
    fn what_stands_behind_an_entry_and_the_ends_of_lines_stay() {
        let mut fstab = Fstab::parse("# x\r\nUUID=bb /ais/sda xfs noatime 0 2  # bay 7\r\nUUID=dd /d ext4\r\n");
        fstab.set(&wanted("/ais/sda", "nofail")).unwrap();
        fstab.set(&wanted("/d", "nofail")).unwrap();
        fstab.set(&wanted("/ais/sdb", "x")).unwrap();
        assert_eq!(
            fstab.text(),
            "# x\r\nUUID=cc\t/ais/sda\txfs\tnofail\t0 0  # bay 7\r\nUUID=cc\t/d\txfs\tnofail\t0 0\r\nUUID=cc\t/ais/sdb\txfs\tx\t0 0\r\n"
        );
        let mut fstab = Fstab::parse("UUID=bb /ais/sda xfs noatime 0 0 # last");
        fstab.set(&wanted("/ais/sda", "nofail")).unwrap();
        assert_eq!(fstab.text(), "UUID=cc\t/ais/sda\txfs\tnofail\t0 0 # last");
    }

    #[test]
    fn two_entries_for_one_place_are_refused() {
        let fstab = Fstab::parse("a /m xfs x 0 0\nb /m xfs x 0 0\n");
        assert_eq!(fstab.at(Path::new("/m")).unwrap_err(), "/etc/fstab has two entries for /m (lines 1 and 2): remove one");
    }
}
