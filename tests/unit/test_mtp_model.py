"""The model with known acceptance, checked by running it: a plain forward pass over the files that engines load."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import deserialize
from tokenizers import Tokenizer

from tests.mtp_model import ModelShape, Truth, expected_continuation, read_truth, simulate, write_model
from tests.mtp_model import folder as folder_module
from tests.mtp_model.truth import design_truth
from tests.mtp_model.vocabulary import Vocabulary
from tests.mtp_model.weights import build_weights

Tensors = dict[str, NDArray[np.float32]]

ACCEPTANCE = (0.9, 0.8, 0.6)
SHAPE = ModelShape(layers=2, hidden_size=320, intermediate_size=32, attention_heads=1, key_value_heads=1)
WORDS = 200


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    write_model(folder, ACCEPTANCE, SHAPE, WORDS)
    return folder


@pytest.fixture(scope="module")
def truth(model: Path) -> Truth:
    return read_truth(model / "truth.json")


@pytest.fixture(scope="module")
def tensors(model: Path) -> Tensors:
    """The safetensors file as float32. A bfloat16 is the upper half of a float32."""
    loaded = {}
    for name, entry in deserialize((model / "model.safetensors").read_bytes()):  # type: ignore[no-untyped-call]
        assert entry["dtype"] == "BF16"
        halves = np.frombuffer(entry["data"], np.uint16).astype(np.uint32)
        loaded[name] = (halves << 16).view(np.float32).reshape(entry["shape"])
    return loaded


@pytest.fixture(scope="module")
def tokenizer(model: Path) -> Tokenizer:
    return Tokenizer.from_file(str(model / "tokenizer.json"))


def rms_norm(states: NDArray[np.float32], stored_weight: NDArray[np.float32]) -> NDArray[np.float32]:
    normed = states / np.sqrt(np.mean(states**2, axis=-1, keepdims=True) + 1e-6)
    return np.asarray(normed * (1 + stored_weight), np.float32)


def target_states(tensors: Tensors, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """The target's final hidden states, given that its layers add nothing (which a test of its own shows)."""
    return rms_norm(tensors["model.embed_tokens.weight"][tokens], tensors["model.norm.weight"])


def mtp_states(tensors: Tensors, states: NDArray[np.float32], newest: NDArray[np.int64]) -> NDArray[np.float32]:
    """One step of the MTP head: the states after it, given those before it and the newest tokens."""
    embedding = rms_norm(tensors["model.embed_tokens.weight"][newest], tensors["mtp.pre_fc_norm_embedding.weight"])
    hidden = rms_norm(states, tensors["mtp.pre_fc_norm_hidden.weight"])
    combined = np.concatenate([embedding, hidden], axis=-1) @ tensors["mtp.fc.weight"].T
    return rms_norm(combined, tensors["mtp.norm.weight"])


