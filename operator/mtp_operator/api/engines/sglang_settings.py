"""SGLang, as the API has it."""

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field

from mtp_operator.api.base import LEAST_CONTEXT_TOKENS, Schema, rule, validated

from .refusals import Floor, Refusal
from .vllm_settings import PrefixCaching, TrustRemoteCode

FLOOR: Final = Floor(
    r"/sglang[^:@]*:v0[.]([0-4][.]|5[.]([0-9]|1[0-7])([.-]|$))",
    "must be SGLang 0.5.18 or later: in earlier versions, the output check would read what speculation has cached",
)

METHODS: Final = {
    "MTP": "NEXTN",
    "DraftModel": "STANDALONE",
    "Eagle": "EAGLE",
    "Eagle3": "EAGLE3",
}
"""What SGLang calls the methods of spec.speculation.

NGRAM is not among them: it drafts from the answers of all earlier requests, and the bench repeats its prompts.
"""

# vLLM has these flags too: the message names both fields.
_COPIES: Final = Refusal("is spec.engine.vllm.dataParallelSize or spec.engine.sglang.dataParallelSize", ("1",))
_PARTS: Final = Refusal("is spec.engine.vllm.tensorParallelSize or spec.engine.sglang.tensorParallelSize")

REFUSED: Final = {
    "--admin-api-key": Refusal("puts a secret into the pod's arguments: authenticate clients in front of the Service"),
    "--context-length": Refusal("is spec.engine.sglang.contextLength"),
    "--data-parallel-size": _COPIES,
    "--decoupled-spec-role": Refusal("starts one half of an engine: trials measure a whole one"),
    "--disable-radix-cache": Refusal("is spec.engine.sglang.prefixCaching"),
    "--disaggregation-mode": Refusal("starts one half of an engine: trials measure a whole one", ("null",)),
    "--dp-size": _COPIES,
    "--enable-custom-logit-processor": Refusal("runs code of requests"),
    "--enable-dp-attention": Refusal("has another name: write --attn-dp-size=<n>"),
    "--enable-metrics": Refusal("is set by the operator"),
    "--enable-mixed-chunk": Refusal(
        "is turned off by SGLang while it speculates, so that n_spec=0 would run otherwise"
    ),
    "--enable-trace": Refusal("opens the network"),
    "--encoder-only": Refusal("turns text generation off"),
    "--fastapi-root-path": Refusal("moves the paths that the operator asks"),
    "--grpc-mode": Refusal("turns the server off that the bench asks"),
    "--is-embedding": Refusal("turns text generation off"),
    "--lora-paths": Refusal("serves another model than the one that is measured"),
    "--max-running-requests": Refusal("is spec.engine.sglang.maxRunningRequests"),
    "--mem-fraction-static": Refusal("is spec.engine.sglang.memFractionStaticPercent"),
    "--model-path": Refusal("is spec.model.uri"),
    "--pp-size": Refusal("is not tuned: split the model with spec.engine.sglang.tensorParallelSize", ("1",)),
    "--sidecar": Refusal("starts processes that the operator does not know"),
    "--smg-grpc-mode": Refusal("turns the server off that the bench asks"),
    "--smg-http-sidecar-port": Refusal("opens a second server, which nothing measures"),
    "--grpc-http-sidecar-port": Refusal("opens a second server, which nothing measures"),
    "--speculative-accept-threshold-acc": Refusal("accepts tokens that the target would not have written", ("1.0",)),
    "--speculative-accept-threshold-single": Refusal("accepts tokens that the target would not have written", ("1.0",)),
    "--speculative-adaptive": Refusal("changes n while it is measured"),
    "--speculative-adaptive-config": Refusal("changes n while it is measured"),
    "--speculative-algorithm": Refusal("is spec.speculation.method"),
    "--speculative-attention-mode": Refusal("is spec.speculation.sglang.attentionMode"),
    "--speculative-draft-attention-backend": Refusal("is spec.speculation.sglang.attentionBackend"),
    "--speculative-draft-kv-cache-dtype": Refusal("is spec.speculation.sglang.kvCacheDtype"),
    "--speculative-draft-model": Refusal("is spec.speculation.drafter"),
    "--speculative-draft-model-path": Refusal("is spec.speculation.drafter"),
    "--speculative-draft-model-quantization": Refusal("is spec.speculation.sglang.quantization"),
    "--speculative-draft-model-revision": Refusal("is spec.speculation.drafter"),
    "--speculative-eagle-topk": Refusal("is set by the operator: n_spec is the length of one chain of tokens"),
    "--speculative-moe-runner-backend": Refusal("is spec.speculation.sglang.moeBackend"),
    "--speculative-num-draft-tokens": Refusal("is what the operator tunes: spec.speculation.nSpec pins it"),
    "--speculative-num-steps": Refusal("is what the operator tunes: spec.speculation.nSpec pins it"),
    "--tensor-parallel-size": _PARTS,
    "--tp-size": _PARTS,
    "--trust-remote-code": Refusal("is spec.engine.vllm.trustRemoteCode or spec.engine.sglang.trustRemoteCode"),
    "--use-ray": Refusal("starts processes that the operator does not know"),
}
"""Flags that spoil a measurement, or that clients could misuse.

The image is the user's choice: this list does not cover what only the image's owner could misuse.
"""

