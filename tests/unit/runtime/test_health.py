"""The two ports of the operator's process: probes on one, metrics on the other."""

import socket

import httpx
import pytest

from mtp_operator.runtime.health import Health


@pytest.mark.parametrize(
    ("port", "path", "status"),
    [
        ("health", "/healthz", 200),
        ("health", "/readyz", 503),
        ("health", "/metrics", 404),
        ("metrics", "/metrics", 200),
        ("metrics", "/healthz", 404),
    ],
)
async def test_each_port_answers_what_is_its_own(port: str, path: str, status: int) -> None:
    runners = await Health().serve("127.0.0.1", 0, 0)
    try:
        ports = dict(zip(("health", "metrics"), (runner.addresses[0][1] for runner in runners), strict=True))
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://127.0.0.1:{ports[port]}{path}")
    finally:
        for runner in runners:
            await runner.cleanup()

    assert answer.status_code == status
    assert ("mtp_operator_build_info" in answer.text) == (path == "/metrics" and status == 200)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"][: 1 + socket.has_dualstack_ipv6()])
async def test_probes_are_answered_by_either_kind_of_address(host: str) -> None:
    with socket.create_server(("", 0)) as free:
        port = free.getsockname()[1]
    runners = await Health().serve("", port, 0)
    try:
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://{host}:{port}/healthz")).status_code == 200
    finally:
        for runner in runners:
            await runner.cleanup()
