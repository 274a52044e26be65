//! `fettle plan` and `fettle apply`.

use super::connect::{ConnectArgs, secret, target};
use super::{CliError, Exit};
use crate::controller::{Options, Reached, Reporter, Summary, Via, run as run_site, select};
use crate::diag::{Diagnostic, Loc};
use crate::inventory::Inventory;
use crate::play::Vars;
use crate::playbook::{self, LoadOptions, Site};
use crate::report::{About, Console, Detail, Json, Paint, ansible_recap, colour_wanted, recap};
use crate::yaml::Node;
use clap::Args;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Options of plan and apply, with ansible-playbook's letters.
#[derive(Debug, Args)]
pub struct PlayArgs {
    /// Playbooks, run one after the other
    #[arg(required = true, value_name = "PLAYBOOK")]
    playbooks: Vec<PathBuf>,
    #[command(flatten)]
    connect: ConnectArgs,
    /// Only tasks with one of these tags
    #[arg(short, long, value_name = "TAGS", value_delimiter = ',', help_heading = "What to run")]
    tags: Vec<String>,
    /// No tasks with one of these tags
    #[arg(long, value_name = "TAGS", value_delimiter = ',', help_heading = "What to run")]
    skip_tags: Vec<String>,
    /// Variables that win over all others: `k=v`, JSON, YAML, or `@file`
    #[arg(short, long, value_name = "VARS", help_heading = "What to run")]
    extra_vars: Vec<String>,
    /// Become root (or --become-user) for tasks that don't say otherwise
    #[arg(short, long = "become", help_heading = "Connection")]
    becomes: bool,
    /// Which user to become
    #[arg(long, value_name = "USER", help_heading = "Connection")]
    become_user: Option<String>,
    /// Dry run, the same as `fettle plan`
    #[arg(short = 'C', long, help_heading = "What to run")]
    check: bool,
    /// Show what changes inside files
    #[arg(short = 'D', long, help_heading = "Output")]
    diff: bool,
    /// Show more: -v what is ok or skipped, -vv results, -vvv times
    #[arg(short, long, action = clap::ArgAction::Count, help_heading = "Output")]
    verbose: u8,
    /// One JSON object a line
    #[arg(long, help_heading = "Output")]
    json: bool,
    /// Form of the last lines
    #[arg(long, value_name = "FORM", default_value = "fettle", value_parser = ["fettle", "ansible"], help_heading = "Output")]
    recap: String,
    /// Stop every host after this many changes, as a broken connection would: to rehearse an interruption
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..), help_heading = "What to run")]
    stop_after: Option<u32>,
    /// Hosts in batches of so many, whatever the plays say: a number, a percentage, or several of these (`1,5,20%`)
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', help_heading = "What to run")]
    serial: Vec<String>,
    /// Ask before each play begins on its hosts, or on a batch of them (not before each task: hosts run those on their own)
    #[arg(long, help_heading = "What to run")]
    step: bool,
    /// List the hosts, run nothing
    #[arg(long, help_heading = "What to run")]
    list_hosts: bool,
    /// List the tasks, run nothing
    #[arg(long, help_heading = "What to run")]
    list_tasks: bool,
    /// List the tags, run nothing
    #[arg(long, help_heading = "What to run")]
    list_tags: bool,
    /// Check inventory and playbooks, run nothing
    #[arg(long, help_heading = "What to run")]
    syntax_check: bool,
}

