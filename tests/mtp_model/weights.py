"""Tensors that make a Qwen3.5 network do what a `Truth` says.

How it works. A hidden state has two parts, side by side:

    [ code: ±1 ±1 … ±1 | budget: 0 … 0 c 0 … 0 | spent: 0 ]

The *code* is a random sign vector, one for each token: any two are almost orthogonal, so a row of the output matrix
that holds a token's code reads "is it this token?". The *budget* has one place for every draft limit 0 … largest, of
which one is lit; *spent* is the place that means "no draft is right any more".

1. The embedding of a token is its code, with its draft limit lit in the budget.
2. Every layer writes zero into the residual stream: the matrices that do so (`o_proj`, `out_proj`, `down_proj`) are
   zero, all others are noise, so that the layer costs what a layer costs. The target's final hidden state is hence
   the embedding of the last token it has seen.
3. The output row of a token holds the codes of all tokens that it follows: greedy decoding walks from each token to
   its successor.
4. The MTP head combines the embedding of the newest token and the hidden state before it through the matrix `fc`.
   Here `fc` takes the code from the embedding, and the budget from the hidden state *one place lower*; from place 0 it
   falls into *spent*, where it stays. The head shares the output matrix, so its draft is right as long as the budget
   lasts: L steps from a hidden state with limit L.
5. The output row of the wrong token reads *spent*, twice as loud as any code can be.

Why the norms do no harm: with c = sqrt(size of budget and spent) every state has a mean square of exactly 1, so every
RMSNorm on the way is the identity. Signs and ones are exact in bfloat16, too.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.mtp_model.truth import Truth

Tensor = NDArray[np.float32]

HEAD_SIZE = 64
RECURRENT_HEADS = 2
CONVOLUTION_WIDTH = 4
NOISE = 0.02

SUCCESSOR_LOGIT = 16.0
"""The next token's logit. Far above the rest (chance overlaps of codes), far below what bfloat16 would blur."""

WRONG_LOGIT = 2 * SUCCESSOR_LOGIT

SMALLEST_MARGIN = 4.0
"""In logits, between the next token and all others: too much for rounding to change the text."""


@dataclass(frozen=True)
class ModelShape:
    """Sizes, which decide the cost of a step and nothing else.

    Many thin layers: what a step costs then depends little on how many tokens are in it, as on a GPU.

    The first layer is a recurrent one (gated delta net), all others are full attention: llama.cpp serves this
    architecture only if it has both.
    """

    layers: int = 32
    hidden_size: int = 256
    intermediate_size: int = 256
    attention_heads: int = 8
    key_value_heads: int = 2

    def __post_init__(self) -> None:
        if self.layers < 2:
            raise ValueError(f"layers is {self.layers}; the architecture needs at least 2, one of each kind")

    @property
    def layer_types(self) -> list[str]:
        """The kind of every layer of the target, in the words of the Hugging Face configuration."""
        return ["linear_attention", *["full_attention"] * (self.layers - 1)]


@dataclass(frozen=True)
class StateLayout:
    """Where the parts of a hidden state are."""

    hidden_size: int
    largest_limit: int

    @property
    def code_size(self) -> int:
        return self.hidden_size - self.largest_limit - 2

    def budget(self, limit: int) -> int:
        return self.code_size + limit

    @property
    def spent(self) -> int:
        return self.hidden_size - 1

    @property
    def amplitude(self) -> float:
        """Of a lit place: makes the mean square of [signs, one lit place] exactly 1."""
        return float(np.sqrt(self.hidden_size - self.code_size))


def build_weights(truth: Truth, shape: ModelShape, seed: int) -> dict[str, Tensor]:
    """All tensors, by their Hugging Face names; norm weights are stored minus 1, as this architecture does.

    Raises:
        ValueError: the hidden state is too small to tell that many tokens apart.
    """
    rng = np.random.default_rng(seed)
    layout = StateLayout(shape.hidden_size, max(truth.draft_limit))
    if layout.code_size < 1:
        raise ValueError(f"hidden_size is {shape.hidden_size}; {-layout.code_size + 1} more leave room for token codes")
    embedding = _embedding(truth, layout, rng)
    output = _output(truth, layout, embedding[:, : layout.code_size])
    _check_margin(truth, shape, embedding @ output.T)
    identity_norm = np.zeros(shape.hidden_size, np.float32)
    weights = {
        "model.embed_tokens.weight": embedding,
        "model.norm.weight": identity_norm,
        "lm_head.weight": output,
        "mtp.fc.weight": combine(layout),
        "mtp.pre_fc_norm_embedding.weight": identity_norm,
        "mtp.pre_fc_norm_hidden.weight": identity_norm,
        "mtp.norm.weight": identity_norm,
    }
    layers = {kind: _layer(kind, shape, rng) for kind in ("linear_attention", "full_attention")}
    for index, kind in enumerate(shape.layer_types):
        weights |= {f"model.layers.{index}.{name}": tensor for name, tensor in layers[kind].items()}
    return weights | {f"mtp.layers.0.{name}": tensor for name, tensor in layers["full_attention"].items()}


