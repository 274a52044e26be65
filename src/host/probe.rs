//! What is written on a block device: our own look at the magic numbers, so that the static agent needs no libblkid.
//!
//! Sources of offsets and numbers: the formats' own documentation and kernel headers, cross-checked with `blkid -p`
//! in tests.

use super::{Probe, Signature, ViewError};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// One magic number: at `offset` (from the end where negative) stand these bytes.
struct Magic {
    kind: &'static str,
    offset: i64,
    bytes: &'static [u8],
    /// UUID of 16 bytes at this offset from the start, if the format has one there.
    uuid: Option<u64>,
    /// Label: offset and length.
    label: Option<(u64, usize)>,
}

const fn magic(kind: &'static str, offset: i64, bytes: &'static [u8]) -> Magic {
    Magic { kind, offset, bytes, uuid: None, label: None }
}

const MAGICS: &[Magic] = &[
    Magic { kind: "xfs", offset: 0, bytes: b"XFSB", uuid: Some(32), label: Some((108, 12)) },
    Magic { kind: "btrfs", offset: 0x10040, bytes: b"_BHRfS_M", uuid: Some(0x10020), label: Some((0x1012b, 256)) },
    Magic { kind: "swap", offset: 4086, bytes: b"SWAPSPACE2", uuid: Some(1036), label: Some((1052, 16)) },
    // Pages of 16 and 64 KiB, as on ARM and POWER.
    Magic { kind: "swap", offset: 16374, bytes: b"SWAPSPACE2", uuid: Some(1036), label: Some((1052, 16)) },
    Magic { kind: "swap", offset: 65526, bytes: b"SWAPSPACE2", uuid: Some(1036), label: Some((1052, 16)) },
    magic("swap", 4086, b"SWAP-SPACE"),
    Magic { kind: "crypto_LUKS", offset: 0, bytes: b"LUKS\xba\xbe", uuid: None, label: None },
    magic("crypto_LUKS", 0x4000, b"SKUL\xba\xbe"),
    magic("LVM2_member", 512, b"LABELONE"),
    magic("LVM2_member", 0, b"LABELONE"),
    magic("LVM2_member", 1024, b"LABELONE"),
    magic("LVM2_member", 1536, b"LABELONE"),
    magic("linux_raid_member", 0, b"\xfc\x4e\x2b\xa9"),
    magic("linux_raid_member", 4096, b"\xfc\x4e\x2b\xa9"),
    magic("bcache", 4096 + 24, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"),
    magic("ceph_bluestore", 0, b"bluestore block device"),
    magic("iso9660", 0x8001, b"CD001"),
    magic("squashfs", 0, b"hsqs"),
    magic("exfat", 3, b"EXFAT   "),
    magic("ntfs", 3, b"NTFS    "),
    magic("vfat", 82, b"FAT32   "),
    magic("vfat", 54, b"FAT16   "),
    magic("vfat", 54, b"FAT12   "),
    magic("f2fs", 1024, b"\x10\x20\xf5\xf2"),
    magic("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
    magic("bcachefs", 4096 + 24, b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"),
    magic("reiserfs", 0x10034, b"ReIsEr"),
    magic("jfs", 0x8000, b"JFS1"),
    magic("gfs2", 0x10000, b"\x01\x16\x19\x70\0\0\0\x01"),
    magic("drbd", -4096 + 60, b"\x83\x74\x02\x6b"),
    magic("DM_snapshot_cow", 0, b"SnAp"),
    magic("vmfs", 0x20_0000, b"\x5e\xf1\xab\x2f"),
];

/// Bytes read at the start: past the last magic number near it.
const HEAD: usize = 0x20_0000 + 4096;
/// Bytes that hold the superblocks of all filesystems with a UUID: past btrfs's.
const BEGINNING: usize = 128 << 10;
/// Bytes read at the end: RAID superblocks are within the last 128 KiB, ZFS labels (two of 256 KiB, aligned to that) within
/// the last 768 KiB.
const TAIL: usize = 768 << 10;
/// Places looked at between beginning and end where both are empty, for data whose beginning was overwritten: a disk that was
/// ever half full shows in one of them all but surely, an XFS of four groups has its superblock's copies at them, and even a
/// slow disk reads them within a second.
const SAMPLES: u64 = 64;
/// Bytes read at each of them: a block of most filesystems.
const SAMPLE: usize = 4096;

/// The kind of what is no signature anybody knows, and not zeros either.
pub const UNKNOWN_DATA: &str = "unknown data";
/// The kind of what mkfs.xfs leaves when it is interrupted: an XFS of which nothing can be mounted.
pub const UNFINISHED_XFS: &str = "unfinished xfs";
/// `sb_inprogress` in the superblock (xfs_format.h): 1 until mkfs is done.
const XFS_IN_PROGRESS: i64 = 126;
/// `sb_icount` there: the inodes there are. mkfs begins with none, and what it has finished has its first 64, with the root.
const XFS_INODES: i64 = 128;

/// All signatures on the device (or image file) at `path`.
pub fn probe_device(path: &Path) -> Result<Probe, ViewError> {
    let read = || -> std::io::Result<Probe> {
        let mut file = File::open(path)?;
        let size = file.seek(SeekFrom::End(0))?;
        let head = read_at(&mut file, 0, HEAD)?;
        let tail = read_at(&mut file, size.saturating_sub(TAIL as u64), TAIL)?;
        let mut probe = look(&Image { head, tail, size });
        if probe.signatures.is_empty() && data_between(&mut file, size)? {
            probe.signatures.push(plain(UNKNOWN_DATA));
        }
        Ok(probe)
    };
    read().map_err(|e| unreadable(path, &e))
}

/// The signatures at its beginning, where filesystems have theirs.
pub fn probe_beginning(path: &Path) -> Result<Probe, ViewError> {
    let read = || -> std::io::Result<Probe> {
        let mut file = File::open(path)?;
        let size = file.seek(SeekFrom::End(0))?;
        Ok(look(&Image { head: read_at(&mut file, 0, BEGINNING)?, tail: vec![], size }))
    };
    read().map_err(|e| unreadable(path, &e))
}

fn unreadable(path: &Path, e: &std::io::Error) -> ViewError {
    match e.kind() {
        std::io::ErrorKind::NotFound => ViewError::NotFound(path.to_owned()),
        _ => ViewError::Failed(format!("cannot read {}: {e}", path.display())),
    }
}

/// Whether anything but zeros stands at the places sampled between beginning and end.
fn data_between(file: &mut File, size: u64) -> std::io::Result<bool> {
    for i in 1..SAMPLES {
        let offset = size / SAMPLES * i;
        if offset >= HEAD as u64 && !is_zero(&read_at(file, offset, SAMPLE)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether all bytes are zeros. Compared with themselves one further on, which goes by many bytes at a time.
fn is_zero(bytes: &[u8]) -> bool {
    match bytes {
        [] => true,
        [first, rest @ ..] => *first == 0 && *rest == bytes[..rest.len()],
    }
}

/// Writes zeros wherever [`probe_device`] looks for signatures.
pub(super) fn clear(device: &File, size: u64) -> std::io::Result<()> {
    use std::os::unix::fs::FileExt;
    let zeros = vec![0; HEAD];
    let part = |most: usize| zeros.get(..usize::try_from(size).unwrap_or(most).min(most)).unwrap_or_default();
    device.write_all_at(part(HEAD), 0)?;
    device.write_all_at(part(TAIL), size.saturating_sub(TAIL as u64))?;
    device.sync_all()
}

fn read_at(file: &mut File, offset: u64, length: usize) -> std::io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::with_capacity(length);
    file.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The parts of a device that hold signatures.
struct Image {
    head: Vec<u8>,
    tail: Vec<u8>,
    size: u64,
}

impl Image {
    fn at(&self, offset: i64, length: usize) -> Option<&[u8]> {
        if let Ok(start) = usize::try_from(offset) {
            return self.head.get(start..start + length);
        }
        let back = usize::try_from(offset.unsigned_abs()).ok()?;
        let start = self.tail.len().checked_sub(back)?;
        self.tail.get(start..start + length)
    }

    /// At an absolute place, wherever it was read.
    fn absolute(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let start = usize::try_from(offset).ok()?;
        if let Some(bytes) = self.head.get(start..start + length) {
            return Some(bytes);
        }
        let base = self.size - self.tail.len() as u64;
        let start = usize::try_from(offset.checked_sub(base)?).ok()?;
        self.tail.get(start..start + length)
    }
}

fn look(image: &Image) -> Probe {
    let mut signatures: Vec<Signature> = vec![];
    let mut add = |signature: Signature| {
        if !signatures.iter().any(|s| s.kind == signature.kind) {
            signatures.push(signature);
        }
    };
    for magic in MAGICS {
        if image.at(magic.offset, magic.bytes.len()) == Some(magic.bytes) {
            let uuid = magic.uuid.and_then(|o| image.absolute(o, 16)).map(uuid_text);
            let label = magic.label.and_then(|(o, n)| image.absolute(o, n)).and_then(text);
            let kind = if magic.kind == "xfs" && is_unfinished_xfs(image) { UNFINISHED_XFS } else { magic.kind };
            add(Signature { kind: kind.into(), partition_table: false, uuid, label });
        }
    }
    add_all(&mut add, [ext(image), raid_at_end(image), zfs(image), gpt(image), dos(image)]);
    // A FAT or NTFS boot sector ends in the same bytes as a partition table.
    if signatures.iter().any(|s| matches!(s.kind.as_str(), "vfat" | "exfat" | "ntfs")) {
        signatures.retain(|s| s.kind != "dos");
    }
    // The protective table of a GPT is part of it.
    if signatures.iter().any(|s| s.kind == "gpt") {
        signatures.retain(|s| s.kind != "dos");
    }
    if signatures.is_empty() && !(is_zero(&image.head) && is_zero(&image.tail)) {
        signatures.push(plain(UNKNOWN_DATA));
    }
    Probe { signatures }
}

/// Whether mkfs has not got to the root directory. One wrong byte in the superblock of a filesystem with files is not taken for that.
fn is_unfinished_xfs(image: &Image) -> bool {
    image.at(XFS_IN_PROGRESS, 1) == Some(&[1]) && image.at(XFS_INODES, 8) == Some(&[0; 8])
}

fn add_all(add: &mut impl FnMut(Signature), found: [Option<Signature>; 5]) {
    found.into_iter().flatten().for_each(add);
}

fn plain(kind: &str) -> Signature {
    Signature { kind: kind.into(), partition_table: false, uuid: None, label: None }
}

/// ext2, ext3, ext4: told apart by features (ext4 disk layout documentation).
fn ext(image: &Image) -> Option<Signature> {
    if image.at(1024 + 56, 2)? != [0x53, 0xef] {
        return None;
    }
    let word = |o: i64| image.at(1024 + o, 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let (compatible, incompatible, read_only) = (word(92), word(96), word(100));
    // Features beyond ext3's: extents, 64bit, flex_bg and such; journal means at least ext3.
    let kind = if incompatible & !0x16 != 0 || read_only & !0x7 != 0 {
        "ext4"
    } else if compatible & 0x4 != 0 {
        "ext3"
    } else {
        "ext2"
    };
    let uuid = image.at(1024 + 104, 16).map(uuid_text);
    let label = image.at(1024 + 120, 16).and_then(text);
    Some(Signature { kind: kind.into(), partition_table: false, uuid, label })
}

/// Superblocks of Linux RAID that stand near the end: version 1.0 (8 to 12 KiB before it) and 0.90 (the last 64 KiB block).
fn raid_at_end(image: &Image) -> Option<Signature> {
    let magic = [0xfc, 0x4e, 0x2b, 0xa9];
    let sectors = image.size / 512;
    let places = [((sectors.checked_sub(16)?) & !7) * 512, (image.size & !0xffff).checked_sub(0x1_0000)?];
    places.iter().any(|p| image.absolute(*p, 4) == Some(&magic)).then(|| plain("linux_raid_member"))
}

/// ZFS labels: uberblocks at 128 KiB into a label of 256 KiB, two at the front and two at the end.
fn zfs(image: &Image) -> Option<Signature> {
    let magics = [0x00ba_b10cu64.to_le_bytes(), 0x00ba_b10cu64.to_be_bytes()];
    let aligned = image.size & !0x3_ffff;
    let labels = [Some(0), Some(0x4_0000), aligned.checked_sub(0x8_0000), aligned.checked_sub(0x4_0000)];
    let hit = |start: u64| (0..128).any(|i| image.absolute(start + 0x2_0000 + i * 1024, 8).is_some_and(|b| magics.iter().any(|m| m == b)));
    labels.into_iter().flatten().any(hit).then(|| plain("zfs_member"))
}

/// A GUID partition table, the first or the spare one at the end, for sectors of 512 and 4096 bytes.
fn gpt(image: &Image) -> Option<Signature> {
    let hit = [512i64, 4096, -512, -4096].iter().any(|o| image.at(*o, 8) == Some(b"EFI PART"));
    hit.then(|| Signature { kind: "gpt".into(), partition_table: true, uuid: None, label: None })
}

/// A DOS partition table: its mark, and at least one entry that could be one (or a boot loader in front of it).
fn dos(image: &Image) -> Option<Signature> {
    if image.at(510, 2)? != [0x55, 0xaa] {
        return None;
    }
    let entries = image.at(446, 64)?;
    let plausible = entries.chunks(16).all(|e| e[0] == 0 || e[0] == 0x80);
    let used = entries.chunks(16).any(|e| e[4] != 0);
    let loader = image.at(0, 440)?.iter().any(|b| *b != 0);
    let serial = image.at(440, 4)?.iter().any(|b| *b != 0);
    (plausible && (used || loader || serial)).then(|| Signature { kind: "dos".into(), partition_table: true, uuid: None, label: None })
}

fn uuid_text(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let part = |r: std::ops::Range<usize>| hex.get(r).unwrap_or_default().to_owned();
    format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}

fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..end]).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{RealHost, View};
    use std::process::{Command, Stdio};

    fn image(size: u64, make: &[&str]) -> Option<(tempfile::NamedTempFile, Probe)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(size).unwrap();
        if let [program, args @ ..] = make {
            let made =
                Command::new(program).args(args).arg(file.path()).stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null()).status();
            // A tool that is not there proves nothing either way.
            if !made.ok()?.success() {
                return None;
            }
        }
        let probe = probe_device(file.path()).unwrap();
        Some((file, probe))
    }

    fn kinds(probe: &Probe) -> Vec<&str> {
        probe.signatures.iter().map(|s| s.kind.as_str()).collect()
    }

    #[test]
    fn blank_is_blank() {
        let (_file, probe) = image(16 << 20, &[]).unwrap();
        assert!(probe.signatures.is_empty());
    }

    /// What is found after these bytes were written at this place of 64 MiB of zeros.
    fn with(offset: u64, bytes: &[u8]) -> Probe {
        use std::os::unix::fs::FileExt;
        let (file, _) = image(64 << 20, &[]).unwrap();
        file.as_file().write_all_at(bytes, offset).unwrap();
        probe_device(file.path()).unwrap()
    }

    #[test]
    fn what_nobody_knows_is_not_blank() {
        // At the beginning, at the end, and far from both: behind what `dd` has zeroed, and a copy of an XFS superblock.
        for offset in [0, 777, (64 << 20) - 1, 32 << 20, (48 << 20) + 4095] {
            let probe = with(offset, b"x");
            assert_eq!(kinds(&probe), vec![UNKNOWN_DATA], "at {offset}");
        }
        let Some((file, _)) = image(400 << 20, &["mkfs.xfs", "-q"]) else { panic!("mkfs.xfs is needed") };
        use std::os::unix::fs::FileExt;
        file.as_file().write_all_at(&vec![0; 64 << 20], 0).unwrap();
        assert_eq!(kinds(&probe_device(file.path()).unwrap()), [UNKNOWN_DATA], "an XFS without its beginning");
    }

    #[test]
    fn what_blkid_knows_and_we_do_not_is_not_blank() {
        let cases: [(&str, &str, u64, &[u8]); 6] = [
            ("minix", UNKNOWN_DATA, 1024 + 16, b"\x8f\x13"),
            ("isw_raid_member", UNKNOWN_DATA, (64 << 20) - 1024, b"Intel Raid ISM Cfg Sig. 1.1.00"),
            ("sun", UNKNOWN_DATA, 508, b"\xda\xbe"),
            ("xfs_external_log", UNKNOWN_DATA, 0, b"\xfe\xed\xba\xbe"),
            ("DM_integrity", UNKNOWN_DATA, 0, b"integrt\0"),
            ("swap with 64K pages", "swap", 65526, b"SWAPSPACE2"),
        ];
        for (what, kind, offset, bytes) in cases {
            assert_eq!(kinds(&with(offset, bytes)), [kind], "{what}");
        }
    }

    #[test]
    fn finds_what_the_real_tools_write_as_blkid_does() {
        let id = "12345678-1234-4321-abcd-1234567890ab";
        let uuid = format!("uuid={id}");
        let cases: &[(&str, &[&str])] = &[
            ("xfs", &["mkfs.xfs", "-q", "-m", &uuid, "-L", "lab"]),
            ("ext4", &["mkfs.ext4", "-q", "-F", "-U", id, "-L", "lab"]),
            ("ext3", &["mkfs.ext3", "-q", "-F", "-U", id, "-L", "lab"]),
            ("ext2", &["mkfs.ext2", "-q", "-F", "-U", id, "-L", "lab"]),
            ("swap", &["mkswap", "-q", "-U", id, "-L", "lab"]),
        ];
        let mut seen = 0;
        for (kind, make) in cases {
            let Some((file, probe)) = image(400 << 20, make) else { continue };
            seen += 1;
            assert_eq!(kinds(&probe), [*kind]);
            assert_eq!((probe.signatures[0].uuid.as_deref(), probe.signatures[0].label.as_deref()), (Some(id), Some("lab")), "{kind}");
            assert_eq!(probe_beginning(file.path()), Ok(probe), "the beginning tells as much");
            assert_eq!(RealHost.holds(file.path(), id), Ok(true));
            assert_eq!(RealHost.holds(file.path(), &id.replace('1', "2")), Ok(false));
            if let Ok(out) = Command::new("blkid").args(["-p", "-s", "TYPE", "-o", "value"]).arg(file.path()).output() {
                assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), *kind);
            }
        }
        assert!(seen >= 3, "too few of the tools are installed to prove anything");
    }

    #[test]
    fn one_wrong_byte_makes_no_unfinished_filesystem() {
        use std::os::unix::fs::FileExt;
        let Some((file, _)) = image(400 << 20, &["mkfs.xfs", "-q"]) else { panic!("mkfs.xfs is needed") };
        let write = |bytes: &[u8], at: i64| {
            file.as_file().write_all_at(bytes, at.unsigned_abs()).unwrap();
            kinds(&probe_device(file.path()).unwrap()).join(" ")
        };
        assert_eq!(write(&[1], XFS_IN_PROGRESS), "xfs");
        assert_eq!(write(&[0; 8], XFS_INODES), UNFINISHED_XFS);
        assert_eq!(write(&[2], XFS_IN_PROGRESS), "xfs");
    }

    #[test]
    fn a_mkfs_that_was_killed_is_seen() {
        // Behind its first writes: the superblock is there, and little else.
        let script = "strace -o /dev/null -e trace=pwrite64 -e inject=pwrite64:signal=KILL:when=10 mkfs.xfs -q \"$0\"; [ $? = 137 ]";
        let Some((_file, probe)) = image(400 << 20, &["sh", "-c", script]) else { return };
        assert_eq!(kinds(&probe), [UNFINISHED_XFS]);
    }

    #[test]
    fn partition_tables_are_seen_though_blkid_has_no_type_for_them() {
        let script = |label: &str| format!("printf 'label: {label}\\n,10M\\n' | sfdisk -q \"$0\"");
        for kind in ["gpt", "dos"] {
            let Some((_file, probe)) = image(64 << 20, &["sh", "-c", &script(kind)]) else { continue };
            assert_eq!(kinds(&probe), [kind]);
            assert!(probe.signatures[0].partition_table);
        }
    }

    #[test]
    fn members_of_lvm_and_raid_are_seen() {
        let mut head = vec![0u8; 1 << 20];
        head[512..520].copy_from_slice(b"LABELONE");
        let probe = look(&Image { tail: vec![0; TAIL], size: 64 << 20, head });
        assert_eq!(kinds(&probe), ["LVM2_member"]);
        let mut tail = vec![0u8; TAIL];
        let size = 64u64 << 20;
        let place = ((size / 512 - 16) & !7) * 512;
        let start = usize::try_from(place - (size - TAIL as u64)).unwrap();
        tail[start..start + 4].copy_from_slice(&[0xfc, 0x4e, 0x2b, 0xa9]);
        let probe = look(&Image { head: vec![0; 1 << 20], tail, size });
        assert_eq!(kinds(&probe), ["linux_raid_member"]);
    }
}
