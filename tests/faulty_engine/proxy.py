"""Between the clients and the real engine."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .faults import Break, Document, Engine, Fault

COMPLETIONS = ("/v1/chat/completions", "/v1/completions", "/completion")


class Proxy(ThreadingHTTPServer):
    """Answers on the engine's port."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, engine_port: int, fault: Fault, engine: Engine) -> None:
        super().__init__(("0.0.0.0", port), Handler)  # noqa: S104  # as the engine itself would
        self.engine_port = engine_port
        self.fault = fault
        self.engine = engine


class Handler(BaseHTTPRequestHandler):
    """One client's connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Proxy

    def do_GET(self) -> None:
        with Upstream(self.server.engine_port) as upstream:
            try:
                response = upstream.ask("GET", self.path, b"")
            except OSError:
                self._send(503, b"", "text/plain")
                return
            content: bytes | None = response.read()
            if self.path == "/metrics" and response.status == http.client.OK and content is not None:
                told = self.server.fault.metrics(content.decode())
                content = None if told is None else told.encode()
            if content is None:
                self._send(404, b"not found", "text/plain")
            else:
                self._send(response.status, content, response.getheader("Content-Type", "text/plain"))

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path not in COMPLETIONS:
            self._pass_on(content)
            return
        fault, body = self.server.fault, json.loads(content)
        number = fault.number()
        status = fault.request(self.server.engine, body, number)
        if status is not None:
            self._send(status, b'{"error": {"message": "planted"}}', "application/json")
            return
        with Upstream(self.server.engine_port) as upstream:
            response = upstream.ask("POST", self.path, content)
            if response.status != http.client.OK:
                self._send(response.status, response.read(), response.getheader("Content-Type", "text/plain"))
            elif body.get("stream"):
                self._stream(fault.events(body, _events(response), number))
            else:
                answer = fault.answer(self.server.engine, body, json.loads(response.read()))
                self._send(200, json.dumps(answer).encode(), "application/json")

    def _pass_on(self, content: bytes) -> None:
        with Upstream(self.server.engine_port) as upstream:
            response = upstream.ask("POST", self.path, content)
            self._send(response.status, response.read(), response.getheader("Content-Type", "text/plain"))

    def _stream(self, events: Iterator[Document]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for event in events:
                self._chunk(f"data: {json.dumps(event)}\n\n".encode())
        except Break:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))

    def _send(self, status: int, content: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        """The engine logs its requests itself."""


class Upstream:
    """One request to the real engine."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, content: bytes) -> http.client.HTTPResponse:
        """The engine's response, not read yet."""
        self._connection.request(method, path, content, {"Content-Type": "application/json"})
        return self._connection.getresponse()


def ask(port: int, path: str, body: Document) -> Document:
    """What the real engine answers."""
    with Upstream(port) as upstream:
        answer: Document = json.loads(upstream.ask("POST", path, json.dumps(body).encode()).read())
        return answer


def _events(response: http.client.HTTPResponse) -> Iterator[Document]:
    for line in response:
        if line.startswith(b"data: ") and not line.startswith(b"data: [DONE]"):
            yield json.loads(line.removeprefix(b"data: "))
