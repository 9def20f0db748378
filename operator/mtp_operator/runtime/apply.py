"""Carries out a plan, lane by lane. Every reply goes into the cache."""

import hashlib
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, assert_never

import structlog

from mtp_operator.api.conditions import format_time, shorten
from mtp_operator.api.fetch import FetchProgress
from mtp_operator.reconcile.observed import Lane, ModelKey, Reference
from mtp_operator.reconcile.plan import (
    Action,
    Apply,
    Create,
    Delete,
    Ensure,
    EventDraft,
    EventsRead,
    Plan,
    ProgressRead,
    Release,
    StatusUpdate,
    StopTrial,
)
from mtp_operator.resources.labels import APPLIED_ANNOTATION, MANAGER

from .api_client import (
    EVENTS,
    PODS,
    AlreadyExistsError,
    ApiError,
    Body,
    Client,
    ConflictError,
    NotFoundError,
    Resource,
    WritesStoppedError,
)
from .drift import drift
from .fetch_progress import Questions
from .metrics import WRITES
from .object_cache import RESOURCES, Cache, Resisted, key_of, version_of

log = structlog.get_logger(__name__)


class StalePlanError(Exception):
    """The cluster is not as it was decided about; what is there now is in the cache."""


class BeingDeletedError(Exception):
    """An object that is to be created has the name of one that will soon be gone."""


class NameTakenError(Exception):
    """An object that is to be created has the name of one that belongs to somebody else."""


@dataclass(frozen=True)
class FailedAction:
    """What a lane failed at, and why."""

    action: Action
    error: Exception


@dataclass
class Applied:
    """What a plan has brought about."""

    writes: list[str] = field(default_factory=list)
    """Writes that changed something, for the log."""
    learned: bool = False
    """Whether something came to light that the decision did not know."""
    failures: dict[Lane, FailedAction] = field(default_factory=dict)
    """Lanes that did not get to their end."""
    report_waits: bool = False
    """Whether the model's status was left to the next decision."""

    @property
    def calls_for_decision(self) -> bool:
        """Whether the same decision would now be made on other grounds."""
        return self.learned or bool(self.writes)


