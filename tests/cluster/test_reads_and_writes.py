"""What the operator reads of a real API server, and writes to it.

Namespaces here have no models, so the installed operator stays away.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mtp_operator.api.model import MTPModel
from mtp_operator.api.serving_record import Served, ServingRecord, Surroundings
from mtp_operator.api.template import PodTemplate
from mtp_operator.reconcile.observed import Kind, Lane, ModelKey, Reference
from mtp_operator.reconcile.plan import (
    Action,
    Apply,
    Create,
    Delete,
    EventsRead,
    Plan,
    Release,
    StatusUpdate,
    StopTrial,
)
from mtp_operator.resources.disruption_budget import disruption_budget
from mtp_operator.resources.labels import child_labels
from mtp_operator.resources.network_policy import network_policy
from mtp_operator.resources.server_deployment import deployment
from mtp_operator.resources.service import service
from mtp_operator.resources.tuning_run import run_settings
from mtp_operator.runtime.api_client import (
    DEPLOYMENTS,
    JOBS,
    MODELS,
    PODS,
    RUNS,
    SERVICES,
    Client,
    load_configuration,
)
from mtp_operator.runtime.apply import Applied, Applier, NameTakenError, StalePlanError
from mtp_operator.runtime.kopf_reflector import KopfReflector
from mtp_operator.runtime.mirror import Mirror
from mtp_operator.runtime.object_cache import Cache
from mtp_operator.runtime.reflector import Scope
from mtp_operator.runtime.sweep import Sweep
from tests.cluster.node import kubectl
from tests.e2e import harness

pytestmark = pytest.mark.usefixtures("operator")

WAIT_SECONDS = 600.0
MODEL = "absent"
TEMPLATE = {"spec": {"restartPolicy": "Never", "containers": [{"name": "none", "image": "none"}]}}


# -- parts -------------------------------------------------------------------------------------------------------------


@dataclass
class Parts:
    """Client, cache and writes against the test's namespace."""

    place: str
    client: Client
    cache: Cache
    applier: Applier
    owner: dict[str, Any]
    """Reference to a model for which nothing is done: what names an owner that is not there is collected."""

    def job(self, name: str) -> dict[str, Any]:
        """A suspended Job as a model's child; the model that its label names does not exist."""
        labels = child_labels(MODEL)
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"namespace": self.place, "name": name, "labels": labels, "ownerReferences": [self.owner]},
            "spec": {"suspend": True, "template": TEMPLATE},
        }

    @property
    def key(self) -> ModelKey:
        return ModelKey(self.place, MODEL)

    def jobs(self) -> list[str]:
        return sorted(job["metadata"]["name"] for job in self.cache.snapshot(self.key).jobs)

    def reference(self, name: str, uid: str | None = None) -> Reference:
        jobs = {job["metadata"]["name"]: job["metadata"]["uid"] for job in self.cache.snapshot(self.key).jobs}
        return Reference(Kind.JOB, self.place, name, uid or jobs[name])

    async def apply(self, *actions: Action) -> Applied:
        """Carries out one lane, whose failure is raised."""
        applied = Applied()
        await self.applier.apply(Plan.of(Lane.TUNING, *actions), applied)
        for failed in applied.failures.values():
            raise failed.error
        return applied


@asynccontextmanager
async def parts(place: str) -> AsyncIterator[Parts]:
    before = open_sockets()
    client = Client(await load_configuration(8), 5.0)
    cache = Cache()
    try:
        yield Parts(place, client, cache, Applier(client, cache), await _owner(client, place))
    finally:
        await client.close()
        # Kopf does not wait until TLS has said goodbye, and what the loop leaves open fails a later test.
        await until(lambda: open_sockets() <= before, "every connection is closed")


def open_sockets() -> set[str]:
    """The sockets of this process."""
    names = (str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.is_symlink())
    return {name for name in names if name.startswith("socket:")}


