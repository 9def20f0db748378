"""Draws docs/images/n-spec-predicted.svg: what the tuner predicted, with its band, against what was recorded.

python docs/scripts/plot_n_spec.py
"""

from collections.abc import Callable
from pathlib import Path

from mtp_operator.tuner.beliefs import speedup
from mtp_operator.tuner.evidence import Evidence
from mtp_operator.tuner.replay import Curve, Noise, Run, read_curves, tune
from mtp_operator.tuner.tuner_records import Speedup

DOCS = Path(__file__).parents[1]
CURVE = "rtx5090-qwen38-27b-q4-600w"
NOISE = Noise(boot=0.02, seed=4)
MAX_TRIALS = 12

WIDTH, HEIGHT, MARGIN = 380, 300, 46
TOP = 2.6
"""Speed-up at the upper edge of a panel."""
STYLE = (
    "text{font:12px sans-serif;fill:#444}.axis{stroke:#888}.band{fill:#4a90d9;opacity:.22}"
    ".line{fill:none;stroke:#2a6db0;stroke-width:2}.truth{fill:none;stroke:#c0392b;stroke-width:1.5}"
    ".boot{fill:#222}.grid{stroke:#ddd}"
)


def main() -> None:
    """Replay one curve, and draw what was believed after two boots and at the end."""
    with (DOCS / "data" / "recorded-curves.csv").open(newline="") as file:
        curve = next(one for one in read_curves(file) if one.name == CURVE)
    run = tune(curve, 0, NOISE, MAX_TRIALS)
    moments = (2, len(run.trace))
    panels = "".join(panel(run, boots, offset=index * WIDTH) for index, boots in enumerate(moments))
    (DOCS / "images" / "n-spec-predicted.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH * len(moments)} {HEIGHT}">'
        f"<title>Predicted and recorded speed-up over n</title><style>{STYLE}</style>{panels}</svg>\n"
    )


def believed(run: Run, boots: int) -> dict[int, Speedup]:
    """The predicted speed-up of every n, once so many boots were made."""
    arms = [arm for _, arm in run.steps[:boots]]
    evidence = Evidence.of(arms, run.curve.settings(MAX_TRIALS))
    posterior = evidence.posterior()
    return {n: speedup(posterior, point) for point, n in enumerate(evidence.grid)}


def panel(run: Run, boots: int, offset: int) -> str:
    """One diagram: band, prediction, recorded curve, and the boots made so far."""
    curve, belief = run.curve, believed(run, boots)
    points = sorted(curve.points)
    low = [(n, belief[n].low) for n in points]
    high = [(n, belief[n].high) for n in points]
    estimate = [(n, belief[n].estimate) for n in points]
    recorded = [(n, curve.speed(n) / curve.speed(curve.baseline)) for n in points]
    first = run.steps[0][1].levels[0].windows
    dots = [(arm.n_spec, sum(arm.levels[0].windows) / sum(first)) for _, arm in run.steps[:boots]]
    marks = "".join(f'<circle class="boot" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in map(place(curve), dots))
    shapes = [
        f'<polygon class="band" points="{path(curve, [*low, *reversed(high)])}"/>',
        f'<polyline class="line" points="{path(curve, estimate)}"/>',
        f'<polyline class="truth" points="{path(curve, recorded)}"/>',
    ]
    return f'<g transform="translate({offset} 0)">{axes(curve, boots)}{"".join(shapes)}{marks}</g>'


def axes(curve: Curve, boots: int) -> str:
    """The frame of a panel and its labels."""
    at = place(curve)
    rows = [(0.5 * step, at((curve.baseline, 0.5 * step))[1]) for step in range(1, int(TOP / 0.5) + 1)]
    lines = "".join(
        f'<line class="grid" x1="{MARGIN}" x2="{WIDTH - 10}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{MARGIN - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.1f}</text>'
        for value, y in rows
    )
    ticks = "".join(
        f'<text x="{at((n, 0))[0]:.1f}" y="{HEIGHT - MARGIN + 18}" text-anchor="middle">{n}</text>'
        for n in curve.points
    )
    return (
        f'{lines}{ticks}<line class="axis" x1="{MARGIN}" x2="{WIDTH - 10}" y1="{HEIGHT - MARGIN}" '
        f'y2="{HEIGHT - MARGIN}"/><text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle">n_spec</text>'
        f'<text x="{WIDTH / 2}" y="18" text-anchor="middle">speed-up over n=0, after {boots} boots</text>'
    )


def place(curve: Curve) -> Callable[[tuple[int, float]], tuple[float, float]]:
    """From (n, speed-up) to pixels."""
    largest = max(curve.points)

    def to_pixels(point: tuple[int, float]) -> tuple[float, float]:
        n, value = point
        return (
            MARGIN + 12 + (WIDTH - MARGIN - 34) * n / largest,
            HEIGHT - MARGIN - (HEIGHT - MARGIN - 30) * min(value, TOP) / TOP,
        )

    return to_pixels


def path(curve: Curve, points: list[tuple[int, float]]) -> str:
    """Points as SVG wants them."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place(curve), points))


if __name__ == "__main__":
    main()