class Applier:
    """Writes to the cluster.

    Args:
        client: stops writing by itself when the Lease is no longer held.
        cache: learns every reply.
        now: the time of Events.
        wake: calls for a decision about a model, when a pod has answered.
        questions: asks pods how far their fetches are.
    """

    def __init__(
        self,
        client: Client,
        cache: Cache,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        wake: Callable[[ModelKey], None] = lambda _: None,
        questions: Questions | None = None,
    ) -> None:
        self._client = client
        self._cache = cache
        self._now = now
        self._wake = wake
        self._questions = questions or Questions()

    async def apply(self, plan: Plan, applied: Applied, *, report_may_wait: bool = False) -> None:
        """Carries out every lane as far as it goes, and notes in `applied` what that brought about.

        Args:
            plan: what to do.
            applied: is told.
            report_may_wait: whether the report may be left to the decision that follows at once where the other lanes
                have changed something: it knows more, and each write of a model wakes everybody who watches it.

        Raises:
            WritesStoppedError: the Lease is not held any more.
        """
        for lane in Lane:
            if lane is Lane.REPORT and report_may_wait and applied.writes and not applied.failures:
                applied.report_waits = lane in plan.lanes
                break
            for action in plan.lanes.get(lane, ()):
                try:
                    await self._carry_out(action, applied)
                except WritesStoppedError:
                    raise
                except Exception as error:  # one lane's failure, of whatever kind, is not the other lanes'
                    applied.failures[lane] = FailedAction(action, error)
                    break

    async def _carry_out(self, action: Action, applied: Applied) -> None:
        match action:
            case StatusUpdate():
                await self._update_status(action, applied)
            case Ensure():
                await self._ensure(action, applied)
            case Create():
                await self._create(action, applied)
            case Apply():
                await self._apply(action, applied)
            case StopTrial(target):
                await self._patch("end", target, {"spec": {"activeDeadlineSeconds": 1}}, applied)
            case Release(target):
                await self._patch("release", target, {"metadata": {"ownerReferences": None}}, applied)
            case Delete():
                await self._delete(action, applied)
            case EventsRead(target):
                events = await self._client.list_events(target.namespace, target.uid)
                applied.learned |= self._cache.keep_events(target.uid, self._now(), events)
            case ProgressRead(uid, address):
                self._questions.ask(uid, address, partial(self._keep_progress, uid))
            case _:
                assert_never(action)

    async def close(self) -> None:
        """Asks no pod any more."""
        await self._questions.close()

    def _keep_progress(self, uid: str, progress: FetchProgress | None) -> None:
        body = self._cache.body(uid)
        key = None if body is None else key_of(PODS, body)
        if self._cache.keep_progress(uid, self._now(), progress) and key is not None:
            self._wake(key)

    async def refresh(self, target: Reference) -> None:
        """One live GET of an object; its end is learned too."""
        resource = RESOURCES[target.kind]
        try:
            live = await self._client.get(resource, target.namespace, target.name)
        except NotFoundError:
            self._cache.forget(target.uid)
            return
        if live["metadata"]["uid"] != target.uid:
            self._cache.forget(target.uid)
        self._cache.fetched(resource, live)

    async def seek_pods(self, job: Reference) -> None:
        """One live LIST of the pods of a Job."""
        for pod in await self._client.list_pods_of(job.namespace, job.uid):
            self._cache.fetched(PODS, pod)

    async def _update_status(self, update: StatusUpdate, applied: Applied) -> None:
        target = update.target
        body = self._cache.body(target.uid)
        if body is None:
            raise StalePlanError(f"{target.kind} {target.name} is gone")
        if body.get("status") == update.status:
            return
        version = update.version or body["metadata"]["resourceVersion"]
        metadata = {"namespace": target.namespace, "name": target.name, "uid": target.uid, "resourceVersion": version}
        resource = RESOURCES[target.kind]
        before = self._cache.version(target.uid)
        try:
            reply = await self._client.apply_status(resource, metadata, update.status)
        except (NotFoundError, ConflictError) as error:
            await self._stale(target, error)
        else:
            if self._note("status", target, before, reply, applied):
                for draft in update.events:
                    await self._post_event(draft)

    async def _ensure(self, ensure: Ensure, applied: Applied) -> None:
        resource, metadata = RESOURCES[ensure.kind], ensure.body["metadata"]
        try:
            await self._client.create(resource, ensure.body)
        except AlreadyExistsError:
            live = await self._client.get(resource, metadata["namespace"], metadata["name"])
        else:
            self._count("create", ensure.kind, metadata["name"], applied)
            return
        if "deletionTimestamp" in live["metadata"] or not _owner_uids(live) & _owner_uids(ensure.body):
            raise _taken(ensure, live)

    async def _create(self, create: Create, applied: Applied) -> None:
        resource, metadata = RESOURCES[create.kind], create.body["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        try:
            reply = await self._client.create(resource, create.body)
        except AlreadyExistsError:
            live = await self._client.get(resource, namespace, name)
        else:
            self._cache.written(resource, reply)
            self._count("create", create.kind, name, applied)
            return
        if key_of(resource, live) != key_of(resource, create.body):
            raise _taken(create, live)
        if not self._cache.fetched(resource, live):
            raise StalePlanError(f"{create.kind} {name} exists already")
        applied.learned = True

    async def _apply(self, apply: Apply, applied: Applied) -> None:
        resource, metadata = RESOURCES[apply.kind], apply.body["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        body = _with_annotation(apply.body, APPLIED_ANNOTATION, _hash(apply.body))
        live = self._cache.named(resource, namespace, name, _key(resource, body)) or await self._found(apply)
        if live is not None:
            uid = live["metadata"]["uid"]
            if "deletionTimestamp" in live["metadata"] or _is_anothers(live, body):
                # What still ends, or still has to be collected, makes room and wakes its model when it has.
                return
            if not self._has_drifted(body, live, _hash(apply.body)):
                return
            body = {**body, "metadata": {**body["metadata"], "uid": uid}}
        before = self._cache.version(live["metadata"]["uid"]) if live is not None else 0
        try:
            reply = await self._client.apply(resource, body)
        except (NotFoundError, ConflictError) as error:
            if live is None:
                raise
            await self._stale(Reference(apply.kind, namespace, name, live["metadata"]["uid"]), error)
        else:
            uid = reply["metadata"]["uid"]
            self._note("apply", Reference(apply.kind, namespace, name, uid), before, reply, applied)
            self._remember_drift(body, reply, _hash(apply.body))

    async def _found(self, apply: Apply) -> Body | None:
        """One live GET of an object that is not in the cache."""
        resource, metadata = RESOURCES[apply.kind], apply.body["metadata"]
        try:
            live = await self._client.get(resource, metadata["namespace"], metadata["name"])
        except NotFoundError:
            return None
        if key_of(resource, live) != key_of(resource, apply.body):
            raise _taken(apply, live)
        self._cache.fetched(resource, live)
        return live

    def _has_drifted(self, body: Body, live: Body, hash_: str) -> bool:
        """Whether applying an object would change it: a field that was changed while we wrote it would be again."""
        resisted = self._cache.resisted(live["metadata"]["uid"])
        in_vain = resisted.paths if resisted is not None and resisted.applied_hash == hash_ else frozenset()
        return not in_vain.issuperset(drift(body, live))

    def _remember_drift(self, body: Body, reply: Body, hash_: str) -> None:
        """Somebody who changes what we apply while it is written would make us write for ever."""
        paths = frozenset(drift(body, reply))
        self._cache.keep_resisted(reply["metadata"]["uid"], Resisted(paths, hash_) if paths else None)
        if paths:
            log.warning(
                "an admission webhook changes what is applied; the operator leaves these fields alone",
                kind=reply["kind"],
                name=body["metadata"]["name"],
                fields=sorted(paths),
            )

    async def _patch(self, verb: str, target: Reference, patch: dict[str, Any], applied: Applied) -> None:
        patch = {**patch, "metadata": {**patch.get("metadata", {}), "uid": target.uid}}
        before = self._cache.version(target.uid)
        try:
            reply = await self._client.merge_patch(RESOURCES[target.kind], target.namespace, target.name, patch)
        except (NotFoundError, ConflictError) as error:
            await self._stale(target, error)
        else:
            self._note(verb, target, before, reply, applied)

    async def _delete(self, delete: Delete, applied: Applied) -> None:
        target = delete.target
        before = self._cache.version(target.uid)
        try:
            reply = await self._client.delete(RESOURCES[target.kind], target.namespace, target.name, target.uid)
        except NotFoundError:
            self._cache.forget(target.uid)
            applied.learned = True
            return
        except ConflictError as error:
            await self.refresh(target)
            if self._cache.body(target.uid) is not None:
                raise StalePlanError(str(error)) from error
            applied.learned = True
            return
        if reply["kind"] == "Status":
            self._cache.forget(target.uid)
            self._count("delete", target.kind, target.name, applied)
        else:
            self._note("delete", target, before, reply, applied)

    async def _stale(self, target: Reference, error: ApiError) -> None:
        await self.refresh(target)
        raise StalePlanError(str(error)) from error

    def _note(self, verb: str, target: Reference, before: int, reply: dict[str, Any], applied: Applied) -> bool:
        """Learns a reply. The write has changed something if it made a version that was not there before it."""
        self._cache.written(RESOURCES[target.kind], reply)
        # Not what the cache knows by now: the watch may have brought our own write before its reply.
        changed = version_of(reply["metadata"]) > before
        if changed:
            self._count(verb, target.kind, target.name, applied)
        return changed

    def _count(self, verb: str, kind: str, name: str, applied: Applied) -> None:
        WRITES.labels(verb=verb, kind=kind).inc()
        applied.writes.append(f"{verb} {kind}/{name}")

    async def _post_event(self, draft: EventDraft) -> None:
        subject, now = draft.subject, format_time(self._now())
        resource = RESOURCES[subject.kind]
        body = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"namespace": subject.namespace, "name": f"{subject.name}.{uuid.uuid4().hex[:16]}"},
            "involvedObject": {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "namespace": subject.namespace,
                "name": subject.name,
                "uid": subject.uid,
            },
            "type": draft.type,
            "reason": draft.reason,
            "message": shorten(draft.message),
            "source": {"component": MANAGER},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._client.create(EVENTS, body)
        except ApiError as error:
            log.warning("an Event could not be posted", subject=subject.name, reason=draft.reason, error=str(error))


def _taken(wanted: Ensure | Create | Apply, live: Body) -> Exception:
    """What to raise where the name of a wanted object is that of one which is not this model's.

    One that is being deleted, or that an earlier model of this name has left to be collected, makes room by itself.
    """
    name = f"{wanted.kind} {wanted.body['metadata']['name']}"
    owners, ours = _owners(live), _owners(wanted.body)
    if "deletionTimestamp" in live["metadata"] or (owners and owners <= ours):
        return BeingDeletedError(f"an older {name} is still being deleted; the new one is created when it is gone")
    return NameTakenError(f"{name} exists already and is not of this model: remove or rename it")


def _owners(body: Body) -> set[tuple[str, str]]:
    """Kind and name of what owns an object."""
    return {(owner.get("kind", ""), owner.get("name", "")) for owner in body["metadata"].get("ownerReferences", ())}


def _owner_uids(body: Body) -> set[str]:
    return {owner["uid"] for owner in body["metadata"].get("ownerReferences", ())}


def _key(resource: Resource, body: Body) -> ModelKey:
    key = key_of(resource, body)
    assert key is not None, "everything that is applied carries its model's label"  # noqa: S101
    return key


def _hash(body: Body) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _with_annotation(body: Body, name: str, value: str) -> Body:
    metadata = body["metadata"]
    return {**body, "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), name: value}}}


def _is_anothers(live: Body, body: Body) -> bool:
    """Whether an object has an owner, and not that of the one that is to be applied."""
    owners = _owner_uids(live)
    return bool(owners) and owners.isdisjoint(_owner_uids(body))
