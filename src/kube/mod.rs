//! A Kubernetes cluster: finding it, applying objects, labels and taints, rollouts, status.
