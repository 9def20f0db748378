"""vLLM's OpenAI-compatible server (`vllm serve`)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mtp_operator.api.base import MAX_N_SPEC, N_GRAM_LOOKUP_TOKENS
from mtp_operator.api.engines.vllm_settings import (
    METHODS,
    EagerDrafter,
    PaddedDrafterBatch,
    PrefixCaching,
    TrustRemoteCode,
    VLLMSettings,
    VLLMSpeculation,
)
from mtp_operator.api.settings import EngineSettings
from mtp_operator.api.spec import EngineType, SpeculationMethod

from .engine import (
    HOME,
    Engine,
    EngineMetrics,
    RequestDrafts,
    drafts_in,
)
from .python_logging import logging_configuration
from .token_scores import Continuation, Messages, Post, TokenScore, token_score

CUDA_GRAPH_CAPTURE_TOKENS: Final = 512
"""Widest decode batch for which vLLM captures CUDA graphs by itself (1,024 on the sm_100 family)."""

BATCHED_TOKENS: Final = 2048
"""Least default of vLLM for the tokens of one step, over all GPUs and ways of starting it."""

WIDE_BATCHED_TOKENS: Final = 8192
"""What vLLM advises at the least where it speculates with many requests, and its own default on large GPUs."""

_LOGGING_FILE: Final = "vllm-logging.json"


class VLLM(Engine):
    """vLLM from 0.31 on."""

    type = EngineType.VLLM
    command = ("vllm", "serve")
    methods = METHODS
    port = 8000
    metrics = EngineMetrics(
        generated_tokens="vllm:generation_tokens_total",
        drafts="vllm:spec_decode_num_drafts_total",
        draft_tokens="vllm:spec_decode_num_draft_tokens_total",
        accepted_tokens="vllm:spec_decode_num_accepted_tokens_total",
        accepted_per_position="vllm:spec_decode_num_accepted_tokens_per_pos_total",
        position_label="position",
        cached_tokens="vllm:prefix_cache_hits_total",
        absence_is_zero=True,
    )
    lost_while_speculating = ("min_p", "logit_bias", "custom logits processors")
    load_metrics = ("vllm:num_requests_running", "vllm:num_requests_waiting")

    def arguments(
        self, settings: EngineSettings, n_spec: int, served_name: str, model_path: str, drafter_path: str | None
    ) -> tuple[str, ...]:
        """The arguments of `vllm serve`; see `Engine.arguments`."""
        vllm = settings.engine.vllm or VLLMSettings()
        return (
            model_path,
            *_names(served_name, settings.model.aliases),
            f"--host={self.host}",
            f"--port={self.port}",
            *_stated("--max-model-len", vllm.max_model_len),
            *_stated("--max-num-seqs", vllm.max_num_seqs),
            f"--tensor-parallel-size={vllm.tensor_parallel_size}",
            *((f"--data-parallel-size={vllm.data_parallel_size}",) if vllm.data_parallel_size > 1 else ()),
            *_memory(vllm),
            *_prefix_caching(vllm),
            *(("--trust-remote-code",) if vllm.trust_remote_code is TrustRemoteCode.ENABLED else ()),
            *_batched_tokens(vllm),
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
            "VLLM_LOGGING_CONFIG_PATH": f"{self.configuration_folder}/{_LOGGING_FILE}",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            # The model is on a volume; the engine must not look up or download anything else.
            "HF_HUB_OFFLINE": "1",
        }

    def cache_environment(self, folder: str) -> Mapping[str, str]:
        """What torch.compile, Triton, TileLang, FlashInfer and CUDA compile: the next boot of any n starts from it."""
        return {
            "VLLM_CACHE_ROOT": folder,
            "TRITON_CACHE_DIR": f"{folder}/triton",
            "TILELANG_CACHE_DIR": f"{folder}/tilelang",
            "FLASHINFER_WORKSPACE_BASE": f"{folder}/flashinfer",
            "CUDA_CACHE_PATH": f"{folder}/cuda",
        }

    def configuration_files(self) -> Mapping[str, str]:
        """Python's logging configuration: what vLLM does by itself, and the same into the shared file."""
        return {_LOGGING_FILE: logging_configuration("vllm", self.log_path)}

    def cache_breaking_fields(self, salt: str) -> Mapping[str, Any]:
        """A salt of its own, which the hash of each cached block starts from."""
        return {"cache_salt": salt}

    def neutral_sampling_fields(self) -> Mapping[str, float]:
        """See `Engine.neutral_sampling_fields`; the model's generation_config.json would apply otherwise."""
        return {
            "top_p": 1,
            "top_k": 0,
            "min_p": 0,
            "repetition_penalty": 1,
            "presence_penalty": 0,
            "frequency_penalty": 0,
        }

    def request_drafts(self, message: Mapping[str, Any]) -> RequestDrafts | None:
        """With `--per-request-spec-decode-metrics`: beside `usage`."""
        counts = (message.get("metrics") or {}).get("speculative_decoding") or {}
        return drafts_in(counts, "num_draft_tokens", "num_accepted_draft_tokens")

    async def chat_token_ids(self, post: Post, served_name: str, messages: Messages) -> tuple[int, ...]:
        """As the server itself makes them of a chat."""
        body = {"model": served_name, "messages": messages, "add_generation_prompt": True}
        return tuple((await post("/tokenize", body))["tokens"])

    async def continuation(
        self, post: Post, served_name: str, prompt: Sequence[int], max_tokens: int, salt: str
    ) -> Continuation:
        """As plain text, which no parser of reasoning or tool calls has taken apart."""
        body = {
            "model": served_name,
            "prompt": list(prompt),
            "max_tokens": max_tokens,
            "temperature": 0,
            **self.neutral_sampling_fields(),
            "return_token_ids": True,
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
        }
        answer = await post("/v1/completions", {**body, **self.cache_breaking_fields(salt)})
        choice = answer["choices"][0]
        return Continuation(tuple(choice["token_ids"]), choice["text"])

    async def text(self, post: Post, served_name: str, token_ids: Sequence[int]) -> str:
        """By the model's own tokenizer."""
        return str((await post("/detokenize", {"model": served_name, "tokens": list(token_ids)}))["prompt"])

    async def scores(
        self, post: Post, served_name: str, prompt: Sequence[int], output: Sequence[int], positions: Sequence[int]
    ) -> tuple[TokenScore, ...]:
        """One request for all positions: prompt and output together are a prompt, and reading one drafts nothing."""
        body = {
            "model": served_name,
            "prompt": [*prompt, *output],
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": 1,
        }
        answer = await post("/v1/completions", body)
        places = answer["choices"][0]["prompt_logprobs"][len(prompt) :]
        if len(places) != len(output):
            raise ValueError(f"{len(places)} of {len(output)} positions came back")
        return tuple(
            token_score(
                position, output[position], {int(one): told["logprob"] for one, told in places[position].items()}
            )
            for position in positions
        )


