"""A server that somebody else has started: what it is, and what it serves."""

from dataclasses import dataclass
from typing import Final

import aiohttp

from mtp_operator.api.spec import EngineType
from mtp_operator.engines import engine_for

from .dialect import Dialect, OpenAICompatible

MODELS_PATH: Final = "/v1/models"

_OWNERS: Final = {"vllm": EngineType.VLLM, "llamacpp": EngineType.LLAMA_CPP, "sglang": EngineType.SGLANG}


class UnusableServerError(Exception):
    """There is no such server, or it does not serve the model; the message says which option is wrong."""


@dataclass(frozen=True)
class Server:
    """What answers at an address."""

    dialect: Dialect
    model: str
    name: str
    """What it is, for people."""


async def look_at(session: aiohttp.ClientSession, url: str, model: str | None) -> Server:
    """Ask a server what it serves.

    Args:
        session: to it.
        url: its address, for messages.
        model: the name wanted; None: the only one, or the first.

    Raises:
        UnusableServerError: it cannot be used.
    """
    try:
        async with session.get(MODELS_PATH, timeout=aiohttp.ClientTimeout(total=30)) as response:
            if not response.ok:
                raise UnusableServerError(
                    f"--url: {url} answers {MODELS_PATH} with HTTP {response.status}: an OpenAI-compatible server is "
                    "needed, by its address without a path"
                )
            document = await response.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise UnusableServerError(f"--url: {url} cannot be reached ({str(error) or type(error).__name__})") from error
    except ValueError as error:
        raise UnusableServerError(f"--url: {url} answers {MODELS_PATH} with something that is no JSON") from error
    served = {one["id"]: one for one in _models(document) if isinstance(one, dict) and "id" in one}
    if not served:
        raise UnusableServerError(f"--url: {url} serves no model")
    chosen = next(iter(served)) if model is None else model
    if chosen not in served:
        raise UnusableServerError(f"--model: {chosen} is not served by {url}; it serves {', '.join(served)}")
    engine = _OWNERS.get(served[chosen].get("owned_by", ""))
    dialect: Dialect = engine_for(engine) if engine else OpenAICompatible()
    return Server(dialect, chosen, engine.value if engine else "an OpenAI-compatible server")


def _models(document: object) -> list[object]:
    models = document.get("data") if isinstance(document, dict) else None
    return models if isinstance(models, list) else []
