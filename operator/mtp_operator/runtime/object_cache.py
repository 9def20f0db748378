"""The newest known state of every object: what the watches brought, and what the replies to our own writes say.

The reply to a write raises the floor of that object: a model is not decided again before its watch has caught up
(`lagging`), and a watch event older than what is known never goes back.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from mtp_operator.api.fetch import FetchProgress
from mtp_operator.reconcile.observed import APPLIED_KINDS, Kind, ModelKey, SeenProgress
from mtp_operator.reconcile.views import has_ended, has_finished_trials, is_controlled
from mtp_operator.resources.labels import APPLIED_ANNOTATION, KNOWN_LABELS, MODEL_LABEL
from mtp_operator.resources.server_deployment import RECORD_ANNOTATION

from .api_client import (
    CLAIM_TEMPLATES,
    CLAIMS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    JOBS,
    MODELS,
    NETWORK_POLICIES,
    NODES,
    PODS,
    RUNS,
    SERVICES,
    Body,
    Resource,
)

RESOURCES: Final[Mapping[Kind, Resource]] = {
    Kind.MODEL: MODELS,
    Kind.RUN: RUNS,
    Kind.JOB: JOBS,
    Kind.POD: PODS,
    Kind.CLAIM_TEMPLATE: CLAIM_TEMPLATES,
    Kind.CLAIM: CLAIMS,
    Kind.DEPLOYMENT: DEPLOYMENTS,
    Kind.SERVICE: SERVICES,
    Kind.DISRUPTION_BUDGET: DISRUPTION_BUDGETS,
    Kind.NETWORK_POLICY: NETWORK_POLICIES,
}

_WITH_CONTROLLER: Final = {JOBS: Kind.JOB, PODS: Kind.POD}
"""Resources whose objects are a model's only if a controller has made them."""

_METADATA: Final = (
    "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
)  # fmt: skip

_ANNOTATIONS: Final = frozenset({APPLIED_ANNOTATION, RECORD_ANNOTATION})
"""Annotations that decisions read, and what is applied has."""

_OWNERS: Final = 8
"""Owner references that are kept of an object: controllers write one."""

_KEPT: Final[Mapping[Resource, Mapping[str, tuple[str, ...]]]] = {
    JOBS: {"spec": ("activeDeadlineSeconds", "suspend"), "status": ("conditions",)},
    PODS: {
        "spec": ("nodeName",),
        "status": (
            "phase", "reason", "message", "startTime", "podIP", "conditions", "initContainerStatuses",
            "containerStatuses",
        ),
    },
}  # fmt: skip
"""What decisions read of objects that are not compared with what was applied."""

TOMBSTONE_SECONDS: Final = 600
"""Time for which it is remembered that an object is gone: longer than any reply to a write takes."""


class Resisted(NamedTuple):
    """What did not become as it was applied: an admission webhook or the API server changes it."""

    paths: frozenset[str]
    applied_hash: str
    """Hash of what was applied then."""


@dataclass(slots=True)
class Entry:
    """One object. Versions are `metadata.resourceVersion`, which Kubernetes orders as integers within a resource."""

    resource: Resource
    key: ModelKey | None
    body: dict[str, Any]
    version: int
    watched_version: int = 0
    """What the watch has brought."""
    confirmed_version: int = 0
    """What the watch or a live GET has brought."""
    floor: int = 0
    """What the reply to our newest write said."""
    floor_raised_at: float = 0.0
    events: tuple[datetime, Sequence[Body]] | None = None
    progress: SeenProgress | None = None
    resisted: Resisted | None = None
    pods_sought: bool = False
    """Of a Job: whether its pods have been listed since it ended."""

    @property
    def is_lagging(self) -> bool:
        """Whether the watch has yet to bring our newest write."""
        return self.confirmed_version < self.floor


