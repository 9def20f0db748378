"""SGLang's OpenAI-compatible server (`sglang serve`)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from mtp_operator.api.engines.sglang_settings import METHODS, SGLangSettings, SGLangSpeculation
from mtp_operator.api.engines.vllm_settings import PrefixCaching, TrustRemoteCode
from mtp_operator.api.settings import EngineSettings
from mtp_operator.api.spec import EngineType

from .engine import (
    HOME,
    Engine,
    EngineMetrics,
    RequestDrafts,
)
from .python_logging import logging_configuration
from .token_scores import Continuation, Messages, Post, TokenScore, token_score

_LOGGING_FILE: Final = "sglang-logging.json"


class SGLang(Engine):
    """SGLang from 0.5.18 on."""

    type = EngineType.SGLANG
    command = ("sglang", "serve")
    is_entry_point = False
    methods = METHODS
    port = 30000
    # All of them are counted when a request has ended. SGLang counts what it has written, and the steps that verified
    # drafts: the accepted tokens are the difference, and positions are not reported.
    metrics = EngineMetrics(
        generated_tokens="sglang:generation_tokens_total",
        drafts="sglang:spec_verify_calls_total",
        requests="sglang:num_requests_total",
        cached_tokens="sglang:cached_tokens_total",
        absence_is_zero=True,
    )
    load_metrics = ("sglang:num_running_reqs", "sglang:num_queue_reqs")

    def arguments(
        self, settings: EngineSettings, n_spec: int, served_name: str, model_path: str, drafter_path: str | None
    ) -> tuple[str, ...]:
        """The arguments of `sglang serve`; see `Engine.arguments`."""
        sglang = settings.engine.sglang or SGLangSettings()
        return (
            f"--model-path={model_path}",
            f"--served-model-name={served_name}",
            f"--host={self.host}",
            f"--port={self.port}",
            *((f"--context-length={sglang.context_length}",) if sglang.context_length is not None else ()),
            # SGLang itself would limit them only while it speculates.
            f"--max-running-requests={sglang.max_running_requests}",
            f"--tp-size={sglang.tensor_parallel_size}",
            *((f"--dp-size={sglang.data_parallel_size}",) if sglang.data_parallel_size > 1 else ()),
            *_memory(sglang),
            *(("--disable-radix-cache",) if sglang.prefix_caching is PrefixCaching.DISABLED else ()),
            *(("--trust-remote-code",) if sglang.trust_remote_code is TrustRemoteCode.ENABLED else ()),
            "--enable-metrics",
            *_speculation(settings, n_spec, drafter_path),
            *settings.engine.extra_args,
        )

    def environment(self) -> Mapping[str, str]:
        """Writable places, no downloads, and a health check that generates nothing."""
        return {
            "HOME": HOME,
            # PyTorch asks for the user's name, and the image has no entry for the pod's numeric user.
            "USER": "engine",
            "LOGNAME": "engine",
            "SGLANG_LOGGING_CONFIG_PATH": f"{self.configuration_folder}/{_LOGGING_FILE}",
            # Each probe would be a request of its own, in the middle of a measurement.
            "SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION": "0",
            # The model is on a volume; the engine must not look up or download anything else.
            "HF_HUB_OFFLINE": "1",
        }

    def cache_environment(self, folder: str) -> Mapping[str, str]:
        """What SGLang compiles; Triton, TorchInductor, TileLang, FlashInfer and CUDA follow it."""
        return {"SGLANG_CACHE_DIR": folder}

    def configuration_files(self) -> Mapping[str, str]:
        """Python's logging configuration: what SGLang logs, on its standard output and in the shared file."""
        return {_LOGGING_FILE: logging_configuration("sglang", self.log_path)}

    def cache_breaking_fields(self, salt: str) -> Mapping[str, Any]:
        """A salt of its own, which cached prefixes are kept apart by."""
        return {"cache_salt": salt}

    def neutral_sampling_fields(self) -> Mapping[str, float]:
        """See `Engine.neutral_sampling_fields`; the model's generation_config.json would apply otherwise."""
        return {
            "top_p": 1,
            "top_k": -1,
            "min_p": 0,
            "repetition_penalty": 1,
            "presence_penalty": 0,
            "frequency_penalty": 0,
        }

    def request_drafts(self, message: Mapping[str, Any]) -> RequestDrafts | None:
        """Only for requests that ask for it, which the bench's do not: the counters say it."""
        del message
        return None

    async def chat_token_ids(self, post: Post, served_name: str, messages: Messages) -> tuple[int, ...]:
        """As the server itself makes them of a chat."""
        return tuple((await post("/tokenize", {"model": served_name, "messages": messages}))["tokens"])

    async def continuation(
        self, post: Post, served_name: str, prompt: Sequence[int], max_tokens: int, salt: str
    ) -> Continuation:
        """From the server's own endpoint, the only one that takes and returns token ids."""
        del served_name
        sampling = {
            "max_new_tokens": max_tokens,
            "temperature": 0,
            **self.neutral_sampling_fields(),
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
        }
        body = {"input_ids": list(prompt), "sampling_params": sampling, **self.cache_breaking_fields(salt)}
        answer = await post("/generate", body)
        return Continuation(tuple(answer["output_ids"]), answer["text"])

    async def text(self, post: Post, served_name: str, token_ids: Sequence[int]) -> str:
        """By the model's own tokenizer."""
        body = {"model": served_name, "tokens": list(token_ids), "skip_special_tokens": False}
        return str((await post("/detokenize", body))["text"])

    async def scores(
        self, post: Post, served_name: str, prompt: Sequence[int], output: Sequence[int], positions: Sequence[int]
    ) -> tuple[TokenScore, ...]:
        """One request for all positions: prompt and output together are a prompt, and reading one drafts nothing.

        The first place that is asked for has no log-probability: it is the prompt's last token.
        """
        del served_name
        body = {
            "input_ids": [*prompt, *output],
            "sampling_params": {"max_new_tokens": 1, "temperature": 0},
            "return_logprob": True,
            "logprob_start_len": len(prompt) - 1,
            "top_logprobs_num": 1,
        }
        told = (await post("/generate", body))["meta_info"]
        own, likely = told["input_token_logprobs"][1:], told["input_top_logprobs"][1:]
        if not len(own) == len(likely) == len(output):
            raise ValueError(f"{len(own)} of {len(output)} positions came back")
        return tuple(
            token_score(
                position,
                output[position],
                {token: log_probability for log_probability, token, *_ in (own[position], *likely[position])},
            )
            for position in positions
        )

    def _unknown(self, settings: EngineSettings) -> Iterator[str]:
        yield from super()._unknown(settings)
        if settings.model.aliases:
            yield (
                "spec.model.aliases: must be left out where engine.type is SGLang, which serves a model under one name"
            )


def _memory(sglang: SGLangSettings) -> tuple[str, ...]:
    percent = sglang.mem_fraction_static_percent
    return () if percent is None else (f"--mem-fraction-static={percent / 100:.2f}",)


def _speculation(settings: EngineSettings, n_spec: int, drafter_path: str | None) -> tuple[str, ...]:
    if n_spec == 0:
        return ()
    stated = settings.speculation.sglang or SGLangSpeculation()
    flags = {
        "--speculative-algorithm": METHODS[settings.speculation.method],
        "--speculative-draft-model-path": drafter_path,
        # One chain of n tokens; the width to verify counts the token that they follow.
        "--speculative-num-steps": n_spec,
        "--speculative-eagle-topk": 1,
        "--speculative-num-draft-tokens": n_spec + 1,
        "--speculative-attention-mode": stated.attention_mode and stated.attention_mode.value.lower(),
        "--speculative-draft-attention-backend": stated.attention_backend,
        "--speculative-moe-runner-backend": stated.moe_backend,
        "--speculative-draft-model-quantization": stated.quantization,
        "--speculative-draft-kv-cache-dtype": stated.kv_cache_dtype,
    }
    return tuple(f"{flag}={value}" for flag, value in flags.items() if value is not None)
