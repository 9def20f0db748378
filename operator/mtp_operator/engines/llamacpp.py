"""llama.cpp's llama-server."""

from collections.abc import Mapping
from itertools import chain
from typing import Any, Final

from mtp_operator.api.run import RunSettings
from mtp_operator.api.spec import EngineType, FlashAttention, LlamaCppSettings, SpeculationMethod

from .engine import HOME, Engine, EngineMetrics, RequestDrafts, argument_name, drafts_in, tokens_in_usage, unusable

_SPECULATION_TYPES: Final = {SpeculationMethod.MTP: "draft-mtp", SpeculationMethod.DRAFT_MODEL: "draft-simple"}

_REMOVED: Final = "has been removed from llama-server; the operator sets --spec-draft-n-max"
_DOWNLOADS: Final = "downloads another model"

_UNUSABLE: Final = {
    "--ctx-size": "is spec.engine.llamaCpp.contextSize times parallel",
    "--parallel": "is spec.engine.llamaCpp.parallel",
    "--gpu-layers": "is spec.engine.llamaCpp.gpuLayers",
    "--n-gpu-layers": "is spec.engine.llamaCpp.gpuLayers",
    "--flash-attn": "is spec.engine.llamaCpp.flashAttention",
    "--alias": "is spec.model.servedName",
    "--api-prefix": "moves the paths that the operator asks",
    "--log-disable": "hides why the engine fails",
    "--log-file": "is set by the operator",
    "--embedding": "turns text generation off",
    "--embeddings": "turns text generation off",
    "--rerank": "turns text generation off",
    "--reranking": "turns text generation off",
    "--spec-default": "turns speculation on at every n",
    "--spec-synth-len": "pretends acceptance",
    "--spec-synth-rates": "pretends acceptance",
    "--draft": _REMOVED,
    "--draft-n": _REMOVED,
    "--draft-max": _REMOVED,
    "--draft-min": _REMOVED,
    "--draft-n-min": _REMOVED,
}

_PRESETS: Final = ("--embd-gemma-", "--fim-qwen-", "--gpt-oss-", "--vision-gemma-")


class LlamaCpp(Engine):
    """llama-server from 0.7.0 on."""

    type = EngineType.LLAMA_CPP
    port = 8080
    metrics = EngineMetrics(
        generated_tokens="llamacpp:tokens_predicted_total",
        drafts="llamacpp:spec_decode_num_drafts_total",
        draft_tokens="llamacpp:spec_decode_num_draft_tokens_total",
        accepted_tokens="llamacpp:spec_decode_num_accepted_tokens_total",
        accepted_per_position="llamacpp:spec_decode_num_accepted_tokens_per_pos_total",
        position_label="position",
    )
    load_metrics = ("llamacpp:requests_processing", "llamacpp:requests_deferred")

    def arguments(
        self, settings: RunSettings, n_spec: int, served_name: str, model_path: str, drafter_path: str | None
    ) -> tuple[str, ...]:
        """The arguments of `llama-server`; see `Engine.arguments`."""
        llama = settings.engine.llama_cpp or LlamaCppSettings()
        layers = "all" if llama.gpu_layers < 0 else str(llama.gpu_layers)
        flags = {
            "--model": model_path,
            "--alias": served_name,
            # kubelet and Services reach the pod by its address, never by loopback.
            "--host": "0.0.0.0",  # noqa: S104
            "--port": str(self.port),
            # The total, which is divided evenly among the slots.
            "--ctx-size": str(llama.context_size * llama.parallel),
            "--parallel": str(llama.parallel),
            "--gpu-layers": layers,
            "--flash-attn": "on" if llama.flash_attention is FlashAttention.ENABLED else "off",
            # Otherwise what is not set here would be fitted to the free memory, differently for each n.
            "--fit": "off",
            # 8 GiB of the node's memory by default, for prompts that come again: none does.
            "--cache-ram": "0",
            "--log-file": self.log_path,
            **_speculation(settings, n_spec, drafter_path, layers),
        }
        switches = (
            "--metrics",
            "--offline",
            "--no-ui",
        )
        return (*chain.from_iterable(flags.items()), *switches, *split_values(settings.engine.extra_args))

    def environment(self) -> Mapping[str, str]:
        """A writable home."""
        return {"HOME": HOME}

    def cache_breaking_fields(self, salt: str) -> Mapping[str, Any]:
        """The salt is not needed: llama-server computes the whole prompt anew when it is told to."""
        del salt
        return {"cache_prompt": False}

    def completion_tokens(self, message: Mapping[str, Any]) -> int | None:
        """As in `usage`, else in llama-server's own `timings`."""
        tokens = tokens_in_usage(message)
        if tokens is not None:
            return tokens
        predicted = (message.get("timings") or {}).get("predicted_n")
        return predicted if isinstance(predicted, int) else None

    def request_drafts(self, message: Mapping[str, Any]) -> RequestDrafts | None:
        """In `timings`, while speculation is on."""
        return drafts_in(message.get("timings") or {}, "draft_n", "draft_n_accepted")

    def refusals(self, settings: RunSettings) -> tuple[str, ...]:
        """Arguments that typed fields set, that the engine refuses, or that spoil the measurement."""
        extra = settings.engine.extra_args
        presets = {argument_name(one): _DOWNLOADS for one in extra if one.startswith(_PRESETS)}
        return unusable(extra, {**_UNUSABLE, **presets})


def split_values(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """`--flag=value` as two arguments each: llama-server knows no other form."""
    return tuple(chain.from_iterable(one.split("=", 1) for one in arguments))


def _speculation(settings: RunSettings, n_spec: int, drafter_path: str | None, layers: str) -> dict[str, str]:
    if n_spec == 0:
        return {}
    # The type has to be spelled out: a drafter alone does not turn speculation on.
    flags = {
        "--spec-type": _SPECULATION_TYPES[settings.speculation.method],
        "--spec-draft-n-max": str(n_spec),
    }
    if drafter_path is not None:
        flags |= {"--spec-draft-model": drafter_path, "--spec-draft-ngl": layers}
    return flags
