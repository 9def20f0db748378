"""The form that llama.cpp loads: one GGUF file, with the numbers of the safetensors file in 32 bits."""

from pathlib import Path

import gguf
import numpy as np

from tests.mtp_model.huggingface import CHAT_TEMPLATE, CONTEXT_LENGTH, RMS_EPSILON, ROPE_BASE
from tests.mtp_model.vocabulary import Vocabulary
from tests.mtp_model.weights import CONVOLUTION_WIDTH, HEAD_SIZE, RECURRENT_HEADS, ModelShape, Tensor

ARCHITECTURE = gguf.MODEL_ARCH.QWEN35

RECURRENT_LAYERS_KEY = f"{gguf.MODEL_ARCH_NAMES[ARCHITECTURE]}.attention.recurrent_layers"
"""The released gguf package has no method for it yet."""

# Rotary pairs for time, height, width and nothing, as in the published models; text has the same position in all.
ROPE_SECTIONS = [11, 11, 10, 0]

# The parts of the MTP head beside its layer. In GGUF the head is one more block after the target's.
MTP_TENSORS = {
    "mtp.fc": gguf.MODEL_TENSOR.NEXTN_EH_PROJ,
    "mtp.pre_fc_norm_embedding": gguf.MODEL_TENSOR.NEXTN_ENORM,
    "mtp.pre_fc_norm_hidden": gguf.MODEL_TENSOR.NEXTN_HNORM,
    "mtp.norm": gguf.MODEL_TENSOR.NEXTN_SHARED_HEAD_NORM,
}


def write_gguf(path: Path, vocabulary: Vocabulary, shape: ModelShape, weights: dict[str, Tensor]) -> None:
    """Write the model with its tokenizer and chat template into one file."""
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[ARCHITECTURE])
    _add_architecture(writer, shape)
    add_tokenizer(writer, vocabulary)
    for name, tensor in weights.items():
        add_tensor(writer, gguf_name(name, shape.layers), gguf_values(name, tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_name(name: str, layers: int) -> str:
    """The GGUF name of a tensor, given its Hugging Face name and the number of the target's layers."""
    stem, _, suffix = name.rpartition(".") if name.endswith((".weight", ".bias")) else (name, "", "")
    if stem in MTP_TENSORS:
        return f"{gguf.TENSOR_NAMES[MTP_TENSORS[stem]].format(bid=layers)}.weight"
    in_target = name.replace("mtp.layers.0.", f"model.layers.{layers}.").replace(".dt_bias", ".dt_proj.bias")
    known = gguf.get_tensor_name_map(ARCHITECTURE, layers + 1).get_name(in_target, try_suffixes=(".weight", ".bias"))
    if known is None:
        raise ValueError(f"tensor {name!r} ({suffix or 'no suffix'}) has no GGUF name")
    return str(known)


def gguf_values(name: str, tensor: Tensor) -> Tensor:
    """The values that llama.cpp wants: norms as they are applied, the decay rate itself, no axis of size 1."""
    if "norm" in name and "linear_attn" not in name:
        return tensor + 1
    if name.endswith("A_log"):
        return -np.exp(tensor)
    return tensor.squeeze()


def _add_architecture(writer: gguf.GGUFWriter, shape: ModelShape) -> None:
    add_sizes(writer, shape, shape.layers + 1, shape.attention_heads, shape.key_value_heads)
    writer.add_name("known-acceptance")
    writer.add_nextn_predict_layers(1)
    writer.add_array(RECURRENT_LAYERS_KEY, [kind == "linear_attention" for kind in shape.layer_types] + [False])
    writer.add_rope_dimension_sections(ROPE_SECTIONS)
    writer.add_ssm_conv_kernel(CONVOLUTION_WIDTH)
    writer.add_ssm_state_size(HEAD_SIZE)
    writer.add_ssm_group_count(RECURRENT_HEADS)
    writer.add_ssm_time_step_rank(RECURRENT_HEADS)
    writer.add_ssm_inner_size(RECURRENT_HEADS * HEAD_SIZE)


def add_sizes(writer: gguf.GGUFWriter, shape: ModelShape, blocks: int, heads: int, key_value_heads: int) -> None:
    """The sizes that every architecture of a language model has in its file."""
    writer.add_type("model")
    writer.add_block_count(blocks)
    writer.add_context_length(CONTEXT_LENGTH)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_layer_norm_rms_eps(RMS_EPSILON)
    writer.add_head_count(heads)
    writer.add_head_count_kv(key_value_heads)
    writer.add_key_length(HEAD_SIZE)
    writer.add_value_length(HEAD_SIZE)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_rope_dimension_count(HEAD_SIZE)


def add_tokenizer(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    special = set(vocabulary.special)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(
        [
            gguf.TokenType.CONTROL if index in special else gguf.TokenType.NORMAL
            for index in range(len(vocabulary.tokens))
        ]
    )
    writer.add_token_merges([" ".join(merge) for merge in vocabulary.merges])
    writer.add_eos_token_id(vocabulary.end_of_text)
    writer.add_pad_token_id(vocabulary.end_of_text)
    writer.add_chat_template(CHAT_TEMPLATE)


def add_tensor(writer: gguf.GGUFWriter, name: str, values: Tensor) -> None:
    """Every number in float32.

    On a CPU a step then waits for the memory that the weights come from, as on a GPU, so that more tokens in it cost
    little. With 8 bits it waits for the arithmetic, and speculation hardly pays; kernels for 16 bits are fast on some
    CPUs and for some numbers of tokens only: the best n would be theirs and not the model's.
    """
    writer.add_tensor(name, np.ascontiguousarray(values))
