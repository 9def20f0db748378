"""A real engine with one planted fault, to prove that the fault is found.

`python -m tests.faulty_engine ARGUMENTS…` starts the engine that is on PATH on another port, answers on the one that it
was told instead, and hands everything through. `--plant=NAME:N` among the arguments plants one of `faults.FAULTS`
in the boots with N draft tokens per step, and may be there once for each N; other boots are left alone, and the engine
never sees the flag.

* `command`: what the arguments say;
* `faults`: the faults, each a small class that changes one thing;
* `proxy`: requests and answers, streams included;
* `__main__`: the program.

The standard library alone, so that it runs beside any engine in any image that has Python 3.11.
"""
