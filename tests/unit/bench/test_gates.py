"""What disqualifies an arm that was measured."""

import pytest

from mtp_operator.bench.client import Completion
from mtp_operator.bench.counters import Counters
from mtp_operator.bench.gates import disqualification
from mtp_operator.bench.load import LevelRun


def level(failed: int = 0, drafts: int | None = None) -> LevelRun:
    return LevelRun(
        concurrency=1,
        windows=(100.0,) * 4,
        completions=[Completion(output_tokens=128, seconds=1.0, finish_reason="length")] * (100 - failed),
        failures=["HTTP 500: broken"] * failed,
        counters=None if drafts is None else Counters(drafts, 2 * drafts, drafts, (drafts,)),
    )


@pytest.mark.parametrize(
    ("n_spec", "levels", "reason", "words"),
    [
        (0, [level()], None, ""),
        (0, [level(failed=1)], None, ""),
        (
            0,
            [level(failed=2)],
            "RequestsFailed",
            "2 of 100 requests failed at concurrency 1; the first: HTTP 500: broken",
        ),
        (3, [level(drafts=50)], None, ""),
        (3, [level(drafts=0)], "SpeculationNotEngaged", "started with 3 draft tokens per step, but counted no draft"),
        (3, [level()], "SpeculationNotEngaged", "shows no counters of drafts"),
        (3, [level(drafts=50), level(drafts=0)], "SpeculationNotEngaged", "counted no draft"),
    ],
)
def test_gates(n_spec: int, levels: list[LevelRun], reason: str | None, words: str) -> None:
    failure = disqualification(n_spec, levels)

    assert (failure.reason if failure else None) == reason
    assert words in (failure.message if failure else "")
