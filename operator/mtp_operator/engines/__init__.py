"""The engines that can be measured, behind one interface."""

from typing import Final

from mtp_operator.api.spec import EngineType

from .engine import CONFIGURATION_FOLDER, HOME, LOG_FOLDER, Engine, EngineMetrics, RequestDrafts, tokens_in_usage
from .llamacpp import LlamaCpp
from .scoring import Continuation, Messages, TokenScore
from .telling import telling_lines
from .vllm import VLLM

_ENGINES: Final[dict[EngineType, Engine]] = {engine.type: engine for engine in (VLLM(), LlamaCpp())}

__all__ = [
    "CONFIGURATION_FOLDER",
    "HOME",
    "LOG_FOLDER",
    "Continuation",
    "Engine",
    "EngineMetrics",
    "Messages",
    "RequestDrafts",
    "TokenScore",
    "engine_for",
    "telling_lines",
    "tokens_in_usage",
]


def engine_for(engine_type: EngineType) -> Engine:
    """The engine of this type."""
    return _ENGINES[engine_type]
