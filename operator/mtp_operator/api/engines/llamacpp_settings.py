"""llama.cpp's llama-server, as the API has it."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from mtp_operator.api.base import LEAST_CONTEXT_TOKENS, MAX_N_SPEC, Schema, rule, validated

from .refusals import Floor, Refusal

FLOOR: Final = Floor(
    # 0.7.0 is build 11669.
    "/llama[.]cpp:[^@]*-(v0[.][0-6]([.-]|$)|b([0-9]{1,4}|10[0-9]{3}|11[0-5][0-9]{2}|116[0-5][0-9]|1166[0-8])$)",
    "must be llama.cpp 0.7.0 (b11669) or later: earlier versions count no drafts, do not know all flags, or "
    "speculate wrongly",
)

METHODS: Final = {
    "MTP": "draft-mtp",
    "DraftModel": "draft-simple",
    "Eagle3": "draft-eagle3",
    "DFlash": "draft-dflash",
    "DSpark": "draft-dspark",
    # ngram-simple cannot draft fewer tokens than it looks up.
    "NGram": "ngram-map-k",
}
"""What llama-server calls the methods of spec.speculation."""

REFUSED: Final = {
    "--agent": Refusal("lets requests run code"),
    "--alias": Refusal("is spec.model.servedName and aliases"),
    "--api-key": Refusal("locks the bench out: authenticate clients in front of the Service"),
    "--api-key-file": Refusal("locks the bench out: authenticate clients in front of the Service"),
    "--api-prefix": Refusal("moves the paths that the operator asks"),
    "--ctx-size": Refusal("is spec.engine.llamaCpp.contextSize times parallel"),
    "--direct-io": Refusal("has been removed from llama-server: write --load-mode=dio"),
    "--docker-repo": Refusal("downloads another model: name it in spec.model.uri"),
    "--draft": Refusal("has been removed from llama-server; the operator sets --spec-draft-n-max"),
    "--draft-max": Refusal("has been removed from llama-server; the operator sets --spec-draft-n-max"),
    "--draft-min": Refusal("has been removed from llama-server; the operator sets --spec-draft-n-max"),
    "--draft-n": Refusal("has been removed from llama-server; the operator sets --spec-draft-n-max"),
    "--draft-n-min": Refusal("has been removed from llama-server; the operator sets --spec-draft-n-max"),
    "--draft-p-min": Refusal("is spec.speculation.llamaCpp.pMinMilli"),
    "--embd-gemma-default": Refusal("downloads another model: name it in spec.model.uri"),
    "--embedding": Refusal("turns text generation off"),
    "--embeddings": Refusal("turns text generation off"),
    "--fim-qwen-1.5b-default": Refusal("downloads another model: name it in spec.model.uri"),
    "--fim-qwen-14b-spec": Refusal("downloads another model: name it in spec.model.uri"),
    "--fim-qwen-30b-default": Refusal("downloads another model: name it in spec.model.uri"),
    "--fim-qwen-3b-default": Refusal("downloads another model: name it in spec.model.uri"),
    "--fim-qwen-7b-default": Refusal("downloads another model: name it in spec.model.uri"),
    "--fim-qwen-7b-spec": Refusal("downloads another model: name it in spec.model.uri"),
    "--flash-attn": Refusal("is spec.engine.llamaCpp.flashAttention"),
    "--gpt-oss-120b-default": Refusal("downloads another model: name it in spec.model.uri"),
    "--gpt-oss-20b-default": Refusal("downloads another model: name it in spec.model.uri"),
    "--gpu-layers": Refusal("is spec.engine.llamaCpp.gpuLayers"),
    "--hf-file": Refusal("downloads another model: name it in spec.model.uri"),
    "--hf-repo": Refusal("downloads another model: name it in spec.model.uri"),
    "--hf-repo-draft": Refusal("downloads another model: name it in spec.model.uri"),
    "--hf-token": Refusal("puts a secret into the pod's arguments: use spec.model.tokenSecretRef"),
    "--host": Refusal("is set by the operator", ("0.0.0.0",)),  # noqa: S104
    "--ignore-eos": Refusal("changes where outputs end"),
    "--log-disable": Refusal("hides why the engine fails"),
    "--log-file": Refusal("is set by the operator"),
    "--log-jsonl": Refusal("hides why the engine fails"),
    "--lora": Refusal("lets any client change the model"),
    "--lora-scaled": Refusal("lets any client change the model"),
    "--mcp-servers-config": Refusal("lets requests run code"),
    "--mcp-servers-json": Refusal("lets requests run code"),
    "--media-path": Refusal("lets requests read files"),
    "--mlock": Refusal("has been removed from llama-server: write --load-mode=mlock"),
    "--mmap": Refusal("has been removed from llama-server: write --load-mode=mmap"),
    "--mmproj-url": Refusal("downloads another model: name it in spec.model.uri"),
    "--model": Refusal("is spec.model.uri"),
    "--model-draft": Refusal("is spec.speculation.drafter"),
    "--model-url": Refusal("downloads another model: name it in spec.model.uri"),
    "--models-dir": Refusal("lets requests load other models"),
    "--models-preset": Refusal("lets requests load other models"),
    "--n-gpu-layers": Refusal("is spec.engine.llamaCpp.gpuLayers"),
    "--n-predict": Refusal("changes where outputs end", ("-1",)),
    "--no-direct-io": Refusal("has been removed from llama-server: write --load-mode, without dio"),
    "--no-mmap": Refusal("has been removed from llama-server: write --load-mode=none"),
    "--parallel": Refusal("is spec.engine.llamaCpp.parallel"),
    "--path": Refusal("lets requests read files"),
    "--port": Refusal("is set by the operator: spec.serving.port is the Service's", ("8080", "8000")),
    "--predict": Refusal("changes where outputs end", ("-1",)),
    "--props": Refusal("lets any client change the server"),
    "--rerank": Refusal("turns text generation off"),
    "--reranking": Refusal("turns text generation off"),
    "--sleep-idle-seconds": Refusal("unloads the model between two measurements", ("-1",)),
    "--slot-save-path": Refusal("lets requests write files"),
    "--spec-default": Refusal("turns speculation on at every n_spec"),
    "--spec-draft-hf": Refusal("downloads another model: name it in spec.model.uri"),
    "--spec-draft-model": Refusal("is spec.speculation.drafter"),
    "--spec-draft-n-min": Refusal("is spec.speculation.llamaCpp.nMin"),
    "--spec-draft-p-min": Refusal("is spec.speculation.llamaCpp.pMinMilli"),
    "--spec-ngram-map-k-size-n": Refusal("is spec.speculation.llamaCpp.nGramTokens"),
    "--spec-draft-n-max": Refusal("is what the operator tunes: spec.speculation.nSpec pins it"),
    "--spec-ngram-map-k-size-m": Refusal("is what the operator tunes: spec.speculation.nSpec pins it"),
    "--spec-synth-len": Refusal("pretends acceptance"),
    "--spec-synth-rates": Refusal("pretends acceptance"),
    "--spec-type": Refusal("is spec.speculation.method"),
    "--ssl-cert-file": Refusal(
        "makes the server speak a protocol that the bench does not: terminate TLS in front of the Service"
    ),
    "--ssl-key-file": Refusal(
        "makes the server speak a protocol that the bench does not: terminate TLS in front of the Service"
    ),
    "--tools": Refusal("lets requests run code"),
    "--tools-runtime": Refusal("lets requests run code"),
    "--ui-mcp-proxy": Refusal("lets requests reach other servers"),
    "--vision-gemma-12b-default": Refusal("downloads another model: name it in spec.model.uri"),
    "--vision-gemma-4b-default": Refusal("downloads another model: name it in spec.model.uri"),
    "--webui-mcp-proxy": Refusal("lets requests reach other servers"),
}
"""Flags that spoil a measurement, or that clients could misuse.

