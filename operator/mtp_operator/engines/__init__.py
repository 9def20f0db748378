"""The engines that can be measured, behind one interface."""

from typing import Final

from mtp_operator.api.spec import EngineType

from .engine import (
    BESIDE_THE_BENCH,
    CONFIGURATION_FOLDER,
    EVERY_ADDRESS,
    HOME,
    LOG_FILE,
    LOG_FOLDER,
    NO_LOG_FILE,
    POD,
    Engine,
    EngineMetrics,
    Place,
    RequestDrafts,
    cached_in_usage,
    prompt_tokens_in_usage,
    tokens_in_usage,
)
from .llamacpp import LlamaCpp
from .sglang import SGLang
from .telling import telling_lines
from .token_scores import Continuation, Messages, TokenScore
from .vllm import VLLM

_ENGINES: Final[dict[EngineType, type[Engine]]] = {engine.type: engine for engine in (VLLM, LlamaCpp, SGLang)}

__all__ = [
    "BESIDE_THE_BENCH",
    "CONFIGURATION_FOLDER",
    "EVERY_ADDRESS",
    "HOME",
    "LOG_FILE",
    "LOG_FOLDER",
    "NO_LOG_FILE",
    "POD",
    "Continuation",
    "Engine",
    "EngineMetrics",
    "Messages",
    "Place",
    "RequestDrafts",
    "TokenScore",
    "cached_in_usage",
    "engine_for",
    "prompt_tokens_in_usage",
    "telling_lines",
    "tokens_in_usage",
]


def engine_for(engine_type: EngineType, log_path: str = LOG_FILE, place: Place = POD) -> Engine:
    """The engine of this type at this place, which logs to this file beside its standard output."""
    return _ENGINES[engine_type](log_path, place)
