"""A server on a real port that serves a model and never answers: for programs that run as a whole."""

import http.server
import json
import threading
import time
from typing import Any

HANGS_SECONDS = 60


class Server(http.server.ThreadingHTTPServer):
    """Serves one model."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        content = json.dumps({"data": [{"id": "tiny", "owned_by": "llamacpp"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.server.asked.set()
        time.sleep(HANGS_SECONDS)

    def log_message(self, *arguments: Any) -> None:
        pass
