"""The diagrams of a report: SVG by matplotlib, with the page's own colors and fonts."""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from .data import Acceptance, Curve, Trial

INK, MUTED, GRID, ACCENT, BAND, CHOSEN = "#00000a", "#00000b", "#00000c", "#00000d", "#00000e", "#00000f"
"""Stand for colors of the page, which are other ones in the dark."""

_VARIABLES: Final = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--line",
    ACCENT: "--accent",
    BAND: "--band",
    CHOSEN: "--chosen",
}
_SETTINGS: Final = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mtp",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "figure.facecolor": "none",
}
_WIDTH, _HEIGHT = 3.8, 2.4
"""Of a diagram, in inches: small enough to be read on a phone."""

_PIXELS_PER_INCH: Final = (74, 122)
"""At least, before a diagram is scrolled, and at most."""

_MOST_DOTS: Final = 250
"""In the diagram of windows: more would only be a gray area, and make the file large."""

_SLOT: Final = 0.42
"""Inches that one trial takes in the diagram of its windows."""


def curve(shown: Curve, chosen: int | None, name: str) -> str:
    """Speed-up over n_spec: the tuner's band, its estimate, and a dot for each trial.

    Args:
        shown: the curve.
        chosen: the n_spec that the run chose.
        name: distinct for each diagram of a page.
    """

    def draw(axes: Axes) -> None:
        n_specs = [point.n_spec for point in shown.points]
        believed = [point.believed for point in shown.points]
        axes.fill_between(
            n_specs, [one.low for one in believed], [one.high for one in believed], color=BAND, linewidth=0
        )
        axes.plot(n_specs, [one.estimate for one in believed], color=ACCENT, linewidth=1.5)
        axes.axhline(1, color=MUTED, linewidth=0.8, linestyle=(0, (3, 3)))
        for point in shown.points:
            color = CHOSEN if point.n_spec == chosen else INK
            axes.plot([point.n_spec] * len(point.trials), point.trials, "o", color=color, markersize=4.5)
        axes.set_xticks(n_specs)
        axes.set_xlabel("n_spec")
        if chosen in n_specs:
            axes.axvline(chosen, color=CHOSEN, linewidth=1, zorder=1)
            axes.get_xticklabels()[n_specs.index(chosen)].set(color=CHOSEN, fontweight="bold")
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}x")
        axes.margins(x=0.04, y=0.14)

    return _svg(draw, name)


def windows(trials: Sequence[Trial], concurrency: int, chosen: int | None, name: str) -> str:
    """Throughput of each pass against the mean of its trial, one column for each trial, in their order."""
    shown = [
        (trial.n_spec, level.windows, level.output_tokens_per_second)
        for trial in trials
        for level in trial.levels
        if level.concurrency == concurrency and level.output_tokens_per_second
    ]

    def draw(axes: Axes) -> None:
        largest = 0.01
        style = "-o" if sum(len(speeds) for _, speeds, _ in shown) <= _MOST_DOTS else "-"
        for column, (n_spec, speeds, mean) in enumerate(shown):
            offsets = [speed / mean - 1 for speed in speeds]
            largest = max(largest, *map(abs, offsets))
            step = 0.7 / max(1, len(offsets) - 1)
            places = [column - 0.35 + step * index for index in range(len(offsets))]
            color = CHOSEN if n_spec == chosen else ACCENT
            axes.plot(places, offsets, style, color=color, linewidth=0.8, markersize=2.2)
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.set_xticks(range(len(shown)), [str(n_spec) for n_spec, *_ in shown])
        axes.set_xlim(-0.6, len(shown) - 0.4)
        axes.set_ylim(-1.15 * largest, 1.15 * largest)
        axes.set_xlabel("n_spec of each trial, in order")
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:+.1%}" if value else "0%")

    return _svg(draw, name, width=max(_WIDTH, 0.8 + _SLOT * len(shown)))


def acceptance(shown: Acceptance, name: str) -> str:
    """Share of accepted tokens by position: a bar over all trials, a dot for each."""

    def draw(axes: Axes) -> None:
        positions = [one.position for one in shown.positions]
        axes.bar(positions, [one.share for one in shown.positions], width=0.62, color=BAND)
        for one in shown.positions:
            axes.plot([one.position] * len(one.trials), one.trials, "o", color=ACCENT, markersize=3)
        axes.set_xticks(positions, [f"P{position}" for position in positions])
        axes.set_xlim(0.4, max(4, positions[-1]) + 0.6)
        axes.set_ylim(0, 1.04)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
        axes.set_xlabel("position in the draft")

    return _svg(draw, name)


def _svg(draw: Callable[[Axes], None], name: str, width: float = _WIDTH) -> str:
    """The diagram as an element of a page: no size of its own, ids that occur once, colors by variables."""
    settings: Any = {**_SETTINGS, "svg.id": name}
    with mpl.rc_context(settings):
        figure = Figure(figsize=(width, _HEIGHT), layout="constrained")
        draw(figure.add_subplot())
        text = io.StringIO()
        figure.savefig(
            text, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    return _adopted(text.getvalue(), name, width)


def _adopted(text: str, name: str, width: float) -> str:
    svg = text[text.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    least, most = (round(scale * width) for scale in _PIXELS_PER_INCH)
    svg = svg.replace("<svg", f'<svg style="min-width: {least}px; max-width: {most}px"', 1)
    svg = re.sub(r' (?:width|height)="[0-9.]+pt"', "", svg, count=2)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"(font-family:|font: [^;\"]*?px) [^;\"]+", r"\g<1> var(--sans)", svg)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    for stand_in, variable in _VARIABLES.items():
        svg = svg.replace(stand_in, f"var({variable})")
    return svg