The image is the user's choice: this list does not cover what only the image's owner could misuse.
"""

ALLOWED: Final = ("--mmproj", "--ui", "--webui")
"""Flags that a refused one begins with."""


class FlashAttention(StrEnum):
    """Whether llama.cpp uses its flash attention kernels."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


class LlamaCppSettings(Schema):
    """Settings of llama.cpp's llama-server."""

    context_size: Annotated[
        int,
        Field(
            ge=LEAST_CONTEXT_TOKENS,
            le=1_048_576,
            description="Longest prompt plus output of one request (slot), in tokens.",
        ),
    ] = 4096
    parallel: Annotated[int, Field(ge=1, le=256, description="Slots: requests that are decoded together.")] = 1
    gpu_layers: Annotated[
        int, Field(ge=-1, le=1024, description="Layers kept on the GPU; -1 keeps all of them there.")
    ] = -1
    flash_attention: Annotated[
        FlashAttention, Field(description="Whether llama.cpp's flash attention kernels are used.")
    ] = FlashAttention.ENABLED

    @property
    def context_tokens(self) -> int:
        """Longest prompt plus output of one request."""
        return self.context_size

    @property
    def decoded_together(self) -> int:
        """Requests that are decoded together."""
        return self.parallel


_CACHE_TYPE: Final = validated(
    rule("self.matches('^[a-z][a-z0-9_]*$')", "must be a type of llama.cpp in lower case, for example q8_0")
)


class LlamaCppSpeculation(Schema):
    """Further settings of llama-server's speculation; each of them is the same for every n_spec."""

    p_min_milli: Annotated[
        int | None,
        Field(
            ge=0,
            le=1000,
            description="Probability under which the drafter stops, in thousandths: 750 is 0.75. Then n_spec is the "
            "most that is drafted. Default: llama-server's own.",
        ),
    ] = None
    p_split_milli: Annotated[
        int | None,
        Field(ge=0, le=1000, description="Probability to split a draft, in thousandths. Default: llama-server's own."),
    ] = None
    n_min: Annotated[
        int | None,
        Field(
            ge=0,
            le=MAX_N_SPEC,
            description="Drafts of fewer tokens are dropped; an n_spec below it drafts nothing. Default: "
            "llama-server's own.",
        ),
    ] = None
    gpu_layers: Annotated[
        int | None,
        Field(
            ge=-1, le=1024, description="Layers of the drafter kept on the GPU; -1: all. Default: engine.llamaCpp's."
        ),
    ] = None
    cache_type_k: Annotated[
        str | None,
        Field(
            max_length=16,
            description="Type of the drafter's keys in the KV cache, for example q8_0. Default: llama-server's own.",
            json_schema_extra=_CACHE_TYPE,
        ),
    ] = None
    cache_type_v: Annotated[
        str | None,
        Field(
            max_length=16,
            description="Type of the drafter's values in the KV cache, for example q8_0. Default: llama-server's own.",
            json_schema_extra=_CACHE_TYPE,
        ),
    ] = None
    n_gram_tokens: Annotated[
        int | None,
        Field(ge=1, le=64, description="Tokens that NGram looks for earlier in the request. Default: 4."),
    ] = None
