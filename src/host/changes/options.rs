//! Mount options: what they ask for, what the kernel shows of them, and which XFS does not know.

use crate::host::Mount;

/// Flags that the kernel shows for any filesystem, each with the option that takes it off (mount(8), "Filesystem-independent
/// mount options"). Without either it is off.
const FLAGS: &[(&str, &str)] = &[
    ("ro", "rw"),
    ("nosuid", "suid"),
    ("nodev", "dev"),
    ("noexec", "exec"),
    ("sync", "async"),
    ("nosymfollow", "symfollow"),
    ("lazytime", "nolazytime"),
];

/// The other options of mount(8) that are no filesystem's own: for mount(8), systemd and SELinux, or not shown.
const OTHERS: &str = "defaults auto noauto nofail _netdev user nouser users owner group silent loud dirsync mand nomand iversion \
    noiversion atime noatime diratime nodiratime relatime norelatime strictatime nostrictatime seclabel";

/// XFS's own options (xfs(5); fs/xfs/xfs_super.c of Linux 6.12) that the kernel shows as they are asked for.
const XFS_SHOWN: &str = "allocsize= logbufs= logbsize= logdev= rtdev= sunit= swidth= max_atomic_write= max_open_zones= \
    dax=never filestreams gqnoenforce grpid grpquota ikeep inode32 largeio noalign nolifetime norecovery nouuid pqnoenforce \
    prjquota swalloc uqnoenforce usrquota wsync";

/// Those that it does not show, or not always (`discard`, `dax`: only where the device can do it).
const XFS_HIDDEN: &str =
    "attr2 noattr2 dax dax=always dax=inode discard inode64 lifetime nodiscard nogrpid noikeep nolargeio noquota sysvgroups";

/// Those that it shows by another name.
const XFS_RENAMED: &[(&str, &str)] = &[
    ("bsdgroups", "grpid"),
    ("gquota", "grpquota"),
    ("pquota", "prjquota"),
    ("qnoenforce", "uqnoenforce"),
    ("quota", "usrquota"),
    ("uquota", "usrquota"),
];

/// What the kernel shows of XFS only where somebody asked for it, and what is asked for to be without it.
const XFS_EXTRA: &[(&str, &str)] = &[
    ("inode32", "inode64"),
    ("largeio", "nolargeio"),
    ("discard", "nodiscard"),
    ("swalloc", "no swalloc"),
    ("wsync", "no wsync"),
    ("norecovery", "no norecovery"),
    ("filestreams", "no filestreams"),
    ("allocsize=", "no allocsize"),
];

/// Whether `list`, words between blanks, has this one.
fn among(list: &str, word: &str) -> bool {
    list.split_whitespace().any(|w| w == word)
}

/// An option up to and with its `=`.
fn key(option: &str) -> &str {
    option.find('=').map_or(option, |at| &option[..=at])
}

fn vfs(option: &str) -> bool {
    among(OTHERS, option)
        || FLAGS.iter().any(|(on, off)| option == *on || option == *off)
        || option.starts_with("x-")
        || option.starts_with("X-")
        || ["context=", "fscontext=", "defcontext=", "rootcontext=", "comment="].contains(&key(option))
}

/// What the kernel shows where this option of XFS is in effect, perhaps nothing; `None`: XFS has no such option.
fn xfs(option: &str) -> Option<&str> {
    let renamed = XFS_RENAMED.iter().find(|(name, _)| *name == option);
    match renamed {
        Some((_, shown)) => Some(shown),
        None if among(XFS_HIDDEN, option) => Some(""),
        None => (among(XFS_SHOWN, option) || (option.contains('=') && among(XFS_SHOWN, key(option)))).then_some(option),
    }
}

