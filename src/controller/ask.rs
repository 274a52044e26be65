//! One question to many hosts: facts, the journal, or only whether they answer.

use super::event::{Event, Reporter};
use super::question::Questions;
use crate::play::Privilege;
use crate::protocol::{ToAgent, ToController, VERSION};
use crate::transport::{LinkEvent, Target, open};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::unbounded_channel;

/// What is asked.
#[derive(Clone, Debug)]
pub enum Question {
    /// Does the agent start?
    Ping,
    /// Facts; subset names, none: all.
    Facts(Vec<String>),
    /// The journal; only this run where given.
    Journal(Option<String>),
    /// To undo a run.
    Undo(UndoQuestion),
}

/// See [`Question::Undo`].
#[derive(Clone, Debug, Default)]
pub struct UndoQuestion {
    /// Names the undoing itself, in journal and lock.
    pub id: String,
    /// The run to undo; `None`: each host's newest.
    pub run: Option<String>,
    /// The run to undo by host; hosts that are not named are not asked. `None`: `run` on all.
    pub hosts: Option<HashMap<String, String>>,
    /// Only say what it would do.
    pub check: bool,
    /// Send content diffs.
    pub diff: bool,
}

/// What a host answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The host.
    pub host: String,
    /// From connecting to the answer.
    pub took: Duration,
    /// Its answer, or why there is none.
    pub answer: Result<ToController, String>,
}

/// Nothing moves on the screen while hosts are asked.
struct Plain;

impl Reporter for Plain {
    fn event(&mut self, _event: Event) {}
}

/// Asks all `targets`, at most `forks` at once; answers come in the order of `targets`.
pub fn ask(
    targets: Vec<(String, Target)>,
    question: &Question,
    privilege: Privilege,
    forks: usize,
    by: &str,
) -> Result<Vec<Answer>, String> {
    let undo = match question {
        Question::Undo(undo) => undo,
        _ => &UndoQuestion { check: true, ..UndoQuestion::default() },
    };
    let targets: Vec<_> =
        targets.into_iter().filter(|(host, _)| undo.hosts.as_ref().is_none_or(|hosts| hosts.contains_key(host))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let (sender, mut receiver) = unbounded_channel();
    let mut answers: Vec<Option<Answer>> = targets.iter().map(|_| None).collect();
    let mut began: Vec<Option<Instant>> = targets.iter().map(|_| None).collect();
    let mut links: Vec<_> = targets.iter().map(|_| None).collect();
    let mut waiting: VecDeque<_> = targets.into_iter().enumerate().collect();
    let mut names: Vec<String> = waiting.iter().map(|(_, (name, _))| name.clone()).collect();
    let mut running = 0usize;
    let mut questions = Questions::default();
    runtime.block_on(async {
        loop {
            while running < forks.max(1) {
                let Some((index, (host, target))) = waiting.pop_front() else { break };
                let (login, silence) = (target.login().to_owned(), target.silence.as_secs());
                let link = open(target, privilege, sender.clone(), index);
                link.send(ToAgent::Hello {
                    version: VERSION,
                    run: undo.id.clone(),
                    by: by.to_owned(),
                    check: undo.check,
                    diff: undo.diff,
                    stop_after: None,
                    login,
                    purpose: "undo".into(),
                    // The others only look.
                    lock: matches!(question, Question::Undo(_)),
                    silence,
                });
                match question {
                    Question::Ping => {}
                    Question::Facts(subset) => link.send(ToAgent::Facts { subset: subset.clone() }),
                    Question::Journal(run) => link.send(ToAgent::Journal { run: run.clone() }),
                    Question::Undo(undo) => {
                        let run = undo.hosts.as_ref().and_then(|hosts| hosts.get(&host)).or(undo.run.as_ref());
                        link.send(ToAgent::Undo { run: run.cloned() });
                    }
                }
                link.send(ToAgent::Bye);
                began[index] = Some(Instant::now());
                links[index] = Some(link);
                running += 1;
            }
            if running == 0 {
                break;
            }
            let (index, event) = tokio::select! {
                Some(heard) = receiver.recv() => heard,
                line = questions.answered() => {
                    questions.take(&line, &mut Plain);
                    continue;
                }
            };
            let mut done = |answer: Result<ToController, String>, answers: &mut Vec<Option<Answer>>| {
                if answers[index].is_none() {
                    let took = began[index].map(|b| b.elapsed()).unwrap_or_default();
                    answers[index] = Some(Answer { host: std::mem::take(&mut names[index]), took, answer });
                }
            };
            match event {
                LinkEvent::Message(message) => match (*message, question) {
                    (hello @ ToController::Hello { .. }, Question::Ping) => done(Ok(hello), &mut answers),
                    (facts @ ToController::Facts(_), _) => done(Ok(facts), &mut answers),
                    (journal @ ToController::Journal(_), _) => done(Ok(journal), &mut answers),
                    (report @ ToController::Undo(_), _) => done(Ok(report), &mut answers),
                    (ToController::Locked(holder), _) => done(Err(holder.to_string()), &mut answers),
                    (ToController::Fatal(reason), _) => done(Err(reason), &mut answers),
                    _ => {}
                },
                LinkEvent::Closed(result) => {
                    let reason = match result {
                        Err(e) => e.to_string(),
                        Ok(()) => "the agent ended without an answer".into(),
                    };
                    done(Err(reason), &mut answers);
                    links[index] = None;
                    running -= 1;
                }
                LinkEvent::Question(question) => questions.put(question, &mut Plain),
                LinkEvent::Connecting | LinkEvent::Pushing { .. } | LinkEvent::Ready | LinkEvent::Answer(_) => {}
            }
        }
    });
    Ok(answers.into_iter().flatten().collect())
}
