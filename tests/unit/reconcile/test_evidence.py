"""What was measured keeps its meaning on its way from a trial's result to the tuner."""

from __future__ import annotations

from typing import Any

import pytest

from mtp_operator.api.run import MTPTuningRunSpec, ObservedByTrial, TrialCounters, TrialState, TrialStatus
from mtp_operator.api.spec import EngineType, Level, Objective, SpeculationMethod
from mtp_operator.api.trial_documents import Latencies, LevelResult, TrialResult, TrialWarning
from mtp_operator.reconcile import trial_conversion
from mtp_operator.tuner import tuner_records as tuner
from mtp_operator.tuner.step import next_step
from tests.unit.engines.settings import run_settings

CONSTRAINT = {"metric": "P95TimeToFirstToken", "concurrency": 1, "maxMilliseconds": 800}
COUNT = {"metric": "P95TimeToFirstToken", "maxMilliseconds": 800, "requests": 64, "exceeding": 3}
PLANNED = TrialStatus(number=1, candidate="mtp-3", n_spec=3, repeat=0, job_name="job", state=TrialState.RUNNING)


def objective(maximize: str = "OutputThroughput", *constraints: dict[str, Any]) -> Objective:
    return Objective.model_validate({"maximize": maximize, "constraints": constraints})


def result(**level: Any) -> TrialResult:
    document = {"concurrency": 1, "windows": [100.0, 102.0], "requests": 64, "outputTokens": 8192, **level}
    return TrialResult(candidate="mtp-3", n_spec=3, levels=(LevelResult.model_validate(document),))


@pytest.mark.parametrize(
    ("maximize", "windows"), [("OutputThroughput", (100.0, 102.0)), ("Interactivity", (140.0, 141.5))]
)
def test_the_tuner_gets_the_windows_of_what_is_maximized(maximize: str, windows: tuple[float, ...]) -> None:
    trial = trial_conversion.measured_trial(PLANNED, result(interactivity=[140.0, 141.5]), [Level(concurrency=1)])

    (told,) = trial_conversion.tuner_arms([trial], objective(maximize), SpeculationMethod.MTP)

    assert told.levels[0].windows == windows
    assert trial.output_tokens_per_second == "101.00"


@pytest.mark.parametrize("method", SpeculationMethod)
def test_the_acceptance_of_a_block_says_nothing_of_another_n(method: SpeculationMethod) -> None:
    counters = {"drafts": 100, "draftTokens": 300, "acceptedTokens": 180, "acceptedPerPosition": [90, 60, 30]}
    trial = trial_conversion.measured_trial(PLANNED, result(**counters), [Level(concurrency=1)])

    (told,) = trial_conversion.tuner_arms([trial], objective(), method)

    acceptance = told.levels[0].acceptance
    assert (acceptance is None) == (method in {SpeculationMethod.DFLASH, SpeculationMethod.DSPARK})
    assert acceptance is None or acceptance.per_position == (0.9, 0.6, 0.3)
    assert trial.acceptance_length == "2.80"


def test_limits_and_their_counts_reach_the_tuner() -> None:
    settings = run_settings(objective={"constraints": [CONSTRAINT]})
    spec = MTPTuningRunSpec(
        **dict(settings), model_name="qwen", retune_request=0, settings_hash=settings.request_hash()
    )
    trial = trial_conversion.measured_trial(PLANNED, result(limits=[COUNT]), [Level(concurrency=1)])

    asked = trial_conversion.tuner_settings(spec, [trial], TrialCounters())
    (told,) = trial_conversion.tuner_arms(
        [TrialStatus.model_validate(trial.to_wire())], spec.objective, SpeculationMethod.MTP
    )

    assert [one.model_dump(by_alias=True) for one in asked.constraints] == [CONSTRAINT]
    assert [one.model_dump(by_alias=True) for one in told.levels[0].latencies] == [COUNT]
    assert isinstance(next_step([told], asked), tuner.Measure)


