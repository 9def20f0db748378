"""What an engine is, to those who start one, talk to one and judge one."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from mtp_operator.api.engines import FLAGS, VARIABLES
from mtp_operator.api.settings import EngineSettings
from mtp_operator.api.spec import FLOORS, EngineType, SpeculationMethod

from .token_scores import Continuation, Messages, Post, TokenScore

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


EVERY_ADDRESS: Final = "::"
"""For a pod that has IPv6: most engines then listen at its addresses of IPv4 as well."""


@dataclass(frozen=True)
class Place:
    """Where an engine runs, as far as it has to be told. The defaults are those of a pod."""

    # kubelet and Services reach the pod by its address, never by loopback.
    host: str = "0.0.0.0"  # noqa: S104
    port: int | None = None
    """None: the engine's own."""
    configuration_folder: str = CONFIGURATION_FOLDER
    """Where the engine finds the files of `Engine.configuration_files`."""

    @property
    def loopback(self) -> str:
        """The host of a URL at which what runs in the same pod reaches the engine.

        Some engines that listen at `::` take IPv4 as well, and some do not.
        """
        return "[::1]" if self.host == EVERY_ADDRESS else "127.0.0.1"


POD: Final = Place()

BESIDE_THE_BENCH: Final = Place(host="127.0.0.1")
"""A pod in which nobody but the bench asks the engine: load from elsewhere would be measured."""


@dataclass(frozen=True)
class EngineMetrics:
    """Names of the engine's Prometheus counters, as they stand in the samples."""

    generated_tokens: str
    """Output tokens of all requests."""
    drafts: str
    """Drafting steps: one for each request and step of the target model."""
    draft_tokens: str | None = None
    accepted_tokens: str | None = None
    """None: what is generated beside one token for each request and each draft; `requests` is then needed."""
    accepted_per_position: str | None = None
    position_label: str = ""
    """Label of `accepted_per_position` that holds the position, counted from 0."""
    requests: str | None = None
    """Requests that were answered."""
    cached_tokens: str | None = None
    """Tokens of prompts that were found in a cache."""
    absence_is_zero: bool = False
    """Whether an engine that shows `generated_tokens` and no `drafts` does not speculate, for all versions that are
    supported."""

    @property
    def counters(self) -> frozenset[str]:
        """All names."""
        return frozenset(value for value in vars(self).values() if isinstance(value, str)) - {self.position_label}


@dataclass(frozen=True)
class RequestDrafts:
    """What an engine says of the speculation of one request, in its answer."""

    draft_tokens: int
    accepted_tokens: int


