//! The run loop: one thread that hears from every host and decides what each does next.

mod errand;
mod hear;
mod hostvars;
mod together;
mod ways;

pub use ways::{Targets, Via};

use super::batches::batches;
use super::event::{Event, Phase, Reporter};
use super::files::FileStore;
use super::interrupt::Interrupts;
use super::question::Questions;
use super::step::{self, Answer};
use super::summary::{HostSummary, Summary};
use super::variables::{Magic, host_vars};
use crate::diag::{Diagnostic, Diagnostics, Severity};
use crate::inventory::Inventory;
use crate::play::{Item, Privilege, Task, Vars};
use crate::playbook::{PlaySource, Site};
use crate::protocol::{PlayRun, ToAgent, VERSION};
use crate::transport::{LinkEvent, LinkHandle, Target, open};
use crate::yaml::Node;
use hostvars::Hostvars;
use indexmap::IndexSet;
use serde_json::{Map, Value as Json};
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;
use together::{Delegates, Together};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use ways::Ways;

/// How a run is to go.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Names the run in journals and locks.
    pub run: String,
    /// `user@workstation`.
    pub by: String,
    /// What it is, for the lock: `apply site.yml`.
    pub purpose: String,
    /// A dry run.
    pub check: bool,
    /// Send diffs.
    pub diff: bool,
    /// `-v` count.
    pub verbosity: u8,
    /// Hosts at once.
    pub forks: usize,
    /// Stop every host after this many changes.
    pub stop_after: Option<u32>,
    /// `--limit`.
    pub limit: Option<String>,
    /// `--tags`, for `ansible_run_tags`.
    pub tags: Vec<String>,
    /// `--skip-tags`.
    pub skip_tags: Vec<String>,
    /// `-e`.
    pub extra: Vars,
    /// `-b`: tasks become root unless they say otherwise.
    pub become_all: bool,
    /// Ask before each play, and each batch of hosts.
    pub step: bool,
}

#[derive(Default)]
struct Host {
    link: Option<LinkHandle>,
    /// Failed or unreachable: takes part in nothing more.
    out: bool,
    /// Runs the current play.
    busy: bool,
    greeted: bool,
    /// Runs no play, only tasks that others delegate.
    delegate: bool,
}

impl Host {
    /// Sends a message, if there is still somebody to hear it.
    fn send(&self, message: ToAgent) {
        if let Some(link) = &self.link {
            link.send(message);
        }
    }
}

struct Run<'a> {
    site: &'a Site,
    inventory: &'a Inventory,
    options: &'a Options,
    targets: &'a Targets<'a>,
    reporter: &'a mut dyn Reporter,
    names: Vec<String>,
    index: HashMap<String, usize>,
    hosts: Vec<Host>,
    ways: Ways,
    /// What the current play says of hosts that it only delegates to.
    via: Via,
    files: FileStore,
    /// Where each task looks for files, by task id.
    search: HashMap<u32, Vec<String>>,
    shared: HashMap<String, Map<String, Json>>,
    hostvars: Hostvars,
    summary: Summary,
    sender: UnboundedSender<(usize, LinkEvent)>,
    receiver: UnboundedReceiver<(usize, LinkEvent)>,
    stopping: bool,
    /// The operator is asked before each batch.
    step: bool,
    /// A failure on one host ended the run on all.
    aborted: bool,
    together: Together,
    delegates: Delegates,
    /// Tasks with `delegate_to`.
    delegated: HashMap<u32, Box<Task>>,
    questions: Questions,
    interrupts: Interrupts,
}

