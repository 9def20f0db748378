"""Every command of the pages about installing is one that works, as far as no cluster is needed to say so."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from mtp_operator.api.crd import KINDS
from mtp_operator.cli.main import app
from tests.chart.rendering import REPOSITORY, answer, documents, kustomized
from tests.cluster import tools

PAGES = [REPOSITORY / "docs" / name for name in ("install.md", "gitops.md", "metrics.md")] + [
    REPOSITORY / "charts" / name / "README.md" for name in ("mtp-operator", "mtp-operator-crds")
]
BUILT = {"dist/install.yaml", "dist/crds.yaml"}
"""Files that `make release-dry-run` makes and checks."""
OF_HELM_ON_CLUSTERS = {"--create-namespace", "--install", "--take-ownership", "--wait"}
RESOURCES = {name for kind in KINDS for name in (kind.model.__name__.lower(), kind.model.__name__.lower() + "s")}


@dataclass(frozen=True)
class Command:
    """One command of a page."""

    page: Path
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page.parent.name}/{self.page.name}: {' '.join(self.words)}"

    def option(self, *names: str) -> list[str]:
        """What follows each occurrence of an option."""
        return [word for option, word in zip(self.words, self.words[1:], strict=False) if option in names]


def commands() -> list[Command]:
    blocks = [
        (page, block)
        for page in PAGES
        for block in re.findall(r"^```\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    ]
    return [
        Command(page, tuple(shlex.split(line.partition(" > ")[0])))
        for page, block in blocks
        for line in block.replace("\\\n", " ").splitlines()
    ]


def of(program: str, *verbs: str) -> list[Command]:
    found = [one for one in commands() if one.words[0] == program and (not verbs or one.words[1] in verbs)]
    assert found
    return found


def test_every_command_is_looked_at() -> None:
    of_helm, of_kubectl = ("install", "upgrade", "uninstall"), ("apply", "patch", "get", "delete")
    looked_at = {*of("helm", *of_helm), *of("kubectl", *of_kubectl), *of("mtp")}

    assert [str(one) for one in commands() if one not in looked_at] == []


@pytest.mark.parametrize("command", of("helm", "install", "upgrade"), ids=str)
def test_a_chart_is_rendered_with_the_flags_of_the_page(command: Command) -> None:
    words = [word for word in command.words[2:] if word not in OF_HELM_ON_CLUSTERS]

    assert documents(answer(tools.find("helm"), "template", *words, folder=REPOSITORY))


@pytest.mark.parametrize("command", of("helm", "uninstall"), ids=str)
def test_what_is_removed_was_installed(command: Command) -> None:
    installed = {(one.words[3], *one.option("--namespace")) for one in of("helm", "upgrade")}

    assert (command.words[2], *command.option("--namespace")) in installed


@pytest.mark.parametrize("command", of("kubectl", "apply", "patch"), ids=str)
def test_what_is_applied_is_there(command: Command) -> None:
    folders, files = command.option("-k"), command.option("-f", "--patch-file")

    assert folders + files
    for folder in folders:
        assert kustomized(REPOSITORY / folder)
        assert "--server-side" in command.words
    for file in files:
        assert file in BUILT or documents((REPOSITORY / file).read_text())


@pytest.mark.parametrize("command", of("kubectl", "get", "delete"), ids=str)
def test_what_is_named_is_of_the_api(command: Command) -> None:
    resource, *names = [word for word in command.words[2:] if not word.startswith("-")]

    if resource == "crd":
        assert set(names) == {f"{kind.model.__name__.lower()}s.mtp-operator.dev" for kind in KINDS}
    else:
        assert resource in RESOURCES


@pytest.mark.parametrize("command", of("mtp"), ids=str)
def test_options_of_mtp_exist(command: Command) -> None:
    from typer.main import get_command

    parsers = get_command(app).commands  # type: ignore[attr-defined]
    parser = parsers[command.words[1]]

    context = parser.make_context("mtp", list(command.words[2:]), resilient_parsing=True)

    assert context.params
