"""Drafters that are checkpoints of their own, for the same target: what they draft is known as well.

All of them have one layer, and share the target's codes and budgets (see `weights`). By kind:

* DRAFT_MODEL: a Llama model that walks the same cycle, but is wrong after each token whose draft limit is 0.
* EAGLE: combines and drafts as the MTP head does.
* EAGLE3: the same, but its layer has to bring the newest token's code into the hidden state: by an attention in which
  each token sees itself alone, since no other token has its code.
* DFLASH: drafts a block at once. Attention copies the last token into all places of the block, so that the first draft
  is right unless that token's draft limit is 0, and the others never are.
* DSPARK: the same block, with a head that adds to each place's logits what follows the token before it.
"""

from enum import StrEnum

import numpy as np

from tests.mtp_model.truth import Truth
from tests.mtp_model.weights import HEAD_SIZE, NOISE, WRONG_LOGIT, ModelShape, StateLayout, Tensor, combine

BLOCK_SIZE = 8
"""Places of a block, the last token's own among them."""

SHARPNESS = 2.0
"""Of queries and keys: scores then differ by 32, so that attention is on one token alone."""

SLOWEST_PAIR = (HEAD_SIZE // 2 - 1, HEAD_SIZE - 1)
"""The places of a head that rotary positions turn least."""


class Drafter(StrEnum):
    """The kinds; the value is what their files are called."""

    DRAFT_MODEL = "draft-model"
    EAGLE = "eagle"
    EAGLE3 = "eagle3"
    DFLASH = "dflash"
    DSPARK = "dspark"


def build_drafter(drafter: Drafter, truth: Truth, shape: ModelShape, target: dict[str, Tensor]) -> dict[str, Tensor]:
    """All tensors of a drafter, by the names that its Hugging Face checkpoints have without "model." before them.

    Args:
        drafter: the kind.
        truth: of the target.
        shape: of the target.
        target: its tensors.

    Raises:
        ValueError: the hidden state cannot be dealt out to whole heads.
    """
    if shape.hidden_size % HEAD_SIZE:
        raise ValueError(f"hidden_size is {shape.hidden_size}; drafters need a multiple of {HEAD_SIZE}")
    layout = StateLayout(shape.hidden_size, max(truth.draft_limit))
    hidden = shape.hidden_size
    norm = np.ones(hidden, np.float32)
    embedding = target["model.embed_tokens.weight"]
    wrong_at_once = target["lm_head.weight"].copy()
    wrong_at_once[truth.wrong_token, layout.budget(0)] = WRONG_LOGIT / layout.amplitude
    match drafter:
        case Drafter.DRAFT_MODEL:
            return {
                "embed_tokens.weight": embedding,
                **_layer(shape),
                "norm.weight": norm,
                "lm_head.weight": wrong_at_once,
            }
        case Drafter.EAGLE:
            # Its layer's input is not normed.
            layer = {name: tensor for name, tensor in _layer(shape).items() if "input_layernorm" not in name}
            return {"fc.weight": combine(layout), **layer}
        case Drafter.EAGLE3:
            return {
                # The target's three hidden states are one and the same.
                "fc.weight": np.hstack([np.eye(hidden, dtype=np.float32), np.zeros((hidden, 2 * hidden), np.float32)]),
                **_layer(shape),
                **_self_attention(layout),
                "layers.0.hidden_norm.weight": norm,
                "norm.weight": norm,
                "lm_head.weight": target["lm_head.weight"],
            }
        case Drafter.DFLASH | Drafter.DSPARK:
            block = {
                # Nothing of the target's hidden states is needed: nobody can look at zeros.
                "fc.weight": np.zeros((hidden, hidden), np.float32),
                "hidden_norm.weight": norm,
                **_layer(shape),
                "layers.0.self_attn.q_norm.weight": np.full(HEAD_SIZE, SHARPNESS, np.float32),
                "layers.0.self_attn.k_norm.weight": np.full(HEAD_SIZE, SHARPNESS, np.float32),
                "norm.weight": norm,
                "lm_head.weight": wrong_at_once,
            }
            if drafter is Drafter.DFLASH:
                return {**block, **_copy_of_last_token(layout, embedding[truth.wrong_token])}
            return {
                **block,
                "markov_head.markov_w1.weight": embedding,
                # Louder than what the places say by themselves.
                "markov_head.markov_w2.weight": 2 * wrong_at_once,
            }


def _layer(shape: ModelShape) -> dict[str, Tensor]:
    """A layer that adds nothing to the residual stream; there are as many heads as it takes to hold that."""
    hidden, inner = shape.hidden_size, shape.intermediate_size
    noise = np.random.default_rng(0).standard_normal((inner, hidden), np.float32) * np.float32(NOISE)
    square = np.zeros((hidden, hidden), np.float32)
    tensors = {
        "input_layernorm.weight": np.ones(hidden, np.float32),
        "post_attention_layernorm.weight": np.ones(hidden, np.float32),
        **{f"self_attn.{name}_proj.weight": square for name in ("q", "k", "v", "o")},
        "mlp.gate_proj.weight": noise,
        "mlp.up_proj.weight": noise,
        "mlp.down_proj.weight": np.zeros((hidden, inner), np.float32),
    }
    return {f"layers.0.{name}": tensor for name, tensor in tensors.items()}


def _self_attention(layout: StateLayout) -> dict[str, Tensor]:
    """Reads [embedding of the newest token, hidden state before it]; adds what makes that what `combine` answers."""
    hidden = layout.hidden_size
    query = np.zeros((hidden, 2 * hidden), np.float32)
    rows = np.arange(hidden)
    query[rows, rows % HEAD_SIZE] = SHARPNESS
    difference = combine(layout)
    difference[:, hidden:] -= np.eye(hidden, dtype=np.float32)
    return _attention(query, query, difference)


def _copy_of_last_token(layout: StateLayout, mask: Tensor) -> dict[str, Tensor]:
    """Makes each masked place's state that of the one token in the block which is not masked."""
    hidden = layout.hidden_size
    is_token = np.zeros(hidden, np.float32)
    is_token[layout.code_size :] = 1 / layout.amplitude
    is_mask = np.concatenate([mask[: layout.code_size], np.zeros(hidden - layout.code_size, np.float32)])
    is_mask /= layout.code_size
    slow = np.zeros(hidden, np.float32)
    for place in SLOWEST_PAIR:
        slow[place::HEAD_SIZE] = 1
    return _attention(
        np.outer(slow, is_mask),
        np.outer(slow, is_token - 2 * is_mask),
        np.eye(hidden, dtype=np.float32) - np.outer(mask, is_token),
    )


def _attention(query: Tensor, key: Tensor, value: Tensor) -> dict[str, Tensor]:
    output = np.eye(len(value), dtype=np.float32)
    tensors = {"q": query, "k": key, "v": value, "o": output}
    return {f"layers.0.self_attn.{name}_proj.weight": tensor.astype(np.float32) for name, tensor in tensors.items()}
