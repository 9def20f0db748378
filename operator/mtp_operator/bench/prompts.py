"""What a trial asks: the built-in prompts or the user's own, in the same order in every trial."""

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from mtp_operator.api.base import MAX_CATEGORIES, MAX_LEVELS
from mtp_operator.api.spec import PromptCategory
from mtp_operator.api.trial_documents import Category, PlannedPrompts

from .built_in import BUILT_IN

SHORTEST_PASS: Final = 2
"""Requests of a pass at least."""

SEEDS_OF_A_LEVEL: Final = 1_000_000
"""No level has so many requests, and a level's last seed still fits into 31 bits."""

OWN: Final = "Own"
"""Category of the user's own prompts that name none."""

LARGEST_FILE_BYTES: Final = 16 << 20
"""Read of the user's own prompts: they stay in memory while speed is measured."""

Messages = tuple[Mapping[str, str], ...]
"""A conversation as an OpenAI-style chat completion takes it; its last message is the user's."""


class PromptsUnusableError(Exception):
    """The user's own prompts cannot be used; the message names the field, the line and what is wrong there."""


@dataclass(frozen=True)
class Prompt:
    """What one request asks."""

    category: str
    messages: Messages
    seed: int
    """Of the request's sampling: distinct for each request of a boot, the same in every trial."""


@dataclass(frozen=True)
class PromptMix:
    """The prompts of a workload.

    Categories take turns, so that a pass, whose length is a multiple of their number, holds each in equal parts.
    """

    conversations: Mapping[str, Sequence[Messages]]
    """Category -> its conversations. Where these are fewer than a level asks for, they come again."""
    longest: Messages
    seed: int = 0
    sha256: str | None = None
    """Of the file they come from; None for built-in ones, which belong to the bench image."""

    @property
    def probe(self) -> Prompt:
        """The longest prompt: an engine that answers it can answer all of them."""
        return Prompt("", self.longest, self.seed + MAX_LEVELS * SEEDS_OF_A_LEVEL)

    def pass_length(self, concurrency: int) -> int:
        """Requests of a pass: each category in equal parts, and each request in flight equally often.

        A pass that ended between the answers of requests that run abreast would be too short or too long by their time.
        """
        return max(math.lcm(concurrency, len(self.conversations)), SHORTEST_PASS)

    def level(self, index: int) -> Iterator[Prompt]:
        """The endless sequence of prompts of the workload's index-th level.

        It depends on nothing that is measured: the k-th pass of a level asks the same in every trial. Each level
        has its own part of the prompts.
        """
        parts = [_from_part(category, index) for category in self.conversations.items()]
        for number, (category, messages) in enumerate(itertools.chain.from_iterable(zip(*parts, strict=True))):
            yield Prompt(category, messages, self.seed + index * SEEDS_OF_A_LEVEL + number)


def _from_part(category: tuple[str, Sequence[Messages]], level: int) -> Iterator[tuple[str, Messages]]:
    name, conversations = category
    for number in itertools.count(level * len(conversations) // MAX_LEVELS):
        yield name, conversations[number % len(conversations)]


def planned_mix(planned: PlannedPrompts, seed: int) -> PromptMix:
    """The prompts that a plan names.

    Raises:
        PromptsUnusableError: the user's own cannot be used.
    """
    if planned.file is None:
        return built_in_mix(planned.built_in, seed)
    return read_mix(Path(planned.file), planned.field or planned.file, seed)


def built_in_mix(categories: Iterable[PromptCategory], seed: int = 0) -> PromptMix:
    """Built-in prompts of these categories."""
    chosen = {category.value: BUILT_IN[category] for category in categories}
    longest = max((prompts.longest for prompts in chosen.values()), key=len)
    return PromptMix({name: _Conversations(prompts) for name, prompts in chosen.items()}, _as_messages(longest), seed)


def read_mix(path: Path, field: str, seed: int = 0) -> PromptMix:
    """The user's own prompts, of a JSONL file.

    Args:
        path: of the file. Each line is an object with either `prompt`, or `messages` whose last is the user's, and
            optionally `category`; empty lines are skipped.
        field: what errors call the file: the field of the API, or the option, that names it.
        seed: of the first request.

    Raises:
        PromptsUnusableError: the file cannot be read, or a line is wrong.
    """
    content = _content(path, field)
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PromptsUnusableError(f"{field}: line {line}: is not UTF-8") from error
    by_category: dict[str, list[Messages]] = {}
    for number, text in enumerate(lines, start=1):
        if text.strip():
            category, messages = _read_line(text, f"{field}: line {number}")
            by_category.setdefault(category, []).append(messages)
    if not by_category:
        raise PromptsUnusableError(f"{field}: has no prompt: at least one line is needed")
    if len(by_category) > MAX_CATEGORIES:
        names = ", ".join(by_category)
        message = f"has {len(by_category)} categories ({names}); at most {MAX_CATEGORIES} are allowed"
        raise PromptsUnusableError(f"{field}: {message}")
    longest = max(itertools.chain.from_iterable(by_category.values()), key=_characters)
    return PromptMix(by_category, longest, seed, hashlib.sha256(content).hexdigest())


class _Conversations(Sequence[Messages]):
    """Single questions as conversations."""

    def __init__(self, prompts: Sequence[str]) -> None:
        self._prompts = prompts

    def __len__(self) -> int:
        return len(self._prompts)

    def __getitem__(self, index: int) -> Messages:  # type: ignore[override]  # no slices
        return _as_messages(self._prompts[index])


def _as_messages(prompt: str) -> Messages:
    return ({"role": "user", "content": prompt},)


def _characters(messages: Messages) -> int:
    return sum(len(message["content"]) for message in messages)


def _content(path: Path, field: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise PromptsUnusableError(f"{field}: {path} cannot be read: {error.strerror}") from error
    if len(content) > LARGEST_FILE_BYTES:
        raise PromptsUnusableError(f"{field}: has more than the {LARGEST_FILE_BYTES >> 20} MiB that are allowed")
    return content


# -- one line ----------------------------------------------------------------------------------------------------------


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


_Text = Annotated[str, Field(min_length=1), AfterValidator(_not_blank)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Message(_Part):
    role: Literal["system", "user", "assistant"]
    content: _Text


class _Line(_Part):
    prompt: _Text | None = None
    messages: Annotated[list[_Message], Field(min_length=1)] | None = None
    category: Category = OWN

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("must have either prompt or messages")
        if self.messages is not None and self.messages[-1].role != "user":
            raise ValueError("messages must end with one of role user")
        return self


def _read_line(text: str, place: str) -> tuple[str, Messages]:
    try:
        line = _Line.model_validate_json(text)
    except ValidationError as error:
        raise PromptsUnusableError(f"{place}: {_first_mistake(error)}") from error
    if line.prompt is not None:
        return line.category, _as_messages(line.prompt)
    return line.category, tuple(message.model_dump() for message in line.messages or ())


def _first_mistake(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    # The parser counts lines as well, and knows of one only.
    words = _WORDS.get(
        first["type"], first["msg"].removeprefix("Value error, ").replace("at line 1 column", "at column")
    )
    field = ".".join(map(str, first["loc"]))
    return f"{field}: {words}" if field else words


_WORDS: Final = {
    "extra_forbidden": "is not a field of a prompt; allowed are prompt, messages (of role and content) and category",
    "missing": "is missing",
    "model_type": "must be an object",
    "string_pattern_mismatch": "must be letters, digits, '-' and '_', starting with a letter",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}
"""pydantic's type of an error -> what to say instead of its message."""