async def until(holds: Any, what: str) -> None:
    """Waits until `holds()`, while the watches run."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while not holds():  # noqa: ASYNC110  # the cache tells nobody but the queue
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"not within {WAIT_SECONDS:g} s: {what}")


async def test_writes_are_refused_for_a_namesake_and_carried_out_for_the_object_itself(place: str) -> None:
    async with parts(place) as it:
        created = await it.apply(Create(Kind.JOB, it.job("trial")))
        assert created.writes == ["create Job/trial"]
        namesake = it.reference("trial", uid=str(uuid.uuid4()))

        for action in (StopTrial(namesake), Release(namesake)):
            with pytest.raises(StalePlanError):
                await it.apply(action)
        await it.apply(Delete(namesake))
        trial = it.reference("trial")
        untouched = await it.client.get(JOBS, place, "trial")
        assert "activeDeadlineSeconds" not in untouched["spec"]
        assert "ownerReferences" in untouched["metadata"]

        await it.apply(StopTrial(trial), Release(trial))
        written = await it.client.get(JOBS, place, "trial")
        assert written["spec"]["activeDeadlineSeconds"] == 1
        assert "ownerReferences" not in written["metadata"]

        await it.apply(Delete(trial))
        assert it.jobs() == []
        assert json.loads(kubectl("get", "jobs", "-n", place, "-o", "json"))["items"] == []


async def test_a_status_meant_for_a_model_that_is_gone_is_not_written_to_its_namesake(place: str) -> None:
    async with parts(place) as it:
        document = harness.sample(
            "minimal", spec__speculation__nSpec=0, spec__serving={"replicas": 0}, metadata={"name": MODEL}
        )
        harness.apply(document, place)
        stored = await it.client.get(MODELS, place, MODEL)
        stored["metadata"] |= {"uid": "of-the-one-that-is-gone", "resourceVersion": "1"}
        it.cache.watched(MODELS, stored)
        gone = Reference(Kind.MODEL, place, MODEL, "of-the-one-that-is-gone")

        with pytest.raises(StalePlanError):
            await it.apply(StatusUpdate(gone, {"observedGeneration": 77}))

        assert (await it.client.get(MODELS, place, MODEL))["status"]["observedGeneration"] != 77


async def test_what_exists_is_found_by_the_live_get_and_not_created_again(place: str) -> None:
    async with parts(place) as it:
        kubectl("create", "--filename=-", document=it.job("trial"))

        applied = await it.apply(Create(Kind.JOB, it.job("trial")))

        assert applied.writes == []
        assert it.jobs() == ["trial"]


async def test_events_are_found_by_the_uid_of_their_object(place: str) -> None:
    async with parts(place) as it:
        await it.apply(Create(Kind.JOB, it.job("trial")), Create(Kind.JOB, it.job("other")))
        uid = it.reference("trial").uid

        async with asyncio.timeout(WAIT_SECONDS):
            # The Job controller posts its first Event in its own time.
            while not (await it.apply(EventsRead(it.reference("trial")))).learned:  # noqa: ASYNC110
                await asyncio.sleep(0.2)

        _, events = it.cache.snapshot(it.key).events[uid]
        assert {event["involvedObject"]["name"] for event in events} == {"trial"}
        assert "Suspended" in {event["reason"] for event in events}


async def test_watches_fill_the_cache_write_nothing_and_agree_with_the_sweep(place: str) -> None:
    async with parts(place) as it:
        woken: list[ModelKey] = []
        kubectl("create", "--filename=-", document=it.job("before"))
        stranger = it.job("stranger")
        stranger["metadata"]["labels"] = {}
        kubectl("create", "--filename=-", document=stranger)
        scopes = tuple(Scope(resource, place) for resource in (MODELS, RUNS, JOBS, PODS))
        reflector = KopfReflector(await load_configuration(2))

        mirror = Mirror(it.cache, woken.append)
        sweep = Sweep(it.client, it.cache, woken.append, scopes, 300)
        await reflector.start(scopes, mirror)
        try:
            await sweep.prime()
            assert woken == []
            mirror.primed()
            assert it.key in woken
            assert it.jobs() == ["before"]

            await it.apply(Create(Kind.JOB, it.job("after")))
            await until(lambda: not it.cache.lagging(it.key), "the watch has caught up with the write")
            assert it.jobs() == ["after", "before"]

            await sweep.once()

            kubectl("delete", "job", "before", "-n", place)
            await until(lambda: it.jobs() == ["after"], "the watch has brought the end")
            await sweep.once()
            kept = await it.client.get(JOBS, place, "after")
            assert kept["metadata"].get("finalizers") is None
            assert not any("kopf" in name for name in kept["metadata"].get("annotations", {}))
        finally:
            await reflector.stop()


def served(place: str, replicas: int = 0, n_spec: int = 3, port: int = 8000) -> tuple[Apply, ...]:
    """Everything that a model's serving applies; its model does not exist, so that nothing is owned."""
    document = harness.sample("minimal", metadata={"name": MODEL, "namespace": place}, spec__serving={"port": port})
    document["metadata"] |= {"uid": "none", "creationTimestamp": "2026-01-01T00:00:00Z"}
    model = MTPModel.from_wire(document)
    served = Served.of(run_settings(model, "engine:1", "operator:1"), n_spec, PodTemplate())
    record = ServingRecord(served=served, surroundings=Surroundings(probe_image="operator:1", ready_seconds=60))
    bodies = {
        Kind.NETWORK_POLICY: network_policy(model),
        Kind.SERVICE: service(model),
        Kind.DISRUPTION_BUDGET: disruption_budget(model),
        Kind.DEPLOYMENT: deployment(model, record, replicas),
    }
    for body in bodies.values():
        del body["metadata"]["ownerReferences"]
    return tuple(Apply(kind, body) for kind, body in bodies.items())