class Engine(ABC):
    """One inference engine. Another one is one more subclass and its line in `engines.engine_for`."""

    type: ClassVar[EngineType]
    command: ClassVar[tuple[str, ...]]
    """Its program, and what comes before the arguments."""
    is_entry_point: ClassVar[bool] = True
    """Whether the engine's images start the command by themselves."""
    port: int
    health_path: ClassVar[str] = "/health"
    """Answers 200 while the server is up, which is not yet ready."""
    metrics_path: ClassVar[str] = "/metrics"
    metrics: ClassVar[EngineMetrics]
    lost_while_speculating: ClassVar[tuple[str, ...]] = ()
    """What the server's API refuses to do while n > 0, as a client would name it."""

    methods: ClassVar[Mapping[str, str]]
    """Method of spec.speculation -> what the engine calls it."""

    load_metrics: ClassVar[tuple[str, ...]]
    """Names of the Prometheus gauges that together count the requests which are not finished."""

    def __init__(self, log_path: str = LOG_FILE, place: Place = POD) -> None:
        self.log_path = log_path
        """The file that the engine logs to, beside its standard output."""
        self.host = place.host
        self.port = place.port or self.port
        self.configuration_folder = place.configuration_folder

    @property
    def container_command(self) -> tuple[str, ...]:
        """What a container of the engine runs in place of its image's entry point; empty: that."""
        return () if self.is_entry_point else self.command

    @abstractmethod
    def arguments(
        self, settings: EngineSettings, n_spec: int, served_name: str, model_path: str, drafter_path: str | None
    ) -> tuple[str, ...]:
        """The arguments after the image's entry point; no shell ever sees them.

        Args:
            settings: of the run.
            n_spec: draft tokens per step; at 0 no speculation flag is set.
            served_name: what clients put into `model` of a request.
            model_path: the target model as the container sees it.
            drafter_path: the drafter likewise, where the method has one.
        """

    @abstractmethod
    def environment(self) -> Mapping[str, str]:
        """Environment variables of the engine's container."""

    def cache_environment(self, folder: str) -> Mapping[str, str]:
        """Environment variables that make the engine keep what it compiles; none where it compiles nothing.

        Args:
            folder: of this image on this GPU, writable, and kept from boot to boot.
        """
        del folder
        return {}

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
    def neutral_sampling_fields(self) -> Mapping[str, float]:
        """Fields of a request that turn off whatever a server samples with by default, but for the temperature."""

    def completion_tokens(self, message: Mapping[str, Any]) -> int | None:
        """Output tokens of a completion as the engine counted them; None where a message of it does not say."""
        return tokens_in_usage(message)

    def drafts_every_step(self, settings: EngineSettings) -> bool | None:
        """Whether every step drafts; else what is drafted says how often something was found to draft.

        None where that depends on the model.
        """
        return settings.speculation.method not in (SpeculationMethod.N_GRAM, SpeculationMethod.SUFFIX)

    @abstractmethod
    def request_drafts(self, message: Mapping[str, Any]) -> RequestDrafts | None:
        """What was drafted for a completion; None where a message of it does not say."""

    def cached_tokens(self, message: Mapping[str, Any]) -> int | None:
        """Tokens of the prompt that were not computed for this completion; None where a message does not say."""
        return cached_in_usage(message)

    properties_path: ClassVar[str | None] = None
    """Where the server says what model it has loaded."""
    positions_scored: ClassVar[int | None] = None
    """Most positions that are scored in one boot, chosen at random; None: all, where many cost no more than one."""

    def is_quantized(self, told: Mapping[str, Any] | None, model_configuration: Mapping[str, Any] | None) -> bool:
        """Whether the weights have fewer than 16 bits; where nobody says so, they have not.

        Args:
            told: what the server answers at `properties_path`, if it does.
            model_configuration: the `config.json` of the model's folder, if it has one.
        """
        del told
        return is_quantized_by_configuration(model_configuration)

    def decoded_together(self, told: Mapping[str, Any] | None) -> int | None:
        """Most requests that the server decodes together; None where it does not say.

        Args:
            told: what the server answers at `properties_path`, if it does.
        """
        del told
        return None

    @abstractmethod
    async def chat_token_ids(self, post: Post, served_name: str, messages: Messages) -> tuple[int, ...]:
        """The tokens that the model gets to see of a conversation."""

    @abstractmethod
    async def continuation(
        self, post: Post, served_name: str, prompt: Sequence[int], max_tokens: int, salt: str
    ) -> Continuation:
        """What the engine, speculation included, writes greedily after a prompt that it has not seen before.

        Args:
            post: to the engine.
            served_name: the model.
            prompt: its tokens.
            max_tokens: of the answer; the model may end it earlier.
            salt: distinct for each request.
        """

    @abstractmethod
    async def text(self, post: Post, served_name: str, token_ids: Sequence[int]) -> str:
        """What tokens are in writing, special ones included."""

    @abstractmethod
    async def scores(
        self, post: Post, served_name: str, prompt: Sequence[int], output: Sequence[int], positions: Sequence[int]
    ) -> tuple[TokenScore, ...]:
        """What the target model alone, with nothing drafted, thinks of the output after the prompt.

        Args:
            post: to the engine.
            served_name: the model.
            prompt: its tokens.
            output: the tokens that the engine wrote after it.
            positions: those to score, ascending.

        Raises:
            ValueError: the answer does not say it, or not for the target alone.
        """

    def refusals(self, settings: EngineSettings) -> tuple[str, ...]:
        """Why these settings cannot work or cannot be measured: one sentence each, none if they can.

        The API server says the same of flags and variables, but an object may be older than its rules.
        """
        engine = settings.engine
        variables = {variable.name: variable.value for variable in engine.env}
        return (
            *_too_old(settings),
            *_without_image(settings),
            *self._unknown(settings),
            *FLAGS.complaints(engine.extra_args),
            *VARIABLES.complaints(variables),
        )

    def _unknown(self, settings: EngineSettings) -> Iterator[str]:
        if settings.speculation.method not in self.methods:
            yield f"spec.speculation.method: must be one of {', '.join(self.methods)} where engine.type is {self.type}"


def _without_image(settings: EngineSettings) -> Iterator[str]:
    if not settings.engine.image:
        yield "spec.engine.image: must be set: the operator has no default image of this engine"


def _too_old(settings: EngineSettings) -> Iterator[str]:
    """Why the image cannot be used, if it is known to be too old: the default one has not been at the API server."""
    floor = FLOORS[settings.engine.type]
    image = settings.engine.image or ""
    if re.search(floor.older, image):
        yield f"spec.engine.image: {image} {floor.message}"


_QUANTIZATION: Final = ("quantization_config", "compression_config", "hf_quant_config")
"""In a model's configuration; the last is a file of its own beside it."""


def is_quantized_by_configuration(model_configuration: Mapping[str, Any] | None) -> bool:
    """Whether the `config.json` of a model names a quantization, under any name that engines read."""
    configuration = model_configuration or {}
    text = configuration.get("text_config") or {}
    return any(name in part for part in (configuration, text) for name in _QUANTIZATION)


def tokens_in_usage(message: Mapping[str, Any]) -> int | None:
    """`usage.completion_tokens` of an OpenAI-style answer."""
    tokens = (message.get("usage") or {}).get("completion_tokens")
    return tokens if isinstance(tokens, int) else None


def prompt_tokens_in_usage(message: Mapping[str, Any]) -> int | None:
    """`usage.prompt_tokens` of an OpenAI-style answer."""
    tokens = (message.get("usage") or {}).get("prompt_tokens")
    return tokens if isinstance(tokens, int) else None


def cached_in_usage(message: Mapping[str, Any]) -> int | None:
    """`usage.prompt_tokens_details.cached_tokens` of an OpenAI-style answer."""
    tokens = ((message.get("usage") or {}).get("prompt_tokens_details") or {}).get("cached_tokens")
    return tokens if isinstance(tokens, int) else None


def drafts_in(counts: Mapping[str, Any], draft_tokens: str, accepted_tokens: str) -> RequestDrafts | None:
    """What was drafted, from a part of a message; None where one of the two names is not there."""
    drafted, accepted = counts.get(draft_tokens), counts.get(accepted_tokens)
    if not isinstance(drafted, int) or not isinstance(accepted, int):
        return None
    return RequestDrafts(draft_tokens=drafted, accepted_tokens=accepted)
