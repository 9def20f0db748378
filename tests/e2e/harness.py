"""What the demo and the end-to-end tests do to a cluster: install the operator, apply models, read what came of it."""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml
from filelock import FileLock

from tests.cluster import api_server, lifecycle, node, paths, tools
from tests.mtp_model import ModelShape, write_model

from . import demo_there

REPOSITORY = Path(__file__).parents[2]
SAMPLES = REPOSITORY / "docs" / "samples"
CHART = REPOSITORY / "charts" / "mtp-operator"
RELEASE = "mtp-operator"
OPERATOR_NAMESPACE = "mtp-system"
OPERATOR_IMAGE = "localhost/mtp-operator/operator"
MODEL_CLAIM = "mtp-demo-model"
SIMULATED_CLAIM = "mtp-demo-simulated"

HUB_REPOSITORY = "llm/tiny-mtp"
"""On the tests' hub: our model as vLLM loads it."""
HUB_REPOSITORY_GGUF = "llm/tiny-mtp-gguf"
"""The same as llama.cpp loads it, for those who have the token."""
HUB_TOKEN = "hf_of_the_test"
HUB_PORT = 8499

BEST_N_SPEC = 2
"""Our model's best n on llama.cpp: its drafter is right for two tokens, and never for a third."""

HANG_SECONDS = 900.0
"""A wait that takes longer has hung, on any machine: waits do not test speed."""

Result = TypeVar("Result")

kubectl = node.kubectl


def helm(*arguments: str) -> str:
    """Runs Helm against the test cluster and returns its output.

    Raises:
        RuntimeError: with Helm's message, if it fails.
    """
    done = subprocess.run(
        [str(tools.find("helm")), *arguments, "--kubeconfig", str(paths.kubeconfig())],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_SECONDS + 60,
    )
    if done.returncode:
        raise RuntimeError(f"`helm {' '.join(arguments)}`: {done.stderr.strip()}")
    return done.stdout


def install_operator(level_seconds: int = 8, ready_seconds: int = 300, chart: Path = CHART, **values: Any) -> None:
    """Installs the chart as a user does, with the images that were built here; waits until it is ready.

    Args:
        level_seconds: of a trial; our small model is measured in seconds.
        ready_seconds: that a trial's engine may take.
        chart: the folder of the chart.
        values: of the chart, as they are.
    """
    settings = {
        "image": {"repository": OPERATOR_IMAGE, "tag": "dev"},
        "engineImages": {
            "VLLM": "localhost/mtp-operator/vllm-cpu:dev",
            "LlamaCpp": "localhost/mtp-operator/llamacpp-cpu:dev",
        },
        "trials": {"readySeconds": ready_seconds, "levelSeconds": level_seconds},
        **values,
    }
    values_file = paths.state_dir() / "values.json"
    values_file.write_text(json.dumps(settings))
    helm(
        "upgrade", "--install", RELEASE, str(chart), "--namespace", OPERATOR_NAMESPACE, "--create-namespace",
        "--values", str(values_file), "--wait", "--timeout", "10m",
    )  # fmt: skip


def install_tested_operator(level_seconds: int = 4, ready_seconds: int = 300, **values: Any) -> None:
    """The same for tests: it measures for less long, and asks their hub and no other, whether or not that runs."""
    hub = {"endpoint": f"http://{paths.endpoint(paths.host_address(), HUB_PORT)}"}
    install_operator(level_seconds, ready_seconds, hub=hub, **values)


def restart_operator() -> None:
    """Replaces the operator's pods, so that a rebuilt image of the same name runs."""
    kubectl("rollout", "restart", f"deployment/{RELEASE}", "-n", OPERATOR_NAMESPACE)
    kubectl("rollout", "status", f"deployment/{RELEASE}", "-n", OPERATOR_NAMESPACE, "--timeout=10m")


def scale_operator(replicas: int) -> None:
    """Sets the number of operator pods and waits until it holds."""
    kubectl("scale", f"deployment/{RELEASE}", "-n", OPERATOR_NAMESPACE, f"--replicas={replicas}")
    wait_until(
        lambda: len(operator_pods()) == replicas,
        f"{replicas} operator pods",
    )


