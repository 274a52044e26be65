//! A Kubernetes cluster: finding it, applying objects, labels and taints, rollouts, status.
//!
//! Objects travel as JSON; what is asked of the API server is in `server`, how it is found in `config`.

mod apply;
mod compare;
mod config;
pub mod delete;
pub mod deploy;
mod error;
mod info;
mod kinds;
pub mod kubelet;
mod labels;
mod leave;
pub mod members;
mod namespace;
pub mod neighbours;
pub mod pods;
mod primary;
mod progress;
mod rebalance;
mod rollout;
mod running;
mod server;
mod settings;
mod shrink;
pub mod status;
mod taints;
mod token;
mod unwanted;
pub mod wait;
mod warnings;

pub use apply::{Applied, MANAGER, Options, Outcome, apply};
pub use compare::{covers, difference};
pub use config::{Access, connect, connect_from_host, connect_moved};
pub use error::{Cause, KubeError};
pub use info::{Info, PodSet, Role};
pub use kinds::{KINDS, Kind, kind};
pub use labels::{LabelChange, LabelPlan, plan_labels, set_labels};
pub use leave::Leave;
pub use progress::{Progress, Quiet};
pub use server::{Patch, Server};
pub use settings::Setting;
pub use taints::{Taint, TaintChange, plan_taints, set_taints};
pub use token::Token;
pub use warnings::Warnings;
