"""A server on a real port that answers soon: for programs that run as a whole."""

import http.server
import json
import threading
import time
from typing import Any

from tests.unit.bench.fake_engine import delta, event

ANSWER_SECONDS = 0.02
"""Longer than a client needs: how fast it is, then says little of how busy the machine is."""


class Server(http.server.ThreadingHTTPServer):
    """Answers completions soon and counts drafts for each."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answered = 0
        self.has_drafter = True
        self.hangs = False
        self.claims = 1
        """Times the tokens of an answer that it says it has."""
        self.asked = threading.Event()
        self.questions: set[str] = set()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._answer(json.dumps({"data": [{"id": "tiny", "owned_by": "llamacpp"}]}).encode())
            return
        answered, drafts = self.server.answered, self.server.answered * self.server.has_drafter
        name = "llamacpp:spec_decode_num"
        text = (
            f"llamacpp:tokens_predicted_total {32 * answered}\n"
            f"{name}_drafts_total {16 * drafts}\n"
            f"{name}_draft_tokens_total {32 * drafts}\n"
            f"{name}_accepted_tokens_total {15 * drafts}\n"
            f'{name}_accepted_tokens_per_pos_total{{position="0"}} {10 * drafts}\n'
            f'{name}_accepted_tokens_per_pos_total{{position="1"}} {5 * drafts}\n'
        )
        self._answer(text.encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            self.send_error(404)
            return
        tokens = body["max_tokens"]
        self.server.questions.add(body["messages"][-1]["content"])
        self.server.asked.set()
        time.sleep(60 if self.server.hangs else ANSWER_SECONDS)
        self.server.answered += 1
        last = {"choices": [], "usage": {"completion_tokens": tokens * self.server.claims}}
        self._answer(event(delta(content="word")) + event(delta("length")) + event(last) + b"data: [DONE]\n\n")

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        pass
