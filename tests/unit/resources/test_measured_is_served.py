"""What is served is what was measured: of every model, the pods of trial(n) and of server(n) are made the same."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mtp_operator.api.base import MAX_N_SPEC
from mtp_operator.api.engines.vllm_settings import PrefixCaching
from mtp_operator.api.model import MTPModel
from mtp_operator.api.spec import NEED_DRAFTER, EngineType, SpeculationMethod
from mtp_operator.cli.render import Installation, RenderError, models_in, rendered_objects
from mtp_operator.engines import engine_for
from mtp_operator.resources.labels import N_SPEC_LABEL
from mtp_operator.resources.weights_volumes import CACHE_MOUNT
from tests.unit.engines.test_properties import SIZES

SAMPLES = sorted((Path(__file__).parents[3] / "docs" / "samples").rglob("*.yaml"))

REAL_DEPLOYMENTS = sorted((Path(__file__).parents[1] / "api" / "real_deployments").glob("*.yaml"))
"""What people run, said as models."""

OF_A_SERVER = {"startupProbe", "livenessProbe", "readinessProbe", "lifecycle"}
"""Requests to a server must be able to come late and to end."""

OF_A_TRIAL = {"restartPolicy"}
"""Its engine is a sidecar, so that the end of the bench ends the pod."""

OF_A_TRIALS_POD = {
    "linkerd.io/inject",
    "cluster-autoscaler.kubernetes.io/safe-to-evict",
    "karpenter.sh/do-not-disrupt",
}
"""A trial has no mesh between bench and engine, and cannot continue elsewhere."""

BESIDE_THE_ENGINE = {"containers", "initContainers", "volumes", "restartPolicy"}
HYGIENE = {"activeDeadlineSeconds", "terminationGracePeriodSeconds"}


def _unaddressed(text: str) -> str:
    """The text without the log file, which nobody reads of a server, and the address that the engine listens on."""
    return text.replace("/var/log/engine/engine.log", "/dev/null").replace("127.0.0.1", "0.0.0.0")  # noqa: S104


def engine_of(pod: dict[str, Any]) -> dict[str, Any]:
    """The engine's container without what has to differ."""
    (found,) = (one for one in [*pod["initContainers"], *pod["containers"]] if one["name"] == "engine")
    engine = {name: value for name, value in found.items() if name not in OF_A_SERVER | OF_A_TRIAL}
    engine["args"] = [_unaddressed(one) for one in found["args"]]
    # Trials fill the compile cache; a server has its own copy of it, at the same place.
    others = [one for one in found["volumeMounts"] if not one["mountPath"].startswith(CACHE_MOUNT)]
    engine |= {"volumeMounts": others, "hasCaches": len(others) < len(found["volumeMounts"])}
    return engine


def pod_of(template: dict[str, Any]) -> dict[str, Any]:
    """The pod as the engine finds it."""
    spec = template["spec"]
    mounted = {one["name"] for one in engine_of(spec)["volumeMounts"]}
    return {
        **{name: value for name, value in spec.items() if name not in BESIDE_THE_ENGINE | HYGIENE},
        "engine": engine_of(spec),
        "volumes": [one for one in spec["volumes"] if one["name"] in mounted],
        "annotations": {
            name: _unaddressed(value)
            for name, value in template["metadata"].get("annotations", {}).items()
            if name not in OF_A_TRIALS_POD
        },
    }


def largest_n_spec(model: MTPModel) -> int:
    """Of those that are measured: no drafter of whole blocks drafts more than one."""
    most = model.spec.tuning.max_n_spec
    return min(most, model.spec.speculation.block_size or most)


def pods(model: MTPModel) -> dict[str, dict[int, dict[str, Any]]]:
    """Kind -> n -> the pod, of every trial of a model and of its server with each n pinned."""

    def rendered(**spec: Any) -> list[dict[str, Any]]:
        body = {"metadata": model.metadata.to_wire(), "spec": {**copy.deepcopy(model.spec.to_wire()), **spec}}
        return rendered_objects(MTPModel.from_wire(body), Installation())

    speculation = {name: value for name, value in model.spec.speculation.to_wire().items() if name != "nSpec"}
    tuning = {name: value for name, value in model.spec.tuning.to_wire().items() if name != "mode"}
    found: dict[str, dict[int, dict[str, Any]]] = {"Job": {}, "Deployment": {}}
    objects = rendered(speculation=speculation, tuning=tuning)
    for n_spec in range(largest_n_spec(model) + 1):
        objects += rendered(speculation={**speculation, "nSpec": n_spec}, serving={"replicas": 1})
    for one in objects:
        if one["kind"] in found:
            template = one["spec"]["template"]
            n_spec = template["metadata"]["labels"].get(N_SPEC_LABEL)
            if n_spec is not None:
                found[one["kind"]][int(n_spec)] = pod_of(template)
    return found


