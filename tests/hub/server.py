"""Lists repositories, and sends their files: small ones itself, large ones from another host, as the hub does."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

SMALL_BYTES = 100_000
"""Files up to this size lie in git, larger ones in LFS."""

CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Repository:
    """A folder as a repository with one commit."""

    name: str
    folder: Path
    is_gated: bool = False
    is_private: bool = False

    @property
    def commit(self) -> str:
        """Follows from the files, as in git."""
        digest = hashlib.sha1(self.name.encode(), usedforsecurity=False)
        for path in self.paths():
            digest.update(f"{path} {(self.folder / path).stat().st_size}\n".encode())
        return digest.hexdigest()

    def paths(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    def is_large(self, path: str) -> bool:
        return (self.folder / path).stat().st_size > SMALL_BYTES

    def sibling(self, path: str) -> dict[str, Any]:
        """What the list of files says of one."""
        content = (self.folder / path).read_bytes()
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        entry: dict[str, Any] = {"rfilename": path, "size": len(content), "blobId": blob}
        if self.is_large(path):
            entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return entry


@dataclass
class Faults:
    """What goes wrong. Each list is used up from its start."""

    statuses: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Answers to requests for files, with their headers, before files are sent again."""
    list_statuses: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """The same for requests for lists."""
    cuts: list[int] = field(default_factory=list)
    """Bytes of a file after which its connection is cut, one for each connection."""
    wrong: Counter[str] = field(default_factory=Counter)
    """Path -> how many times it is sent with wrong bytes."""
    ignores_range: bool = False
    commit: str | None = None
    """What it says the commit is, whatever is asked for."""
    surplus: int = 0
    """Bytes that it sends beyond the end of a large file."""
    redirects_to: str | None = None
    """Where large files are said to be."""
    status_line: str | None = None
    """What it sends in place of an answer to a request for a small file."""


class Hub:
    """Runs while it is entered. All counters are of bytes and requests of files."""

    def __init__(
        self,
        *repositories: Repository,
        address: str = "127.0.0.1",
        port: int = 0,
        token: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.repositories = {one.name: one for one in repositories}
        self._lists = {one.name: [one.sibling(path) for path in one.paths()] for one in repositories}
        self.token = token
        """The one token that opens gated and private repositories."""
        self.faults = Faults()
        self.bytes_sent = 0
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.watch: Callable[[int], None] = lambda _: None
        """Called with all bytes sent so far after each chunk."""
        self._server = _Server((address, port), self)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.scheme = "http" if tls is None else "https"
        self.url = f"{self.scheme}://{address}:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def listing(self, name: str) -> list[dict[str, Any]]:
        return self._lists[name]


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], hub: Hub) -> None:
        super().__init__(address, _Handler)
        self.hub = hub
        self.lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is part of the test."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        # What is under way counts as sent, and is lost with its receiver: little, as beside a model of real size.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHUNK_BYTES)

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        hub, path = self.server.hub, unquote(urlsplit(self.path).path)
        hub.requests.append((path, dict(self.headers)))
        kind, *parts = path.strip("/").split("/")
        if kind == "api":
            self._list("/".join(parts[1:3]), parts[4] if len(parts) > 4 else None)
        elif kind == "lfs":
            self._send(hub.repositories["/".join(parts[:2])], "/".join(parts[2:]))
        else:
            self._resolve(f"{kind}/{parts[0]}", parts[2], "/".join(parts[3:]))

    def _list(self, name: str, revision: str | None) -> None:
        repository = self._opened(name)
        if repository is None or self._fails(self.server.hub.faults.list_statuses):
            return
        faults = self.server.hub.faults
        if revision not in (None, repository.commit) and faults.commit is None:
            self._answer(404, {"error": "Revision not found"}, {"X-Error-Code": "RevisionNotFound"})
            return
        siblings = self.server.hub.listing(name)
        sha = repository.commit if faults.commit is None else faults.commit
        self._answer(200, {"id": name, "modelId": name, "sha": sha, "siblings": siblings})

    def _resolve(self, name: str, revision: str, path: str) -> None:
        repository = self._opened(name)
        if repository is None or self._fails(self.server.hub.faults.statuses):
            return
        faults = self.server.hub.faults
        if revision != repository.commit or path not in repository.paths():
            self._answer(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        elif repository.is_large(path):
            # By another name of the same host, which must not be shown the token.
            port = self.server.server_port
            if faults.redirects_to is not None:
                self._answer(302, {}, {"Location": faults.redirects_to})
                return
            host = "localhost" if self.headers["Host"].startswith("127.0.0.1") else self.headers["Host"].split(":")[0]
            self._answer(302, {}, {"Location": f"{self.server.hub.scheme}://{host}:{port}/lfs/{name}/{path}"})
        elif faults.status_line is not None:
            self.wfile.write(faults.status_line.encode())
            self.close_connection = True
        else:
            self._send(repository, path)

    def _opened(self, name: str) -> Repository | None:
        """The repository, if whoever asks may see it; otherwise what the hub says is said."""
        hub = self.server.hub
        repository, given = hub.repositories.get(name), self.headers.get("Authorization", "")
        knows_token = bool(hub.token) and given == f"Bearer {hub.token}"
        if given and not knows_token:
            self._answer(401, {"error": "Invalid"}, {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif repository is None or (repository.is_private and not knows_token):
            self._answer(404 if given else 401, {"error": "Not found"}, {"X-Error-Code": "RepoNotFound"})
        elif repository.is_gated and not knows_token:
            self._answer(401, {"error": "Gated"}, {"X-Error-Code": "GatedRepo"})
        else:
            return repository
        return None

    def _fails(self, statuses: list[tuple[int, dict[str, str]]]) -> bool:
        with self.server.lock:
            if not statuses:
                return False
            status, headers = statuses.pop(0)
        self._answer(status, {"error": "fault"}, headers)
        return True

    def _send(self, repository: Repository, path: str) -> None:
        hub, file = self.server.hub, repository.folder / path
        size, start, spoilt = file.stat().st_size, 0, False
        asked = self.headers.get("Range")
        if asked and not hub.faults.ignores_range:
            start = int(asked.removeprefix("bytes=").split("-")[0])
        with self.server.lock:
            cut = hub.faults.cuts.pop(0) if hub.faults.cuts and repository.is_large(path) else size
            if hub.faults.wrong[path] > 0:
                hub.faults.wrong[path] -= 1
                spoilt = True
        self.send_response(206 if start or (asked and not hub.faults.ignores_range) else 200)
        surplus = hub.faults.surplus if repository.is_large(path) else 0
        self.send_header("Content-Length", str(size - start + surplus))
        self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.end_headers()
        for part in _parts(file, start, min(size, start + cut)):
            self.wfile.write(_with_a_wrong_bit(part) if spoilt else part)
            with self.server.lock:
                hub.bytes_sent += len(part)
                sent = hub.bytes_sent
            hub.watch(sent)
        with contextlib.suppress(OSError):
            for _ in range(0, surplus, CHUNK_BYTES):
                self.wfile.write(bytes(CHUNK_BYTES))
                hub.watch(hub.bytes_sent)
        if start + cut < size:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, status: int, document: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _parts(file: Path, start: int, end: int) -> Iterator[bytes]:
    with file.open("rb") as content:
        content.seek(start)
        while part := content.read(min(CHUNK_BYTES, end - content.tell())):
            yield part


def _with_a_wrong_bit(part: bytes) -> bytes:
    return part[:-1] + bytes((part[-1] ^ 1,))
