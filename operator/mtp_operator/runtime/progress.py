"""Asks a fetch's pod how far it is: the one request that goes to something else than the API server.

The pod has no token to write anything with, and faces the internet; so it is asked, and what it says is bounded, parsed
strictly and believed only as figures in a status.
"""

from typing import Final

import aiohttp
import structlog

from mtp_operator.api.fetch import PROGRESS_PATH, PROGRESS_PORT, FetchProgress

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
