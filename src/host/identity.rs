//! Users and groups, and acting as one of them.
//!
//! Accounts are read from `/etc/passwd` and `/etc/group`: the agent is linked statically, and a static C library
//! can't load the plug-ins behind its own account functions. Accounts that live only in LDAP and the like are not found
//! (but for the one that logs in, see [`User::logged_in`]); their numbers can be used instead.

use super::real::PROGRAM_FOLDERS;
use super::{View, ViewError};
use nix::unistd::{Gid, Uid, getegid, geteuid, getgid, getgroups, getuid, setegid, seteuid, setgroups};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// A line of `/etc/passwd`, with the user's groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Number.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Home folder.
    pub home: String,
    /// Login shell.
    pub shell: String,
    /// All groups, the primary one first.
    pub groups: Vec<u32>,
}

/// A line of `/etc/group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Name.
    pub name: String,
    /// Number.
    pub gid: u32,
    /// Members by name, beside those whose primary group it is.
    pub members: Vec<String>,
}

fn lines(view: &dyn View, path: &str) -> Result<Vec<Vec<String>>, ViewError> {
    let text = match view.read(Path::new(path)) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(ViewError::NotFound(_)) => String::new(),
        Err(e) => return Err(e),
    };
    Ok(text.lines().filter(|l| !l.starts_with('#')).map(|l| l.split(':').map(str::to_owned).collect()).collect())
}

fn user(view: &dyn View, is: impl Fn(&str, u32) -> bool) -> Result<Option<User>, ViewError> {
    for fields in lines(view, "/etc/passwd")? {
        let [name, _, uid, gid, _, home, shell] = fields.as_slice() else { continue };
        let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse()) else { continue };
        if is(name, uid) {
            let mut groups = vec![gid];
            groups.extend(Group::all(view)?.into_iter().filter(|g| g.gid != gid && g.members.contains(name)).map(|g| g.gid));
            return Ok(Some(User { name: name.clone(), uid, gid, home: home.clone(), shell: shell.clone(), groups }));
        }
    }
    Ok(None)
}

impl User {
    /// The user of this name or number; a name goes before a number. `None`: there is none.
    pub fn lookup(view: &dyn View, name: &str) -> Result<Option<Self>, ViewError> {
        match (user(view, |n, _| n == name)?, name.parse()) {
            (None, Ok(uid)) => Self::by_uid(view, uid),
            (found, _) => Ok(found),
        }
    }

    /// The first user with this number.
    pub fn by_uid(view: &dyn View, uid: u32) -> Result<Option<Self>, ViewError> {
        user(view, |_, u| u == uid)
    }

    /// Who logged in as `name`, where `/etc/passwd` does not have them, for they are known to a directory service only: by the numbers
    /// this process was started with, or those sudo says it was asked by. Of their groups sudo tells only the first.
    pub fn logged_in(name: &str) -> Option<Self> {
        let variable = |name: &str| std::env::var(name).ok();
        let number = |name: &str| variable(name)?.parse().ok();
        let (uid, gid, groups, home) = if getuid().is_root() {
            let (uid, gid) = (number("SUDO_UID")?, number("SUDO_GID")?);
            (uid, gid, vec![gid], variable("SUDO_HOME"))
        } else {
            let (gid, all) = (getgid().as_raw(), getgroups().unwrap_or_default());
            (getuid().as_raw(), gid, std::iter::once(gid).chain(all.iter().map(|g| g.as_raw())).collect(), variable("HOME"))
        };
        let shell = variable("SHELL").unwrap_or_else(|| "/bin/sh".into());
        Some(Self { name: name.to_owned(), uid, gid, home: home.unwrap_or_else(|| "/".into()), shell, groups })
    }

    /// The process's effective user; one without a name goes by its number.
    pub fn current(view: &dyn View) -> Result<Self, ViewError> {
        let uid = geteuid().as_raw();
        Ok(Self::by_uid(view, uid)?.unwrap_or_else(|| Self {
            name: uid.to_string(),
            uid,
            gid: getegid().as_raw(),
            home: "/".into(),
            shell: "/bin/sh".into(),
            groups: vec![getegid().as_raw()],
        }))
    }
}

impl Group {
    /// All groups.
    pub fn all(view: &dyn View) -> Result<Vec<Self>, ViewError> {
        Ok(lines(view, "/etc/group")?
            .into_iter()
            .filter_map(|fields| {
                let [name, _, gid, members] = fields.as_slice() else { return None };
                let members = members.split(',').map(str::trim).filter(|m| !m.is_empty()).map(str::to_owned).collect();
                Some(Self { name: name.clone(), gid: gid.parse().ok()?, members })
            })
            .collect())
    }

    /// The group of this name or number; a name goes before a number. `None`: there is none.
    pub fn lookup(view: &dyn View, name: &str) -> Result<Option<Self>, ViewError> {
        let all = Self::all(view)?;
        Ok(match all.iter().find(|g| g.name == name) {
            Some(group) => Some(group.clone()),
            None => name.parse().ok().and_then(|gid: u32| all.into_iter().find(|g| g.gid == gid)),
        })
    }

    /// The first group with this number.
    pub fn by_gid(view: &dyn View, gid: u32) -> Result<Option<Self>, ViewError> {
        Ok(Self::all(view)?.into_iter().find(|g| g.gid == gid))
    }
}