/// Runs all plays of `site` and tells `reporter` about it.
pub fn run(
    site: &Site,
    inventory: &Inventory,
    options: &Options,
    targets: &Targets<'_>,
    reporter: &mut dyn Reporter,
) -> Result<Summary, Diagnostics> {
    // Everything that can be wrong is found before the first host is touched: patterns, batches, targets.
    let mut plan = vec![];
    for play in &site.plays {
        let (hosts, missed) = select(play, inventory, options)?;
        for warning in missed {
            reporter.event(Event::Warning { host: None, message: warning.to_string() });
        }
        together::check(play, inventory, options)?;
        let serial = play.serial.iter().map(|node| known(play, node, options)).collect::<Result<Vec<_>, _>>()?;
        let batches = batches(&hosts, &serial)?;
        plan.push((play, hosts, batches));
    }
    let (mut ways, mut vias) = (Ways::default(), vec![]);
    for (play, hosts, _) in &plan {
        vias.push(if idle(play) { Via::default() } else { ways.add(play, hosts, options, targets)? });
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Diagnostic::bare(format!("the run can't be started: {e}")))?;
    let interrupts = {
        let _inside = runtime.enter();
        Interrupts::listen()
    };
    let (sender, receiver) = unbounded_channel();
    let of_plays = plan.iter().flat_map(|(_, hosts, _)| hosts.iter().cloned());
    let names: Vec<String> = inventory.hosts().into_iter().chain(of_plays).collect::<IndexSet<_>>().into_iter().collect();
    let summary = Summary { reached: ways.reached(targets), ..Summary::default() };
    let mut run = Run {
        site,
        inventory,
        options,
        targets,
        reporter,
        index: names.iter().enumerate().map(|(i, n)| (n.clone(), i)).collect(),
        hosts: names.iter().map(|_| Host::default()).collect(),
        names,
        ways,
        via: Via::default(),
        files: FileStore::default(),
        search: HashMap::new(),
        shared: HashMap::new(),
        hostvars: Hostvars::new(site, inventory, &options.extra),
        summary,
        sender,
        receiver,
        stopping: false,
        step: options.step,
        aborted: false,
        together: Together::default(),
        delegates: Delegates::default(),
        delegated: HashMap::new(),
        questions: Questions::default(),
        interrupts,
    };
    runtime.block_on(async {
        let mut on = true;
        for ((number, (play, hosts, batches)), via) in plan.iter().enumerate().zip(vias) {
            run.via = via;
            // As Ansible: after a playbook in which something failed, the next one of the command line is not begun.
            let next = number.checked_sub(1).and_then(|before| plan.get(before)).is_some_and(|(before, ..)| before.root != play.root);
            on = on && !(next && run.summary.exit_code() != 0);
            if on && !run.stopping && !run.aborted {
                on = run.play(play, hosts, batches).await;
            } else if !idle(play) {
                run.leave(hosts.iter());
            }
        }
        run.goodbye().await;
    });
    run.summary.interrupted = run.stopping;
    let order: Vec<String> = run.names.clone();
    let mut summary = run.summary;
    summary.hosts.sort_by_cached_key(|name, _| order.iter().position(|n| n == name));
    Ok(summary)
}

/// Whether tags left nothing of a play: its hosts need not even be connected to.
fn idle(play: &PlaySource) -> bool {
    play.play.gather.is_none() && play.play.sections.iter().all(Vec::is_empty)
}

/// A keyword that must be known before a host is asked, its template rendered.
fn known(play: &PlaySource, node: &Node, options: &Options) -> Result<Node, Diagnostic> {
    if node.as_str().is_none() {
        return Ok(node.clone());
    }
    Ok(Node::text(play.known_now(node, &options.extra)?, node.loc.clone()))
}

/// The hosts of a play: its pattern, less `--limit`, in its `order`. Names in it that are nobody's come back as warnings.
pub fn select(play: &PlaySource, inventory: &Inventory, options: &Options) -> Result<(Vec<String>, Vec<Diagnostic>), Diagnostic> {
    let pattern = play.pattern(&options.extra)?;
    let place = |mut e: Diagnostic| {
        e.loc.get_or_insert_with(|| play.hosts.loc.clone());
        e
    };
    let mut missed = vec![];
    let hosts = inventory.select_known(&pattern, &mut missed).map_err(place)?;
    let missed = missed.into_iter().map(|e| Diagnostic { severity: Severity::Warning, ..place(e) }).collect();
    let mut hosts = match &options.limit {
        None => hosts,
        Some(limit) => inventory.limit(hosts, limit)?,
    };
    match play.order.as_deref() {
        None | Some("inventory") => {}
        Some("reverse_inventory") => hosts.reverse(),
        Some("sorted") => hosts.sort(),
        Some("reverse_sorted") => hosts.sort_by(|a, b| b.cmp(a)),
        Some(other) => {
            return Err(Diagnostic::error(&play.play.loc, format!("the order `{other}` is not supported"))
                .help("output is in the same order on every run: choose inventory, reverse_inventory, sorted or reverse_sorted"));
        }
    }
    Ok((hosts, missed))
}

