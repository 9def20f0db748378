"""The Job that fetches weights, and how pods see what was fetched."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mtp_operator.api.fetch import FetchPlan
from mtp_operator.api.model import NAME_LIMIT, MTPModel
from mtp_operator.api.run import MTPTuningRun, TrialState, TrialStatus
from mtp_operator.api.spec import EngineType
from mtp_operator.api.template import PodTemplate
from mtp_operator.api.weights_source import CABundle, FetchedSource
from mtp_operator.engines import engine_for
from mtp_operator.resources import tuning_run
from mtp_operator.resources.fetch_job import fetch_job, fetch_job_name, request_hash
from mtp_operator.resources.private_cache import private_cache
from mtp_operator.resources.trial_job import trial_job
from mtp_operator.resources.weights_volumes import cache_folder, new_claim
from tests.unit.engines.settings import run_settings

COMMIT = "c" * 40
FETCHED = {
    "model": {"uri": "hf://google/gemma", "revision": COMMIT, "servedName": "gemma"},
    "weightsClaim": "big.claim",
}


def model(name: str = "gemma", **spec: Any) -> MTPModel:
    return MTPModel.from_wire(
        {
            "metadata": {
                "name": name,
                "namespace": "llm",
                "uid": "model-uid",
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {
                "model": {"uri": "hf://google/gemma"},
                "storage": {"newClaim": {"size": "100Gi"}},
                "engine": {"type": "VLLM"},
                **spec,
            },
        }
    )


def pod(job: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = job["spec"]["template"]["spec"]
    return spec


def trial(**changes: Any) -> dict[str, Any]:
    settings = run_settings(**changes)
    run = MTPTuningRun.from_wire(
        {
            "metadata": {
                "name": "gemma-1",
                "namespace": "llm",
                "uid": "run-uid",
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {
                **settings.to_wire(),
                "modelName": "gemma",
                "retuneRequest": 0,
                "requestHash": settings.request_hash(),
            },
        }
    )
    trial = TrialStatus(number=1, candidate="off", n_spec=0, repeat=0, job_name="gemma-1-t1", state=TrialState.PLANNED)
    return pod(trial_job(run, trial, None, ready_seconds=600, level_seconds=60))


def test_the_fetch_goes_where_trials_can_but_holds_no_gpu() -> None:
    spec = pod(fetch_job(model(), "operator:1", {"HF_ENDPOINT": "http://mirror"}))
    trials = trial(**FETCHED)

    assert spec["affinity"] == trials["affinity"]
    assert spec["tolerations"] == trials["tolerations"]
    (container,) = spec["containers"]
    assert "nvidia.com/gpu" not in str(container["resources"])
    assert {"name": "HF_ENDPOINT", "value": "http://mirror"} in container["env"]
    assert container["image"] == "operator:1"


def test_a_fetchs_pod_is_restricted_and_has_no_token_of_the_cluster() -> None:
    spec = pod(fetch_job(model(), "operator:1", {}))

    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def test_the_hubs_token_is_a_file_and_nothing_else() -> None:
    source = {"uri": "hf://google/gemma", "tokenSecretRef": {"name": "hub", "key": "read"}}
    spec = pod(fetch_job(model(model=source), "operator:1", {}))

    (volume,) = (one["secret"] for one in spec["volumes"] if "secret" in one)
    assert volume == {"secretName": "hub", "items": [{"key": "read", "path": "token"}], "defaultMode": 0o440}
    (container,) = spec["containers"]
    assert "secret" not in json.dumps(container["env"]).lower()
    plan = FetchPlan.model_validate_json(container["args"][2])
    assert plan.token_file is not None
    (mount,) = (one for one in container["volumeMounts"] if one["name"] == "token")
    assert plan.token_file.startswith(mount["mountPath"])
    assert mount["readOnly"] is True


@pytest.mark.parametrize(
    ("storage", "default", "expected"),
    [
        ({}, None, None),
        ({}, CABundle(name="cluster-ca"), ("cluster-ca", "ca.crt")),
        (
            {"caBundle": {"name": "team-ca", "key": "bundle.pem"}},
            CABundle(name="cluster-ca"),
            ("team-ca", "bundle.pem"),
        ),
    ],
)
def test_whom_a_fetch_trusts(
    storage: dict[str, Any], default: CABundle | None, expected: tuple[str, str] | None
) -> None:
    asked = model(storage={"newClaim": {"size": "10Gi"}, **storage})

    spec = pod(fetch_job(asked, "operator:1", {}, default))

    (container,) = spec["containers"]
    plan = FetchPlan.model_validate_json(container["args"][2])
    volumes = [one["configMap"] for one in spec["volumes"] if "configMap" in one]
    assert [(one["name"], one["items"][0]["key"]) for one in volumes] == ([expected] if expected else [])
    mounts = [one["mountPath"] for one in container["volumeMounts"] if one["name"] == "authorities"]
    assert plan.ca_file == (f"{mounts[0]}/ca.crt" if expected else None)


def test_a_projector_is_fetched_and_loaded() -> None:
    source = {"uri": "hf://google/gemma/gguf/q8.gguf", "mmproj": "mmproj/F16.gguf"}
    fields: dict[str, Any] = {"model": source, "engine": {"type": "LlamaCpp"}}
    asked = model(**fields)

    plan = FetchPlan.model_validate_json(pod(fetch_job(asked, "operator:1", {}))["containers"][0]["args"][2])
    fetched = FetchedSource(uri=source["uri"], revision=COMMIT)
    settings = tuning_run.run_settings(asked, "engine:1", "operator:1", [fetched])
    arguments = engine_for(EngineType.LLAMA_CPP).arguments(
        settings, 0, "gemma", f"/hub/google/gemma/{COMMIT}/gguf/q8.gguf", None
    )

    assert [one.projector for one in plan.sources] == ["mmproj/F16.gguf"]
    assert arguments[arguments.index("--mmproj") + 1] == f"/hub/google/gemma/{COMMIT}/mmproj/F16.gguf"
    assert request_hash(asked) != request_hash(model(**{**fields, "model": {"uri": source["uri"]}}))


def test_the_program_is_told_what_and_whereto() -> None:
    drafter = {"method": "DraftModel", "drafter": {"uri": "hf://google/small", "revision": COMMIT}}
    spec = pod(fetch_job(model(speculation=drafter), "operator:1", {}))
    (container,) = spec["containers"]

    plan = FetchPlan.model_validate_json(container["args"][2])
    assert [(source.uri, source.revision) for source in plan.sources] == [
        ("hf://google/gemma", None),
        ("hf://google/small", COMMIT),
    ]
    assert plan.folder in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert spec["volumes"][0]["persistentVolumeClaim"] == {"claimName": "gemma-weights"}


def test_a_fetch_stays_out_of_meshes() -> None:
    metadata = fetch_job(model(), "operator:1", {})["spec"]["template"]["metadata"]

    assert metadata["labels"]["sidecar.istio.io/inject"] == "false"
    assert metadata["annotations"] == {"linkerd.io/inject": "disabled"}


def test_what_no_repetition_mends_ends_the_job_at_once() -> None:
    rules = fetch_job(model(), "operator:1", {})["spec"]["podFailurePolicy"]["rules"]

    assert rules[0]["action"] == "FailJob"
    assert rules[0]["onExitCodes"]["values"] == [2, 3]
    assert rules[1] == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


def test_names_are_bounded_and_follow_from_what_is_asked() -> None:
    longest = "m" * NAME_LIMIT
    names = {
        fetch_job_name(model(longest, **changes))
        for changes in (
            {},
            {"model": {"uri": "hf://google/other"}},
            {"model": {"uri": "hf://google/gemma", "revision": COMMIT}},
            {"model": {"uri": "hf://google/gemma", "tokenSecretRef": {"name": "hub"}}},
            {"storage": {"existingClaim": "shared"}},
            {"tuning": {"retuneRequest": 1}},
        )
    }

    assert len(names) == 6
    assert all(len(name) <= 63 for name in names)
    assert request_hash(model(tuning={"retuneRequest": 1})) == request_hash(model())


def test_the_operators_claim_goes_with_its_model() -> None:
    storage = {"newClaim": {"size": "100Gi", "storageClassName": "fast", "accessMode": "ReadWriteMany"}}
    shared = model(storage=storage)
    assert shared.spec.storage is not None
    assert shared.spec.storage.new_claim is not None
    claim = new_claim(shared, shared.spec.storage.new_claim)

    assert claim["metadata"]["ownerReferences"][0]["uid"] == "model-uid"
    assert claim["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "100Gi"}},
        "storageClassName": "fast",
    }


def test_fetched_weights_are_read_only_and_the_cache_is_not() -> None:
    spec = trial(**FETCHED)
    maker, engine = spec["initContainers"]
    (bench,) = spec["containers"]
    (claim,) = (one for one in spec["volumes"] if "persistentVolumeClaim" in one)

    assert claim["persistentVolumeClaim"] == {"claimName": "big.claim"}
    mounts = {one["mountPath"]: one for one in engine["volumeMounts"] if one["name"] == claim["name"]}
    folder = {one["name"]: one["value"] for one in engine["env"]}["VLLM_CACHE_ROOT"]
    assert folder.startswith("/var/cache/engine/")
    assert mounts == {
        "/hub": {"name": claim["name"], "mountPath": "/hub", "subPath": "models", "readOnly": True},
        folder: {"name": claim["name"], "mountPath": folder, "subPath": f"cache/{folder.rpartition('/')[2]}"},
    }
    (all_caches,) = maker["volumeMounts"]
    assert (all_caches["subPath"], maker["image"]) == ("cache", bench["image"])
    assert maker["args"] == ["make-cache", f"{all_caches['mountPath']}/{folder.rpartition('/')[2]}"]
    assert engine["args"][0] == f"/hub/google/gemma/{COMMIT}"
    assert not any("cache" in one["mountPath"] for one in bench["volumeMounts"])


def test_a_gguf_is_loaded_by_its_file() -> None:
    engine = {"type": "LlamaCpp", "image": "llama:1"}
    source = {"uri": "hf://unsloth/qwen/Q8/q-00001-of-00002.gguf", "revision": COMMIT}
    spec = trial(engine=engine, **{**FETCHED, "model": source})

    assert f"/hub/unsloth/qwen/{COMMIT}/Q8/q-00001-of-00002.gguf" in spec["initContainers"][0]["args"]


def test_a_claim_of_the_users_own_holds_no_cache() -> None:
    (engine,) = trial()["initContainers"]

    assert "/var/cache/engine" not in {one["mountPath"] for one in engine["volumeMounts"]}
    assert "VLLM_CACHE_ROOT" not in {one["name"] for one in engine["env"]}


def test_a_fetched_drafter_beside_a_model_on_the_same_claim() -> None:
    drafter = {"method": "DraftModel", "drafter": {"uri": "hf://google/small", "revision": COMMIT}}
    spec = trial(weightsClaim="weights", speculation=drafter)

    assert len([one for one in spec["volumes"] if "persistentVolumeClaim" in one]) == 1
    places = {one["mountPath"] for one in spec["initContainers"][-1]["volumeMounts"]}
    assert {"/models/weights", "/hub"} <= places
    assert any(place.startswith("/var/cache/engine/") for place in places)


@pytest.mark.parametrize(
    "changes",
    [
        {"engine": {"type": "VLLM", "image": "other:1"}},
        {"engine": {"type": "VLLM", "image": "vllm:1", "vllm": {"trustRemoteCode": "Enabled"}}},
        {"engine": {"type": "VLLM", "image": "vllm:1", "extraArgs": ["--enforce-eager"]}},
        {"engine": {"type": "VLLM", "image": "vllm:1", "env": [{"name": "A", "value": "b"}]}},
        {"accelerator": {"count": 2}},
        {"model": {"uri": "hf://google/other", "revision": COMMIT}},
        {"model": {"uri": "hf://google/gemma", "revision": "d" * 40}},
        {"speculation": {"method": "DraftModel", "drafter": {"uri": "hf://google/small", "revision": COMMIT}}},
    ],
    ids=repr,
)
def test_no_model_runs_what_another_one_or_other_trust_has_compiled(changes: dict[str, Any]) -> None:
    as_it_is = {**FETCHED, "engine": {"type": "VLLM", "image": "vllm:1"}}

    def folder(**changes: Any) -> str | None:
        return cache_folder(run_settings(**{**as_it_is, **changes}))

    assert folder() is not None
    assert folder() == folder(maxNSpec=2)
    assert folder() != folder(**changes)


def test_a_server_has_its_own_copy_of_the_cache_and_cannot_touch_the_shared_one() -> None:
    settings = run_settings(**FETCHED)
    private = private_cache(settings, PodTemplate(), "operator:1")
    assert private is not None
    engine = trial(**FETCHED)["initContainers"][-1]
    environment = {one["name"]: one["value"] for one in engine["env"]}

    _, shared, target = private.init_container["args"]
    assert target == environment["VLLM_CACHE_ROOT"]
    read_only, own = private.init_container["volumeMounts"]
    assert (read_only["subPath"], read_only["readOnly"]) == ("cache", True)
    assert shared == f"{read_only['mountPath']}/{target.rpartition('/')[2]}"
    assert [own] == private.mounts
    assert target.startswith(own["mountPath"])
    assert private.volumes[0]["name"] == own["name"]


def test_what_compiles_nothing_has_no_cache() -> None:
    llama = {"type": "LlamaCpp", "image": "llama:1"}
    for settings in (run_settings(), run_settings(**{**FETCHED, "engine": llama})):
        assert cache_folder(settings) is None
        assert private_cache(settings, PodTemplate(), "operator:1") is None


def test_where_weights_lie_does_not_change_what_is_asked() -> None:
    assert run_settings(**FETCHED).request_hash() == run_settings(**FETCHED | {"weightsClaim": "x"}).request_hash()
    other = {**FETCHED, "model": FETCHED["model"] | {"revision": "d" * 40}}  # type: ignore[operator]
    assert run_settings(**FETCHED).request_hash() != run_settings(**other).request_hash()
