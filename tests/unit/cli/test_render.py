"""`mtp render`: the same objects as in a cluster, and errors that say where."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from mtp_operator.cli.main import app
from mtp_operator.cli.render import Installation

from .golden import GOLDEN, recorded, render, samples

REPOSITORY = Path(__file__).parents[3]
MODEL = """\
apiVersion: mtp-operator.dev/v1alpha1
kind: MTPModel
metadata: {name: qwen}
spec:
  model: {uri: pvc://weights/qwen}
  engine: {type: VLLM}
"""


@pytest.mark.parametrize("sample", samples(), ids=lambda path: path.stem)
def test_samples_are_rendered_as_recorded(sample: Path) -> None:
    assert render(sample) == recorded(sample).read_text(), "if the change is meant, run `make generate`"


def test_no_recorded_file_is_left_over() -> None:
    assert set(GOLDEN.rglob("*.yaml")) == set(map(recorded, samples()))


def run(*arguments: str, text: str = "") -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["render", *arguments], input=text)
    return result.exit_code, result.stdout, result.stderr


def rendered(text: str, *options: str) -> list[dict[str, Any]]:
    code, output, errors = run("-", *options, text=text)
    assert (code, errors) == (0, "")
    return list(yaml.safe_load_all(output))


def test_one_trial_of_each_n_follows_the_run() -> None:
    run_of_model, policy, *trials = rendered(MODEL, "--namespace=llm")

    assert (run_of_model["kind"], policy["kind"]) == ("MTPTuningRun", "NetworkPolicy")
    assert [one["metadata"]["labels"]["mtp-operator.dev/n-spec"] for one in trials] == [str(n) for n in range(9)]
    assert {one["metadata"]["namespace"] for one in (run_of_model, policy, *trials)} == {"llm"}
    assert not [one for one in (run_of_model, policy, *trials) if "ownerReferences" in one["metadata"]]


def test_images_and_limits_are_those_of_the_installation() -> None:
    _, _, trial, *_ = rendered(MODEL, "--vllm-image=vllm:1", "--bench-image=bench:1", "--ready-seconds=60")
    _, _, usual, *_ = rendered(MODEL, "--ready-seconds=1800")
    pod = trial["spec"]["template"]["spec"]

    assert pod["initContainers"][0]["image"] == "vllm:1"
    assert pod["containers"][0]["image"] == "bench:1"
    assert pod["activeDeadlineSeconds"] == usual["spec"]["template"]["spec"]["activeDeadlineSeconds"] - 1740


def test_other_kinds_and_empty_documents_are_passed_over() -> None:
    assert rendered(f"---\n---\nkind: Secret\n---\n{MODEL}") == rendered(MODEL)


SERVED = ["NetworkPolicy", "Service", "Deployment"]


@pytest.mark.parametrize(
    ("change", "n_spec"), [("  speculation: {nSpec: 3}\n", "3"), ("  tuning: {mode: Disabled}\n", "0")]
)
def test_where_nothing_is_measured_there_are_servers_and_no_trials(change: str, n_spec: str) -> None:
    objects = rendered(MODEL + change)

    assert [one["kind"] for one in objects] == SERVED
    assert objects[-1]["spec"]["template"]["metadata"]["labels"]["mtp-operator.dev/n-spec"] == n_spec


def test_what_serves_meanwhile_follows_the_trials() -> None:
    objects = rendered(MODEL + "  serving: {whileTuning: Baseline, replicas: 2}\n")

    assert [one["kind"] for one in objects if one["kind"] not in ("MTPTuningRun", "Job")] == [
        "NetworkPolicy",
        "NetworkPolicy",
        "Service",
        "PodDisruptionBudget",
        "Deployment",
    ]


def test_tuned_only_is_not_served() -> None:
    assert rendered(MODEL + "  speculation: {nSpec: 3}\n  serving: {replicas: 0}\n") == []


def test_what_is_fetched_comes_first_with_a_commit_of_zeros() -> None:
    text = MODEL.replace("pvc://weights/qwen", "hf://Qwen/Qwen") + "  storage: {newClaim: {size: 60Gi}}\n"
    claim, fetch, run, *_ = rendered(text)

    assert [claim["kind"], fetch["kind"], run["kind"]] == ["PersistentVolumeClaim", "Job", "MTPTuningRun"]
    assert run["spec"]["model"]["revision"] == "0" * 40


def test_ten_lines_on_what_is_rendered_show_that_servers_are_what_trials_measure() -> None:
    trials = [one for one in rendered(MODEL) if one["kind"] == "Job"]
    for trial in trials:
        n_spec = trial["metadata"]["labels"]["mtp-operator.dev/n-spec"]
        server = rendered(f"{MODEL}  speculation: {{nSpec: {n_spec}}}\n")[-1]
        (measured,) = trial["spec"]["template"]["spec"]["initContainers"]
        (served,) = server["spec"]["template"]["spec"]["containers"]
        for name in measured.keys() - {"args", "restartPolicy"}:
            assert served[name] == measured[name]
        differing = set(served["args"]) ^ set(measured["args"])
        assert all(one.startswith(("--host=", "--log-file=")) for one in differing)
    assert len(trials) == 9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("kind: Secret\n", "-: holds no MTPModel", id="no model"),
        pytest.param(f"{MODEL}---\na: [\n", "-:9: cannot be read as YAML: ", id="no YAML"),
        pytest.param(
            MODEL.replace("v1alpha1", "v2"),
            "-:1: apiVersion: must be mtp-operator.dev/v1alpha1, not mtp-operator.dev/v2",
            id="version",
        ),
        pytest.param("kind: MTPModel\n", "-:1: apiVersion: must be", id="nothing but a kind"),
        pytest.param(
            f"{MODEL}---\n{MODEL}  tuning: {{maxNspec: 4}}\n",
            "-:14: spec.tuning.maxNspec: unknown field; did you mean maxNSpec?",
            id="unknown field",
        ),
        pytest.param(
            f"{MODEL}  tuning: {{workload: {{levels: [{{concurrency: 1}}, {{weights: 1}}]}}}}\n",
            "-:7: spec.tuning.workload.levels[1].weights: unknown field; did you mean weight?",
            id="unknown field in a list",
        ),
        pytest.param(
            f"{MODEL}  tuning: {{maxNSpec: 40}}\n",
            "-:7: spec.tuning.maxNSpec: Invalid value: 40: should be less than or equal to 16",
            id="bound",
        ),
        pytest.param(
            MODEL.replace("VLLM", "TGI"),
            '-:6: spec.engine.type: Unsupported value: "TGI": supported values: "VLLM", "LlamaCpp", "SGLang"',
            id="engine",
        ),
        pytest.param(MODEL.replace("name: qwen", ""), "-:3: metadata.name: Required value", id="no name"),
        pytest.param(
            "apiVersion: mtp-operator.dev/v1alpha1\nkind: MTPModel\nmetadata: {name: x}\n",
            "-:1: spec: Required value",
            id="no spec",
        ),
        pytest.param(
            MODEL.replace("{type: VLLM}", "{type: VLLM, extraArgs: [--max-num-seqs=4]}"),
            "-:6: spec.engine.extraArgs[0]: Invalid value: must not be --max-num-seqs, which is ",
            id="refused by the engine",
        ),
    ],
)
def test_an_error_says_where(text: str, message: str) -> None:
    code, output, errors = run("-", text=text)

    assert (code, output) == (1, "")
    assert errors.startswith(message)


def test_a_file_that_is_not_there_is_named() -> None:
    code, _, errors = run("/nowhere/model.yaml")

    assert code == 1
    assert errors.startswith("/nowhere/model.yaml: ")


def test_defaults_are_the_charts() -> None:
    chart = REPOSITORY / "charts" / "mtp-operator"
    values = yaml.safe_load((chart / "values.yaml").read_text())
    version = yaml.safe_load((chart / "Chart.yaml").read_text())["appVersion"]
    package = tomllib.loads((REPOSITORY / "operator" / "pyproject.toml").read_text())["project"]["version"]

    assert version == package
    assert Installation() == Installation(
        vllm_image=values["engineImages"]["VLLM"],
        llama_cpp_image=values["engineImages"]["LlamaCpp"],
        bench_image=f"{values['image']['repository']}:{version}",
        ready_seconds=values["trials"]["readySeconds"],
        level_seconds=values["trials"]["levelSeconds"],
    )
