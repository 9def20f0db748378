"""Publicly reported faults of servers, as a person who runs `mtp bench` meets them: on a clock that jumps."""

import json
from typing import Any

from typer.testing import Result

from tests.unit.bench.stepping_engine import SteppingEngine, bench


def told(done: Result) -> dict[str, Any]:
    """The result as JSON."""
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def measured(engine: SteppingEngine, *arguments: str) -> dict[str, Any]:
    """What `mtp bench` says of this server."""
    done = bench(engine, "--output-tokens", "64", "--seconds", "60", "--output", "json", *arguments)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return told(done)


def warnings(result: dict[str, Any]) -> dict[str, str]:
    """Reason -> message."""
    return {one["reason"]: one["message"] for one in result.get("warnings", ())}


def test_a_server_without_a_fault_gets_no_warning() -> None:
    result = measured(SteppingEngine(n_spec=3, accepted=lambda _: 2))

    assert "failure" not in result
    assert warnings(result) == {}
    assert result["levels"][0]["acceptedPerPosition"][:2] == [result["levels"][0]["drafts"]] * 2
