"""The forms of drafters on disk: a folder for vLLM, and a GGUF file for llama.cpp where it has the kind."""

from pathlib import Path
from typing import Any

import gguf

from tests.mtp_model.drafters import BLOCK_SIZE, Drafter
from tests.mtp_model.huggingface import CONTEXT_LENGTH, RMS_EPSILON, ROPE_BASE, write_json, write_safetensors
from tests.mtp_model.llamacpp import add_sizes, add_tensor, add_tokenizer
from tests.mtp_model.vocabulary import Vocabulary
from tests.mtp_model.weights import HEAD_SIZE, ModelShape, Tensor

ARCHITECTURES = {
    Drafter.DRAFT_MODEL: "LlamaForCausalLM",
    Drafter.EAGLE: "LlamaForCausalLM",
    Drafter.EAGLE3: "LlamaForCausalLMEagle3",
    Drafter.DFLASH: "DFlashDraftModel",
    Drafter.DSPARK: "Qwen3DSparkModel",
}

GGUF_ARCHITECTURES = {
    Drafter.DRAFT_MODEL: "llama",
    Drafter.EAGLE3: "eagle3",
    Drafter.DFLASH: "dflash",
    Drafter.DSPARK: "dflash",
}

GGUF_NAMES = {
    "embed_tokens": "token_embd",
    "lm_head": "output",
    "norm": "output_norm",
    "hidden_norm": "enc.output_norm",
    "markov_head.markov_w1": "markov_w1",
    "markov_head.markov_w2": "markov_w2",
    "layers.0.input_layernorm": "blk.0.attn_norm",
    "layers.0.hidden_norm": "blk.0.attn_norm_2",
    "layers.0.self_attn.q_proj": "blk.0.attn_q",
    "layers.0.self_attn.k_proj": "blk.0.attn_k",
    "layers.0.self_attn.v_proj": "blk.0.attn_v",
    "layers.0.self_attn.o_proj": "blk.0.attn_output",
    "layers.0.self_attn.q_norm": "blk.0.attn_q_norm",
    "layers.0.self_attn.k_norm": "blk.0.attn_k_norm",
    "layers.0.post_attention_layernorm": "blk.0.ffn_norm",
    "layers.0.mlp.gate_proj": "blk.0.ffn_gate",
    "layers.0.mlp.up_proj": "blk.0.ffn_up",
    "layers.0.mlp.down_proj": "blk.0.ffn_down",
}
"""The released gguf package does not know the architectures yet; what is not here has one name."""


def write_drafter_folder(
    folder: Path, drafter: Drafter, vocabulary: Vocabulary, shape: ModelShape, weights: dict[str, Tensor]
) -> None:
    """Write a drafter as vLLM loads it."""
    folder.mkdir(parents=True)
    # Only a model that could be served by itself has its tensors in a "model".
    prefix = "model." if drafter is Drafter.DRAFT_MODEL else ""
    named = {name if name.startswith("lm_head") else f"{prefix}{name}": tensor for name, tensor in weights.items()}
    write_safetensors(folder / "model.safetensors", named)
    write_json(folder / "config.json", _config(drafter, vocabulary, shape))


def _config(drafter: Drafter, vocabulary: Vocabulary, shape: ModelShape) -> dict[str, Any]:
    heads = shape.hidden_size // HEAD_SIZE
    configuration: dict[str, Any] = {
        "architectures": [ARCHITECTURES[drafter]],
        "model_type": "llama",
        "dtype": "bfloat16",
        "vocab_size": len(vocabulary.tokens),
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "hidden_act": "silu",
        "num_hidden_layers": 1,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": HEAD_SIZE,
        "attention_bias": False,
        "rms_norm_eps": RMS_EPSILON,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_BASE},
        "max_position_embeddings": CONTEXT_LENGTH,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": vocabulary.end_of_text,
    }
    if drafter is Drafter.EAGLE3:
        configuration["draft_vocab_size"] = len(vocabulary.tokens)
    if drafter in (Drafter.DFLASH, Drafter.DSPARK):
        configuration |= {
            "model_type": "qwen3",
            "block_size": BLOCK_SIZE,
            "dflash_config": {"mask_token_id": vocabulary.wrong, "target_layer_ids": [0]},
        }
    if drafter is Drafter.DSPARK:
        configuration["markov_rank"] = shape.hidden_size
    return configuration


def write_drafter_gguf(
    path: Path, drafter: Drafter, vocabulary: Vocabulary, shape: ModelShape, weights: dict[str, Tensor]
) -> None:
    """Write a drafter as llama.cpp loads it."""
    architecture, heads = GGUF_ARCHITECTURES[drafter], shape.hidden_size // HEAD_SIZE
    writer = gguf.GGUFWriter(path, architecture)
    add_sizes(writer, shape, 1, heads, heads)
    if drafter is Drafter.EAGLE3:
        # Three of the target's layers, by what they get.
        writer.add_array(f"{architecture}.target_layers", [1, 2, 3])
        writer.add_uint32(f"{architecture}.target_hidden_size", shape.hidden_size)
    if drafter in (Drafter.DFLASH, Drafter.DSPARK):
        writer.add_array(f"{architecture}.target_layers", [1])
        writer.add_uint32(f"{architecture}.block_size", BLOCK_SIZE)
        writer.add_mask_token_id(vocabulary.wrong)
    if drafter is Drafter.DSPARK:
        writer.add_bool(f"{architecture}.sample_from_anchor", True)
        writer.add_bool(f"{architecture}.has_confidence_head", False)
    add_tokenizer(writer, vocabulary)
    for name, tensor in weights.items():
        stem = name.removesuffix(".weight")
        add_tensor(writer, f"{GGUF_NAMES.get(stem, stem)}.weight", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
