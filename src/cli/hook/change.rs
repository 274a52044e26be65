//! Changing kubelets batch by batch, waiting until they are back, and putting back what does not come back.

use super::hosts::Node;
use super::stop::STOPPED;
use super::{Run, words};
use crate::cli::onhosts::{Results, field, play_aside};
use crate::controller::Summary;
use crate::kube::kubelet::{Pulse, allows, look, pulse};
use crate::kube::{KubeError, Progress};
use crate::protocol::{Status, TaskReport};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a kubelet that is back has to stay: one that can't live with its configuration ends within its first second or
/// two, and systemd starts it again after 10 s (`RestartSec` of Kubespray's unit).
const HOLD: Duration = Duration::from_secs(3);
/// Of the hosts that are done, so many are asked again before each batch: enough to see that a change does harm in the long
/// run, and few against the time a restart takes.
const ASKED_AGAIN: usize = 16;

/// A host whose kubelet was changed, and what it told meanwhile.
#[derive(Clone, Debug)]
pub struct Told {
    /// The inventory's name.
    pub host: String,
    node: String,
    path: String,
    /// What the file held right before (base64; `Some(None)`: there was none). `None`: it was not begun.
    before: Option<Option<String>>,
    /// What it held after; `None`: that was not told any more.
    written: Option<String>,
    /// The kubelet's process.
    process: String,
    /// Its last report before it was restarted.
    pulse: Option<Pulse>,
}

/// What went wrong with a batch.
#[derive(Debug)]
pub struct Trouble {
    /// The exit code.
    pub code: u8,
    /// In words, with what was put back.
    pub text: String,
    /// The hosts it is about.
    pub hosts: Vec<String>,
}

type Tasks = BTreeMap<String, TaskReport>;

impl Told {
    fn read(node: &Node, tasks: Option<&Tasks>) -> Self {
        let done = |name: &str| tasks.and_then(|t| t.get(name)).filter(|t| t.status != Status::Failed);
        let text = |name: &str, key: &str| done(name).and_then(|t| field(t, key).as_str()).map(str::to_owned);
        // Where there is no file, that it is not there is what there was before.
        let before = done("before").map(|_| text("before", "content"));
        Self {
            host: node.host.clone(),
            node: node.node.clone(),
            path: text("found", "path").unwrap_or_else(|| node.path.clone()),
            before,
            written: text("written", "content"),
            process: text("process", "stdout").unwrap_or_default(),
            pulse: None,
        }
    }
}

/// Changes one batch and waits until its kubelets are back; on trouble the batch is put back as it was.
pub async fn change(run: &mut Run<'_>, batch: &[Node]) -> Result<Vec<Told>, Trouble> {
    let hosts: Vec<String> = batch.iter().map(|n| n.host.clone()).collect();
    run.steps.now(&format!("restarting the kubelet of {}", hosts.join(", ")));
    let (results, trouble) = play(run, include_str!("change.yml"), json!({"hook_hosts": hosts.join(",")}));
    let mut told: Vec<Told> = batch.iter().map(|n| Told::read(n, results.hosts.get(&n.host))).collect();
    let trouble = match trouble {
        Some(trouble) => Some(trouble),
        None => settle(run, &mut told, &run.args.sysctl, true, true).await.err(),
    };
    let Some((code, why)) = trouble else {
        for t in &told {
            let text = format!("kubelet restarted, {} Ready, {} allowed", t.node, run.args.sysctl.join(", "));
            run.tell(&t.host, "done", &text);
        }
        return Ok(told);
    };
    let (back, _) = restore(run, &told).await;
    let code = if run.stop.asked() { STOPPED } else { code };
    Err(Trouble { code, text: format!("{why}\n{back}"), hosts })
}

/// Whether those that are done still are well, before the next batch (`last`: after the last one, all of them); if not, they
/// are put back, as many at once as a batch has (`at_once`).
pub async fn still_well(run: &mut Run<'_>, done: &mut [Told], last: bool, at_once: usize) -> Result<(), Trouble> {
    let from = if last { 0 } else { done.len().saturating_sub(ASKED_AGAIN) };
    let asked = &mut done[from..];
    if asked.is_empty() {
        return Ok(());
    }
    let wanted = &run.args.sysctl;
    let Err((code, why)) = (if last {
        settle(run, asked, wanted, true, false).await
    } else {
        match first_unwell(run, asked, wanted).await {
            Ok(None) => Ok(()),
            // It may pass; what has to is waited for.
            _ => settle(run, asked, wanted, true, false).await,
        }
    }) else {
        return Ok(());
    };
    if code == STOPPED {
        return Err(Trouble { code, text: why, hosts: vec![] });
    }
    let ill = match who_is_ill(run, asked).await {
        Ok(ill) if ill.is_empty() => return Err(Trouble { code, text: why, hosts: vec![] }),
        Ok(ill) => ill,
        Err(e) => {
            let text = format!("it can't be told whether the kubelets that are done still are well, so nothing was put back: {e}");
            return Err(Trouble { code, text, hosts: vec![] });
        }
    };
    let hosts = ill.iter().map(|t| t.host.clone()).collect();
    let mut lines = vec![format!("no longer well: {why}")];
    let mut rest = ill.as_slice();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(at_once.clamp(1, rest.len()));
        let (back, helped) = restore(run, now).await;
        lines.push(back);
        rest = later;
        if !helped && !rest.is_empty() {
            let names: Vec<&str> = rest.iter().map(|t| t.host.as_str()).collect();
            lines.push(format!(
                "that did not help, so the files of {} are left as they are, and their kubelets were not restarted",
                names.join(", ")
            ));
            break;
        }
    }
    Err(Trouble { code, text: lines.join("\n"), hosts })
}

