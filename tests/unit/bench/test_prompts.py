"""What is asked: the same in every arm, each category in equal parts, and a wrong line is named."""

from __future__ import annotations

import itertools
import json
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mtp_operator.api.base import MAX_LEVELS
from mtp_operator.api.spec import PROMPT_RESERVE_TOKENS, PromptCategory
from mtp_operator.bench.built_in import BUILT_IN
from mtp_operator.bench.prompts import Prompt, PromptMix, PromptsUnusableError, built_in_mix, read_mix

CHAT_TEMPLATE_TOKENS = 128
"""More than the chat templates of published models put around one question."""

LONGEST_LEVEL = 4000
"""Requests: many more than a level of a trial has time for."""

SAMPLES = Path(__file__).parents[3] / "docs" / "samples"

FIELD = "spec.tuning.workload.prompts.configMap"


def own(tmp_path: Path, *lines: object) -> PromptMix:
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return read_mix(path, FIELD)


def first(mix: PromptMix, count: int, level: int = 0) -> list[Prompt]:
    return list(itertools.islice(mix.level(level), count))


def said(prompt: Prompt) -> str:
    return prompt.messages[-1]["content"]


# -- the mix -----------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.sampled_from(PromptCategory), min_size=1, unique=True),
    st.integers(min_value=1, max_value=1024),
    st.integers(min_value=0, max_value=MAX_LEVELS - 1),
)
def test_every_pass_holds_each_category_equally(categories: list[PromptCategory], concurrency: int, level: int) -> None:
    mix = built_in_mix(categories)
    length = mix.pass_length(concurrency)
    asked = first(mix, 2 * length, level)

    assert length % concurrency == 0
    assert 2 <= length <= max(concurrency * len(categories), 2)
    for number in range(2):
        names = [prompt.category for prompt in asked[number * length : (number + 1) * length]]
        assert {name: names.count(name) for name in set(names)} == {
            category.value: length // len(categories) for category in categories
        }


def test_no_built_in_prompt_comes_twice_in_a_boot() -> None:
    mix = built_in_mix(PromptCategory)
    boot = [said(prompt) for level in range(MAX_LEVELS) for prompt in first(mix, LONGEST_LEVEL, level)]

    assert len(set(boot)) == len(boot)


def test_built_in_prompts_of_a_level_part_after_a_few_words() -> None:
    beginnings = {said(prompt)[:64] for prompt in first(built_in_mix(PromptCategory), 1000)}

    assert len(beginnings) == 1000


def test_seeds_are_distinct_over_all_levels_and_begin_with_the_plans() -> None:
    mix = built_in_mix(PromptCategory, seed=7)
    seeds = [prompt.seed for level in range(MAX_LEVELS) for prompt in first(mix, LONGEST_LEVEL, level)]

    assert seeds[0] == 7
    assert len({*seeds, mix.probe.seed}) == len(seeds) + 1
    assert max(seeds) < 2**31


@pytest.mark.parametrize("category", PromptCategory)
def test_built_in_prompts_fit_into_the_reserve_even_if_a_byte_is_a_token(category: PromptCategory) -> None:
    prompts = BUILT_IN[category]

    assert len(prompts.longest.encode()) <= PROMPT_RESERVE_TOKENS - CHAT_TEMPLATE_TOKENS
    assert max(len(prompts[index]) for index in range(0, len(prompts), 7)) <= len(prompts.longest)
    assert prompts.longest.isascii()


def test_the_probe_is_the_longest_prompt() -> None:
    longest = max(BUILT_IN[PromptCategory.SUMMARIZE].longest, BUILT_IN[PromptCategory.JSON].longest, key=len)

    assert said(built_in_mix([PromptCategory.SUMMARIZE, PromptCategory.JSON]).probe) == longest


# -- the user's own ----------------------------------------------------------------------------------------------------


def test_own_prompts_take_turns_by_category_and_come_again(tmp_path: Path) -> None:
    mix = own(
        tmp_path,
        {"prompt": "a", "category": "Support"},
        {"prompt": "b", "category": "Support"},
        "",
        {"prompt": "x", "category": "Law"},
    )

    assert [said(prompt) for prompt in first(mix, 6)] == ["a", "x", "b", "x", "a", "x"]
    assert [said(prompt) for prompt in first(mix, 2, level=2)] == ["b", "x"]
    assert mix.pass_length(1) == 2
    assert len({prompt.seed for prompt in first(mix, 6)}) == 6


