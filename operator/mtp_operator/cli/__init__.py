"""The `mtp` command."""
