"""A small API server in memory, on loopback or without a network, for faults that a real one does not have on request.

It knows versions, uids, generations, preconditions, pages, a log of changes to watch, what was applied before, and the
shape of errors, as the real one answers (which, for one, ignores the uid in an apply to /status); no schemas, no
ownership of fields by several managers. Those are tested against the real one in tests/cluster.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from kubernetes.aio.client import Configuration

from mtp_operator.runtime.api_client import NODES, Resource
from mtp_operator.runtime.object_cache import RESOURCES


@dataclass(frozen=True)
class Request:
    """What a client asked."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    accept: str


@dataclass(frozen=True)
class Answer:
    """What the API server answers."""

    status: int
    body: dict[str, Any]


@dataclass(frozen=True)
class Change:
    """One change of an object, as a watch brings it; the body of one that is gone is its last state."""

    type: str
    version: int
    path: str
    body: dict[str, Any]

    @property
    def collection(self) -> str:
        """The path of the object's collection."""
        return self.path.rpartition("/")[0]


@dataclass
class ApiServer:
    """Objects by path; `fault` may answer a request (status) before or after it was carried out."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    fail_before: Callable[[Request], int | None] = lambda _: None
    fail_after: Callable[[Request], int | None] = lambda _: None
    delay_seconds: Callable[[Request], float] = lambda _: 0.0
    failure_message: str = "as the test asked"
    interrupt: Callable[[Request], str | None] = lambda _: None
    """What a proxy answers in the API server's place, with status 200."""
    now: Callable[[], str] = lambda: "2026-01-01T00:00:00Z"
    version: int = 100
    url: str = ""
    changes: list[Change] = field(default_factory=list)
    """Everything that has happened, for watches."""
    oldest: int = 0
    """Version up to which changes are forgotten."""
    applied: dict[str, Any] = field(default_factory=dict)
    """What was last applied to a path: a field of it that is not applied any more is removed."""

    def put(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Stores an object as if somebody else had written it."""
        self.version += 1
        stored = self.objects.get(path)
        made = {"uid": str(uuid.UUID(int=self.version)), "creationTimestamp": self.now()}
        metadata = made | body["metadata"] | {"resourceVersion": str(self.version)}
        if stored is not None and "generation" in stored["metadata"] and stored.get("spec") != body.get("spec"):
            metadata["generation"] = stored["metadata"]["generation"] + 1
        self.objects[path] = {**body, "metadata": metadata}
        type_ = "ADDED" if stored is None else "MODIFIED"
        self.changes.append(Change(type_, self.version, path, self.objects[path]))
        return self.objects[path]

    def remove(self, path: str) -> None:
        """An object is gone."""
        self.version += 1
        body = self.objects.pop(path)
        self.applied.pop(path, None)
        body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        self.changes.append(Change("DELETED", self.version, path, body))

    def expire(self) -> None:
        """What has happened so far cannot be watched any more: 410 Gone, and a new list."""
        self.version += 1
        self.oldest = self.version

    def writes(self) -> list[tuple[str, str]]:
        """Method and path of each write, in order."""
        return [(one.method, one.path) for one in self.requests if one.method != "GET"]

    def configuration(self) -> Configuration:
        """What a client needs to reach it."""
        configuration = Configuration()
        configuration.host = self.url
        return configuration

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        asked = Request(request.method, request.path, dict(request.query), body, request.headers["Accept"])
        self.requests.append(asked)
        await asyncio.sleep(self.delay_seconds(asked))
        if "watch" in asked.query:
            return await self._watch(request, asked)
        page = self.interrupt(asked)
        if page is not None:
            return web.Response(text=page)
        failure = self.fail_before(asked)
        if failure is not None:
            return _response(refusal(failure, "", message=self.failure_message))
        answer = self.answer(asked)
        failure = self.fail_after(asked)
        return _response(answer if failure is None else refusal(failure, "", message=self.failure_message))

    async def _watch(self, request: web.Request, asked: Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        since = int(asked.query["resourceVersion"])
        while since >= self.oldest:
            new = [change for change in self.changes if change.version > since and change.collection == asked.path]
            for change in new:
                await response.write(json.dumps({"type": change.type, "object": change.body}).encode() + b"\n")
            since = max([since, *(change.version for change in new)])
            await asyncio.sleep(0.02)
        await response.write(json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 410}}).encode() + b"\n")
        return response

    def answer(self, asked: Request) -> Answer:
        """Carries a request out."""
        served = _discovery(asked.path) if asked.method == "GET" else None
        if served is not None:
            return Answer(200, served)
        if asked.method == "POST":
            return self._create(asked)
        path = asked.path.removesuffix("/status")
        stored = self.objects.get(path)
        if stored is None and asked.method == "PATCH" and asked.path == path and "force" in asked.query:
            if "uid" in asked.body["metadata"]:
                return refusal(409, "Conflict")
            self.applied[path] = asked.body
            return Answer(201, self.put(path, {**asked.body, "metadata": {"generation": 1} | asked.body["metadata"]}))
        if stored is None:
            return self._list(asked) if asked.method == "GET" and _is_collection(path) else refusal(404, "NotFound")
        if asked.method == "GET":
            return Answer(200, stored)
        claimed, known = (asked.body or {}).get("metadata", {}), stored["metadata"]
        if claimed.get("resourceVersion", known["resourceVersion"]) != known["resourceVersion"]:
            return refusal(409, "Conflict")
        if asked.method == "DELETE":
            if asked.body["preconditions"]["uid"] != known["uid"]:
                return refusal(409, "Conflict")
            self.remove(path)
            return Answer(200, {"kind": "Status", "status": "Success"})
        if asked.method == "PUT":
            return Answer(200, self.put(path, asked.body))
        if asked.path == path and claimed.get("uid", known["uid"]) != known["uid"]:
            return refusal(422, "Invalid", field="metadata.uid")
        changed = self._patched(asked, stored) if asked.path == path else {**stored, "status": asked.body["status"]}
        return Answer(200, stored if changed == stored else self.put(path, changed))

    def _patched(self, asked: Request, stored: dict[str, Any]) -> dict[str, Any]:
        if "force" in asked.query:
            stored = _without(stored, self.applied.get(asked.path), asked.body)
            self.applied[asked.path] = asked.body
        merged: dict[str, Any] = _merge(stored, asked.body)
        return merged

    def _create(self, asked: Request) -> Answer:
        path = f"{asked.path}/{asked.body['metadata']['name']}"
        if path in self.objects:
            return refusal(409, "AlreadyExists")
        return Answer(201, self.put(path, asked.body))

    def _list(self, asked: Request) -> Answer:
        items = [one for path, one in self.objects.items() if path.rpartition("/")[0] == asked.path]
        involved = asked.query.get("fieldSelector", "").removeprefix("involvedObject.uid=")
        if involved:
            items = [one for one in items if one.get("involvedObject", {}).get("uid", involved) == involved]
        first = int(asked.query.get("continue", 0))
        last = first + int(asked.query.get("limit", 500))
        follows = {"continue": str(last)} if last < len(items) else {}
        metadata = {"resourceVersion": str(self.version)} | follows
        return Answer(200, {"kind": "List", "metadata": metadata, "items": items[first:last]})


@asynccontextmanager
async def running() -> AsyncIterator[ApiServer]:
    """An API server that listens on loopback."""
    server = ApiServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
DEFINITIONS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)

COLLECTIONS = frozenset(
    {
        *("mtpmodels", "mtptuningruns", "jobs", "pods", "nodes", "events", "deployments", "services"),
        *("poddisruptionbudgets", "networkpolicies"),
    }
)


def _is_collection(path: str) -> bool:
    return path.rpartition("/")[2] in COLLECTIONS


def _discovery(path: str) -> dict[str, Any] | None:
    """What is served under a path that names no collection."""
    kinds = (NODES, NAMESPACES, DEFINITIONS, *RESOURCES.values())
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        versions = {one.group: {"version": one.version} for one in kinds if one.group}
        groups = [{"name": name, "versions": [one], "preferredVersion": one} for name, one in versions.items()]
        return {"kind": "APIGroupList", "groups": groups}
    names = {one.plural: one for one in kinds if one.group_version_path == path}
    if not names:
        return None
    resources = [
        {
            "name": name,
            "kind": one.kind,
            "singularName": one.kind.lower(),
            "namespaced": one.namespaced,
            "verbs": ["list", "watch", "patch"],
        }
        for name, one in names.items()
    ]
    return {"kind": "APIResourceList", "resources": resources}


def refusal(status: int, reason: str, field: str = "", message: str = "as the test asked") -> Answer:
    """An error as the API server words it."""
    details = {"causes": [{"field": field}]} if field else {}
    return Answer(status, {"kind": "Status", "reason": reason, "message": message, "details": details})


def _response(answer: Answer) -> web.Response:
    return web.json_response(answer.body, status=answer.status)


def _without(stored: Any, before: Any, applied: Any) -> Any:
    """An object without what was applied before and is not any more."""
    if not (isinstance(stored, dict) and isinstance(before, dict) and isinstance(applied, dict)):
        return stored
    gone = before.keys() - applied.keys() - {"uid"}
    return {
        name: _without(value, before.get(name), applied.get(name)) for name, value in stored.items() if name not in gone
    }


def _merge(stored: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    base = stored if isinstance(stored, dict) else {}
    merged = base | {name: _merge(base.get(name), value) for name, value in patch.items()}
    return {name: value for name, value in merged.items() if value is not None}
