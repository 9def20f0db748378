"""What the engine's arguments say, and what the engine itself is told."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass

FLAG = "--plant"


@dataclass(frozen=True)
class Command:
    """An engine's command line.

    Attributes:
        arguments: without the fault.
        port: that clients ask.
        n_spec: draft tokens per step.
        fault: the name of the fault to plant in this boot, if any.
        log_file: the file that the engine logs to, if it has one.
    """

    arguments: tuple[str, ...]
    port: int
    n_spec: int
    fault: str | None
    log_file: str | None

    def on_port(self, port: int) -> tuple[str, ...]:
        """The arguments with another port, on loopback."""
        changed = {"--port": str(port), "--host": "127.0.0.1"}
        answer: list[str] = []
        for argument, before in zip(self.arguments, ("", *self.arguments), strict=False):
            name, equals, _ = argument.partition("=")
            if before in changed:
                answer.append(changed[before])
            elif equals and name in changed:
                answer.append(f"{name}={changed[name]}")
            else:
                answer.append(argument)
        return tuple(answer)


def parse(arguments: list[str]) -> Command:
    """Read an engine's arguments, `--flag value` and `--flag=value` alike; there may be a fault for each N.

    Raises:
        ValueError: there is no port, or a fault is not NAME:N.
    """
    parts = [part for argument in arguments for part in argument.split("=", 1)]
    pairs = list(itertools.pairwise(parts))
    values = dict(pairs)
    if "--port" not in values:
        raise ValueError("--port is missing")
    n_spec = int(values.get("--spec-draft-n-max", 0))
    if "--speculative-config" in values:
        n_spec = json.loads(values["--speculative-config"])["num_speculative_tokens"]
    faults = dict(_planted(value) for flag, value in pairs if flag == FLAG)
    return Command(
        arguments=tuple(_without_fault(arguments)),
        port=int(values["--port"]),
        n_spec=n_spec,
        fault=faults.get(n_spec),
        log_file=values.get("--log-file"),
    )


def _planted(fault: str) -> tuple[int, str]:
    name, _, at = fault.partition(":")
    if not (name and at.isdigit()):
        raise ValueError(f"{FLAG} is {fault!r}; it must be NAME:N, N being the draft tokens per step")
    return int(at), name


def _without_fault(arguments: list[str]) -> list[str]:
    kept = []
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument == FLAG:
            skip = True
        elif not argument.startswith(f"{FLAG}="):
            kept.append(argument)
    return kept