@dataclass(frozen=True)
class Snapshot:
    """Bodies of everything that belongs to one key, and of the GPU nodes."""

    model: Body | None = None
    runs: list[Body] = field(default_factory=list)
    jobs: list[Body] = field(default_factory=list)
    pods: list[Body] = field(default_factory=list)
    nodes: list[Body] = field(default_factory=list)
    events: dict[str, tuple[datetime, Sequence[Body]]] = field(default_factory=dict)
    progress: dict[str, SeenProgress] = field(default_factory=dict)
    children: dict[Kind, list[Body]] = field(default_factory=dict)
    """Objects of the kinds that plans apply."""
    relatives: list[Body] = field(default_factory=list)
    """Runs of other models of the namespace, those with finished trials."""


def key_of(resource: Resource, body: Body) -> ModelKey | None:
    """The model that an object belongs to; None for nodes and for what is not ours."""
    metadata = body["metadata"]
    kind = _WITH_CONTROLLER.get(resource)
    if kind is not None and not is_controlled(kind, body):
        return None
    if resource is MODELS:
        name = metadata["name"]
    elif resource is RUNS:
        name = (body.get("spec") or {}).get("modelName")
    else:
        name = (metadata.get("labels") or {}).get(MODEL_LABEL)
    namespace = metadata.get("namespace")
    return ModelKey(namespace, name) if namespace and isinstance(name, str) and name else None


def version_of(metadata: Mapping[str, Any]) -> int:
    """The resource version as the integer that it is."""
    return int(metadata["resourceVersion"])


