//! Modules that work on the Kubernetes cluster: hosts evaluate their arguments and conditions, the controller, which has the
//! operator's kubeconfig, carries them out.

use super::{Arg, Args, Context, FreeForm, Kind, Module, Plan, PlanError};

const STATE: &[&str] = &["present", "absent"];
const KUBECONFIG: Arg = Arg::new("kubeconfig", Kind::Str, "kubeconfig on the workstation; otherwise $KUBECONFIG, then ~/.kube/config");
const CONTEXT: Arg = Arg::new("context", Kind::Str, "its context; otherwise its current one");
const NODE: Arg = Arg::new("name", Kind::Str, "the node; a host that is not the workstation itself can only name its own")
    .default("the host's `kube_override_hostname`, `node_name`, or its name in the inventory")
    .alias(&["node"]);

/// `k8s_node_label`.
pub const NODE_LABEL: Module = Module {
    name: "k8s_node_label",
    collections: &["fettle"],
    aliases: &[],
    doc: "Sets or removes labels of a Kubernetes node. Labels that others own are not taken from them unless `overwrite` says so.",
    args: &[
        NODE,
        Arg::new("labels", Kind::Dict, "the labels; with `state: absent` their values don't matter").required(),
        Arg::new("state", Kind::Choice(STATE), "there or not").default("present"),
        Arg::new("overwrite", Kind::Bool, "change labels that have another value").default("no"),
        KUBECONFIG,
        CONTEXT,
    ],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

/// `k8s_taint`.
pub const TAINT: Module = Module {
    name: "k8s_taint",
    collections: &["fettle", "kubernetes.core"],
    aliases: &[],
    doc: "Sets or removes taints of a Kubernetes node. Other taints stay.",
    args: &[
        NODE,
        Arg::new("taints", Kind::List, "mappings with `key`, `effect` (NoSchedule, PreferNoSchedule, NoExecute) and perhaps `value`; with `state: absent` the key is enough")
            .required(),
        Arg::new("state", Kind::Choice(STATE), "there or not").default("present"),
        KUBECONFIG,
        CONTEXT,
    ],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

/// `aisnode`.
pub const AISNODE: Module = Module {
    name: "aisnode",
    collections: &["fettle"],
    aliases: &[],
    doc: "Brings an AIStore cluster to its spec, as `fettle deploy` does, and waits until it is complete; or takes it away, as \
          `fettle delete` does, and leaves its state and what users stored. \
          For the workstation itself: `hosts: localhost`, `connection: local`.",
    args: &[
        Arg::new("cluster", Kind::Str, "path of the cluster spec, from the working folder").required().alias(&["spec"]),
        Arg::new("state", Kind::Choice(STATE), "there or not; with `absent` claims, volumes, folders of hosts and the namespace stay")
            .default("present"),
        Arg::new("inventory", Kind::StrList, "inventories, for specs that name groups"),
        Arg::new("timeout", Kind::Int, "seconds to wait for the cluster; 0: don't wait").default("600"),
        Arg::new("force_conflicts", Kind::Bool, "take fields over from other managers").default("no"),
        Arg::new("recreate", Kind::Bool, "replace what can't be changed in place").default("no"),
        Arg::new("any_release", Kind::Bool, "deploy a release that AIStore does not go to from the one that runs").default("no"),
        Arg::new("token_file", Kind::Str, "AIStore token of an administrator; otherwise $AIS_AUTHN_TOKEN, $AIS_AUTHN_TOKEN_FILE"),
        KUBECONFIG,
        CONTEXT,
    ],
    free_form: FreeForm::No,
    any_args: false,
    plan,
};

/// Names of the modules the controller carries out.
pub const ON_CONTROLLER: &[&str] = &[NODE_LABEL.name, TAINT.name, AISNODE.name];

fn plan(_: &Args, _: &Context<'_>) -> Result<Plan, PlanError> {
    Err(PlanError::failed("this module runs on the controller, and was run on the host"))
}
