"""Asks a fetch's pod how far it is: the one request that goes to something else than the API server.

The pod has no token to write anything with, and faces the internet; so it is asked, and what it says is bounded, parsed
strictly and believed only as figures in a status.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp
import structlog

from mtp_operator.api.fetch import PROGRESS_PATH, PROGRESS_PORT, FetchProgress

AT_ONCE: Final = 16
"""Questions that are under way at once."""

ANSWER_BYTES: Final = 4096
TIMEOUT_SECONDS: Final = 3.0

log = structlog.get_logger(__name__)


async def read_progress(address: str, port: int = PROGRESS_PORT) -> FetchProgress | None:
    """How far the fetch at this address is; None where it does not answer, which hinders nothing else.

    Args:
        address: the pod's IP address, as its kubelet reports it.
        port: where it answers.
    """
    host = f"[{address}]" if ":" in address else address
    try:
        async with (
            aiohttp.ClientSession(trust_env=False, timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)) as session,
            session.get(f"http://{host}:{port}{PROGRESS_PATH}", allow_redirects=False) as response,
        ):
            return FetchProgress.model_validate_json(await response.content.read(ANSWER_BYTES))
    except (aiohttp.ClientError, OSError, ValueError) as error:
        log.info("a fetch does not say how far it is", address=address, error=str(error) or type(error).__name__)
        return None


class Questions:
    """Asks fetches' pods beside the workers: those that do not answer hold up nobody else's decisions.

    Args:
        read: asks the pod at an address.
    """

    def __init__(self, read: Callable[[str], Awaitable[FetchProgress | None]] = read_progress) -> None:
        self._read = read
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._open: dict[str, asyncio.Task[None]] = {}

    def ask(self, uid: str, address: str, tell: Callable[[FetchProgress | None], None]) -> None:
        """Begins to ask, unless this pod is being asked already, and answers at once.

        Args:
            uid: of the pod.
            address: its IP address.
            tell: is called with the answer; with None where there is none.
        """
        if uid not in self._open:
            self._open[uid] = asyncio.create_task(self._ask(uid, address, tell), name=f"question to {address}")

    async def close(self) -> None:
        """Asks no further."""
        tasks = list(self._open.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, uid: str, address: str, tell: Callable[[FetchProgress | None], None]) -> None:
        try:
            async with self._slots:
                tell(await self._read(address))
        finally:
            del self._open[uid]