class Cache:
    """All objects that decisions read, by uid; never by name, so that namesakes are not mixed up."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._by_key: dict[ModelKey | None, dict[str, Entry]] = {}
        self._evidence: dict[str, dict[str, Entry]] = {}
        """Of each namespace, the runs with finished trials, by uid."""
        self._gone: dict[str, tuple[int, float]] = {}
        self._changed: set[ModelKey] = set()

    # -- what comes in -------------------------------------------------------------------------------------------------

    def watched(self, resource: Resource, body: Body) -> None:
        """A watch (or its list) brought the object."""
        entry = self._put(resource, body)
        if entry is not None:
            version = version_of(body["metadata"])
            entry.watched_version = max(entry.watched_version, version)
            self._confirm(entry, version)

    def fetched(self, resource: Resource, body: Body) -> bool:
        """A live GET brought the object. Answers whether that was news."""
        before = self.version(body["metadata"]["uid"])
        entry = self._put(resource, body)
        if entry is None:
            return False
        self._confirm(entry, version_of(body["metadata"]))
        return entry.version > before

    def written(self, resource: Resource, body: Body) -> bool:
        """The reply to a write brought the object. Answers whether the write changed anything."""
        before = self.version(body["metadata"]["uid"])
        entry = self._put(resource, body)
        if entry is None:
            return False
        version = version_of(body["metadata"])
        if version > entry.floor:
            entry.floor, entry.floor_raised_at = version, self._clock()
        return version > before

    def forget(self, uid: str, version: int | None = None) -> None:
        """The object is gone: a DELETED event of this version, a 404, or a LIST without it."""
        entry = self._entries.pop(uid, None)
        known = entry.version if entry is not None else 0
        self._gone[uid] = (max(known, version or 0), self._clock())
        if entry is not None:
            self._detach(uid, entry.key)
            if entry.resource is RUNS:
                self._evidence.get(entry.body["metadata"]["namespace"], {}).pop(uid, None)
            self._mark(entry)

    def keep_events(self, uid: str, at: datetime, events: Sequence[Body]) -> bool:
        """Keeps the Events that were listed about an object. Answers whether there are new ones."""
        entry = self._entries.get(uid)
        if entry is None:
            return False
        before = {version_of(event["metadata"]) for event in entry.events[1]} if entry.events else set()
        entry.events = (at, events)
        return any(version_of(event["metadata"]) not in before for event in events)

    def keep_progress(self, uid: str, at: datetime, progress: FetchProgress | None) -> bool:
        """Keeps how far a fetch's pod said that it is. Answers whether that is news."""
        entry = self._entries.get(uid)
        if entry is None:
            return False
        before = entry.progress.progress if entry.progress else None
        entry.progress = SeenProgress(at, progress)
        return progress != before

    def keep_resisted(self, uid: str, resisted: Resisted | None) -> None:
        """Keeps which fields did not become as they were applied."""
        entry = self._entries.get(uid)
        if entry is not None:
            entry.resisted = resisted

    def prune(self) -> None:
        """Forgets tombstones that no reply can still contradict."""
        limit = self._clock() - TOMBSTONE_SECONDS
        self._gone = {uid: (version, at) for uid, (version, at) in self._gone.items() if at > limit}

    # -- what is asked -------------------------------------------------------------------------------------------------

    def snapshot(self, key: ModelKey) -> Snapshot:
        """What decisions about a key read. Of two models of that name the newer one is meant."""
        entries = self._by_key.get(key, {})

        def bodies(resource: Resource, of: Mapping[str, Entry] = entries) -> list[Body]:
            return [entry.body for entry in of.values() if entry.resource is resource]

        models = [entry for entry in entries.values() if entry.resource is MODELS]
        return Snapshot(
            model=max(models, key=lambda entry: entry.version).body if models else None,
            runs=bodies(RUNS),
            jobs=bodies(JOBS),
            pods=bodies(PODS),
            nodes=bodies(NODES, self._by_key.get(None, {})),
            events={uid: entry.events for uid, entry in entries.items() if entry.events is not None},
            progress={uid: entry.progress for uid, entry in entries.items() if entry.progress is not None},
            children={kind: bodies(RESOURCES[kind]) for kind in APPLIED_KINDS},
            relatives=[entry.body for entry in self._evidence.get(key.namespace, {}).values() if entry.key != key],
        )

    def lagging(self, key: ModelKey) -> list[Entry]:
        """Objects of the key whose watch has yet to bring our newest write."""
        return [entry for entry in self._by_key.get(key, {}).values() if entry.is_lagging]

    def ended_without_pod(self, key: ModelKey) -> list[Entry]:
        """Jobs of the key that have ended, whose pods are not known and have not been sought yet."""
        entries = self._by_key.get(key, {}).values()
        owners = {
            owner.get("uid")
            for entry in entries
            if entry.resource is PODS
            for owner in entry.body["metadata"].get("ownerReferences", ())
        }
        return [
            entry
            for entry in entries
            if entry.resource is JOBS
            and not entry.pods_sought
            and entry.body["metadata"]["uid"] not in owners
            and has_ended(entry.body)
        ]

    def named(self, resource: Resource, namespace: str, name: str, key: ModelKey) -> Body | None:
        """The newest object of this name among those of a key."""
        found = [
            entry
            for entry in self._by_key.get(key, {}).values()
            if entry.resource is resource
            and (entry.body["metadata"]["namespace"], entry.body["metadata"]["name"]) == (namespace, name)
        ]
        return max(found, key=lambda entry: entry.version).body if found else None

    def body(self, uid: str) -> Body | None:
        """The newest known state of one object."""
        entry = self._entries.get(uid)
        return None if entry is None else entry.body

    def resisted(self, uid: str) -> Resisted | None:
        """The fields that did not become as they were last applied, if there are any."""
        entry = self._entries.get(uid)
        return None if entry is None else entry.resisted

    def version(self, uid: str) -> int:
        """The newest known version of one object; 0 if it is unknown."""
        entry = self._entries.get(uid)
        return 0 if entry is None else entry.version

    def uids(self, resource: Resource, namespace: str | None) -> set[str]:
        """Objects of a resource, in one namespace or in all."""
        return {
            uid
            for uid, entry in self._entries.items()
            if entry.resource is resource and namespace in (None, entry.body["metadata"].get("namespace"))
        }

    def bodies(self, resource: Resource) -> list[Body]:
        """The newest known state of every object of a resource."""
        return [entry.body for entry in self._entries.values() if entry.resource is resource]

    def has_seen(self, uid: str, version: int) -> bool:
        """Whether the watch has brought this version of the object, a later one, or its end."""
        entry = self._entries.get(uid)
        return uid in self._gone if entry is None else entry.watched_version >= version

    def take_changed(self) -> Iterator[ModelKey]:
        """The keys of which something has changed since this was last asked."""
        while self._changed:
            yield self._changed.pop()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _put(self, resource: Resource, body: Body) -> Entry | None:
        metadata = body["metadata"]
        uid, version = metadata["uid"], version_of(metadata)
        if version <= self._gone.get(uid, (0, 0.0))[0]:
            return None
        entry = self._entries.get(uid)
        if entry is not None and version <= entry.version:
            return entry
        kept = _slim(resource, body)
        key = key_of(resource, body)
        if entry is None:
            entry = self._entries[uid] = Entry(resource, key, kept, version)
            self._by_key.setdefault(key, {})[uid] = entry
            self._sort_evidence(entry)
            self._gone.pop(uid, None)
            self._mark(entry)
            return entry
        if _is_news(kept, entry.body):
            self._mark(entry)
        if key != entry.key:
            self._detach(uid, entry.key)
            self._by_key.setdefault(key, {})[uid] = entry
            entry.key = key
            self._mark(entry)
        entry.body, entry.version = kept, version
        self._sort_evidence(entry)
        return entry

    def _sort_evidence(self, entry: Entry) -> None:
        if entry.resource is RUNS and has_finished_trials(entry.body):
            metadata = entry.body["metadata"]
            self._evidence.setdefault(metadata["namespace"], {})[metadata["uid"]] = entry

    def _confirm(self, entry: Entry, version: int) -> None:
        was_lagging = entry.is_lagging
        entry.confirmed_version = max(entry.confirmed_version, version)
        if was_lagging and not entry.is_lagging:
            self._mark(entry)

    def _mark(self, entry: Entry) -> None:
        if entry.key is not None:
            self._changed.add(entry.key)
        elif entry.resource is NODES:
            self._changed.update(key for key in self._by_key if key is not None)

    def _detach(self, uid: str, key: ModelKey | None) -> None:
        siblings = self._by_key[key]
        del siblings[uid]
        if not siblings:
            del self._by_key[key]


