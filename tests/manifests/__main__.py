"""What linters say of everything that runs: the chart, and what `mtp render` prints for every sample.

    python -m tests.manifests       (`make lint-manifests`)

A finding passes if docs/reference/linters.md explains it: the first two columns of its table name the linters' checks,
the third what they are said of. An explanation that no linter asks for any more fails as well.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import yaml

from tests.cluster import tools

REPOSITORY = Path(__file__).parents[2]
EXPLANATIONS = REPOSITORY / "docs" / "reference" / "linters.md"
CHART = REPOSITORY / "charts" / "mtp-operator"
CHART_SETTINGS: Final = {
    "chart": (),
    "chart-of-some-namespaces": ("--set=watchNamespaces={llm,team}", "--set=replicas=2"),
}
"""Installation -> what it sets: both kinds of roles, and a stand-by."""

CHECKOV_REQUIREMENTS = Path(__file__).parent / "checkov" / "requirements.txt"
KUBE_SCORE = tools.Tool(
    "kube-score",
    "github.com/zegl/kube-score",
    {"kube-score": ("version",)},
    ("main.version={version}",),
    sources=tools.SOURCES / "kube-score",
)
ALL_WELL: Final = 10
"""kube-score's best grade."""


@dataclass(frozen=True, order=True)
class Finding:
    """What one linter says of one kind of pods."""

    check: str
    about: str


def main() -> None:
    """Prints what docs/reference/linters.md does not explain, and explains for nothing; fails if there is any."""
    tools.ensure(next(tool for tool in tools.TOOLS if tool.name == "helm"))
    tools.ensure(KUBE_SCORE)
    # In a virtual environment of its own: its requirements are many and old.
    checkov = tools.python_tool("checkov", CHECKOV_REQUIREMENTS) / "checkov"
    with TemporaryDirectory() as folder:
        manifests = _write_manifests(Path(folder))
        subjects = {file.name: _subjects(file) for file in manifests}
        found: dict[Finding, str] = {}
        for file, name, check, words in (*_checkov_findings(checkov, Path(folder)), *_kube_score_findings(manifests)):
            about = subjects[file].get(name, "other objects")
            found.setdefault(Finding(check, about), f"{file}: {name}: {words}")
    explained = _explained()
    for finding in sorted(found.keys() - explained):
        print(f"{finding.check}, of {finding.about}, is not explained in docs/reference/linters.md: {found[finding]}")
    for finding in sorted(explained - found.keys()):
        print(f"{finding.check}, of {finding.about}, is explained in docs/reference/linters.md, and nothing reports it")
    print(f"{len(manifests)} streams, {len(found)} kinds of findings")
    sys.exit(found.keys() != explained)


# -- what is looked at -------------------------------------------------------------------------------------------------


def _write_manifests(folder: Path) -> list[Path]:
    files = []
    for name, settings in CHART_SETTINGS.items():
        files.append(folder / f"{name}.yaml")
        files[-1].write_text(
            _output(tools.find("helm"), "template", "mtp-operator", CHART, "--namespace=mtp", *settings)
        )
    mtp = Path(sys.executable).with_name("mtp")
    for sample in sorted((REPOSITORY / "docs" / "samples").rglob("*.yaml")):
        files.append(folder / sample.name)
        files[-1].write_text(_output(mtp, "render", sample, "--namespace=llm"))
    return files


def _subjects(file: Path) -> dict[str, str]:
    """Name of each object that makes pods -> what they are."""

    def subject(document: dict[str, Any]) -> str:
        if file.stem in CHART_SETTINGS:
            return "the operator"
        if document["kind"] == "Deployment":
            return "servers"
        return "trials" if "mtp-operator.dev/run" in document["metadata"]["labels"] else "fetches"

    documents = (document for document in yaml.safe_load_all(file.read_text()) if document)
    return {one["metadata"]["name"]: subject(one) for one in documents if one["kind"] in ("Deployment", "Job")}


def _explained() -> set[Finding]:
    """What the table in docs/reference/linters.md is about."""
    rows = [line.split("|")[1:-1] for line in EXPLANATIONS.read_text().splitlines() if line.startswith("| ")]
    return {
        Finding(check, about.strip())
        for checkov, kube_score, subjects, *_ in rows
        for check in re.findall("`([^`]+)`", checkov + kube_score)
        for about in subjects.split(",")
    }


# -- what they say -----------------------------------------------------------------------------------------------------


def _checkov_findings(program: Path, folder: Path) -> Iterator[tuple[str, str, str, str]]:
    """File, name of the object, check and its words."""
    options = ("--framework=kubernetes", "--output=json", "--quiet", "--compact", "--skip-download", "--soft-fail")
    report = json.loads(_output(program, f"--directory={folder}", *options))
    if report["summary"]["parsing_errors"]:
        raise RuntimeError(f"checkov cannot read {report['results']['parsing_errors']}")
    for failed in report["results"]["failed_checks"]:
        # <kind>.<namespace>.<name>, and of a pod the labels of its template.
        name = failed["resource"].split(".")[2]
        yield failed["file_path"].strip("/"), name, failed["check_id"], failed["check_name"]


def _kube_score_findings(files: list[Path]) -> Iterator[tuple[str, str, str, str]]:
    """The same of kube-score."""
    program = tools.program(KUBE_SCORE, "kube-score")
    for file in files:
        done = subprocess.run(
            [program, "score", "--output-format=json", file], capture_output=True, text=True, check=False
        )
        for scored in json.loads(done.stdout):
            for check in scored["checks"]:
                if not check["skipped"] and check["grade"] < ALL_WELL:
                    words = "; ".join(comment["summary"] for comment in check["comments"] or ())
                    yield file.name, scored["object_meta"]["name"], check["check"]["id"], words


def _output(*command: str | Path) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    main()