def operator_pods() -> list[dict[str, Any]]:
    """The operator's pods, those that are ending included."""
    return items("pods", OPERATOR_NAMESPACE, f"app.kubernetes.io/instance={RELEASE}")


SMALL_SHAPE = ModelShape(layers=8, intermediate_size=128)
"""Of a model that takes a millisecond a token, whatever n: for tests to which the best n does not matter."""


@contextmanager
def one_gpu() -> Iterator[None]:
    """The node has one GPU."""
    node.set_gpus(1)
    try:
        yield
    finally:
        node.set_gpus(lifecycle.DEFAULT_GPUS)


def model_folder() -> Path:
    """The folder with our model in both engines' forms."""
    return _model_folder("model", ModelShape())


def try_model_folder() -> Path:
    """The same with a model of half the layers: a trial of it takes a quarter of a minute."""
    return _model_folder("try-model", ModelShape(layers=16))


def small_model_folder() -> Path:
    """The same with the small model."""
    return _model_folder("small-model", SMALL_SHAPE)


def drafted_model_folder() -> Path:
    """The small model with a drafter of each kind: `KIND.gguf`, and a folder `drafters/KIND`."""
    return _model_folder("drafted-model", SMALL_SHAPE, drafters=True)


def _model_folder(name: str, shape: ModelShape, *, drafters: bool = False) -> Path:
    """Made anew when the code that makes it has changed."""
    digest = hashlib.sha256()
    for source in sorted((REPOSITORY / "tests" / "mtp_model").glob("*.py")):
        digest.update(source.read_bytes())
    folder = paths.cache_dir() / name / digest.hexdigest()[:12]
    # Tests that go side by side want it at the same time.
    with FileLock(paths.cache_dir() / f"{name}.lock"):
        if not folder.exists():
            write_model(folder, shape=shape, drafters=drafters)
    return folder


def ensure_namespace(namespace: str, **labels: str) -> None:
    """Makes a namespace unless it is there."""
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
    kubectl("apply", "--filename=-", document=document)


@contextmanager
def restricted_namespace(name: str) -> Iterator[str]:
    """A namespace that admits only restricted pods; in the end nothing of its models is left."""
    ensure_namespace(name, **{"pod-security.kubernetes.io/enforce": "restricted"})
    yield name
    clear(name)
    kubectl("delete", "namespace", name, "--wait=false")


def ensure_model_claim(namespace: str, claim: str = MODEL_CLAIM, folder: Path | None = None) -> None:
    """Makes a claim in the namespace that shows our model, or the folder given."""
    node.create_volume(namespace, claim, folder or model_folder())


@contextmanager
def waiting_volume(name: str, folder: Path, namespace: str, claim: str) -> Iterator[None]:
    """A volume that anyone may write to and that waits for a claim, as a StorageClass would make one."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain",
        "hostPath": {"path": str(folder), "type": "Directory"},
        "claimRef": {"namespace": namespace, "name": claim},
    }
    document = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
    kubectl("apply", "--filename=-", document=document)
    yield
    kubectl("delete", "persistentvolume", name, "--wait=false")


def ensure_simulated_claim(namespace: str) -> None:
    """Makes the claim of the simulated GPU's sample, which holds no more of a model than what it is."""
    folder = paths.cache_dir() / "simulated-model"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(demo_there.CONFIGURATION))
    node.create_volume(namespace, SIMULATED_CLAIM, folder)


def clear(namespace: str) -> None:
    """Deletes all models of a namespace and what is theirs; servers are not given time to drain."""
    kubectl("delete", "mtpmodels", "--all", "-n", namespace)
    wait_until(
        lambda: not items("deployments", namespace) and not items("jobs", namespace),
        f"no Deployment or Job left in {namespace}",
    )
    kubectl("delete", "pods", "--all", "-n", namespace, "--force", "--grace-period=0")
    wait_until(lambda: not items("pods", namespace), f"no pod left in {namespace}")