def _names(served_name: str, aliases: tuple[str, ...]) -> tuple[str, ...]:
    # The flag takes all names that follow; after '=' it takes one.
    return ("--served-model-name", served_name, *aliases) if aliases else (f"--served-model-name={served_name}",)


def _stated(flag: str, value: int | None) -> tuple[str, ...]:
    """A flag for what the spec states; vLLM's own default holds where it states nothing."""
    return () if value is None else (f"{flag}={value}",)


def _prefix_caching(vllm: VLLMSettings) -> tuple[str, ...]:
    match vllm.prefix_caching:
        case None:
            return ()
        case PrefixCaching.ENABLED:
            return ("--enable-prefix-caching",)
        case PrefixCaching.DISABLED:
            return ("--no-enable-prefix-caching",)


def _memory(vllm: VLLMSettings) -> tuple[str, ...]:
    percent = vllm.gpu_memory_utilization_percent
    return () if percent is None else (f"--gpu-memory-utilization={percent / 100:.2f}",)


def _batched_tokens(vllm: VLLMSettings) -> tuple[str, ...]:
    """One step has to hold the drafts of all requests; the same for every n, for prompts are cut by it too."""
    width = (vllm.max_num_seqs or 0) * (MAX_N_SPEC + 1)
    return () if width <= BATCHED_TOKENS else (f"--max-num-batched-tokens={max(width, WIDE_BATCHED_TOKENS)}",)


def _cuda_graphs(vllm: VLLMSettings, n_spec: int) -> tuple[str, ...]:
    """A decode batch wider than the largest captured graph runs eagerly: a cliff that would be blamed on n."""
    width = (vllm.max_num_seqs or 0) * (n_spec + 1)
    return () if width <= CUDA_GRAPH_CAPTURE_TOKENS else (f"--max-cudagraph-capture-size={width}",)


def _speculation(settings: EngineSettings, n_spec: int, drafter_path: str | None) -> tuple[str, ...]:
    if n_spec == 0:
        # A schedule with no draft tokens still runs the drafter's prefill; only no configuration at all is free.
        return ()
    method = settings.speculation.method
    configuration: dict[str, Any] = {"method": METHODS[method], **_drafter_settings(settings.speculation.vllm, method)}
    if drafter_path is not None:
        configuration["model"] = drafter_path
    configuration["num_speculative_tokens"] = n_spec
    return (f"--speculative-config={json.dumps(configuration)}",)


def _drafter_settings(stated: VLLMSpeculation | None, method: SpeculationMethod) -> dict[str, Any]:
    """The parts of --speculative-config that are the same for every n."""
    stated = stated or VLLMSpeculation()
    settings: dict[str, Any] = {
        "draft_tensor_parallel_size": stated.draft_tensor_parallel_size,
        "moe_backend": stated.moe_backend,
        "attention_backend": stated.attention_backend,
        "quantization": stated.quantization,
        "kv_cache_dtype": stated.kv_cache_dtype,
        "max_model_len": stated.max_model_len,
        "rejection_sample_method": stated.rejection_sample_method and stated.rejection_sample_method.value.lower(),
        "draft_sample_method": stated.draft_sample_method and stated.draft_sample_method.value.lower(),
        "enforce_eager": stated.enforce_eager and stated.enforce_eager is EagerDrafter.ENABLED,
        "disable_padded_drafter_batch": stated.padded_drafter_batch is PaddedDrafterBatch.DISABLED or None,
    }
    if method is SpeculationMethod.N_GRAM:
        settings["prompt_lookup_max"] = stated.prompt_lookup_max or N_GRAM_LOOKUP_TOKENS
        settings["prompt_lookup_min"] = stated.prompt_lookup_min
    if method is SpeculationMethod.SUFFIX:
        # The bench repeats its prompts: an answer that is remembered would be drafted whole.
        settings["suffix_decoding_max_cached_requests"] = stated.suffix_cached_requests or 0
    return {name: value for name, value in settings.items() if value is not None}
