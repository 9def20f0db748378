"""Fixtures of the bench's tests."""

import threading
from collections.abc import Iterator

import pytest

from tests.unit.bench.small_server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
