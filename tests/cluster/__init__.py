"""A real Kubernetes cluster of one node on this machine: real control plane, kubelet and container runtime.

`python -m tests.cluster --help` lists its commands; `up.ensure_cluster()` is the entry for tests.
"""
