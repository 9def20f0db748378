"""`kubectl mtp` as a user runs it: kubectl finds it on the PATH, it asks a real API server, on terminals of two widths.

What it prints is what `tests/unit/kubectl/golden/` and `tests/unit/report/golden/` hold, whatever the clock says.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from mtp_operator.cli.kubectl.diagnosis import checks
from mtp_operator.cli.kubectl.documents import Check
from tests.cluster import tools
from tests.cluster.lone_api_server import VISITOR, LoneApiServer, lone_api_server
from tests.cluster.recorded_states import MODELS, NAMESPACE, create, furnish, install_crds, whole, written
from tests.cluster.terminal import Shown, in_pipe, on_terminal
from tests.unit.kubectl import golden
from tests.unit.kubectl.clusters import BROKEN, HEALTHY
from tests.unit.kubectl.states import STATES

REPOSITORY = Path(__file__).parents[2]
SCHEMA = json.loads((REPOSITORY / "docs/kubectl-mtp.schema.json").read_text())
UNDER_WAY = ("fetching", "tuning", "failed-trial")
"""States that `watch` follows until it is interrupted; of all others it is told to end."""
REPORTS = {"tuned": "selected", "off": "off", "inconclusive": "inconclusive", "tuning": "going-on"}
"""State -> the golden report of the same run."""
COMMAND = re.compile(r"(?m)^\$ (kubectl mtp .*)\n")
AT_ONCE = 3


# -- the command -------------------------------------------------------------------------------------------------------


class User:
    """Somebody with a kubeconfig, and the plugin on the PATH."""

    def __init__(self, kubeconfig: Path) -> None:
        path = f"{REPOSITORY / '.venv/bin'}:{tools.find('kubectl').parent}:{os.environ['PATH']}"
        own = {"KUBECONFIG": str(kubeconfig), "PATH": path, "NO_COLOR": "1"}
        # Through no proxy: the address is on this machine.
        inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        self.environment = inherited | own

    def sees(self, line: str, columns: int) -> Shown:
        """What a command prints on a terminal."""
        return on_terminal(line.split(), columns, self.environment)

    def reads(self, line: str) -> Shown:
        """What a command prints into a pipe."""
        return in_pipe(line.split(), self.environment)

    def document(self, line: str, exit_code: int = 0) -> Any:
        """What a command prints as JSON; the schema holds it."""
        shown = self.reads(f"{line} -o json")
        assert shown.exit_code == exit_code, shown.text
        document = json.loads(shown.text)
        jsonschema.validate(document, SCHEMA)
        return document

    def watches(self, argv: Sequence[str], columns: int | None, expected: str | None) -> str:
        """What `watch` shows until it ends or, if something is expected, shows that and is interrupted."""

        def enough(shown: str) -> bool:
            return expected is not None and timeless(expected) in timeless(shown)

        if columns is None:
            shown = in_pipe(argv, self.environment, enough)
        else:
            shown = on_terminal(argv, columns, self.environment, enough)
        return timeless(shown.text)


def timeless(text: str) -> str:
    """The text without how long something has been running: digits that the clock of this machine decides."""
    return re.sub(r"(running|planned|ending) for (\d+h|\d+m\d+s|\d+s)", r"\1 for a while", text)


def recorded(name: str) -> Mapping[str, str]:
    """Command -> output, of a file of golden text."""
    _, *parts = COMMAND.split((golden.GOLDEN / name).read_text())
    return {command: _shown_lines(output) for command, output in zip(parts[::2], parts[1::2], strict=True)}


def _shown_lines(output: str) -> str:
    """Without the empty line between two commands, and without blanks that nobody sees."""
    return "\n".join(line.rstrip() for line in output.rstrip("\n").splitlines()) + "\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneApiServer]:
    """An API server with our kinds and a namespace."""
    with lone_api_server(tmp_path_factory.mktemp("api-server")) as one:
        install_crds(one)
        create(one, "/api/v1/namespaces", HEALTHY.namespace)  # type: ignore[arg-type]
        yield one


@pytest.fixture(scope="module")
def user(server: LoneApiServer) -> User:
    return User(server.kubeconfig())


# -- a model in each state ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", STATES)
def test_each_state_is_shown_as_it_is_recorded(state: str, server: LoneApiServer, user: User) -> None:
    world = golden.world_of(state)
    assert world.model is not None
    name = world.model["metadata"]["name"]
    expected: dict[tuple[str, int | None], str] = {}
    for width in golden.WIDTHS:
        for line, text in recorded(f"{state}-{width}.txt").items():
            piped = line.removesuffix(" | cat")
            expected[piped, None if piped != line else width] = text

    def shown(asked: tuple[str, int | None]) -> str:
        line, columns = asked
        if line.startswith("kubectl mtp watch"):
            if state in UNDER_WAY:
                return user.watches(line.split(), columns, expected[asked])
            return user.watches([*line.split(), "--until-settled"], columns, None)
        assert columns is not None
        return user.sees(line, columns).text

    with written(server, world), ThreadPoolExecutor(AT_ONCE) as pool:
        found = dict(zip(expected, pool.map(shown, expected), strict=True))
        documents = list(pool.map(user.document, (f"kubectl mtp status {name}", *_explained(name, len(world.runs)))))

    for asked, text in expected.items():
        if asked[0].startswith("kubectl mtp watch"):
            assert timeless(text) in found[asked], asked
        else:
            assert found[asked] == text, asked
    assert [document["kind"] for document in documents] == ["Status", "Explanation", "Explanation"][: len(documents)]
    assert documents[0]["summary"] == world.model["status"]["summary"]


def _explained(name: str, runs: int) -> list[str]:
    return [f"kubectl mtp explain {name}", f"kubectl mtp explain {name} --n 4"] if runs else []


@pytest.mark.parametrize("state", REPORTS)
def test_a_report_is_that_of_the_run(state: str, server: LoneApiServer, user: User) -> None:
    with written(server, golden.world_of(state)):
        report = user.reads("kubectl mtp report gemma -o md")
        data = user.reads("kubectl mtp report gemma -o json")
        page = user.reads("kubectl mtp report gemma")

    kept = REPOSITORY / "tests/unit/report/golden"
    assert report.text == _shown_lines((kept / f"{REPORTS[state]}.md").read_text())
    assert json.loads(data.text).keys() == json.loads((kept / f"{REPORTS[state]}.json").read_text()).keys()
    assert page.text.startswith("<!doctype html>")
    assert (report.exit_code, data.exit_code, page.exit_code) == (0, 0, 0)


# -- what looks at more than one model ---------------------------------------------------------------------------------


@pytest.mark.parametrize("width", golden.WIDTHS)
def test_two_runs_are_compared(width: int, server: LoneApiServer, user: User) -> None:
    worlds = (golden.world_of("tuned"), golden.upgraded())
    line = f"kubectl mtp compare gemma {next(iter(worlds[1].runs))}"
    with written(server, *worlds):
        assert user.sees(line, width).text == (golden.GOLDEN / f"compare-{width}.txt").read_text()
        assert user.document(line)["kind"] == "Comparison"


@pytest.mark.parametrize("width", golden.WIDTHS)
def test_a_reason_is_explained_without_a_model(width: int, user: User) -> None:
    line = "kubectl mtp explain NoNodeFits"
    assert user.sees(line, width).text == (golden.GOLDEN / f"explain-reason-{width}.txt").read_text()
    assert user.document(line)["kind"] == "Reason"


def test_retune_writes_one_field_and_nothing_with_dry_run(server: LoneApiServer, user: User) -> None:
    path = f"{MODELS}/gemma"
    with written(server, golden.world_of("tuned")):
        before = server.request("GET", path)
        tried = user.sees("kubectl mtp retune gemma --dry-run", 120)
        assert server.request("GET", path) == before
        done = user.document("kubectl mtp retune gemma")
        after = server.request("GET", path)

    assert " ".join(tried.text.split()) == (
        "gemma: spec.tuning.retuneRequest would be 1: everything is measured again; "
        "the last run took 4 trials and 2.0 min of GPU time. A manifest in Git should state the same number."
    )
    assert (done["retuneRequest"], after["spec"]["tuning"].pop("retuneRequest")) == (1, 1)
    assert before["spec"]["tuning"].pop("retuneRequest") == 0
    assert after["spec"] == before["spec"]


def test_plan_and_doctor_read_what_the_cluster_has(server: LoneApiServer, user: User, tmp_path: Path) -> None:
    furnish(server, HEALTHY)
    (tmp_path / "models.yaml").write_text(yaml.safe_dump_all(map(_manifest, golden.manifests())))
    line = f"kubectl mtp plan -f {tmp_path / 'models.yaml'}"
    with written(server, golden.world_of("tuned")):
        for width in golden.WIDTHS:
            assert user.sees(line, width).text == (golden.GOLDEN / f"plan-{width}.txt").read_text()
            examined = user.sees("kubectl mtp doctor", width)
            assert (examined.exit_code, _of_any_version(examined.text)) == (0, _healthy(width))
        assert user.document(line)["kind"] == "Plan"
        assert user.document("kubectl mtp doctor")["kind"] == "Diagnosis"


def _manifest(body: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: body["metadata"][key] for key in ("name", "namespace")}
    return {key: body[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": metadata}


def _healthy(width: int) -> str:
    kept = (golden.GOLDEN / f"doctor-healthy-{width}.txt").read_text()
    # The model that is there has its weights on a PVC.
    return _of_any_version(kept).replace("1 model with downloaded weights", "no model has downloaded weights yet")


def _of_any_version(text: str) -> str:
    return re.sub(r"(Kubernetes +)v\S+", r"\1VERSION", text)


def test_the_doctor_sees_what_is_wrong_and_says_what_it_may_not_see(tmp_path: Path) -> None:
    with lone_api_server(tmp_path) as server:
        install_crds(server, "MTPModel")
        create(server, "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        furnish(server, BROKEN)
        (stalled,) = BROKEN.models  # type: ignore[misc]
        blocked = golden.world_of("blocked").model
        assert blocked is not None
        create(server, MODELS, _manifest(blocked) | {"status": whole(stalled["status"])})
        _allow_the_visitor(server)

        document = User(server.kubeconfig(VISITOR)).document("kubectl mtp doctor", exit_code=1)

    found = [Check.model_validate(one) for one in document["checks"]]
    assert [one for one in found if one.name not in ("Kubernetes", "Pod Security")] == [
        one for one in checks(BROKEN) if one.name not in ("Kubernetes", "Pod Security")
    ]
    (unseen,) = (one for one in found if one.result == "unknown")
    assert unseen.name == "Pod Security"
    assert 'User "jane" cannot get resource "namespaces"' in unseen.message


def _allow_the_visitor(server: LoneApiServer) -> None:
    """All that the doctor reads, but the namespace."""
    api = {"apiGroup": "rbac.authorization.k8s.io"}
    readable = {
        "": ["nodes", "pods"],
        "apiextensions.k8s.io": ["customresourcedefinitions"],
        "apps": ["deployments"],
        "discovery.k8s.io": ["endpointslices"],
        "mtp-operator.dev": ["mtpmodels"],
        "storage.k8s.io": ["storageclasses"],
    }
    rules = [{"apiGroups": [group], "resources": names, "verbs": ["list"]} for group, names in readable.items()]
    roles = "/apis/rbac.authorization.k8s.io/v1"
    create(server, f"{roles}/clusterroles", {"metadata": {"name": "visitor"}, "rules": rules})
    binding = {
        "metadata": {"name": "visitor"},
        "roleRef": {**api, "kind": "ClusterRole", "name": "visitor"},
        "subjects": [{**api, "kind": "User", "name": VISITOR}],
    }
    create(server, f"{roles}/clusterrolebindings", binding)