def _embedding(truth: Truth, layout: StateLayout, rng: np.random.Generator) -> Tensor:
    """Step 1: every token's code, and its draft limit lit in the budget."""
    token_count = len(truth.next_token)
    embedding = np.zeros((token_count, layout.hidden_size), np.float32)
    embedding[:, : layout.code_size] = rng.choice(np.array([-1, 1], np.float32), (token_count, layout.code_size))
    embedding[np.arange(token_count), layout.budget(0) + np.array(truth.draft_limit)] = layout.amplitude
    return embedding


def _output(truth: Truth, layout: StateLayout, codes: Tensor) -> Tensor:
    """Steps 3 and 5: every token's row reads the codes of its predecessors; the wrong token's row reads *spent*."""
    output = np.zeros((len(truth.next_token), layout.hidden_size), np.float32)
    np.add.at(output[:, : layout.code_size], np.array(truth.next_token), codes * (SUCCESSOR_LOGIT / layout.code_size))
    output[truth.wrong_token, layout.spent] = WRONG_LOGIT / layout.amplitude
    return output


def combine(layout: StateLayout) -> Tensor:
    """Step 4: `fc`, applied to [embedding of the newest token, hidden state before it]."""
    combine = np.zeros((layout.hidden_size, 2 * layout.hidden_size), np.float32)
    hidden_state = layout.hidden_size
    for place in range(layout.code_size):
        combine[place, place] = 1
    for limit in range(1, layout.largest_limit + 1):
        combine[layout.budget(limit - 1), hidden_state + layout.budget(limit)] = 1
    combine[layout.spent, hidden_state + layout.budget(0)] = 1
    combine[layout.spent, hidden_state + layout.spent] = 1
    return combine


def _check_margin(truth: Truth, shape: ModelShape, logits: Tensor) -> None:
    """Codes overlap by chance; refuse sizes at which an overlap could come near the next token's logit."""
    tokens = np.arange(len(truth.next_token))
    successor = logits[tokens, truth.next_token]
    others = logits.copy()
    others[tokens, truth.next_token] = -np.inf
    margin = float((successor - others.max(axis=1)).min())
    if margin < SMALLEST_MARGIN:
        raise ValueError(
            f"hidden_size is {shape.hidden_size}: the next token's logit leads by {margin:.1f} only, {SMALLEST_MARGIN} "
            f"are needed; take a larger hidden_size or a longer cycle for these {len(tokens)} tokens"
        )


def _layer(kind: str, shape: ModelShape, rng: np.random.Generator) -> dict[str, Tensor]:
    """Step 2: one layer that costs what a layer costs and adds nothing to the residual stream."""

    def noise(*size: int) -> Tensor:
        return rng.standard_normal(size, np.float32) * np.float32(NOISE)

    def zeros(*size: int) -> Tensor:
        return np.zeros(size, np.float32)

    hidden = shape.hidden_size
    layer = {
        "input_layernorm.weight": zeros(hidden),
        "post_attention_layernorm.weight": zeros(hidden),
        "mlp.gate_proj.weight": noise(shape.intermediate_size, hidden),
        "mlp.up_proj.weight": noise(shape.intermediate_size, hidden),
        "mlp.down_proj.weight": zeros(hidden, shape.intermediate_size),
    }
    if kind == "full_attention":
        queries, keys = shape.attention_heads * HEAD_SIZE, shape.key_value_heads * HEAD_SIZE
        return layer | {
            "self_attn.q_proj.weight": noise(2 * queries, hidden),  # every query comes with the gate of its output
            "self_attn.k_proj.weight": noise(keys, hidden),
            "self_attn.v_proj.weight": noise(keys, hidden),
            "self_attn.q_norm.weight": zeros(HEAD_SIZE),
            "self_attn.k_norm.weight": zeros(HEAD_SIZE),
            "self_attn.o_proj.weight": zeros(hidden, queries),
        }
    state = RECURRENT_HEADS * HEAD_SIZE
    return layer | {
        "linear_attn.in_proj_qkv.weight": noise(3 * state, hidden),
        "linear_attn.in_proj_z.weight": noise(state, hidden),
        "linear_attn.in_proj_b.weight": noise(RECURRENT_HEADS, hidden),
        "linear_attn.in_proj_a.weight": noise(RECURRENT_HEADS, hidden),
        "linear_attn.conv1d.weight": noise(3 * state, 1, CONVOLUTION_WIDTH),
        "linear_attn.A_log": zeros(RECURRENT_HEADS),
        "linear_attn.dt_bias": zeros(RECURRENT_HEADS),
        "linear_attn.norm.weight": zeros(HEAD_SIZE) + 1,  # the one norm that is not stored minus 1
        "linear_attn.out_proj.weight": zeros(hidden, state),
    }