async def test_what_is_applied_is_written_once_and_again_only_when_it_differs(place: str) -> None:
    async with parts(place) as it:
        first = await it.apply(*served(place))
        assert first.writes == [
            "apply NetworkPolicy/absent",
            "apply Service/absent",
            "apply PodDisruptionBudget/absent",
            "apply Deployment/absent",
        ]

        # Another process, or one that was restarted, finds all of it as it was applied.
        async with parts(place) as other:
            assert (await other.apply(*served(place))).writes == []
        assert (await it.apply(*served(place))).writes == []

        changed = await it.apply(*served(place, n_spec=4, port=80))
        assert changed.writes == ["apply Service/absent", "apply Deployment/absent"]
        ports = (await it.client.get(SERVICES, place, MODEL))["spec"]["ports"]
        assert [port["port"] for port in ports] == [80]


EDITS = {
    "replicas": [{"op": "replace", "path": "/spec/replicas", "value": 5}],
    "an argument": [{"op": "replace", "path": "/spec/template/spec/containers/0/args/0", "value": "/elsewhere"}],
    "a probe removed": [{"op": "remove", "path": "/spec/template/spec/containers/0/livenessProbe"}],
    "a label removed": [{"op": "remove", "path": "/metadata/labels/app.kubernetes.io~1component"}],
    "more memory": [
        {"op": "replace", "path": "/spec/template/spec/initContainers/0/resources/limits/memory", "value": "1Gi"}
    ],
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
async def test_an_edit_of_what_was_applied_is_undone(place: str, edit: list[dict[str, Any]]) -> None:
    async with parts(place) as it:
        await it.apply(*served(place))
        applied = await it.client.get(DEPLOYMENTS, place, MODEL)
        kubectl("patch", "deployment", MODEL, "-n", place, "--type=json", "-p", json.dumps(edit))
        it.cache.watched(DEPLOYMENTS, await it.client.get(DEPLOYMENTS, place, MODEL))

        assert (await it.apply(*served(place))).writes == ["apply Deployment/absent"]

        repaired = await it.client.get(DEPLOYMENTS, place, MODEL)
        assert repaired["spec"] == applied["spec"]
        assert repaired["metadata"]["labels"] == applied["metadata"]["labels"]
        assert (await it.apply(*served(place))).writes == []


async def test_what_others_add_and_how_they_spell_it_is_left(place: str) -> None:
    async with parts(place) as it:
        await it.apply(*served(place))
        addition = [
            {"op": "add", "path": "/metadata/annotations/team.example~1owner", "value": "us"},
            {"op": "replace", "path": "/spec/template/spec/containers/0/resources/requests/cpu", "value": "0.1"},
            {"op": "add", "path": "/spec/minReadySeconds", "value": 1},
        ]
        kubectl("patch", "deployment", MODEL, "-n", place, "--type=json", "-p", json.dumps(addition))
        it.cache.watched(DEPLOYMENTS, await it.client.get(DEPLOYMENTS, place, MODEL))

        assert (await it.apply(*served(place))).writes == []


async def test_an_object_of_somebody_else_is_not_taken_over(place: str) -> None:
    async with parts(place) as it:
        kubectl("create", "service", "clusterip", MODEL, "--tcp=80:80", "-n", place)
        before = await it.client.get(SERVICES, place, MODEL)

        with pytest.raises(NameTakenError, match="Service absent exists already"):
            await it.apply(*served(place))

        assert await it.client.get(SERVICES, place, MODEL) == before


async def test_a_namesake_is_not_applied_to(place: str) -> None:
    async with parts(place) as it:
        await it.apply(*served(place))
        kubectl("delete", "service", MODEL, "-n", place)
        kubectl("create", "service", "clusterip", MODEL, "--tcp=80:80", "-n", place)

        with pytest.raises(StalePlanError):
            await it.apply(*served(place, port=81))

        assert (await it.client.get(SERVICES, place, MODEL))["spec"]["ports"][0]["port"] == 80


async def test_somebody_who_changes_what_is_applied_does_not_make_us_write_for_ever(place: str) -> None:
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": place},
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": place}},
                "resourceRules": [
                    {
                        "apiGroups": ["apps"],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": ["deployments"],
                    }
                ],
            },
            "mutations": [
                {
                    "patchType": "ApplyConfiguration",
                    "applyConfiguration": {
                        "expression": "Object{spec: Object.spec{progressDeadlineSeconds: 77}}",
                    },
                }
            ],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": place},
        "spec": {"policyName": place},
    }
    kubectl("apply", "-f", "-", document={"apiVersion": "v1", "kind": "List", "items": [policy, binding]})
    try:
        harness.wait_until(lambda: _deadline_of_a_new_deployment(place) == 77, "the policy in force")
        async with parts(place) as it:
            await it.apply(*served(place))
            again = [(await it.apply(*served(place))).writes for _ in range(3)]
            assert again == [[], [], []]
            kubectl("scale", "deployment", MODEL, "-n", place, "--replicas=5")
            it.cache.watched(DEPLOYMENTS, await it.client.get(DEPLOYMENTS, place, MODEL))
            assert (await it.apply(*served(place))).writes == ["apply Deployment/absent"], "another field is repaired"
            assert (await it.apply(*served(place, n_spec=4))).writes == ["apply Deployment/absent"]
    finally:
        for kind in ("mutatingadmissionpolicybinding", "mutatingadmissionpolicy"):
            kubectl("delete", kind, place)


def _deadline_of_a_new_deployment(place: str) -> int:
    probe = kubectl(
        "create", "deployment", "probe", "--image=none", "-n", place, "--dry-run=server",
        "-o", "jsonpath={.spec.progressDeadlineSeconds}",
    )  # fmt: skip
    return int(probe)


async def _owner(client: Client, place: str) -> dict[str, Any]:
    document = harness.sample(
        "minimal", spec__speculation__nSpec=0, spec__serving={"replicas": 0}, metadata__name="owner"
    )
    harness.apply(document, place)
    model = await client.get(MODELS, place, "owner")
    return {
        "apiVersion": model["apiVersion"],
        "kind": model["kind"],
        "name": "owner",
        "uid": model["metadata"]["uid"],
        "controller": True,
    }
