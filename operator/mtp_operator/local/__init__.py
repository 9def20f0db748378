"""A tuning on this machine, without a cluster: the operator's own decisions, carried out with processes."""
