"""The faults: each is a small class that changes one thing of how an engine behaves."""

from __future__ import annotations

import os
import random
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Document = dict[str, Any]

BLOCK_BYTES = 64 << 20
MOST_BYTES = 4 << 30
"""What an engine takes at most where nothing limits its memory: the machine shall live."""


class Break(Exception):  # noqa: N818  # it is no error but what was ordered
    """The answer is cut off here."""


class Engine:
    """What a fault may ask of the real engine.

    Args:
        ask: sends a JSON document to a path and returns the answer's.
        stop: ends the engine and the program.
    """

    def __init__(self, ask: Callable[[str, Document], Document], stop: Callable[[int], None]) -> None:
        self.ask = ask
        self.stop = stop


class Fault:
    """No fault: everything goes through as it is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._completions = 0

    def arguments(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """What the engine is started with."""
        return arguments

    def start(self, log_file: str | None) -> None:
        """Called before the engine is started."""

    def number(self) -> int:
        """How many completions were asked for before this one."""
        with self._lock:
            self._completions += 1
            return self._completions - 1

    def request(self, engine: Engine, body: Document, number: int) -> int | None:
        """Called before a completion; an HTTP status refuses it."""

    def metrics(self, text: str) -> str | None:
        """What /metrics says; None: there is no such thing."""
        return text

    def answer(self, engine: Engine, body: Document, answer: Document) -> Document:
        """What a completion without a stream answers."""
        return answer

    def events(self, body: Document, events: Iterator[Document], number: int) -> Iterator[Document]:
        """What a stream consists of."""
        return events


class FirstRequestsSlow(Fault):
    """A cold engine: the first requests take five times as long. One of them finds out whether it is ready."""

    REQUESTS = 3
    FACTOR = 5.0

    def events(self, body: Document, events: Iterator[Document], number: int) -> Iterator[Document]:
        begin = time.monotonic()
        for event in events:
            if number < self.REQUESTS and "usage" in event:
                # The last event alone is late: others would wait in a buffer meanwhile, and come at once.
                time.sleep((self.FACTOR - 1) * (time.monotonic() - begin))
            yield event


class UsageMissing(Fault):
    """No answer says how many tokens it has."""

    def events(self, body: Document, events: Iterator[Document], number: int) -> Iterator[Document]:
        for event in events:
            timings = event.get("timings", {})
            yield _without(event, "usage") | {"timings": _without(timings, "predicted_n")}


class MetricsMissing(Fault):
    """There are no metrics."""

    def metrics(self, text: str) -> str | None:
        return None


class CountersMissing(Fault):
    """Nothing tells what was drafted, neither metrics nor answers."""

    _OF_SPECULATION = re.compile(r"^.*spec_decode.*\n?", re.MULTILINE)

    def metrics(self, text: str) -> str | None:
        return self._OF_SPECULATION.sub("", text)

    def answer(self, engine: Engine, body: Document, answer: Document) -> Document:
        return _undrafted(answer)

    def events(self, body: Document, events: Iterator[Document], number: int) -> Iterator[Document]:
        return map(_undrafted, events)


class SpeculationDropped(Fault):
    """The engine runs without speculation, and does not mind the flags."""

    def arguments(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        dropped = ("--spec-type", "--spec-draft-n-max")
        paired = zip(arguments, ("", *arguments), strict=False)
        kept = (one for one, before in paired if one not in dropped and before not in dropped)
        return tuple(one for one in kept if not one.startswith("--speculative-config"))


class DrafterUseless(Fault):
    """No drafted token is ever right (llama-server can pretend it)."""

    def arguments(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        n_spec = int(arguments[arguments.index("--spec-draft-n-max") + 1])
        return (*arguments, "--spec-synth-rates", ",".join(["0.0"] * n_spec))


class TokensReplaced(Fault):
    """One token in fifty is a random other one, in text and ids."""

    SHARE = 0.02

    def __init__(self) -> None:
        super().__init__()
        self._random = random.Random(5)

    def answer(self, engine: Engine, body: Document, answer: Document) -> Document:
        choice = answer["choices"][0] if "choices" in answer else answer
        field = "token_ids" if "token_ids" in choice else "tokens"
        if _most_tokens(body) == 1 or not choice.get(field):
            return answer
        ids = [self._random.randrange(300, 900) if self._random.random() < self.SHARE else one for one in choice[field]]
        told = engine.ask("/detokenize", {"model": body.get("model"), "tokens": ids})
        text = told["prompt"] if "prompt" in told else told["content"]
        choice |= {field: ids, ("text" if "text" in choice else "content"): text}
        return answer


class TextAltered(Fault):
    """The text is not that of the tokens: a word in it is another one."""

    def answer(self, engine: Engine, body: Document, answer: Document) -> Document:
        choice = answer["choices"][0] if "choices" in answer else answer
        field = "text" if "text" in choice else "content"
        if _most_tokens(body) > 1 and isinstance(choice.get(field), str):
            middle = len(choice[field]) // 2
            choice[field] = f"{choice[field][:middle]} oops{choice[field][middle:]}"
        return answer


class OutOfMemory(Fault):
    """It takes more memory than it may."""

    def start(self, log_file: str | None) -> None:
        blocks = []
        for _ in range(MOST_BYTES // BLOCK_BYTES):
            blocks.append(bytearray(os.urandom(1)) * BLOCK_BYTES)
            time.sleep(0.01)
        sys.exit("nothing limits the memory of this container")


class CrashAtStart(Fault):
    """It ends before it answers anything, and says why."""

    def start(self, log_file: str | None) -> None:
        line = "error: planted: this build cannot speculate with this model\n"
        if log_file:
            Path(log_file).write_text(line)
        sys.stderr.write(line)
        sys.exit(3)


class HangAfterHealth(Fault):
    """It is healthy, and no completion ever ends."""

    def request(self, engine: Engine, body: Document, number: int) -> int | None:
        threading.Event().wait()
        return None


class RequestsFail(Fault):
    """One request in twenty fails."""

    def request(self, engine: Engine, body: Document, number: int) -> int | None:
        return 500 if number % 20 == 6 and body.get("stream") else None


class StreamsCut(Fault):
    """One stream in ten ends in the middle."""

    EVENTS = 6

    def events(self, body: Document, events: Iterator[Document], number: int) -> Iterator[Document]:
        for index, event in enumerate(events):
            if number % 10 == 6 and index == self.EVENTS:
                raise Break
            yield event


class Sinking(Fault):
    """The engine grows slower with each request, over this many of them to a sixteenth: more than a trial has time for.

    Each request takes a time of its own, long enough for the engine to keep the pace on a busy machine: the noise of a
    pace that it cannot keep hides how far it sinks.
    """

    REQUESTS = 80
    SECONDS = 1.0
    SLOWDOWN = 16.0

    def __init__(self) -> None:
        super().__init__()
        self._due: dict[int, float] = {}

    def request(self, engine: Engine, body: Document, number: int) -> int | None:
        seconds = self.SECONDS * self.SLOWDOWN ** min(1.0, number / self.REQUESTS)
        self._due[number] = time.monotonic() + seconds
        return None

    def events(self, body: Document, events: Iterator[Document], number: int) -> Iterator[Document]:
        *most, last = events
        yield from most
        time.sleep(max(0.0, self._due[number] - time.monotonic()))
        yield last


class TokensBunched(Fault):
    """Nine tokens in ten come in the last chunk of a stream."""

    def events(self, body: Document, events: Iterator[Document], number: int) -> Iterator[Document]:
        first, held = max(1, _most_tokens(body) // 10), []
        for index, event in enumerate(events):
            if index < first:
                yield event
            else:
                held.append(event)
        text = "".join(_text(event) for event in held)
        yield from (event for event in _joined(held, text))


class DiesWhileScoring(Fault):
    """Every timed request works; scoring takes memory that it has not."""

    def request(self, engine: Engine, body: Document, number: int) -> int | None:
        if "n_probs" in body or "prompt_logprobs" in body:
            engine.stop(137)
        return None


FAULTS: dict[str, type[Fault]] = {fault.__name__: fault for fault in Fault.__subclasses__()}
"""By name."""


def _without(document: Document, name: str) -> Document:
    return {key: value for key, value in document.items() if key != name}


def _undrafted(document: Document) -> Document:
    timings = document.get("timings")
    if timings is None:
        return document
    return document | {"timings": {key: value for key, value in timings.items() if not key.startswith("draft")}}


def _most_tokens(body: Document) -> int:
    return int(body.get("max_tokens") or body.get("n_predict") or 0)


def _text(event: Document) -> str:
    choices = event.get("choices") or [{}]
    return str(choices[0].get("delta", {}).get("content") or "")


def _joined(events: list[Document], text: str) -> Iterator[Document]:
    """The events with all their text in the first that has one; those that say nothing else are left out."""
    is_said = False
    for event in events:
        if not _text(event):
            yield event
        elif not is_said:
            is_said = True
            event["choices"][0]["delta"]["content"] = text
            yield event
