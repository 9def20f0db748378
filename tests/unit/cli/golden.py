"""Rendered samples: what `mtp render` prints for each, kept in files so that every change of an object is seen.

python -m tests.unit.cli.golden     (part of `make generate`)
"""

from pathlib import Path

from mtp_operator.cli.render import Installation, models_in, rendered_objects, to_yaml

SAMPLES = Path(__file__).parents[3] / "docs" / "samples"
GOLDEN = Path(__file__).parent / "golden"


def samples() -> list[Path]:
    """All samples."""
    return sorted(SAMPLES.rglob("*.yaml"))


def recorded(sample: Path) -> Path:
    """Where it is kept how a sample is rendered."""
    return GOLDEN / sample.relative_to(SAMPLES)


def render(sample: Path) -> str:
    """What is rendered of one sample with the chart's defaults."""
    objects = [
        one
        for model in models_in(sample.read_text(), sample.name, "default")
        for one in rendered_objects(model, Installation())
    ]
    return to_yaml(objects)


def main() -> None:
    """Rewrites every file."""
    for sample in samples():
        recorded(sample).write_text(render(sample))


if __name__ == "__main__":
    main()
