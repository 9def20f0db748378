"""The engine's own count of what it did, from its Prometheus metrics."""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from mtp_operator.engines import EngineMetrics

SIMULATED_METRIC: Final = "simulated_gpu_info"
"""What images/simulated-gpu shows beside the metrics of the engine that it stands for."""


@dataclass(frozen=True)
class DraftCounters:
    """What an engine has counted of its speculation."""

    drafts: int
    draft_tokens: int | None
    """None where the engine does not count them."""
    accepted_tokens: int
    accepted_per_position: tuple[int, ...]
    """The first position first; empty where the engine does not count them."""

    @property
    def tokens_per_step(self) -> float:
        """Output tokens of a request that a drafting step gave; 1 where none did."""
        return 1 + self.accepted_tokens / self.drafts if self.drafts else 1.0

    @property
    def first_position_share(self) -> float:
        """P_1: drafts whose first token was accepted; where positions are not counted, the most that it can be."""
        accepted = self.accepted_per_position or (self.accepted_tokens,)
        return accepted[0] / self.drafts if self.drafts else 0.0

    def since(self, earlier: "DraftCounters | None") -> "DraftCounters":
        """What was counted since an earlier moment of the same boot; None: nothing had been drafted by then."""
        if earlier is None:
            return self
        before = earlier.accepted_per_position
        padded = before + (0,) * (len(self.accepted_per_position) - len(before))
        return DraftCounters(
            drafts=self.drafts - earlier.drafts,
            draft_tokens=_added(self.draft_tokens, earlier.draft_tokens),
            # Where it is worked out, a request that ended without a token takes one away.
            accepted_tokens=max(0, self.accepted_tokens - earlier.accepted_tokens),
            accepted_per_position=tuple(
                now - then for now, then in zip(self.accepted_per_position, padded, strict=False)
            ),
        )


@dataclass(frozen=True)
class Counters:
    """What an engine has counted since it started, or between two moments."""

    generated_tokens: int | None = None
    drafting: DraftCounters | None = None
    """None where it shows none, which says that it does not speculate only where its `EngineMetrics` say so."""
    simulated_curve: str | None = None
    """Where the engine says that it is none but a simulation: the recorded curve that its figures come from."""
    cached_tokens: int | None = None
    """Tokens of prompts that it found in a cache."""

    def since(self, earlier: "Counters") -> "Counters":
        """What was counted since an earlier moment of the same boot.

        Raises:
            ValueError: a counter went backwards: it was not the same boot.
        """
        difference = Counters(
            generated_tokens=_added(self.generated_tokens, earlier.generated_tokens),
            drafting=self.drafting and self.drafting.since(earlier.drafting),
            simulated_curve=self.simulated_curve,
            cached_tokens=_added(self.cached_tokens, earlier.cached_tokens),
        )
        if (difference.generated_tokens or 0) < 0 or (difference.drafting and difference.drafting.drafts < 0):
            raise ValueError(
                f"the engine's counters went backwards ({_told(earlier)}, then {_told(self)}): it was restarted, or a "
                "load balancer spreads requests over several servers"
            )
        return difference


def read_counters(exposition: str, names: EngineMetrics) -> Counters:
    """The counters in a scrape, summed over the engine's processes.

    Args:
        exposition: text of the Prometheus exposition format.
        names: of the engine's counters.

    Raises:
        ValueError: the text is not an exposition, or one of the counters is not as expected.
    """
    totals: dict[str | None, float] = defaultdict(float)
    positions: dict[int, float] = defaultdict(float)
    simulated_curve = None
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.name in names.counters and not math.isfinite(sample.value):
                raise ValueError(f"{sample.name} is {sample.value}")
            if sample.name == names.accepted_per_position:
                positions[_position(sample.labels, names)] += sample.value
            elif sample.name == SIMULATED_METRIC:
                simulated_curve = sample.labels.get("curve", "")
            else:
                totals[sample.name] += sample.value
    generated = int(totals[names.generated_tokens]) if names.generated_tokens in totals else None
    cached = int(totals[names.cached_tokens]) if names.cached_tokens in totals else None
    drafting = None
    if names.drafts in totals or (names.absence_is_zero and generated is not None):
        drafting = DraftCounters(
            drafts=int(totals[names.drafts]),
            draft_tokens=int(totals[names.draft_tokens]) if names.draft_tokens else None,
            accepted_tokens=_accepted(totals, names),
            accepted_per_position=tuple(int(positions[index]) for index in range(max(positions, default=-1) + 1)),
        )
    return Counters(
        generated_tokens=generated, drafting=drafting, cached_tokens=cached, simulated_curve=simulated_curve
    )


_POSITION_DIGITS: Final = 3


def _added(now: int | None, before: int | None) -> int | None:
    return None if now is None else now - (before or 0)


def _accepted(totals: Mapping[str | None, float], names: EngineMetrics) -> int:
    """As counted; else what was generated beside one token for each request and each draft."""
    if names.accepted_tokens is not None:
        return int(totals[names.accepted_tokens])
    if not totals[names.drafts]:
        return 0
    return max(0, int(totals[names.generated_tokens] - totals[names.requests] - totals[names.drafts]))


def _position(labels: Mapping[str, str], names: EngineMetrics) -> int:
    position = labels.get(names.position_label, "")
    if not position.isdecimal():
        raise ValueError(
            f"{names.accepted_per_position} has no position in its label {names.position_label}, but the labels "
            f"{dict(labels)}"
        )
    if len(position) > _POSITION_DIGITS:
        raise ValueError(f"{names.accepted_per_position} counts position {position[:9]}…, which is beyond any draft")
    return int(position)


def _told(counters: Counters) -> str:
    generated, drafts = counters.generated_tokens, counters.drafting and counters.drafting.drafts
    return f"{generated} tokens and {drafts} drafts"


def read_load(exposition: str, names: tuple[str, ...]) -> int | None:
    """The requests in a scrape that are not finished; None where it does not show them.

    Args:
        exposition: text of the Prometheus exposition format.
        names: of the gauges that count them.
    """
    try:
        samples = [sample for family in text_string_to_metric_families(exposition) for sample in family.samples]
    except ValueError:
        return None
    found = [sample.value for sample in samples if sample.name in names]
    return int(sum(found)) if found else None
