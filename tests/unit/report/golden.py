"""Reports kept in files so that every change of a sentence or a figure is seen.

python -m tests.unit.report.golden     (part of `make generate`)
"""

import json
from pathlib import Path

from mtp_operator.api.run import MTPTuningRun
from mtp_operator.report.data import ReportData
from mtp_operator.report.extract import report_data
from mtp_operator.report.markdown import markdown

from .runs import RUNS, Body

GOLDEN = Path(__file__).with_name("golden")


def data_of(body: Body) -> ReportData:
    """What is reported of a run."""
    return report_data(MTPTuningRun.from_wire(body))


def reports(name: str) -> dict[str, str]:
    """File name -> content, for one run."""
    data = data_of(RUNS[name]())
    return {f"{name}.md": markdown(data), f"{name}.json": json.dumps(data.to_wire(), indent=1) + "\n"}


def main() -> None:
    """Rewrites every file."""
    GOLDEN.mkdir(exist_ok=True)
    for name in RUNS:
        for file, content in reports(name).items():
            (GOLDEN / file).write_text(content)


if __name__ == "__main__":
    main()
