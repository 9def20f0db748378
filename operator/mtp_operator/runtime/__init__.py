"""Everything that talks to the cluster: watches, cache, work queue, Lease, writes and the report of health."""
