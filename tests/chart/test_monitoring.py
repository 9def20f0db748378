"""Every query of rules and dashboards is PromQL, and asks for series that are exported, by labels that these have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import REGISTRY

from mtp_operator.api.spec import EngineType
from mtp_operator.engines import engine_for
from mtp_operator.runtime import metrics
from mtp_operator.runtime.api_client import MODELS, RUNS
from mtp_operator.runtime.model_metrics import ModelMetrics
from mtp_operator.runtime.object_cache import Cache
from tests.chart.rendering import CHART, REPOSITORY, of_kind, template
from tests.unit.runtime.test_model_metrics import MODEL, RUNS_OF_IT

RULES = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())["groups"]
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in (CHART / "files" / "dashboards").glob("*.json")}
TARGET_LABELS = {"namespace", "pod", "job", "instance", "container"}
"""What Prometheus itself adds to a series of a pod."""
SERVER_LABELS = {*TARGET_LABELS, "model", "n_spec"}
"""The same with what the PodMonitor of servers adds."""


@dataclass(frozen=True)
class Query:
    """One expression, and where it stands."""

    place: str
    text: str


def queries() -> Iterator[Query]:
    for group in RULES:
        for rule in group["rules"]:
            yield Query(rule.get("record") or rule["alert"], rule["expr"])
    for name, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                yield Query(f"{name}: {panel['title']}", target["expr"])


def selectors(node: Any) -> Iterator[Any]:
    """The vector selectors of an expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("lhs", "rhs", "expr", "vector_selector", "param"):
        if getattr(node, name, None) is not None:
            yield from selectors(getattr(node, name))
    for argument in getattr(node, "args", ()):
        yield from selectors(argument)


def exported() -> dict[str, set[str]]:
    """Every series that somebody exports -> the labels that it has."""
    cache = Cache()
    cache.watched(MODELS, MODEL)
    for run in RUNS_OF_IT:
        cache.watched(RUNS, run)
    of_models = {
        sample.name: TARGET_LABELS | sample.labels.keys()
        for metric in ModelMetrics(cache).collect()
        for sample in metric.samples
    }
    counters = [one for one in vars(metrics).values() if hasattr(one, "_labelnames")]
    of_operator = {
        f"{name}{suffix}": TARGET_LABELS | set(counter._labelnames) | ({"le"} if suffix == "_bucket" else set())  # noqa: SLF001
        for counter in counters
        for name in [counter._name]  # noqa: SLF001
        for suffix in ("", "_total", "_bucket")
    }
    of_process = {
        sample.name: TARGET_LABELS for one in REGISTRY.collect() for sample in one.samples if "process_" in one.name
    }
    of_engines: dict[str, set[str]] = {}
    for type_ in EngineType:
        names = engine_for(type_).metrics
        for name in filter(None, (names.generated_tokens, names.drafts, names.draft_tokens, names.accepted_tokens)):
            of_engines[name] = SERVER_LABELS
        if names.accepted_per_position is None:
            continue
        of_engines[names.accepted_per_position] = SERVER_LABELS | {names.position_label}
    recorded = {
        rule["record"]: {"namespace", "model", "position"}
        for group in RULES
        for rule in group["rules"]
        if "record" in rule
    }
    return of_models | of_operator | of_process | of_engines | recorded


@pytest.mark.parametrize("query", list(queries()), ids=lambda query: query.place)
def test_a_query_asks_for_series_that_exist(query: Query) -> None:
    found = list(selectors(promql_parser.parse(query.text)))

    assert found
    for selector in found:
        labels = exported()[selector.name]
        assert {matcher.name for matcher in selector.matchers.matchers} <= labels, selector.name


def test_every_metric_of_ours_is_documented() -> None:
    page = (REPOSITORY / "docs" / "reference" / "metrics.md").read_text()
    of_operator = {one.name for one in REGISTRY.collect() if one.name.startswith("mtp_")}
    of_models = {name for name in exported() if name.startswith("mtp_model_")}
    documented = set(re.findall(r"^\| `(mtp_\w+)`", page, re.MULTILINE))

    assert of_operator
    assert {re.sub("_(total|info)$", "", name) for name in documented} == {
        name.removesuffix("_info") for name in of_operator | of_models
    }


def test_rules_and_dashboards_are_installed_as_they_are() -> None:
    found = template({"monitoring": {"prometheusRule": {"enabled": True}, "dashboards": {"enabled": True}}})
    (rule,) = of_kind(found, "PrometheusRule")
    maps = of_kind(found, "ConfigMap")

    assert rule["spec"]["groups"] == RULES
    assert {name: json.loads(text) for one in maps for name, text in one["data"].items()} == {
        f"mtp-{name}.json": dashboard for name, dashboard in DASHBOARDS.items()
    }
    assert all(one["metadata"]["labels"]["grafana_dashboard"] == "1" for one in maps)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_of_a_dashboard_do_not_overlap(name: str) -> None:
    dashboard = DASHBOARDS[name]
    cells = [
        (x, y)
        for panel in dashboard["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
