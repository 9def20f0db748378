"""The program in the bench container of a trial: load, counters, gates, result."""