def test_own_prompts_without_a_category_are_one(tmp_path: Path) -> None:
    mix = own(tmp_path, {"prompt": "a"}, {"messages": [{"role": "user", "content": "b"}]})

    assert [(prompt.category, said(prompt)) for prompt in first(mix, 2)] == [("Own", "a"), ("Own", "b")]


def test_own_conversations_are_kept_as_they_are(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "Line one\N{LINE SEPARATOR}line two"},
    ]
    mix = own(tmp_path, {"prompt": "short"}, json.dumps({"messages": messages}, ensure_ascii=False))

    assert list(mix.probe.messages) == messages


def test_the_hash_is_of_the_files_bytes(tmp_path: Path) -> None:
    hashes = [own(tmp_path, {"prompt": text}).sha256 for text in ("a", "a", "b")]

    assert hashes[0] == hashes[1] != hashes[2]
    assert built_in_mix(PromptCategory).sha256 is None


def test_prompts_of_the_sample_can_be_used(tmp_path: Path) -> None:
    config_map, model = yaml.safe_load_all((SAMPLES / "own-prompts.yaml").read_text(encoding="utf-8"))
    source = model["spec"]["tuning"]["workload"]["prompts"]["configMap"]

    mix = own(tmp_path, config_map["data"][source["key"]])

    assert source["name"] == config_map["metadata"]["name"]
    assert mix.pass_length(1) == 3


MISTAKES: dict[str, tuple[list[object], str]] = {
    "no line": ([], "has no prompt: at least one line is needed"),
    "only blanks": ([" ", ""], "has no prompt: at least one line is needed"),
    "no JSON": ([{"prompt": "a"}, "", '{"prompt": "a",}'], "line 3: Invalid JSON: trailing comma at column 16"),
    "no object": (["[1]"], "line 1: must be an object"),
    "neither": ([{"category": "Law"}], "line 1: must have either prompt or messages"),
    "both": ([{"prompt": "a", "messages": [{"role": "user", "content": "a"}]}], "line 1: must have either"),
    "prompt is a number": ([{"prompt": 3}], "line 1: prompt: Input should be a valid string"),
    "prompt is empty": ([{"prompt": ""}], "line 1: prompt: must not be empty"),
    "prompt is blank": ([{"prompt": " \n"}], "line 1: prompt: must not be empty"),
    "misspelt field": (
        [{"prompt": "a", "categroy": "Law"}],
        "line 1: categroy: is not a field of a prompt; allowed are",
    ),
    "no messages": ([{"messages": []}], "line 1: messages: must not be empty"),
    "unknown role": (
        [{"messages": [{"role": "human", "content": "a"}]}],
        "line 1: messages.0.role: Input should be 'system', 'user' or 'assistant'",
    ),
    "no content": ([{"messages": [{"role": "user"}]}], "line 1: messages.0.content: is missing"),
    "assistant has the last word": (
        [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}],
        "line 1: messages must end with one of role user",
    ),
    "category with a blank": ([{"prompt": "a", "category": "tax law"}], "line 1: category: must be letters, digits"),
    "category too long": (
        [{"prompt": "a", "category": "a" * 17}],
        "line 1: category: String should have at most 16 characters",
    ),
    "too many categories": (
        [{"prompt": "a", "category": f"c{number}"} for number in range(9)],
        "has 9 categories (c0, c1, c2, c3, c4, c5, c6, c7, c8); at most 8 are allowed",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_gets_one_message_that_names_line_and_field(mistake: str, tmp_path: Path) -> None:
    lines, words = MISTAKES[mistake]

    with pytest.raises(PromptsUnusableError) as error:
        own(tmp_path, *lines)

    assert str(error.value).startswith(f"{FIELD}: {words}")


def test_bytes_that_are_no_text_are_named_by_line(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(b'{"prompt": "a"}\n{"prompt": "\xff"}\n')

    with pytest.raises(PromptsUnusableError, match="line 2: is not UTF-8"):
        read_mix(path, FIELD)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PromptsUnusableError, match=f"^{FIELD}: .*cannot be read: No such file"):
        read_mix(tmp_path / "prompts.jsonl", FIELD)


def test_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    with path.open("wb") as file:
        file.truncate((16 << 20) + 1)

    with pytest.raises(PromptsUnusableError, match="more than the 16 MiB that are allowed"):
        read_mix(path, FIELD)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(content)

    with suppress(PromptsUnusableError):
        assert first(read_mix(path, FIELD), 1)