/// Runs playbooks.
pub fn run(args: PlayArgs, plan: bool) -> Result<Exit, CliError> {
    let started = Instant::now();
    let check = plan || args.check;
    let dir = args.playbooks[0].parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let extra = playbook::extra_vars(&args.extra_vars)?;
    let inventory = args.connect.inventory(Some(dir))?;
    let mut options = LoadOptions {
        tags: args.tags.clone(),
        skip_tags: args.skip_tags.clone(),
        extra: extra.clone(),
        become_all: args.becomes,
        become_user: args.become_user.clone(),
        ..LoadOptions::default()
    };
    options.inventory_dir = inventory.dir().map(PathBuf::from);
    let mut site = playbook::load(&args.playbooks, &options)?;
    if !site.warnings.0.is_empty() {
        eprintln!("{}", crate::report::diagnostic::render(&site.warnings.0, colour_wanted()).trim_end());
    }
    if args.list_hosts || args.list_tasks || args.list_tags || args.syntax_check {
        return list(&args, &site, &inventory, &extra);
    }
    if !args.serial.is_empty() {
        let sizes: Vec<Node> = args.serial.iter().map(|size| Node::text(size.clone(), Loc::outside("--serial"))).collect();
        for play in &mut site.plays {
            play.serial.clone_from(&sizes);
        }
    }
    somebody(&args, &site, &inventory, &extra)?;
    prompts(&mut site, &extra)?;
    let defaults = args.connect.defaults()?;
    let verb = if check { "plan" } else { "apply" };
    let names = args.playbooks.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" ");
    let run_options = Options {
        run: uuid::Uuid::new_v4().simple().to_string()[..8].to_owned(),
        by: args.connect.by(),
        purpose: format!("{verb} {names}"),
        check,
        diff: args.diff,
        verbosity: args.verbose,
        forks: args.connect.forks(),
        stop_after: args.stop_after,
        limit: args.connect.limit.clone(),
        tags: args.tags.clone(),
        skip_tags: args.skip_tags.clone(),
        extra: extra.clone(),
        become_all: args.becomes,
        step: args.step,
    };
    let targets = |host: &str, via: &Via| target(&inventory, &extra, host, via, &defaults);
    if args.json {
        let mut json = Json::default();
        let summary = run_site(&site, &inventory, &run_options, &targets, &mut json)?;
        json.recap(&summary, &run_options.run, check, started.elapsed().as_secs_f64());
        return Ok(Exit(summary.exit_code()));
    }
    let paint = Paint { on: colour_wanted() };
    let live = std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
    let mut console = Console::new(Detail { verbosity: args.verbose, check, paint }, live);
    let summary = run_site(&site, &inventory, &run_options, &targets, &mut console as &mut dyn Reporter)?;
    let journal_options = reached(&args, &summary.reached);
    let inventory_options = args.connect.inventory.iter().map(|i| format!("-i {}", quoted(i))).collect::<Vec<_>>().join(" ");
    let about = About {
        playbooks: &names,
        check,
        took: started.elapsed(),
        command: &again(&args, verb, &names, &inventory_options),
        inventory: &format!("{inventory_options}{journal_options}"),
        run: &run_options.run,
    };
    print_recap(&mut console, &summary, &about, &args.recap, paint);
    Ok(Exit(summary.exit_code()))
}

fn print_recap(console: &mut Console, summary: &Summary, about: &About<'_>, form: &str, paint: Paint) {
    let lines = if form == "ansible" { ansible_recap(summary, paint) } else { recap(summary, about, paint) };
    for line in lines {
        console.print(&line);
    }
}

/// The command that does the same again (without `--limit`), for "what to type next".
fn again(args: &PlayArgs, verb: &str, names: &str, inventory: &str) -> String {
    let mut parts = vec![format!("fettle {verb} {names}")];
    if !inventory.is_empty() {
        parts.push(inventory.to_owned());
    }
    if !args.tags.is_empty() {
        parts.push(format!("-t {}", quoted(&args.tags.join(","))));
    }
    if !args.skip_tags.is_empty() {
        parts.push(format!("--skip-tags {}", quoted(&args.skip_tags.join(","))));
    }
    for extra in &args.extra_vars {
        parts.push(format!("-e {}", quoted(&without_secrets(extra))));
    }
    if args.becomes {
        parts.push("-b".into());
    }
    if let Some(user) = &args.become_user {
        parts.push(format!("--become-user {}", quoted(user)));
    }
    if !args.serial.is_empty() {
        parts.push(format!("--serial {}", args.serial.join(",")));
    }
    if args.step {
        parts.push("--step".into());
    }
    format!("{}{}", parts.join(" "), connection(args))
}

/// The options about the connection, each with a space in front.
fn connection(args: &PlayArgs) -> String {
    let mut parts = String::new();
    if args.connect.ask_become_pass {
        parts.push_str(" -K");
    }
    if args.connect.ask_pass {
        parts.push_str(" -k");
    }
    if let Some(user) = &args.connect.user {
        parts.push_str(&format!(" -u {}", quoted(user)));
    }
    if let Some(key) = &args.connect.private_key {
        parts.push_str(&format!(" --private-key {}", quoted(&key.display().to_string())));
    }
    if let Some(kind) = &args.connect.connection {
        parts.push_str(&format!(" -c {kind}"));
    }
    if args.connect.timeout != super::connect::TIMEOUT {
        parts.push_str(&format!(" -T {}", args.connect.timeout));
    }
    parts
}

/// The options that lead a question to where the run was, each with a space in front.
fn reached(args: &PlayArgs, reached: &Reached) -> String {
    let given = args.extra_vars.iter().filter(|extra| extra.contains("ansible_") || extra.starts_with('@'));
    let user = reached.user.iter().map(|user| format!("ansible_user={user}"));
    let port = reached.port.iter().map(|port| format!("ansible_port={port}"));
    let variables = given.map(|extra| without_secrets(extra)).chain(user).chain(port);
    // Root's runs are in root's journal.
    let root = if reached.root { " -b" } else { "" };
    format!("{root}{}", connection(args)) + &variables.map(|variable| format!(" -e {}", quoted(&variable))).collect::<String>()
}

