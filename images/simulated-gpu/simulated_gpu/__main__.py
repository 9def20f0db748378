"""`python -m simulated_gpu ARGUMENTS…`: the arguments of `vllm serve`, and those of `command`."""

from __future__ import annotations

import asyncio
import json
import logging
import logging.config
import os
import signal
import socket
import sys
from pathlib import Path

from aiohttp import web

from .command import Command, parse
from .server import Server, logger


def main() -> None:
    """Serve until SIGTERM."""
    _configure_logging()
    try:
        command = parse(sys.argv[1:], os.environ)
        server = Server(command)
    except (OSError, ValueError) as error:
        logger.error("%s", error)
        sys.exit(2)
    asyncio.run(_serve(command, server))


async def _serve(command: Command, server: Server) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    logger.info("Simulated GPU: curve %s, num_speculative_tokens %d", server.curve_name, command.n_spec)
    await _wait(ended, command.start_seconds)
    # A client that goes away ends its request, as with vLLM.
    runner = web.AppRunner(server.application(), access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    await web.SockSite(runner, _listener(command.host, command.port)).start()
    logger.info("Application startup complete.")
    await ended.wait()
    await runner.cleanup()


def _listener(host: str, port: int) -> socket.socket:
    """As vLLM listens: at `::`, IPv4 is taken as well."""
    if ":" not in host:
        return socket.create_server((host, port))
    return socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=host == "::")


async def _wait(ended: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(ended.wait(), seconds)
    except TimeoutError:
        return
    sys.exit(0)


def _configure_logging() -> None:
    """As vLLM does: by the file that `VLLM_LOGGING_CONFIG_PATH` names, if it does."""
    path = os.environ.get("VLLM_LOGGING_CONFIG_PATH")
    if path:
        logging.config.dictConfig(json.loads(Path(path).read_text()))
    else:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(asctime)s [%(name)s] %(message)s")


if __name__ == "__main__":
    main()
