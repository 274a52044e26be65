//! Taking turns at a jump host: sshd lets few connections in that have not logged in yet (`MaxStartups`, 10 of them), and drops
//! others at random.

use std::collections::HashMap;
use std::sync::{Condvar, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Connections that are begun over one way at a time; two less than what sshd lets in, for other people's.
const AT_A_TIME: usize = 8;
/// How long one keeps others waiting. A jump host that is well has let it in by then: what it still waits for lies behind.
const LONGEST: Duration = Duration::from_secs(3);

#[derive(Default)]
struct Turns {
    begun: Mutex<Begun>,
    over: Condvar,
}

#[derive(Default)]
struct Begun {
    /// By way: the connections that are being begun, and since when.
    since: HashMap<String, Vec<(u64, Instant)>>,
    last: u64,
}

static TURNS: LazyLock<Turns> = LazyLock::new(Turns::default);

/// A turn; it is over with this value.
pub struct Turn<'a> {
    turns: &'a Turns,
    way: String,
    id: u64,
}

/// Waits for a turn on the way that `command` goes to `host` at `address` and `port`.
pub fn wait(command: &str, host: &str, address: &str, port: u16) -> Turn<'static> {
    TURNS.wait(way(command, host, address, port), LONGEST)
}

/// What is the same in the commands to all hosts behind one jump host: the command without its destination.
fn way(command: &str, host: &str, address: &str, port: u16) -> String {
    let port = format!(":{port}");
    let part = |c: char| !(c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | ':'));
    let words = command.split(part).map(|word| word.strip_suffix(port.as_str()).unwrap_or(word));
    words.filter(|word| ![host, address, ""].contains(word)).collect::<Vec<_>>().join(" ")
}

impl Turns {
    fn wait(&self, way: String, longest: Duration) -> Turn<'_> {
        let mut all = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let others = all.since.entry(way.clone()).or_default();
            others.retain(|(_, since)| since.elapsed() < longest);
            if others.len() < AT_A_TIME {
                break;
            }
            let left = others.iter().map(|(_, since)| longest.saturating_sub(since.elapsed())).min().unwrap_or(longest);
            all = self.over.wait_timeout(all, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        all.last += 1;
        let id = all.last;
        all.since.entry(way.clone()).or_default().push((id, Instant::now()));
        Turn { turns: self, way, id }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut all = self.turns.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(others) = all.since.get_mut(&self.way) {
            others.retain(|(id, _)| *id != self.id);
        }
        self.turns.over.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{RecvTimeoutError, channel};

    #[test]
    fn hosts_behind_one_jump_host_go_the_same_way() {
        let way = |command: &str, host: &str, address: &str| way(command, host, address, 22);
        let jump = way("ssh -o BatchMode=yes -W '10.0.0.1:22' -- bastion", "n1", "10.0.0.1");
        assert_eq!(way("ssh -o BatchMode=yes -W '10.0.0.2:22' -- bastion", "n2", "10.0.0.2"), jump);
        assert_eq!(way("ssh -o BatchMode=yes -W '[fd00::5]:22' -- bastion", "n3", "fd00::5"), jump);
        assert_ne!(way("ssh -o BatchMode=yes -W '10.0.0.1:22' -- other", "n1", "10.0.0.1"), jump);
        assert_eq!(way("nc -x gate n1 22", "n1", "n1"), way("nc -x gate n2 22", "n2", "n2"));
    }

    #[test]
    fn who_comes_late_waits_until_one_is_through() {
        let turns = Turns::default();
        let long = Duration::from_secs(3600);
        let mut held: Vec<Turn<'_>> = (0..AT_A_TIME).map(|_| turns.wait("a".into(), long)).collect();
        // Another way is free.
        drop(turns.wait("b".into(), long));
        std::thread::scope(|scope| {
            let (sender, receiver) = channel();
            let turns = &turns;
            scope.spawn(move || sender.send(turns.wait("a".into(), long).id));
            assert_eq!(receiver.recv_timeout(Duration::from_millis(50)), Err(RecvTimeoutError::Timeout));
            held.pop();
            assert!(receiver.recv().is_ok());
        });
        // One that hangs keeps nobody for ever.
        let turns = Turns::default();
        let hanging: Vec<Turn<'_>> = (0..AT_A_TIME).map(|_| turns.wait("a".into(), Duration::from_millis(20))).collect();
        drop(turns.wait("a".into(), Duration::from_millis(20)));
        drop(hanging);
    }
}
