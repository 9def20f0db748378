"""vLLM's OpenAI-compatible server (`vllm serve`)."""

import json
from collections.abc import Mapping
from typing import Any, Final

from mtp_operator.api.run import RunSettings
from mtp_operator.api.spec import EngineType, PrefixCaching, SamplingMode, SpeculationMethod, VLLMSettings

from .engine import (
    CONFIGURATION_FOLDER,
    HOME,
    Engine,
    EngineMetrics,
    RequestDrafts,
    drafts_in,
    tokens_in_usage,
    unusable,
)

CUDA_GRAPH_CAPTURE_TOKENS: Final = 512
"""Widest decode batch for which vLLM captures CUDA graphs by itself (1,024 on the sm_100 family)."""

_METHODS: Final = {SpeculationMethod.MTP: "mtp", SpeculationMethod.DRAFT_MODEL: "draft_model"}

_LOGGING_FILE: Final = "vllm-logging.json"

_UNUSABLE: Final = {
    "--disable-log-stats": "turns the counters off that prove that speculation works",
    "--kv-sharing-fast-prefill": "does not work together with speculation",
    "--max-model-len": "is spec.engine.vllm.maxModelLen",
    "--max-num-seqs": "is spec.engine.vllm.maxNumSeqs",
    "--gpu-memory-utilization": "is spec.engine.vllm.gpuMemoryUtilizationPercent",
    "--tensor-parallel-size": "is spec.engine.vllm.tensorParallelSize",
    "--enable-prefix-caching": "is spec.engine.vllm.prefixCaching",
    "--no-enable-prefix-caching": "is spec.engine.vllm.prefixCaching",
    "--pipeline-parallel-size": "does not work together with MTP: draft heads live on the last stage only",
}


class VLLM(Engine):
    """vLLM from 0.31 on."""

    type = EngineType.VLLM
    port = 8000
    metrics = EngineMetrics(
        generated_tokens="vllm:generation_tokens_total",
        drafts="vllm:spec_decode_num_drafts_total",
        draft_tokens="vllm:spec_decode_num_draft_tokens_total",
        accepted_tokens="vllm:spec_decode_num_accepted_tokens_total",
        accepted_per_position="vllm:spec_decode_num_accepted_tokens_per_pos_total",
        position_label="position",
    )
    load_metrics = ("vllm:num_requests_running", "vllm:num_requests_waiting")

    def arguments(
        self, settings: RunSettings, n_spec: int, served_name: str, model_path: str, drafter_path: str | None
    ) -> tuple[str, ...]:
        """The arguments of `vllm serve`; see `Engine.arguments`."""
        vllm = settings.engine.vllm or VLLMSettings()
        return (
            model_path,
            f"--served-model-name={served_name}",
            # kubelet and Services reach the pod by its address, never by loopback.
            "--host=0.0.0.0",
            f"--port={self.port}",
            f"--max-model-len={vllm.max_model_len}",
            f"--max-num-seqs={vllm.max_num_seqs}",
            f"--tensor-parallel-size={vllm.tensor_parallel_size}",
            *_memory(vllm),
            # vLLM's own default depends on the model's architecture: what is measured must not.
            "--enable-prefix-caching" if vllm.prefix_caching is PrefixCaching.ENABLED else "--no-enable-prefix-caching",
            *_generation_config(settings),
            # One line a request would push the telling ones out of the short tail that kubelet keeps.
            "--disable-uvicorn-access-log",
            *_cuda_graphs(vllm, n_spec),
            *_speculation(settings, n_spec, drafter_path),
            *settings.engine.extra_args,
        )

    def environment(self) -> Mapping[str, str]:
        """Writable places, no reports to anybody, no downloads."""
        return {
            "HOME": HOME,
            # PyTorch asks for the user's name, and the image has no entry for the pod's numeric user.
            "USER": "engine",
            "LOGNAME": "engine",
            "VLLM_LOGGING_CONFIG_PATH": f"{CONFIGURATION_FOLDER}/{_LOGGING_FILE}",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            # The model lies on a volume; nothing may be looked up or fetched behind the operator's back.
            "HF_HUB_OFFLINE": "1",
        }

    def configuration_files(self) -> Mapping[str, str]:
        """Python's logging configuration: what vLLM does by itself, and the same into the shared file."""
        handlers = ["output", "file"]
        return {
            _LOGGING_FILE: json.dumps(
                {
                    "version": 1,
                    "disable_existing_loggers": False,
                    "formatters": {
                        "line": {
                            "format": "%(levelname)s %(asctime)s [%(name)s:%(lineno)d] %(message)s",
                            "datefmt": "%m-%d %H:%M:%S",
                        }
                    },
                    "handlers": {
                        "output": {
                            "class": "logging.StreamHandler",
                            "formatter": "line",
                            "stream": "ext://sys.stdout",
                        },
                        "file": {"class": "logging.FileHandler", "formatter": "line", "filename": self.log_path},
                    },
                    "loggers": {"vllm": {"level": "INFO", "handlers": handlers, "propagate": False}},
                }
            )
        }

    def cache_breaking_fields(self, salt: str) -> Mapping[str, Any]:
        """A salt of its own, which the hash of each cached block starts from."""
        return {"cache_salt": salt}

    def completion_tokens(self, message: Mapping[str, Any]) -> int | None:
        """As in `usage`."""
        return tokens_in_usage(message)

    def request_drafts(self, message: Mapping[str, Any]) -> RequestDrafts | None:
        """With `--per-request-spec-decode-metrics`: beside `usage`."""
        counts = (message.get("metrics") or {}).get("speculative_decoding") or {}
        return drafts_in(counts, "num_draft_tokens", "num_accepted_draft_tokens")

    def refusals(self, settings: RunSettings) -> tuple[str, ...]:
        """Arguments that typed fields set, that the engine refuses, or that spoil the measurement."""
        return unusable(settings.engine.extra_args, _UNUSABLE)


def _generation_config(settings: RunSettings) -> tuple[str, ...]:
    """Where sampling is sent with every request, the model's generation_config.json stays out of it."""
    if settings.workload.sampling.mode is SamplingMode.MODEL_DEFAULTS:
        return ()
    return ("--generation-config=vllm",)


def _memory(vllm: VLLMSettings) -> tuple[str, ...]:
    percent = vllm.gpu_memory_utilization_percent
    return () if percent is None else (f"--gpu-memory-utilization={percent / 100:.2f}",)


def _cuda_graphs(vllm: VLLMSettings, n_spec: int) -> tuple[str, ...]:
    """A decode batch wider than the largest captured graph runs eagerly: a cliff that would be blamed on n."""
    width = vllm.max_num_seqs * (n_spec + 1)
    return () if width <= CUDA_GRAPH_CAPTURE_TOKENS else (f"--max-cudagraph-capture-size={width}",)


def _speculation(settings: RunSettings, n_spec: int, drafter_path: str | None) -> tuple[str, ...]:
    if n_spec == 0:
        # A schedule with no draft tokens still runs the drafter's prefill; only no configuration at all is free.
        return ()
    configuration: dict[str, Any] = {"method": _METHODS[settings.speculation.method]}
    if drafter_path is not None:
        configuration["model"] = drafter_path
    configuration["num_speculative_tokens"] = n_spec
    return (f"--speculative-config={json.dumps(configuration)}",)
