//! The cluster spec (`cluster.yml`) and the Kubernetes objects it becomes. Pure: asks no host and no API server.

mod check;
mod forms;
mod guarded;
mod object;
mod objects;
mod open;
mod passed;
pub mod propose;
mod read;
mod reference;
mod resolve;
mod spec;
mod table;
mod text;
mod value;

pub use check::check_together;
pub use forms::amount;
pub use object::Object;
pub use objects::{OF_NAMESPACE, RESTART, TargetSet, state_claim_name};
pub use open::{Opened, open, open_as_it_was};
pub use read::{load, read, schema, with_defaults};
pub use reference::reference;
pub use resolve::{LabelledNodes, NodeInfo, Nodes, Resolved, Role, hosts_of_nodes, node_name, node_name_with};
pub use spec::*;
pub use text::{document, to_yaml};
pub use value::At;
