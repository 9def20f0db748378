"""vLLM, as the API has it."""

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field

from mtp_operator.api.base import LEAST_CONTEXT_TOKENS, Schema, rule, validated

from .refusals import Floor, Refusal

FLOOR: Final = Floor(
    r"/vllm-openai[^:@]*:v0[.]([0-9]|[12][0-9]|30)([.-]|$)",
    "must be vLLM 0.31 or later: requests can run code in earlier versions, hang them, or end them while they "
    "speculate",
)

METHODS: Final = {
    "MTP": "mtp",
    "DraftModel": "draft_model",
    "Eagle": "eagle",
    "Eagle3": "eagle3",
    "DFlash": "dflash",
    "DSpark": "dspark",
    "NGram": "ngram",
    "Suffix": "suffix",
}
"""What vLLM calls the methods of spec.speculation."""

REFUSED: Final = {
    "--allowed-local-media-path": Refusal("lets requests read files"),
    "--api-key": Refusal("locks the bench out: authenticate clients in front of the Service"),
    "--config": Refusal("hides other arguments: write them out"),
    "--convert": Refusal("turns text generation off", ("auto", "none")),
    "--data-parallel-size": Refusal("is spec.engine.vllm.dataParallelSize", ("1",)),
    "--device-memory-utilization": Refusal("is spec.engine.vllm.gpuMemoryUtilizationPercent"),
    "--disable-log-stats": Refusal("turns the counters off that prove that speculation works"),
    "--disable-prefix-caching": Refusal("is spec.engine.vllm.prefixCaching"),
    "--distributed-executor-backend": Refusal("starts processes that the operator does not know", ("mp", "uni")),
    "--enable-lora": Refusal("serves another model than the one that is measured"),
    "--enable-mm-embeds": Refusal("lets requests crash the engine"),
    "--enable-prefix-caching": Refusal("is spec.engine.vllm.prefixCaching"),
    "--enable-prompt-embeds": Refusal("lets requests crash the engine"),
    "--enable-trace-replay": Refusal("lets a request decide what is generated"),
    "--gpu-memory-utilization": Refusal("is spec.engine.vllm.gpuMemoryUtilizationPercent"),
    "--grpc": Refusal("is set by the operator"),
    "--grpc-port": Refusal("opens a second server, which nothing measures"),
    "--headless": Refusal("turns the server off that the bench asks"),
    "--hf-token": Refusal("puts a secret into the pod's arguments: use spec.model.tokenSecretRef"),
    "--host": Refusal("is set by the operator", ("0.0.0.0",)),  # noqa: S104
    "--kv-sharing-fast-prefill": Refusal("does not work together with speculation"),
    "--logits-processors": Refusal("does not work together with speculation"),
    "--logprobs-mode": Refusal("changes the probabilities that the output is checked by", ("raw_logprobs",)),
    "--max-logprobs": Refusal("changes the probabilities that the output is checked by", ("20",)),
    "--max-model-len": Refusal("is spec.engine.vllm.maxModelLen"),
    "--max-num-seqs": Refusal("is spec.engine.vllm.maxNumSeqs"),
    "--model": Refusal("is spec.model.uri"),
    "--nnodes": Refusal("needs several pods: an engine is one pod on one node", ("1",)),
    "--no-enable-prefix-caching": Refusal("is spec.engine.vllm.prefixCaching"),
    "--per-request-spec-decode-metrics": Refusal("keeps vLLM from starting without speculation (n=0)"),
    "--pipeline-parallel-size": Refusal(
        "does not work together with MTP: draft heads live on the last stage only", ("1",)
    ),
    "--port": Refusal("is set by the operator: spec.serving.port is the Service's", ("8080", "8000")),
    "--profiler-config": Refusal("lets any client write profiles"),
    "--return-tokens-as-token-ids": Refusal("changes the answers that the bench reads"),
    "--root-path": Refusal("moves the paths that the operator asks"),
    "--runner": Refusal("turns text generation off", ("auto", "generate")),
    "--served-model-name": Refusal("is spec.model.servedName and aliases"),
    "--skip-tokenizer-init": Refusal("turns text off"),
    "--spec-method": Refusal("is spec.speculation.method"),
    "--spec-model": Refusal("is spec.speculation.drafter"),
    "--spec-tokens": Refusal("is what the operator tunes: spec.speculation.nSpec pins it"),
    "--speculative-config": Refusal("is what the operator tunes: spec.speculation"),
    "--ssl-ca-certs": Refusal(
        "makes the server speak a protocol that the bench does not: terminate TLS in front of the Service"
    ),
    "--ssl-certfile": Refusal(
        "makes the server speak a protocol that the bench does not: terminate TLS in front of the Service"
    ),
    "--ssl-keyfile": Refusal(
        "makes the server speak a protocol that the bench does not: terminate TLS in front of the Service"
    ),
    "--tensor-parallel-size": Refusal("is spec.engine.vllm.tensorParallelSize"),
    "--tokens-only": Refusal("turns text off"),
    "--tool-server": Refusal("lets requests run tools"),
    "--trust-remote-code": Refusal("is spec.engine.vllm.trustRemoteCode"),
    "--trust-request-chat-template": Refusal("runs code of requests"),
    "--trust-request-mm-kwargs": Refusal("runs code of requests"),
    "--uds": Refusal("is set by the operator"),
    "--watermark-config": Refusal("changes the sampling that the output is checked by"),
    "--weight-transfer-config": Refusal("lets any client change the model"),
}
"""Flags that spoil a measurement, or that clients could misuse.

The image is the user's choice: this list does not cover what only the image's owner could misuse.
"""


