"""Prometheus' own checks, by promtool; and what recordings of `/metrics` are for it.

`recordings/` has what the operator and both real engines answered to a scrape: the operator in the test cluster while
models were tuned, and while one was served; the engines on a CPU after some requests with n_spec 2 (vLLM) and 4
(llama.cpp). tests/e2e/test_serving.py compares their names with what is scraped there.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import promql_parser
from prometheus_client.parser import text_string_to_metric_families

from mtp_operator.api.spec import EngineType
from tests.chart.test_monitoring import DASHBOARDS, RULES, queries, selectors
from tests.cluster import tools

PROMTOOL: Final = tools.Tool(
    "promtool",
    "github.com/prometheus/prometheus",
    {"promtool": ("--version",)},
    ("github.com/prometheus/common/version.Version={version}",),
    sources=tools.SOURCES / "promtool",
    tags=("remove_all_sd", "netgo"),
)
RECORDINGS: Final = Path(__file__).parent / "recordings"
OPERATORS: Final = ("operator-tuning", "operator-serving")
ENGINES: Final = {EngineType.VLLM: "vllm", EngineType.LLAMA_CPP: "llamacpp"}
"""Engine -> its recording."""
MINUTES: Final = 60


def promtool(*arguments: str | Path, text: str | None = None) -> None:
    """Runs promtool.

    Raises:
        AssertionError: it objects; with its words.
    """
    command = [tools.program(PROMTOOL, "promtool"), *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def recorded(name: str) -> str:
    """What was scraped."""
    return (RECORDINGS / f"{name}.prom").read_text(encoding="utf-8")


def with_any(query: str) -> str:
    """A query of a dashboard with all namespaces and models chosen."""
    return re.sub(r"\$(namespace|model)\b", ".*", query)


def asked() -> set[str]:
    """The names of all series that rules and dashboards ask for, but for those that the rules record."""
    found = {selector.name for query in queries() for selector in selectors(promql_parser.parse(with_any(query.text)))}
    variables = {
        name
        for dashboard in DASHBOARDS.values()
        for one in dashboard["templating"]["list"]
        for name in re.findall(r"label_values\((\w+)", str(one["query"]))
    }
    return (found | variables) - {rule["record"] for group in RULES for rule in group["rules"] if "record" in rule}


def names(text: str) -> set[str]:
    """The names of all series of a scrape."""
    return {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}


def declared(text: str) -> set[str]:
    """The same, with those that have no series yet: no model has been tuned, nothing has failed."""
    types = re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE)
    return names(text) | {name if kind != "histogram" else f"{name}_bucket" for name, kind in types}


def series(text: str, target: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """A scrape as series of `promtool test rules`: each minute counts what was counted in all, and gauges stay.

    Args:
        text: the scrape.
        target: labels that Prometheus adds; those of the series itself win, as with `honorLabels`.
    """
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = {**target, **sample.labels}
            inside = ", ".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
            counts = sample.name.endswith(("_total", "_bucket", "_count", "_sum"))
            values = f"0+{sample.value}x{MINUTES}" if counts else f"{sample.value}+0x{MINUTES}"
            yield {"series": f"{sample.name}{{{inside}}}", "values": values}
