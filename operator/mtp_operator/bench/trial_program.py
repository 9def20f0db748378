"""The bench container's program: one trial from the engine's start to the termination message."""

import asyncio
import json
import signal
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import aiohttp
from pydantic import ValidationError

from mtp_operator.api.base import first_problem
from mtp_operator.api.conditions import printable
from mtp_operator.api.trial_documents import (
    IMPLAUSIBLE,
    MODEL_MISSING,
    OUTPUT_CHECK_SECONDS,
    PROMPTS_UNUSABLE,
    TOO_SLOW,
    OutputCheck,
    TrialFailure,
    TrialPlan,
    TrialResult,
)
from mtp_operator.engines import engine_for, root_cause_lines

from .engine_client import EngineClient, MetricsError, open_session
from .gates import disqualification
from .load import EngineGoneError, EngineHungError, LevelRun, TooSlowError, planned_levels
from .measure import Findings, measure
from .output_checker import OutputChecker
from .prompts import PromptMix, PromptsUnusableError, planned_mix
from .readiness import NotReadyError, model_problem
from .report import trial_result

TERMINATION_LOG: Final = Path("/dev/termination-log")

LOG_EXCERPT_BYTES: Final = 1 << 20
"""Read of an engine's log at each end: the cause is near the first error, the rest near the end."""

LOG_SETTLING_SECONDS: Final = 1.0
"""What an engine that is just ending may still write."""

_MESSAGE_LIMIT: Final = 1000


class TrialError(Exception):
    """The trial has no result that counts; `failure` says why."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.failure = TrialFailure(reason=reason, message=plain(message))


def main(plan: TrialPlan, termination_log: Path = TERMINATION_LOG) -> int:
    """Carry out one trial, leave its result in the termination message, print the full record as one line of JSON.

    Args:
        plan: what to do.
        termination_log: the file whose content kubelet makes the container's termination message.

    Returns:
        The exit status: 0 if there is a result that counts, a disqualified trial's included; else 1.
    """
    findings = Findings()
    prompts_sha256 = None
    check = None
    try:
        mix = planned_mix(plan.prompts, plan.seed)
        prompts_sha256 = mix.sha256
        failure, check, status = asyncio.run(_outcome(plan, mix, findings))
    except PromptsUnusableError as error:
        failure, status = TrialFailure(reason=PROMPTS_UNUSABLE, message=plain(str(error))), 1
    try:
        result = trial_result(
            plan.n_spec,
            findings.runs,
            failure,
            prompts_sha256,
            plan.maximize,
            check,
            candidate=plan.candidate,
            ready_seconds=findings.ready_seconds,
            drafts_every_step=plan.drafts_every_step,
        )
    except ValidationError as error:
        message = plain(f"the engine's figures cannot be those of any server: {first_problem(error)}")
        failure, status = TrialFailure(reason=IMPLAUSIBLE, message=message), 0
        result = TrialResult(
            candidate=plan.candidate, n_spec=plan.n_spec, failure=failure, prompts_sha256=prompts_sha256
        )
    termination_log.write_text(result.encode())
    print(json.dumps(_record(plan, findings.runs, result)), flush=True)
    return status


async def _outcome(
    plan: TrialPlan, mix: PromptMix, findings: Findings
) -> tuple[TrialFailure | None, OutputCheck | None, int]:
    """What is against the levels that were measured, what was seen of the output, and the exit status."""
    trial = asyncio.ensure_future(_trial(plan, mix, findings))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, trial.cancel)
    try:
        check = await trial
    except TrialError as error:
        return error.failure, None, 1
    except asyncio.CancelledError:
        return await _interruption(plan), None, 1
    except Exception as error:  # a fault of the bench's own, or an engine that answers as nobody has foreseen
        traceback.print_exc()
        return TrialFailure(reason="BenchFailed", message=plain(f"{type(error).__name__}: {error}")), None, 1
    return _disqualification(plan, findings.runs), check, 0


def _disqualification(plan: TrialPlan, runs: list[LevelRun]) -> TrialFailure | None:
    return disqualification(plan.n_spec, runs, drafts_every_step=plan.drafts_every_step)


async def _trial(plan: TrialPlan, mix: PromptMix, findings: Findings) -> OutputCheck | None:
    """Fill in the levels that were measured; those before an abort stay.

    Returns:
        What was seen of the output; None where the trial is out already.

    Raises:
        TrialError: the trial cannot go on.
    """
    problem = model_problem(Path(plan.model_path)) if plan.model_path else None
    if problem is not None:
        raise TrialError(MODEL_MISSING, problem)
    async with open_session(plan.url) as session:
        client = EngineClient(session, engine_for(plan.engine), plan.served_name, plan.sampling)
        try:
            await measure(client, mix.probe, planned_levels(plan, mix), plan.ready_seconds, findings)
            return None if _disqualification(plan, findings.runs) else await _output_check(session, plan, mix)
        except NotReadyError as error:
            raise TrialError("NotReady", _explained(error, plan)) from error
        except TooSlowError as error:
            raise TrialError(TOO_SLOW, _explained(error, plan)) from error
        except EngineHungError as error:
            raise TrialError("EngineHung", _explained(error, plan)) from error
        except MetricsError as error:
            raise TrialError("MetricsUnreadable", _explained(error, plan)) from error
        except EngineGoneError as error:
            await asyncio.sleep(LOG_SETTLING_SECONDS)
            raise TrialError("EngineFailed", _explained(error, plan)) from error


async def _output_check(session: aiohttp.ClientSession, plan: TrialPlan, mix: PromptMix) -> OutputCheck:
    """After all timed levels: what happens to the engine here takes nothing from them."""
    checker = OutputChecker(session, engine_for(plan.engine), plan.served_name, plan.model_path, plan.seed)
    levels = [
        (level.concurrency, (prompt.messages for prompt in mix.level(index))) for index, level in enumerate(plan.levels)
    ]
    check = await checker.check(levels, plan.output_tokens, OUTPUT_CHECK_SECONDS)
    return check.model_copy(update={"message": check.message and plain(_explained(check.message, plan))})


async def _interruption(plan: TrialPlan) -> TrialFailure:
    """What to say when somebody ends the trial: why the engine died if it did, else that others know."""
    lines = root_cause_lines(_engine_log(plan))
    async with open_session(plan.url) as session:
        is_up = await EngineClient(session, engine_for(plan.engine), plan.served_name, plan.sampling).is_healthy()
    if lines and not is_up:
        return TrialFailure(reason="EngineFailed", message=plain(lines))
    return TrialFailure(reason="Interrupted", message="the trial was asked to stop")


def _engine_log(plan: TrialPlan) -> str:
    """Both ends of the engine's log; empty where it has none."""
    if plan.engine_log is None:
        return ""
    try:
        with Path(plan.engine_log).open("rb") as log:
            start = log.read(LOG_EXCERPT_BYTES)
            size = log.seek(0, 2)
            log.seek(max(len(start), size - LOG_EXCERPT_BYTES))
            return (start + log.read()).decode(errors="replace")
    except OSError:
        return ""


