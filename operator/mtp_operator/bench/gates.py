"""What disqualifies an arm although it was measured."""

from collections.abc import Iterable
from typing import Final

from mtp_operator.api.trial import TrialFailure

from .load import LevelRun

FAILED_REQUESTS_LIMIT: Final = 0.01
"""Share of requests that may fail."""


def disqualification(n_spec: int, runs: Iterable[LevelRun]) -> TrialFailure | None:
    """The first reason against believing the throughput of this arm, if there is one."""
    for run in runs:
        failure = _failed_requests(run) or (_no_speculation(n_spec, run) if n_spec > 0 else None)
        if failure is not None:
            return failure
    return None


def _failed_requests(run: LevelRun) -> TrialFailure | None:
    failed = len(run.failures)
    if failed <= FAILED_REQUESTS_LIMIT * run.requests:
        return None
    message = (
        f"{failed} of {run.requests} requests failed at concurrency {run.concurrency}; the first: {run.failures[0]}"
    )
    return TrialFailure(reason="RequestsFailed", message=message)


def _no_speculation(n_spec: int, run: LevelRun) -> TrialFailure | None:
    if run.counters is not None and run.counters.drafts > 0:
        return None
    counted = "shows no counters of drafts" if run.counters is None else "counted no draft"
    message = (
        f"the engine was started with {n_spec} draft tokens per step, but {counted} during {run.requests} requests at "
        f"concurrency {run.concurrency}: the drafter is not loaded, or the counters are turned off"
    )
    return TrialFailure(reason="SpeculationNotEngaged", message=message)