class PrefixCaching(StrEnum):
    """Whether the engine reuses the KV cache of equal prefixes."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


class TrustRemoteCode(StrEnum):
    """Whether Python code of the model's repository may run."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


class VLLMSettings(Schema):
    """Settings of vLLM."""

    max_model_len: Annotated[
        int | None,
        Field(
            ge=-1,
            le=1_048_576,
            description="Longest prompt plus output of one request, in tokens; -1 is the longest that fits into the "
            "GPU's memory. Default: vLLM's own, the model's.",
            json_schema_extra=validated(
                rule(
                    f"self < -1 || self == -1 || self >= {LEAST_CONTEXT_TOKENS}",
                    f"must be -1 (the longest that fits) or at least {LEAST_CONTEXT_TOKENS}",
                )
            ),
        ),
    ] = None
    max_num_seqs: Annotated[
        int | None,
        Field(ge=1, le=1024, description="Requests that are decoded together; the rest waits. Default: vLLM's own."),
    ] = None
    gpu_memory_utilization_percent: Annotated[
        int | None,
        Field(ge=1, le=100, description="Share of the GPU's memory that vLLM takes. Default: vLLM's own."),
    ] = None
    tensor_parallel_size: Annotated[
        int, Field(ge=1, le=16, description="GPUs that share one copy of the model; at most accelerator.count.")
    ] = 1
    data_parallel_size: Annotated[
        int,
        Field(
            ge=1,
            le=16,
            description="Copies of the model (with --enable-expert-parallel: of its attention) that share the "
            "requests, each on tensorParallelSize GPUs of the same pod; maxNumSeqs holds for each of them.",
        ),
    ] = 1
    prefix_caching: Annotated[
        PrefixCaching | None,
        Field(
            description="Whether equal prefixes of prompts are reused. Default: vLLM's own. Trials measure without "
            "reuse in either case: each of their requests has a cache of its own."
        ),
    ] = None
    trust_remote_code: Annotated[
        TrustRemoteCode,
        Field(
            description="Enabled runs Python code that lies beside the weights, with all that the engine's pod may do; "
            "only for a model that vLLM does not know by itself, from a repository that you have read."
        ),
    ] = TrustRemoteCode.DISABLED

    @property
    def context_tokens(self) -> int | None:
        """Longest prompt plus output of one request; None where that is left to the engine."""
        return self.max_model_len if self.max_model_len is not None and self.max_model_len > 0 else None

    @property
    def decoded_together(self) -> int | None:
        """Requests that are decoded together; None where that is left to the engine."""
        return self.max_num_seqs and self.max_num_seqs * self.data_parallel_size


