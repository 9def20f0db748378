"""Files of the user's own, and compile caches on a claim of their own, as trials and servers see them."""

from __future__ import annotations

from typing import Any

import pytest

from mtp_operator.cli.render import Installation, models_in, rendered_objects

MODEL = """
apiVersion: mtp-operator.dev/v1alpha1
kind: MTPModel
metadata: {name: chat}
spec:
  model: {uri: pvc://models/chat, aliases: [small, default]}
  storage: {cacheClaim: caches}
  engine: {type: VLLM, vllm: {maxNumSeqs: 8}}
  files:
    - {name: template.jinja, configMap: {name: templates, key: chat.jinja}}
    - {name: vision.gguf, pvc: {claim: models, path: extra/vision.gguf}}
  template: {readySeconds: 2400}
  serving: {whileTuning: Baseline}
"""


def pods(text: str = MODEL) -> dict[str, dict[str, Any]]:
    (model,) = models_in(text, "chat.yaml", "llm")
    objects = rendered_objects(model, Installation())
    return {one["kind"]: one["spec"]["template"]["spec"] for one in objects if one["kind"] in ("Job", "Deployment")}


def engine(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = (one for one in [*pod["initContainers"], *pod["containers"]] if one["name"] == "engine")
    return dict(found)


@pytest.mark.parametrize("kind", ["Job", "Deployment"])
def test_each_file_has_a_path_of_its_own(kind: str) -> None:
    pod = pods()[kind]

    mounts = {one["mountPath"]: one for one in engine(pod)["volumeMounts"]}
    volumes = {one["name"]: one for one in pod["volumes"]}
    template, vision = mounts["/etc/model-files/template.jinja"], mounts["/etc/model-files/vision.gguf"]
    assert (template["subPath"], template["readOnly"]) == ("chat.jinja", True)
    assert volumes[template["name"]]["configMap"] == {"name": "templates"}
    assert (vision["subPath"], vision["readOnly"]) == ("extra/vision.gguf", True)
    assert volumes[vision["name"]]["persistentVolumeClaim"] == {"claimName": "models"}


@pytest.mark.parametrize("kind", ["Job", "Deployment"])
def test_compile_caches_have_a_claim_where_no_weights_are_fetched(kind: str) -> None:
    pod = pods()[kind]

    claims = {
        one["name"]: one["persistentVolumeClaim"]["claimName"]
        for one in pod["volumes"]
        if "persistentVolumeClaim" in one
    }
    names = {name for name, claim in claims.items() if claim == "caches"}
    containers = [*pod["initContainers"], *pod["containers"]]
    mounted = [
        (one["name"], mount["readOnly"])
        for one in containers
        for mount in one.get("volumeMounts", ())
        if mount["name"] in names
    ]
    assert mounted == ([("engine", False)] if kind == "Job" else [("cache", True)])
    assert any(one["name"] == "VLLM_CACHE_ROOT" for one in engine(pod)["env"])


def test_a_claim_with_weights_and_caches_is_one_volume() -> None:
    pod = pods(MODEL.replace("cacheClaim: caches", "cacheClaim: models"))["Job"]

    volumes = [one["name"] for one in pod["volumes"] if one.get("persistentVolumeClaim") == {"claimName": "models"}]
    assert volumes == ["weights-0", "file-1"]


def test_a_model_has_its_own_time_to_get_ready() -> None:
    found = pods()

    assert engine(found["Deployment"])["startupProbe"]["failureThreshold"] * 5 >= 2400
    (bench,) = (one for one in found["Job"]["containers"] if one["name"] == "bench")
    assert '"readySeconds":2400' in " ".join(bench["args"]).replace(" ", "")