def manifest(name: str) -> dict[str, Any]:
    """A sample as users apply it."""
    document: dict[str, Any] = yaml.safe_load((SAMPLES / f"{name}.yaml").read_text())
    return document


def sample(name: str, **changes: Any) -> dict[str, Any]:
    """A sample for a test; `changes` replaces values by dotted path with `__` for the dot.

    Its pods ask for little of the CPU: tests go side by side on a node with two cores, and none waits for another one.
    """
    document = manifest(name)
    document["spec"].setdefault("template", {})["resources"] = {"requests": {"cpu": "100m"}}
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = document
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return document


def simulated(times_as_fast: float, **changes: Any) -> dict[str, Any]:
    """The simulated GPU's sample for a test, so many times as fast as its curve, and ready at once."""
    document = sample("demo-simulated", **changes)
    engine = document["spec"]["engine"]
    own = {"SIMULATED_GPU_SPEED": str(times_as_fast), "SIMULATED_GPU_START_SECONDS": "0"}
    kept = [one for one in engine["env"] if one["name"] not in own]
    engine["env"] = [*kept, *({"name": name, "value": value} for name, value in own.items())]
    return document


def apply(document: dict[str, Any], namespace: str) -> None:
    """Applies one object."""
    kubectl("apply", "--namespace", namespace, "--filename=-", document=document)


def own_prompts(namespace: str, lines: str) -> dict[str, Any]:
    """Applies a ConfigMap of own prompts, in JSON Lines; answers the `prompts` of a workload that asks them."""
    name, key = "own", "prompts.jsonl"
    apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {key: lines}}, namespace)
    return {"configMap": {"name": name, "key": key}}


API_OF = {
    "deployments": "apis/apps/v1",
    "jobs": "apis/batch/v1",
    "leases": "apis/coordination.k8s.io/v1",
    "mtpmodels": "apis/mtp-operator.dev/v1alpha1",
    "mtptuningruns": "apis/mtp-operator.dev/v1alpha1",
    "persistentvolumeclaims": "api/v1",
    "pods": "api/v1",
    "resourceclaims": "apis/resource.k8s.io/v1",
    "services": "api/v1",
}
"""Group and version of what is looked at again and again: kubectl for each look would be a quarter of all work."""


@functools.cache
def client() -> httpx.Client:
    """The one connection to the API server, closed when the tests end."""
    connected = api_server.connect()
    atexit.register(connected.close)
    return connected


def get(resource: str, namespace: str, name: str) -> dict[str, Any] | None:
    """One object, or None."""
    response = client().get(f"/{API_OF[resource]}/namespaces/{namespace}/{resource}/{name}")
    if response.status_code == httpx.codes.NOT_FOUND:
        return None
    document: dict[str, Any] = response.raise_for_status().json()
    return document


