"""An API server over a real socket that serves what a test puts into it."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OURS = "/apis/mtp-operator.dev/v1alpha1/namespaces/team"


class ApiServer(ThreadingHTTPServer):
    """Serves objects at paths, remembers what was written and created, and forbids the rest."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, Any] = {}
        self.patches: list[tuple[str, Any]] = []
        self.created: list[tuple[str, Any]] = []
        self.made_of: Callable[[Any], Any] = lambda body: body
        self.tokens: set[str | None] = set()
        self.has_our_kinds = True


class _Handler(BaseHTTPRequestHandler):
    server: ApiServer

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        known = path in self.server.objects
        found = self.server.objects.get(path)
        found = found() if callable(found) else found
        if path.startswith("/apis/mtp-operator.dev/") and not self.server.has_our_kinds:
            self._answer(404, "404 page not found")
        elif found is not None:
            self._answer(200, found)
        elif known:
            self._answer(503, {"kind": "Status", "message": "etcdserver: leader changed"})
        elif path.startswith("/apis/mtp-operator.dev/"):
            self._answer(404, {"kind": "Status", "message": "not found"})
        else:
            self._answer(403, {"kind": "Status", "message": "jane may not list that"})

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Content-Type"] == "application/merge-patch+json"
        self.server.patches.append((self.path, body))
        self._answer(200, {"kind": "MTPModel"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Content-Type"] == "application/json"
        path = f"{self.path}/{body['metadata']['name']}"
        if path in self.server.objects:
            self._answer(409, {"kind": "Status", "message": "already exists"})
        else:
            self.server.created.append((path, body))
            self.server.objects[path] = self.server.made_of(body)
            self._answer(201, body)

    def do_DELETE(self) -> None:
        if self.server.objects.pop(self.path, None) is None:
            self._answer(404, {"kind": "Status", "message": "not found"})
        else:
            self._answer(200, {"kind": "Status"})

    def _answer(self, status: int, body: Any) -> None:
        self.server.tokens.add(self.headers["Authorization"])
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass
