"""What can be held of a command of the pages without running it: its flags, files, values, resources and fields."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml
from typer.main import get_command
from typer.testing import CliRunner

from mtp_operator.api.crd import KINDS
from mtp_operator.cli.kubectl.kubectl_command import app as kubectl_app
from mtp_operator.cli.main import app
from release import settings
from tests.chart.rendering import answer, documents, kustomized
from tests.cluster import tools
from tests.docs import runs
from tests.docs.commands import Command, commands
from tests.docs.pages import REPOSITORY
from tests.unit.report.runs import selected

BUILT = {"dist/install.yaml", "dist/crds.yaml"}
"""Files that `make release-dry-run` makes and checks."""
OF_HELM_ON_CLUSTERS = {"--create-namespace", "--install", "--take-ownership", "--wait"}
OURS = {
    name: kind
    for kind in KINDS
    for name in (kind.model.__name__.lower(), kind.model.__name__.lower() + "s", kind.short_name)
}
OBJECTS: Mapping[str, Callable[[], dict[str, Any]]] = {"mtpmodel": runs.model, "mtptuningrun": selected}
"""Resource -> an object with a status."""
OF_KUBERNETES = {"configmap", "crd", "deployment", "namespace", "pods", "service", "serviceaccount"}
WITHOUT_CLUSTER = {"explain", "--version"}
"""What `kubectl mtp` answers by itself."""
OF_EVERY_COMMAND = {"--namespace", "-n", "--context", "--kubeconfig"}


# -- ours --------------------------------------------------------------------------------------------------------------


def mtp(command: Command) -> None:
    """Its options exist."""
    parser = get_command(app).commands[command.words[1]]  # type: ignore[attr-defined]
    assert parser.make_context("mtp", list(command.words[2:]), resilient_parsing=True).params


def mtp_tune(command: Command) -> None:
    """Its options exist, and the command line of an engine is one that can be taken over."""
    mtp(command)
    if "--" in command.words:
        engine = command.words[command.words.index("--") :]
        result = CliRunner().invoke(app, ["init", *engine])
        assert result.exit_code == 0, result.output
    for file in (word for word in command.words if word.startswith("docs/")):
        assert (REPOSITORY / file).exists()


def kubectl_mtp(command: Command) -> None:
    """The verb and its options exist, and what needs no cluster runs."""
    if command.words[2] in WITHOUT_CLUSTER:
        result = CliRunner().invoke(kubectl_app, list(command.words[2:]))
        assert result.exit_code == 0, result.output
    verbs = get_command(kubectl_app).commands  # type: ignore[attr-defined]
    if command.words[2].startswith("-"):
        assert any(command.words[2] in one.opts for one in get_command(kubectl_app).params)
    else:
        verb = verbs[command.words[2]]
        assert verb.make_context("kubectl mtp", list(command.words[3:]), resilient_parsing=True).params


def make(command: Command) -> None:
    """The target exists, and what is set is used."""
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for word in command.words[1:]:
        name, is_set, _ = word.partition("=")
        if is_set:
            assert re.search(rf"\b{name}\b", makefile), word
        elif not word.startswith("-"):
            assert re.search(rf"^{word}:.*## ", makefile, re.MULTILINE), word


def python(command: Command) -> None:
    """The module exists."""
    assert command.words[1] == "-m"
    assert importlib.util.find_spec(command.words[2])


def pip(command: Command) -> None:
    """The folder is a package, and the extra is one of it."""
    match = re.fullmatch(r"\./(\w+)\[(\w+)\]", command.words[-1])
    assert match
    project = tomllib.loads((REPOSITORY / match[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert match[2] in project["optional-dependencies"]


# -- kubectl -----------------------------------------------------------------------------------------------------------


def kubectl(command: Command) -> None:
    """Its flags exist, and what it names of the API too."""
    for flag in _flags(command):
        assert flag in OF_EVERY_COMMAND or flag in _flags_of_kubectl(command.words[1]), flag
    resource = _resource(command)
    assert resource is None or resource in OURS or resource in OF_KUBERNETES
    if resource == "crd":
        plurals = {f"{kind.model.__name__.lower()}s.mtp-operator.dev" for kind in KINDS}
        assert {word for word in command.words if word.endswith(".mtp-operator.dev")} == plurals
    if resource in OURS:
        schema = OURS[resource].definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for path in (*_patched(command), *_asked(command)):
            assert _is_field(schema, path), ".".join(path)


def kubectl_get(command: Command) -> None:
    """The same; and what a JSONPath asks for is printed of an object that has it."""
    kubectl(command)
    for output in command.option("--output"):
        if output.startswith("jsonpath="):
            shown = runs.printed(OBJECTS[_resource(command) or ""](), output)
            assert shown.strip(), output


def kubectl_apply(command: Command) -> None:
    """What is applied exists; CRDs, which are too large for an annotation, go to the server's side."""
    kubectl(command)
    folders, files = command.option("-k"), command.option("-f", "--filename")
    assert folders + files
    for folder in folders:
        assert kustomized(REPOSITORY / folder)
    for file in files:
        exists = (REPOSITORY / file).exists()
        assert exists or file in BUILT or file == "model.yaml"
        assert not exists or documents((REPOSITORY / file).read_text(encoding="utf-8"))
    assert "--server-side" in command.words or not (folders or BUILT.intersection(files))


def _flags(command: Command) -> Iterator[str]:
    return (word.partition("=")[0] for word in command.words if word.startswith("-"))


@functools.cache
def _flags_of_kubectl(verb: str) -> frozenset[str]:
    text = answer(tools.find("kubectl"), verb, "--help")
    return frozenset(re.findall(r"(?<![\w-])--?[a-z][a-z-]*(?==|,)", text)) | {"-f", "-k"}


def _resource(command: Command) -> str | None:
    """The resource that a command is about; None where its files say so."""
    takes_value = {"--namespace", "--output", "--selector", "--type", "--patch", "--patch-file", "--timeout", "--for"}
    words = list(command.words[2:])
    while words:
        word = words.pop(0)
        if word in takes_value or word in ("-n", "-o", "-f", "-k", "--filename", "-l"):
            words.pop(0)
        elif not word.startswith("-"):
            return word.partition("/")[0]
    return None


def _patched(command: Command) -> Iterator[list[str]]:
    """Paths of the fields that a patch sets."""
    for text in command.option("--patch"):
        yield from _leaves(json.loads(text), [])


def _leaves(value: Any, path: list[str]) -> Iterator[list[str]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _leaves(part, [*path, name])
    else:
        yield path


def _asked(command: Command) -> Iterator[list[str]]:
    """The beginnings of the paths that a JSONPath asks for: up to the first list."""
    for text in command.option("--output", "-o"):
        for path in re.findall(r"\.((?:status|spec|metadata)[.\w]*)", text.removeprefix("jsonpath=")):
            yield path.split(".")


def _is_field(schema: Mapping[str, Any], path: list[str]) -> bool:
    for name in path:
        if name not in schema.get("properties", {}):
            return False
        schema = schema["properties"][name]
    return True


# -- helm --------------------------------------------------------------------------------------------------------------


def helm_template(command: Command) -> None:
    """The chart renders with the flags of the page."""
    words = [word for word in command.words[2:] if word not in OF_HELM_ON_CLUSTERS]
    assert documents(answer(tools.find("helm"), "template", *words, folder=REPOSITORY))


def helm_uninstall(command: Command) -> None:
    """What is removed was installed."""
    installed = {(one.words[3], *one.option("--namespace")) for one in commands() if one.verb == "helm upgrade"}
    assert (command.words[2], *command.option("--namespace")) in installed


def helm_test(command: Command) -> None:
    """The release is installed with its test just before."""
    (upgrade,) = (one for one in commands() if one.block == command.block and one.verb == "helm upgrade")
    assert (command.words[2], *command.option("--namespace")) == (upgrade.words[3], *upgrade.option("--namespace"))
    assert "test.enabled=true" in upgrade.option("--set")


def helm_push(command: Command) -> None:
    """The file is a chart as a release names it."""
    charts = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in REPOSITORY.glob("charts/*/Chart.yaml")]
    assert command.words[2] in {f"dist/{chart['name']}-{chart['version']}.tgz" for chart in charts}


# -- others ------------------------------------------------------------------------------------------------------------


def docker_build(command: Command) -> None:
    """The Dockerfile exists."""
    (file,) = command.option("--file")
    assert (REPOSITORY / file).exists()


def docker_image(command: Command) -> None:
    """The image is one that a page builds, or the chart's."""
    built = {tag for one in commands() if one.verb == "docker build" for tag in one.option("--tag")}
    values = yaml.safe_load((REPOSITORY / "charts/mtp-operator/values.yaml").read_text(encoding="utf-8"))
    ours = {image.removeprefix("docker.io/") for image in values["engineImages"].values()}
    assert command.words[2] in built | ours


def git(command: Command) -> None:
    """The address is the project's."""
    assert command.words == ("git", "clone", f"https://github.com/{settings.OWNER}/{settings.REPOSITORY}")


def cd(command: Command) -> None:
    """The folder is what git clones."""
    assert command.words == ("cd", settings.REPOSITORY)


def export(command: Command) -> None:
    """The variable comes from a target of make."""
    assert command.words == ("export", "KUBECONFIG=$(make", "-s", "kubeconfig)")
    make(Command(command.block, ("make", "-s", "kubeconfig")))


def curl(command: Command) -> None:
    """The request is one for the OpenAI API, with what engines insist on."""
    (body,) = command.option("--data")
    assert json.loads(body)["messages"]
    assert command.words[1].endswith("/v1/chat/completions")
    assert command.option("--header") == ["Content-Type: application/json"]


def jq(command: Command) -> None:
    """The fields are ones of the documents that `kubectl mtp` prints."""
    schema = (REPOSITORY / "docs" / "kubectl-mtp.schema.json").read_text(encoding="utf-8")
    fields = re.findall(r"\.([a-z]\w*)", command.words[-1])
    assert fields
    assert [name for name in fields if f'"{name}"' not in schema] == []


def in_lint_manifests(command: Command) -> None:
    """The linter is one that `make lint-manifests` runs."""
    assert command.program in (REPOSITORY / "tests/manifests/__main__.py").read_text(encoding="utf-8")