/// A word as a shell wants it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./@%+=:,~".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// `-e` without what looks like a secret: the recap ends up in logs.
fn without_secrets(extra: &str) -> String {
    let secret = |name: &str| ["pass", "secret", "token", "key"].iter().any(|word| name.to_ascii_lowercase().contains(word));
    match extra.split_once('=') {
        _ if extra.starts_with('@') => extra.to_owned(),
        Some((name, _)) if secret(name) && !extra.contains(char::is_whitespace) => format!("{name}=…"),
        // Several, or JSON: told apart no further.
        _ if secret(extra) => "…".to_owned(),
        _ => extra.to_owned(),
    }
}

/// Fails where no host is left because of what the command line says, or leaves out: a run that does nothing must not look
/// like one that went well.
fn somebody(args: &PlayArgs, site: &Site, inventory: &Inventory, extra: &Vars) -> Result<(), CliError> {
    let mut options = Options { extra: extra.clone(), limit: args.connect.limit.clone(), ..Options::default() };
    for play in &site.plays {
        if !select(play, inventory, &options)?.0.is_empty() {
            return Ok(());
        }
    }
    let Some(limit) = options.limit.take() else {
        if inventory.hosts().is_empty() && !site.plays.is_empty() {
            return Err(CliError::Failed(
                "there are no hosts: name an inventory with -i (or in ANSIBLE_INVENTORY); nothing was done".into(),
            ));
        }
        // A group that is empty in this inventory is the inventory's own word.
        return Ok(());
    };
    Err(CliError::Failed(format!(
        "`-l {limit}` leaves no host of these plays; nothing was done (--list-hosts without -l shows whom they are for)"
    )))
}

/// Asks what `vars_prompt` asks, unless `-e` answers it.
fn prompts(site: &mut Site, extra: &Vars) -> Result<(), CliError> {
    for play in &mut site.plays {
        for prompt in play.vars_prompt.clone() {
            if extra.get(&prompt.name).is_some() {
                continue;
            }
            let default = prompt.default.as_deref().map(|d| format!(" [{d}]")).unwrap_or_default();
            let text = format!("{}{default}: ", prompt.text);
            let answer = if std::io::stdin().is_terminal() { ask(&text, prompt.private, prompt.confirm)? } else { String::new() };
            let answer = match (answer.is_empty(), &prompt.default) {
                (true, Some(default)) => default.clone(),
                (true, None) if !std::io::stdin().is_terminal() => {
                    return Err(Diagnostic::error(
                        &prompt.loc,
                        format!("`{}` is to be asked for, and there is no terminal to ask at", prompt.name),
                    )
                    .help(format!("answer it on the command line: -e {}=…", prompt.name))
                    .into());
                }
                _ => answer,
            };
            play.answer(&prompt.name, &answer);
        }
    }
    Ok(())
}

fn ask(text: &str, private: bool, confirm: bool) -> Result<String, CliError> {
    loop {
        let answer = if private { secret(text)? } else { line(text)? };
        if !confirm {
            return Ok(answer);
        }
        let again = if private { secret("once more: ")? } else { line("once more: ")? };
        if answer == again {
            return Ok(answer);
        }
        eprintln!("The two differ.");
    }
}

fn line(text: &str) -> Result<String, CliError> {
    use std::io::Write;
    eprint!("{text}");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|e| CliError::Failed(format!("no answer could be read: {e}")))?;
    Ok(answer.trim_end_matches('\n').to_owned())
}

/// The `--list-…` and `--syntax-check` modes, in ansible-playbook's form.
fn list(args: &PlayArgs, site: &Site, inventory: &Inventory, extra: &Vars) -> Result<Exit, CliError> {
    let options = Options { extra: extra.clone(), limit: args.connect.limit.clone(), ..Options::default() };
    if !(args.list_hosts || args.list_tasks || args.list_tags) {
        for play in &site.plays {
            select(play, inventory, &options)?;
        }
        let names = args.playbooks.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
        println!("{names}: fine, {}", if site.plays.len() == 1 { "1 play".to_owned() } else { format!("{} plays", site.plays.len()) });
        return Ok(Exit(0));
    }
    println!("\nplaybook: {}", args.playbooks.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", "));
    for (number, play) in site.plays.iter().enumerate() {
        let pattern = play.pattern(extra)?;
        println!("\n  play #{} ({pattern}): {}\tTAGS: [{}]", number + 1, play.play.name, play.tags.join(", "));
        if args.list_hosts {
            let (hosts, _) = select(play, inventory, &options)?;
            println!("    pattern: [{pattern:?}]\n    hosts ({}):", hosts.len());
            for host in hosts {
                println!("      {host}");
            }
        }
        if args.list_tasks {
            println!("    tasks:");
            for task in play.list_tasks() {
                println!("      {}\tTAGS: [{}]", task.name, task.tags.join(", "));
            }
        }
        if args.list_tags {
            println!("      TASK TAGS: [{}]", play.list_tags().join(", "));
        }
    }
    Ok(Exit(0))
}
