"""The demo on a cluster that is there already, with kubectl and helm from PATH, and docker where images are built.

python -m tests.e2e.demo_there CONTEXT     (`make demo CONTEXT=…`)

The GPU is simulated: one node gets an extended resource of our own, and nothing else of the cluster is touched but two
namespaces. REGISTRY names a registry that the cluster pulls from; kind, k3d and minikube need none. TAG names images
that are there already: then none is built. SPEED makes the simulated GPU so many times as fast, and the demo shorter.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
SAMPLE = REPOSITORY / "docs" / "samples" / "demo-simulated.yaml"
NAMESPACE = "mtp-demo"
OPERATOR_NAMESPACE = "mtp-system"
IMAGES = ("operator", "simulated-gpu")
RESOURCE = "mtp-operator.dev/simulated-gpu"
TIMEOUT_SECONDS = 1200
FILLER = "write-configuration"
CONFIGURATION = {"model_type": "gemma4", "quantization_config": {"quant_method": "fp8"}}


class UnreachableError(Exception):
    """Images cannot get into the cluster; the message says what to do."""


class StalledError(Exception):
    """The model cannot be tuned; the message says why."""


# -- what is done ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """A cluster, and how images get there.

    Attributes:
        context: its name in the kubeconfig.
        registry: where it pulls images from, if it has to pull them.
        tag: of the images.
        times_as_fast: as its curve is the simulated GPU.
    """

    context: str
    registry: str | None
    tag: str
    times_as_fast: str = "1"

    def reference(self, image: str) -> str:
        """The name under which pods ask for an image."""
        return f"{self.registry or 'localhost/mtp-operator'}/{image}:{self.tag}"

    def delivery(self, image: str) -> tuple[str, ...]:
        """The command that brings an image there.

        Raises:
            UnreachableError: none is known.
        """
        reference = self.reference(image)
        if self.registry:
            return ("docker", "push", reference)
        kind, _, name = self.context.partition("-")
        if kind == "kind" and name:
            return ("kind", "load", "docker-image", reference, "--name", name)
        if kind == "k3d" and name:
            return ("k3d", "image", "import", reference, "--cluster", name)
        if self.context == "minikube":
            return ("minikube", "image", "load", reference)
        raise UnreachableError(
            f"CONTEXT={self.context}: it is neither kind-NAME, k3d-NAME nor minikube; name a registry that the cluster "
            "pulls from with REGISTRY=HOST/PATH, or images that it has with TAG"
        )

    def values(self) -> dict[str, Any]:
        """Of the chart."""
        image = {"repository": self.reference("operator").rpartition(":")[0], "tag": self.tag}
        return {"image": image, "trials": {"readySeconds": 300, "levelSeconds": 8}}

    def objects(self) -> list[dict[str, Any]]:
        """The demo's namespace, its claim, a Job that writes there what the model is, and the model itself, last."""
        model = yaml.safe_load(SAMPLE.read_text())
        model["metadata"]["namespace"] = NAMESPACE
        model["spec"]["engine"]["image"] = self.reference("simulated-gpu")
        model["spec"]["engine"]["env"].append({"name": "SIMULATED_GPU_SPEED", "value": self.times_as_fast})
        model["spec"]["accelerator"] = {"architecture": "Any", "resourceName": RESOURCE}
        claim = model["spec"]["model"]["uri"].removeprefix("pvc://")
        return [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": claim, "namespace": NAMESPACE},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
            },
            self._filler(claim),
            model,
        ]

    def _filler(self, claim: str) -> dict[str, Any]:
        """The engine reads no weights, but a claim without a model's configuration is refused."""
        write = "import pathlib, sys; pathlib.Path('/model/config.json').write_text(sys.argv[1])"
        container = {
            "name": "fill",
            "image": self.reference("simulated-gpu"),
            "command": ["python", "-c", write, json.dumps(CONFIGURATION)],
            "volumeMounts": [{"name": "model", "mountPath": "/model"}],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        pod = {
            "restartPolicy": "OnFailure",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "model", "persistentVolumeClaim": {"claimName": claim}}],
        }
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": FILLER, "namespace": NAMESPACE},
            "spec": {"template": {"spec": pod}},
        }


