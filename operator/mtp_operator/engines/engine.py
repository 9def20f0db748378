"""What an engine is, to those who start one, talk to one and judge one."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from mtp_operator.api.run import RunSettings
from mtp_operator.api.spec import EngineType

LOG_FOLDER: Final = "/var/log/engine"
"""Shared by the engine, which writes its log there, and the bench container, which reads it."""

LOG_FILE: Final = f"{LOG_FOLDER}/engine.log"
"""Where an engine logs to, beside its standard output."""

NO_LOG_FILE: Final = "/dev/null"
"""For engines that only log to their standard output."""

CONFIGURATION_FOLDER: Final = "/etc/engine"
"""Where the files of `Engine.configuration_files` lie, read-only."""

HOME: Final = "/tmp"  # noqa: S108  # a volume of the pod's own: the root file system is read-only
"""Home of the engine's user: every cache lies below it."""


@dataclass(frozen=True)
class EngineMetrics:
    """Names of the engine's Prometheus counters, as they stand in the samples."""

    generated_tokens: str
    """Output tokens of all requests."""
    drafts: str
    """Drafting steps: one for each request and step of the target model."""
    draft_tokens: str
    accepted_tokens: str
    accepted_per_position: str
    position_label: str
    """Label of `accepted_per_position` that holds the position, counted from 0."""


@dataclass(frozen=True)
class RequestDrafts:
    """What an engine says of the speculation of one request, in its answer."""

    draft_tokens: int
    accepted_tokens: int


class Engine(ABC):
    """One inference engine. Another one is one more subclass and its line in `engines.engine_for`."""

    type: ClassVar[EngineType]
    port: ClassVar[int]
    health_path: ClassVar[str] = "/health"
    """Answers 200 while the server is up, which is not yet ready."""
    metrics_path: ClassVar[str] = "/metrics"
    metrics: ClassVar[EngineMetrics]

    load_metrics: ClassVar[tuple[str, ...]]
    """Names of the Prometheus gauges that together count the requests which are not finished."""

    def __init__(self, log_path: str = LOG_FILE) -> None:
        self.log_path = log_path
        """The file that the engine logs to, beside its standard output."""

    @abstractmethod
    def arguments(
        self, settings: RunSettings, n_spec: int, served_name: str, model_path: str, drafter_path: str | None
    ) -> tuple[str, ...]:
        """The arguments after the image's entry point; no shell ever sees them.

        Args:
            settings: of the run.
            n_spec: draft tokens per step; at 0 no flag speaks of speculation.
            served_name: what clients put into `model` of a request.
            model_path: the target model as the container sees it.
            drafter_path: the drafter likewise, where the method has one.
        """

    @abstractmethod
    def environment(self) -> Mapping[str, str]:
        """Environment variables of the engine's container."""

    def configuration_files(self) -> Mapping[str, str]:
        """File name -> content of what the engine wants to find in `CONFIGURATION_FOLDER`."""
        return {}

    @abstractmethod
    def cache_breaking_fields(self, salt: str) -> Mapping[str, Any]:
        """Fields of a request that keep the engine from reusing what it computed for an equal prompt.

        Args:
            salt: distinct for each request.
        """

    @abstractmethod
    def completion_tokens(self, message: Mapping[str, Any]) -> int | None:
        """Output tokens of a completion as the engine counted them; None where a message of it does not say."""

    @abstractmethod
    def request_drafts(self, message: Mapping[str, Any]) -> RequestDrafts | None:
        """What was drafted for a completion; None where a message of it does not say."""

    @abstractmethod
    def refusals(self, settings: RunSettings) -> tuple[str, ...]:
        """Why these settings cannot work or cannot be measured: one sentence each, none if they can."""


def tokens_in_usage(message: Mapping[str, Any]) -> int | None:
    """`usage.completion_tokens` of an OpenAI-style answer."""
    tokens = (message.get("usage") or {}).get("completion_tokens")
    return tokens if isinstance(tokens, int) else None


def drafts_in(counts: Mapping[str, Any], draft_tokens: str, accepted_tokens: str) -> RequestDrafts | None:
    """What was drafted, from a part of a message; None where one of the two names is not there."""
    drafted, accepted = counts.get(draft_tokens), counts.get(accepted_tokens)
    if not isinstance(drafted, int) or not isinstance(accepted, int):
        return None
    return RequestDrafts(draft_tokens=drafted, accepted_tokens=accepted)


def argument_name(argument: str) -> str:
    """`--flag` of `--flag=value`."""
    return argument.partition("=")[0]


def unusable(extra_arguments: Iterable[str], reasons: Mapping[str, str]) -> tuple[str, ...]:
    """One sentence for each extra argument that has a reason against it."""
    names = map(argument_name, extra_arguments)
    return tuple(f"spec.engine.extraArgs: {name} {reasons[name]}" for name in names if name in reasons)
