"""Sandboxes as pods of a Kubernetes cluster, by the resources of kubernetes-sigs/agent-sandbox (`v1beta1`).

A sandbox is a `SandboxClaim` on a `SandboxWarmPool`, whose `SandboxTemplate` says what its pod is: image, RuntimeClass,
limits, network. The pod has two containers of one image that share the workspace, `sandbox` and `reader`, of which the
second cannot write it. The server runs in one of them by a held exec, and everything goes in and out through that: nothing
of the repository has to be on the cluster before. `deploy/kubernetes` has the resources.
"""