/// Why XFS does not take one of these options; `None`: it takes them all, or the filesystem is another one.
pub fn refused_option(fstype: &str, options: &[String]) -> Option<String> {
    options.iter().filter(|_| fstype == "xfs").find_map(|option| {
        if vfs(option) {
            return None;
        }
        if xfs(option).is_none() {
            let gone = if option.ends_with("barrier") { " (it is gone since Linux 4.19)" } else { "" };
            return Some(format!("XFS has no mount option `{option}`{gone}: xfs(5) and mount(8) have those there are"));
        }
        // xfs(5): logbufs 2 to 8; logbsize 16 KiB to 256 KiB, allocsize one page to 1 GiB, both powers of two.
        let value = canonical(option);
        let value = value.split_once('=').and_then(|(_, v)| v.parse::<u64>().ok());
        let fine = |range: std::ops::RangeInclusive<u64>| value.is_some_and(|v| range.contains(&v) && v.is_power_of_two());
        let (fine, takes) = match key(option) {
            "logbufs=" => (value.is_some_and(|v| (2..=8).contains(&v)), "2 to 8"),
            "logbsize=" => (fine(16 << 10..=256 << 10), "a power of two from 16k to 256k"),
            "allocsize=" => (fine(4 << 10..=1 << 30), "a power of two from 4k to 1g"),
            _ => (true, ""),
        };
        (!fine).then(|| format!("the mount option `{option}` is not one XFS takes: {takes}"))
    })
}

/// Sizes in one form: `131072k`, `128m` and `134217728` are the same.
fn canonical(option: &str) -> String {
    let Some((key, value)) = option.split_once('=') else { return option.to_owned() };
    let (digits, factor) = match value.chars().last().map(|c| c.to_ascii_lowercase()) {
        Some('k') => (&value[..value.len() - 1], 1u64 << 10),
        Some('m') => (&value[..value.len() - 1], 1 << 20),
        Some('g') => (&value[..value.len() - 1], 1 << 30),
        _ => (value, 1),
    };
    match digits.parse::<u64>() {
        Ok(n) => format!("{key}={}", n.saturating_mul(factor)),
        Err(_) => option.to_owned(),
    }
}

/// What options ask of any filesystem: for each of [`FLAGS`] its name or its opposite, then the options about access times.
/// The last word counts; `user` and the like mean other flags too (mount(8)).
fn flags(options: &[String]) -> Vec<&'static str> {
    let mut on = [false; FLAGS.len()];
    let (mut atime, mut nodiratime) = ("relatime", false);
    for option in options.iter().map(String::as_str) {
        for (state, (yes, no)) in on.iter_mut().zip(FLAGS) {
            let implied = match option {
                "user" | "users" => among("nosuid nodev noexec", yes),
                "owner" | "group" => among("nosuid nodev", yes),
                _ => false,
            };
            *state = (*state || implied || option == *yes) && option != *no;
        }
        match option {
            "noatime" => atime = "noatime",
            "strictatime" => atime = "strictatime",
            "atime" | "relatime" | "norelatime" | "nostrictatime" => atime = "relatime",
            "nodiratime" => nodiratime = true,
            "diratime" => nodiratime = false,
            _ => {}
        }
    }
    let words = on.iter().zip(FLAGS).map(|(on, (yes, no))| if *on { *yes } else { *no });
    words.chain([atime, if nodiratime { "nodiratime" } else { "diratime" }]).collect()
}

/// By what `mount` differs from the options asked for: those that are missing, and opposites of those that it should not have.
/// Of filesystems other than XFS only what the kernel shows for any filesystem is known.
pub fn missing_options(wanted: &[String], mount: &Mount) -> Vec<String> {
    let now: Vec<String> = mount.options.iter().map(|o| canonical(o)).collect();
    let has = |o: &str| now.iter().any(|n| n == o);
    let wants = flags(wanted);
    let mut missing: Vec<String> = vec![];
    for (want, (yes, no)) in wants.iter().zip(FLAGS) {
        // F2FS has `lazytime` unasked.
        if (want == yes) != has(yes) && !(want == no && *yes == "lazytime" && mount.fstype == "f2fs") {
            missing.push((*want).to_owned());
        }
    }
    if let [.., atime, diratime] = wants.as_slice() {
        let shown = ["noatime", "relatime"].into_iter().find(|o| has(o)).unwrap_or("strictatime");
        if shown != *atime {
            missing.push((*atime).to_owned());
        }
        // Without access times there are none of folders.
        if *atime != "noatime" && (*diratime == "nodiratime") != has("nodiratime") {
            missing.push((*diratime).to_owned());
        }
    }
    if mount.fstype == "xfs" {
        let own = wanted.iter().filter(|o| !vfs(o));
        missing.extend(
            own.filter(|o| match xfs(o) {
                Some("") => XFS_EXTRA.iter().any(|(shown, without)| o == without && has(shown)),
                shown => !has(&canonical(shown.unwrap_or(o))),
            })
            .cloned(),
        );
        let extra = XFS_EXTRA
            .iter()
            .filter(|(shown, without)| now.iter().any(|n| key(n) == *shown) && !wanted.iter().any(|w| key(w) == *shown || w == without));
        missing.extend(extra.map(|(_, without)| (*without).to_owned()));
    }
    missing
}