# -- doing it ----------------------------------------------------------------------------------------------------------


def main(context: str) -> None:
    """Builds, installs, tunes, shows."""
    registry, tag = os.environ.get("REGISTRY") or None, os.environ.get("TAG")
    built = tag or _output("git", "-C", str(REPOSITORY), "describe", "--always", "--dirty").strip()
    target = Target(context, registry, built, os.environ.get("SPEED", "1"))
    if not tag:
        _bring_images(target)
    kubectl = ("kubectl", "--context", context)
    node = _output(*kubectl, "get", "nodes", "--output=name").splitlines()[0]
    capacity = json.dumps({"status": {"capacity": {RESOURCE: "1"}}})
    _do(*kubectl, "patch", node, "--subresource=status", "--type=merge", "--patch", capacity)
    _do(
        "helm", "upgrade", "--install", "mtp-operator", str(REPOSITORY / "charts" / "mtp-operator"),
        "--kube-context", context, "--namespace", OPERATOR_NAMESPACE, "--create-namespace",
        "--values=-", "--wait", "--timeout=10m", given=json.dumps(target.values()),
    )  # fmt: skip
    *surroundings, model = target.objects()
    _do(*kubectl, "apply", "--filename=-", given=yaml.safe_dump_all(surroundings))
    _do(*kubectl, "--namespace", NAMESPACE, "wait", "--for=condition=Complete", "--timeout=5m", f"job/{FILLER}")
    _do(*kubectl, "apply", "--filename=-", given=yaml.safe_dump(model))
    name = yaml.safe_load(SAMPLE.read_text())["metadata"]["name"]
    in_namespace = (*kubectl, "--namespace", NAMESPACE)
    _follow((*in_namespace, "get", "mtpm", name, "--output=json"))
    _do(*in_namespace, "get", "mtpm", name)
    undo = json.dumps([{"op": "remove", "path": f"/status/capacity/{RESOURCE.replace('/', '~1')}"}])
    print(f"""
To remove it all:
  kubectl --context {context} delete namespace {NAMESPACE}
  helm uninstall mtp-operator --kube-context {context} --namespace {OPERATOR_NAMESPACE}
  kubectl --context {context} patch {node} --subresource=status --type=json --patch '{undo}'""")


def _follow(get: tuple[str, ...]) -> None:
    """Prints what the model says of its tuning until it has its verdict.

    Raises:
        StalledError: it cannot continue by itself.
    """
    said = ""
    end = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < end:
        conditions = {one["type"]: one for one in json.loads(_output(*get))["status"].get("conditions", ())}
        tuned, stalled = conditions.get("Tuned", {}), conditions.get("Stalled", {})
        if tuned and tuned["message"] != said:
            said = tuned["message"]
            print(f"  {said}", flush=True)
        if stalled.get("status") == "True":
            raise StalledError(f"{stalled['reason']}: {stalled['message']}")
        if tuned.get("status") == "True":
            return
        time.sleep(2)
    raise StalledError(f"not tuned within {TIMEOUT_SECONDS} s: {said}")


def _bring_images(target: Target) -> None:
    deliveries = [target.delivery(image) for image in IMAGES]
    for image, delivery in zip(IMAGES, deliveries, strict=True):
        dockerfile = REPOSITORY / "images" / image / "Dockerfile"
        _do("docker", "build", "--quiet", "-t", target.reference(image), "-f", str(dockerfile), str(REPOSITORY))
        _do(*delivery)


def _do(*command: str, given: str | None = None) -> None:
    print(f"== {' '.join(command)}", flush=True)
    subprocess.run(command, input=given, text=True, check=True)


def _output(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except (UnreachableError, StalledError) as error:
        sys.exit(str(error))
    except FileNotFoundError as error:
        sys.exit(f"{error.filename} is not on PATH")
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error.cmd[0]} ended with {error.returncode}")