def _is_news(body: Body, older: Body) -> bool:
    """Whether a version says anything that decisions read and the older one did not: a Job's counts do not."""
    return {**body, "metadata": {**body["metadata"], "resourceVersion": None}} != {
        **older,
        "metadata": {**older["metadata"], "resourceVersion": None},
    }


def _slim(resource: Resource, body: Body) -> dict[str, Any]:
    """The body without what no decision reads: memory must not grow with what others write into objects."""
    metadata = body["metadata"]
    if resource is NODES:
        labels = {name: value for name, value in (metadata.get("labels") or {}).items() if _is_of_gpu(name)}
        return {"metadata": {"name": metadata["name"], "uid": metadata["uid"], "labels": labels}}
    kept = {name: metadata[name] for name in _METADATA if name in metadata}
    kept |= {name: _ours(metadata[name]) for name in ("labels", "annotations") if metadata.get(name)}
    slim = {name: body[name] for name in ("apiVersion", "kind") if name in body} | {"metadata": kept}
    if key_of(resource, body) is None:
        return slim
    if "ownerReferences" in metadata:
        kept["ownerReferences"] = _first_owners(metadata["ownerReferences"])
    if resource not in _KEPT:
        return {**body, "metadata": kept}
    parts = {
        part: {name: body[part][name] for name in names if name in body[part]}
        for part, names in _KEPT[resource].items()
        if part in body
    }
    images = [one for one in body.get("spec", {}).get("volumes", ()) if "image" in one]
    if images:
        parts["spec"]["volumes"] = images
    return slim | parts


def _is_of_gpu(label: str) -> bool:
    """Whether a node's label says something of its GPUs: all others, and when they were found, wake nobody."""
    return label.startswith("nvidia.com/") and not label.endswith(".timestamp")


def _ours(named: Mapping[str, str]) -> dict[str, str]:
    """Labels or annotations that the operator writes."""
    return {name: value for name, value in named.items() if name in KNOWN_LABELS or name in _ANNOTATIONS}


def _first_owners(owners: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The controller, and a few more."""
    return sorted(owners, key=lambda owner: not owner.get("controller"))[:_OWNERS]
