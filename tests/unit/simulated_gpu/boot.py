"""Boots of the simulated GPU in this process, on the clock of the running event loop."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from mtp_operator.api.spec import EngineType, PromptCategory, Sampling
from mtp_operator.api.trial_documents import TrialResult
from mtp_operator.bench.engine_client import EngineClient, open_session
from mtp_operator.bench.load import Level, LevelRun
from mtp_operator.bench.measure import Findings, measure
from mtp_operator.bench.output_checker import OutputChecker
from mtp_operator.bench.prompts import built_in_mix
from mtp_operator.bench.report import trial_result
from mtp_operator.engines import engine_for
from simulated_gpu.command import parse
from simulated_gpu.server import Server

REPOSITORY = Path(__file__).parents[3]
CURVES = REPOSITORY / "docs" / "data"
GEMMA = "seed-gemma4-31b-fp8-vllm"
NAME = "tiny"
VLLM = engine_for(EngineType.VLLM)
MIX = built_in_mix([PromptCategory.CODE, PromptCategory.CHAT], seed=7)


def arguments(n_spec: int = 0, curve: str = GEMMA, **options: Any) -> list[str]:
    """What a boot is started with; without noise unless that is asked for."""
    flags = {"curves": CURVES, "curve": curve, "boot_noise": 0, **options}
    speculation = json.dumps({"method": "mtp", "num_speculative_tokens": n_spec})
    return [
        *("serve", "/models/model", f"--served-model-name={NAME}"),
        *(f"--{name}={json.dumps(value) if isinstance(value, dict) else value}" for name, value in flags.items()),
        *([f"--speculative-config={speculation}"] if n_spec else []),
    ]


@asynccontextmanager
async def booted(started_with: Sequence[str]) -> AsyncIterator[tuple[Server, aiohttp.ClientSession]]:
    """A boot, and a session that reaches it by a Unix socket, through which a virtual clock works."""
    server = Server(parse(started_with, {}))
    runner = web.AppRunner(server.application(), access_log=None, handler_cancellation=True)
    with tempfile.TemporaryDirectory() as folder:
        socket = str(Path(folder, "socket"))
        await runner.setup()
        await web.UnixSite(runner, socket).start()
        try:
            async with open_session(
                "http://engine", aiohttp.UnixConnector(socket, limit=0, force_close=True)
            ) as session:
                yield server, session
        finally:
            await runner.cleanup()


async def measured(
    started_with: Sequence[str], n_spec: int, concurrencies: Sequence[int] = (1,), output_tokens: int = 96
) -> tuple[TrialResult, list[LevelRun]]:
    """What a trial of one boot brings, its output check included."""
    levels = [
        Level(concurrency, output_tokens, 60, MIX.level(index), MIX.pass_length(concurrency))
        for index, concurrency in enumerate(concurrencies)
    ]
    findings = Findings()
    async with booted(started_with) as (_, session):
        client = EngineClient(session, VLLM, NAME, Sampling())
        await measure(client, MIX.probe, levels, 60, findings)
        checker = OutputChecker(session, VLLM, NAME, None, seed=7)
        conversations = [
            (concurrency, (prompt.messages for prompt in MIX.level(index)))
            for index, concurrency in enumerate(concurrencies)
        ]
        check = await checker.check(conversations, output_tokens, limit_seconds=300)
    return trial_result(n_spec, findings.runs, None, check=check), findings.runs