/// Those whose kubelets are not well. An error: the API server does not say; what it does not say is no sign of a kubelet's.
async fn who_is_ill(run: &Run<'_>, asked: &[Told]) -> Result<Vec<Told>, KubeError> {
    let mut ill = vec![];
    for t in asked {
        if unwell(run, t, &run.args.sysctl).await?.is_some() {
            // Without an answer of its own it was no word about the kubelet.
            run.server.version().await?;
            ill.push(t.clone());
        }
    }
    Ok(ill)
}

/// Runs one of our plays on hosts; what went wrong, with its exit code.
fn play(run: &Run<'_>, text: &str, mut extra: Json) -> (Results, Option<(u8, String)>) {
    extra["hook_sysctls"] = json!(run.args.sysctl);
    let mut results = Results::default();
    let ran = play_aside("hook", text, &extra, run.inventory, &run.args.hosts, false, &mut results);
    let trouble = match ran {
        Err(e) => Some((e.code(), words(&e))),
        Ok(Summary { interrupted: true, .. }) => Some((STOPPED, "stopped".into())),
        Ok(_) if results.failed.is_empty() => None,
        Ok(summary) => {
            let each: Vec<String> = results.failed.iter().map(|(host, why)| format!("{host}: {why}")).collect();
            Some((summary.exit_code().max(2), each.join("\n")))
        }
    };
    (results, trouble)
}

/// Waits until all these kubelets are back and stay: they answer, have reported since, their nodes are ready, they run with
/// `wanted`, and are the same processes a while later (`hold`; otherwise that one look is enough where nothing was restarted).
/// `heed`: the operator may stop the waiting.
async fn settle(run: &mut Run<'_>, told: &mut [Told], wanted: &[String], heed: bool, hold: bool) -> Result<(), (u8, String)> {
    let end = Instant::now() + run.args.timeout;
    let mut hold = hold;
    loop {
        let mut state = first_unwell(run, told, wanted).await.map_err(|e| (1, e.to_string()))?;
        if state.is_none() {
            if hold {
                pause(run, HOLD, heed).await?;
                state = first_unwell(run, told, wanted).await.map_err(|e| (1, e.to_string()))?;
            }
            if state.is_none() {
                match restarted(run, told)? {
                    None => return Ok(()),
                    other => state = other,
                }
                hold = true;
            }
        }
        let (host, why) = state.unwrap_or_default();
        if Instant::now() >= end {
            return Err((2, format!("{host}: not back after {} s: {why}", run.args.timeout.as_secs())));
        }
        run.steps.now(&format!("{host}: {why}"));
        pause(run, Duration::from_secs(1), heed).await?;
    }
}

/// Sleeps, unless the operator asks to stop.
async fn pause(run: &Run<'_>, time: Duration, heed: bool) -> Result<(), (u8, String)> {
    tokio::select! {
        () = sleep(time) => Ok(()),
        () = run.stop.wait(), if heed => Err((STOPPED, "stopped while waiting for kubelets to come back".into())),
    }
}

/// The first host whose kubelet is not well, and why.
async fn first_unwell(run: &Run<'_>, told: &mut [Told], wanted: &[String]) -> Result<Option<(String, String)>, KubeError> {
    let mut first = None;
    for t in told {
        let wrong = match &t.pulse {
            // What was reported until now may still be the old process's word. It has ended: the restart is behind us.
            None => match pulse(run.server, &t.node).await {
                Ok(now) => {
                    t.pulse = Some(now);
                    Some("its kubelet was restarted just now".to_owned())
                }
                Err(e) if e.is_passing() => Some(e.to_string()),
                Err(e) => return Err(e),
            },
            Some(_) => unwell(run, t, wanted).await?,
        };
        first = first.or_else(|| wrong.map(|w| (t.host.clone(), w)));
    }
    Ok(first)
}

/// Why a kubelet is not well.
async fn unwell(run: &Run<'_>, told: &Told, wanted: &[String]) -> Result<Option<String>, KubeError> {
    let now = match look(run.server, &told.node).await {
        Ok(now) => now,
        Err(e) if e.is_passing() => return Ok(Some(e.to_string())),
        Err(e) => return Err(e),
    };
    Ok(match now.wrong {
        Some(wrong) => Some(wrong),
        None if !wanted.iter().all(|w| allows(&now.allowed, w)) => {
            let allowed = if now.allowed.is_empty() { "no unsafe sysctl".into() } else { format!("only {}", now.allowed.join(", ")) };
            Some(format!("the kubelet runs, and allows {allowed}"))
        }
        None if told.pulse.as_ref() == Some(&now.pulse) => Some("its kubelet has not reported to the API server since its restart".into()),
        None => None,
    })
}