/// Options of the filesystem itself.
pub fn own_options(options: &[String]) -> impl Iterator<Item = &String> {
    options.iter().filter(|o| !vfs(o))
}

/// What the kernel would show of a mount with these options.
pub(super) fn predicted(options: &[String]) -> Vec<String> {
    let hidden = |o: &str| o != "rw" && (among("strictatime diratime", o) || FLAGS.iter().any(|(_, off)| *off == o));
    let flags = flags(options).into_iter().filter(|o| !hidden(o)).map(str::to_owned);
    let own = own_options(options).map(|o| xfs(o).unwrap_or(o).to_owned()).filter(|o| !o.is_empty());
    flags.chain(own).collect()
}

/// What mount(8) is told for a new mount.
pub(super) fn for_mount(options: &[String]) -> String {
    let all: Vec<&str> = options.iter().map(String::as_str).filter(|o| !o.starts_with("x-") && *o != "nofail").collect();
    if all.is_empty() { "defaults".into() } else { all.join(",") }
}

/// What mount(8) is told for a remount of what has the options `now`: flags that are off too, or those of the mount would stay.
pub(super) fn for_remount(options: &[String], now: &[String]) -> String {
    // Words that older versions of mount(8) don't know are said only where they are needed.
    let needed = |word: &&str| {
        let on = FLAGS.iter().find(|(_, off)| off == word && among("symfollow nolazytime", off)).map(|(on, _)| on);
        on.is_none_or(|on| now.iter().any(|n| n == on))
    };
    let mut all = vec!["remount"];
    all.extend(flags(options).into_iter().filter(needed));
    all.extend(own_options(options).map(String::as_str));
    all.join(",")
}

/// An option among `missing` that a remount can't bring into effect. XFS takes all but a few only when it is mounted anew
/// (Documentation/admin-guide/xfs.rst).
pub(super) fn fixed_at_mount<'o>(fstype: &str, missing: &'o [String]) -> Option<&'o str> {
    missing.iter().map(String::as_str).find(|o| fstype == "xfs" && !vfs(o) && !among("inode32 inode64", o))
}

