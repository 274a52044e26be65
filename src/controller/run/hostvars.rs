//! `hostvars`: what hosts know of each other, as of the last point where they met.

use crate::controller::variables::view;
use crate::inventory::Inventory;
use crate::play::Vars;
use crate::playbook::hostvars::{Mentions, Read, mentions};
use crate::playbook::{PlaySource, Site};
use crate::protocol::{ToAgent, encode};
use crate::transport::Frame;
use crate::yaml::{Node, Value};
use serde_json::{Map, Value as Json};
use std::collections::{BTreeSet, HashMap};

/// All hosts' variables as others see them, and who has heard what.
#[derive(Default)]
pub(super) struct Hostvars {
    /// Some play reads them: hosts tell theirs.
    pub share: bool,
    /// The names that are read; `None`: any.
    pub names: Option<Vec<String>>,
    /// Variables of the play that lead to them.
    pub lead: BTreeSet<String>,
    /// The play's tasks that read them.
    pub meets: Vec<u32>,
    /// What the inventory's variables and `-e` mention, if any mentions them.
    inventory: Mentions,
    localhost: bool,
    /// By host: when they became so, and the message that tells them. It is made once, and shared by all who hear it.
    views: HashMap<String, (u64, Frame)>,
    /// Up to when each connection has heard everything.
    heard: HashMap<usize, u64>,
    now: u64,
}

impl Hostvars {
    /// What the plays of `site` read.
    pub fn new(site: &Site, inventory: &Inventory, extra: &Vars) -> Self {
        let mut read = Read::default();
        let hosts = inventory.hosts();
        let variables = || hosts.iter().map(|host| inventory.vars(host)).chain([extra.clone()]).flat_map(|vars| vars.0);
        let mut this = Self::default();
        // Most inventories mention it nowhere: then nothing in them leads there.
        if variables().filter(|(_, node)| see(node, &mut read)).count() > 0 {
            variables().for_each(|(name, node)| mentions(&node, false, this.inventory.entry(name).or_default()));
        }
        for play in &site.plays {
            let of = play.hostvars_read();
            read.all |= of.all || play.open;
            read.localhost |= of.localhost;
            read.names.extend(of.names.iter().cloned());
            let lead = play.hostvars_lead(&this.inventory);
            this.share |= play.open || !play.hostvars_tasks(&lead).is_empty();
        }
        this.localhost = read.localhost;
        this.names = (!read.all).then(|| read.names.into_iter().collect());
        this
    }

    /// A play begins.
    pub fn begin(&mut self, play: &PlaySource) {
        self.lead = play.hostvars_lead(&self.inventory);
        self.meets = play.hostvars_tasks(&self.lead);
    }

    /// What a host tells of itself.
    pub fn hear(&mut self, host: &str, vars: Map<String, Json>) {
        self.now += 1;
        let message = ToAgent::Known { host: host.to_owned(), vars };
        let frame = encode(&message).map(Into::into).map_err(|e| format!("the variables of {host}: {e}"));
        self.views.insert(host.to_owned(), (self.now, frame));
    }

    /// A host told the controller something else.
    pub fn forget(&mut self, host: &str) {
        self.views.remove(host);
    }

    /// What is new to the host of this connection about others, a message a host.
    pub fn news(
        &mut self,
        index: usize,
        own: &str,
        inventory: &Inventory,
        extra: &Vars,
        shared: &HashMap<String, Map<String, Json>>,
    ) -> Vec<Frame> {
        let mut hosts = inventory.hosts();
        if !hosts.iter().any(|h| h == "localhost") && (self.localhost || shared.contains_key("localhost")) {
            hosts.push("localhost".into());
        }
        for host in &hosts {
            if !self.views.contains_key(host) {
                let vars = view(inventory, extra, host, shared.get(host), self.names.as_deref());
                self.hear(host, vars);
            }
        }
        let heard = self.heard.insert(index, self.now).unwrap_or(0);
        let new = |host: &String| self.views.get(host).filter(|(when, _)| *when > heard && host != own).map(|(_, frame)| frame.clone());
        hosts.iter().filter_map(new).collect()
    }
}

/// Looks through a variable; whether it mentions `hostvars`.
fn see(node: &Node, read: &mut Read) -> bool {
    match &node.value {
        Value::Str(text) if text.contains("hostvars") && !node.is_unsafe() => {
            read.see(text);
            true
        }
        Value::Seq(items) => items.iter().filter(|n| see(n, read)).count() > 0,
        Value::Map(map) => map.iter().filter(|(_, n)| see(n, read)).count() > 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn what_many_hear_is_made_once_a_host() {
        let inventory = Inventory::load(&["a,b,c,".to_owned()], None).unwrap();
        let mut hostvars = Hostvars { names: Some(vec![]), ..Hostvars::default() };
        hostvars.hear("a", Map::from_iter([("big".to_owned(), Json::from("x".repeat(1000)))]));
        let mut news = |index, own| -> Vec<Arc<[u8]>> {
            let news = hostvars.news(index, own, &inventory, &Vars::default(), &HashMap::new());
            news.into_iter().map(Result::unwrap).collect()
        };
        let (of_b, of_c) = (news(1, "b"), news(2, "c"));
        assert_eq!((of_b.len(), of_c.len()), (2, 2), "a frame for each of the others");
        assert!(Arc::ptr_eq(&of_b[0], &of_c[0]) && of_b[0].len() > 1000);
        assert!(news(1, "b").is_empty(), "nothing is new");
    }

    #[test]
    fn variables_that_are_too_many_for_a_message_are_named() {
        let mut hostvars = Hostvars::default();
        hostvars.hear("a", Map::from_iter([("big".to_owned(), Json::from("x".repeat(65 << 20)))]));
        let told = hostvars.views["a"].1.clone().unwrap_err();
        assert_eq!(told, "the variables of a: a message of 68157480 bytes is over the limit of 67108864");
    }
}
