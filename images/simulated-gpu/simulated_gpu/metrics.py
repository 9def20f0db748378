"""What vLLM's /metrics says, as far as anybody looks at it here, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from .gpu import Gpu

SIMULATED = "simulated_gpu_info"
"""Always 1: whoever reads the metrics can tell that no GPU was measured, and which curve it was."""

FINISH_REASONS = ("stop", "length", "abort", "error", "repetition")


def exposition(gpu: Gpu, served_name: str, curve: str) -> str:
    """The answer to a scrape."""
    labels = {"engine": "0", "model_name": served_name}

    def lines() -> Iterator[str]:
        yield from _metric(SIMULATED, "gauge", [({"curve": curve}, 1)])
        for name, value in _gauges(gpu).items():
            yield from _metric(name, "gauge", [(labels, value)])
        for name, value in _counters(gpu).items():
            yield from _metric(name, "counter", [(labels, value)])
        yield from _metric(
            "vllm:request_success",
            "counter",
            [({**labels, "finished_reason": reason}, gpu.finished[reason]) for reason in FINISH_REASONS],
        )
        if gpu.n_spec:
            positions = enumerate(gpu.accepted_per_position)
            yield from _metric(
                "vllm:spec_decode_num_accepted_tokens_per_pos",
                "counter",
                [({**labels, "position": str(position)}, accepted) for position, accepted in positions],
            )

    return "".join(f"{line}\n" for line in lines())


def _gauges(gpu: Gpu) -> Mapping[str, float]:
    return {
        "vllm:num_requests_running": gpu.running,
        "vllm:num_requests_waiting": gpu.waiting,
        "vllm:kv_cache_usage_perc": 0,
    }


def _counters(gpu: Gpu) -> Mapping[str, float]:
    """Those of speculation are not there without it, as in vLLM."""
    counters = {
        "vllm:prompt_tokens": gpu.prompt_tokens,
        "vllm:generation_tokens": gpu.generated_tokens,
        "vllm:num_preemptions": 0,
        "vllm:prefix_cache_queries": 0,
        "vllm:prefix_cache_hits": 0,
    }
    if gpu.n_spec:
        counters |= {
            "vllm:spec_decode_num_drafts": gpu.drafts,
            "vllm:spec_decode_num_draft_tokens": gpu.drafts * gpu.n_spec,
            "vllm:spec_decode_num_accepted_tokens": sum(gpu.accepted_per_position),
        }
    return counters


def _metric(name: str, kind: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> Iterator[str]:
    suffix = "_total" if kind == "counter" else ""
    yield f"# HELP {name}{suffix} Simulated."
    yield f"# TYPE {name}{suffix} {kind}"
    for labels, value in samples:
        told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{suffix}{{{told}}} {float(value)}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