@pytest.mark.parametrize(
    ("objective", "level", "words"),
    [
        pytest.param(objective(), {}, None, id="throughput needs no latency"),
        pytest.param(objective("Interactivity"), {"interactivity": [140.0]}, None, id="interactivity was measured"),
        pytest.param(
            objective("Interactivity"), {}, "spec.tuning.objective.maximize needs", id="interactivity was not measured"
        ),
        pytest.param(objective("OutputThroughput", CONSTRAINT), {"limits": [COUNT]}, None, id="limit was counted"),
        pytest.param(
            objective("OutputThroughput", CONSTRAINT),
            {},
            "spec.tuning.objective.constraints[P95TimeToFirstToken] needs",
            id="limit was not counted",
        ),
        pytest.param(
            objective("OutputThroughput", {**CONSTRAINT, "concurrency": 8}), {}, None, id="limit of another level"
        ),
    ],
)
def test_what_the_objective_needs_must_have_been_measured(
    objective: Objective, level: dict[str, Any], words: str | None
) -> None:
    why = "90 % of the tokens came in the last chunk"
    said = trial_conversion.unmeasured(result(latencies=Latencies(unmeasurable=why), **level), objective)

    assert (said is None) == (words is None)
    if words is not None:
        assert said == f"{words} a latency that is not known at concurrency 1: {why}"


@pytest.mark.parametrize(
    ("value", "text"),
    [(125.0, "125.00"), (9.8765, "9.877"), (0.94, "0.940"), (0.0123, "0.0123"), (0.0004, "0.000400"), (0.0, "0.000")],
)
def test_small_figures_are_not_rounded_to_nothing(value: float, text: str) -> None:
    assert trial_conversion.decimal(value) == text


def test_prompts_belong_to_the_fingerprint() -> None:
    seen = ObservedByTrial(node="a")

    prints = {
        trial_conversion.fingerprint("sha256:0", seen.model_copy(update={"prompts_sha256": prompts, "node": node}))
        for prompts in (None, "0" * 64, "1" * 64)
        for node in ("a", "b")
    }

    assert len(prints) == 3


@pytest.mark.parametrize(
    ("engine", "n_spec", "names"),
    [
        (EngineType.VLLM, 3, ("min_p", "logit_bias", "custom logits processors")),
        (EngineType.VLLM, 0, ()),
        (EngineType.LLAMA_CPP, 3, ()),
    ],
)
@pytest.mark.parametrize("words", ["n_spec=3 is 2.00x as fast as n_spec=0.", "n_spec=7 (OOMKilled), " * 100])
def test_the_verdict_says_what_clients_give_up(
    engine: EngineType, n_spec: int, names: tuple[str, ...], words: str
) -> None:
    kind = tuner.VerdictType.SELECTED if n_spec else tuner.VerdictType.SPECULATION_OFF

    status = trial_conversion.verdict_status(
        tuner.Verdict(type=kind, n_spec=n_spec, message=words), (), run_settings(engine={"type": engine.value})
    )

    assert status.message.startswith(words[:30])
    assert len(status.message) <= 1024
    assert ("refuses" in status.message) == bool(names)
    assert all(name in status.message for name in names)


@pytest.mark.parametrize("words", ["n_spec=3 is 2.00x as fast as n_spec=0.", "n_spec=7 (OOMKilled), " * 100])
def test_a_verdict_on_a_simulation_begins_with_that(words: str) -> None:
    told = TrialWarning(reason="Simulated", message="concurrency 1: no GPU was measured")
    simulation = result().model_copy(update={"warnings": (told,)})
    trials = [trial_conversion.measured_trial(PLANNED, one, [Level(concurrency=1)]) for one in (simulation, result())]
    verdict = tuner.Verdict(type=tuner.VerdictType.SELECTED, n_spec=3, message=words)

    simulated, measured = (trial_conversion.verdict_status(verdict, of, run_settings()) for of in (trials, trials[1:]))

    assert simulated.message.startswith(f"Simulated, no GPU was measured: {words[:30]}")
    assert measured.message.startswith(words[:30])
    assert len(simulated.message) <= 1024
