"""The three systems tuned from end to end: boots of the simulated GPU, the bench, the tuner, and the truth for all."""

from __future__ import annotations

import pytest

from mtp_operator.api.candidate import candidate_id
from mtp_operator.api.run import TrialState, TrialStatus
from mtp_operator.api.spec import Level, Objective, SpeculationMethod
from mtp_operator.reconcile import trial_conversion
from mtp_operator.tuner.step import next_step
from mtp_operator.tuner.tuner_records import Measure, Settings, Verdict, VerdictType
from simulated_gpu.curve import read_curve
from tests.unit.bench.virtual_time import run_in_virtual_time
from tests.unit.engines.settings import run_settings
from tests.unit.simulated_gpu.boot import CURVES, arguments, measured

BOOT_NOISE = 0.005
LARGEST = 5
"""The largest n that was recorded of all three."""


def tuned(curve: str, seed: int) -> tuple[Verdict, list[TrialStatus]]:
    """The verdict, and the trials that led to it."""
    settings = Settings(n_specs=tuple(range(LARGEST + 1)), max_trials=12, levels=(Level(concurrency=1),))
    trials: list[TrialStatus] = []
    while isinstance(
        step := next_step(trial_conversion.tuner_arms(trials, Objective(), SpeculationMethod.MTP), settings), Measure
    ):
        options = {"boot_noise": BOOT_NOISE, "seed": f"{seed}-{step.boot}"}
        result, _ = run_in_virtual_time(measured(arguments(step.n_spec, curve, **options), step.n_spec))
        planned = TrialStatus(
            number=len(trials) + 1,
            candidate=candidate_id(SpeculationMethod.MTP, step.n_spec),
            n_spec=step.n_spec,
            repeat=step.boot,
            job_name="job",
            state=TrialState.RUNNING,
        )
        trials.append(trial_conversion.measured_trial(planned, result, [Level(concurrency=1)]))
    return step, trials


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("curve", "best"),
    [("seed-gemma4-31b-fp8-vllm", 5), ("seed-qwen36-27b-fp8-vllm", 5), ("seed-qwen36-27b-q8-llamacpp", 3)],
)
def test_the_best_n_is_found_and_the_interval_holds_the_truth(curve: str, best: int, seed: int) -> None:
    recorded = read_curve(CURVES, curve)
    assert best == max(range(LARGEST + 1), key=recorded.tokens_per_second)

    verdict, trials = tuned(curve, seed)

    truth = recorded.tokens_per_second(verdict.n_spec) / recorded.tokens_per_second(0)
    assert verdict.type is VerdictType.SELECTED, verdict.message
    assert recorded.tokens_per_second(verdict.n_spec) >= 0.98 * recorded.tokens_per_second(best), verdict.message
    assert verdict.speedup is not None
    assert verdict.speedup.low <= truth <= verdict.speedup.high
    status = trial_conversion.verdict_status(verdict, trials, run_settings())
    assert status.message.startswith("Simulated, no GPU was measured: n_spec=")
