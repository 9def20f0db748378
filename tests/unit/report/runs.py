"""Runs to report, made by the operator's own decisions on engines that are tables of speeds."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from mtp_operator.api.base import API_VERSION
from mtp_operator.api.spec import LatencyMetric
from mtp_operator.api.trial_documents import (
    Divergence,
    Latencies,
    LatencySummary,
    LevelResult,
    LimitCount,
    OutputCheck,
    OutputStatus,
    StructuredOutput,
    TrialFailure,
    TrialResult,
    TrialWarning,
)
from tests.unit.reconcile.world import World, model_body

Body = dict[str, Any]

HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)> | `@team` **{{ 7 * 7 }}** [x](http://h)\x1b[31m"
)
LIMIT_MS = 250
CURVES = {
    1: {0: 49.3, 1: 79.0, 2: 103.0, 3: 123.0, 4: 126.0, 5: 120.0, 6: 112.0, 7: 104.0, 8: 96.0},
    8: {0: 310.0, 1: 395.0, 2: 430.0, 3: 441.0, 4: 420.0, 5: 388.0, 6: 350.0, 7: 320.0, 8: 290.0},
}
CATEGORIES = {"Chat": 0.82, "Code": 1.24, "JSON": 1.12, "Summarize": 0.91}


def selected() -> Body:
    """One level, one winner."""
    world = World()
    world.finish()
    return of(world)


def levels(text: str = "n = ") -> Body:
    """Two levels, limits, everything that a trial can tell, a trial that failed and one that is not to be trusted.

    Args:
        text: what the output of the engine has in it.
    """
    constraints = [
        {"metric": "P95TimeToFirstToken", "concurrency": 8, "maxMilliseconds": LIMIT_MS},
        {"metric": "P99RequestLatency", "concurrency": 8, "maxMilliseconds": 60_000},
    ]
    tuning = {
        "maxNSpec": 8,
        "workload": {"levels": [{"concurrency": 1, "weight": 2}, {"concurrency": 8, "weight": 1}]},
        "objective": {"constraints": constraints},
    }
    engine = {"type": "VLLM", "env": [{"name": "NCCL_P2P_DISABLE", "value": "hidden-value"}]}
    world = World(model_body("qwen", tuning=tuning, engine=engine))
    _play(world, lambda n_spec: rich_result(n_spec, text))
    return of(world)


def off() -> Body:
    """Speculation only costs."""
    world = World()
    world.finish({n_spec: 57.0 - 3 * n_spec for n_spec in range(9)})
    return of(world)


def inconclusive() -> Body:
    """A gain too small for so few trials."""
    world = World(model_body(tuning={"maxNSpec": 4, "budget": {"maxTrials": 3}}))
    world.finish({n_spec: 57.0 + 0.9 * n_spec for n_spec in range(9)})
    return of(world)


def failed() -> Body:
    """The engine does not start."""
    world = World()
    _play(world, lambda n_spec: TrialResult(n_spec=n_spec, failure=TrialFailure(reason="EngineFailed", message="no")))
    return of(world)


def going_on() -> Body:
    """Two trials are measured, the third is running."""
    world = World()
    for _ in range(2):
        world.settle()
        world.run_trial()
    world.settle()
    world.start_pod(world.open_job())
    world.settle()
    return of(world)


RUNS: Mapping[str, Callable[[], Body]] = {
    "selected": selected,
    "levels": levels,
    "off": off,
    "inconclusive": inconclusive,
    "failed": failed,
    "going-on": going_on,
}


def of(world: World) -> Body:
    """The only run of the world, as kubectl would show it."""
    return {"apiVersion": API_VERSION, "kind": "MTPTuningRun", **world.run()}


def _play(world: World, result: Callable[[int], TrialResult]) -> None:
    world.settle()
    while any(not job["status"].get("conditions") for job in world.jobs.values()):
        job = world.open_job()
        pod = world.start_pod(job)
        world.settle()
        world.tick(400)
        told = result(int(job["metadata"]["labels"]["mtp-operator.dev/n-spec"]))
        world.end_bench(pod, 0, told.encode())
        world.settle()


def rich_result(n_spec: int, text: str = "n = ") -> TrialResult:
    """What a trial leaves that can tell everything; the largest n_spec runs out of memory."""
    if n_spec == 8:
        return TrialResult(n_spec=n_spec, failure=TrialFailure(reason="EngineFailed", message=f"out of memory {text}"))
    chance = random.Random(n_spec)
    return TrialResult(
        n_spec=n_spec,
        levels=tuple(_level(n_spec, concurrency, chance) for concurrency in CURVES),
        warnings=(TrialWarning(reason="Retried", message=f"1 of 64 requests {text}"),) if n_spec == 4 else (),
        output_check=OutputCheck(
            status=OutputStatus.SCORED,
            positions=512,
            tolerance_nats=0.5,
            violations=60 if n_spec == 5 else 2,
            worst_gap_nats=1.25,
            texts=16,
            first_divergence=Divergence(position=37, context=f"return {text}", expected="1", actual="2"),
            json_schema=StructuredOutput.PASSED,
            tool_call=StructuredOutput.NOT_CHECKED,
        ),
    )


def _level(n_spec: int, concurrency: int, chance: random.Random) -> LevelResult:
    speed = CURVES[concurrency][n_spec]
    drafts = 2000
    accepted = tuple(round(drafts * 0.9 * 0.83**index) for index in range(n_spec))
    counters: dict[str, Any] = {
        "drafts": drafts,
        "draft_tokens": drafts * n_spec,
        "accepted_tokens": sum(accepted),
        "accepted_per_position": accepted,
    }
    step = 1000 / speed * concurrency
    first = 180.0 + 9 * n_spec if concurrency > 1 else 60.0 + n_spec
    counts = ((LatencyMetric.P95_TTFT, LIMIT_MS, 4 * n_spec), (LatencyMetric.P99_REQUEST_LATENCY, 60_000, 0))
    return LevelResult(
        concurrency=concurrency,
        windows=tuple(speed * chance.gauss(1, 0.008) for _ in range(6)),
        requests=120,
        ended_by_eos=20,
        output_tokens=48_000,
        categories={name: speed / concurrency * factor for name, factor in CATEGORIES.items()},
        latencies=Latencies(
            time_to_first_token=_summary(first),
            time_per_output_token=_summary(step),
            request_latency=_summary(first + 400 * step),
        ),
        limits=tuple(
            LimitCount(metric=metric, max_milliseconds=limit, requests=320, exceeding=exceeding)
            for metric, limit, exceeding in counts
        )
        if concurrency == 8
        else (),
        **(counters if n_spec else {}),
    )


def _summary(typical: float) -> LatencySummary:
    return LatencySummary(mean=typical * 1.02, p50=typical, p95=typical * 1.2, p99=typical * 1.35)
