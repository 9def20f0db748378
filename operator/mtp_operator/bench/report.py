"""From what a measurement brought to the result document."""

from collections.abc import Sequence

from mtp_operator.api.base import MAX_N_SPEC, MAX_WINDOWS
from mtp_operator.api.spec import Maximize
from mtp_operator.api.trial_documents import LevelResult, OutputCheck, TrialFailure, TrialResult

from .gates import disqualification, doubt, warnings
from .load import LevelRun
from .summary import categories, interactivity, latencies, limit_counts


def trial_result(
    n_spec: int,
    runs: Sequence[LevelRun],
    failure: TrialFailure | None,
    prompts_sha256: str | None = None,
    maximize: Maximize = Maximize.OUTPUT_THROUGHPUT,
    check: OutputCheck | None = None,
    *,
    candidate: str | None = None,
    ready_seconds: float | None = None,
    drafts_every_step: bool | None = True,
) -> TrialResult:
    """What was seen, as it is reported."""
    return TrialResult(
        candidate=candidate,
        n_spec=n_spec,
        ready_seconds=ready_seconds,
        levels=tuple(level_result(run, maximize) for run in runs),
        failure=failure,
        doubt=doubt(n_spec, runs),
        warnings=warnings(n_spec, runs, drafts_every_step=drafts_every_step),
        prompts_sha256=prompts_sha256,
        output_check=check,
    )


def result_by_hand(n_spec: int | None, runs: Sequence[LevelRun], prompts_sha256: str | None) -> TrialResult:
    """The same for a server that somebody else has started, with the gates of a trial.

    Args:
        n_spec: what it was started with; None: as many positions as it has counted, which proves nothing where it
            counts none.
        runs: of the levels.
        prompts_sha256: of the prompts, where they are the user's own.
    """
    if n_spec is None:
        counted = [run.counters.drafting for run in runs if run.counters and run.counters.drafting]
        n_spec = min(MAX_N_SPEC, max((len(one.accepted_per_position) for one in counted), default=0))
    failure = disqualification(n_spec, runs, drafts_every_step=None)
    return trial_result(n_spec, runs, failure, prompts_sha256, drafts_every_step=None)


def level_result(run: LevelRun, maximize: Maximize) -> LevelResult:
    """One level, as it is reported."""
    drafting = run.counters.drafting if run.counters else None
    answers = run.warm_answers
    return LevelResult(
        concurrency=run.concurrency,
        windows=run.windows,
        interactivity=_interactivity(run) if maximize is Maximize.INTERACTIVITY else None,
        requests=run.requests,
        failed_requests=len(run.failures),
        ended_by_eos=sum(one.finish_reason != "length" for one in run.completions),
        output_tokens=run.output_tokens,
        drafts=drafting.drafts if drafting else None,
        draft_tokens=drafting.draft_tokens if drafting else None,
        accepted_tokens=drafting.accepted_tokens if drafting else None,
        accepted_per_position=drafting.accepted_per_position[:MAX_N_SPEC] if drafting else (),
        categories=categories(answers),
        latencies=latencies(answers, run.tokens_per_step) if answers else None,
        limits=limit_counts(answers, run.limits, run.tokens_per_step),
        client_cpu_share=run.client_cpu_seconds / run.seconds if run.seconds else None,
    )


def _interactivity(run: LevelRun) -> tuple[float, ...] | None:
    return interactivity(run.warm[-MAX_WINDOWS:], run.tokens_per_step) or None
