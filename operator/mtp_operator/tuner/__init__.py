"""Which n to measure next, when to stop, and the verdict: pure functions of the arms measured so far.

Nothing is imported here: the bench needs one rule of this room, and does not wait for NumPy.
"""
