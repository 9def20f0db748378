"""The report as one HTML file: nothing is loaded, and whatever the run holds is text."""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from . import figures, words
from .data import Curve, Level, ReportData, Trial

_FOLDER: Final = Path(__file__).parent


def page(report: ReportData) -> str:
    """The page."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = _asset("page.js")
    return environment.get_template("page.html.jinja").render(
        report=report,
        words=words,
        levels=list(_levels(report)),
        curves=[(_curve_title(one), Markup(svg)) for one, svg in _curves(report)],  # noqa: S704
        windows=[(one, Markup(svg)) for one, svg in _windows(report)],  # noqa: S704
        acceptance=[(one, Markup(svg)) for one, svg in _acceptance(report)],  # noqa: S704
        categories=sorted({name for _, level in _levels(report) for name in level.categories}),
        fastest=_fastest(report),
        settings=yaml.safe_dump(report.settings, sort_keys=False, allow_unicode=True),
        document=report.to_wire(),
        style=Markup(_asset("page.css")),  # noqa: S704
        script=Markup(script),  # noqa: S704
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _asset(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _levels(report: ReportData) -> Iterator[tuple[Trial, Level]]:
    return ((trial, level) for trial in report.trials for level in trial.levels)


def _curve_title(curve: Curve) -> str:
    if curve.concurrency is None:
        return "All levels, weighted"
    best = f", best measured n_spec={curve.best_n_spec}" if curve.best_n_spec is not None else ""
    return f"Concurrency {curve.concurrency}{best}"


def _curves(report: ReportData) -> Iterator[tuple[Curve, str]]:
    for index, curve in enumerate(report.curves):
        yield curve, figures.curve(curve, report.verdict.n_spec, f"curve{index}")


def _windows(report: ReportData) -> Iterator[tuple[int, str]]:
    for concurrency in sorted({level.concurrency for _, level in _levels(report)}):
        yield (
            concurrency,
            figures.windows(report.trials, concurrency, report.verdict.n_spec, f"windows{concurrency}"),
        )


def _acceptance(report: ReportData) -> Iterator[tuple[int, str]]:
    for one in report.acceptance:
        yield one.concurrency, figures.acceptance(one, f"acceptance{one.concurrency}")


def _fastest(report: ReportData) -> dict[tuple[int, str], float]:
    """The highest speed at each level in each category, which colors of the table are relative to."""
    fastest: dict[tuple[int, str], float] = {}
    for _, level in _levels(report):
        for name, speed in level.categories.items():
            key = (level.concurrency, name)
            fastest[key] = max(fastest.get(key, 0.0), speed)
    return fastest
