"""Metrics of the models and of their tuning runs, read from the caches when somebody scrapes.

Only the process that holds the Lease has them, so that each series exists once. Objects are read as they are: a value
that is missing or of another type has no series.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from mtp_operator.api.conditions import ONLY_WHILE_TRUE, ConditionStatus, ConditionType
from mtp_operator.api.verdicts import VerdictType

from .api_client import MODELS, RUNS, Body
from .object_cache import Cache

_MODEL: Final = ("namespace", "model")


@dataclass(frozen=True)
class _Figure:
    """One figure of every object of a kind."""

    name: str
    documentation: str
    path: tuple[str, ...]


_MODEL_FIGURES: Final = (
    _Figure("mtp_model_n_spec", "The n_spec that was chosen; 0: speculation off.", ("status", "nSpec")),
    _Figure("mtp_model_served_n_spec", "The n_spec of the servers that are ready.", ("status", "servedNSpec")),
    _Figure("mtp_model_speedup_ratio", "Measured speed at n_spec over that at n_spec=0.", ("status", "speedup")),
    _Figure(
        "mtp_model_tuned_output_tokens_per_second",
        "Output throughput that was measured at n_spec.",
        ("status", "outputTokensPerSecond"),
    ),
    _Figure(
        "mtp_model_tuned_acceptance_length",
        "Acceptance length that was measured at n_spec: tokens per step of the target model.",
        ("status", "acceptanceLength"),
    ),
    _Figure("mtp_model_replicas_desired", "Servers that the spec asks for.", ("spec", "serving", "replicas")),
    _Figure("mtp_model_replicas", "Servers that exist.", ("status", "replicas")),
)

_TRIALS: Final = ("measured", "failed", "lost")
"""Results of trials, as a run counts them."""


class ModelMetrics(Collector):
    """What a scrape learns of the models in the caches."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def describe(self) -> Iterable[Metric]:
        """Nothing: metrics are known when they are collected."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All series."""
        models, runs = self._cache.bodies(MODELS), self._cache.bodies(RUNS)
        yield _infos(models)
        for figure in _MODEL_FIGURES:
            yield _gauge(figure, models)
        yield from _speedup_bounds(models, runs)
        yield _conditions(models)
        yield from _runs(runs)


def _infos(models: Sequence[Body]) -> Metric:
    info = InfoMetricFamily("mtp_model", "Settings of a model.", labels=_MODEL)
    for body in models:
        facts = {
            "engine": ("spec", "engine", "type"),
            "method": ("spec", "speculation", "method"),
            "gpu_product": ("status", "gpuProduct"),
        }
        info.add_metric(_name(body), {name: _text(body, *path) for name, path in facts.items()})
    return info


def _gauge(figure: _Figure, models: Iterable[Body]) -> Metric:
    gauge = GaugeMetricFamily(figure.name, figure.documentation, labels=_MODEL)
    for body in models:
        value = _number(body, *figure.path)
        if value is not None:
            gauge.add_metric(_name(body), value)
    return gauge


def _speedup_bounds(models: Sequence[Body], runs: Sequence[Body]) -> Iterator[Metric]:
    """The interval of the run whose choice stands."""
    by_name = {_name(run): run for run in runs}
    in_use = [
        (_name(body), by_name.get((_name(body)[0], _text(body, "status", "tuningRunRef", "name")), {}))
        for body in models
    ]
    for end, field in (("low", "speedupLow"), ("high", "speedupHigh")):
        gauge = GaugeMetricFamily(
            f"mtp_model_speedup_{end}_ratio", f"The {end} end of the 95% interval of the speedup.", labels=_MODEL
        )
        for labels, run in in_use:
            value = _number(run, "status", "verdict", field)
            if value is not None:
                gauge.add_metric(labels, value)
        yield gauge


def _conditions(models: Iterable[Body]) -> Metric:
    """One series for each condition and status that there can be, as kube-state-metrics has it.

    Of a model that has been judged, Reconciling and Stalled are false where they are not there.
    """
    gauge = GaugeMetricFamily(
        "mtp_model_condition",
        "1 for the status that a condition has, 0 for the others.",
        labels=(*_MODEL, "condition", "status"),
    )
    for body in models:
        stated = {_text(one, "type"): _text(one, "status") for one in _list(body, "status", "conditions")}
        if stated:
            stated = {type_.value: ConditionStatus.FALSE.value for type_ in ONLY_WHILE_TRUE} | stated
        for type_ in ConditionType:
            for status in ConditionStatus:
                if type_.value in stated:
                    labels = (*_name(body), type_.value, status.value.lower())
                    gauge.add_metric(labels, float(stated[type_.value] == status.value))
    return gauge


def _runs(runs: Sequence[Body]) -> Iterator[Metric]:
    """What the runs that are kept have cost: sums over a model's runs, so that no run's name is a label."""
    trials = GaugeMetricFamily(
        "mtp_model_kept_trials", "Trials of the runs that are kept, by result.", labels=(*_MODEL, "result")
    )
    seconds = GaugeMetricFamily(
        "mtp_model_kept_trials_gpu_seconds", "GPU time of the trials of the runs that are kept.", labels=_MODEL
    )
    verdicts = GaugeMetricFamily(
        "mtp_model_kept_runs", "Runs that are kept, by verdict (Running: none yet).", labels=(*_MODEL, "verdict")
    )
    verdict_types = ("Running", *(one.value for one in VerdictType))
    by_model: dict[tuple[str, str], list[Body]] = {}
    for run in runs:
        by_model.setdefault((_text(run, "metadata", "namespace"), _text(run, "spec", "modelName")), []).append(run)
    for model, theirs in by_model.items():
        for result in _TRIALS:
            trials.add_metric((*model, result), _sum(theirs, "status", "counters", result))
        seconds.add_metric(model, _sum(theirs, "status", "counters", "gpuSeconds"))
        ends = [_text(run, "status", "verdict", "type") or "Running" for run in theirs]
        for end in verdict_types:
            verdicts.add_metric((*model, end), ends.count(end))
    yield from (trials, seconds, verdicts)


def _name(body: Body) -> tuple[str, str]:
    """Namespace and name."""
    return _text(body, "metadata", "namespace"), _text(body, "metadata", "name")


def _sum(bodies: Iterable[Body], *path: str) -> float:
    return sum(_number(body, *path) or 0.0 for body in bodies)


# -- objects as they are -----------------------------------------------------------------------------------------------


def _at(body: Body, *path: str) -> Any:
    place: Any = body
    for name in path:
        place = place.get(name) if isinstance(place, Mapping) else None
    return place


def _text(body: Body, *path: str) -> str:
    value = _at(body, *path)
    return value if isinstance(value, str) else ""


def _number(body: Body, *path: str) -> float | None:
    """A number, or a string that is one: the API has no floats."""
    value = _at(body, *path)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _list(body: Body, *path: str) -> list[Body]:
    value = _at(body, *path)
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list | tuple) else []
