"""promtool checks metrics and rules, and evaluates rules and dashboards on what was scraped of operator and engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from mtp_operator.api.spec import EngineType
from mtp_operator.bench.draft_counters import read_counters
from mtp_operator.engines import engine_for
from tests.chart.rendering import CHART
from tests.chart.test_monitoring import DASHBOARDS, RULES
from tests.cluster import tools
from tests.manifests.prometheus import ENGINES, OPERATORS, PROMTOOL, asked, names, promtool, recorded, series, with_any
from tests.unit.runtime.test_model_metrics import MODEL, RUNS_OF_IT, scraped

RULES_FILE: Final = CHART / "files" / "rules.yaml"
EVALUATED_AT: Final = "50m"


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    tools.ensure(PROMTOOL)


def tuned() -> dict[str, str]:
    """A model of the operator's recordings that was tuned: the recorded engines count as its servers, each alone."""
    found = [
        sample.labels
        for operator in OPERATORS
        for family in text_string_to_metric_families(recorded(operator))
        for sample in family.samples
        if sample.name == "mtp_model_tuned_acceptance_length"
    ]
    return {name: found[0][name] for name in ("namespace", "model")}


def evaluate(engine: EngineType, tmp_path: Path, expected: list[tuple[str, list[dict[str, Any]]]]) -> None:
    """Lets promtool evaluate expressions on the recordings of an engine and of the operator."""
    server = {**tuned(), "job": "llm/server", "instance": "10.0.0.7:8000", "pod": "server", "container": "engine"}
    operator = {"namespace": "mtp-system", "job": "mtp-system/mtp-operator", "container": "operator"}
    test = {
        "interval": "1m",
        "input_series": [
            *series(recorded(ENGINES[engine]), server),
            *(
                one
                for name in OPERATORS
                for one in series(recorded(name), {**operator, "pod": name, "instance": f"{name}:8081"})
            ),
        ],
        "promql_expr_test": [
            {"expr": expression, "eval_time": EVALUATED_AT, "exp_samples": samples} for expression, samples in expected
        ],
    }
    document = {
        "rule_files": [str(RULES_FILE)],
        "evaluation_interval": "1m",
        "fuzzy_compare": True,
        "tests": [test],
    }
    file = tmp_path / "recorded.yaml"
    file.write_text(yaml.safe_dump(document))
    promtool("test", "rules", file)


def test_metrics_of_the_operator_are_well_formed() -> None:
    promtool("check", "metrics", text=generate_latest(scraped(MODEL, runs=RUNS_OF_IT)).decode())
    promtool("check", "metrics", text=generate_latest().decode())


def test_rules_are_well_formed_and_raise_each_alert() -> None:
    promtool("check", "rules", "--lint-fatal", RULES_FILE)
    promtool("test", "rules", Path(__file__).parent / "rules_test.yaml")


def test_what_rules_and_dashboards_ask_for_was_scraped() -> None:
    answered = {name for one in (*OPERATORS, *ENGINES.values()) for name in names(recorded(one))}

    assert asked()
    assert asked() - answered == set()


@pytest.mark.parametrize("engine", ENGINES)
def test_rules_calculate_from_a_recording_what_the_operator_reads_in_it(engine: EngineType, tmp_path: Path) -> None:
    counted = read_counters(recorded(ENGINES[engine]), engine_for(engine).metrics)
    assert counted.drafting is not None
    assert counted.generated_tokens is not None
    drafting = counted.drafting

    def sample(name: str, value: float, **more: str) -> dict[str, Any]:
        labels = ", ".join(f'{key}="{label}"' for key, label in {**tuned(), **more}.items())
        return {"labels": f"{name}{{{labels}}}", "value": value}

    figures = {
        "mtp:acceptance_length:rate5m": drafting.tokens_per_step,
        "mtp:wasted_drafts:ratio_rate5m": 1 - drafting.accepted_tokens / drafting.draft_tokens,
        "mtp:output_tokens:rate5m": counted.generated_tokens / 60,
        "mtp:drafts:rate5m": drafting.drafts / 60,
        "mtp:draft_tokens:rate5m": drafting.draft_tokens / 60,
        "mtp:accepted_tokens:rate5m": drafting.accepted_tokens / 60,
    }
    positions = "mtp:accepted_tokens_per_position:rate5m"
    per_position = [
        sample(positions, accepted / 60, position=str(position))
        for position, accepted in enumerate(drafting.accepted_per_position)
    ]
    assert {*figures, positions} == {rule["record"] for group in RULES for rule in group["rules"] if "record" in rule}

    evaluate(
        engine,
        tmp_path,
        [*((name, [sample(name, value)]) for name, value in figures.items()), (positions, per_position)],
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_every_panel_of_a_dashboard_shows_something(engine: EngineType, tmp_path: Path) -> None:
    shown = [
        (f"count({with_any(target['expr'])}) > bool 0", [{"labels": "{}", "value": 1}])
        for dashboard in DASHBOARDS.values()
        for panel in dashboard["panels"]
        for target in panel["targets"]
    ]

    evaluate(engine, tmp_path, shown)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_alert_joins_servers_with_what_the_operator_says_of_their_model(engine: EngineType, tmp_path: Path) -> None:
    # What the engines accepted of a small model is far below what was measured of the tuned one.
    firing = 'count by (namespace, model) (ALERTS{alertname="MTPModelAcceptanceBelowTuned", alertstate="firing"})'
    labels = ", ".join(f'{name}="{value}"' for name, value in tuned().items())

    evaluate(engine, tmp_path, [(firing, [{"labels": f"{{{labels}}}", "value": 1}])])