@pytest.mark.parametrize("stated", [*SAMPLES, *REAL_DEPLOYMENTS], ids=lambda path: path.stem)
def test_the_server_of_every_stated_model_is_what_its_trials_measure(stated: Path) -> None:
    for model in models_in(stated.read_text(encoding="utf-8"), stated.name, "default"):
        made = pods(model)

        assert set(made["Job"]) == set(range(largest_n_spec(model) + 1))
        assert made["Job"] == made["Deployment"]


SOURCES = ["pvc://weights/folder/model", "hf://org/repository", "oci://registry.example/weights:1"]
FILES = ["pvc://weights/model.gguf", "hf://org/repository/model.gguf", "oci://registry.example/weights:1/model.gguf"]


@st.composite
def models(draw: st.DrawFn, engine_type: EngineType) -> MTPModel:
    """Models of an engine, with whatever changes its argv, environment, mounts, GPUs or what is measured."""
    member, sizes = SIZES[engine_type]
    sources = st.sampled_from(FILES if engine_type is EngineType.LLAMA_CPP else SOURCES)
    method = SpeculationMethod(draw(st.sampled_from(sorted(engine_for(engine_type).methods))))
    has_drafter = method in NEED_DRAFTER or draw(st.booleans())
    allocation = draw(st.sampled_from(["DevicePlugin", "DynamicResourceAllocation"]))
    mode = draw(st.sampled_from(["ModelDefaults", "Greedy", "Custom"]))
    set_sizes = draw(st.fixed_dictionaries({}, optional=sizes))
    uri, drafter = draw(sources), draw(sources)
    is_fetched = "hf://" in uri or (has_drafter and "hf://" in drafter)
    spec: dict[str, Any] = {
        "model": {"uri": uri, **draw(st.sampled_from([{}, {"servedName": "other"}]))},
        **({"storage": {"newClaim": {"size": "50Gi"}}} if is_fetched else {}),
        "engine": {
            "type": engine_type.value,
            member: set_sizes,
            **({"image": "sglang:1"} if engine_type is EngineType.SGLANG else {}),
            "env": draw(st.sampled_from([[], [{"name": "OMP_NUM_THREADS", "value": "$(HOME)"}]])),
            "extraArgs": draw(st.sampled_from([[], ["--seed=1"]])),
        },
        "accelerator": {"count": draw(st.integers(1, 8)), "allocation": allocation},
        "speculation": {"method": method.value, **({"drafter": {"uri": drafter}} if has_drafter else {})},
        "tuning": {
            "maxNSpec": draw(st.integers(1, MAX_N_SPEC)),
            "workload": {
                "sampling": {"mode": mode, **({"temperatureMilli": 700} if mode == "Custom" else {})},
                "levels": [{"concurrency": one} for one in draw(st.sets(st.integers(1, 256), max_size=3))],
                "outputTokens": draw(st.integers(16, 256)),
            },
        },
    }
    metadata = {"name": "qwen", "namespace": "llm", "uid": "", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return MTPModel.from_wire({"metadata": metadata, "spec": spec})


@pytest.mark.parametrize("engine_type", EngineType)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_server_of_every_model_is_what_its_trials_measure(engine_type: EngineType, data: st.DataObject) -> None:
    model = data.draw(models(engine_type))
    try:
        made = pods(model)
    except RenderError:  # refused before anything is measured
        assume(False)

    assert made["Job"] == made["Deployment"]
    vllm = model.spec.engine.vllm
    unasked = {"--generation-config=vllm", "--cache-ram"}
    unasked |= (
        {"--no-enable-prefix-caching"} if vllm is None or vllm.prefix_caching is not PrefixCaching.DISABLED else set()
    )
    assert not any(unasked & {*pod["engine"]["args"]} for pod in made["Deployment"].values())
