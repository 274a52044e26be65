//! The agents that can be pushed: one a target triple, beside the program.

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// One agent program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// `uname -m` of the hosts it runs on.
    pub machine: &'static str,
    /// Its file here.
    pub path: PathBuf,
    /// SHA-256, hexadecimal.
    pub hash: String,
    /// What is sent: its content, compressed where `packed`; read once for all hosts.
    pub content: Arc<Vec<u8>>,
    /// `content` is for gzip to unpack.
    pub packed: bool,
}

/// Machines and the target triples that run there, the preferred one first.
const TRIPLES: &[(&str, &[&str])] = &[
    ("x86_64", &["x86_64-unknown-linux-musl", "x86_64-unknown-linux-gnu"]),
    ("aarch64", &["aarch64-unknown-linux-musl", "aarch64-unknown-linux-gnu"]),
];

/// All agents there are. Looked up once: folders named after triples in `$FETTLE_AGENT_DIR`, or in `agents` beside
/// the program.
pub fn all() -> &'static [Agent] {
    static AGENTS: OnceLock<Vec<Agent>> = OnceLock::new();
    AGENTS.get_or_init(|| {
        let folders = folders();
        TRIPLES
            .iter()
            .filter_map(|(machine, triples)| {
                triples.iter().find_map(|t| folders.iter().find_map(|f| read(machine, &f.join(t).join("fettle-agent"))))
            })
            .collect()
    })
}

fn folders() -> Vec<PathBuf> {
    if let Some(folder) = std::env::var_os("FETTLE_AGENT_DIR") {
        return vec![PathBuf::from(folder)];
    }
    let beside = std::env::current_exe().ok().and_then(|exe| exe.canonicalize().ok()).and_then(|exe| exe.parent().map(Path::to_owned));
    let mut all: Vec<PathBuf> = beside.iter().map(|d| d.join("agents")).collect();
    // As packages install it.
    all.push(PathBuf::from("/usr/lib/fettle/agents"));
    all
}

fn read(machine: &'static str, path: &Path) -> Option<Agent> {
    let content = match std::fs::read(path) {
        Ok(content) => content,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
        Err(e) => {
            eprintln!("warning: the agent {} can't be read: {e}", path.display());
            return None;
        }
    };
    let hash = Sha256::digest(&content).iter().map(|b| format!("{b:02x}")).collect();
    // Beside it, the same compressed: half the bytes to encrypt and send. One older than the program is of another build.
    let gz = path.with_extension("gz");
    let age = |p: &Path| p.metadata().and_then(|m| m.modified()).ok();
    let small = if age(&gz) >= age(path) { std::fs::read(&gz).ok() } else { None };
    let packed = small.is_some();
    Some(Agent { machine, path: path.to_owned(), hash, content: Arc::new(small.unwrap_or(content)), packed })
}

/// The agent for hosts of this `uname -m`, or what to do about it.
pub fn for_machine(machine: &str) -> Result<&'static Agent, String> {
    if let Some(agent) = all().iter().find(|a| a.machine == machine) {
        return Ok(agent);
    }
    let triples = TRIPLES.iter().find(|(m, _)| *m == machine).map(|(_, t)| t[t.len() - 1]);
    let folders = folders().iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", ");
    Err(match triples {
        Some(triple) => format!(
            "no agent for {triple} in {folders}; build it so: `scripts/build --target {triple}`, or put one at agents/{triple}/fettle-agent beside fettle"
        ),
        None => format!(
            "fettle has no agent for {machine} machines; there are agents for {}",
            TRIPLES.iter().map(|(m, _)| *m).collect::<Vec<_>>().join(" and ")
        ),
    })
}
