"""Ways of drafting beside MTP heads, on the real engines: by drafters, by n-grams, by heads that stop when unsure.

How often each drafter is right is known beforehand. What it gains is the processor's affair, and no part of these
tests.
"""

from __future__ import annotations

import json
from itertools import accumulate, repeat
from typing import Any

import pytest
from tokenizers import Tokenizer

from tests.mtp_model import read_truth
from tests.mtp_model.drafters import BLOCK_SIZE, Drafter

from . import harness

OUTPUT_TOKENS = 96

DRAFTED_CLAIM = "drafted-model"


def repetitive_prompts(count: int = 4) -> str:
    """Prompts, in JSON Lines, that contain what the model will answer: n-grams find each token of it.

    Every prompt ends in the same token, from which the model walks the same stretch of its cycle.
    """
    folder = harness.small_model_folder()
    truth = read_truth(folder / "truth.json")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    start = tokenizer.encode("\n").ids[-1]
    walk = list(accumulate(repeat(start, OUTPUT_TOKENS + 1), lambda token, _: int(truth.next_token[token])))[1:]
    answer = tokenizer.decode(walk)
    return "".join(f"{json.dumps({'prompt': ' '.join([answer] * laps)})}\n" for laps in range(1, count + 1))


def tuned(namespace: str, sample: str, **changes: Any) -> dict[str, Any]:
    """The run of the demo's model with these changes, once it has a verdict that its measurements support."""
    document = harness.sample(sample, spec__serving={"replicas": 0}, **changes)
    harness.apply(document, namespace)
    model = harness.wait_for_condition(namespace, document["metadata"]["name"], "Ready", "True", "")
    run = harness.run_of(model)
    harness.assert_verdict_is_supported(model, run)
    return run


def tuned_by_prompts(namespace: str, sample: str, speculation: dict[str, Any], max_trials: int) -> dict[str, Any]:
    """The same, where the answers are in the prompts."""
    return tuned(
        namespace,
        sample,
        spec__speculation=speculation,
        spec__tuning__maxNSpec=3,
        spec__tuning__budget={"maxTrials": max_trials},
        spec__tuning__workload__prompts=harness.own_prompts(namespace, repetitive_prompts()),
        spec__tuning__workload__outputTokens=OUTPUT_TOKENS,
    )


def speculating(run: dict[str, Any]) -> list[dict[str, Any]]:
    """The level of each trial with n above 0; a trial without speculation drafts nothing."""
    trials = harness.measured_trials(run)
    assert not any(level.get("drafts") for trial in trials if trial["nSpec"] == 0 for level in trial["levels"])
    found = [level for trial in trials if trial["nSpec"] > 0 for level in trial["levels"]]
    assert found
    return found


@pytest.mark.parametrize(
    ("sample", "max_trials"),
    [("demo-llamacpp", 3), pytest.param("demo-vllm", 2, marks=pytest.mark.alone)],
    ids=["llamacpp", "vllm"],
)
def test_n_grams_are_measured_where_answers_repeat_the_prompt(namespace: str, sample: str, max_trials: int) -> None:
    run = tuned_by_prompts(namespace, sample, {"method": "NGram"}, max_trials)

    for level in speculating(run):
        # What was looked up is what the model says next.
        assert level["drafts"] > 0
        assert min(level["acceptedPerPosition"]) > 0.9 * level["drafts"]


def test_a_drafter_that_stops_when_unsure_is_tuned(namespace: str) -> None:
    run = tuned_by_prompts(namespace, "demo-llamacpp", {"method": "MTP", "llamaCpp": {"pMinMilli": 750}}, 3)

    for level in speculating(run):
        assert level["drafts"] > 0
        assert level["acceptedPerPosition"][0] > 0


@pytest.mark.parametrize(
    ("method", "drafter", "right"),
    [
        ("DraftModel", Drafter.DRAFT_MODEL, [True, True]),
        ("Eagle3", Drafter.EAGLE3, [True, True]),
        # It knows the first token of a block and repeats it.
        ("DFlash", Drafter.DFLASH, [True, False]),
        ("DSpark", Drafter.DSPARK, [True, True]),
    ],
    ids=["draft-model", "eagle3", "dflash", "dspark"],
)
def test_llamacpp_drafts_by(namespace: str, method: str, drafter: Drafter, right: list[bool]) -> None:
    drafts_by(namespace, "demo-llamacpp", method, ("model.gguf", f"{drafter}.gguf"), right)


@pytest.mark.alone
@pytest.mark.parametrize(
    ("method", "drafter", "right"),
    [
        ("Eagle", Drafter.EAGLE, [True, True]),
        ("Eagle3", Drafter.EAGLE3, [True, True]),
        ("DFlash", Drafter.DFLASH, [True, False]),
    ],
    ids=["eagle", "eagle3", "dflash"],
)
def test_vllm_drafts_by(namespace: str, method: str, drafter: Drafter, right: list[bool]) -> None:
    drafts_by(namespace, "demo-vllm", method, ("", f"drafters/{drafter}"), right)


def drafts_by(namespace: str, sample: str, method: str, paths: tuple[str, str], right: list[bool]) -> None:
    """Tunes with a drafter, of which it is known at which positions it is right; model and drafter are in one PVC."""
    harness.ensure_model_claim(namespace, DRAFTED_CLAIM, harness.drafted_model_folder())
    model, drafter = (f"pvc://{DRAFTED_CLAIM}/{path}".rstrip("/") for path in paths)
    speculation: dict[str, Any] = {"method": method, "drafter": {"uri": drafter}}
    if method in ("DFlash", "DSpark"):
        speculation["blockSize"] = BLOCK_SIZE

    run = tuned(
        namespace,
        sample,
        spec__model__uri=model,
        spec__speculation=speculation,
        spec__tuning__maxNSpec=2,
        spec__tuning__budget={"maxTrials": 2},
    )

    for level in speculating(run):
        shares = [accepted / level["drafts"] for accepted in level["acceptedPerPosition"]]
        assert [share > 0.8 for share in shares] == right[: len(shares)], level
        assert all(share < 0.1 for share, is_right in zip(shares, right, strict=False) if not is_right), level
