//! Colour, only where there is a terminal to show it.

use anstyle::{AnsiColor, Style};

/// What a piece of text means; how it looks follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// Headings.
    Strong,
    /// Places and other things to read second.
    Faint,
    /// Nothing to do.
    Good,
    /// A change.
    Change,
    /// Unknown, or a warning.
    Doubt,
    /// Failed, refused, destroys.
    Bad,
}

/// Paints text, or leaves it alone.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    /// Whether to use colour at all.
    pub on: bool,
}

impl Paint {
    /// `text` in `tone`.
    pub fn text(self, tone: Tone, text: &str) -> String {
        if !self.on || tone == Tone::Plain || text.is_empty() {
            return text.to_owned();
        }
        let style = match tone {
            Tone::Plain => Style::new(),
            Tone::Strong => Style::new().bold(),
            Tone::Faint => Style::new().dimmed(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Change => AnsiColor::Yellow.on_default(),
            Tone::Doubt => AnsiColor::Magenta.on_default(),
            Tone::Bad => AnsiColor::Red.on_default().bold(),
        };
        format!("{}{text}{}", style.render(), style.render_reset())
    }
}

/// Whether standard output shows colour: a terminal, and neither `NO_COLOR` nor `TERM=dumb`; `FORCE_COLOR` overrides.
pub fn colour_wanted() -> bool {
    use std::io::IsTerminal;
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    if set("FORCE_COLOR") || set("ANSIBLE_FORCE_COLOR") {
        return true;
    }
    std::io::stdout().is_terminal() && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// Columns of the terminal on standard output, at most 120; 100 where there is none.
pub fn width() -> usize {
    let term = console::Term::stdout();
    if term.is_term() { usize::from(term.size().1).clamp(40, 120) } else { 100 }
}
