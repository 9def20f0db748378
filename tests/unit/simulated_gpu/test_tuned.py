"""The three systems tuned from end to end: boots of the simulated GPU, the bench, the tuner, and the truth for all."""

from __future__ import annotations

import pytest

from mtp_operator.api.run import ArmState, ArmStatus
from mtp_operator.api.spec import EngineType, Objective, SpeculationMethod
from mtp_operator.api.spec import Level as WorkloadLevel
from mtp_operator.engines import engine_for
from mtp_operator.reconcile import arm_conversion
from mtp_operator.tuner.step import next_step
from mtp_operator.tuner.tuner_records import Level, Measure, Settings, Verdict, VerdictType
from simulated_gpu.curve import read_curve
from tests.unit.bench.virtual_time import run_in_virtual_time
from tests.unit.simulated_gpu.boot import CURVES, arguments, measured

BOOT_NOISE = 0.005
LARGEST = 5
"""The largest n that was recorded of all three."""


def tuned(curve: str, seed: int) -> tuple[Verdict, list[ArmStatus]]:
    """The verdict, and the arms that led to it."""
    settings = Settings(n_specs=tuple(range(LARGEST + 1)), max_trials=12, levels=(Level(concurrency=1),))
    arms: list[ArmStatus] = []
    while isinstance(
        step := next_step(arm_conversion.tuner_arms(arms, Objective(), SpeculationMethod.MTP), settings), Measure
    ):
        options = {"boot_noise": BOOT_NOISE, "seed": f"{seed}-{step.boot}"}
        result, _ = run_in_virtual_time(measured(arguments(step.n_spec, curve, **options), step.n_spec))
        planned = ArmStatus(n_spec=step.n_spec, boot=step.boot, job_name="job", state=ArmState.RUNNING)
        arms.append(arm_conversion.measured_arm(planned, result, [WorkloadLevel(concurrency=1)]))
    return step, arms


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("curve", "best"),
    [("seed-gemma4-31b-fp8-vllm", 5), ("seed-qwen36-27b-fp8-vllm", 5), ("seed-qwen36-27b-q8-llamacpp", 3)],
)
def test_the_best_n_is_found_and_the_interval_holds_the_truth(curve: str, best: int, seed: int) -> None:
    recorded = read_curve(CURVES, curve)
    assert best == max(range(LARGEST + 1), key=recorded.tokens_per_second)

    verdict, arms = tuned(curve, seed)

    truth = recorded.tokens_per_second(verdict.n_spec) / recorded.tokens_per_second(0)
    assert verdict.type is VerdictType.SELECTED, verdict.message
    assert recorded.tokens_per_second(verdict.n_spec) >= 0.98 * recorded.tokens_per_second(best), verdict.message
    assert verdict.speedup is not None
    assert verdict.speedup.low <= truth <= verdict.speedup.high
    status = arm_conversion.verdict_status(verdict, arms, engine_for(EngineType.VLLM))
    assert status.message.startswith("Simulated, no GPU was measured: n=")