/// A user's name for people; the number where it has none.
pub fn user_name(view: &dyn View, uid: u32) -> String {
    User::by_uid(view, uid).ok().flatten().map_or_else(|| uid.to_string(), |u| u.name)
}

/// A group's name for people; the number where it has none.
pub fn group_name(view: &dyn View, gid: u32) -> String {
    Group::by_gid(view, gid).ok().flatten().map_or_else(|| gid.to_string(), |g| g.name)
}

/// Whom the process acts as, for the environment of the commands it runs.
static ACTING_AS: Mutex<Option<User>> = Mutex::new(None);

/// While it lives, the whole process acts as another user (effective user, group and groups). Dropped: back as before.
#[derive(Debug)]
#[must_use = "dropping it ends acting as the user"]
pub struct Assumed {
    back: Option<(Uid, Gid, Vec<Gid>)>,
    before: Option<User>,
}

/// Acts as `user` from now on. Needs effective user root, unless `user` is who the process acts as already.
pub fn assume(user: &User) -> Result<Assumed, String> {
    let now = geteuid();
    let back = if now.as_raw() == user.uid {
        None
    } else if !now.is_root() {
        let me = std::env::var("USER").unwrap_or_else(|_| now.to_string());
        return Err(format!(
            "cannot become {}: the agent runs as {me}, and only root can become another user; let it start as root (`become: true` with sudo rights, or log in as root)",
            user.name
        ));
    } else {
        let error = |what: &str, e: nix::Error| format!("cannot become {}: {what}: {}", user.name, e.desc().to_lowercase());
        let back = (now, getegid(), getgroups().map_err(|e| error("getgroups", e))?);
        let groups: Vec<Gid> = user.groups.iter().map(|g| Gid::from_raw(*g)).collect();
        let change = || -> Result<(), String> {
            setgroups(&groups).map_err(|e| error("setgroups", e))?;
            setegid(Gid::from_raw(user.gid)).map_err(|e| error("setegid", e))?;
            seteuid(Uid::from_raw(user.uid)).map_err(|e| error("seteuid", e))
        };
        if let Err(e) = change() {
            restore(&back);
            return Err(e);
        }
        Some(back)
    };
    let before = ACTING_AS.lock().unwrap_or_else(PoisonError::into_inner).replace(user.clone());
    Ok(Assumed { back, before })
}

impl Drop for Assumed {
    fn drop(&mut self) {
        if let Some(back) = &self.back {
            restore(back);
        }
        *ACTING_AS.lock().unwrap_or_else(PoisonError::into_inner) = self.before.take();
    }
}

/// Back to these ids. A process that can't get back would do the following tasks as the wrong user: it ends instead.
fn restore((uid, gid, groups): &(Uid, Gid, Vec<Gid>)) {
    let all = seteuid(*uid).and_then(|()| setegid(*gid)).and_then(|()| setgroups(groups));
    if all.is_err() {
        std::process::abort();
    }
}

/// Runs `f` as root where the process started as root, whoever it acts as now: for the journal, which is no task's.
pub(crate) fn as_started<R>(f: impl FnOnce() -> R) -> R {
    let now = geteuid();
    if now == getuid() || seteuid(getuid()).is_err() {
        return f();
    }
    let result = f();
    if seteuid(now).is_err() {
        std::process::abort();
    }
    result
}

/// Variables that tell a command whom it runs as, as sudo sets them; none where the process acts as itself.
pub(crate) fn environment() -> Vec<(String, String)> {
    let mut environment = vec![];
    if let Some(user) = ACTING_AS.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
        for (name, value) in [("HOME", &user.home), ("USER", &user.name), ("LOGNAME", &user.name), ("SHELL", &user.shell)] {
            environment.push((name.to_owned(), value.clone()));
        }
    }
    environment
}

/// `PATH` for commands: the process's, with the standard folders it lacks at its end.
pub(crate) fn search_path() -> String {
    let mut path = std::env::var("PATH").unwrap_or_default();
    for folder in PROGRAM_FOLDERS {
        if !path.split(':').any(|f| f == folder) {
            if !path.is_empty() {
                path.push(':');
            }
            path.push_str(folder);
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Blank, Overlay};

    #[test]
    fn accounts_are_found_by_name_and_number() {
        let mut host = Overlay::new(&Blank);
        host.set_file(
            "/etc/passwd",
            "root:x:0:0:root:/root:/bin/bash\nbroken\nais:x:1000:100:,,,:/home/ais:/bin/sh\n77:x:5:5::/:/bin/sh\n",
            0o644,
            0,
            0,
        );
        host.set_file("/etc/group", "root:x:0:\nusers:x:100:ais\nk8s:x:200:root, ais\n", 0o644, 0, 0);
        let ais = User::lookup(&host, "ais").unwrap().unwrap();
        assert_eq!((ais.uid, ais.gid, ais.home.as_str()), (1000, 100, "/home/ais"));
        assert_eq!(ais.groups, [100, 200]);
        assert_eq!(User::lookup(&host, "1000").unwrap().unwrap().name, "ais");
        assert_eq!(User::lookup(&host, "77").unwrap().unwrap().uid, 5, "a name goes before a number");
        assert_eq!(User::lookup(&host, "nobody").unwrap(), None);
        assert_eq!(Group::lookup(&host, "200").unwrap().unwrap().name, "k8s");
        assert_eq!((user_name(&host, 1000), group_name(&host, 4242)), ("ais".into(), "4242".into()));
    }
}