class RejectionSample(StrEnum):
    """How drafted tokens are held against the target's; the output follows the target with both."""

    STANDARD = "Standard"
    BLOCK = "Block"


class DraftSample(StrEnum):
    """How the drafter chooses its tokens."""

    GREEDY = "Greedy"
    PROBABILISTIC = "Probabilistic"


class PaddedDrafterBatch(StrEnum):
    """Whether rejected tokens stay in the drafter's batch as padding."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


class EagerDrafter(StrEnum):
    """Whether the drafter runs without CUDA graphs."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


def _name(description: str) -> Any:
    return Field(
        max_length=64,
        description=f"{description} Default: vLLM's own.",
        json_schema_extra=validated(
            rule("self.matches('^[A-Za-z0-9][-A-Za-z0-9_.]*$')", "must be a name of letters, digits, '-', '_' and '.'")
        ),
    )


class VLLMSpeculation(Schema):
    """Further settings of vLLM's speculation; each of them is the same for every n_spec."""

    draft_tensor_parallel_size: Annotated[
        int | None,
        Field(
            ge=1, le=16, description="GPUs that share the drafter: 1, or tensorParallelSize. Default: as the target."
        ),
    ] = None
    moe_backend: Annotated[
        str | None,
        _name(
            "Kernels of the drafter's experts, for example triton where the target's backend takes quantized ones only."
        ),
    ] = None
    attention_backend: Annotated[str | None, _name("Attention kernels of the drafter, for example FLASH_ATTN.")] = None
    quantization: Annotated[str | None, _name("Quantization of the drafter, where it differs from the target's.")] = (
        None
    )
    kv_cache_dtype: Annotated[str | None, _name("Type of the drafter's KV cache, for example fp8.")] = None
    max_model_len: Annotated[
        int | None,
        Field(ge=1, le=1_048_576, description="Longest sequence that the drafter drafts for. Default: its own."),
    ] = None
    rejection_sample_method: Annotated[
        RejectionSample | None,
        Field(
            description="How drafted tokens are held against the target's: Standard one by one, Block all of a step "
            "together. Default: vLLM's own."
        ),
    ] = None
    draft_sample_method: Annotated[
        DraftSample | None,
        Field(description="Whether the drafter takes its likeliest token or draws one. Default: vLLM's own."),
    ] = None
    padded_drafter_batch: Annotated[
        PaddedDrafterBatch | None,
        Field(description="Disabled takes rejected tokens out of the drafter's batch. Default: vLLM's own."),
    ] = None
    enforce_eager: Annotated[
        EagerDrafter | None,
        Field(description="Enabled runs the drafter without CUDA graphs. Default: vLLM's own, as the target."),
    ] = None
    prompt_lookup_min: Annotated[
        int | None, Field(ge=1, le=64, description="Fewest tokens that NGram looks for. Default: promptLookupMax.")
    ] = None
    prompt_lookup_max: Annotated[
        int | None,
        Field(ge=1, le=64, description="Most tokens that NGram looks for earlier in the request. Default: 4."),
    ] = None
    suffix_cached_requests: Annotated[
        int | None,
        Field(
            ge=0,
            le=1_000_000,
            description="Answers that Suffix keeps to draft from for later requests. The bench repeats its prompts, so "
            "that with more than 0 the measured speed is that of clients who do too. Default: 0, the request alone.",
        ),
    ] = None
