//! Files of the host's own: names, users, keys, sshd's settings.

use super::Spec;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

/// May use sudo without a password.
pub const ADMIN: &str = "admin";
/// May use sudo with [`OPERATOR_PASSWORD`], and log in over SSH with it.
pub const OPERATOR: &str = "operator";
/// Everyone may know it: the account exists in throw-away hosts only.
pub const OPERATOR_PASSWORD: &str = "fettle-lab";
/// [`OPERATOR_PASSWORD`] as `openssl passwd -6 -salt fettlelab` writes it.
const OPERATOR_HASH: &str = "$6$fettlelab$EYqtnxh8oEjewO/x8m6kKmTw9CmnVACTy9EOxuFdLR3FwRT7EawerSlX4jGDwe5wgWBVnCas7k86IkNFBUzd/.";
/// User and group ids, above those of packages (below 1000) and of people (from 1000).
const USERS: [(&str, u32); 2] = [(ADMIN, 2001), (OPERATOR, 2002)];

const SSHD: &str = "\
Port 22
AddressFamily inet
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile none
UsePAM no
UseDNS no
MaxStartups 1000
MaxSessions 100
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
PrintLastLog no
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
Match User operator
    PasswordAuthentication yes
";

const SUDOERS: &str = "\
Defaults env_reset
Defaults lecture = never
Defaults secure_path = \"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"
root ALL=(ALL:ALL) ALL
admin ALL=(ALL:ALL) NOPASSWD: ALL
operator ALL=(ALL:ALL) ALL
";

/// Writes them all under `root`.
pub fn write(root: &Path, spec: &Spec, host_key: &[u8]) -> io::Result<()> {
    let mut hosts = String::from("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
    for (name, address) in &spec.peers {
        hosts.push_str(&format!("{address} {name}\n"));
    }
    put(root, "etc/hostname", 0o644, format!("{}\n", spec.host).as_bytes())?;
    put(root, "etc/machine-id", 0o444, format!("{}\n", spec.machine_id).as_bytes())?;
    put(root, "etc/hosts", 0o644, hosts.as_bytes())?;
    put(root, "etc/fstab", 0o644, b"")?;
    put(root, "etc/sudoers", 0o440, SUDOERS.as_bytes())?;
    put(root, "etc/ssh/sshd_config", 0o644, SSHD.as_bytes())?;
    put(root, "etc/ssh/ssh_host_ed25519_key", 0o600, host_key)?;
    for (name, mode) in [("run/sshd", 0o755), ("run/lock", 0o1777)] {
        fs::create_dir_all(root.join(name))?;
        fs::set_permissions(root.join(name), Permissions::from_mode(mode))?;
    }
    let passwd = passwd(&fs::read_to_string(root.join("etc/passwd"))?);
    put(root, "etc/shadow", 0o640, shadow(&passwd).as_bytes())?;
    put(root, "etc/passwd", 0o644, passwd.as_bytes())?;
    put(root, "etc/group", 0o644, group(&fs::read_to_string(root.join("etc/group"))?).as_bytes())?;
    // A machine's own shadow of groups would not fit the new list.
    for stale in ["etc/gshadow", "etc/passwd-", "etc/shadow-", "etc/group-", "etc/gshadow-"] {
        let _ = fs::remove_file(root.join(stale));
    }
    authorize(root, "root", 0, spec)?;
    for (name, id) in USERS {
        let home = format!("home/{name}");
        folder(root, &home, id)?;
        authorize(root, &home, id, spec)?;
    }
    Ok(())
}

/// Writes a new file in place of whatever is there, a link for example.
fn put(root: &Path, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
    let path = root.join(path);
    match fs::remove_file(&path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    file.set_permissions(Permissions::from_mode(mode))
}

fn folder(root: &Path, path: &str, owner: u32) -> io::Result<()> {
    let path = root.join(path);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
    chown(&path, Some(owner), Some(owner))
}

fn authorize(root: &Path, home: &str, owner: u32, spec: &Spec) -> io::Result<()> {
    folder(root, &format!("{home}/.ssh"), owner)?;
    let file = format!("{home}/.ssh/authorized_keys");
    put(root, &file, 0o600, format!("{}\n", spec.public_key).as_bytes())?;
    chown(root.join(file), Some(owner), Some(owner))
}

/// The machine's users up to 999 and `nobody`, and ours: people of the machine have no place in a host.
fn passwd(machine: &str) -> String {
    let mut text = String::new();
    for line in machine.lines() {
        let mut fields = line.split(':');
        let name = fields.next().unwrap_or_default();
        let id: u32 = fields.nth(1).and_then(|id| id.parse().ok()).unwrap_or(u32::MAX);
        if (id < 1000 || id == 65534) && USERS.iter().all(|(ours, _)| *ours != name) {
            text.push_str(line);
            text.push('\n');
        }
    }
    for (name, id) in USERS {
        text.push_str(&format!("{name}:x:{id}:{id}::/home/{name}:/bin/bash\n"));
    }
    text
}

/// No password for anyone but the operator. `*`, not `!`: sshd without PAM takes the latter for a locked account.
fn shadow(passwd: &str) -> String {
    let line = |name: &str| format!("{name}:{}:20000:0:99999:7:::\n", if name == OPERATOR { OPERATOR_HASH } else { "*" });
    passwd.lines().filter_map(|user| user.split(':').next()).map(line).collect()
}

fn group(machine: &str) -> String {
    let keep = |line: &&str| USERS.iter().all(|(ours, _)| line.split(':').next() != Some(*ours));
    let mut text: String = machine.lines().filter(keep).map(|line| format!("{line}\n")).collect();
    for (name, id) in USERS {
        text.push_str(&format!("{name}:x:{id}:\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_of_the_machine_stay_out() {
        let users = passwd(
            "root:x:0:0:root:/root:/bin/bash\nadmin:x:1000:1000::/home/admin:/bin/sh\njo:x:1001:1001::/:/bin/sh\nnobody:x:65534:65534::/:/x\n",
        );
        let names: Vec<_> = users.lines().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(names, ["root", "nobody", "admin", "operator"]);
        assert!(users.contains("admin:x:2001:2001::/home/admin:/bin/bash"));
        assert!(shadow(&users).starts_with("root:*:"));
        assert!(shadow(&users).contains("operator:$6$fettlelab$"));
        assert_eq!(group("root:x:0:\noperator:x:37:\n"), "root:x:0:\nadmin:x:2001:\noperator:x:2002:\n");
    }
}
