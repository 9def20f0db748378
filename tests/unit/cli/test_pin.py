"""`mtp pin`: one value of a manifest changes, and nothing else of it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from mtp_operator.cli.main import app
from mtp_operator.cli.pin import PinError, pinned
from tests.unit.report.runs import Body, selected

SAMPLES = sorted((Path(__file__).parents[3] / "docs" / "samples").glob("*.yaml"))
HEAD = "apiVersion: mtp-operator.dev/v1alpha1\nkind: MTPModel\nmetadata: {name: qwen}\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("spec:\n  speculation:\n    nSpec: 2  # by hand\n", "spec:\n  speculation:\n    nSpec: 4  # by hand\n"),
        ("spec:\n  speculation: {nSpec: 12, method: MTP}\n", "spec:\n  speculation: {nSpec: 4, method: MTP}\n"),
        ("spec:\n  speculation: {method: MTP}\n", "spec:\n  speculation: {nSpec: 4, method: MTP}\n"),
        ("spec:\n  speculation: {}\n", "spec:\n  speculation: {nSpec: 4}\n"),
        ("spec:\n  speculation:\n  tuning: {}\n", "spec:\n  speculation: {nSpec: 4}\n  tuning: {}\n"),
        ("spec:\n  speculation: null # soon\n", "spec:\n  speculation: {nSpec: 4} # soon\n"),
        (
            "spec:\n    speculation:\n        # drafts\n        method: MTP\n",
            "spec:\n    speculation:\n        # drafts\n        nSpec: 4\n        method: MTP\n",
        ),
        (
            "spec:\n  # the weights\n  model: {uri: 'pvc://w/m'}\n",
            "spec:\n  # the weights\n  speculation:\n    nSpec: 4\n  model: {uri: 'pvc://w/m'}\n",
        ),
        ("spec: {engine: {type: VLLM}}\n", "spec: {speculation: {nSpec: 4}, engine: {type: VLLM}}\n"),
        ("spec:\n  speculation:\n    nSpec: null\n", "spec:\n  speculation:\n    nSpec: 4\n"),
        ('spec: {"speculation": {"nSpec": 0}}\r\n', 'spec: {"speculation": {"nSpec": 4}}\r\n'),
    ],
)
def test_only_the_value_changes(before: str, after: str) -> None:
    assert pinned(HEAD + before, "model.yaml", "qwen", 4) == HEAD + after
    assert pinned(HEAD + after, "model.yaml", "qwen", 4) == HEAD + after


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_changes_in_one_place(sample: Path) -> None:
    text = sample.read_text()
    (model,) = (one for one in yaml.safe_load_all(text) if one["kind"] == "MTPModel")

    changed = pinned(text, str(sample), model["metadata"]["name"], 4)

    lost = [line for line in text.splitlines() if line not in changed.splitlines()]
    assert len(lost) <= 1
    assert (
        next(one for one in yaml.safe_load_all(changed) if one["kind"] == "MTPModel")["spec"]["speculation"]["nSpec"]
        == 4
    )


def test_only_the_model_of_that_name_changes() -> None:
    other, ours = (
        f"{HEAD.replace('qwen', name)}spec:\n  speculation:\n    nSpec: 1\n---\n" for name in ("other", "qwen")
    )

    assert pinned(other + ours, "models.yaml", "qwen", 4) == other + ours.replace("nSpec: 1", "nSpec: 4")


KEYS = st.sampled_from(["method", "drafter", "a b", "ü"])
VALUES = st.one_of(
    st.integers(0, 9),
    st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=5),
    st.none(),
    st.booleans(),
)


@given(
    spec=st.fixed_dictionaries(
        {"model": st.dictionaries(KEYS, VALUES, max_size=3)},
        optional={"speculation": st.dictionaries(st.one_of(KEYS, st.just("nSpec")), VALUES, max_size=3)},
    ),
    flow=st.sampled_from([True, False, None]),
    as_json=st.booleans(),
    indent=st.integers(2, 6),
)
def test_whatever_the_layout_the_model_says_the_same_but_for_n_spec(
    spec: dict[str, Any], flow: bool | None, as_json: bool, indent: int
) -> None:
    model = {"apiVersion": "mtp-operator.dev/v1alpha1", "kind": "MTPModel", "metadata": {"name": "qwen"}, "spec": spec}
    text = (
        json.dumps(model, indent=indent, ensure_ascii=False)
        if as_json
        else yaml.safe_dump(model, default_flow_style=flow, indent=indent, allow_unicode=True)
    )

    after = yaml.safe_load(pinned(text, "model", "qwen", 4))

    assert after["spec"]["speculation"].pop("nSpec") == 4
    spec.setdefault("speculation", {}).pop("nSpec", None)
    assert after["spec"] == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Pod\n", "contains 0 of MTPModel named 'qwen', expected one (there: none)"),
        (HEAD.replace("qwen", "gemma") + "spec: {}\n", "expected one (there: gemma)"),
        (f"{HEAD}spec: {{}}\n---\n{HEAD}spec: {{}}\n", "contains 2 of MTPModel named 'qwen'"),
        (f"{HEAD}x: &s {{method: MTP}}\nspec:\n  speculation: *s\n", "speculation is an alias"),
        ("a: [", "invalid YAML"),
        (f"{HEAD}spec: text\n", "a mapping with speculation is expected"),
    ],
)
def test_what_cannot_be_pinned_is_refused(text: str, message: str) -> None:
    with pytest.raises(PinError) as refused:
        pinned(text, "model.yaml", "qwen", 4)
    assert message in str(refused.value)


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run() -> Body:
    return selected()


@pytest.fixture
def manifest(tmp_path: Path, run: Body) -> Path:
    file = tmp_path / "model.yaml"
    file.write_text(HEAD.replace("qwen", run["spec"]["modelName"]) + "spec:\n  speculation:\n    nSpec: 0 # later\n")
    return file


def pin(*arguments: str, text: str = "") -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["pin", *arguments], input=text)
    return result.exit_code, result.stdout, result.stderr


def test_what_a_run_chose_is_written(manifest: Path, run: Body) -> None:
    chosen = run["status"]["verdict"]["nSpec"]

    code, output, _ = pin(str(manifest), "--from", "-", text=json.dumps(run))

    assert code == 0
    assert f"nSpec is {chosen} now" in output
    assert manifest.read_text().endswith(f"nSpec: {chosen} # later\n")
    assert "already" in pin(str(manifest), "--from", "-", text=json.dumps(run))[1]


def test_a_diff_writes_nothing(manifest: Path, run: Body) -> None:
    before = manifest.read_text()

    code, output, _ = pin(str(manifest), "--from", "-", "--diff", text=json.dumps(run))

    assert code == 0
    assert f"+    nSpec: {run['status']['verdict']['nSpec']} # later\n" in output
    assert manifest.read_text() == before


@pytest.mark.parametrize(
    ("verdict", "message"),
    [
        (None, "chose no n_spec: it has no verdict yet"),
        ({"type": "Failed", "reason": "NothingMeasured", "message": "x"}, "its verdict is Failed"),
    ],
)
def test_a_run_without_a_choice_pins_nothing(manifest: Path, run: Body, verdict: Any, message: str) -> None:
    body = json.loads(json.dumps(run))
    body["status"]["verdict"] = verdict

    code, output, errors = pin(str(manifest), "--from", "-", text=json.dumps(body))

    assert (code, output) == (1, "")
    assert message in errors


def test_a_manifest_that_is_not_there_is_named(run: Body) -> None:
    assert pin("/nowhere.yaml", "--from", "-", text=json.dumps(run))[::2] == (
        1,
        "/nowhere.yaml: No such file or directory\n",
    )
