"""How far the fetch is, for whoever asks by HTTP."""

import http.server
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

from mtp_operator.api.fetch import PROGRESS_PATH, FetchProgress, FetchStage

from .listing import RemoteFile
from .store import Store

SHORTEST_SECONDS: Final = 1.0
"""A rate over less time than this would be noise."""


class Meter:
    """Counts what is on the claim whenever it is asked; nothing is counted on the way.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._files: list[tuple[Store, RemoteFile]] = []
        self._total = 0
        self._last = (0.0, 0)
        self._rate = 0
        self.stage = FetchStage.ASKING

    @property
    def total_bytes(self) -> int:
        """Bytes of all files together."""
        return self._total

    def follow(self, store: Store, files: tuple[RemoteFile, ...]) -> None:
        """Takes these files into the account; what is there of them now was not fetched by this process."""
        with self._lock:
            self._files += [(store, file) for file in files]
            self._total += sum(file.size for file in files)
            self._last = (self._clock(), self._fetched())

    def read(self) -> FetchProgress:
        """How far it is now; the rate is that since the last time."""
        with self._lock:
            now, fetched = self._clock(), self._fetched()
            then, before = self._last
            if self._files and now - then >= SHORTEST_SECONDS:
                self._rate = max(0, round((fetched - before) / (now - then)))
                self._last = (now, fetched)
            return FetchProgress(
                stage=self.stage, fetched_bytes=fetched, total_bytes=self._total, bytes_per_second=self._rate
            )

    def _fetched(self) -> int:
        return sum(store.fetched_bytes(file) for store, file in self._files)


class _Server(http.server.ThreadingHTTPServer):
    """Listens at every address of the pod, IPv4 and IPv6: the operator asks from another one."""

    daemon_threads = True
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def serve(meter: Meter, port: int) -> http.server.ThreadingHTTPServer:
    """Answers GET /progress until the process ends.

    Raises:
        OSError: the port is taken.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answers the one path that there is."""
            if self.path != PROGRESS_PATH:
                self.send_error(http.HTTPStatus.NOT_FOUND)
                return
            body = meter.read().model_dump_json(by_alias=True).encode()
            self.send_response(http.HTTPStatus.OK)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing: the log is for what happens."""

    server = _Server(("", port), Handler)
    threading.Thread(target=server.serve_forever, name="progress", daemon=True).start()
    return server
