//! Mountpaths, state, logs.

use crate::cluster::forms::{AbsPath, Image, Name, NodeName, ObjectName, PodShare, Scalar, Size};
use crate::cluster::table::{empty, optional, or, required, section};
use crate::cluster::value::{At, words};
use indexmap::IndexMap;

use super::Resources;

section! {
    /// A PersistentVolumeClaim for a mountpath, in place of a directory of the host.
    pub struct Claim {
        /// Its size, as a whole number: fractions are rounded up, and a claim larger than its disk is never bound.
        pub size: At<Size> = required(),
        /// Its StorageClass; with `local_volumes` that one's unless given, else the cluster's default.
        pub storage_class: Option<At<ObjectName>> = optional(),
        /// Labels of the volumes it may bind. With `local_volumes` fettle sets them.
        pub selector: IndexMap<String, At<Scalar>> = empty(),
    }
}

section! {
    /// One filesystem that holds objects.
    pub struct Mountpath {
        /// Where it is mounted, on the host and in the pod. Objects go below PATH/NAMESPACE/NAME/target, so that several clusters and
        /// other files can stand side by side.
        pub path: At<AbsPath> = required(),
        /// A label for AIStore: names a group of mountpaths, and lets several share a filesystem or have no disk that AIStore can find.
        pub label: Scalar = or(""),
        /// A PersistentVolumeClaim in place of the host's directory.
        pub claim: Option<Claim> = optional(),
    }
}

section! {
    /// Nodes whose mountpaths differ.
    pub struct Exception {
        /// What these nodes are called, in objects' names: NAME-target-EXCEPTION.
        pub name: At<Name> = required(),
        /// The nodes; all must be targets.
        pub nodes: Vec<At<NodeName>> = required(),
        /// Their mountpaths, in place of the common ones.
        pub mountpaths: Vec<Mountpath> = required(),
    }
}

section! {
    /// PersistentVolumes of disks that are mounted on the nodes already: `local` volumes, bound to their node, kept when released.
    pub struct LocalVolumes {
        /// The StorageClass to make for them (no provisioner, WaitForFirstConsumer, Retain).
        pub storage_class: At<ObjectName> = required(),
    }
}

words! {
    /// What happens to a claim.
    pub enum Retention {
        /// It stays.
        Retain = "Retain",
        /// It goes.
        Delete = "Delete",
    }
}

section! {
    /// Whether claims go when pods do.
    pub struct ClaimRetention {
        /// When the StatefulSet is deleted.
        pub when_deleted: Retention = or(Retention::Retain),
        /// When there are fewer pods than before.
        pub when_scaled: Retention = or(Retention::Retain),
    }
}

section! {
    /// A PodDisruptionBudget for targets.
    pub struct Disruption {
        /// How many targets may be away because somebody wants it so.
        pub max_unavailable: PodShare = or("0"),
    }
}

section! {
    /// State in a directory of the host.
    pub struct HostPath {
        /// The directory; the state goes below PREFIX/NAMESPACE/NAME/ROLE.
        pub prefix: At<AbsPath> = or("/etc/ais"),
    }
}

section! {
    /// State in a PersistentVolumeClaim for each pod.
    pub struct StateClaim {
        /// Its StorageClass; the cluster's default unless given.
        pub storage_class: Option<ObjectName> = optional(),
        /// Its size.
        pub size: Size = or("1Gi"),
    }
}

section! {
    /// State that goes with the pod.
    pub struct EmptyDir {}
}

section! {
    /// Where nodes keep the cluster's metadata (/etc/ais): one of `host_path`, `claim`, `empty_dir`; `host_path` unless given.
    pub struct State {
        /// A directory of the host.
        pub host_path: Option<HostPath> = optional(),
        /// A PersistentVolumeClaim for each pod.
        pub claim: Option<StateClaim> = optional(),
        /// Nothing that stays (`{}`): a pod that restarts on its node is a new member. AIStore 5.0 or later; targets find their identity
        /// again on their mountpaths.
        pub empty_dir: Option<EmptyDir> = optional(),
    }
}

section! {
    /// The container that follows the log files, so that `kubectl logs` shows them.
    pub struct Sidecar {
        /// Its image, such as docker.io/aistorage/ais-logs:v1.2.
        pub image: Image = required(),
        /// Its resources.
        pub resources: Resources = crate::cluster::table::defaults(),
    }
}

section! {
    /// Where nodes write their logs, and who reads them.
    pub struct Logs {
        /// A directory of the host; logs go below DIRECTORY/NAMESPACE/NAME/ROLE. Without it they go with the pod.
        pub directory: Option<At<AbsPath>> = optional(),
        /// A container that follows the log files.
        pub sidecar: Option<Sidecar> = optional(),
    }
}
