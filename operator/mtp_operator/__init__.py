"""A Kubernetes operator that finds n_spec for models served with Multi-Token Prediction by measuring it."""
