"""The decision: what is observed of one model, its runs and their Jobs, becomes a plan. Pure: no I/O, no clock."""
