//! The cluster spec (`cluster.yml`) and the Kubernetes objects it becomes. Pure: asks no host and no API server.

mod object;

pub use object::Object;
