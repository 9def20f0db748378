"""The drafters of the model with known acceptance, checked by what their matrices do; engines run them end to end."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.mtp_model import ModelShape, Truth, write_model
from tests.mtp_model.drafter_files import GGUF_ARCHITECTURES
from tests.mtp_model.drafters import Drafter, build_drafter
from tests.mtp_model.truth import design_truth
from tests.mtp_model.vocabulary import Vocabulary
from tests.mtp_model.weights import HEAD_SIZE, Tensor, build_weights

SHAPE = ModelShape(layers=4, hidden_size=256, intermediate_size=32)
VOCABULARY = Vocabulary(200)
TRUTH: Truth = design_truth(VOCABULARY, (0.9, 0.6), seed=0)
TARGET = build_weights(TRUTH, SHAPE, seed=0)
EMBEDDING, OUTPUT = TARGET["model.embed_tokens.weight"], TARGET["lm_head.weight"]
LIMITS, NEXT = np.array(TRUTH.draft_limit), np.array(TRUTH.next_token)
LIMITED = np.where(LIMITS > 0, NEXT, TRUTH.wrong_token)
"""What is drafted by those who are wrong after tokens of limit 0."""


def built(drafter: Drafter) -> dict[str, Tensor]:
    return build_drafter(drafter, TRUTH, SHAPE, TARGET)


def projected(tensors: dict[str, Tensor], name: str, states: Tensor) -> Tensor:
    return states @ tensors[f"layers.0.self_attn.{name}_proj.weight"].T


def test_a_draft_model_is_wrong_after_tokens_of_limit_0_alone() -> None:
    tensors = built(Drafter.DRAFT_MODEL)

    assert np.array_equal((tensors["embed_tokens.weight"] @ tensors["lm_head.weight"].T).argmax(axis=1), LIMITED)


def test_an_eagle_head_combines_as_the_mtp_head_does() -> None:
    tensors = built(Drafter.EAGLE)

    assert np.array_equal(tensors["fc.weight"], TARGET["mtp.fc.weight"])
    assert "layers.0.input_layernorm.weight" not in tensors


def test_an_eagle3_head_comes_to_what_the_mtp_head_combines() -> None:
    tensors = built(Drafter.EAGLE3)
    newest, state = EMBEDDING[NEXT], EMBEDDING
    both = np.hstack([newest, state])

    added = projected(tensors, "o", projected(tensors, "v", both))

    assert np.array_equal(np.hstack([state] * 3) @ tensors["fc.weight"].T, state)
    assert np.allclose(state + added, both @ TARGET["mtp.fc.weight"].T)


def test_an_eagle3_head_sees_its_own_token_alone() -> None:
    tensors = built(Drafter.EAGLE3)
    both = np.hstack([EMBEDDING, EMBEDDING])
    query, key = projected(tensors, "q", both), projected(tensors, "k", both)

    for head in range(0, SHAPE.hidden_size, HEAD_SIZE):
        scores = query[:, head : head + HEAD_SIZE] @ key[:, head : head + HEAD_SIZE].T / np.sqrt(HEAD_SIZE)
        own = scores.diagonal().copy()
        np.fill_diagonal(scores, -np.inf)
        assert (own - scores.max(axis=1)).min() > 5


def test_a_dflash_drafter_copies_the_last_token_into_masked_places() -> None:
    tensors = built(Drafter.DFLASH)
    mask = EMBEDDING[TRUTH.wrong_token]
    words = EMBEDDING[VOCABULARY.words]

    state = mask + projected(tensors, "o", projected(tensors, "v", words))
    attention = projected(tensors, "k", words) @ projected(tensors, "q", mask)

    assert np.allclose(state, words)
    assert attention.min() > 0 > projected(tensors, "k", mask) @ projected(tensors, "q", mask)
    assert np.array_equal((words @ tensors["lm_head.weight"].T).argmax(axis=1), LIMITED[VOCABULARY.words])


def test_a_dspark_drafter_follows_the_token_before_each_place() -> None:
    tensors = built(Drafter.DSPARK)
    said_by_place = EMBEDDING[TRUTH.wrong_token] @ tensors["lm_head.weight"].T

    after = tensors["markov_head.markov_w1.weight"] @ tensors["markov_head.markov_w2.weight"].T

    words = np.array(VOCABULARY.words)
    assert np.array_equal((said_by_place + after)[words].argmax(axis=1), LIMITED[words])


def test_drafters_are_written_beside_the_model(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_model(folder, shape=SHAPE, word_count=200, drafters=True)

    assert {path.name for path in (folder / "drafters").iterdir()} == set(Drafter)
    for drafter in Drafter:
        configuration = json.loads((folder / "drafters" / drafter / "config.json").read_text())
        assert configuration["num_attention_heads"] * configuration["head_dim"] == SHAPE.hidden_size
    assert {path.stem for path in folder.glob("*.gguf")} == {"model", *GGUF_ARCHITECTURES}
    assert all(path.stat().st_mode & 0o004 for path in folder.rglob("*"))


def test_a_state_that_is_no_whole_number_of_heads_is_refused() -> None:
    with pytest.raises(ValueError, match="hidden_size is 300; drafters need a multiple of 64"):
        build_drafter(Drafter.EAGLE, TRUTH, ModelShape(hidden_size=300), TARGET)
