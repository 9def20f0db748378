"""llama.cpp's llama-server."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Final

from mtp_operator.api.base import MAX_N_SPEC, N_GRAM_LOOKUP_TOKENS
from mtp_operator.api.engines.llamacpp_settings import METHODS, FlashAttention, LlamaCppSettings, LlamaCppSpeculation
from mtp_operator.api.fetch import projector_path
from mtp_operator.api.settings import EngineSettings
from mtp_operator.api.spec import EngineType, SpeculationMethod

from .engine import (
    HOME,
    Engine,
    EngineMetrics,
    RequestDrafts,
    drafts_in,
    tokens_in_usage,
)
from .token_scores import Continuation, Messages, Post, TokenScore, token_score

BATCH_TOKENS: Final = 2048
"""llama-server's default for the tokens of one step (--batch-size)."""

MICRO_BATCH_TOKENS: Final = 512
"""llama-server's default for the tokens that are computed together (--ubatch-size)."""

_FULL_PRECISION: Final = ("F32", "F16")  # and BF16
"""In the names of file types whose weights are not quantized."""

_ALTERNATIVES: Final = 10
"""Most probable tokens that are asked for: as many as it takes to see how far from the best a wrong one is."""


class LlamaCpp(Engine):
    """llama-server from 0.7.0 on."""

    type = EngineType.LLAMA_CPP
    command = ("llama-server",)
    methods = METHODS
    port = 8080
    metrics = EngineMetrics(
        generated_tokens="llamacpp:tokens_predicted_total",
        drafts="llamacpp:spec_decode_num_drafts_total",
        draft_tokens="llamacpp:spec_decode_num_draft_tokens_total",
        accepted_tokens="llamacpp:spec_decode_num_accepted_tokens_total",
        accepted_per_position="llamacpp:spec_decode_num_accepted_tokens_per_pos_total",
        position_label="position",
    )
    properties_path = "/props"
    # There is no log-probability of a prompt's tokens: each position is a request of its own.
    positions_scored = 256
    load_metrics = ("llamacpp:requests_processing", "llamacpp:requests_deferred")

    def arguments(
        self, settings: EngineSettings, n_spec: int, served_name: str, model_path: str, drafter_path: str | None
    ) -> tuple[str, ...]:
        """The arguments of `llama-server`; see `Engine.arguments`."""
        llama = settings.engine.llama_cpp or LlamaCppSettings()
        layers = _layers(llama.gpu_layers)
        flags = {
            "--model": model_path,
            "--alias": ",".join((served_name, *settings.model.aliases)),
            "--host": self.host,
            "--port": str(self.port),
            # The total, which is divided evenly among the slots.
            "--ctx-size": str(llama.context_size * llama.parallel),
            "--parallel": str(llama.parallel),
            **_batches(llama),
            "--gpu-layers": layers,
            "--flash-attn": "on" if llama.flash_attention is FlashAttention.ENABLED else "off",
            # Otherwise what is not set here would be fitted to the free memory, differently for each n.
            "--fit": "off",
            "--log-file": self.log_path,
            **_projector(settings, model_path),
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

    def neutral_sampling_fields(self) -> Mapping[str, float]:
        """See `Engine.neutral_sampling_fields`; llama-server itself would cut at top_k 40 and min_p 0.05."""
        return {
            "top_p": 1,
            "top_k": 0,
            "min_p": 0,
            "repeat_penalty": 1,
            "presence_penalty": 0,
            "frequency_penalty": 0,
            "dry_multiplier": 0,
        }

    def request_drafts(self, message: Mapping[str, Any]) -> RequestDrafts | None:
        """In `timings`, while speculation is on."""
        return drafts_in(message.get("timings") or {}, "draft_n", "draft_n_accepted")

    def drafts_every_step(self, settings: EngineSettings) -> bool | None:
        """Not where a drafter that is unsure may draft less than it is asked to, or nothing.

        Where the model has recurrent layers, llama-server goes back to a checkpoint when tokens of a draft model are
        rejected, and computes the accepted ones once more, in a step without a draft.
        """
        stated = settings.speculation.llama_cpp or LlamaCppSpeculation()
        if not super().drafts_every_step(settings) or stated.p_min_milli or stated.n_min:
            return False
        return None if settings.speculation.method is SpeculationMethod.DRAFT_MODEL else True

    def cached_tokens(self, message: Mapping[str, Any]) -> int | None:
        """In llama-server's own `timings`, else as in `usage`."""
        cached = (message.get("timings") or {}).get("cache_n")
        return cached if isinstance(cached, int) else super().cached_tokens(message)

    def is_quantized(self, told: Mapping[str, Any] | None, model_configuration: Mapping[str, Any] | None) -> bool:
        """By the name of the file's type, such as `Q8_0`."""
        del model_configuration
        file_type = str((told or {}).get("model_ftype", ""))
        return bool(file_type) and not any(name in file_type for name in _FULL_PRECISION)

    def decoded_together(self, told: Mapping[str, Any] | None) -> int | None:
        """Its slots."""
        slots = (told or {}).get("total_slots")
        return slots if isinstance(slots, int) and slots > 0 else None

    async def chat_token_ids(self, post: Post, served_name: str, messages: Messages) -> tuple[int, ...]:
        """As the server itself makes them of a chat."""
        del served_name
        text = (await post("/apply-template", {"messages": messages}))["prompt"]
        answer = await post("/tokenize", {"content": text, "add_special": True, "parse_special": True})
        return tuple(answer["tokens"])

    async def continuation(
        self, post: Post, served_name: str, prompt: Sequence[int], max_tokens: int, salt: str
    ) -> Continuation:
        """From the server's own endpoint, which alone tells the tokens."""
        del served_name
        body = {
            "prompt": list(prompt),
            "n_predict": max_tokens,
            "temperature": 0,
            **self.neutral_sampling_fields(),
            "logit_bias": [],
            "return_tokens": True,
        }
        answer = await post("/completion", {**body, **self.cache_breaking_fields(salt)})
        return Continuation(tuple(answer["tokens"]), answer["content"])

    async def text(self, post: Post, served_name: str, token_ids: Sequence[int]) -> str:
        """By the model's own tokenizer."""
        del served_name
        return str((await post("/detokenize", {"tokens": list(token_ids)}))["content"])

    async def scores(
        self, post: Post, served_name: str, prompt: Sequence[int], output: Sequence[int], positions: Sequence[int]
    ) -> tuple[TokenScore, ...]:
        """One request a position, for a single token: nothing is drafted for that.

        The first request computes everything anew, so that nothing of what was computed under speculation is left;
        each further one in the same slot goes on from there.
        """
        del served_name
        scores = []
        for index, position in enumerate(positions):
            body = {
                "prompt": [*prompt, *output[:position]],
                "n_predict": 1,
                "n_probs": _ALTERNATIVES,
                "temperature": 0,
                "cache_prompt": index > 0,
                "id_slot": 0,
            }
            answer = await post("/completion", body)
            drafted = answer["timings"].get("draft_n", 0)
            if drafted:
                raise ValueError(f"{drafted} tokens were drafted for a request of one token")
            likely = {one["id"]: one["logprob"] for one in answer["completion_probabilities"][0]["top_logprobs"]}
            scores.append(token_score(position, output[position], likely))
        return tuple(scores)


def split_values(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """`--flag=value` as two arguments each: llama-server knows no other form."""
    return tuple(chain.from_iterable(one.split("=", 1) for one in arguments))


def _batches(llama: LlamaCppSettings) -> dict[str, str]:
    """Drafts of all slots are verified together, or a step is cut in two: a cliff that would be blamed on n.

    The same for every n, for prompts are cut by it too.
    """
    width = llama.parallel * (MAX_N_SPEC + 1)
    defaults = {"--batch-size": BATCH_TOKENS, "--ubatch-size": MICRO_BATCH_TOKENS}
    return {flag: str(width) for flag, default in defaults.items() if width > default}


def _projector(settings: EngineSettings, model_path: str) -> dict[str, str]:
    model = settings.model
    return {} if model.mmproj is None else {"--mmproj": projector_path(model_path, model.uri, model.mmproj)}


def _speculation(settings: EngineSettings, n_spec: int, drafter_path: str | None, layers: str) -> dict[str, str]:
    if n_spec == 0:
        return {}
    method = settings.speculation.method
    stated = settings.speculation.llama_cpp or LlamaCppSpeculation()
    if method is SpeculationMethod.N_GRAM:
        return {
            # --spec-draft-n-max means nothing to it.
            "--spec-type": METHODS[method],
            "--spec-ngram-map-k-size-n": str(stated.n_gram_tokens or N_GRAM_LOOKUP_TOKENS),
            "--spec-ngram-map-k-size-m": str(n_spec),
        }
    # The type has to be spelled out: a drafter alone does not turn speculation on.
    flags = {
        "--spec-type": METHODS[method],
        "--spec-draft-n-max": str(n_spec),
        **_drafter_flags(stated),
    }
    if drafter_path is not None:
        if stated.gpu_layers is not None:
            layers = _layers(stated.gpu_layers)
        flags |= {"--spec-draft-model": drafter_path, "--spec-draft-ngl": layers}
    return flags


def _drafter_flags(stated: LlamaCppSpeculation) -> dict[str, str]:
    """The flags of speculation that are the same for every n."""
    flags = {
        "--spec-draft-n-min": stated.n_min,
        "--spec-draft-p-min": stated.p_min_milli and stated.p_min_milli / 1000,
        "--spec-draft-p-split": stated.p_split_milli and stated.p_split_milli / 1000,
        "--spec-draft-type-k": stated.cache_type_k,
        "--spec-draft-type-v": stated.cache_type_v,
    }
    return {flag: str(value) for flag, value in flags.items() if value is not None}


def _layers(count: int) -> str:
    return "all" if count < 0 else str(count)