ALLOWED: Final = ("--device",)
"""Flags that a refused one begins with."""


class SGLangSettings(Schema):
    """Settings of SGLang."""

    context_length: Annotated[
        int | None,
        Field(
            ge=LEAST_CONTEXT_TOKENS,
            le=1_048_576,
            description="Longest prompt plus output of one request, in tokens. Default: SGLang's own, the model's.",
        ),
    ] = None
    max_running_requests: Annotated[
        int,
        Field(
            ge=1,
            le=1024,
            description="Requests that are decoded together; the rest waits. The default is SGLang's own while it "
            "speculates; it holds for n_spec=0 too, so that every n is measured with the same limit.",
        ),
    ] = 48
    mem_fraction_static_percent: Annotated[
        int | None,
        Field(ge=1, le=99, description="Share of the GPU's memory for weights and KV cache. Default: SGLang's own."),
    ] = None
    tensor_parallel_size: Annotated[
        int, Field(ge=1, le=16, description="GPUs that share one copy of the model; at most accelerator.count.")
    ] = 1
    data_parallel_size: Annotated[
        int,
        Field(
            ge=1,
            le=16,
            description="Copies of the model that share the requests, each on tensorParallelSize GPUs of the same pod.",
        ),
    ] = 1
    prefix_caching: Annotated[
        PrefixCaching | None,
        Field(
            description="Whether equal prefixes of prompts are reused (SGLang's radix cache). Default: SGLang's own. "
            "Trials measure without reuse in either case: each of their requests has a cache of its own."
        ),
    ] = None
    trust_remote_code: Annotated[
        TrustRemoteCode,
        Field(
            description="Enabled runs Python code from beside the weights, with all that the engine's pod may do; "
            "only for a model that SGLang does not know by itself, from a repository that you have read."
        ),
    ] = TrustRemoteCode.DISABLED

    @property
    def context_tokens(self) -> int | None:
        """Longest prompt plus output of one request; None where that is left to the engine."""
        return self.context_length

    @property
    def decoded_together(self) -> int:
        """Requests that are decoded together."""
        return self.max_running_requests


class AttentionMode(StrEnum):
    """Which attention kernels verify draft tokens."""

    PREFILL = "Prefill"
    DECODE = "Decode"


def _name(description: str) -> Any:
    return Field(
        max_length=64,
        description=f"{description} Default: SGLang's own.",
        json_schema_extra=validated(
            rule(
                "self.matches('^[a-z0-9][-a-z0-9_.]*$')", "must be a name of lower-case letters, digits, '-', '_', '.'"
            )
        ),
    )


class SGLangSpeculation(Schema):
    """Further settings of SGLang's speculation; each of them is the same for every n_spec."""

    attention_mode: Annotated[
        AttentionMode | None,
        Field(
            description="Whether the target verifies draft tokens with its kernels for prefill or for decode. "
            "Default: SGLang's own."
        ),
    ] = None
    attention_backend: Annotated[str | None, _name("Attention kernels of the drafter, for example fa3.")] = None
    moe_backend: Annotated[str | None, _name("Kernels of the drafter's experts, for example triton.")] = None
    quantization: Annotated[
        str | None, _name("Quantization of the drafter, where it differs from the target's; unquant for none.")
    ] = None
    kv_cache_dtype: Annotated[str | None, _name("Type of the drafter's KV cache, for example fp8_e4m3.")] = None