def _explained(seen: Exception | str, plan: TrialPlan) -> str:
    """What went wrong as the bench saw it, and what the engine says itself."""
    lines = root_cause_lines(_engine_log(plan))
    return f"{seen}. The engine says: {lines}" if lines else str(seen)


def plain(message: str) -> str:
    """One line of ASCII, bounded: what a termination message has room for."""
    return " ".join(printable(message).encode("ascii", "replace").decode().split())[:_MESSAGE_LIMIT]


def _record(plan: TrialPlan, runs: list[LevelRun], result: TrialResult) -> dict[str, Any]:
    """Everything that was seen, for the container's log."""
    return {
        "plan": plan.to_wire(),
        "result": result.to_wire(),
        "levels": [
            {
                "concurrency": run.concurrency,
                "seconds": round(run.seconds, 3),
                "passes": [{"outputTokens": one.output_tokens, "seconds": round(one.seconds, 3)} for one in run.passes],
                "warmUpPasses": len(run.passes) - len(run.warm),
                "requests": [
                    {
                        "category": one.category,
                        "outputTokens": one.output_tokens,
                        "seconds": round(one.seconds, 4),
                        "firstTokenSeconds": one.first_token_seconds and round(one.first_token_seconds, 4),
                    }
                    for one in run.completions
                ],
                "finishReasons": run.finish_reasons,
                "failures": [str(one) for one in run.failures],
                "counters": asdict(run.counters) if run.counters else None,
                "machine": asdict(run.machine),
            }
            for run in runs
        ],
    }
