//! Moving objects between targets: switching that on and off, and having it done after targets were restarted.
//!
//! While a target is away, what users write goes to others; while rebalancing is off, nothing brings it to its place when the target is
//! back, and switching it on begins nothing either (AIStore's `proxy.canRebalance` is asked when members change). So a rebalance is owed
//! from before the first restart until one was begun, and the ConfigMap notes that for runs that end in between.

use super::members::{self, Map};
use super::pods::pods;
use super::running::{OWED, note};
use super::shrink::later;
use super::{Info, KubeError, Progress, Role, Server};
use serde_json::{Value as Json, json};
use tokio::time::Instant;

/// Switches rebalancing on or off, if it is not so already.
pub async fn switch(server: &Server, info: &Info, map: &Map, on: bool, progress: &mut dyn Progress) -> Result<(), KubeError> {
    let pods = pods(server, info).await?;
    let now = members::config(server, info, map, &pods).await?;
    if now["rebalance"]["enabled"] == on {
        return Ok(());
    }
    members::set_config(server, info, map, &pods, &json!({"rebalance": {"enabled": on}})).await?;
    progress.line(&format!("rebalance: {}", if on { "on" } else { "off" }));
    Ok(())
}

/// Notes that targets are about to be restarted.
pub async fn owe(server: &Server, info: &Info) -> Result<(), KubeError> {
    note(server, info, OWED, &json!("true")).await
}

/// Whether one that is owed would be begun: the spec may want none, and a single target has nobody to move objects to.
pub fn is_due(info: &Info, owed: bool) -> bool {
    owed && info.rebalance && info.wanted(Role::Target) > 1
}

/// Begins the rebalance that is owed; does not wait for its end, which may take hours.
pub async fn pay(server: &Server, info: &Info, map: &Map, end: Instant, progress: &mut dyn Progress) -> Result<(), KubeError> {
    let pods = pods(server, info).await?;
    // Refused while one runs; that one may have begun before the last target was back.
    while let Err(e) = members::act(server, info, map, &pods, "start", &json!({"kind": "rebalance"})).await {
        later(e, "rebalance: not started yet", end, progress).await?;
    }
    note(server, info, OWED, &Json::Null).await?;
    progress.line("rebalance: started; objects written meanwhile move to their place");
    Ok(())
}
