"""The page: figures equal to the run's, nothing loaded, nothing of the run taken for markup."""

import copy
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from mtp_operator.report.page import page

from .golden import data_of
from .runs import HOSTILE, RUNS, Body, levels

LIMIT_BYTES = 400_000
FOREIGN = re.compile(r"^(on.*|src|href|srcset|action|formaction|data|poster|ping|background)$")


class Seen(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.figures: list[tuple[str | None, str | None, bool, str, str]] = []
        """Of a figure: its trial, its level, whether it is of the output, its field, its value."""
        self._trial: tuple[str | None, str | None, bool] = (None, None, False)
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.attributes += told.items()
        if "data-trial" in told:
            self._trial = (told["data-trial"], told.get("data-level"), "data-output" in told)
        if tag == "data":
            self.figures.append((*self._trial, told["data-of"], told["value"]))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("tr", "li"):
            self._trial = (None, None, False)


@pytest.mark.parametrize("name", RUNS)
def test_figures_are_those_of_the_run(name: str) -> None:
    body = RUNS[name]()

    figures = Seen(page(data_of(body))).figures

    assert figures
    for trial, level, is_output, field, value in figures:
        assert float(value) == pytest.approx(expected(body, trial, level, is_output, field), abs=5e-5), field


def test_every_figure_of_a_trial_is_on_the_page() -> None:
    body = levels()

    figures = Seen(page(data_of(body))).figures

    for trial in body["status"]["trials"]:
        for level in trial.get("levels", ()):
            shown = {
                field
                for name, at, _, field, _ in figures
                if (name, at) == (trial["jobName"], str(level["concurrency"]))
            }
            latencies = ("timeToFirstToken", "timePerOutputToken", "requestLatency")
            assert shown >= {"outputTokensPerSecond", "requests", "failedRequests", "endedByEOS", "outputTokens"}
            assert shown >= {f"{latency}.{quantile}" for latency in latencies for quantile in ("p50", "p95", "p99")}
            assert shown >= {f"categories.{one['category']}" for one in level["categories"]}
            assert shown >= {f"acceptance.{index}" for index in range(trial["nSpec"])}


def expected(body: Body, name: str | None, level: str | None, is_output: bool, field: str) -> float:
    """The same figure in the run itself."""
    status = body["status"]
    if name is None:
        return float(value_at({"counters": status["counters"], "verdict": status.get("verdict")}, field))
    trial = next(one for one in status["trials"] if one["jobName"] == name)
    if is_output:
        return float(value_at(trial["outputCheck"], field))
    if level is None:
        return float(value_at(trial, field))
    measured = next(one for one in trial["levels"] if one["concurrency"] == int(level))
    kind, _, rest = field.partition(".")
    if kind == "acceptance":
        return float(measured["acceptedPerPosition"][int(rest)] / measured["drafts"])
    if kind == "categories":
        speeds = {one["category"]: one["outputTokensPerSecond"] for one in measured["categories"]}
        return float(speeds[rest])
    return float(value_at(measured, field))


def value_at(part: Any, path: str) -> Any:
    """The value at a dotted path."""
    for name in path.split("."):
        part = part[name]
    return part


def test_nothing_of_the_run_is_markup() -> None:
    plain, hostile = Seen(page(data_of(levels()))), Seen(page(data_of(levels(HOSTILE))))

    assert hostile.tags == plain.tags
    assert "{{ 7 * 7 }}" in page(data_of(levels(HOSTILE)))


@pytest.mark.parametrize("field", ["reason", "message"])
def test_nothing_of_the_verdict_is_markup(field: str) -> None:
    body = RUNS["failed"]()
    tags = Seen(page(data_of(body))).tags
    body["status"]["verdict"][field] = "</title><svg onload=alert(1)>"

    assert Seen(page(data_of(body))).tags == tags


def test_nothing_is_loaded() -> None:
    text = page(data_of(levels()))
    seen = Seen(text)

    assert {tag for tag in seen.tags if tag in ("link", "img", "iframe", "object", "embed", "form", "base")} == set()
    assert [name for name, _ in seen.attributes if FOREIGN.match(name)] == []
    assert all(value.startswith("#") for name, value in seen.attributes if name == "xlink:href")
    assert "default-src 'none'" in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}


def test_ids_occur_once_and_colors_are_the_pages() -> None:
    text = page(data_of(levels()))
    ids = [value for name, value in Seen(text).attributes if name == "id"]

    assert len(ids) == len(set(ids))
    drawn = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert "var(--band)" in drawn
    assert re.findall(r"(?:fill|stroke): (?!none|var\()[^;\"]+", drawn) == []


def test_the_record_is_in_the_page() -> None:
    data = data_of(levels(HOSTILE))

    embedded = re.search(r'<script type="application/json" id="report">(.*?)</script>', page(data), re.DOTALL)

    assert embedded is not None
    assert json.loads(embedded[1]) == data.to_wire()


@pytest.mark.parametrize(("number", "windows"), [(24, 6), (24, 32)])
def test_a_large_run_makes_no_large_file(number: int, windows: int) -> None:
    body = levels()
    measured = [trial for trial in body["status"]["trials"] if trial["state"] == "Measured"]
    trials = []
    for index in range(number):
        trial = copy.deepcopy(measured[index % len(measured)])
        trial |= {"number": index + 1, "repeat": index, "jobName": f"{trial['jobName']}-{index}"}
        for level in trial["levels"]:
            level["windows"] = (level["windows"] * 6)[:windows]
        trials.append(trial)
    body["status"]["trials"] = trials

    assert len(page(data_of(body)).encode()) < LIMIT_BYTES
