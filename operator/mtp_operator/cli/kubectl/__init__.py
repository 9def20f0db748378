"""`kubectl mtp`: the state of models and runs in a cluster, in a terminal."""
