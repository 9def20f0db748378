"""The two kinds of `mtp-operator.dev/v1alpha1` as pydantic models, and the documents that a trial exchanges."""
