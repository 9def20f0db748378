"""What a scrape learns of the models: figures, bounds, conditions, and few labels."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from mtp_operator.runtime.api_client import MODELS, RUNS
from mtp_operator.runtime.model_metrics import ModelMetrics
from mtp_operator.runtime.object_cache import Cache

from . import bodies

ONE = {"namespace": bodies.NAMESPACE, "model": "tiny"}

MODEL = bodies.model(
    spec={
        "engine": {"type": "VLLM"},
        "speculation": {"method": "MTP"},
        "serving": {"replicas": 2},
    },
    status={
        "nSpec": 4,
        "servedNSpec": 3,
        "speedup": "3.27",
        "outputTokensPerSecond": 129,
        "acceptanceLength": "3.41",
        "gpuProduct": "NVIDIA-H200",
        "replicas": 1,
        "tuningRunRef": {"name": "tiny-2"},
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "Unheard", "status": "True"}],
    },
)


def run(name: str, **status: Any) -> dict[str, Any]:
    return bodies.run(name, uid=name, status=status)


RUNS_OF_IT = [
    run("tiny-1", counters={"measured": 3, "failed": 1, "gpuSeconds": 600}, verdict={"type": "Superseded"}),
    run(
        "tiny-2",
        counters={"measured": 5, "lost": 2, "gpuSeconds": 900},
        verdict={"type": "Selected", "speedupLow": "3.11", "speedupHigh": "3.42"},
    ),
    run("tiny-3", counters={"measured": 1}),
]


def scraped(*models: dict[str, Any], runs: list[dict[str, Any]] | None = None) -> CollectorRegistry:
    cache = Cache()
    for model in models:
        cache.watched(MODELS, model)
    for one in runs or ():
        cache.watched(RUNS, one)
    registry = CollectorRegistry()
    registry.register(ModelMetrics(cache))
    return registry


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("mtp_model_info", {"engine": "VLLM", "method": "MTP", "gpu_product": "NVIDIA-H200"}, 1),
        ("mtp_model_n_spec", {}, 4),
        ("mtp_model_served_n_spec", {}, 3),
        ("mtp_model_speedup_ratio", {}, 3.27),
        ("mtp_model_speedup_low_ratio", {}, 3.11),
        ("mtp_model_speedup_high_ratio", {}, 3.42),
        ("mtp_model_tuned_output_tokens_per_second", {}, 129),
        ("mtp_model_tuned_acceptance_length", {}, 3.41),
        ("mtp_model_replicas_desired", {}, 2),
        ("mtp_model_replicas", {}, 1),
        ("mtp_model_condition", {"condition": "Ready", "status": "true"}, 1),
        ("mtp_model_condition", {"condition": "Ready", "status": "false"}, 0),
        ("mtp_model_condition", {"condition": "Ready", "status": "unknown"}, 0),
        ("mtp_model_kept_trials", {"result": "measured"}, 9),
        ("mtp_model_kept_trials", {"result": "failed"}, 1),
        ("mtp_model_kept_trials", {"result": "lost"}, 2),
        ("mtp_model_kept_trials_gpu_seconds", {}, 1500),
        ("mtp_model_kept_runs", {"verdict": "Selected"}, 1),
        ("mtp_model_kept_runs", {"verdict": "Running"}, 1),
        ("mtp_model_kept_runs", {"verdict": "Failed"}, 0),
    ],
)
def test_a_scrape_has_the_figures_of_a_model(name: str, labels: dict[str, str], value: float) -> None:
    assert scraped(MODEL, runs=RUNS_OF_IT).get_sample_value(name, ONE | labels) == value


def test_a_condition_that_the_api_does_not_have_is_no_label() -> None:
    metrics = scraped(MODEL).collect()
    conditions = {
        sample.labels["condition"]
        for metric in metrics
        if metric.name == "mtp_model_condition"
        for sample in metric.samples
    }

    # The last two are false, which a status says by leaving them out.
    assert conditions == {"Ready", "Reconciling", "Stalled"}


def test_no_run_has_series_of_its_own() -> None:
    names = {
        (sample.name, *sample.labels)
        for metric in scraped(MODEL, runs=RUNS_OF_IT).collect()
        for sample in metric.samples
    }

    assert {labels for _, *label_names in names for labels in label_names} == {
        *ONE, "engine", "method", "gpu_product", "condition", "status", "result", "verdict",
    }  # fmt: skip


def test_a_model_without_a_status_has_only_what_it_asks_for() -> None:
    registry = scraped(bodies.model(spec={"serving": {"replicas": 2}}))
    names = {sample.name for metric in registry.collect() for sample in metric.samples}

    assert names == {"mtp_model_info", "mtp_model_replicas_desired"}


@pytest.mark.parametrize("odd", [None, [], "text", 7, True, {"nSpec": {}}, {"nSpec": "many"}, {"conditions": [None]}])
def test_an_odd_object_spoils_no_scrape(odd: Any) -> None:
    other = bodies.model("other", uid="other", status={"nSpec": 2})
    registry = scraped(bodies.model(spec=odd, status=odd), other, runs=[bodies.run(status=odd)])

    assert registry.get_sample_value("mtp_model_n_spec", {**ONE, "model": "other"}) == 2
    assert registry.get_sample_value("mtp_model_n_spec", ONE) is None


def test_a_deleted_model_leaves_no_series() -> None:
    cache = Cache()
    registry = CollectorRegistry()
    registry.register(ModelMetrics(cache))
    cache.watched(MODELS, MODEL)
    cache.forget("model-uid")

    assert [sample for metric in registry.collect() for sample in metric.samples] == []