/// Whether all of `missing` can take effect by a remount.
pub fn changes_on_remount(fstype: &str, missing: &[String]) -> bool {
    fixed_at_mount(fstype, missing).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        text.split(',').filter(|o| !o.is_empty()).map(str::to_owned).collect()
    }

    fn mount(fstype: &str, options: &str) -> Mount {
        Mount {
            target: "/m".into(),
            source: "/dev/x".into(),
            device: (8, 0),
            root: "/".into(),
            fstype: fstype.into(),
            options: list(options),
        }
    }

    #[test]
    fn options_are_compared_by_what_they_mean() {
        let wanted = list("noatime,nodiratime,logbufs=8,logbsize=256k,largeio,inode64,swalloc,allocsize=131072k,nofail");
        let shown = "rw,noatime,nodiratime,attr2,largeio,inode64,swalloc,allocsize=131072k,logbufs=8,logbsize=256k,noquota";
        assert!(missing_options(&wanted, &mount("xfs", shown)).is_empty());
        assert_eq!(
            missing_options(&wanted, &mount("xfs", "rw,noatime,inode64,logbufs=8,logbsize=32k")),
            ["logbsize=256k", "largeio", "swalloc", "allocsize=131072k"]
        );
        assert_eq!(canonical("allocsize=128m"), canonical("allocsize=131072k"));
        assert_eq!(missing_options(&list("uquota"), &mount("xfs", "rw,relatime,usrquota")), Vec::<String>::new());
    }

    #[test]
    fn what_should_be_off_is_missing_by_its_opposite() {
        for (wanted, shown, missing) in [
            ("noatime,nofail", "ro,noatime", "rw"),
            ("defaults", "rw,relatime", ""),
            ("rw", "ro,relatime", "rw"),
            ("ro,rw", "ro,relatime", "rw"),
            ("ro,defaults", "rw,relatime", "ro"),
            ("noatime", "rw,nosuid,nodev,noexec,noatime", "suid,dev,exec"),
            ("users", "rw,nosuid,nodev,noexec,relatime", ""),
            ("users,exec", "rw,nosuid,nodev,noexec,relatime", "exec"),
            ("users", "rw,relatime", "nosuid,nodev,noexec"),
            ("defaults", "rw,noatime", "relatime"),
            ("strictatime", "rw", ""),
            ("defaults", "rw,nodiratime,relatime", "diratime"),
            ("defaults", "rw,sync,lazytime,relatime", "async,nolazytime"),
            ("defaults", "rw,relatime,largeio,inode32,allocsize=64k", "inode64,nolargeio,no allocsize"),
            ("inode64,allocsize=64k", "rw,relatime,inode32,allocsize=64k", "inode64"),
        ] {
            assert_eq!(missing_options(&list(wanted), &mount("xfs", shown)).join(","), missing, "{wanted} on {shown}");
        }
        // Other filesystems' own options are not all shown.
        assert!(missing_options(&list("defaults,acl,user_xattr,barrier=1"), &mount("ext4", "rw,relatime")).is_empty());
        assert_eq!(missing_options(&list("acl,ro"), &mount("ext4", "rw,relatime")), ["ro"]);
    }

    #[test]
    fn a_prediction_has_what_it_was_made_for() {
        for wanted in ["", "ro,noexec,users", "noatime,nodiratime,logbsize=256k,inode64,uquota,nolargeio,dax", "strictatime,lazytime"] {
            let predicted = mount("xfs", &predicted(&list(wanted)).join(","));
            assert_eq!(missing_options(&list(wanted), &predicted), Vec::<String>::new(), "{wanted}: {:?}", predicted.options);
        }
    }

    #[test]
    fn a_remount_says_what_should_be_off() {
        let options = list("noatime,nofail,users,exec,x-systemd.automount,inode64");
        assert_eq!(for_remount(&options, &[]), "remount,rw,nosuid,nodev,exec,async,noatime,diratime,inode64");
        assert_eq!(for_remount(&options, &list("lazytime")), "remount,rw,nosuid,nodev,exec,async,nolazytime,noatime,diratime,inode64");
        assert!(changes_on_remount("xfs", &list("rw,exec,relatime,inode64")));
        assert!(!changes_on_remount("xfs", &list("rw,no swalloc")));
    }

    #[test]
    fn what_xfs_does_not_know_is_refused() {
        let refused = |options: &str| refused_option("xfs", &list(options)).unwrap_or_default();
        assert_eq!(refused("noatime,nodiratime,logbufs=8,logbsize=256k,largeio,inode64,swalloc,allocsize=131072k,nofail"), "");
        assert_eq!(refused("defaults,x-systemd.device-timeout=5,context=a,_netdev,sunit=8,dax=never,usrquota,nouuid"), "");
        assert!(refused("noatime,nobarrier").starts_with("XFS has no mount option `nobarrier` (it is gone since Linux 4.19)"));
        for wrong in ["acl", "allocsize", "noatim", "dax=maybe", "bind", ""] {
            assert_eq!(refused(&format!("{wrong},ro")).is_empty(), wrong.is_empty(), "{wrong}");
        }
        for wrong in ["logbufs=9", "logbufs=x", "logbsize=300k", "logbsize=8k", "allocsize=3m", "allocsize=2g"] {
            assert!(refused(wrong).contains("is not one XFS takes"), "{wrong}");
        }
        assert_eq!(refused_option("ext4", &list("nobarrier")), None);
    }
}
