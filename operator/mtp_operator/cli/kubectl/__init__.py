"""`kubectl mtp`: what stands in the cluster about models, seen and understood from a terminal."""
