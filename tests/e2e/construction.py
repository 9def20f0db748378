"""What the engines must count on our model, which was made so that this is known to the token."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer

from tests.mtp_model import read_truth, simulate

from . import harness


def assert_counters_agree(run: dict[str, Any], *, drafts_past_end: bool) -> None:
    """The engine's counters are, to the token, what the construction of the model says.

    Every prompt ends in the same token, so every request walks the same stretch of the model's cycle.
    """
    folder = harness.model_folder()
    truth = read_truth(folder / "truth.json")
    start = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("\n").ids[-1]
    tokens = run["spec"]["workload"]["outputTokens"]
    trials = harness.measured_trials(run)
    assert harness.BEST_N_SPEC in {trial["nSpec"] for trial in trials}
    for trial in trials:
        (level,) = trial["levels"]
        assert level["outputTokens"] == tokens * level["requests"]
        if trial["nSpec"] == 0:
            assert not level.get("drafts")
            continue
        drafts, accepted = simulate(truth, trial["nSpec"], start, tokens, drafts_past_end=drafts_past_end)
        assert level["drafts"] == drafts * level["requests"]
        assert level["acceptedPerPosition"] == [count * level["requests"] for count in accepted]
