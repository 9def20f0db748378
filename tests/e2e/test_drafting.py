"""Ways of drafting that may skip steps, on the real llama-server: n-grams, and a drafter that stops when unsure.

What they gain is the processor's affair, and no part of these tests.
"""

from __future__ import annotations

import json
from itertools import accumulate, repeat
from typing import Any

from tokenizers import Tokenizer

from tests.mtp_model import read_truth

from . import harness

OUTPUT_TOKENS = 96


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


def tuned(namespace: str, speculation: dict[str, Any], prompts: dict[str, Any]) -> dict[str, Any]:
    """The run of the demo's model that drafts like this, once it has its verdict."""
    document = harness.sample(
        "demo-llamacpp",
        spec__serving={"replicas": 0},
        spec__speculation=speculation,
        spec__tuning__maxNSpec=3,
        spec__tuning__budget={"maxTrials": 3},
        spec__tuning__workload__prompts=prompts,
        spec__tuning__workload__outputTokens=OUTPUT_TOKENS,
    )
    harness.apply(document, namespace)
    model = harness.wait_for_condition(namespace, document["metadata"]["name"], "Ready", "True", "")
    run = harness.run_of(model)
    harness.assert_unsuspected(run)
    assert model["status"]["nSpec"] == run["status"]["verdict"]["nSpec"]
    return run


def speculating(run: dict[str, Any]) -> list[dict[str, Any]]:
    """The level of each trial with n above 0; a trial without speculation drafts nothing."""
    trials = run["status"]["trials"]
    assert not any(level.get("drafts") for trial in trials if trial["nSpec"] == 0 for level in trial["levels"])
    found = [level for trial in trials if trial["nSpec"] > 0 for level in trial["levels"]]
    assert found
    return found


def test_n_grams_are_measured_where_answers_repeat_the_prompt(namespace: str) -> None:
    prompts = harness.own_prompts(namespace, repetitive_prompts())

    run = tuned(namespace, {"method": "NGram"}, prompts)

    for level in speculating(run):
        # What was looked up is what the model says next.
        assert level["drafts"] > 0
        assert min(level["acceptedPerPosition"]) > 0.9 * level["drafts"]


def test_a_drafter_that_stops_when_unsure_is_tuned(namespace: str) -> None:
    prompts = harness.own_prompts(namespace, repetitive_prompts())

    run = tuned(namespace, {"method": "MTP", "llamaCpp": {"pMinMilli": 750}}, prompts)

    for level in speculating(run):
        assert level["drafts"] > 0
        assert level["acceptedPerPosition"][0] > 0
