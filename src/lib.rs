//! fettle prepares and tunes Linux hosts for AIStore on Kubernetes.
//!
//! The rooms, from the top down. Imports run downwards in this list only; a test keeps it so.
//!
//! | room | what it is for |
//! |---|---|
//! | `cli` | a file a subcommand: reads arguments, calls, prints |
//! | `lab` | throw-away test hosts on this machine |
//! | `controller` | one run across many hosts: batches, stops, results |
//! | `report` | terminal, plain lines, JSON |
//! | `kube` | a Kubernetes cluster: finding it, applying objects, labels and taints, rollouts, status |
//! | `cluster` | the cluster spec, and the Kubernetes objects it becomes |
//! | `transport` | SSH, local; privilege; putting the agent in place |
//! | `playbook` | YAML to typed plays: roles, includes, tags, checks before any host is touched |
//! | `inventory` | hosts, groups, variables, patterns (INI, YAML) |
//! | `agent` | the loop on the host: evaluates, plans, acts, reports |
//! | `protocol` | the messages between controller and agent, and their framing |
//! | `modules` | one planner a file |
//! | `template` | Jinja: environment, filters, tests, lookups |
//! | `play` | a play as it travels to a host |
//! | `host` | the host as seen (real, overlay), changes, journal, facts |
//! | `yaml` | a YAML tree that knows where everything stands |
//! | `diag` | places in files, and errors that name them |
//! | `out` | printing that does not break a run where nobody reads |
//!
//! `cli`, `lab`, `controller`, `report`, `kube`, `cluster`, `transport`, `playbook`, `inventory` and `out` are the
//! controller's; the agent is built without them (feature `controller` off), so it links no SSH, no TLS and no command line.

// Only `host` touches a host (clippy.toml names the methods); tests may.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

// First, for its macros stand in the place of the standard library's below.
#[cfg(feature = "controller")]
#[macro_use]
pub mod out;

#[cfg(feature = "controller")]
#[allow(clippy::disallowed_methods, reason = "writes what the operator asks for on their own machine")]
pub mod cli;
#[cfg(feature = "controller")]
pub mod cluster;
#[cfg(feature = "controller")]
pub mod controller;
#[cfg(feature = "controller")]
pub mod inventory;
#[cfg(feature = "controller")]
pub mod kube;
#[cfg(feature = "controller")]
pub mod lab;
#[cfg(feature = "controller")]
pub mod playbook;
#[cfg(feature = "controller")]
pub mod report;
#[cfg(feature = "controller")]
#[allow(clippy::disallowed_methods, reason = "starts the local agent and the system's ssh, and keeps known_hosts")]
pub mod transport;

pub mod agent;
pub mod diag;
#[cfg_attr(not(test), expect(clippy::disallowed_methods, reason = "the one room that touches a host"))]
pub mod host;
pub mod modules;
pub mod play;
pub mod protocol;
pub mod template;
pub mod yaml;