def most_likely(tensors: Tensors, states: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.asarray((states @ tensors["lm_head.weight"].T).argmax(axis=-1))


def right_drafts(tensors: Tensors, last_seen: NDArray[np.int64], steps: int) -> NDArray[np.int64]:
    """For every token: how many of the drafts made after it agree with the target, up to the first error."""
    states = target_states(tensors, last_seen)
    newest = most_likely(tensors, states)
    right, all_right = np.zeros(len(last_seen), np.int64), np.ones(len(last_seen), bool)
    for _ in range(steps):
        states = mtp_states(tensors, states, newest)
        draft = most_likely(tensors, states)
        all_right &= draft == most_likely(tensors, target_states(tensors, newest))
        right += all_right
        newest = draft
    return right


def words_of(truth: Truth) -> list[int]:
    """The cycle, from wherever the first token enters it."""
    return expected_continuation(truth, [0], WORDS)


def test_no_layer_adds_to_the_residual_stream(tensors: Tensors) -> None:
    blocks = ["model.layers.0.", "model.layers.1.", "mtp.layers.0."]
    writes = {name: np.abs(tensor).max() for name, tensor in tensors.items() if re.search(r"(o|out|down)_proj", name)}

    assert len(writes) == 2 * len(blocks)
    assert all(sum(name.startswith(block) for name in writes) == 2 for block in blocks)
    assert set(writes.values()) == {0}


def test_the_target_says_the_expected_next_token_after_every_token(tensors: Tensors, truth: Truth) -> None:
    tokens = np.arange(len(truth.next_token))

    said = most_likely(tensors, target_states(tensors, tokens))

    assert said.tolist() == list(truth.next_token)


def test_the_greedy_text_is_one_cycle_of_all_words_and_never_ends(truth: Truth, tokenizer: Tokenizer) -> None:
    cycle = words_of(truth)

    assert len(set(cycle)) == WORDS
    assert expected_continuation(truth, [0], 2 * WORDS) == cycle + cycle
    assert tokenizer.token_to_id("<|endoftext|>") not in truth.next_token
    assert truth.wrong_token not in truth.next_token


def test_the_mtp_head_is_right_for_exactly_the_draft_limit(tensors: Tensors, truth: Truth) -> None:
    tokens = np.arange(len(truth.next_token))

    right = right_drafts(tensors, tokens, steps=len(ACCEPTANCE) + 3)

    assert right.tolist() == list(truth.draft_limit)


def test_the_stated_acceptance_is_that_of_the_network(tensors: Tensors, truth: Truth) -> None:
    right = right_drafts(tensors, np.array(words_of(truth)), steps=6)

    assert truth.acceptance_per_position == pytest.approx(ACCEPTANCE)
    for position in range(1, 7):
        assert truth.acceptance(position) == pytest.approx(np.mean(right >= position))


@pytest.mark.parametrize("acceptance", [(0.97, 0.96), (0.92, 0.86, 0.80), (1.0, 0.05)])
def test_models_of_the_default_size_do_what_they_should(acceptance: tuple[float, ...]) -> None:
    truth = design_truth(Vocabulary(400), acceptance, seed=1)
    tensors = build_weights(truth, ModelShape(layers=2, intermediate_size=64), seed=1)
    tokens = np.arange(len(truth.next_token))

    assert most_likely(tensors, target_states(tensors, tokens)).tolist() == list(truth.next_token)
    assert right_drafts(tensors, tokens, steps=8).tolist() == list(truth.draft_limit)
    assert truth.acceptance_per_position == pytest.approx(acceptance, abs=0.5 / 400)


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_every_lap_at_every_n_has_about_the_stated_acceptance(n: int) -> None:
    truth = design_truth(Vocabulary(400), ACCEPTANCE, seed=0)

    for start in expected_continuation(truth, [0], 10):
        drafts, accepted = simulate(truth, n, start, tokens=401)

        assert [count / drafts for count in accepted] == pytest.approx(
            [truth.acceptance(position) for position in range(1, n + 1)], abs=0.03
        )


TOY = Truth(acceptance_per_position=(0.5, 0.25), next_token=(1, 2, 3, 0), draft_limit=(2, 0, 1, 0), wrong_token=9)


@pytest.mark.parametrize(
    ("n", "start", "tokens", "drafts_past_end", "expected"),
    [
        (0, 0, 5, True, (0, [])),
        (3, 0, 1, True, (0, [0, 0, 0])),
        (1, 0, 5, True, (2, [2])),  # 0 accepts one of its two, then 2 accepts its one
        (3, 0, 5, True, (2, [1, 1, 0])),  # 0 accepts two, 3 none
        (3, 1, 4, True, (2, [1, 0, 0])),  # 1 accepts none, 2 one
        (3, 0, 3, True, (1, [1, 1, 0])),  # the request ends within the draft, which counts in full
        (3, 0, 3, False, (1, [1, 0, 0])),  # the draft is as short as what is left
        (3, 0, 2, False, (0, [0, 0, 0])),  # one token is left: the target says it without a draft
    ],
)
def test_simulate_counts_drafts_and_what_is_accepted(
    n: int, start: int, tokens: int, drafts_past_end: bool, expected: tuple[int, list[int]]
) -> None:
    assert simulate(TOY, n, start, tokens, drafts_past_end=drafts_past_end) == expected


def test_generated_text_splits_into_the_generated_tokens_again(truth: Truth, tokenizer: Tokenizer) -> None:
    tokens = expected_continuation(truth, tokenizer.encode("def f(x):\n    return 12").ids, 3 * WORDS)

    assert tokenizer.encode(tokenizer.decode(tokens)).ids == tokens


@pytest.mark.parametrize(
    "text", ["def f(x):\n    return x + 12", "Où est la bibliothèque? 漢字 🙂", " a  b\t\r\n\n", ""]
)
def test_any_prompt_survives_the_tokenizer(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def gguf_tensors(model: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for tensor in gguf.GGUFReader(model / "model.gguf").tensors:
        yield tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type)


def test_gguf_has_the_same_numbers_as_safetensors(model: Path, tensors: Tensors) -> None:
    in_gguf = dict(gguf_tensors(model))
    same = {
        "token_embd.weight": "model.embed_tokens.weight",
        "output.weight": "lm_head.weight",
        "blk.0.attn_qkv.weight": "model.layers.0.linear_attn.in_proj_qkv.weight",
        "blk.0.attn_gate.weight": "model.layers.0.linear_attn.in_proj_z.weight",
        "blk.0.ssm_alpha.weight": "model.layers.0.linear_attn.in_proj_a.weight",
        "blk.0.ssm_beta.weight": "model.layers.0.linear_attn.in_proj_b.weight",
        "blk.0.ssm_dt.bias": "model.layers.0.linear_attn.dt_bias",
        "blk.0.ssm_norm.weight": "model.layers.0.linear_attn.norm.weight",
        "blk.0.ssm_out.weight": "model.layers.0.linear_attn.out_proj.weight",
        "blk.1.attn_q.weight": "model.layers.1.self_attn.q_proj.weight",
        "blk.1.attn_k.weight": "model.layers.1.self_attn.k_proj.weight",
        "blk.1.attn_v.weight": "model.layers.1.self_attn.v_proj.weight",
        "blk.1.attn_output.weight": "model.layers.1.self_attn.o_proj.weight",
        "blk.1.ffn_gate.weight": "model.layers.1.mlp.gate_proj.weight",
        "blk.1.ffn_up.weight": "model.layers.1.mlp.up_proj.weight",
        "blk.1.ffn_down.weight": "model.layers.1.mlp.down_proj.weight",
        "blk.2.attn_q.weight": "mtp.layers.0.self_attn.q_proj.weight",
        "blk.2.nextn.eh_proj.weight": "mtp.fc.weight",
    }
    plus_one = {
        "output_norm.weight": "model.norm.weight",
        "blk.0.attn_norm.weight": "model.layers.0.input_layernorm.weight",
        "blk.1.post_attention_norm.weight": "model.layers.1.post_attention_layernorm.weight",
        "blk.1.attn_q_norm.weight": "model.layers.1.self_attn.q_norm.weight",
        "blk.1.attn_k_norm.weight": "model.layers.1.self_attn.k_norm.weight",
        "blk.2.nextn.enorm.weight": "mtp.pre_fc_norm_embedding.weight",
        "blk.2.nextn.hnorm.weight": "mtp.pre_fc_norm_hidden.weight",
        "blk.2.nextn.shared_head_norm.weight": "mtp.norm.weight",
    }

    assert len(in_gguf) == len(tensors)
    for name, source in same.items():
        expected = tensors[source]
        # 32 numbers share a scale of their largest / 127, and are rounded to a whole number of it.
        rounding = np.abs(expected).max() / 127 if expected.ndim > 1 else 0
        np.testing.assert_allclose(in_gguf[name], expected, atol=rounding, rtol=0, err_msg=name)
    for name, source in plus_one.items():
        np.testing.assert_array_equal(in_gguf[name], tensors[source] + 1, err_msg=name)
    np.testing.assert_array_equal(in_gguf["blk.0.ssm_a"], -np.exp(tensors["model.layers.0.linear_attn.A_log"]))
    convolution = tensors["model.layers.0.linear_attn.conv1d.weight"].squeeze()
    np.testing.assert_allclose(in_gguf["blk.0.ssm_conv1d.weight"], convolution, rtol=2**-8)  # not rounded in GGUF


def test_gguf_describes_the_model(model: Path, tokenizer: Tokenizer) -> None:
    fields = {name: field.contents() for name, field in gguf.GGUFReader(model / "model.gguf").fields.items()}

    assert fields["general.architecture"] == "qwen35"
    assert fields["qwen35.block_count"] == 3
    assert fields["qwen35.nextn_predict_layers"] == 1
    assert fields["qwen35.attention.recurrent_layers"] == [True, False, False]
    assert fields["qwen35.embedding_length"] == 320
    assert fields["tokenizer.ggml.pre"] == "qwen2"
    assert fields["tokenizer.ggml.tokens"] == [
        tokenizer.id_to_token(index) for index in range(tokenizer.get_vocab_size())
    ]
    assert fields["tokenizer.ggml.eos_token_id"] == tokenizer.token_to_id("<|endoftext|>")
    assert "message['content']" in fields["tokenizer.chat_template"]


def test_the_hugging_face_configuration_fits_the_tensors(model: Path, tensors: Tensors) -> None:
    config: dict[str, Any] = json.loads((model / "config.json").read_text())

    assert config["architectures"] == ["Qwen3_5ForCausalLM"]
    assert config["layer_types"] == ["linear_attention", "full_attention"]
    assert config["num_hidden_layers"] == len(config["layer_types"])
    assert config["mtp_num_hidden_layers"] == 1
    assert tensors["lm_head.weight"].shape == (config["vocab_size"], config["hidden_size"])
    assert tensors["mtp.fc.weight"].shape == (config["hidden_size"], 2 * config["hidden_size"])


def digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def test_the_same_options_give_the_same_bytes(model: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "again", ACCEPTANCE, SHAPE, WORDS)
    write_model(tmp_path / "other", ACCEPTANCE, SHAPE, WORDS, seed=1)

    first, again, other = digests(model), digests(tmp_path / "again"), digests(tmp_path / "other")
    assert first.keys() == {
        *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
        *("model.safetensors", "model.gguf", "truth.json"),
    }
    assert again == first
    assert all(other[name] != first[name] for name in ("model.safetensors", "model.gguf", "truth.json"))


def test_engines_running_as_another_user_can_read_the_files(model: Path) -> None:
    assert model.stat().st_mode & 0o005 == 0o005
    assert all(file.stat().st_mode & 0o004 for file in model.iterdir())


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(folder_module, "write_truth", interrupt)

    with pytest.raises(KeyboardInterrupt):
        write_model(tmp_path / "model", ACCEPTANCE, SHAPE, WORDS)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="exists already"):
        write_model(tmp_path, ACCEPTANCE, SHAPE, WORDS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"acceptance_per_position": ()}, "acceptance_per_position is .*at least one"),
        ({"acceptance_per_position": (0.5, 0.6)}, "acceptance_per_position is .*larger than the one before"),
        ({"acceptance_per_position": (1.2,)}, "acceptance_per_position is .*between 0 and 1"),
        ({"acceptance_per_position": (float("nan"),)}, "acceptance_per_position is .*between 0 and 1"),
        ({"word_count": 1}, "word_count is 1; .*2 to 676"),
        ({"word_count": 677}, "word_count is 677; .*2 to 676"),
        ({"shape": ModelShape(hidden_size=4)}, "hidden_size is 4; 1 more"),
        ({"shape": ModelShape(hidden_size=32)}, "hidden_size is 32: .*larger hidden_size"),
    ],
)
def test_what_cannot_be_made_is_refused(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        write_model(tmp_path / "model", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_model_has_both_kinds_of_layers() -> None:
    with pytest.raises(ValueError, match=r"layers is 1; .*at least 2"):
        ModelShape(layers=1)
