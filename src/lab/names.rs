//! Where a lab keeps its things, and what they are called.

use crate::diag::Diagnostic;
use std::path::{Path, PathBuf};

/// Small things that must not outlive a reboot: keys, inventory, logs.
pub const RUN: &str = "/run/fettle-lab";
/// Disk images: sparse, but too large for memory.
pub const IMAGES: &str = "/var/tmp/fettle-lab";
/// What the interface alias of every link of a lab begins with; the lab's name follows.
pub const ALIAS: &str = "fettle-lab:";

/// The names and places of one lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lab {
    name: String,
}

impl Lab {
    /// Checks a lab's name: it becomes part of paths, host names and interface aliases.
    ///
    /// # Errors
    /// The name is empty, longer than 32 characters, or has others than letters, digits, `-` and `_`.
    pub fn new(name: &str) -> Result<Self, Diagnostic> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 32 || !name.chars().all(fits) || name.starts_with('-') {
            return Err(Diagnostic::bare(format!("`{name}` cannot be the name of a lab"))
                .help("up to 32 letters, digits, `-` and `_`, not beginning with `-`"));
        }
        Ok(Self { name: name.to_owned() })
    }

    /// The lab's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder under [`RUN`].
    pub fn run(&self) -> PathBuf {
        Path::new(RUN).join(&self.name)
    }

    /// The folder under [`IMAGES`].
    pub fn images(&self) -> PathBuf {
        Path::new(IMAGES).join(&self.name)
    }

    /// The private key that opens every host.
    pub fn key(&self) -> PathBuf {
        self.run().join("key")
    }

    /// The host keys of all hosts.
    pub fn known_hosts(&self) -> PathBuf {
        self.run().join("known_hosts")
    }

    /// The inventory, in INI.
    pub fn inventory(&self) -> PathBuf {
        self.run().join("inventory.ini")
    }

    /// What `up` writes down once everything is up.
    pub fn state(&self) -> PathBuf {
        self.run().join("lab.json")
    }

    /// The folder of one host under [`RUN`].
    pub fn host(&self, host: &str) -> PathBuf {
        self.run().join("hosts").join(host)
    }

    /// The image of one disk.
    pub fn image(&self, host: &str, disk: &str) -> PathBuf {
        self.images().join(format!("{host}-{disk}.img"))
    }

    /// What the alias of this lab's links says.
    pub fn alias(&self) -> String {
        format!("{ALIAS}{}", self.name)
    }
}

/// The `n`th host's name, from 0: `node01`.
pub fn host_name(n: usize) -> String {
    format!("node{:02}", n + 1)
}

/// The `n`th disk's name as the kernel names SCSI disks, from 0: `sda` … `sdz`, `sdaa` …
pub fn disk_name(n: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = n + 1;
    while rest > 0 {
        rest -= 1;
        letters.push(char::from(b'a' + u8::try_from(rest % 26).unwrap_or_default()));
        rest /= 26;
    }
    let mut name = String::from("sd");
    name.extend(letters.iter().rev());
    name
}

/// Reads a size: bytes, or with K, M, G, T (powers of 1024) behind it.
///
/// # Errors
/// Not a number, no known unit, not a multiple of 512 (a disk's sector), or nothing at all.
pub fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(digits.len()..).unwrap_or_default();
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KIB" => 10,
        "M" | "MIB" => 20,
        "G" | "GIB" => 30,
        "T" | "TIB" => 40,
        _ => return Err(format!("unknown unit `{unit}`: one of K, M, G, T")),
    };
    let number: u64 = digits.trim().parse().map_err(|_| format!("`{text}` is not a size; such as 512M or 1G"))?;
    match number.checked_mul(1 << shift) {
        Some(bytes) if bytes > 0 && bytes % 512 == 0 && bytes < 1 << 50 => Ok(bytes),
        _ => Err(format!("`{text}` is not a disk's size: a multiple of 512 bytes below 1024T")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_named_as_the_kernel_does() {
        let names: Vec<_> = [0, 1, 25, 26, 27, 51, 52, 701, 702].iter().map(|n| disk_name(*n)).collect();
        assert_eq!(names, ["sda", "sdb", "sdz", "sdaa", "sdab", "sdaz", "sdba", "sdzz", "sdaaa"]);
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("1G"), Ok(1 << 30));
        assert_eq!(size("300m"), Ok(300 << 20));
        assert_eq!(size("512"), Ok(512));
        for wrong in ["", "G", "1X", "0", "1000", "-1G", "99999999T"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_cannot_leave_their_folder() {
        for wrong in ["", ".", "..", "a/b", "-x", "a b", "ä"] {
            assert!(Lab::new(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Lab::new("t-1_x").map(|l| l.run()), Ok(PathBuf::from("/run/fettle-lab/t-1_x")));
    }
}