impl Run<'_> {
    /// Runs a play on all its batches; `false`: the run is over.
    async fn play(&mut self, play: &PlaySource, hosts: &[String], batches: &[Vec<String>]) -> bool {
        let alive: Vec<String> = hosts.iter().filter(|h| !self.host(h).out).cloned().collect();
        if alive.is_empty() {
            let reason = if hosts.is_empty() { "no hosts matched" } else { "none of its hosts is left" };
            self.reporter.event(Event::PlaySkipped { name: play.play.name.clone(), reason: reason.into() });
            return true;
        }
        let source = &play.play;
        self.hostvars.begin(play);
        if idle(play) {
            return true;
        }
        for items in
            source.sections.iter().chain([&source.handlers]).chain(source.includes.iter().flat_map(|(_, i)| [&i.items, &i.handlers]))
        {
            self.remember(items);
        }
        self.reporter.event(Event::PlayStart {
            name: play.play.name.clone(),
            loc: play.play.loc.clone(),
            hosts: alive.clone(),
            tasks: u32::try_from(play.list_tasks().len() + usize::from(play.play.gather.is_some())).unwrap_or(u32::MAX),
        });
        for (number, batch) in batches.iter().enumerate() {
            let batch: Vec<String> = batch.iter().filter(|h| !self.host(h).out).cloned().collect();
            if batch.is_empty() {
                continue;
            }
            if batches.len() > 1 {
                self.reporter.event(Event::Batch { number: number + 1, of: batches.len(), hosts: batch.clone() });
            }
            if self.step {
                match step::ask(&play.play.name, &batch, self.reporter).await {
                    Answer::Yes => {}
                    Answer::Continue => self.step = false,
                    Answer::No => continue,
                    Answer::Stop => {
                        self.stopping = true;
                        self.reporter.event(Event::Stopping);
                        self.leave(batch.iter());
                    }
                }
            }
            if !self.stopping {
                self.batch(play, hosts, &batch).await;
            }
            if self.stopping || self.aborted {
                self.leave(batches.iter().skip(number + 1).flatten());
                break;
            }
            // When every host of a batch failed, or had failed before, neither other batches nor later plays are begun.
            if batch.iter().all(|h| self.host(h).out) {
                self.leave(batches.iter().skip(number + 1).flatten());
                self.reporter.event(Event::PlayEnd);
                return false;
            }
        }
        self.reporter.event(Event::PlayEnd);
        true
    }

    fn leave<'h>(&mut self, hosts: impl Iterator<Item = &'h String>) {
        for host in hosts {
            if !self.host(host).out && !self.summary.not_started.contains(host) {
                self.summary.not_started.push(host.clone());
            }
        }
    }

    async fn batch(&mut self, play: &PlaySource, play_hosts: &[String], batch: &[String]) {
        let mut waiting: VecDeque<&String> = batch.iter().collect();
        let mut running: HashSet<usize> = HashSet::new();
        // Where hosts begin each task together, none may wait for its turn.
        let forks = if play.play.in_step { batch.len() } else { self.options.forks.max(1) };
        self.gather(play, batch);
        let mut ticker = tokio::time::interval(Duration::from_millis(100));
        loop {
            while (running.len() < forks || self.together.everyone) && !self.stopping && !self.aborted {
                let Some(host) = waiting.pop_front() else { break };
                if let Some(index) = self.begin(play, play_hosts, batch, host) {
                    running.insert(index);
                }
            }
            if running.is_empty() {
                break;
            }
            tokio::select! {
                Some((index, event)) = self.receiver.recv() => {
                    if self.hear(index, event) {
                        running.remove(&index);
                    }
                    self.settle(waiting.is_empty());
                }
                () = self.interrupts.asked() => {
                    if self.stopping {
                        // Asked twice: don't wait for changes under way. The agents notice, finish theirs and journal it.
                        let mut left: Vec<usize> = running.drain().collect();
                        left.sort_unstable();
                        for index in left {
                            self.unreachable(index, "left behind: its agent finishes the change it is in and writes it to the journal".into());
                        }
                        break;
                    }
                    self.stopping = true;
                    self.reporter.event(Event::Stopping);
                    // Nothing was begun where no agent has answered yet.
                    let mut early: Vec<usize> = running.iter().copied().filter(|index| !self.hosts[*index].greeted).collect();
                    early.sort_unstable();
                    let names: Vec<String> = early.iter().map(|index| self.names[*index].clone()).collect();
                    self.leave(names.iter());
                    for (index, name) in early.into_iter().zip(names) {
                        running.remove(&index);
                        self.drop_host(index);
                        // It is among those not begun, and nowhere else if no earlier play did anything there.
                        if self.summary.hosts.get(&name) == Some(&HostSummary::default()) {
                            self.summary.hosts.shift_remove(&name);
                        }
                    }
                    for host in self.hosts.iter().filter(|h| h.busy || h.delegate) {
                        host.send(ToAgent::Stop("the operator stopped it".into()));
                    }
                }
                line = self.questions.answered() => self.questions.take(&line, self.reporter),
                _ = ticker.tick() => self.reporter.tick(),
            }
        }
        if self.stopping || self.aborted {
            self.leave(waiting.into_iter());
        }
    }

    /// Sends a play to a host, connecting first where needed.
    fn begin(&mut self, play: &PlaySource, play_hosts: &[String], batch: &[String], host: &str) -> Option<usize> {
        let index = *self.index.get(host)?;
        self.summary.host(host);
        if self.hosts[index].link.is_none() {
            let target = match self.target(host) {
                Ok(target) => target,
                Err(e) => {
                    self.unreachable(index, e.to_string());
                    return None;
                }
            };
            let privilege = self.ways.privileges.get(host).copied().unwrap_or(Privilege::Connection);
            let (login, silence) = (target.login().to_owned(), target.silence.as_secs());
            let link = open(target, privilege, self.sender.clone(), index);
            self.reporter.event(Event::Phase { host: host.to_owned(), phase: Phase::Connecting });
            // Nothing is waited for: greeting and play lie ready when the agent starts.
            link.send(ToAgent::Hello {
                version: VERSION,
                run: self.options.run.clone(),
                by: self.options.by.clone(),
                check: self.options.check,
                diff: self.options.diff,
                stop_after: self.options.stop_after,
                login,
                purpose: self.options.purpose.clone(),
                lock: true,
                silence,
            });
            self.hosts[index].link = Some(link);
        } else {
            self.reporter.event(Event::Phase { host: host.to_owned(), phase: Phase::Running });
        }
        let left: Vec<String> = play_hosts.iter().filter(|h| !self.host(h).out).cloned().collect();
        let magic = Magic {
            play_hosts,
            left: &left,
            batch,
            check: self.options.check,
            diff: self.options.diff,
            verbosity: self.options.verbosity,
            forks: self.options.forks,
            limit: self.options.limit.as_deref(),
            tags: &self.options.tags,
            skip_tags: &self.options.skip_tags,
            playbook_dir: &play.dir,
            all: !self.hostvars.meets.is_empty(),
        };
        let vars = host_vars(self.inventory, play, &self.options.extra, host, &magic);
        let mut files = vec![];
        for known in &play.files {
            // A file that can't be read is asked for when its task runs, and fails that task with its name.
            if let Ok(reference) = self.files.reference(&known.path) {
                files.push((known.key.clone(), reference));
            }
        }
        let (share, meets, told) = (self.hostvars.share, self.hostvars.meets.clone(), self.hostvars.names.clone());
        let message = ToAgent::Play(Box::new(PlayRun { play: play.play.clone(), vars, files, share, meets, told }));
        self.hosts[index].busy = true;
        if let Some(link) = &self.hosts[index].link {
            link.send(message);
        }
        Some(index)
    }

    /// Remembers where the tasks of `items` look for files.
    fn remember(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::Task(task) => {
                    self.search.insert(task.id, task.search_path.clone());
                    if task.delegate_to.is_some() {
                        self.delegated.insert(task.id, task.clone());
                    }
                }
                Item::Block(block) => {
                    for part in [&block.block, &block.rescue, &block.always] {
                        self.remember(part);
                    }
                }
            }
        }
    }

    /// How `host` is reached: as its plays say, or where it takes part in none, as the play does that delegates to it.
    fn target(&self, host: &str) -> Result<Target, Diagnostic> {
        self.ways.targets.get(host).cloned().map_or_else(|| (self.targets)(host, &self.via), Ok)
    }

    fn drop_host(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        host.out = true;
        host.busy = false;
        if let Some(link) = host.link.take() {
            link.close();
        }
    }

    /// Says goodbye to every agent and waits, briefly, until they are gone: their locks are then free.
    async fn goodbye(&mut self) {
        let mut open = 0;
        for host in &self.hosts {
            if let Some(link) = &host.link {
                link.send(ToAgent::Bye);
                open += 1;
            }
        }
        let limit = tokio::time::Instant::now() + Duration::from_secs(5);
        while open > 0 {
            match tokio::time::timeout_at(limit, self.receiver.recv()).await {
                Ok(Some((_, LinkEvent::Closed(_)))) => open -= 1,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
    }

    fn host(&self, name: &str) -> &Host {
        // Every name of a play was put into the index when the run was planned.
        &self.hosts[self.index[name]]
    }
}
