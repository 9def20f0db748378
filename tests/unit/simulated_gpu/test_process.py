"""The program as an image starts it, on this machine's clock, measured by the program of a trial's bench container."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any

import httpx
import pytest

from mtp_operator.api.candidate import candidate_id
from mtp_operator.api.spec import EngineType, SpeculationMethod
from mtp_operator.api.trial_documents import OutputStatus, PlannedLevel, TrialPlan
from simulated_gpu.curve import read_curve
from tests.unit.bench.test_program import finish, start
from tests.unit.simulated_gpu.boot import CURVES, GEMMA, NAME, REPOSITORY, VLLM, arguments

IMAGE = REPOSITORY / "images" / "simulated-gpu"


@contextmanager
def running(
    folder: Path, n_spec: int, host: str = "127.0.0.1", **options: Any
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The program, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    configuration = folder / "logging.json"
    configuration.write_text(type(VLLM)(str(folder / "engine.log")).configuration_files()["vllm-logging.json"])
    environment = {**os.environ, "PYTHONPATH": str(IMAGE), "VLLM_LOGGING_CONFIG_PATH": str(configuration)}
    flags = [f"--host={host}", f"--port={port}", *arguments(n_spec, **options)[1:]]
    with subprocess.Popen([sys.executable, "-m", "simulated_gpu", "m", *flags], env=environment) as process:
        try:
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def plan(url: str, folder: Path, n_spec: int) -> TrialPlan:
    return TrialPlan(
        engine=EngineType.VLLM,
        url=url,
        served_name=NAME,
        candidate=candidate_id(SpeculationMethod.MTP, n_spec),
        n_spec=n_spec,
        output_tokens=64,
        levels=(PlannedLevel(concurrency=1), PlannedLevel(concurrency=4)),
        level_seconds=10,
        ready_seconds=30,
        engine_log=str(folder / "engine.log"),
    )


@contextmanager
def something_else_running() -> Iterator[None]:
    """A process that takes all of a core."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            yield
        finally:
            busy.kill()


def test_a_busy_machine_takes_nothing_from_its_speed(tmp_path: Path) -> None:
    recorded = read_curve(CURVES, GEMMA)
    with something_else_running(), running(tmp_path, 4, speed=2) as (_, url):
        status, result, _ = finish(start(plan(url, tmp_path, 4), tmp_path), tmp_path)

    assert status == 0
    assert result.failure is None
    for level in result.levels:
        expected = 2 * recorded.tokens_per_second(4, level.concurrency)
        # 2 % here; a machine with much more to do than this may stop everything for longer than a window lasts.
        assert fmean(level.windows) == pytest.approx(expected, rel=0.1)
        assert level.drafts is not None
        shares = [share * level.drafts for share in recorded.acceptance(4)]
        assert level.accepted_per_position == pytest.approx(shares, abs=3)
    assert result.output_check is not None
    assert result.output_check.status is OutputStatus.SCORED


def test_an_engine_that_dies_says_why(tmp_path: Path) -> None:
    with running(tmp_path, 2, faults={"dies_at_request": 0}) as (process, url):
        status, result, _ = finish(start(plan(url, tmp_path, 2), tmp_path), tmp_path)
        assert process.wait(10) == 1

    assert status == 1
    assert result.failure is not None
    assert result.failure.reason == "EngineFailed"
    assert "it was ordered to die at request 0" in result.failure.message


@pytest.mark.parametrize("start_seconds", [0, 60])
def test_it_ends_when_it_is_told_to(tmp_path: Path, start_seconds: int) -> None:
    with running(tmp_path, 0, start_seconds=start_seconds) as (process, _):
        said = "Application startup complete" if not start_seconds else "Simulated GPU: curve"
        _wait_until_logged(tmp_path / "engine.log", said)
        process.send_signal(signal.SIGTERM)

        assert process.wait(10) == 0


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_at_every_address_it_takes_ipv4_and_ipv6(tmp_path: Path) -> None:
    with running(tmp_path, 0, host="::") as (_, url):
        _wait_until_logged(tmp_path / "engine.log", "Application startup complete")
        hosts = ("127.0.0.1", "[::1]")
        answers = [httpx.get(f"{url.replace('127.0.0.1', host)}/health", trust_env=False) for host in hosts]

    assert [answer.status_code for answer in answers] == [200, 200]


@pytest.mark.parametrize("wrong", ["--curve=nowhere", "--speed=fast", "--curves=/nowhere"])
def test_what_cannot_be_used_is_said(wrong: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(IMAGE), "SIMULATED_GPU_CURVES": str(CURVES)}
    done = subprocess.run(
        [sys.executable, "-m", "simulated_gpu", "m", wrong],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert wrong.split("=")[1] in done.stderr
    assert "Traceback" not in done.stderr


def _wait_until_logged(log: Path, words: str) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if log.exists() and words in log.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(f"{words!r} is not in the log")
