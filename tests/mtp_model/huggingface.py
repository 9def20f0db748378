"""The form that vLLM and transformers load: safetensors and JSON."""

import json
from pathlib import Path
from typing import Any

import gguf
from safetensors import TensorSpec, serialize_file

from tests.mtp_model.vocabulary import END_OF_TEXT, Vocabulary
from tests.mtp_model.weights import CONVOLUTION_WIDTH, HEAD_SIZE, RECURRENT_HEADS, ModelShape, Tensor

CONTEXT_LENGTH = 4096
ROPE_BASE = 10000.0
RMS_EPSILON = 1e-6

CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"


def write_huggingface(folder: Path, vocabulary: Vocabulary, shape: ModelShape, weights: dict[str, Tensor]) -> None:
    """Write the model, its configuration and its tokenizer into a folder."""
    write_safetensors(folder / "model.safetensors", weights)
    vocabulary.tokenizer().save(str(folder / "tokenizer.json"))
    end_of_text = vocabulary.end_of_text
    write_json(folder / "config.json", _config(shape, len(vocabulary.tokens), end_of_text))
    write_json(folder / "generation_config.json", {"eos_token_id": end_of_text, "do_sample": False})
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": None,
            "eos_token": END_OF_TEXT,
            "model_max_length": CONTEXT_LENGTH,
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
        },
    )


def _config(shape: ModelShape, vocabulary_size: int, end_of_text: int) -> dict[str, Any]:
    return {
        "architectures": ["Qwen3_5ForCausalLM"],
        "model_type": "qwen3_5_text",
        "dtype": "bfloat16",
        "vocab_size": vocabulary_size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "hidden_act": "silu",
        "num_hidden_layers": shape.layers,
        "layer_types": shape.layer_types,
        "mtp_num_hidden_layers": 1,
        "num_attention_heads": shape.attention_heads,
        "num_key_value_heads": shape.key_value_heads,
        "head_dim": HEAD_SIZE,
        "attention_bias": False,
        "attn_output_gate": True,
        "linear_num_key_heads": RECURRENT_HEADS,
        "linear_num_value_heads": RECURRENT_HEADS,
        "linear_key_head_dim": HEAD_SIZE,
        "linear_value_head_dim": HEAD_SIZE,
        "linear_conv_kernel_dim": CONVOLUTION_WIDTH,
        "rms_norm_eps": RMS_EPSILON,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_BASE, "partial_rotary_factor": 1.0},
        "max_position_embeddings": CONTEXT_LENGTH,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": end_of_text,
        "pad_token_id": end_of_text,
    }


def write_safetensors(path: Path, weights: dict[str, Tensor]) -> None:
    """Write all tensors as bfloat16, which numpy does not have: safetensors takes the bytes, the names make sense."""
    rounded = {name: gguf.quants.quantize(tensor, gguf.GGMLQuantizationType.BF16) for name, tensor in weights.items()}
    specs = {
        name: TensorSpec(dtype="bfloat16", shape=weights[name].shape, data_ptr=data.ctypes.data, data_len=data.nbytes)
        for name, data in rounded.items()
    }
    serialize_file(specs, path, metadata={"format": "pt"})


def write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n")
