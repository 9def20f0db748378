"""What a server has to be known by to be measured: an engine's own ways, or those that all OpenAI-compatible have."""

from collections.abc import Mapping
from typing import Any, Protocol

from mtp_operator.engines import EngineMetrics, RequestDrafts, cached_in_usage, tokens_in_usage


class Dialect(Protocol):
    """The part of an engine that the load needs; `engines.Engine` has it."""

    @property
    def health_path(self) -> str:
        """Answers 200 while the server is up."""

    @property
    def metrics_path(self) -> str:
        """Prometheus metrics."""

    @property
    def metrics(self) -> EngineMetrics | None:
        """Names of the counters, where it has any."""

    def cache_breaking_fields(self, salt: str) -> Mapping[str, Any]:
        """Fields of a request that keep its prompt from being answered out of a cache."""

    def neutral_sampling_fields(self) -> Mapping[str, float]:
        """Fields of a request that turn off whatever a server samples with by default, but for the temperature."""

    def completion_tokens(self, message: Mapping[str, Any]) -> int | None:
        """Output tokens of the whole completion, if this message of its stream tells them."""

    def request_drafts(self, message: Mapping[str, Any]) -> RequestDrafts | None:
        """What was drafted for this completion, if this message of its stream tells it."""

    def cached_tokens(self, message: Mapping[str, Any]) -> int | None:
        """Tokens of the prompt that the server had computed before, if this message of its stream tells them."""


class OpenAICompatible:
    """Any other server: nothing is sent and nothing is expected that the OpenAI API does not have."""

    health_path = "/v1/models"
    metrics_path = "/metrics"
    metrics = None

    def cache_breaking_fields(self, salt: str) -> Mapping[str, Any]:
        """None that every server takes."""
        del salt
        return {}

    def neutral_sampling_fields(self) -> Mapping[str, float]:
        """Those that the OpenAI API has."""
        return {"top_p": 1, "presence_penalty": 0, "frequency_penalty": 0}

    def completion_tokens(self, message: Mapping[str, Any]) -> int | None:
        """As in `usage`."""
        return tokens_in_usage(message)

    def request_drafts(self, message: Mapping[str, Any]) -> RequestDrafts | None:
        """Unknown."""
        del message
        return None

    def cached_tokens(self, message: Mapping[str, Any]) -> int | None:
        """As in `usage`."""
        return cached_in_usage(message)
