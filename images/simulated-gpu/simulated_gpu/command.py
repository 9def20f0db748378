"""What the arguments of `vllm serve` and the environment say."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .faults import Faults, read_faults

PREFIX = "SIMULATED_GPU_"
"""Of the environment variables: a pod that is rendered for vLLM can be given those, and nothing else is different."""


@dataclass(frozen=True)
class Command:
    """How a boot is to be.

    What vLLM knows nothing of (from `curves` on) is a flag, such as `--boot-noise=0.01`, or an environment variable,
    such as `SIMULATED_GPU_BOOT_NOISE`; the flag wins.
    """

    model: str
    served_names: tuple[str, ...]
    host: str
    port: int
    max_model_len: int
    max_num_seqs: int
    n_spec: int
    curves: Path
    """A CSV file, or a folder of them."""
    curve: str | None
    """Its name; None: the first."""
    speed: float
    """Times as fast as the curve."""
    start_seconds: float
    """From the start until the server answers."""
    boot_noise: float
    """Standard deviation of the speed between boots, as a share of it."""
    seed: str
    """Of the noise. Boots of one n with one seed are equally fast: unless it is given, each boot has its own."""
    faults: Faults

    @property
    def speed_factor(self) -> float:
        """What the curve's speed is multiplied by in this boot: the time-lapse, and noise between boots."""
        noise = random.Random(f"{self.seed} {self.n_spec}").gauss(0, self.boot_noise)
        return self.speed * (1 + noise)


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Command:
    """Read the arguments; flags that are not known, and there are hundreds, are vLLM's and change nothing here.

    Raises:
        ValueError: something cannot be used; the message says what.
    """
    arguments = list(arguments[1:] if arguments and arguments[0] == "serve" else arguments)
    flags = _flags(arguments)

    def option(name: str, default: str) -> str:
        return flags.get(f"--{name.replace('_', '-')}", environment.get(f"{PREFIX}{name.upper()}", default))

    leading = arguments[0] if arguments and not arguments[0].startswith("-") else ""
    model = flags.get("--model", leading)
    n_spec = _n_spec(flags.get("--speculative-config"))
    curves = option("curves", "")
    if not model or not curves:
        raise ValueError(f"a model is needed, and recorded curves: --curves=FILE or {PREFIX}CURVES")
    return Command(
        model=model,
        served_names=tuple(flags.get("--served-model-name", model).split()),
        host=flags.get("--host", "0.0.0.0"),  # noqa: S104  # as vLLM does
        port=int(flags.get("--port", "8000")),
        max_model_len=int(flags.get("--max-model-len", "8192")),
        max_num_seqs=int(flags.get("--max-num-seqs", "256")),
        n_spec=n_spec,
        curves=Path(curves),
        curve=option("curve", "") or None,
        speed=float(option("speed", "1")),
        start_seconds=float(option("start_seconds", "0")),
        boot_noise=float(option("boot_noise", "0.005")),
        seed=option("seed", f"{socket.gethostname()} {time.time_ns()}"),
        faults=read_faults(option("faults", "{}")).at(n_spec),
    )


def _flags(arguments: Sequence[str]) -> dict[str, str]:
    """`--flag=value` and `--flag value`; a name may have underscores."""
    flags = {}
    for argument, following in zip(arguments, [*arguments[1:], "--"], strict=False):
        name, equals, value = argument.partition("=")
        if name.startswith("--"):
            flags[name.replace("_", "-")] = value if equals or following.startswith("--") else following
    return flags


def _n_spec(configuration: str | None) -> int:
    """Draft tokens per step, as vLLM reads its JSON."""
    if configuration is None:
        return 0
    stated = json.loads(configuration)
    n_spec = stated.get("num_speculative_tokens") if isinstance(stated, dict) else None
    if not isinstance(n_spec, int) or n_spec < 1:
        raise ValueError(f"--speculative-config: num_speculative_tokens must be positive, in {configuration}")
    return n_spec