/// A kubelet that is another process than it was; the next comparison is with that one.
fn restarted(run: &Run<'_>, told: &mut [Told]) -> Result<Option<(String, String)>, (u8, String)> {
    let hosts: Vec<&str> = told.iter().map(|t| t.host.as_str()).collect();
    let (results, trouble) = play(run, include_str!("process.yml"), json!({"hook_hosts": hosts.join(",")}));
    if let Some(trouble) = trouble {
        return Err(trouble);
    }
    let mut first = None;
    for t in told {
        let task = results.hosts.get(&t.host).and_then(|tasks| tasks.get("process"));
        let now = task.and_then(|task| field(task, "stdout").as_str()).unwrap_or_default();
        if now != t.process {
            now.clone_into(&mut t.process);
            t.pulse = None;
            let why = "its kubelet ended and was started again (journalctl -u kubelet says why)".to_owned();
            first = first.or(Some((t.host.clone(), why)));
        }
    }
    Ok(first)
}

/// Puts files back and restarts kubelets; says how that went, and whether those that were put back are well then. It does not stop for the
/// operator: that would leave them broken.
async fn restore(run: &mut Run<'_>, told: &[Told]) -> (String, bool) {
    let mut begun: Vec<Told> = told.iter().filter(|t| t.before.is_some()).cloned().collect();
    if begun.is_empty() {
        return ("no file had been changed, so nothing was put back".into(), true);
    }
    let hosts: Vec<String> = begun.iter().map(|t| t.host.clone()).collect();
    run.steps.now(&format!("putting back the file of {}", hosts.join(", ")));
    let each = |value: &dyn Fn(&Told) -> Json| Json::Object(begun.iter().map(|t| (t.host.clone(), value(t))).collect::<Map<_, _>>());
    let extra = json!({
        "hook_hosts": hosts.join(","),
        "hook_path": each(&|t| json!(t.path)),
        "hook_before": each(&|t| json!(t.before.clone().flatten().unwrap_or_else(|| "none".into()))),
        "hook_written": each(&|t| json!(t.written.clone().unwrap_or_else(|| "unknown".into()))),
    });
    let (results, trouble) = play(run, include_str!("restore.yml"), extra);
    let mut lines = vec![];
    let mut restored = vec![];
    let mut restarted: Vec<Told> = vec![];
    for t in &mut begun {
        let tasks = results.hosts.get(&t.host);
        let task = |name: &str| tasks.and_then(|all| all.get(name));
        let changed = |name: &str| task(name).is_some_and(|r| r.status == Status::Changed);
        let put = changed("file") || changed("no file");
        let now = task("now").and_then(|r| field(r, "content").as_str());
        let theirs = !put && task("no file").is_some_and(|r| r.status != Status::Failed) && now != t.before.clone().flatten().as_deref();
        let restart = task("restart").is_some_and(|r| r.status != Status::Failed);
        let why = results.failed.get(&t.host).cloned().or_else(|| trouble.as_ref().map(|(_, why)| why.clone()));
        if theirs {
            lines.push(format!("{}: somebody else wrote {} meanwhile, so it is left as it is", t.host, t.path));
        } else if put {
            restored.push(t.host.clone());
        } else if task("no file").is_none_or(|r| r.status == Status::Failed) {
            lines.push(format!("{}: {} could not be put back: {}", t.host, t.path, why.unwrap_or_default()));
            continue;
        }
        if !restart {
            let file = if put { "its file is as it was, and " } else { "" };
            let why = results.failed.get(&t.host).cloned().unwrap_or_default();
            lines.push(format!("{}: {file}its kubelet was not restarted: {why}", t.host));
        }
        t.process = task("process").and_then(|r| field(r, "stdout").as_str()).unwrap_or_default().to_owned();
        t.pulse = None;
        if restart {
            restarted.push(t.clone());
        }
        let state = if put { "put back" } else { "restarted" };
        run.tell_machines(&t.host, state);
    }
    let files = match (restored.is_empty(), lines.is_empty()) {
        (true, true) => "no file had been changed, so nothing was put back".to_owned(),
        (true, false) => String::new(),
        (false, _) => format!("the files of {} are as they were", restored.join(", ")),
    };
    // Also where something went wrong: whoever goes on restarting others must know that these are back.
    let all = restarted.len() == begun.len();
    let state = match restarted.as_mut_slice() {
        [] => Ok(()),
        some => settle(run, some, &[], false, true).await.map_err(|(_, why)| why),
    };
    let well = all && state.is_ok();
    let state = match state {
        Ok(()) if all => "the kubelets run again".to_owned(),
        Ok(()) => String::new(),
        Err(why) => format!("a kubelet still is not well: {why}"),
    };
    let end = [files, state].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", and ");
    lines.extend((!end.is_empty()).then_some(end));
    (lines.join("\n"), well)
}