def items(resource: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
    """All objects of a resource in a namespace."""
    path = f"/{API_OF[resource]}/namespaces/{namespace}/{resource}"
    response = client().get(path, params={"labelSelector": selector})
    answer: list[dict[str, Any]] = response.raise_for_status().json()["items"]
    return answer


def pod_log(namespace: str, name: str) -> str:
    """All that the only container of a pod has written."""
    return client().get(f"/api/v1/namespaces/{namespace}/pods/{name}/log").raise_for_status().text


def condition(document: dict[str, Any] | None, type_: str) -> dict[str, Any]:
    """One condition of an object; empty where it is not there."""
    conditions = (document or {}).get("status", {}).get("conditions", ())
    return next((one for one in conditions if one["type"] == type_), {})


def wait_until(read: Callable[[], Result], what: str, describe: Callable[[], str] = str) -> Result:
    """Polls until `read` answers something true.

    Raises:
        AssertionError: it did not in time; with what `describe` says then.
    """
    end = time.monotonic() + HANG_SECONDS
    while True:
        answer = read()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {HANG_SECONDS:.0f} s: {what}\n{describe()}")
        time.sleep(0.25)


def wait_until_placed(namespace: str) -> None:
    """Until a pod of the namespace has a node: trials take turns, and those of other tests come first at times."""
    wait_until(
        lambda: any("nodeName" in pod["spec"] for pod in items("pods", namespace)),
        f"a pod of {namespace} on a node",
        lambda: kubectl("describe", "pods", "-n", namespace),
    )


def wait_for_condition(namespace: str, name: str, type_: str, status: str, reason: str = "") -> dict[str, Any]:
    """The model once a condition of it has this status (and reason)."""

    def holds() -> dict[str, Any] | None:
        document = get("mtpmodels", namespace, name)
        found = condition(document, type_)
        return document if found.get("status") == status and found.get("reason", "").startswith(reason) else None

    document = wait_until(holds, f"{name} {type_}={status} {reason}", lambda: story(namespace, name))
    assert document is not None
    return document


def story(namespace: str, name: str) -> str:
    """What a person would look at when something goes wrong."""
    return "\n".join(
        (
            kubectl("describe", "mtpmodel", name, "-n", namespace),
            kubectl("get", "mtptuningruns,jobs,deployments,pods", "-n", namespace, "-o", "wide"),
            operator_log()[-4000:],
        )
    )


def operator_log() -> str:
    """The log of the operator's pods."""
    return kubectl("logs", "-n", OPERATOR_NAMESPACE, "-l", f"app.kubernetes.io/instance={RELEASE}", "--tail=200")


def run_of(model: dict[str, Any]) -> dict[str, Any]:
    """The MTPTuningRun of a model's spec, under way or over."""
    status = model["status"]
    reference = status.get("activeTuningRunRef") or status["tuningRunRef"]
    run = get("mtptuningruns", model["metadata"]["namespace"], reference["name"])
    assert run is not None
    return run


def assert_unsuspected(run: dict[str, Any]) -> None:
    """No gate has anything against any boot of a run whose engine has no fault."""
    suspected = [trial for trial in run["status"]["trials"] if trial["state"] != "Measured" or trial.get("reason")]
    assert suspected == [], suspected


def measured_trials(run: dict[str, Any]) -> list[dict[str, Any]]:
    """The measured trials of a real engine without a fault: nothing is held against any but the machine's changes.

    Without a measured n_spec=0, no output is compared with its own.
    """
    trials: list[dict[str, Any]] = run["status"]["trials"]
    reasons = {trial.get("reason") for trial in trials if trial["nSpec"] == 0}
    of_the_machine = {None, "Unstable"} | ({"OutputUnverified"} if reasons == {"Unstable"} else set())
    suspected = [trial for trial in trials if trial.get("reason") not in of_the_machine]
    assert suspected == [], suspected
    return [trial for trial in trials if trial["state"] == "Measured"]


def assert_verdict_is_supported(model: dict[str, Any], run: dict[str, Any]) -> None:
    """The model's n is its run's, and has speculation only where that is faster beyond doubt."""
    verdict, status = run["status"]["verdict"], model["status"]
    assert status["nSpec"] == verdict["nSpec"]
    if verdict["nSpec"]:
        assert 1 < float(verdict["speedupLow"]) <= float(status["speedup"]) <= float(verdict["speedupHigh"])


def audit(since: int = 0) -> list[dict[str, Any]]:
    """The API server's audit log from a byte offset on, without requests of nobody: of a pod that is deleted, say."""
    with paths.audit_log().open("rb") as log:
        log.seek(since)
        entries = [json.loads(line) for line in log.read().splitlines() if line.endswith(b"}")]
    return [entry for entry in entries if "username" in entry["user"]]


def jobs_created(namespace: str, since: int) -> list[str]:
    """The names of the Jobs that the API server has created, by its audit log."""
    return [
        entry["objectRef"]["name"]
        for entry in audit(since)
        if entry["verb"] == "create"
        and entry.get("objectRef", {}).get("resource") == "jobs"
        and entry["objectRef"].get("namespace") == namespace
        and entry["responseStatus"]["code"] == 201
    ]


def audit_offset() -> int:
    """Where the audit log ends now."""
    return paths.audit_log().stat().st_size
