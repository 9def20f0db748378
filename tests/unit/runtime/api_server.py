"""A small API server in memory, on loopback, for faults that a real one does not have on request.

It knows versions, uids, preconditions, pages and the shape of errors, as the real one answers (which, for one, ignores
the uid in an apply to /status); no schemas, no field ownership. Those are tested against the real one in tests/cluster.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from kubernetes.aio.client import Configuration


@dataclass(frozen=True)
class Request:
    """What a client asked."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    accept: str


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
    version: int = 100
    url: str = ""

    def put(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Stores an object as if somebody else had written it."""
        self.version += 1
        metadata = {"uid": str(uuid.uuid4()), "creationTimestamp": "2026-01-01T00:00:00Z"} | body["metadata"]
        self.objects[path] = {**body, "metadata": metadata | {"resourceVersion": str(self.version)}}
        return self.objects[path]

    def writes(self) -> list[tuple[str, str]]:
        """Method and path of each write, in order."""
        return [(one.method, one.path) for one in self.requests if one.method != "GET"]

    def configuration(self) -> Configuration:
        """What a client needs to reach it."""
        configuration = Configuration()
        configuration.host = self.url
        return configuration

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        asked = Request(request.method, request.path, dict(request.query), body, request.headers["Accept"])
        self.requests.append(asked)
        await asyncio.sleep(self.delay_seconds(asked))
        page = self.interrupt(asked)
        if page is not None:
            return web.Response(text=page)
        failure = self.fail_before(asked)
        if failure is not None:
            return _failure(failure, "", message=self.failure_message)
        answer = self._answer(asked)
        failure = self.fail_after(asked)
        return answer if failure is None else _failure(failure, "", message=self.failure_message)

    def _answer(self, asked: Request) -> web.Response:
        if asked.method == "POST":
            return self._create(asked)
        path = asked.path.removesuffix("/status")
        stored = self.objects.get(path)
        if stored is None and asked.method == "PATCH" and asked.path == path and "force" in asked.query:
            return web.json_response(self.put(path, asked.body), status=201)
        if stored is None:
            return self._list(asked) if asked.method == "GET" and _is_collection(path) else _failure(404, "NotFound")
        if asked.method == "GET":
            return web.json_response(stored)
        claimed, known = (asked.body or {}).get("metadata", {}), stored["metadata"]
        if claimed.get("resourceVersion", known["resourceVersion"]) != known["resourceVersion"]:
            return _failure(409, "Conflict")
        if asked.method == "DELETE":
            if asked.body["preconditions"]["uid"] != known["uid"]:
                return _failure(409, "Conflict")
            del self.objects[path]
            return web.json_response({"kind": "Status", "status": "Success"})
        if asked.method == "PUT":
            return web.json_response(self.put(path, asked.body))
        if asked.path == path and claimed.get("uid", known["uid"]) != known["uid"]:
            return _failure(422, "Invalid", field="metadata.uid")
        changed = _merge(stored, asked.body) if asked.path == path else {**stored, "status": asked.body["status"]}
        return web.json_response(stored if changed == stored else self.put(path, changed))

    def _create(self, asked: Request) -> web.Response:
        path = f"{asked.path}/{asked.body['metadata']['name']}"
        if path in self.objects:
            return _failure(409, "AlreadyExists")
        return web.json_response(self.put(path, asked.body), status=201)

    def _list(self, asked: Request) -> web.Response:
        items = [one for path, one in self.objects.items() if path.rpartition("/")[0] == asked.path]
        first = int(asked.query.get("continue", 0))
        last = first + int(asked.query.get("limit", 500))
        follows = {"continue": str(last)} if last < len(items) else {}
        return web.json_response(
            {"kind": "List", "metadata": {"resourceVersion": str(self.version)} | follows, "items": items[first:last]}
        )


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


def _is_collection(path: str) -> bool:
    return path.rpartition("/")[2] in ("mtpmodels", "mtptuningruns", "jobs", "pods", "nodes", "events")


def _failure(status: int, reason: str, field: str = "", message: str = "as the test asked") -> web.Response:
    details = {"causes": [{"field": field}]} if field else {}
    body = {"kind": "Status", "reason": reason, "message": message, "details": details}
    return web.json_response(body, status=status)


def _merge(stored: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    base = stored if isinstance(stored, dict) else {}
    merged = base | {name: _merge(base.get(name), value) for name, value in patch.items()}
    return {name: value for name, value in merged.items() if value is not None}
